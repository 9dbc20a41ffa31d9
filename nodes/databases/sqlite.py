"""Sessions with a SQLite file, in a thread. Nothing but that one file can be reached: no ATTACH, no extension, no pragma."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from celeriac import Fail, Json, Link, TryAgain
from nodes.databases.parameters import Statement
from nodes.databases.session import Result, failure
from nodes.databases.values import text_of

T = TypeVar("T")

_AGAIN = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_INTERRUPT", "SQLITE_IOERR", "SQLITE_FULL")
_READING = frozenset({"table_info", "table_list", "index_list", "index_info", "foreign_key_list"})
_FORBIDDEN = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_TRANSACTION})


@asynccontextmanager
async def opened(link: Link, *, read_only: bool, seconds: float) -> AsyncIterator[SqliteSession]:
    """Open the file and begin a transaction."""
    path = link.file(link.fields.path)
    mode = "ro" if read_only else "rwc" if link.fields.create else "rw"

    def connect() -> sqlite3.Connection:
        made = sqlite3.connect(
            f"{path.as_uri()}?mode={mode}",
            uri=True,
            timeout=min(seconds, 5.0),
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            made.execute("PRAGMA trusted_schema=OFF")
            made.execute("PRAGMA foreign_keys=ON")
            made.execute("BEGIN" if read_only else "BEGIN IMMEDIATE")
            made.set_authorizer(_authorise)
        except BaseException:
            made.close()
            raise
        return made

    connecting = asyncio.ensure_future(asyncio.to_thread(connect))
    try:
        connection = await asyncio.shield(connecting)
    except sqlite3.Error as error:
        raise _failure(error) from error
    except asyncio.CancelledError:
        connecting.add_done_callback(_closed)
        raise
    try:
        yield SqliteSession(connection)
    finally:
        connection.set_authorizer(None)
        connection.rollback()  # closing alone keeps the lock while a failed statement is not forgotten
        connection.close()


def _closed(connecting: asyncio.Future[sqlite3.Connection]) -> None:
    """Close what nobody waits for any more."""
    if connecting.exception() is None:
        connecting.result().close()


class SqliteSession:
    """One transaction with SQLite."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def run(self, statement: Statement, rows: Sequence[Mapping[str, Json]], most: int | None) -> Result:
        """Run a statement once for each row of parameters."""
        text = statement.written("named")

        def execute() -> Result:
            cursor = self._connection.cursor()
            result = Result((), [], 0)
            for row in rows:
                cursor.execute(text, {name: text_of(value) for name, value in row.items()})
                columns = tuple(each[0] for each in cursor.description or ())
                found = (cursor.fetchall() if most is None else cursor.fetchmany(most)) if columns else []
                result = Result(columns, found, result.count + max(0, cursor.rowcount))
            return result

        return await self._in_thread(execute)

    async def commit(self) -> None:
        """Make it durable. A file has no answer that could get lost: an error means that it did not happen."""
        self._connection.set_authorizer(None)
        await self._in_thread(lambda: self._connection.execute("COMMIT"))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Do something in a thread; if this call is cancelled, interrupt it and wait until it has ended."""
        doing = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            self._connection.interrupt()
            await asyncio.wait([doing])
            doing.exception()
            raise
        except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
            raise _failure(error) from error


def _authorise(action: int, one: str | None, _: str | None, __: str | None, ___: str | None) -> int:
    if action in _FORBIDDEN or (action == sqlite3.SQLITE_PRAGMA and (one or "").lower() not in _READING):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _failure(error: Exception) -> Fail | TryAgain:
    state: Any = getattr(error, "sqlite_errorname", None)
    return failure(f"SQLite: {error}", state, again=state is not None and state.startswith(_AGAIN))
