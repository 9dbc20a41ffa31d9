"""The asyncio pool: Celery hands over a message, an event loop in one thread performs what it refers to.

Thousands of waiting nodes cost a few kilobytes each and no process. The pool takes messages as Celery's prefork pool
would, so that `inspect`, events and Flower see what they expect, but awaits the segments instead of calling a function.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import uvloop
from celery.concurrency.base import BasePool
from kombu.exceptions import KombuError
from kombu.serialization import loads

from engine.broker import references_of
from worker.performer import Performer

log = logging.getLogger(__name__)

ACCEPTED = frozenset({"json", "application/json"})
DRAIN_SECONDS = float(os.environ.get("CELERIAC_DRAIN_SECONDS", "10"))


class Job:
    """One message at work: what Celery keeps a weak reference to, so the pool keeps a strong one."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool
        self.task: asyncio.Task[None] | None = None

    def terminate(self, signal: object = None) -> None:
        """Cancel the message's segments (`revoke` with `terminate`); their rows bring them back."""
        del signal
        self._pool.cancel(self)


class AsyncPool(BasePool):
    """A pool of one event loop."""

    signal_safe = False
    body_can_be_buffer = False
    task_join_will_block = False

    def on_start(self) -> None:
        """Start the loop and the performer; return when both are ready."""
        self._jobs: set[Job] = set()
        self._hub: Any = None
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="performer", daemon=True)
        self._performer = Performer(self.app)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._performer.begin(), self._loop).result(timeout=30)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)

    def register_with_event_loop(self, loop: Any) -> None:
        """Remember Celery's own loop: completions are told in it, which also wakes a consumer that was full."""
        self._hub = loop

    def on_apply(  # type: ignore[override]  # Celery names its options
        self,
        target: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        accept_callback: Callable[[int, float], None] | None = None,
        callback: Callable[[Any], None] | None = None,
        **options: Any,
    ) -> Job:
        """Perform one message."""
        del target, kwargs, options
        job = Job(self)
        self._jobs.add(job)
        if accept_callback is not None:
            accept_callback(os.getpid(), time.monotonic())
        body, content_type, encoding = args[3:6]
        self._loop.call_soon_threadsafe(self._begin, job, (body, content_type, encoding), callback)
        return job

    def cancel(self, job: Job) -> None:
        """Cancel one message from any thread."""
        if job.task is not None:
            self._loop.call_soon_threadsafe(job.task.cancel)

    def on_stop(self) -> None:
        """Drain, hand back what does not finish in time, and end."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._performer.end(DRAIN_SECONDS), self._loop).result(
            timeout=DRAIN_SECONDS + 30
        )
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)

    on_terminate = on_stop

    def terminate_job(self, pid: int, signal: object = None) -> None:
        """Refuse: a pid is the whole worker here; use `celeriac executions cancel`."""
        log.warning(
            "Nothing was killed for pid %s: this pool is one process. Cancel the execution instead.", pid
        )

    def _get_info(self) -> dict[str, Any]:
        return {
            **super()._get_info(),  # type: ignore[misc]  # not in its stubs
            "processes": [os.getpid()],
            "messages": len(self._jobs),
        }

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _begin(self, job: Job, message: tuple[Any, str, str], callback: Callable[[Any], None] | None) -> None:
        job.task = self._loop.create_task(self._perform(message))
        job.task.add_done_callback(lambda task: self._done(job, task, callback))

    async def _perform(self, message: tuple[Any, str, str]) -> None:
        body, content_type, encoding = message
        try:
            if isinstance(body, (bytes, str)):
                body = loads(body, content_type, encoding, accept=ACCEPTED)
            references = references_of(list(body[0]))
        except (KombuError, ValueError, TypeError, LookupError) as error:
            log.warning("A message was dropped: %s", error)
            return
        await self._performer.perform(references)

    def _done(self, job: Job, task: asyncio.Task[None], callback: Callable[[Any], None] | None) -> None:
        self._jobs.discard(job)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A message failed inside the engine; its rows will come again.", exc_info=error)
        if callback is None:
            return
        told = (0, None, 0.0)
        if self._hub is not None:
            self._hub.call_soon(callback, told)
        else:
            callback(told)
