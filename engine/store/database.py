"""Connections to the two databases behind one face: blocking, one per thread, SQL as text.

The drivers are the synchronous ones, used inside the ledger's and the readers' threads: a thread hop costs less than an
asynchronous driver does per statement, and the ledger needs exactly one connection.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from engine.errors import Misconfigured
from engine.failpoints import crossing
from engine.settings import Settings, Timing
from engine.store.sql import Batched, Insert, Row, as_arrays, as_document

if TYPE_CHECKING:
    import psycopg

_SESSION = (
    "lock_timeout=10s",
    "statement_timeout=60s",
    "tcp_keepalives_idle=10",
    "tcp_keepalives_interval=3",
    "tcp_keepalives_count=3",
    "plan_cache_mode=force_generic_plan",
    "enable_seqscan=off",
    "enable_hashjoin=off",
    "enable_mergejoin=off",
    "jit=off",
)
"""Every statement of the hot path is a batch of lookups by key. Without statistics, on tables that grow by thousands of
rows a second, the planner would take a scan for cheaper; so it is told what the keys are for."""


def _disk_fault(place: str) -> Exception:
    """What SQLite raises when the disk fails, for a failpoint."""
    error = sqlite3.OperationalError(f"disk I/O error at {place}")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error


def _lost_server(place: str) -> Exception:
    """What psycopg raises when the connection breaks off, for a failpoint."""
    import psycopg

    return psycopg.OperationalError(f"server closed the connection unexpectedly at {place}")


OLDEST_SQLITE = (3, 38, 0)

Verdict = Literal["lost", "repeat", "unavailable", "own"]
"""What an error means for the work it befell: the connection is of no further use (`lost`), the same again may well
succeed now (`repeat`), the database lacks something that nobody's work can help (`unavailable`), or the work itself is at
fault (`own`). Decided by codes alone."""

_SQLITE: dict[int, Verdict] = {
    sqlite3.SQLITE_BUSY: "repeat",
    sqlite3.SQLITE_LOCKED: "repeat",
    sqlite3.SQLITE_FULL: "unavailable",
    sqlite3.SQLITE_IOERR: "unavailable",
    sqlite3.SQLITE_READONLY: "unavailable",
    sqlite3.SQLITE_CANTOPEN: "unavailable",
    sqlite3.SQLITE_PROTOCOL: "unavailable",
}
_POSTGRES: tuple[tuple[str, Verdict], ...] = (
    ("08", "lost"),  # connection exceptions
    ("57P", "lost"),  # the server ends, is ending, or is not there yet
    ("25006", "lost"),  # read-only: after a failover this is the standby
    ("25P03", "lost"),  # the session idled in a transaction and was ended
    ("53", "unavailable"),  # no disk, no memory, no more connections
    ("40001", "repeat"),  # serialization failure
    ("40P01", "repeat"),  # deadlock
    ("55P03", "repeat"),  # lock timeout
)


class Connection(Protocol):
    """One conversation with a database."""

    dialect: str

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run one statement with `?` marks; return its rows."""

    def batch(self, statement: Batched, rows: Sequence[Row]) -> list[Row]:
        """Run one statement over a batch; return its rows. An empty batch runs nothing."""

    def insert(self, statement: Insert, rows: Sequence[Row]) -> None:
        """Insert a batch."""

    def begin(self) -> None:
        """Open a write transaction; other writers wait."""

    def commit(self) -> None:
        """Make it durable. An exception leaves its fate unknown: see the ledger's marks."""

    def rollback(self) -> None:
        """Undo it; harmless when there is none or the connection is gone."""

    def now(self) -> int:
        """Return the database's time in milliseconds."""

    def close(self) -> None:
        """End the conversation."""


class Database(Protocol):
    """Where to connect."""

    dialect: str

    def connect(self) -> Connection:
        """Open a connection for the calling thread."""

    def judge(self, error: BaseException) -> Verdict:
        """Return what an error means for the work it befell."""


