"""What every suite may ask for: real servers, one set a test process, started when the first test asks."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import local_models, servers
from tests.imap import Imap
from tests.mariadb import Mariadb, no_mariadb

if TYPE_CHECKING:
    from collections.abc import Iterator


_hung_up: list[str] = []
"""RabbitMQ servers that tests have killed in the middle of a handshake."""


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure() -> None:
    """Collect what py-amqp leaves to the garbage collector when a broker hangs up: its sockets, and nothing else."""
    with warnings.catch_warnings():
        if _hung_up:
            warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)
        gc.collect()


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
    if (missing := servers.no_rabbitmq()) is not None:
        pytest.skip(missing)
    server = servers.start_rabbitmq()
    yield server
    server.stop()
    _hung_up.append(server.url)


@pytest.fixture(scope="session")
def models_folder() -> Path:
    """The real models of this machine."""
    found = local_models.installed()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session")
def imap() -> Iterator[Imap]:
    """A real mail server whose mailboxes are read."""
    server = Imap()
    yield server
    server.close()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Mariadb]:
    if (missing := no_mariadb()) is not None:
        pytest.skip(missing)
    server = Mariadb()
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres: servers.Postgres) -> Iterator[str]:
    """A fresh, empty database."""
    with postgres.database() as url:
        yield url
