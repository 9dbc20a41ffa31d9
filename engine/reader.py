"""Reading beside the writer: a few threads, each with a connection of its own, behind one awaitable."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from engine.errors import Unavailable
from engine.store.database import Connection, Database

T = TypeVar("T")


class Reader:
    """Runs queries in threads. A query is a function of a connection and must not write.

    The threads are its own: an executor's futures cost more than a query by key does.
    """

    def __init__(self, database: Database, threads: int = 2) -> None:
        self._database = database
        self._local = threading.local()
        self._open: list[Connection] = []
        self._asked: SimpleQueue[tuple[Callable[[Connection], Any], asyncio.Future[Any]] | None] = (
            SimpleQueue()
        )
        self._shared: dict[Hashable, asyncio.Future[Any]] = {}
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"reader_{number}", daemon=True)
            for number in range(threads)
        ]
        for each in self._threads:
            each.start()

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Return what the query returns. Raises `Unavailable` when the database cannot be reached."""
        if self._closed:
            message = "This process is stopping."
            raise Unavailable(message)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.put((query, future))
        return await future

    async def share(self, key: Hashable, query: Callable[[Connection], T]) -> T:
        """The same, once for all who ask under a key before the query begins: nobody gets what is older than their question.

        For what many ask at once, since the way to a thread and back costs more than a query by key does. All ask in one
        event loop.
        """
        future: asyncio.Future[T] | None = self._shared.get(key)
        if future is None:

            def first(connection: Connection) -> T:
                self._forget_shared(key, future)
                return query(connection)

            future = asyncio.ensure_future(self.read(first))
            future.add_done_callback(lambda done: self._forget_shared(key, done))
            self._shared[key] = future
        return await asyncio.shield(future)

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
        """Answer what was asked, then close every connection."""
        self._closed = True
        for _ in self._threads:
            self._asked.put(None)
        for each in self._threads:
            each.join()
        for connection in self._open:
            connection.close()
        self._open.clear()

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            query, future = asked
            if future.cancelled():
                continue
            answer, failure = None, None
            try:
                answer = self.ask(query)
            except Exception as error:  # any: it is for whoever asked  # noqa: BLE001
                failure = error
            with suppress(RuntimeError):  # the event loop has ended before its answer came
                future.get_loop().call_soon_threadsafe(_resolve, future, answer, failure)

    def _forget_shared(self, key: Hashable, future: asyncio.Future[Any] | None) -> None:
        if self._shared.get(key) is future:
            self._shared.pop(key, None)

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


def _resolve(future: asyncio.Future[Any], answer: Any, failure: Exception | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(answer)
    else:
        future.set_exception(failure)
