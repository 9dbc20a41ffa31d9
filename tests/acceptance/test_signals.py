"""Waits that people and programs end from outside: over HTTP, and by commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Installation
from tests.builders import document, edges, node, wait_until

pytestmark = pytest.mark.timeout(120)


def waiting(installation: Installation, *nodes: dict[str, Any], name: str) -> str:
    installation.push(document(list(nodes), edges("->".join(each["id"] for each in nodes)), name=name))
    execution: str = installation.execute(name)["id"]
    wait_until(lambda: installation.execution(execution)["status"] == "waiting", 20, "the wait")
    return execution


def ended(installation: Installation, execution: str) -> Any:
    found = installation.execution(execution, wait=20)
    assert found["status"] == "succeeded", found
    return found["output"]


def test_an_event_is_published_by_a_command(installation: Installation) -> None:
    pause = node("pause", "wait", {"event": {"type": "paid", "correlation": "7"}})
    execution = waiting(installation, pause, node("after"), name="hears")
    said = installation.command(
        "events", "publish", "paid", "--correlation", "7", "--data", "[1]", "--id", "one", "--json"
    )
    assert (said.code, said.json["woken"]) == (0, 1), said.err
    ended(installation, execution)
    again = installation.command("events", "publish", "paid", "--correlation", "7", "--id", "one")
    assert again.out.strip() == f"It was published before, as {said.json['id']}."


def test_an_address_that_a_node_gave_away_is_called_by_somebody_without_a_token(
    installation: Installation,
) -> None:
    tell = node("tell", "log", {"message": "{{ callback_url('pause') }}"})
    execution = waiting(installation, tell, node("pause", "wait", {"callback": True}), name="called")
    events = installation.http.get(f"/api/v1/executions/{execution}/events").json()["data"]
    (url,) = [each["message"] for each in events if each["type"] == "node.log"]
    assert url.startswith(installation.told["url"])
    with httpx2.Client(trust_env=False) as stranger:
        assert stranger.post(url, json={"paid": True}).status_code == 202
        assert stranger.post(url, json={}).status_code == 409
        assert stranger.post(f"{url[:-4]}AAAA", json={}).status_code == 404
    assert ended(installation, execution)["pause"]["payload"] == {"paid": True}


def test_an_approval_is_listed_shown_and_decided_by_commands(
    installation: Installation, folder: Path
) -> None:
    ask = node("ask", "approval", {"title": "Pay?", "show": {"sum": 3}, "quorum": 2})
    execution = waiting(installation, ask, name="asks")
    (found,) = installation.command("approvals", "list", "--json").json
    assert "Pay?" in installation.command("approvals", "list").out
    shown = installation.command("approvals", "show", found["id"])
    assert all(part in shown.out for part in ("Pay?", '"sum": 3', "anybody", found["shown_hash"]))
    first = installation.command(
        "approvals", "decide", found["id"], "approve", "--as", "ann", "--comment", "Yes."
    )
    assert (first.code, first.out.strip()) == (0, "Counted; more voices are needed.")
    twice = installation.command("approvals", "decide", found["id"], "approve", "--as", "ann")
    assert (twice.code, "approval.voted" in twice.err) == (1, True)
    second = installation.command("approvals", "decide", found["id"], "approve", "--as", "bob", "--json")
    assert second.json == {"id": found["id"], "status": "approved", "decided": True}
    output = ended(installation, execution)["ask"]
    assert [each["principal"] for each in output["payload"]["votes"]] == ["ann", "bob"]
    assert installation.command("approvals", "list").err.strip() == "Nothing waits to be decided."
    assert "ann: approved, Yes." in installation.command("approvals", "show", found["id"]).out
