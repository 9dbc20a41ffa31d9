from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from celeriac.cli import app
from celeriac.commands import doctor
from celeriac.commands import lock as locks
from engine.store.schema import HEAD
from tests.builders import document, node
from tests.workbench import Workbench, migrated

runner = CliRunner()


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "BROKER_URL", "CELERIAC_SECRET_KEY", "CELERIAC_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CELERIAC_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CELERIAC_API_PORT", "0")


def needs() -> tuple[int, dict[str, dict[str, Any]]]:
    ran = runner.invoke(app, ["doctor", "--json"])
    return ran.exit_code, {each["name"]: each for each in json.loads(ran.stdout)["needs"]}


def test_a_fresh_machine_lacks_nothing(tmp_path: Path) -> None:
    code, found = needs()
    assert (code, [each for each in found.values() if not each["ok"]]) == (0, [])
    assert not (tmp_path / "data").exists()


def test_secrets_that_others_can_read_are_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "api.token").write_text("x" * 40)
    code, found = needs()
    assert (code, found["data directory"]["ok"]) == (1, False)
    assert found["data directory"]["remedy"] == f"chmod 600 {tmp_path / 'data' / 'api.token'}"


def test_a_database_that_is_behind_is_told_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "celeriac.db"
    path.touch(0o600)
    code, found = needs()
    assert (code, found["database"]["remedy"]) == (1, "Run: celeriac migrate")
    path.write_bytes(migrated())
    assert needs()[1]["database"]["found"] == f"SQLite, schema {HEAD}"


def test_work_that_nobody_takes_up_is_told_with_its_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    bench = Workbench(tmp_path / "data")
    bench.start(bench.push(document([node("n")])))
    (tmp_path / "data" / "celeriac.db").chmod(0o600)
    assert needs()[1]["work"]["found"] == "nothing waits for a worker"
    bench.connection.run("UPDATE segment SET due = 1, ready_at = 1")
    assert needs()[1]["work"] == {
        "name": "work",
        "ok": True,
        "found": "segments wait until celeriac up: 1 in default",
        "remedy": None,
    }
    monkeypatch.setattr(locks, "is_taken", lambda _: True)
    code, found = needs()
    assert (code, found["work"]["ok"]) == (1, False)
    assert found["work"]["remedy"] == "Start one: celeriac worker --queues default"
    bench.close()


def test_an_old_sqlite_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 30, 0))
    code, found = needs()
    assert (code, found["sqlite"]["ok"]) == (1, False)


def test_what_a_look_itself_stumbles_over_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_: object) -> Any:
        raise RuntimeError("odd")

    monkeypatch.setattr(doctor, "_LOOKS", (("odd", broken), ("python", doctor._python)))
    code, found = needs()
    assert (code, found["odd"]["found"], found["python"]["ok"]) == (1, "RuntimeError: odd", True)


def test_people_get_a_line_a_need_and_the_remedy_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", "redis://127.0.0.1:1/0")
    lines = runner.invoke(app, ["doctor"]).stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("missing  broker"))
    assert lines[at + 1].strip() == "Start it, or correct BROKER_URL."
