"""Reading beside the writer: a few threads, each with a connection of its own, behind one awaitable."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from engine.errors import Unavailable
from engine.store.database import Connection, Database

T = TypeVar("T")


class Reader:
    """Runs queries in threads. A query is a function of a connection and must not write."""

    def __init__(self, database: Database, threads: int = 2) -> None:
        self._database = database
        self._local = threading.local()
        self._open: list[Connection] = []
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reader")

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Return what the query returns. Raises `Unavailable` when the database cannot be reached."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.ask, query)

    def ask(self, query: Callable[[Connection], T]) -> T:
        """The same from a thread, in that thread."""
        repeated = False
        while True:
            try:
                return query(self._connection())
            except Exception as error:  # any: what it means is for the database to say
                verdict = self._database.judge(error)
                if verdict == "own":
                    raise
                self._forget()
                if repeated or verdict == "unavailable":
                    message = (
                        "The database cannot be reached."
                        if verdict == "lost"
                        else f"The database cannot answer: {error}"
                    )
                    raise Unavailable(message, hint="celeriac doctor tests it.") from error
                repeated = True

    def close(self) -> None:
        """Close every connection."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for each in self._open:
            each.close()
        self._open.clear()

    def _connection(self) -> Connection:
        found: Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._database.connect()
            self._open.append(found)
        return found

    def _forget(self) -> None:
        found: Connection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if found is not None:
            self._open.remove(found)
            found.rollback()
            found.close()
