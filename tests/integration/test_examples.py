"""`celeriac run` on each example, on a whole installation: SQLite and PostgreSQL, one worker each, a real Valkey."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from celeriac.cli import app
from celeriac.commands import lock
from tests import servers

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in (EXAMPLES / "expected").glob("*.json"))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def installation(
    request: pytest.FixtureRequest, valkey: servers.Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The environment of an installation that is up."""
    data = tmp_path_factory.mktemp("installation")
    environment = {
        "CELERIAC_DATA": str(data),
        "CELERIAC_EGRESS_ALLOW": "127.0.0.1",
        "CELERIAC_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
        "BROKER_URL": valkey.url,
        "DATABASE_URL": "",
    }
    if request.param == "sqlite":
        yield from up(environment, data)
    else:
        postgres: servers.Postgres = request.getfixturevalue("postgres")
        with postgres.database() as url:
            yield from up({**environment, "DATABASE_URL": url}, data)


def up(environment: dict[str, str], data: Path) -> Iterator[dict[str, str]]:
    den = servers.Den()
    line = [sys.executable, "-m", "celeriac", "up", "--port", "0"]
    try:
        process = den.start(line, quits_on=signal.SIGTERM, environment={**os.environ, **environment})
        den.wait_for(process, lambda: lock.running(data) is not None)
        yield environment
    finally:
        den.clear()


@pytest.fixture(scope="module")
def town() -> Iterator[str]:
    """The address of the server that two examples talk to."""
    line = [sys.executable, str(EXAMPLES / "server.py"), "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def test_there_are_ten_examples() -> None:
    stories = ["chain", "cross", "diamond", "http", "nested", "retry", "skip", "thousand", "wait", "wide"]
    assert stories == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_example_comes_to_what_is_expected_of_it(
    name: str, installation: dict[str, str], town: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in installation.items():
        monkeypatch.setenv(variable, value)
    given = (EXAMPLES / "inputs" / f"{name}.json").read_text(encoding="utf-8")
    given = given.replace("http://127.0.0.1:8765", town)
    line = ["run", str(EXAMPLES / f"{name}.json"), "--input", given, "--wait", "40", "--json"]
    done = CliRunner().invoke(app, line, catch_exceptions=False)
    printed = json.loads(done.stdout)
    expected = json.loads((EXAMPLES / "expected" / f"{name}.json").read_text(encoding="utf-8"))
    assert {key: printed.get(key) for key in expected} == expected
    assert done.exit_code == 0
