"""Starting and stopping: one stack a data directory, nothing left behind, whatever way it ends."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac.commands.stack import short_folder
from tests.acceptance.conftest import Installation, around, celeriac, lives
from tests.builders import document, node, wait_until
from tests.servers import Postgres, Valkey

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def up(folder: Path) -> Iterator[Installation]:
    made = Installation(around(folder / "data"), folder / "up.log")
    yield made
    made.stop(signal.SIGKILL)


def sockets(installation: Installation) -> list[str]:
    return [each.name for each in (installation.data / "run").iterdir() if each.is_socket()]


def everyone(installation: Installation) -> list[int]:
    told = installation.told
    return [told["pid"], *told["pids"].values()]


@pytest.mark.parametrize(
    ("number", "name", "in_data"), [(signal.SIGINT, "data", 1), (signal.SIGTERM, "d" * 120, 0)]
)
def test_a_stopped_stack_leaves_no_process_no_socket_and_no_trace_of_being_up(
    folder: Path, number: signal.Signals, name: str, in_data: int
) -> None:
    up = Installation(around(folder / name), folder / "up.log").start()
    try:
        pids = everyone(up)
        assert len(pids) == 3
        # A path that is too long for a socket gets a short folder elsewhere.
        assert len(sockets(up)) == in_data
        assert short_folder(up.data).exists() == (not in_data)
        up.push(document([node("a")]))
        assert up.execute("w", {}, Prefer="wait=30")["status"] == "succeeded"
        begun = time.monotonic()
        assert up.stop(number) in (0, 130)
        assert time.monotonic() - begun < 10
    finally:
        up.stop(signal.SIGKILL)
    assert [pid for pid in pids if lives(pid)] == []
    assert list((up.data / "run").iterdir()) == []
    assert not short_folder(up.data).exists()


def test_a_killed_stack_takes_its_children_along_and_is_no_obstacle(up: Installation) -> None:
    up.start()
    up.push(document([node("rest", "wait", {"for": 1}), node("a")], name="slow"))
    execution = up.execute("slow")["id"]
    pids = everyone(up)
    up.stop(signal.SIGKILL)
    wait_until(lambda: not any(map(lives, pids)), 10, "the children's end")
    wait_until(lambda: sockets(up) == [], 10, "the socket's end")
    up.start()
    assert up.execution(execution, wait=30)["status"] == "succeeded"


def test_a_taken_port_is_a_clear_error_and_leaves_nothing(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = around(folder / "data", CELERIAC_API_PORT=str(port))
        refused = celeriac(environment, "up", "--json")
        assert (refused.code, refused.json["error"]["code"]) == (1, "api.port_taken")
        assert str(port) in refused.json["error"]["message"]
        assert list((folder / "data" / "run").iterdir()) == []
        missing = celeriac(environment, "doctor", "--json")
        needs = {each["name"]: each for each in missing.json["needs"]}
        assert (missing.code, needs["api port"]["ok"]) == (1, False)


def test_only_what_is_missing_is_started(folder: Path, postgres: Postgres, valkey: Valkey) -> None:
    valkey.flush()
    with postgres.database() as url:
        key = "WntK5rKulCecID+vmPQ/ldne2441FpIvwOnKrEb/+T0="
        environment = around(
            folder / "data", DATABASE_URL=url, BROKER_URL=valkey.url, CELERIAC_SECRET_KEY=key
        )
        up = Installation(environment, folder / "up.log").start()
        try:
            assert list(up.told["pids"]) == ["worker"]
            assert not (up.data / "celeriac.db").exists()
            up.push(document([node("a")]))
            assert up.execute("w", {}, Prefer="wait=30")["status"] == "succeeded"
        finally:
            up.stop()


def test_a_server_database_without_a_secret_key_is_refused_before_anything_starts(
    folder: Path, postgres: Postgres
) -> None:
    with postgres.database() as url:
        refused = celeriac(around(folder / "data", DATABASE_URL=url), "up", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "secret_key.missing")


def test_a_database_of_a_newer_version_is_refused_with_the_remedy(folder: Path) -> None:
    newer = Installation(around(folder / "data"), folder / "up.log").lay()
    raw = sqlite3.connect(newer.data / "celeriac.db")
    raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.commit()
    raw.close()
    for words in (("up", "--port", "0"), ("migrate",), ("executions", "list")):
        refused = newer.command(*words, "--json")
        assert (refused.code, refused.json["error"]["code"]) == (1, "database.schema_too_new")
        assert "at least as new" in refused.json["error"]["hint"]


def test_with_monitor_flower_watches_behind_a_password(folder: Path) -> None:
    up = Installation(around(folder / "data"), folder / "up.log", options=("--monitor", "--json")).start()
    try:
        flower = up.told["flower"]
        assert json.loads(up.words[up.words.index("{") :])["flower"] == flower
        assert (up.data / "run" / "up.json").stat().st_mode & 0o077 == 0
        pid = up.told["pids"]["flower"]
        assert flower["password"] not in Path(f"/proc/{pid}/cmdline").read_text()

        def status(auth: tuple[str, str] | None) -> int:
            import httpx2

            try:
                return httpx2.get(
                    flower["url"] + "/workers", auth=auth, trust_env=False, timeout=10
                ).status_code
            except httpx2.TransportError:
                return 0

        wait_until(lambda: status((flower["user"], flower["password"])) == 200, 40, "Flower")
        assert status(None) == 401
        assert status(("celeriac", "wrong")) == 401
    finally:
        up.stop()
    assert not lives(pid)
