"""A database that breaks where a test wants it to, around one that does not. Nothing of it is there in production."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.failpoints import FailpointError, failpoint
from engine.store.sql import Batched, Insert, Row

if TYPE_CHECKING:
    from engine.store.database import Connection, Database, Verdict


class BreakingDatabase:
    """Where to connect, with failpoints in front of every step."""

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.dialect = inner.dialect

    def connect(self) -> Connection:
        """Open a connection for the calling thread."""
        failpoint("database.connect")
        return BreakingConnection(self._inner.connect())

    def judge(self, error: BaseException) -> Verdict:
        """Return what an error means. One of a failpoint is a connection that is lost: nobody knows what was done."""
        return "lost" if isinstance(error, FailpointError) else self._inner.judge(error)


class BreakingConnection:
    """One conversation."""

    def __init__(self, inner: Connection) -> None:
        self._inner = inner
        self.dialect = inner.dialect

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run one statement."""
        failpoint("database.statement")
        return self._inner.run(sql, parameters)

    def batch(self, statement: Batched, rows: Sequence[Row]) -> list[Row]:
        """Run one statement over a batch."""
        failpoint("database.statement")
        return self._inner.batch(statement, rows)

    def insert(self, statement: Insert, rows: Sequence[Row]) -> None:
        """Insert a batch."""
        failpoint("database.statement")
        self._inner.insert(statement, rows)

    def begin(self) -> None:
        """Open a write transaction."""
        failpoint("database.begin")
        self._inner.begin()

    def commit(self) -> None:
        """Make it durable."""
        self._inner.commit()

    def rollback(self) -> None:
        """Undo it."""
        self._inner.rollback()

    def now(self) -> int:
        """Return the database's time."""
        return self._inner.now()

    def close(self) -> None:
        """End the conversation."""
        self._inner.close()
