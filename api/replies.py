"""Words from workers that an execution has ended: a queue of this process's own, read by a thread.

Only a hint, and the quickest one: who waits for an execution reads its row when the word comes, and looks now and then
when none does.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable

from engine.broker import DOWN, App, Broker

log = logging.getLogger(__name__)

_PAUSE = 0.5


class Replies:
    """Hands ids of ended executions to `tell`, in the event loop it was made in. `name` is what executions reply to."""

    def __init__(self, app: App, tell: Callable[[str], None]) -> None:
        self.name = f"celeriac.reply.{secrets.token_hex(8)}"
        self._broker = Broker(app)
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replies", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and give the queue up."""
        self._ended.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._broker.hear(self.name, self._heard, self._ended)
            except DOWN as error:
                log.debug("No replies are heard for now: %s", error)
                self._broker.close()
                self._ended.wait(_PAUSE)
        self._broker.close()

    def _heard(self, executions: list[str]) -> None:
        self._loop.call_soon_threadsafe(self._pass_on, executions)

    def _pass_on(self, executions: list[str]) -> None:
        for each in executions:
            self._tell(each)
