"""Time and randomness enter the engine here and nowhere else, so that a simulation can hold both in its hand."""

from __future__ import annotations

import os
import time
from typing import Protocol

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


class SystemClock:
    """The machine's own clock, moved by `shift` milliseconds to agree with the database's.

    Leases of several hosts are compared with one another, so every process counts in the database's time; asking the
    database for the offset now and then is enough, since the offset changes slowly and leases are long.
    """

    def __init__(self) -> None:
        self.shift = 0

    def now(self) -> int:
        """Return the database's milliseconds since the epoch."""
        return time.time_ns() // 1_000_000 + self.shift

    def monotonic(self) -> float:
        """Return seconds of the machine's monotonic clock."""
        return time.monotonic()

    def entropy(self, count: int) -> bytes:
        """Return bytes of the system's generator."""
        return os.urandom(count)

    def mint(self, prefix: str) -> str:
        """Return a new id, sortable by birth."""
        return encode(prefix, self.now(), os.urandom(10))
