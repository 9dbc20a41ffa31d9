"""One running installation, used over HTTP and by commands, while parts of it die."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Installation, lives
from tests.builders import document, edges, node, wait_until

pytestmark = pytest.mark.timeout(120)

HELLO = document([node("greet", "set", {"values": {"text": "Hello {{ name }}"}})], name="hello")
SLOW = document(
    [node("work", "compute", {"seconds": 1.5, "value": 7}), node("after")], edges("work->after"), name="slow"
)


@pytest.fixture
def file(folder: Path) -> Path:
    path = folder / "hello.json"
    path.write_text(json.dumps(HELLO))
    return path


# Commands


def test_run_joins_the_stack_and_prints_exactly_one_json_object(
    installation: Installation, file: Path
) -> None:
    ran = installation.command("run", str(file), "--input", '{"name": "Ada"}', "--json")
    assert ran.code == 0, ran.err
    assert set(ran.json) == {"execution", "workflow", "version", "status", "output", "duration_ms"}
    assert (ran.json["status"], ran.json["output"]) == ("succeeded", {"greet": {"text": "Hello Ada"}})
    assert installation.execution(ran.json["execution"])["status"] == "succeeded"


def test_run_prints_the_result_for_people_too_and_talks_elsewhere(
    installation: Installation, folder: Path, file: Path
) -> None:
    (folder / "input.json").write_text('{"name": "Ada"}')
    ran = installation.command("run", str(file), "--input", f"@{folder / 'input.json'}", "--watch")
    assert (ran.code, ran.json) == (0, {"greet": {"text": "Hello Ada"}})
    assert "done     greet" in ran.err
    assert "\x1b" not in ran.out + ran.err


def test_a_failed_execution_exits_with_one_and_tells_error_and_next_command(
    installation: Installation, folder: Path
) -> None:
    path = folder / "bad.json"
    path.write_text(
        json.dumps(document([node("stop", "fail", {"code": "shop.closed", "message": "closed"})], name="bad"))
    )
    ran = installation.command("run", str(path), "--json")
    assert (ran.code, ran.json["status"], ran.json["error"]["code"]) == (1, "failed", "shop.closed")
    assert f"celeriac executions show {ran.json['execution']}" in ran.err
    shown = installation.command("executions", "show", ran.json["execution"])
    lines = shown.out.splitlines()
    assert "failed" in lines[0]
    assert "stop: closed (shop.closed)" in lines[1]
    assert f"celeriac executions retry {ran.json['execution']}" in lines[2]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--input", "{"], "input.invalid_json"),
        (["--input", "@missing.json"], "file.unreadable"),
        (["--input", "NaN"], "input.invalid_json"),
    ],
)
def test_a_bad_input_exits_with_two_before_anything_is_saved(
    installation: Installation, file: Path, words: list[str], code: str
) -> None:
    ran = installation.command("run", str(file), *words, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, code)
    assert ran.json["error"]["hint"]


def test_an_input_the_workflow_does_not_take_exits_with_two(installation: Installation, folder: Path) -> None:
    path = folder / "picky.json"
    inputs = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    path.write_text(json.dumps(document([node("a")], name="picky", inputs=inputs)))
    ran = installation.command("run", str(path), "--input", '{"n": "x"}', "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "input.invalid")
    assert ran.json["error"]["errors"][0]["pointer"] == "/input/n"


def test_a_bad_definition_exits_with_two_and_tells_every_mistake(
    installation: Installation, folder: Path
) -> None:
    path = folder / "wrong.json"
    path.write_text(
        '{"name": "wrong", "definition": {"nodes": [{"id": "a", "type": "nop"}, {"id": "b", "type": "lgo"}]}}'
    )
    for words in (["run", str(path)], ["validate", str(path)], ["push", str(path)], ["compile", str(path)]):
        refused = installation.command(*words, "--json")
        assert refused.code == 2, words
        text = refused.out
        assert text.count("definition.unknown_node_type") == 2
        assert '"Did you mean noop?"' in text
    assert installation.http.get("/api/v1/workflows/wrong").status_code == 404


def test_a_wrong_use_of_a_command_exits_with_two(installation: Installation) -> None:
    for words in (
        ["nothing"],
        ["run"],
        ["executions", "list", "--status", "happy"],
        ["purge", "--older-than", "soon"],
    ):
        assert installation.command(*words).code == 2, words


def test_a_folder_is_pushed_whole_or_not_at_all(installation: Installation, folder: Path) -> None:
    (folder / "a.json").write_text(json.dumps(document([node("x")], name="folder-a")))
    (folder / "b.json").write_text(json.dumps(document([node("x", "nop")], name="folder-b")))
    (folder / "c.input.json").write_text("{}")
    assert installation.command("push", str(folder), "--json").code == 2
    assert installation.http.get("/api/v1/workflows/folder-a").status_code == 404
    (folder / "b.json").write_text(json.dumps(document([node("x")], name="folder-b")))
    pushed = installation.command("push", str(folder), "--json")
    assert [(each["name"], each["version"]["number"]) for each in pushed.json] == [
        ("folder-a", 1),
        ("folder-b", 1),
    ]
    assert "c.input.json: no definition, left out" in pushed.err


def test_every_list_is_json_when_asked_and_a_table_otherwise(installation: Installation, file: Path) -> None:
    installation.command("run", str(file), "--input", '{"name": "x"}')
    for words in (
        ["workflows", "list"],
        ["executions", "list"],
        ["attention", "list"],
        ["connections", "list"],
    ):
        listed = installation.command(*words, "--json")
        assert (listed.code, type(listed.json)) == (0, list), words
    assert "hello" in installation.command("executions", "list").out
    shown = installation.command("workflows", "show", "hello", "--json")
    assert shown.json["document"] == HELLO


def test_a_second_stack_on_the_same_data_is_refused_with_the_way_to_the_first(
    installation: Installation,
) -> None:
    refused = installation.command("up", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "stack.running")
    assert installation.told["url"] in refused.json["error"]["message"]
    assert str(installation.told["pid"]) in refused.json["error"]["hint"]


def test_a_secret_is_read_from_stdin_and_never_from_the_command_line(installation: Installation) -> None:
    words = ["connections", "add", "crm", "--kind", "bearer", "--host", "api.example.com"]
    asked = installation.command(*words, "--json")
    assert (asked.code, asked.json["error"]["code"]) == (2, "usage.secret")
    added = installation.command(*words, "--secret", "token=-", "--json", stdin="s3cr3t-t0k3n\n")
    assert (added.code, added.json["name"]) == (0, "crm")
    listed = installation.command("connections", "list", "--json")
    assert [each["name"] for each in listed.json] == ["crm"]
    for file in installation.data.rglob("*"):
        if file.is_file():
            assert b"s3cr3t-t0k3n" not in file.read_bytes()
    assert installation.command("connections", "remove", "crm", "--json").code == 0


def test_a_running_installation_is_healthy(installation: Installation) -> None:
    found = installation.command("doctor", "--json")
    assert (found.code, found.json["ok"]) == (0, True), found.out
    assert {each["name"] for each in found.json["needs"]} >= {
        "python",
        "sqlite",
        "database",
        "broker",
        "secret key",
    }
    assert httpx2.get(f"{installation.told['url']}/readyz", trust_env=False).json()["status"] == "ready"


# HTTP


def test_without_the_token_or_from_another_site_nothing_starts(installation: Installation) -> None:
    installation.push(HELLO)
    url = f"{installation.told['url']}/api/v1/workflows/hello/execute"
    good = installation.http.headers["authorization"]
    refused: list[tuple[dict[str, str], int]] = [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": good, "Origin": "https://evil.example"}, 403),
        ({"Authorization": good, "Host": "evil.example"}, 421),
        ({"Authorization": good, "Content-Type": "text/plain"}, 415),
    ]
    before = installation.http.get("/api/v1/executions").json()["data"]
    for headers, status in refused:
        sent = {"Content-Type": "application/json", **headers}
        answer = httpx2.post(url, content=b'{"input": {"name": "x"}}', headers=sent, trust_env=False)
        assert answer.status_code == status, headers
        assert answer.headers["content-type"] == "application/problem+json"
    assert installation.http.get("/api/v1/executions").json()["data"] == before


def test_the_result_comes_in_the_answer_to_who_waits(installation: Installation) -> None:
    installation.push(HELLO)
    body = installation.execute("hello", {"name": "Ada"}, Prefer="wait=20")
    assert (body["status"], body["output"]) == ("succeeded", {"greet": {"text": "Hello Ada"}})


def test_a_key_used_again_starts_nothing_new(installation: Installation) -> None:
    installation.push(HELLO)
    first = installation.execute("hello", {"name": "x"}, Idempotency_Key="acceptance-1")
    again = installation.execute("hello", {"name": "x"}, Idempotency_Key="acceptance-1", Prefer="wait=20")
    assert (again["id"], again["status"]) == (first["id"], "succeeded")


def streamed(
    installation: Installation, execution: str, last: str | None = None, most: int = 1000
) -> list[dict[str, Any]]:
    """Events of the stream, until its end or so many of them."""
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
    found: list[dict[str, Any]] = []
    with installation.http.stream("GET", f"/api/v1/executions/{execution}/events", headers=headers) as answer:
        for line in answer.iter_lines():
            if line.startswith('data: {"'):
                found.append(json.loads(line.removeprefix("data: ")))
            if line == "event: end" or len(found) == most:
                break
    return found


def test_a_broken_stream_goes_on_behind_the_last_event(installation: Installation) -> None:
    nodes = [node("a"), node("rest", "wait", {"for": 0.5}), node("b")]
    installation.push(document(nodes, edges("a->rest->b"), name="streamed"))
    execution = installation.execute("streamed")["id"]
    first = streamed(installation, execution, most=2)
    rest = streamed(installation, execution, last=str(first[-1]["seq"]))
    whole = installation.http.get(f"/api/v1/executions/{execution}/events").json()["data"]
    assert first + rest == whole
    assert [each["seq"] for each in whole] == list(range(1, len(whole) + 1))


def test_a_long_rest_can_be_held_let_go_and_cancelled(installation: Installation) -> None:
    installation.push(document([node("rest", "wait", {"for": "1h"})], name="long"))
    execution = installation.execute("long")["id"]
    wait_until(lambda: installation.execution(execution)["status"] == "waiting", 20, "the rest")
    for word, key in (("pause", "paused_at"), ("resume", None)):
        assert installation.command("executions", word, execution, "--json").code == 0
        assert ("paused_at" in installation.execution(execution)) is (key is not None)
    cancelled = installation.command("executions", "cancel", execution, "--reason", "enough", "--json")
    assert (cancelled.code, cancelled.json["status"]) == (0, "cancelled")
    repeated = installation.command("executions", "retry", execution, "--json")
    assert installation.execution(repeated.json["execution"])["base"] == execution
    installation.command("executions", "cancel", repeated.json["execution"])


# Deaths


def test_a_worker_killed_in_the_middle_loses_nothing(installation: Installation) -> None:
    installation.push(SLOW)
    execution = installation.execute("slow")["id"]
    wait_until(lambda: installation.nodes(execution)["work"]["status"] == "running", 20, "the work")
    assert not lives(installation.kill("worker"))
    assert "the worker died (SIGKILL)" in installation.words
    body = installation.execution(execution, wait=40)
    assert (body["status"], body["output"]) == ("succeeded", {"after": None})
    events = installation.http.get(f"/api/v1/executions/{execution}/events").json()["data"]
    assert [each["type"] for each in events].count("node.succeeded") == 2


def test_a_worker_killed_in_an_effect_that_cannot_be_repeated_asks_a_person(
    installation: Installation,
) -> None:
    import http.server
    import threading

    seen = threading.Event()

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.set()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/charge"
        installation.push(document([node("charge", "once_effect", {"url": url, "stay": 60})], name="charged"))
        execution = installation.execute("charged")["id"]
        assert seen.wait(20)
        server.shutdown()
    found: list[dict[str, Any]] = []

    def listed() -> bool:
        found[:] = installation.command("attention", "list", "--json").json
        return bool(found)

    wait_until(listed, 40, "the question")
    (question,) = found
    assert (question["execution"], question["node"]) == (execution, "charge")
    words = ["attention", "resolve", execution, str(question["segment"]), "done", "--output", '{"id": 7}']
    assert installation.command(*words, "--json").code == 0
    assert installation.execution(execution, wait=30)["output"] == {"charge": {"id": 7}}


def test_a_broker_that_dies_is_started_again_and_nothing_is_lost(installation: Installation) -> None:
    installation.push(SLOW)
    executions = [installation.execute("slow")["id"] for _ in range(3)]
    installation.kill("broker")
    executions.append(installation.execute("slow")["id"])
    for each in executions:
        assert installation.execution(each, wait=40)["status"] == "succeeded"


def test_everything_killed_at_once_goes_on_where_it_was(installation: Installation) -> None:
    installation.push(SLOW)
    execution = installation.execute("slow")["id"]
    told = installation.told
    for pid in (told["pid"], *told["pids"].values()):
        os.kill(pid, signal.SIGKILL)
    installation.stop(signal.SIGKILL)
    installation.start()
    assert installation.execution(execution, wait=40)["status"] == "succeeded"
