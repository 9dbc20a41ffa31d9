"""A provider that does not answer is left alone for a while, so that nobody waits for it in vain.

A circuit breaker (M. Nygard, Release It!, 2007).

It is known in one process only, and forgotten with it: each worker finds out for itself, at the price of a few calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

from celeriac import TryAgain, Uncertain

FAILURES = 5
"""How many calls in a row have to come to nothing before a provider is left alone."""
REST = 30.0
"""For how many seconds. Then one call tries it, and the others go on waiting for what that one comes to."""

_DOWN = {"ai.unreachable", "ai.timeout", "ai.overloaded", "ai.server_error"}
"""What says that a provider is not there. One that is asked too often is there, and says itself when it may be asked again."""


@dataclass(slots=True)
class _Known:
    """What is known of one provider."""

    failures: int = 0
    until: float = 0.0


class Breaker:
    """What is known of all providers. For one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, _Known] = {}

    @contextmanager
    def watching(self, place: str) -> Iterator[None]:
        """Ask a provider, known by host and port, inside the block. Raises `TryAgain` (`ai.resting`) when it is left alone."""
        known = self._known.setdefault(place, _Known())
        if known.failures >= FAILURES:
            left = known.until - self._clock()
            if left > 0:
                message = f"{place} did not answer {known.failures} times in a row, and is not asked for {ceil(left)} s."
                raise TryAgain("ai.resting", message, left)
            known.until = self._clock() + REST  # for the others: this call is the trial
        try:
            yield
        except Exception as error:
            if isinstance(error, (TryAgain, Uncertain)) and error.code in _DOWN:
                known.failures += 1
                known.until = self._clock() + REST
            else:  # it answered, whatever it said
                self._known.pop(place, None)
            raise
        self._known.pop(place, None)


BREAKER = Breaker()
"""Of this process."""
