"""Calls of other workflows: what a call starts, what comes back, and what is stopped with whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import operations as op
from engine.settings import Limits
from tests.builders import document, edges, node
from tests.workbench import Workbench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.close()


DOUBLE = document(
    [node("twice", "transform", {"expression": "n * 2"})],
    name="double",
    inputs={"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}},
    outputs="{{ nodes.twice.output }}",
)
FAILING = document([node("bad", "fail", {"code": "shop.closed", "message": "Closed."})], name="failing")
WAITING = document([node("rest", "wait", {"for": "1h"})], name="waiting")


def calling(name: str = "parent", target: str = "double", **more: Any) -> dict[str, Any]:
    """A definition whose only node calls another."""
    config = {"workflow": target, "input": {"n": "{{ n }}"}, **more.pop("config", {})}
    return document(
        [node("ask", "workflow", config, **more)], name=name, outputs="{{ nodes.ask.output | default(none) }}"
    )


def children(bench: Workbench, parent: str) -> list[str]:
    rows = bench.query("SELECT id FROM execution WHERE parent_execution = ? ORDER BY created_at, id", parent)
    return [row[0] for row in rows]


def told(bench: Workbench, execution: str) -> int:
    found: int = bench.query("SELECT told FROM execution WHERE id = ?", execution)[0][0]
    return found


async def test_a_call_rests_until_its_child_has_ended_and_takes_over_its_result(bench: Workbench) -> None:
    bench.push(DOUBLE)
    execution = bench.start(bench.push(calling()), {"n": 21})
    await bench.carry()
    assert (bench.status(execution), bench.output(execution)) == ("succeeded", 42)
    (child,) = children(bench, execution)
    assert bench.query("SELECT depth, told, trigger_event FROM execution WHERE id = ?", child) == [
        (1, 1, f'{{"type": "call", "id": "trigger", "parent": {{"execution": "{execution}", "node": "ask"}}}}')
    ]
    assert ["node.called", "ask", bench.clock.ms, {"execution": child, "attempt": 1}] in bench.events(execution)


async def test_a_caller_that_is_not_told_is_told_by_a_poller(bench: Workbench) -> None:
    bench.push(WAITING)
    execution = bench.start(bench.push(calling(target="waiting")), {"n": 1})
    await bench.carry()
    assert bench.status(execution) == "waiting"
    (child,) = children(bench, execution)
    bench.ask(op.Cancel(child, bench.clock.now(), "not needed"))
    assert (bench.status(child), told(bench, child)) == ("cancelled", 0)
    bench.clock.move(1)
    bench.poller().tick()
    assert told(bench, child) == 1
    await bench.carry()
    assert bench.status(execution) == "failed"
    assert bench.error(execution) == {
        "node": "ask",
        "code": "workflow.failed_child",
        "message": f"The called execution {child} was cancelled.",
        "details": {"execution": child, "status": "cancelled"},
    }
