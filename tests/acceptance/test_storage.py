"""What an installation keeps: backed up while it runs, restored when it does not, and let go of in time."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from tests.acceptance.conftest import Installation, around
from tests.builders import document, edges, node

pytestmark = pytest.mark.timeout(120)

WORK = document([node("a", "set", {"values": {"t": "{{ t }}"}}), node("b")], edges("a->b"), name="work")


def test_a_backup_under_load_is_restored_elsewhere_and_goes_on(
    installation: Installation, folder: Path
) -> None:
    installation.push(WORK)
    installation.push(
        document([node("rest", "wait", {"for": 3}), node("b")], edges("rest->b"), name="resting")
    )
    resting = installation.execute("resting")["id"]
    stop = threading.Event()
    accepted: list[str] = []

    def load() -> None:
        while not stop.is_set():
            accepted.append(installation.execute("work", {"t": 1})["id"])

    loading = threading.Thread(target=load)
    loading.start()
    saved = installation.command("backup", str(folder / "b.db"), "--json")
    sound = installation.command("verify", "--json")
    stop.set()
    loading.join()
    assert saved.code == 0, saved.err
    assert saved.json["executions"] >= 1
    assert (sound.code, sound.json["violations"]) == (0, [])
    assert sound.json["executions"] >= saved.json["executions"]
    assert installation.command("backup", str(folder / "b.db"), "--json").code == 1
    refused = installation.command("restore", str(folder / "b.db"), "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "stack.running")
    other = Installation(around(folder / "other"), folder / "other.log")
    restored = other.command("restore", str(folder / "b.db"), "--json")
    assert (restored.code, restored.json["replaced"]) == (0, None)
    assert restored.json["executions"] == saved.json["executions"]
    try:
        other.start()
        assert other.execution(resting, wait=40)["status"] == "succeeded"
        listed = other.http.get("/api/v1/executions", params={"limit": 200}).json()["data"]
        assert len(listed) == min(200, saved.json["executions"])
    finally:
        other.stop()
    assert installation.execution(resting, wait=40)["status"] == "succeeded"
    installation.stop()
    kept = installation.command("restore", str(folder / "b.db"), "--json")
    assert (kept.code, kept.json["error"]["code"]) == (1, "request.conflict")
    (folder / "text").write_text("hello")
    foreign = installation.command("restore", str(folder / "text"), "--replace", "--json")
    assert (foreign.code, foreign.json["error"]["code"]) == (2, "backup.invalid")
    replaced = installation.command("restore", str(folder / "b.db"), "--replace", "--json")
    assert Path(replaced.json["replaced"]).exists()
    installation.start()


def test_purging_a_running_installation_lets_go_of_what_ended_and_of_nothing_else(
    installation: Installation,
) -> None:
    installation.push(WORK)
    installation.push(document([node("rest", "wait", {"for": "1h"})], name="resting"))
    resting = installation.execute("resting")["id"]
    large = "x" * 50_000
    done = [installation.execute("work", {"t": large}, Prefer="wait=20")["id"] for _ in range(3)]
    kept = installation.command("purge", "--older-than", "30d", "--json")
    assert (kept.code, kept.json["executions"]) == (0, 0)
    gone = installation.command("purge", "--older-than", "0s", "--json")
    assert gone.json["executions"] >= 3
    assert gone.json["blobs"] == 1
    for each in done:
        assert installation.http.get(f"/api/v1/executions/{each}").status_code == 404
    assert installation.execution(resting)["status"] == "waiting"
    again = installation.execute("work", {"t": large}, Prefer="wait=20")
    assert (again["status"], json.dumps(again["output"])) == ("succeeded", '{"b": null}')


def test_without_an_installation_there_is_nothing_to_ask_and_the_way_is_told(folder: Path) -> None:
    nothing = Installation(around(folder / "none"), folder / "log")
    for words in (["executions", "list"], ["workflows", "list"], ["attention", "list"]):
        asked = nothing.command(*words, "--json")
        assert (asked.code, asked.json["error"]["code"]) == (1, "stack.missing")
        assert "celeriac up" in asked.json["error"]["hint"]
    assert not (folder / "none" / "celeriac.db").exists()


def test_with_nothing_running_commands_still_read_and_write(installation: Installation, folder: Path) -> None:
    installation.push(WORK)
    done = installation.execute("work", {"t": 1}, Prefer="wait=20")["id"]
    installation.stop()
    listed = installation.command("executions", "list", "--json")
    assert listed.json[0]["id"] == done
    assert installation.command("workflows", "disable", "work", "--json").json["enabled"] is False
    path = folder / "hello.json"
    path.write_text(json.dumps(document([node("a")], name="hello")))
    assert installation.command("push", str(path), "--json").json[0]["name"] == "hello"
    installation.start()
    assert installation.http.get("/api/v1/workflows/work").json()["enabled"] is False
    assert installation.execute("hello", {}, Prefer="wait=20")["status"] == "succeeded"
