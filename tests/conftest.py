"""What every suite may ask for: real servers, one set a test process, started when the first test asks."""

from __future__ import annotations

import gc
import warnings
from typing import TYPE_CHECKING

import pytest

from tests import servers

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_report_header() -> list[str]:
    return [f"server: {line}" for line in servers.survey()]


@pytest.fixture(scope="session")
def valkey() -> Iterator[servers.Valkey]:
    server = servers.start_valkey()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Postgres]:
    server = servers.start_postgres()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[servers.RabbitMQ]:
    try:
        server = servers.start_rabbitmq()
    except servers.NoServer as reason:
        pytest.skip(str(reason))
    yield server
    server.stop()
    with warnings.catch_warnings():
        # py-amqp leaves its socket to the garbage collector when a broker hangs up during the handshake.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def postgres_url(postgres: servers.Postgres) -> Iterator[str]:
    """A fresh, empty database."""
    with postgres.database() as url:
        yield url
