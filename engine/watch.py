"""Waiting for executions to end, or to answer: many waiters, one query. Woken by a worker's word, and by looking without one.

A word may be false, of a time before, or about the other of the two: whoever is woken by one reads the row, and waits on if
it does not have what is waited for.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass

from engine.errors import Unavailable
from engine.reader import Reader
from engine.store.sql import Batched, columns

_THERE = Batched(
    "SELECT e.id, e.finished_at FROM {rows} JOIN execution e ON e.id = r.id "
    "WHERE e.finished_at IS NOT NULL OR (r.answers = 1 AND e.answered_at IS NOT NULL)",
    columns("id answers", answers="bigint"),
)
_LONGEST = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """Somebody who waits for an execution's end, or whose waiting an answer ends as well."""

    future: asyncio.Future[None]
    answers: bool

    def wake(self) -> bool:
        """Wake it, if it still waits."""
        if self.future.done():
            return False
        self.future.set_result(None)
        return True


class Watcher:
    """The waiters of one event loop. The first look comes after `patience` seconds, the next ones ever later."""

    def __init__(self, reader: Reader, patience: float = 0.002) -> None:
        self._reader = reader
        self._patience = patience
        self._waiters: dict[str, list[_Waiter]] = defaultdict(list)
        self._looking: asyncio.Task[None] | None = None
        self._pause = patience

    async def told(self, execution: str, seconds: float, *, answers: bool = False) -> bool:
        """Wait until the execution is said to have ended, or with `answers` to have answered, at most `seconds`.

        Returns whether it is.
        """
        waiter = _Waiter(asyncio.get_running_loop().create_future(), answers)
        self._waiters[execution].append(waiter)
        self._pause = self._patience
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(seconds):
                await waiter.future
        except TimeoutError:
            return False
        else:
            return True
        finally:
            waiting = self._waiters.get(execution, [])
            with suppress(ValueError):
                waiting.remove(waiter)
            if not waiting:
                self._waiters.pop(execution, None)

    def tell(self, execution: str) -> None:
        """Wake the waiters of an execution."""
        for waiter in self._waiters.get(execution, ()):
            waiter.wake()

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
            ids = [
                (name, int(any(each.answers for each in waiting))) for name, waiting in self._waiters.items()
            ]
            if not ids:
                return
            try:
                rows = await self._reader.read(lambda connection, ids=ids: connection.batch(_THERE, ids))  # type: ignore[misc]
            except Unavailable:
                continue
            for execution, finished_at in rows:
                for waiter in self._waiters.get(execution, ()):
                    if (finished_at is not None or waiter.answers) and waiter.wake():
                        self._pause = self._patience
