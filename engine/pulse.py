"""How long a call may still take: to its end, and no longer than it may be silent."""

from __future__ import annotations

import asyncio


class Pulse:
    """The signs of life of one call. Without `most`, the seconds between two of them, it need not give any."""

    __slots__ = ("_end", "_limit", "most", "silent")

    def __init__(self, most: float | None = None) -> None:
        self.most = most
        self.silent = False
        """Whether what ends the call next is its silence, and not the end of its time."""
        self._limit: asyncio.Timeout | None = None
        self._end = 0.0

    def begin(self, limit: asyncio.Timeout, seconds: float) -> None:
        """The call begins now, under a limit, and has so many seconds in all."""
        self._limit, self._end = limit, asyncio.get_running_loop().time() + seconds
        self.beat()

    def beat(self) -> None:
        """The call is alive."""
        if self._limit is None or self._limit.expired():
            return
        until = self._end
        if self.most is not None:
            until = min(until, asyncio.get_running_loop().time() + self.most)
        self.silent = until < self._end
        self._limit.reschedule(until)

    def excuse(self) -> None:
        """The call need not say any more that it is alive."""
        self.most = None
        self.beat()
