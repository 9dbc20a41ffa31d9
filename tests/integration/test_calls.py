"""Calls with real workers on both databases: results come back, callers take along what they call, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine import operations as op
from tests.builders import (
    Client,
    Process,
    celery_worker,
    document,
    edges,
    environment,
    is_ready,
    node,
    prepared,
    wait_until,
)
from tests.servers import Postgres, Valkey

pytestmark = pytest.mark.timeout(120)


@dataclass
class Stack:
    """Two workers and a client."""

    client: Client
    workers: list[Process]

    def children(self, execution: str) -> list[tuple[str, str]]:
        """The executions that one has called, with what they are."""
        rows = self.client.query(
            "SELECT id, status FROM execution WHERE parent_execution = ? ORDER BY id", execution
        )
        return [(name, status) for name, status in rows]


@pytest.fixture(params=["sqlite", "postgresql"])
def stack(request: pytest.FixtureRequest, valkey: Valkey, tmp_path: Path) -> Iterator[Stack]:
    valkey.flush()
    with ExitStack() as opened:
        url = None
        if request.param == "postgresql":
            server: Postgres = request.getfixturevalue("postgres")
            url = opened.enter_context(server.database())
        around = environment(tmp_path, valkey.url, url)
        settings = prepared(around)
        workers = [celery_worker(around, tmp_path / f"{name}.log", name=name) for name in ("one", "two")]
        for worker in workers:
            opened.callback(worker.end)
        client = Client(settings)
        opened.callback(client.close)
        for worker in workers:
            wait_until(lambda worker=worker: is_ready(worker), 40, "a worker")  # type: ignore[misc]
        yield Stack(client, workers)


COUNTDOWN = document(
    [
        node("more", "if", {"condition": "n > 0"}),
        node("down", "workflow", {"workflow": "self", "input": {"n": "{{ n - 1 }}"}}),
    ],
    [{"from": "more", "to": "down", "port": "true"}],
    name="countdown",
    outputs="{{ n + (nodes.down.output | default(0)) }}",
)


def test_a_call_comes_back_from_eight_deep(stack: Stack) -> None:
    client = stack.client
    active = client.push(COUNTDOWN)
    execution = client.start(active, {"n": 8})
    deeper = client.start(active, {"n": 9})
    assert client.finished(execution) == "succeeded"
    assert client.query("SELECT output FROM execution WHERE id = ?", execution) == [("36",)]
    assert client.finished(deeper) == "failed"
    client.all_finished()
    wait_until(lambda: client.query("SELECT count(*) FROM execution WHERE told = 0") == [(0,)])


def test_five_hundred_children_of_a_map_each_run_once(stack: Stack) -> None:
    client = stack.client
    client.push(
        document(
            [node("same", "transform", {"expression": "n"})], name="one", outputs="{{ nodes.same.output }}"
        )
    )
    ask = node(
        "ask", "workflow", {"workflow": "one", "input": {"n": "{{ item }}"}}, for_each={"items": "range(500)"}
    )
    active = client.push(document([ask], name="many", outputs="{{ nodes.ask.output | sum }}"))
    execution = client.start(active, {})
    assert client.finished(execution, 60) == "succeeded"
    assert client.query("SELECT output FROM execution WHERE id = ?", execution) == [("124750",)]
    found = stack.children(execution)
    assert (len(found), {status for _, status in found}) == (500, {"succeeded"})


def rings() -> dict[str, Any]:
    return document(
        [
            node("more", "if", {"condition": "n > 0"}),
            node("down", "workflow", {"workflow": "self", "input": {"n": "{{ n - 1 }}"}}),
            node("work", "compute", {"seconds": 30}),
        ],
        [{"from": "more", "to": "down", "port": "true"}, {"from": "more", "to": "work", "port": "false"}],
        name="rings",
    )


def test_what_is_called_is_stopped_with_its_caller_while_it_works(stack: Stack) -> None:
    client = stack.client
    execution = client.start(client.push(rings()), {"n": 4})
    running = "SELECT count(*) FROM segment WHERE status = 'running'"
    wait_until(lambda: client.query(running) == [(1,)], 20, "the work at the end of the calls")
    began = time.monotonic()
    client.runtime.ledger.ask(op.Cancel(execution, client.runtime.clock.now(), "enough"))
    client.all_finished(10)
    assert time.monotonic() - began < 5
    assert client.query("SELECT status, count(*) FROM execution GROUP BY status") == [("cancelled", 5)]


def test_callers_end_when_workers_are_killed_under_them(stack: Stack) -> None:
    client = stack.client
    rest = document(
        [node("rest", "wait", {"for": 0.5}), node("same", "transform", {"expression": "n"})],
        edges("rest->same"),
        "rest",
        outputs="{{ nodes.same.output }}",
    )
    client.push(rest)
    ask = node("ask", "workflow", {"workflow": "rest", "input": {"n": "{{ n }}"}})
    active = client.push(document([ask], name="ask", outputs="{{ nodes.ask.output }}"))
    executions = [client.start(active, {"n": index}) for index in range(40)]
    client.do(asyncio.sleep(0.4))
    stack.workers[0].send(signal.SIGKILL)
    for index, execution in enumerate(executions):
        assert client.finished(execution, 30) == "succeeded"
        assert client.query("SELECT output FROM execution WHERE id = ?", execution) == [(str(index),)]
        assert len(stack.children(execution)) == 1
