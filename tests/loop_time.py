"""The event loop's clock, moved by hand: a test of a timeout of 30 seconds takes none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

Move = Callable[[float], None]


def movable(monkeypatch: pytest.MonkeyPatch) -> Move:
    """A function that moves the running loop's clock forward by seconds. Timers that come due fire at once."""
    loop = asyncio.get_running_loop()
    real, shift = loop.time, 0.0

    def move(seconds: float) -> None:
        nonlocal shift
        shift += seconds

    monkeypatch.setattr(loop, "time", lambda: real() + shift)
    return move
