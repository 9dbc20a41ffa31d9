"""Time and randomness enter the engine here and nowhere else, so that a simulation can hold both in its hand."""

from __future__ import annotations

import math
import os
import time
from typing import Protocol

from engine.failpoints import crossing
from engine.ids import encode


class Clock(Protocol):
    """What the rim hands to the core."""

    def now(self) -> int:
        """Return milliseconds since the epoch (UTC)."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    def entropy(self, count: int) -> bytes:
        """Return `count` random bytes."""

    def mint(self, prefix: str) -> str:
        """Return a new id."""


STILL = 1_000
"""The largest step back, in milliseconds, that is made by standing still instead."""


class SystemClock:
    """The database's time at the last look, and what the machine's monotonic clock has counted since.

    Leases of several hosts are compared with one another, so every process counts in the database's time. Between two
    looks only the monotonic clock counts, so that an operator or a time service that sets this machine's clock moves no
    lease and no timer here.
    """

    def __init__(self, now: int | None = None) -> None:
        """Begin at `now`; without it, at what the machine takes for the time."""
        base = time.time_ns() // 1_000_000 if now is None else now
        self._since = (base, self._counted(), base)

    @crossing("clock.now", None)
    def now(self) -> int:
        """Return the database's milliseconds since the epoch."""
        base, counted_from, least = self._since
        return max(least, base + (self._counted() - counted_from) // 1_000_000)

    def sync(self, now: int, asked: float | None = None) -> None:
        """Take over the time the database tells. `asked` is when it was asked, in seconds of the monotonic clock.

        The answer was true somewhen between the question and now, so a time that fits in between is kept, and another is moved
        no further than it must be: a slow answer tells little, and must not make a good clock worse (Marzullo and Owicki,
        *Maintaining the time in a distributed system*, 1983).

        Forward at once. Back not at all when it is less than `STILL`, which is what two looks differ by: then time stands
        until the database has caught up. A larger step back means that the database's own clock was set; every process
        follows it, since a lease that is written in one time and read in another is worse than an hour that comes twice.
        """
        counted = self._counted()
        mine = self.now()
        took = 0 if asked is None else max(0, counted // 1_000_000 - math.floor(asked * 1000))
        if now <= mine <= now + took:
            return
        true = now if mine < now else now + took
        least = mine if mine - true < STILL else true
        self._since = (true, counted, least)

    @crossing("clock.monotonic", None)
    def monotonic(self) -> float:
        """Return seconds of the machine's monotonic clock."""
        return time.monotonic()

    @crossing("clock.entropy", None)
    def entropy(self, count: int) -> bytes:
        """Return bytes of the system's generator."""
        return os.urandom(count)

    def mint(self, prefix: str) -> str:
        """Return a new id, sortable by birth."""
        return encode(prefix, self.now(), os.urandom(10))

    def _counted(self) -> int:
        """Return nanoseconds of the machine's monotonic clock."""
        return time.monotonic_ns()
