"""An event loop on a hand-held clock: where others would sleep until the next timer, it jumps there.

What waits costs no time then, and what runs side by side still does: two calls of five seconds each take five.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from engine.rehearsal.clock import HandClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Jumping(selectors.SelectSelector):
    """Moves the clock instead of waiting. What threads do takes none of its time, so for them it really waits."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__()
        self.threads = 0
        """How many calls other threads are making."""
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; with nothing ready, go on to when the next timer is due."""
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(None if self.threads else 0)
        if not ready:
            self._clock.move(timeout)
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop whose time is the clock's."""

    def __init__(self, clock: HandClock) -> None:
        self._hand = clock
        self._jumping = _Jumping(clock)
        super().__init__(self._jumping)
        # What is due at this very moment is due: a billionth of a second, which asyncio adds, is lost in a number of years.
        self._clock_resolution = 0.0005

    def time(self) -> float:
        """Return the clock's seconds."""
        return self._hand.monotonic()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Let a thread make a call."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.threads += 1
        future.add_done_callback(self._back)
        return future

    def _back(self, _: object) -> None:
        self._jumping.threads -= 1


def perform(clock: HandClock, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in the clock's time."""
    with asyncio.Runner(loop_factory=lambda: JumpingLoop(clock)) as runner:
        return runner.run(main)
