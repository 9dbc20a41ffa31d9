"""Callers of a running installation get an answer while the execution goes on, over HTTP and by commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Installation
from tests.builders import document, edges, node

pytestmark = pytest.mark.timeout(120)

ANSWER = {"status": 202, "headers": {"Location": "/orders/7"}, "body": {"order": 7}}


def answering(name: str, *more: Any) -> dict[str, Any]:
    """A workflow that answers, and then waits until it is told to go on."""
    say = node("say", "respond", {**ANSWER, "body": {"order": "{{ order }}"}})
    pause = node("pause", "wait", {"event": {"type": name, "transient": False}})
    return document([say, pause, *more], edges("say->pause"), name=name)


def test_who_waits_is_answered_while_the_rest_goes_on(installation: Installation) -> None:
    installation.push(answering("first"))
    body = installation.execute("first", {"order": 7}, Prefer="wait=30")
    assert body["answer"] == ANSWER
    assert body["status"] in ("running", "waiting")
    assert body["answered_at"] >= body["created_at"]
    shown = installation.execution(body["id"])
    assert (shown["answer"], shown["finished_at"]) == (ANSWER, None)
    installation.http.post("/api/v1/events", json={"type": "first"})
    ended = installation.execution(body["id"], wait=30)
    assert (ended["status"], ended["answer"]) == ("succeeded", ANSWER)


def test_the_same_request_again_gets_the_same_answer(installation: Installation) -> None:
    installation.push(answering("again"))
    first = installation.execute("again", {"order": 7}, Prefer="wait=30", Idempotency_Key="again-1")
    again = installation.execute("again", {"order": 7}, Prefer="wait=30", Idempotency_Key="again-1")
    assert (first["id"], first["answer"]) == (again["id"], again["answer"])
    installation.http.post(f"/api/v1/executions/{first['id']}/cancel", json={})


def test_who_waits_for_the_end_is_not_woken_by_an_answer(installation: Installation) -> None:
    installation.push(answering("end"))
    body = installation.execute("end", {"order": 7}, Prefer="wait=30")
    assert installation.execution(body["id"], wait=1)["finished_at"] is None
    installation.http.post(f"/api/v1/executions/{body['id']}/cancel", json={})


def test_a_called_workflow_answers_with_its_end(installation: Installation) -> None:
    say = node("say", "respond", {"body": "early"})
    last = node("last", "set", {"values": {"at": "the end"}})
    installation.push(
        document([say, last], edges("say->last"), name="called", outputs="{{ nodes.last.output }}")
    )
    installation.push(document([node("ask", "workflow", {"workflow": "called"})], name="asks"))
    body = installation.execute("asks", {}, Prefer="wait=30")
    assert (body["status"], body["output"]) == ("succeeded", {"ask": {"at": "the end"}})
    assert "answer" not in body


def test_run_shows_the_answer_and_goes_on_to_the_result(installation: Installation, folder: Path) -> None:
    path = folder / "answers.json"
    nodes = [
        node("say", "respond", {"status": 404, "body": "none"}),
        node("last", "set", {"values": {"x": 1}}),
    ]
    path.write_text(json.dumps(document(nodes, edges("say->last"), name="answers")))
    ran = installation.command("run", str(path), "--watch")
    assert (ran.code, ran.json) == (0, {"last": {"x": 1}})
    assert 'answered 404: "none"' in ran.err
    assert "answer   say" in ran.err
    as_json = installation.command("run", str(path), "--json")
    assert as_json.json["answer"] == {"status": 404, "headers": {}, "body": "none"}
    shown = installation.command("executions", "show", as_json.json["execution"])
    assert 'answered 404: "none"' in shown.out
    dry = installation.command("run", str(path), "--dry")
    assert 'would have answered 404: "none"' in dry.out
