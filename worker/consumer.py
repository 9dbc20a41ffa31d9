"""Celery's consumer, back within half a second of its broker. Celery itself waits 2, 4, 6, ... seconds, by no setting."""

from __future__ import annotations

import logging
from typing import Any

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

log = logging.getLogger(__name__)


class QuickConsumer(Consumer):
    """Tries again after 0.1 s, and then at most every 0.5 s, for ever."""

    def ensure_connected(self, conn: Any) -> Any:
        """Return the connection once it is there."""
        self.first_connection_attempt = False
        return conn.ensure_connection(
            _say, None, interval_start=0.1, interval_step=0.1, interval_max=0.5, callback=maybe_shutdown
        )


def _say(error: Exception, interval: float) -> None:
    if interval <= 0.1:
        log.warning("The broker cannot be reached; trying until it can: %s", error)
