"""How often in a minute. A bucket of tokens for each key, as one number: the time at which it will be full again.

Source: the generic cell rate algorithm (ITU-T I.371). Of each process on its own: several API processes permit several times as
much, and none of them asks another about a request.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

WINDOW: Final = 60.0
KEPT: Final = 100_000
"""Seconds that a limit is for, and buckets that are remembered together."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key stands with its limit. Times are seconds from now; `wait` is 0 for what is permitted."""

    limit: int
    left: int
    full_in: float
    wait: float

    def headers(self, now: float) -> list[tuple[bytes, bytes]]:
        """Return the headers that tell it, in the customary form (`now` is an epoch time) and in that of the IETF's draft."""
        reset = math.ceil(self.full_in)
        pairs = {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(self.left),
            "x-ratelimit-reset": str(math.ceil(now) + reset),
            "ratelimit-policy": f'"default";q={self.limit};w={WINDOW:.0f}',
            "ratelimit": f'"default";r={self.left};t={reset}',
        }
        return [(name.encode(), value.encode()) for name, value in pairs.items()]


class Limiter:
    """Permits `limit` requests a minute for each key, all at once if need be; 0 permits any number."""

    def __init__(self, limit: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._monotonic = monotonic
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def take(self, key: Hashable) -> Standing | None:
        """Count a request, if it is permitted, and return how the key stands; None without a limit."""
        return self._look(key, counts=True)

    def look(self, key: Hashable) -> Standing | None:
        """Return how a key stands, and whether one more would be permitted, without counting it."""
        return self._look(key, counts=False)

    def _look(self, key: Hashable, *, counts: bool) -> Standing | None:
        if not self.limit:
            return None
        each, now = WINDOW / self.limit, self._monotonic()
        full_at = max(self._full_at.get(key, now), now)
        wait = full_at + each - now - WINDOW
        # A sum of many fractions may be off by a little: nobody is refused for that.
        permitted = wait <= each / 1000
        if permitted and counts:
            full_at += each
            self._full_at[key] = full_at
            self._full_at.move_to_end(key)
            if len(self._full_at) > KEPT:
                self._full_at.popitem(last=False)
        left = max(0, int((WINDOW - (full_at - now)) / each + 0.001))
        return Standing(self.limit, left, full_at - now, 0.0 if permitted else max(wait, 0.001))