def open_database(settings: Settings) -> Database:
    """Return the database the settings name."""
    return (
        SqliteDatabase(settings.sqlite_path)
        if settings.sqlite
        else PostgresDatabase(settings.database_url, settings.timing.lease)
    )


class SqliteDatabase:
    """A file in WAL mode, fully synchronous: what is committed survives the power failing."""

    dialect = "sqlite"
    damaged: tuple[type[Exception], ...] = (sqlite3.DatabaseError,)
    """What opening or reading a file raises that is no sound database."""

    def __init__(self, path: Path) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            message = f"SQLite {sqlite3.sqlite_version} is too old; 3.38 or newer is needed."
            raise Misconfigured(message, hint="Use a newer Python build, or PostgreSQL through DATABASE_URL.")
        self.path = path

    @crossing("database.connect", _disk_fault)
    def connect(self) -> SqliteConnection:
        """Open the file."""
        return SqliteConnection(self.path)

    def judge(self, error: BaseException) -> Verdict:
        """Decide by the primary result code."""
        code = getattr(error, "sqlite_errorcode", None) if isinstance(error, sqlite3.Error) else None
        return "own" if code is None else _SQLITE.get(code & 0xFF, "own")


class SqliteConnection:
    """One connection to the file, and the file lock that lets writers of several processes wait in line.

    SQLite's own waiting for the write lock is a poll with back-off; a lock of the system wakes the next writer at once.
    """

    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        self._raw = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=10000",
            "wal_autocheckpoint=4000",
            "cache_size=-16000",
        ):
            self._raw.execute(f"PRAGMA {pragma}")
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @crossing("database.run", _disk_fault)
    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run one statement."""
        return self._raw.execute(sql, parameters).fetchall()

    @crossing("database.batch", _disk_fault)
    def batch(self, statement: Batched, rows: Sequence[Row]) -> list[Row]:
        """Run one statement over a batch."""
        return self._raw.execute(statement.for_sqlite, (as_document(rows),)).fetchall() if rows else []

    @crossing("database.insert", _disk_fault)
    def insert(self, statement: Insert, rows: Sequence[Row]) -> None:
        """Insert a batch."""
        self._raw.executemany(statement.for_sqlite, rows)

    @crossing("database.begin", _disk_fault)
    def begin(self) -> None:
        """Wait in line, then take the write lock at once (a deferred one could not be upgraded)."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self._raw.execute("BEGIN IMMEDIATE")
        except BaseException:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            raise

    @crossing("database.commit", _disk_fault)
    def commit(self) -> None:
        """Commit and let the next writer in."""
        self._raw.execute("COMMIT")
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    @crossing("database.rollback", None)
    def rollback(self) -> None:
        """Roll back and let the next writer in."""
        with suppress(sqlite3.OperationalError):
            self._raw.execute("ROLLBACK")
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def now(self) -> int:
        """Return the machine's time: the file has no other."""
        return int(self.run("SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)")[0][0])

    @crossing("database.backup", _disk_fault)
    def backup(self, target: Path) -> None:
        """Copy the whole file as it is at one instant, while others go on writing."""
        copy = sqlite3.connect(target)
        try:
            self._raw.backup(copy)
        finally:
            copy.close()

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        os.close(self._lock)


class PostgresDatabase:
    """A PostgreSQL server.

    A process that stands still in the midst of a transaction keeps what it has locked from everybody. After `stall`
    milliseconds the server ends the transaction: as long as a lease lasts, since by then the work is another's anyway.
    """

    dialect = "postgresql"

    def __init__(self, url: str, stall: int = Timing().lease) -> None:
        self.url = url
        self._session = (*_SESSION, f"idle_in_transaction_session_timeout={stall}")

    @crossing("database.connect", _lost_server)
    def connect(self) -> PostgresConnection:
        """Connect, with limits that keep a stuck statement or a dead peer from holding a lock for ever."""
        import psycopg

        raw = psycopg.connect(
            self.url,
            autocommit=True,
            prepare_threshold=1,
            connect_timeout=5,
            keepalives_idle=10,
            keepalives_interval=3,
            keepalives_count=3,
            tcp_user_timeout=10_000,
            application_name="celeriac",
            options=" ".join(f"-c {each}" for each in self._session),
        )
        return PostgresConnection(raw)

    def judge(self, error: BaseException) -> Verdict:
        """Decide by the SQLSTATE; an error of the conversation that has none comes from a connection that is gone."""
        import psycopg

        if not isinstance(error, psycopg.Error):
            return "own"
        if error.sqlstate is None:
            gone = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
            return "lost" if gone else "own"
        code = error.sqlstate
        return next((verdict for prefix, verdict in _POSTGRES if code.startswith(prefix)), "own")


