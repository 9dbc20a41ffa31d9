"""Waiting for executions to end: many waiters, one query. Told by the dispatcher's word when it comes, by looking when not."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress

from engine.errors import Unavailable
from engine.reader import Reader
from engine.store.sql import Batched, columns

_FINISHED = Batched(
    "SELECT e.id, e.status FROM {rows} JOIN execution e ON e.id = r.id WHERE e.finished_at IS NOT NULL",
    columns("id"),
)
_SHORTEST, _LONGEST = 0.002, 0.25


class Watcher:
    """The waiters of one event loop."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._waiters: dict[str, list[asyncio.Future[str]]] = defaultdict(list)
        self._looking: asyncio.Task[None] | None = None
        self._pause = _SHORTEST

    async def finished(self, execution: str, seconds: float) -> str | None:
        """Return the final status of an execution, or None when it has not ended within `seconds`."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiters[execution].append(future)
        self._pause = _SHORTEST
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            return None
        finally:
            waiting = self._waiters.get(execution, [])
            with suppress(ValueError):
                waiting.remove(future)
            if not waiting:
                self._waiters.pop(execution, None)

    def tell(self, execution: str, status: str) -> None:
        """Wake the waiters of an execution that has ended."""
        for future in self._waiters.get(execution, ()):
            if not future.done():
                future.set_result(status)

    async def _look(self) -> None:
        """Look as long as someone waits, less often the longer nothing ends."""
        while self._waiters:
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 1.5, _LONGEST)
            ids = [(each,) for each in self._waiters]
            try:
                rows = await self._reader.read(lambda connection, ids=ids: connection.batch(_FINISHED, ids))  # type: ignore[misc]
            except Unavailable:
                continue
            for execution, status in rows:
                self._pause = _SHORTEST
                self.tell(execution, status)
