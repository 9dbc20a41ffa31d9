"""A worker is killed after its model has answered: an answer that is kept is neither asked nor paid for again."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests import servers
from tests.builders import (
    Client,
    Process,
    celery_worker,
    document,
    environment,
    is_ready,
    node,
    prepared,
    wait_until,
)
from tests.models import chat

KEPT = "SELECT count(*) FROM cache_entry"
COMMITS = {"paid": 1, "kept": 2, "journaled": 3}
"""What a worker commits from an answer on, in its order."""


class Model(ThreadingHTTPServer):
    """A server of models. When it is asked first it arms what kills the worker that asks."""

    daemon_threads = True

    def __init__(self, rules: Path, rule: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.rules = rules
        self.rule = rule
        self.asked = 0


class _Answer(BaseHTTPRequestHandler):
    server: Model

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked += 1
        if self.server.asked == 1:
            self.server.rules.write_text(self.server.rule, encoding="utf-8")
        self.wfile.write(chat("Because."))

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.timeout(120)
@pytest.mark.parametrize("last", COMMITS)
def test_a_worker_that_dies_behind_the_answer_of_a_model_is_followed_by_one_that_takes_what_is_kept(
    last: str, valkey: servers.Valkey, tmp_path: Path
) -> None:
    around = environment(tmp_path, valkey.url)
    client = Client(prepared(around))
    rules = tmp_path / "rules"
    model = Model(rules, f"database.commit.after=kill@{COMMITS[last]}")
    Thread(target=model.serve_forever, daemon=True).start()
    workers: list[Process] = []

    def worker(name: str, **more: str) -> Process:
        workers.append(celery_worker({**around, **more}, tmp_path / f"{name}.log", name=name))
        return workers[-1]

    try:
        client.keep("openai", "openai", {"base_url": f"http://127.0.0.1:{model.server_port}/v1"})
        ask = node("ask", "ai_call", {"model": "gpt-4", "prompt": "Why?", "cache": {"ttl": "1h"}})
        active = client.push(document([ask], outputs="{{ nodes.ask.output.text }}"))
        victim = worker("victim", CELERIAC_TEST="1", CELERIAC_FAILPOINTS=f"file:{rules}")
        wait_until(lambda: is_ready(victim), 40, "a worker")
        first = client.start(active)
        wait_until(lambda: victim.code is not None, 40, "the death")
        kept = client.query(KEPT)[0][0]
        assert kept or last != "journaled"  # a heartbeat may have had a commit between
        heir = worker("heir")
        wait_until(lambda: is_ready(heir), 40, "the other worker")
        client.all_finished()
        second = client.start(active)
        client.all_finished()
        assert client.query("SELECT id, status, output FROM execution ORDER BY id") == sorted(
            (each, "succeeded", '"Because."') for each in (first, second)
        )
        assert model.asked == (1 if kept else 2)
        assert client.query("SELECT count(*) FROM usage")[0][0] == model.asked
    finally:
        for each in workers:
            if each.code is None:
                each.end()
        client.close()
        model.shutdown()
        model.server_close()