class PostgresConnection:
    """One connection to the server.

    Within a transaction only statements with rows are waited for, and those without are sent together with the next one that
    has some, or with the commit: a batch of the pen makes a dozen statements and three or four journeys. What befell a
    statement without rows is raised there, and the transaction is lost either way.

    Each journey ends with a Sync, so that the server knows that it waits for us, and counts the time (PostgreSQL: *Message
    Flow*, Pipelining). Between statements that were sent without one it would wait for ever, and keep all that is locked.
    """

    dialect = "postgresql"

    def __init__(self, raw: psycopg.Connection[Row]) -> None:
        self._raw = raw
        self._cursor = raw.cursor()
        self._silent = raw.cursor()
        self._underway = ExitStack()
        self._pipeline: psycopg.Pipeline | None = None
        self._held: list[tuple[str, Sequence[Any]]] = []
        self._texts: dict[str, str] = {}

    @crossing("database.run", _lost_server)
    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run one statement."""
        text = self._texts.get(sql)
        if text is None:
            text = self._texts[sql] = sql.replace("%", "%%").replace("?", "%s")
        return self._execute(text, parameters)

    @crossing("database.batch", _lost_server)
    def batch(self, statement: Batched, rows: Sequence[Row]) -> list[Row]:
        """Run one statement over a batch."""
        return self._execute(statement.for_postgres, as_arrays(rows)) if rows else []

    @crossing("database.insert", _lost_server)
    def insert(self, statement: Insert, rows: Sequence[Row]) -> None:
        """Insert a batch."""
        if rows:
            self._execute(statement.for_postgres, as_arrays(rows))

    @crossing("database.begin", _lost_server)
    def begin(self) -> None:
        """Open a transaction."""
        self._pipeline = self._underway.enter_context(self._raw.pipeline())
        self._held = [("BEGIN", ())]

    @crossing("database.commit", _lost_server)
    def commit(self) -> None:
        """Commit."""
        self._held.append(("COMMIT", ()))
        self._send_held()
        self._leave()

    @crossing("database.rollback", None)
    def rollback(self) -> None:
        """Roll back, if there is still someone to tell."""
        self._held.clear()
        with suppress(Exception):
            self._leave()
        with suppress(Exception):
            self._silent.execute("ROLLBACK")

    def now(self) -> int:
        """Return the server's time."""
        return int(self.run("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")[0][0])

    def close(self) -> None:
        """Disconnect."""
        self._raw.close()

    def _execute(self, text: str, parameters: Sequence[Any]) -> list[Row]:
        if not _answers(text):
            if self._pipeline is not None:
                self._held.append((text, parameters))
            else:
                self._silent.execute(text, parameters)
            return []
        self._send_held()
        self._cursor.execute(text, parameters)
        if self._pipeline is not None:
            self._pipeline.sync()
        return self._cursor.fetchall()

    def _send_held(self) -> None:
        for text, parameters in self._held:
            self._silent.execute(text, parameters)
        self._held.clear()

    def _leave(self) -> None:
        """End the pipeline: with a Sync, and with what befell its last statements."""
        self._pipeline = None
        self._underway.close()


@cache
def _answers(text: str) -> bool:
    """Whether a statement has rows to wait for."""
    return text.lstrip().startswith(("SELECT", "WITH")) or "RETURNING" in text
