from __future__ import annotations

import logging
from typing import Any

import pytest
from celery.worker.state import maybe_shutdown

from worker.consumer import SturdyConsumer


class Connection:
    """A connection that fails a few times, with the waits it was told."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked: dict[str, Any] = {}
        self.retries: object = ()

    def ensure_connection(self, errback: Any, max_retries: object, **options: Any) -> Connection:
        self.asked, self.retries = options, max_retries
        for number in range(self.failures):
            interval = options["interval_start"] + number * options["interval_step"]
            errback(ConnectionError("refused"), min(interval, options["interval_max"]))
        return self


def consumer() -> SturdyConsumer:
    made = SturdyConsumer.__new__(SturdyConsumer)
    made.first_connection_attempt = True
    return made


def test_it_tries_soon_and_for_ever_and_stops_when_the_worker_does() -> None:
    connection = Connection(0)
    assert consumer().ensure_connected(connection) is connection
    assert connection.retries is None
    assert connection.asked == {
        "interval_start": 0.1,
        "interval_step": 0.1,
        "interval_max": 0.5,
        "callback": maybe_shutdown,
    }


def test_an_outage_is_told_once_and_not_with_every_try(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        consumer().ensure_connected(Connection(9))
    assert caplog.messages == ["The broker cannot be reached; trying until it can: refused"]
