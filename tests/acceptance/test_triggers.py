"""What starts workflows by itself, on a running installation: over HTTP, by commands, and while the API is killed."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import pytest

from engine.triggers.verification import Verify, sample
from tests.acceptance.conftest import Installation
from tests.builders import document, node, wait_until

pytestmark = pytest.mark.timeout(180)

DELIVERIES = 120


@pytest.fixture
def pushed(installation: Installation, folder: Path) -> dict[str, Any]:
    """A workflow whose webhook was pushed by a command, with its secrets."""
    name = f"hooked{time.monotonic_ns()}"
    trigger = {"type": "webhook", "config": {"verify": "standard"}}
    path = folder / "hooked.json"
    path.write_text(json.dumps(document([node("a")], name=name, trigger=trigger)))
    said = installation.command("push", str(path), "--json")
    assert said.code == 0, said.err
    (issued,) = said.json[0]["webhooks"]
    assert issued["secret"] in said.err
    return dict(issued)


def test_what_the_api_has_accepted_is_there_when_it_was_killed_and_what_it_has_not_may_be_sent_again(
    installation: Installation, pushed: dict[str, Any]
) -> None:
    killed = Event()
    verify = Verify("standard")

    def deliver(number: int) -> list[str]:
        """Send a delivery until it is accepted, and then once more."""
        accepted: list[str] = []
        deadline = time.monotonic() + 60
        with httpx2.Client(trust_env=False, timeout=5) as http:
            while len(accepted) < 2:
                assert time.monotonic() < deadline
                body = json.dumps({"n": number}).encode()
                headers = sample(verify, pushed["secret"], f"d{number}", body, int(time.time()))
                try:
                    url = installation.told["url"] + "/webhooks/" + pushed["url"].partition("/webhooks/")[2]
                    answer = http.post(
                        url, content=body, headers={**headers, "Content-Type": "application/json"}
                    )
                except (httpx2.TransportError, OSError, ValueError):  # nobody there, or just coming
                    time.sleep(0.05)
                    continue
                if answer.status_code == 503:
                    time.sleep(0.05)
                    continue
                assert answer.status_code == 202, answer.text
                accepted.append(answer.json()["execution"])
                if number == DELIVERIES // 3 and not killed.is_set():
                    killed.set()
                    os.kill(installation.told["pid"], signal.SIGKILL)
        return accepted

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(deliver, number) for number in range(DELIVERIES)]
        assert killed.wait(60)
        assert installation.process is not None
        installation.process.wait(30)
        installation.start()
        found = [each.result() for each in asked]
    assert all(len(set(each)) == 1 for each in found)
    assert len({each[0] for each in found}) == DELIVERIES
    listed = installation.http_page(f"/executions?workflow={pushed['workflow']['id']}")
    assert len(listed) == DELIVERIES
    wait_until(
        lambda: all(
            each["status"] == "succeeded"
            for each in installation.http_page(f"/executions?workflow={pushed['workflow']['id']}")
        ),
        30,
        "the end of all of them",
    )


def test_a_webhook_is_looked_after_by_commands(
    installation: Installation, pushed: dict[str, Any], folder: Path
) -> None:
    listed = installation.command("webhooks", "list", "--json")
    assert pushed["id"] in [each["id"] for each in listed.json]
    assert pushed["secret"] not in listed.out
    tried = installation.command("webhooks", "test", pushed["id"], "--payload", '{"n": 1}', "--json")
    assert tried.code == 0, tried.err
    assert installation.execution(tried.json["execution"], wait=20)["status"] == "succeeded"
    seen = installation.command("webhooks", "deliveries", pushed["id"])
    assert tried.json["execution"] in seen.out
    secret = folder / "secret"
    secret.write_text("whsec_" + "Q" * 43 + "=\n")
    rotated = installation.command("webhooks", "rotate", pushed["id"], "--secret-file", str(secret), "--json")
    assert rotated.json["secret"] == secret.read_text().strip()
    assert installation.command("webhooks", "disable", pushed["id"]).out.strip().endswith("disabled")
    assert "disabled" in installation.command("webhooks", "show", pushed["id"]).out


def test_a_schedule_is_looked_after_by_commands(installation: Installation) -> None:
    installation.push(document([node("a")], name="ticks"))
    config = '{"overlap": "allow", "payload": {"n": 1}}'
    made = installation.command(
        "schedules", "create", "ticks", "often", "--every", "1s", "--config", config, "--json"
    )
    assert made.code == 0, made.err
    name = made.json["id"]
    wait_until(lambda: len(installation.http_page("/executions?workflow=ticks")) >= 2, 20, "two slots")
    assert "often" in installation.command("schedules", "list", "--workflow", "ticks").out
    paused = installation.command("schedules", "pause", name, "--reason", "enough")
    assert paused.code == 0, paused.err
    shown = installation.command("schedules", "show", name)
    assert "paused: enough" in shown.out
    assert "started" in shown.out
    ran = installation.command("schedules", "run", name, "--json")
    found = installation.execution(ran.json["execution"], wait=20)
    assert (found["status"], found["trigger"]["schedule"]) == ("succeeded", name)
    filled = installation.command(
        "schedules", "backfill", name, "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:00:05Z"
    )
    assert filled.out.strip() == "5 slots: 5 started"
    assert installation.command("schedules", "remove", name).code == 0
    assert installation.command("schedules", "show", name).code == 1


def test_a_preview_needs_no_schedule(installation: Installation) -> None:
    said = installation.command(
        "schedules", "preview", "--cron", "30 2 * * *", "--timezone", "America/New_York",
        "--after", "2026-03-07T12:00:00Z", "-n", "2",
    )  # fmt: skip
    assert said.out.split() == ["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"]
    wrong = installation.command("schedules", "preview", "--cron", "30 2 * *")
    assert (wrong.code, "Five fields" in wrong.err) == (2, True)
