"""A SQLite database in memory, with one connection that ledger and readers of one thread share: for what is thrown away."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from engine.store.database import SqliteConnection, SqliteDatabase


class MemoryConnection(SqliteConnection):
    """The connection. Nobody else can write, so there is no lock; it stays open until its database is closed."""

    def __init__(self) -> None:
        self._raw = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, cached_statements=256
        )

    def begin(self) -> None:
        """Open a transaction."""
        self._raw.execute("BEGIN")

    def commit(self) -> None:
        """Commit."""
        self._raw.execute("COMMIT")

    def rollback(self) -> None:
        """Roll back, if there is something to."""
        with suppress(sqlite3.OperationalError):
            self._raw.execute("ROLLBACK")

    def script(self, text: str) -> None:
        """Run the statements of a text."""
        self._raw.executescript(text)

    def copy_to(self, other: MemoryConnection) -> None:
        """Let another database hold what this one holds, and nothing else."""
        self._raw.backup(other._raw)

    def close(self) -> None:
        """Leave it to the others."""

    def end(self) -> None:
        """Close it for good."""
        self._raw.close()


class MemoryDatabase(SqliteDatabase):
    """The database."""

    def __init__(self) -> None:
        super().__init__(Path(":memory:"))
        self.connection = MemoryConnection()

    def connect(self) -> MemoryConnection:
        """Return the one connection."""
        return self.connection
