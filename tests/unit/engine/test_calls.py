"""Calls of other workflows: what a call starts, what comes back, and what is stopped with whom."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from engine import admission, calls, cancels, execute, queries, retention, snapshots, workflow_queries
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
        (
            1,
            1,
            f'{{"type": "call", "id": "trigger", "parent": {{"execution": "{execution}", "node": "ask"}}}}',
        )
    ]
    assert ["node.called", "ask", bench.clock.ms, {"execution": child, "attempt": 1}] in bench.events(
        execution
    )


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


async def test_each_try_calls_a_child_of_its_own(bench: Workbench) -> None:
    bench.push(FAILING)
    retry = {"max_attempts": 2, "delay": 1, "jitter": 0}
    execution = bench.start(bench.push(calling(target="failing", retry=retry)), {"n": 1})
    await bench.carry()
    assert bench.segment(execution, 0, "status", "tries") == ("backing_off", 1)
    bench.clock.move(2)
    bench.poller().tick()
    await bench.carry()
    assert bench.status(execution) == "failed"
    first, second = children(bench, execution)
    error = bench.error(execution)
    assert error["code"] == "workflow.failed_child"
    assert error["message"] == f"The called execution {second} failed: Closed."
    assert error["details"]["error"] == {"node": "bad", "code": "shop.closed", "message": "Closed."}
    keys = bench.query(
        "SELECT idempotency_key FROM execution WHERE parent_execution = ? ORDER BY id", execution
    )
    assert keys == [(f"call:{execution}:ask::{each}",) for each in (1, 2)]
    assert [told(bench, each) for each in (first, second)] == [1, 1]


async def test_the_failure_of_a_child_is_data_where_its_author_says_so(bench: Workbench) -> None:
    bench.push(FAILING)
    execution = bench.start(bench.push(calling(target="failing", on_error={"default": 7})), {"n": 1})
    await bench.carry()
    assert (bench.status(execution), bench.output(execution)) == ("succeeded", 7)


async def test_a_call_that_takes_too_long_fails_and_stops_its_child(bench: Workbench) -> None:
    bench.push(WAITING)
    execution = bench.start(bench.push(calling(target="waiting", timeout="10s")), {"n": 1})
    await bench.carry()
    bench.clock.move(11)
    bench.poller().tick()
    await bench.carry()
    assert (bench.status(execution), bench.error(execution)["code"]) == ("failed", "node.timeout")
    (child,) = children(bench, execution)
    assert bench.status(child) == "cancelled"


async def test_a_start_that_nobody_waits_for_lives_by_itself(bench: Workbench) -> None:
    bench.push(WAITING)
    execution = bench.start(bench.push(calling(target="waiting", config={"wait": False})), {"n": 1})
    await bench.carry()
    (child,) = children(bench, execution)
    assert (bench.status(execution), bench.output(execution)) == ("succeeded", {"execution": child})
    assert (bench.status(child), told(bench, child)) == ("waiting", 1)
    bench.poller().tick()
    assert bench.status(child) == "waiting"


async def test_a_key_starts_nothing_a_second_time(bench: Workbench) -> None:
    bench.push(DOUBLE)
    active = bench.push(calling(config={"wait": False, "key": "order-{{ key }}"}))
    payloads: list[Any] = [{"n": 1, "key": 1}, {"n": 1, "key": 1}, {"n": 1, "key": 2}, {"n": 2, "key": 1}]
    executions = [bench.start(active, each) for each in payloads]
    await bench.carry()
    first, again, other = (bench.output(each) for each in executions[:3])
    assert first == again != other
    assert bench.error(executions[3])["code"] == "request.idempotency_key_reused"


@pytest.mark.parametrize(
    ("config", "payload", "code"),
    [
        ({"workflow": "nowhere"}, {"n": 1}, "workflow.unknown"),
        ({"version": 7}, {"n": 1}, "workflow.unknown"),
        ({"workflow": "off"}, {"n": 1}, "workflow.disabled"),
        ({}, {"n": "one"}, "input.invalid"),
        ({"key": "k"}, {"n": 1}, "node.config_invalid"),
    ],
)
async def test_what_cannot_be_called_fails_the_node(
    bench: Workbench, config: dict[str, Any], payload: Any, code: str
) -> None:
    bench.push(DOUBLE)
    bench.push({**DOUBLE, "name": "off", "enabled": False})
    execution = bench.start(bench.push(calling(config=config)), payload)
    await bench.carry()
    assert (bench.status(execution), bench.error(execution)["code"]) == ("failed", code)
    assert children(bench, execution) == []


async def test_a_call_may_name_a_version(bench: Workbench) -> None:
    bench.push(DOUBLE)
    active = bench.push(calling(config={"version": 1}))
    newer = document([node("same")], name="double")
    bench.push(newer)
    execution = bench.start(active, {"n": 4})
    await bench.carry()
    assert bench.output(execution) == 8


COUNTDOWN = document(
    [
        node("more", "if", {"condition": "n > 0"}),
        node("down", "workflow", {"workflow": "self", "input": {"n": "{{ n - 1 }}"}}),
    ],
    [{"from": "more", "to": "down", "port": "true"}],
    name="countdown",
    outputs="{{ n + (nodes.down.output | default(0)) }}",
)


async def test_a_workflow_calls_itself_eight_deep_and_no_deeper(bench: Workbench) -> None:
    active = bench.push(COUNTDOWN)
    execution = bench.start(active, {"n": 8})
    await bench.carry()
    assert (bench.status(execution), bench.output(execution)) == ("succeeded", 36)
    assert bench.query("SELECT max(depth) FROM execution") == [(8,)]
    deeper = bench.start(active, {"n": 9})
    await bench.carry()
    assert bench.status(deeper) == "failed"
    error = bench.error(deeper)
    while "error" in error.get("details", {}):
        error = error["details"]["error"]
    assert (error["code"], error["details"]) == ("workflow.too_deep", {"limit": 8})


async def test_who_calls_itself_stays_in_its_version(bench: Workbench) -> None:
    active = bench.push(COUNTDOWN)
    execution = bench.start(active, {"n": 2})
    bench.push(document([node("other")], name="countdown"))
    await bench.carry()
    assert bench.output(execution) == 3


INSIDE = {
    "inputs": {"type": "object", "required": ["n"]},
    "nodes": [node("twice", "transform", {"expression": "n * 2"})],
    "outputs": "{{ nodes.twice.output }}",
}


async def test_a_definition_may_be_written_in_the_call(bench: Workbench) -> None:
    nested = {"nodes": [node("deeper", "workflow", {"definition": INSIDE, "input": {"n": "{{ n + 1 }}"}})]}
    body = document(
        [
            node("one", "workflow", {"definition": INSIDE, "input": {"n": 1}}),
            node(
                "many",
                "workflow",
                {"definition": nested, "input": {"n": "{{ item }}"}},
                for_each={"items": "[1, 2]"},
            ),
        ]
    )
    active = bench.push(body)
    bench.push(body)
    execution = bench.start(active, {})
    bench.push(document([node("other")]))
    await bench.carry()
    assert bench.output(execution) == {"one": 2, "many": [{"deeper": 4}, {"deeper": 6}]}
    shown = workflow_queries.workflows(bench.connection, 10).rows
    assert [each["name"] for each in shown] == ["w"]
    hidden = bench.query("SELECT name FROM workflow WHERE hidden = 1 ORDER BY id")
    assert [each.partition("@")[2] for (each,) in hidden] == ["one", "many", "deeper"]


def rings(depth: int) -> dict[str, Any]:
    return document(
        [
            node("more", "if", {"condition": "n > 0"}),
            node("down", "workflow", {"workflow": "self", "input": {"n": "{{ n - 1 }}"}}),
            node("rest", "wait", {"for": "1h"}),
        ],
        [{"from": "more", "to": "down", "port": "true"}, {"from": "more", "to": "rest", "port": "false"}],
        name="rings",
    )


async def test_what_is_called_is_stopped_with_its_caller_all_the_way_down(bench: Workbench) -> None:
    execution = bench.start(bench.push(rings(8)), {"n": 8})
    await bench.carry()
    assert bench.query("SELECT status, count(*) FROM execution GROUP BY status") == [("waiting", 9)]
    bench.ask(op.Cancel(execution, bench.clock.now(), "enough"))
    bench.poller().tick()
    assert bench.query("SELECT status, count(*) FROM execution GROUP BY status") == [("cancelled", 9)]
    assert bench.query("SELECT count(*) FROM segment WHERE status = 'cancelled' AND child IS NOT NULL") == [
        (0,)
    ]
    bench.clock.move(1)
    bench.poller().tick()
    assert bench.query("SELECT count(*) FROM execution WHERE told = 0") == [(0,)]


async def test_what_is_called_is_stopped_when_its_caller_fails(bench: Workbench) -> None:
    bench.push(WAITING)
    body = document(
        [
            node("ask", "workflow", {"workflow": "waiting"}),
            node("first", "wait", {"for": 1}),
            node("bad", "fail", {"code": "a.b", "message": "No."}),
        ],
        edges("first->bad"),
    )
    execution = bench.start(bench.push(body), {})
    await bench.carry()
    bench.clock.move(2)
    bench.poller().tick()
    await bench.carry()
    assert bench.status(execution) == "failed"
    bench.poller().tick()
    assert [bench.status(each) for each in children(bench, execution)] == ["cancelled"]


async def test_what_an_instance_has_called_is_stopped_with_it(bench: Workbench) -> None:
    bench.push(WAITING)
    bench.push(DOUBLE)
    inner = {
        "nodes": [
            node("which", "if", {"condition": "item == 1"}),
            node("quick", "workflow", {"workflow": "double", "input": {"n": "{{ item }}"}}),
            node("slow", "workflow", {"workflow": "waiting"}),
        ],
        "edges": [
            {"from": "which", "to": "quick", "port": "true"},
            {"from": "which", "to": "slow", "port": "false"},
        ],
    }
    each = {"items": "[1, 2, 3]", "until": "done >= 1"}
    body = document([{"id": "all", "type": "scope", "for_each": each, "body": inner}])
    execution = bench.start(bench.push(body), {})
    await bench.carry()
    bench.poller().tick()
    await bench.carry()
    assert bench.status(execution) == "succeeded"
    rows = bench.query("SELECT status, count(*) FROM execution WHERE depth = 1 GROUP BY status ORDER BY 1")
    assert rows == [("cancelled", 2), ("succeeded", 1)]


async def test_a_caller_that_is_held_goes_on_when_it_may(bench: Workbench) -> None:
    bench.push(WAITING)
    execution = bench.start(bench.push(calling(target="waiting")), {"n": 1})
    await bench.carry()
    bench.ask(op.Pause(execution, bench.clock.now()))
    bench.clock.move(3601)
    bench.poller().tick()
    await bench.carry()
    (child,) = children(bench, execution)
    assert (bench.status(child), told(bench, child)) == ("succeeded", 1)
    assert bench.segment(execution, 0, "status", "due") == ("ready", None)
    bench.outlet.send(execution, bench.ask(op.Pause(execution, bench.clock.now(), resume=True)))
    await bench.carry()
    assert bench.status(execution) == "succeeded"


async def test_a_call_repeated_under_its_key_waits_for_what_it_started_before(bench: Workbench) -> None:
    """A person may have a try carried out again: what it has started stays the only thing it starts."""
    bench.push(DOUBLE)
    execution = bench.start(bench.push(calling()), {"n": 3})
    await bench.carry()
    (child,) = children(bench, execution)
    other = bench.start(bench.push(calling("other")), {"n": 3})
    bench.step(
        lambda connection: connection.run(
            "UPDATE execution SET idempotency_key = ? WHERE id = ?", (f"call:{other}:ask::1", child)
        )
    )
    await bench.carry()
    assert (bench.status(other), bench.output(other), children(bench, other)) == ("succeeded", 6, [])


async def test_a_result_too_large_for_its_row_comes_back_whole(bench: Workbench) -> None:
    bench.push(
        document(
            [node("same", "transform", {"expression": "n"})], name="double", outputs="{{ nodes.same.output }}"
        )
    )
    execution = bench.start(bench.push(calling()), {"n": "x" * 100_000})
    await bench.carry()
    assert bench.output(execution) == "x" * 100_000


async def test_five_hundred_children_at_once(bench: Workbench) -> None:
    bench.push(DOUBLE)
    ask = node(
        "ask",
        "workflow",
        {"workflow": "double", "input": {"n": "{{ item }}"}},
        for_each={"items": "range(500)"},
    )
    execution = bench.start(bench.push(document([ask], outputs="{{ nodes.ask.output | sum }}")), {})
    for _ in range(5):
        await bench.carry()
        bench.clock.move(3)
        bench.poller().tick()
    assert (bench.status(execution), bench.output(execution)) == ("succeeded", 249_500)
    assert len(children(bench, execution)) == 500


async def test_who_reads_a_call_made_since_it_looked_has_lost_and_stops_nothing(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.push(WAITING)
    execution = bench.start(bench.push(calling(target="waiting")), {"n": 1})
    looked = snapshots.load(bench.connection, bench.programs, [(execution, 0, "")])
    await bench.carry()
    snapshots.read_outputs(bench.connection, looked)
    monkeypatch.setattr(execute, "load", lambda *_: looked)
    await bench.executor().perform([(execution, 0, "")])
    (child,) = children(bench, execution)
    assert bench.query("SELECT status, cancel_at FROM execution WHERE id = ?", child) == [("waiting", None)]
    assert bench.segment(execution, 0, "status", "epoch") == ("waiting", 0)


async def test_a_call_that_is_late_starts_nothing(bench: Workbench) -> None:
    """The execution was cancelled while the node was asked, or the segment has a later holder."""
    bench.push(DOUBLE)
    active = bench.push(calling())
    started = admission.operation(cast("Any", bench), admission.Request(active, {"n": 1}, awaited=True))

    def wish(execution: str, epoch: int, *, pure: bool) -> op.Call:
        now = bench.clock.now()
        fresh = dataclasses.replace(started, execution=bench.clock.mint("exec"))
        return op.Call(
            execution,
            0,
            "",
            epoch,
            pure,
            now,
            start=fresh,
            node="ask",
            head=1,
            spent=0,
            began=now,
            first_try_at=now,
            due=now + 1000,
        )

    first, second = (bench.start(active, {"n": 1}) for _ in range(2))
    now = bench.clock.now()
    claimed = bench.ask(op.Claim(first, 0, "", "w", now, now + 1000))
    bench.ask(op.Cancel(first, now))
    assert bench.ask(wish(first, claimed.epoch, pure=False)) == op.Called()
    assert (bench.status(first), bench.segment(first, 0, "status", "child")) == (
        "cancelled",
        ("cancelled", None),
    )
    assert bench.ask(wish(second, 5, pure=True)) is None
    won, lost = bench.step(wish(second, 0, pure=True), wish(second, 0, pure=True))
    assert (won.send, lost) == (True, None)
    assert len(bench.query("SELECT id FROM execution")) == 3


async def test_the_word_of_an_earlier_child_wakes_nobody(bench: Workbench) -> None:
    bench.push(WAITING)
    execution = bench.start(bench.push(calling(target="waiting")), {"n": 1})
    await bench.carry()
    (child,) = children(bench, execution)
    now = bench.clock.now()
    assert bench.ask(op.Return(execution, 0, "", child, now)) == []
    assert bench.ask(op.Return(execution, 0, "", "exec_unknown", now)) == []
    other = bench.start(bench.push(WAITING), {})
    bench.ask(op.Cancel(other, now))
    bench.ask(op.Cancel(child, now))
    wrong, right = op.Return(execution, 0, "", other, now), op.Return(execution, 0, "", child, now)
    assert bench.step(right, wrong) == [[(0, "", "default")], []]
    assert bench.ask(right) == []
    assert bench.segment(execution, 0, "status", "epoch") == ("ready", 1)


async def test_what_has_been_purged_is_no_answer(bench: Workbench) -> None:
    bench.push(WAITING)
    execution = bench.start(bench.push(calling(target="waiting")), {"n": 1})
    await bench.carry()
    (child,) = children(bench, execution)
    bench.ask(op.Cancel(child, bench.clock.now()))
    bench.outlet.send(execution, bench.ask(op.Return(execution, 0, "", child, bench.clock.now())))
    bench.step(lambda connection: connection.run("DELETE FROM execution WHERE id = ?", (child,)))
    await bench.carry()
    assert bench.error(execution)["message"] == f"The called execution {child} is not there any more."
    bench.ask(op.Forsake(execution, 0, "", child, bench.clock.now(), ""))


async def test_what_a_call_waits_for_is_kept(bench: Workbench) -> None:
    bench.push(DOUBLE)
    body = document(
        [
            node("ask", "workflow", {"workflow": "double", "input": {"n": 1}}),
            node("rest", "wait", {"for": "1h"}),
        ],
        edges("ask->rest"),
    )
    execution = bench.start(bench.push(body), {})
    await bench.carry()
    now = bench.clock.now() + 1
    assert retention.purge(bench.database, now, now).executions == 0
    bench.ask(op.Cancel(execution, bench.clock.now()))
    assert retention.purge(bench.database, now, now).executions == 2


async def test_people_see_what_a_node_has_called(bench: Workbench) -> None:
    bench.push(WAITING)
    execution = bench.start(bench.push(calling(target="waiting")), {"n": 1})
    await bench.carry()
    (child,) = children(bench, execution)
    (ask,) = (each.to_json() for each in queries.nodes(bench.connection, execution) if each.node.id == "ask")
    assert (ask["status"], ask["tries"], ask["called"], ask.get("until")) == ("waiting", 1, child, None)


@pytest.mark.parametrize(
    ("sql", "index"), [(calls.UNTOLD, "execution_untold"), (cancels.FORSAKEN, "segment_forsaken")]
)
def test_the_poller_looks_at_nothing_but_what_is_to_be_done(bench: Workbench, sql: str, index: str) -> None:
    plan = bench.query(f"EXPLAIN QUERY PLAN {sql.replace('?', '1')}")
    assert [index in row[3] for row in plan] == [True]


async def test_a_segment_that_has_had_effects_calls_too(bench: Workbench) -> None:
    """It holds a claim, and lets it go while it rests."""
    bench.push(DOUBLE)
    body = calling(effect="keyed")
    execution = bench.start(bench.push(body), {"n": 2})
    await bench.carry()
    assert (bench.status(execution), bench.output(execution)) == ("succeeded", 4)
    assert bench.leases.held() == []


async def test_a_full_message_sends_what_it_calls(bench: Workbench, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    small = Workbench(folder, limits=Limits(inline_segments=0))
    small.push(DOUBLE)
    execution = small.start(small.push(calling()), {"n": 2})
    await small.executor().perform(small.outlet.taken())
    (child,) = children(small, execution)
    assert small.outlet.taken() == [(child, 0, "")]
    small.close()


async def test_five_hundred_children_are_stopped_with_their_caller(bench: Workbench) -> None:
    bench.push(WAITING)
    ask = node("ask", "workflow", {"workflow": "waiting"}, for_each={"items": "range(501)"})
    execution = bench.start(bench.push(document([ask])), {})
    await bench.carry()
    bench.ask(op.Cancel(execution, bench.clock.now()))
    bench.poller().tick()
    assert bench.query("SELECT status, count(*) FROM execution GROUP BY status") == [("cancelled", 502)]


async def test_a_deadline_of_the_caller_stops_what_it_has_called(bench: Workbench) -> None:
    bench.push(WAITING)
    body = calling(target="waiting")
    body["definition"]["timeout"] = "10s"
    execution = bench.start(bench.push(body), {"n": 1})
    await bench.carry()
    bench.clock.move(11)
    bench.poller().tick()
    (child,) = children(bench, execution)
    assert (bench.status(execution), bench.status(child)) == ("timed_out", "cancelled")


async def test_the_deadline_of_a_child_is_its_failure(bench: Workbench) -> None:
    bench.push({**WAITING, "definition": {**WAITING["definition"], "timeout": "10s"}})
    execution = bench.start(bench.push(calling(target="waiting")), {"n": 1})
    await bench.carry()
    for _ in range(2):
        bench.clock.move(11)
        bench.poller().tick()
        await bench.carry()
    error = bench.error(execution)
    assert (error["code"], error["details"]["status"]) == ("workflow.failed_child", "timed_out")
    assert error["details"]["error"]["code"] == "execution.timed_out"


@pytest.mark.parametrize("limits", ["workflow", "node"])
@pytest.mark.parametrize("rest", [{"workflow": "child"}, {"event": {"type": "paid"}, "timeout": "1m"}])
async def test_what_rests_under_a_limit_that_let_it_in_is_not_taken_for_what_waits_for_the_limit(
    bench: Workbench, limits: str, rest: dict[str, Any]
) -> None:
    bench.push(document([node("w", "wait", {"for": 5})], name="child"))
    kind = "workflow" if "workflow" in rest else "wait"
    limit: dict[str, Any] = {"key": "k", "limit": 1}
    body = document([node("c", kind, rest)], name="parent")
    (body["definition"] if limits == "workflow" else body["definition"]["nodes"][0])["concurrency"] = limit
    name = bench.start(bench.push(body))
    await bench.carry()
    woken = 0
    for _ in range(8):
        bench.clock.move(0.6)
        bench.poller().tick()
        woken += bench.query(
            "SELECT count(*) FROM segment WHERE execution_id = ? AND status = 'ready'", name
        )[0][0]
        await bench.carry()
    assert woken == 0
    assert bench.status(name) == "waiting"
    bench.clock.move(60)
    bench.poller().tick()
    await bench.carry()
    bench.poller().tick()
    await bench.carry()
    assert bench.status(name) == "succeeded"


async def test_who_cancels_stops_what_is_called_at_every_depth_at_once(bench: Workbench) -> None:
    bench.push(WAITING)
    bench.push(calling("middle", "waiting"))
    top = bench.start(bench.push(calling("top", "middle")), {"n": 1}, principal="ann", priority=3)
    await bench.carry()
    assert await cancels.cancel(cast("Any", bench.executor()._services), top) == "cancelled"
    assert bench.query("SELECT DISTINCT status FROM execution") == [("cancelled",)]
    assert bench.query("SELECT count(*) FROM execution") == [(3,)]
    assert bench.query("SELECT DISTINCT principal, priority FROM execution") == [("ann", 3)]
    assert not bench.query(cancels.FORSAKEN)


async def test_what_comes_before_a_call_that_nobody_waits_for_is_told_once_however_many_carry_it(
    bench: Workbench,
) -> None:
    bench.push(DOUBLE)
    nodes = [
        node("first", "transform", {"expression": "n"}),
        node("ask", "workflow", {"workflow": "double", "input": {"n": "{{ n }}"}, "wait": False}),
    ]
    execution = bench.start(bench.push(document(nodes, edges("first->ask"), name="parent")), {"n": 1})
    (message,) = bench.outlet.taken()
    await asyncio.gather(*(bench.executor().perform([message]) for _ in range(3)))
    told_of = [body[1] for body in bench.events(execution) if body[0] == "node.succeeded"]
    assert sorted(told_of) == ["ask", "first"]
    assert len(bench.query("SELECT id FROM execution")) == 2
