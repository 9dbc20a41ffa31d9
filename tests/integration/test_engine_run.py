"""A real worker on both databases: random definitions come to what the reference interpreter says, calmly and all at once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine import admission
from engine.settings import from_environment
from tests.builders import (
    Client,
    Process,
    SinkProcess,
    celery_worker,
    document,
    edges,
    environment,
    is_ready,
    node,
    prepared,
    wait_until,
)
from tests.chaos import checker
from tests.chaos.dags import Case, Taste, draw
from tests.servers import Postgres, Valkey

pytestmark = pytest.mark.timeout(120)


@dataclass
class Stack:
    """One worker, one client, a broker, a database and a sink."""

    client: Client
    worker: Process
    sink: SinkProcess
    database: str

    def evidence(self, cases: dict[str, Case], ops: list[checker.Op]) -> checker.Evidence:
        return checker.Evidence(checker.read(self.database), cases, self.sink.effects(), ops)


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
        sink = SinkProcess(tmp_path)
        opened.callback(sink.kill)
        worker = celery_worker(around, tmp_path / "worker.log")
        opened.callback(worker.end)
        client = Client(settings)
        opened.callback(client.close)
        wait_until(lambda: is_ready(worker), 30, "the worker")
        yield Stack(client, worker, sink, from_environment(around).database_url)


def test_three_hundred_mixed_executions_come_to_what_the_reference_says(stack: Stack) -> None:
    rng = random.Random(2026)
    taste = Taste(sink=stack.sink.url, nodes=20, waits=0.4, delay=0.05, computes=True, regions=0.2)
    cases = {f"case-{index}": draw(rng, taste, f"case-{index}") for index in range(60)}
    requests = []
    for case in cases.values():
        active = stack.client.push(case.document)
        requests += [admission.Request(active, {**case.payload, "k": rng.randint(0, 99)}) for _ in range(5)]
    for index, request in enumerate(requests):
        requests[index] = admission.Request(request.active, request.payload, idempotency_key=f"key-{index}")
    accepted = stack.client.start_all(requests)
    stack.client.all_finished(60)
    ops = [checker.Op(f"key-{index}", "ok", each.execution, 0) for index, each in enumerate(accepted)]
    evidence = stack.evidence(cases, ops)
    violations = checker.check(evidence)
    assert not violations, checker.report(violations, evidence, 2026)
    assert len(evidence.executions) == 300
    assert stack.worker.code is None


def result(stack: Stack, body: dict[str, Any], payload: Any = None) -> tuple[str, Any, Any]:
    execution = stack.client.start(stack.client.push(body), payload)
    stack.client.finished(execution)
    ((status, output, error),) = stack.client.query(
        "SELECT status, output, error FROM execution WHERE id = ?", execution
    )
    return status, output and json.loads(output), error and json.loads(error)


def test_what_no_engine_can_store_is_a_typed_failure_of_its_node(stack: Stack) -> None:
    kinds = {
        "nan": "node.output_invalid",
        "surrogate": "node.output_invalid",
        "nul": "node.output_invalid",
        "object": "node.output_invalid",
        "deep": "node.output_invalid",
        "large": "node.output_too_large",
    }
    for kind, code in kinds.items():
        config = {"kind": kind, "size": 60_000_000 if kind == "large" else 200_000}
        body = document([node("bad", "misfit", config), node("after")], edges("bad->after"), kind)
        status, _, error = result(stack, body)
        assert (status, error["code"], error["node"]) == ("failed", code, "bad")


def test_an_expression_without_end_is_a_typed_failure_of_its_node(stack: Stack) -> None:
    loop = "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}"
    body = document([node("spin", "log", {"message": loop})], name="spin")
    status, _, error = result(stack, body)
    assert (status, error["node"]) == ("failed", "spin")
    assert error["code"].startswith("expression.")


def test_a_failure_that_is_data_does_not_end_the_execution(stack: Stack) -> None:
    bad = node("bad", "misfit", {"kind": "nan"}, on_error="continue")
    after = node("after", "set", {"values": {"code": "{{ nodes.bad.error.code }}"}})
    assert result(stack, document([bad, after], edges("bad->after"))) == (
        "succeeded",
        {"after": {"code": "node.output_invalid"}},
        None,
    )


def test_a_child_that_dies_takes_nothing_with_it_and_is_put_aside_in_the_end(stack: Stack) -> None:
    work = {"seconds": 0.2, "value": 7}
    body = document(
        [node("first"), node("dies", "die"), node("lives", "compute", work)],
        edges("first->dies", "first->lives"),
    )
    execution = stack.client.start(stack.client.push(body))
    client = stack.client
    row = "SELECT status, deliveries, reason FROM segment WHERE execution_id = ? AND status = 'quarantined'"
    wait_until(lambda: bool(client.query(row, execution)), 20, "the quarantine")
    ((_, deliveries, reason),) = client.query(row, execution)
    assert deliveries == 4
    assert "signal 9" in reason
    (journal,) = client.query(
        "SELECT status, output FROM journal WHERE execution_id = ? AND node = 'lives'", execution
    )
    assert journal == ("succeeded", "7") or json.loads(journal[1]) == [["lives", 7]]
    assert client.status(execution) == "waiting"


def test_a_plan_of_a_thousand_branches_runs(stack: Stack) -> None:
    names = [f"n{index}" for index in range(1000)]
    nodes = [
        node("first"),
        *(node(each, "set", {"values": {"n": "{{ k }}"}}) for each in names),
        node("last"),
    ]
    body = document(
        nodes, edges(*(f"first->{each}->last" for each in names)), outputs="{{ nodes.n999.output.n }}"
    )
    assert result(stack, body, {"k": 5}) == ("succeeded", 5, None)
