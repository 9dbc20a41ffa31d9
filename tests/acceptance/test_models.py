"""Models, budgets and collections, as people use them: commands at a running installation, and a server that answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.acceptance.conftest import Installation, around
from tests.builders import document, node
from tests.models import meaning

pytestmark = pytest.mark.timeout(180)


class OpenAI(BaseHTTPRequestHandler):
    """A server that speaks as OpenAI's does."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        usage = {"prompt_tokens": 1000, "completion_tokens": 0, "total_tokens": 1000}
        body: dict[str, Any] = {"model": asked["model"], "usage": usage}
        if self.path.endswith("/embeddings"):
            body["data"] = [
                {"index": at, "embedding": meaning(each)} for at, each in enumerate(asked["input"])
            ]
        else:
            usage["completion_tokens"] = 100
            said = {"role": "assistant", "content": f"You said: {asked['messages'][-1]['content']}"}
            body["choices"] = [{"index": 0, "finish_reason": "stop", "message": said}]
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), OpenAI)
    thread = Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{made.server_port}"
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_team_asks_a_server_of_its_own_and_keeps_to_a_budget(tmp_path: Path, server: str) -> None:
    up = Installation(around(tmp_path / "data"), tmp_path / "up.log").start()

    def run(*words: str) -> Any:
        done = up.command(*words, "--json")
        assert done.code == 0, done.err
        return done.json

    def ask(workflow: str, **payload: Any) -> dict[str, Any]:
        return up.execution(up.execute(workflow, payload)["id"], wait=30)

    try:
        base = f"http://{server}/v1"
        run("connections", "add", "own", "--kind", "openai", "--set", f"base_url={base}")
        fast = ("fast", "--provider", "openai", "--model", "llama3.2", "--connection", "own")
        run("models", "add", *fast, "--cost", "0.001", "0.002")
        run("projects", "update", "default", "--default-model", "fast")
        assert [each["id"] for each in run("models", "list") if each["own"]] == ["fast"]

        echo = node("n", "ai_call", {"prompt": "{{ trigger.payload.text }}", "max_tokens": 100})
        up.push(document([echo], name="echo", outputs="{{ nodes.n.output.text }}"))
        manual = {"model": "words", "connection": "own", "collection": "manual"}
        put = node("put", "ai_index", {**manual, "documents": "{{ trigger.payload.pages }}"})
        up.push(document([put], name="keep"))
        find = node("find", "ai_search", {"collection": "manual", "query": "{{ trigger.payload.text }}"})
        up.push(document([find], name="find", outputs="{{ nodes.find.output.found[0].id }}"))

        asked = ask("echo", text="Hello")
        assert asked["output"] == "You said: Hello"
        (spent,) = run("budgets", "spent")["data"]
        assert (spent["workflow"], spent["model"], spent["calls"]) == ("echo", "fast", 1)
        assert spent["cost_usd"] == pytest.approx(0.0012)

        kept = {"prompt": "Why?", "cache": {"ttl": "1h"}}
        up.push(document([node("n", "ai_call", kept)], name="kept", outputs="{{ nodes.n.output.cached }}"))
        assert [ask("kept")["output"] for _ in range(2)] == [False, True]
        calls = {each["workflow"]: each["calls"] for each in run("budgets", "spent")["data"]}
        assert calls == {"echo": 1, "kept": 1}

        run("budgets", "set", "echo", "--usd", "0.001", "--per", "day")
        (budget,) = run("budgets", "list")
        assert (budget["scope"], budget["spent_usd"]) == ("workflow:echo", pytest.approx(0.0012))
        assert ask("echo", text="Hello")["error"]["code"] == "budget.exceeded"
        run("budgets", "lift", "echo")
        assert ask("echo", text="Again")["output"] == "You said: Again"

        pages = [{"id": "refunds", "text": "Money back."}, {"id": "login", "text": "Password forgotten."}]
        assert ask("keep", pages=pages)["status"] == "succeeded"
        assert ask("find", text="my password")["output"] == "login"
        (listed,) = run("collections", "list")
        assert (listed["name"], listed["documents"]) == ("manual", 2)
        run("collections", "remove", "manual")
        assert ask("find", text="my password")["error"]["code"] == "collection.unknown"

        run("models", "forget", "fast")
        assert ask("echo", text="Hello")["error"]["code"] == "ai.unknown_model"
    finally:
        up.stop()
