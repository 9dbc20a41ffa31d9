"""A clock that stands still until it is moved. Its randomness is a count, so that every rehearsal draws alike."""

from __future__ import annotations

import hashlib
import math

from engine.ids import encode

START = 1_893_456_000_000
"""When a rehearsal begins unless its author says otherwise: 2030-01-01T00:00:00Z."""


class HandClock:
    """Time in the hand of whoever rehearses. Whole milliseconds, so that what is stored and what is waited for agree."""

    def __init__(self, start: int = START) -> None:
        self._start = start
        self._ms = start
        self._drawn = 0

    @property
    def passed(self) -> int:
        """The milliseconds since the start."""
        return self._ms - self._start

    def now(self) -> int:
        """Return milliseconds since the epoch."""
        return self._ms

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self.passed / 1000

    def entropy(self, count: int) -> bytes:
        """Return bytes that are the same in every rehearsal."""
        self._drawn += 1
        return hashlib.shake_128(str(self._drawn).encode()).digest(count)

    def mint(self, prefix: str) -> str:
        """Return a new id."""
        return encode(prefix, self._ms, self.entropy(10))

    def sync(self, now: int, asked: float | None = None) -> None:
        """Keep still: no database moves this clock."""

    def move(self, seconds: float) -> None:
        """Go forward, by a millisecond at least."""
        self._ms += max(1, math.ceil(seconds * 1000 - 1e-6))
