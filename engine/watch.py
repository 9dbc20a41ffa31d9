"""Waiting for executions to end: many waiters, one query. Woken by a worker's word when it comes, by looking when not.

A word may be false, or of a time before: whoever is woken by one reads the row, and waits on if it has not ended.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress

from engine.errors import Unavailable
from engine.reader import Reader
from engine.store.sql import Batched, columns

_FINISHED = Batched(
    "SELECT e.id FROM {rows} JOIN execution e ON e.id = r.id WHERE e.finished_at IS NOT NULL",
    columns("id"),
)
_LONGEST = 0.25


class Watcher:
    """The waiters of one event loop. The first look comes after `patience` seconds, the next ones ever later."""

    def __init__(self, reader: Reader, patience: float = 0.002) -> None:
        self._reader = reader
        self._patience = patience
        self._waiters: dict[str, list[asyncio.Future[None]]] = defaultdict(list)
        self._looking: asyncio.Task[None] | None = None
        self._pause = patience

    async def told(self, execution: str, seconds: float) -> bool:
        """Wait until the execution is said to have ended, at most `seconds`. Returns whether it is."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[execution].append(future)
        self._pause = self._patience
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return False
        else:
            return True
        finally:
            waiting = self._waiters.get(execution, [])
            with suppress(ValueError):
                waiting.remove(future)
            if not waiting:
                self._waiters.pop(execution, None)

    def tell(self, execution: str) -> None:
        """Wake the waiters of an execution."""
        for future in self._waiters.get(execution, ()):
            if not future.done():
                future.set_result(None)

    async def close(self) -> None:
        """Stop looking; who still waits gets no word any more."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self) -> None:
        """Look as long as someone waits, less often the longer nothing ends."""
        while self._waiters:
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 1.5, _LONGEST)
            ids = [(each,) for each in self._waiters]
            if not ids:
                return
            try:
                rows = await self._reader.read(lambda connection, ids=ids: connection.batch(_FINISHED, ids))  # type: ignore[misc]
            except Unavailable:
                continue
            for (execution,) in rows:
                self._pause = self._patience
                self.tell(execution)
