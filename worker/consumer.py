"""Celery's consumer, which is back within half a second of its broker, and which no message brings down.

Celery itself waits 2, 4, 6, ... seconds for a broker, by no setting. And what it cannot read it raises: the worker ends, the
message goes back into the queue, and the next worker ends of it. Whoever can write to the broker could stop all workers so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import Empty
from typing import Any

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from kombu.transport import redis, virtual

log = logging.getLogger(__name__)

UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError)
"""What reading comes to that expects something else. A connection that breaks raises none of these."""


class SturdyConsumer(Consumer):
    """Tries again after 0.1 s, and then at most every 0.5 s, for ever; drops a message that is none, and goes on."""

    def ensure_connected(self, conn: Any) -> Any:
        """Return the connection once it is there."""
        self.first_connection_attempt = False
        return conn.ensure_connection(
            _say, None, interval_start=0.1, interval_step=0.1, interval_max=0.5, callback=maybe_shutdown
        )

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        """Return what takes a message. One that Celery cannot make anything of is dropped, and not put back."""
        handle = super().create_task_handler(*args, **options)

        def taken(message: Any) -> Any:
            try:
                return handle(message)
            except UNREADABLE as error:
                _drop(error)
                message.reject_log_error(log, self.connection_errors)  # type: ignore[attr-defined]
                return None

        return taken


class _Sturdy(virtual.Channel):
    """Reads from a list of Redis what may be anything at all."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # a channel of Redis has it
        except UNREADABLE as error:
            _drop(error)
            raise Empty from None


class SturdyChannel(_Sturdy, redis.Channel):
    """A channel of Redis."""


class SturdySentinelChannel(_Sturdy, redis.SentinelChannel):
    """A channel of Redis behind sentinels."""


def make_sturdy() -> None:
    """Have this process read with channels that drop what is no message. kombu takes no class for them by any setting."""
    redis.Transport.Channel = SturdyChannel
    redis.SentinelTransport.Channel = SturdySentinelChannel


def _drop(error: Exception) -> None:
    log.warning(
        "Something in the broker is no message of Celeriac, and was dropped (%s). Who else can write there?",
        type(error).__name__,
    )


def _say(error: Exception, interval: float) -> None:
    if interval <= 0.1:
        log.warning("The broker cannot be reached; trying until it can: %s", error)
