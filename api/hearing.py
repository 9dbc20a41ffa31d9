"""A thread that hears what is told through the broker, and hands it over in the event loop it was made in.

What it hears is a hint: while the broker is away nothing is heard, and afterwards it goes on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from engine.broker import DOWN, App, Broker

log = logging.getLogger(__name__)

_PAUSE = 0.5

Hear = Callable[[Broker, Callable[[list[str]], None], threading.Event], None]
"""Hears until the event is set; hands over texts. Raises one of `DOWN`."""


class Hearing:
    """Hands every text that `hear` hears to `tell`."""

    def __init__(self, app: App, hear: Hear, tell: Callable[[str], None]) -> None:
        self._broker = Broker(app)
        self._hear = hear
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hearing", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._ended.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._hear(self._broker, self._heard, self._ended)
            except DOWN as error:
                log.debug("Nothing is heard for now: %s", error)
                self._broker.close()
                self._ended.wait(_PAUSE)
        self._broker.close()

    def _heard(self, texts: list[str]) -> None:
        self._loop.call_soon_threadsafe(self._pass_on, texts)

    def _pass_on(self, texts: list[str]) -> None:
        for each in texts:
            self._tell(each)
