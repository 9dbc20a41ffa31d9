"""A database that does what it is asked, and does not always say so: the server goes, or is busy, before or after a commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from engine.store.database import Connection, Database, Verdict
from engine.store.sql import Batched, Insert, Row

Fate = Literal["kept", "busy", "gone before", "gone after"]
"""What happens to a commit."""


class Gone(Exception):
    """The server does not answer any more."""


class Busy(Exception):
    """Others hold what this one needs; the same again may succeed."""


class Unreliable:
    """A database of whose commits a draw decides the fate."""

    def __init__(self, database: Database, draw: Callable[[], Fate]) -> None:
        self._database = database
        self._draw = draw
        self.dialect = database.dialect

    def connect(self) -> Connection:
        return _Wire(self._database.connect(), self._draw)

    def judge(self, error: BaseException) -> Verdict:
        if isinstance(error, Gone):
            return "lost"
        return "repeat" if isinstance(error, Busy) else self._database.judge(error)


class _Wire:
    """A conversation with it."""

    def __init__(self, connection: Connection, draw: Callable[[], Fate]) -> None:
        self._connection = connection
        self._draw = draw
        self.dialect = connection.dialect

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._connection.run(sql, parameters)

    def batch(self, statement: Batched, rows: Sequence[Row]) -> list[Row]:
        return self._connection.batch(statement, rows)

    def insert(self, statement: Insert, rows: Sequence[Row]) -> None:
        self._connection.insert(statement, rows)

    def begin(self) -> None:
        self._connection.begin()

    def commit(self) -> None:
        fate = self._draw()
        if fate == "busy":
            raise Busy
        if fate != "gone before":
            self._connection.commit()
        if fate != "kept":
            raise Gone

    def rollback(self) -> None:
        self._connection.rollback()

    def now(self) -> int:
        return self._connection.now()

    def close(self) -> None:
        self._connection.close()
