"""An event loop for one command, which ends in order on Ctrl-C and on SIGTERM alike."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def drive(main: Coroutine[Any, Any, T]) -> T:
    """Run a command to its end and return what it returns. SIGTERM and SIGHUP cancel it, as Ctrl-C does."""
    import uvloop

    async def cancellable() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        for each in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(each) is not signal.SIG_IGN:  # nohup means it
                loop.add_signal_handler(each, _cancel, task)
        return await main

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(cancellable())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _cancel(task: asyncio.Task[Any] | None) -> None:
    if task is not None:
        task.cancel()
