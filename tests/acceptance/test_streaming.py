"""What a model says, read by somebody who follows while the model still writes: a whole installation, and a real stream."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Installation, around
from tests.builders import ROOT, document, node
from tests.models import chunks

pytestmark = pytest.mark.timeout(180)

KEY = "sk-live-0123456789abcdef"


class Writer(ThreadingHTTPServer):
    """A model that begins and goes on with its answer when it is let to. What it writes is in the prompt, with | between."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.begin, self.go_on, self.left = Event(), Event(), Event()
        self.breaks = 0
        self.asked = 0


class Answer(BaseHTTPRequestHandler):
    server: Writer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert asked["stream"] is True
        self.server.asked += 1
        head, first, *rest = chunks(*asked["messages"][-1]["content"].split("|"))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.server.begin.wait(60)
        self.wfile.write(head + first)
        self.wfile.flush()
        if self.server.breaks:
            self.server.breaks -= 1
            return
        while not self.server.go_on.wait(0.05):
            try:
                self.wfile.write(b": wait\n\n")
            except OSError:
                self.server.left.set()
                return
        self.wfile.write(b"".join(rest))

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def writer() -> Iterator[Writer]:
    made = Writer()
    thread = Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def up(tmp_path: Path, writer: Writer) -> Iterator[Installation]:
    made = Installation(around(tmp_path / "data"), tmp_path / "up.log").start()
    base = f"http://127.0.0.1:{writer.server_port}/v1"
    words = (
        "connections",
        "add",
        "own",
        "--kind",
        "openai",
        "--set",
        f"base_url={base}",
        "--secret",
        "api_key=-",
    )
    added = made.command(*words, stdin=KEY)
    assert added.code == 0, added.err
    config = {"model": "words", "connection": "own", "prompt": "{{ trigger.payload }}", "stream": True}
    retry = {"max_attempts": 2, "delay": 0.05}
    said = node("n", "ai_call", config, retry=retry)
    made.push(document([said], name="story", outputs="{{ nodes.n.output.text }}"))
    yield made
    made.stop()


@contextmanager
def following(up: Installation, execution: str, writer: Writer) -> Iterator[Iterator[dict[str, Any]]]:
    """The stream of an execution's events, as they come. The model begins when the first one is here."""

    def events(answer: httpx2.Response) -> Iterator[dict[str, Any]]:
        for line in answer.iter_lines():
            if line == "data: {}":  # the end
                return
            if line.startswith("data: {"):
                writer.begin.set()
                yield json.loads(line[6:])

    path, headers = f"/api/v1/executions/{execution}/events", {"Accept": "text/event-stream"}
    with up.http.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        yield events(answer)


def begun(up: Installation, text: str) -> str:
    return str(up.execute("story", text)["id"])


def test_words_are_read_while_the_model_still_writes(up: Installation, writer: Writer) -> None:
    execution = begun(up, "Once |upon a time.")
    with following(up, execution, writer) as events:
        pieces = []
        for event in events:
            if event["type"] == "node.saying":
                pieces.append(event)
                assert "seq" not in event
                if not writer.go_on.is_set():
                    assert event["text"] == "Once "
                    assert up.execution(execution)["status"] == "running"
                    writer.go_on.set()
    # The last piece may come when the end was told already, and is lost then.
    assert "Once upon a time.".startswith("".join(each["text"] for each in pieces))
    assert {(each["node"], each["attempt"], each["model"]) for each in pieces} == {("n", 1, "words")}
    found = up.execution(execution, wait=30)
    assert found["output"] == "Once upon a time."
    assert found["usage"]["output_tokens"] == 5
    kept = up.http.get(f"/api/v1/executions/{execution}/events").json()["data"]
    assert "node.paid" in {each["type"] for each in kept}
    assert "node.saying" not in {each["type"] for each in kept}


def test_the_credential_of_the_call_is_in_no_piece(up: Installation, writer: Writer) -> None:
    execution = begun(up, f"The key is {KEY[:9]}|{KEY[9:]}, they say.")
    with following(up, execution, writer) as events:
        said = []
        for event in events:
            if event["type"] == "node.saying":
                said.append(event["text"])
                writer.go_on.set()
    whole = "The key is ***, they say."
    assert said[0] == "The key is "  # its beginning might have been one of a key
    assert whole.startswith("".join(said))
    assert up.execution(execution, wait=30)["output"] == whole


def test_what_broke_off_is_taken_back_and_said_anew(up: Installation, writer: Writer) -> None:
    writer.breaks = 1
    execution = begun(up, "Once |upon a time.")
    heard: list[dict[str, Any]] = []
    with following(up, execution, writer) as events:
        for event in events:
            if event["type"] == "node.saying":
                heard.append(event)
                if event["attempt"] == 2:
                    writer.go_on.set()
    first, second = ([each for each in heard if each["attempt"] == number] for number in (1, 2))
    assert first[-1]["state"] == "broken"
    assert (second[0]["text"], second[0]["offset"]) == ("Once ", 0)
    assert len({each["speech"] for each in heard}) == 2
    assert writer.asked == 2
    assert up.execution(execution, wait=30)["output"] == "Once upon a time."


def test_who_cancels_ends_the_stream(up: Installation, writer: Writer) -> None:
    execution = begun(up, "Once |upon a time.")
    with following(up, execution, writer) as events:
        for event in events:
            if event["type"] == "node.saying":
                break
        assert up.http.post(f"/api/v1/executions/{execution}/cancel", json={}).status_code in (200, 202)
        assert writer.left.wait(30)
        states = [each.get("state") for each in events if each["type"] == "node.saying"]
    assert states == ["broken"]
    assert up.execution(execution, wait=30)["status"] == "cancelled"


def test_the_command_that_follows_shows_what_is_said(up: Installation, writer: Writer) -> None:
    execution = begun(up, "Once |upon a time.")
    line = [sys.executable, "-m", "celeriac", "executions", "events", execution, "--follow"]
    with subprocess.Popen(
        line, env=up.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        shown = []
        for text in process.stdout:
            shown.append(text)
            writer.begin.set()
            if "node.saying" in text:
                writer.go_on.set()
        assert process.wait(60) == 0
    (first, *rest) = [each for each in shown if "node.saying" in each]
    assert first.rstrip().endswith("n  'Once '")
    assert rest
    assert "execution.succeeded" in shown[-1]
