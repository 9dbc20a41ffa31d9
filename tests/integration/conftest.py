"""Databases for the suites that pass on both: a migrated SQLite file, a migrated PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.settings import Settings
from tests.builders import environment, prepared
from tests.servers import Postgres

NO_BROKER = "redis+socket:///nowhere"


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """The settings of an installation whose database is there and migrated; it has no broker."""
    if request.param == "sqlite":
        yield prepared(environment(tmp_path, NO_BROKER))
        return
    server: Postgres = request.getfixturevalue("postgres")
    template = server.template("migrated", lambda url: _migrate(tmp_path, url))
    with server.database(template) as url:
        yield prepared(environment(tmp_path, NO_BROKER, url))


def _migrate(folder: Path, url: str) -> None:
    prepared(environment(folder, NO_BROKER, url))
