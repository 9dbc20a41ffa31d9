"""A person takes one node run from whoever has it: what follows is what would follow from the outcome that was said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Fail, Wait
from engine import calls, queries
from engine import operations as op
from engine.errors import NotFound
from engine.withdrawals import Refusal, WrongItem, place
from tests.builders import document, edge, edges
from tests.builders import node as vertex
from tests.theatre import STAGE, Stage, Theatre
from tests.unit.engine.test_execute import chain, statuses
from tests.workbench import NOW, OWNER, Workbench

CANCELLED = '{"code":"node.cancelled","message":"A person cancelled it."}'


def plan_of(at: Theatre, name: str) -> Any:
    return at.programs.plan(queries.version_of(at.connection, name), at.connection)


def withdrawal(at: Theatre, name: str, node: str, item: str = "", **more: Any) -> op.Withdraw:
    segment, known = place(plan_of(at, name), node, item)
    return op.Withdraw(name, segment, item, known, at.clock.now(), **more)


def withdraw(at: Theatre, name: str, node: str, item: str = "", **more: Any) -> Any:
    """Ask, and send what is ready then."""
    answer = at.ask(withdrawal(at, name, node, item, **more))
    if not isinstance(answer, Refusal):
        at.outlet.send(name, answer)
    return answer


def shown(at: Theatre, name: str) -> dict[str, str]:
    return {each.node.id: each.status for each in queries.nodes(at.connection, name)}


async def resting(at: Theatre, *behind: Any, **more: Any) -> str:
    """An execution whose node b waits for ten seconds."""
    STAGE.tell("b", Wait(NOW + 10_000, {"by": "b"}))
    return await at.run(chain("keyed", "waits", *behind, **more))


async def test_a_skipped_node_and_what_only_it_leads_to_do_not_run(at: Theatre, stage: Stage) -> None:
    name = await resting(at, "keyed", "keyed")
    assert withdraw(at, name, "b") == [(1, "", "default")]
    await at.carry()
    assert (at.status(name), stage.calls) == ("succeeded", ["a", "b"])
    assert shown(at, name) == {"a": "succeeded", "b": "skipped", "c": "skipped", "d": "skipped"}
    assert "node.skipped" in at.kinds(name)


async def test_a_join_goes_on_without_a_skipped_branch(at: Theatre, stage: Stage) -> None:
    stage.tell("b", Wait(NOW + 10_000, {"by": "b"}))
    body = document(
        [vertex("a", "pure"), vertex("b", "waits"), vertex("c", "keyed"), vertex("d", "keyed")],
        edges("a->b->d", "a->c->d"),
    )
    name = await at.run(body)
    withdraw(at, name, "b")
    await at.carry()
    assert (at.status(name), stage.calls) == ("succeeded", ["a", "b", "c", "d"])


async def test_a_node_that_is_skipped_with_an_output_counts_as_done(at: Theatre, stage: Stage) -> None:
    name = await resting(at, {"type": "keyed", "config": {"text": "{{ nodes.b.output.by }}"}})
    withdraw(at, name, "b", output=op.Payload('{"by":"me"}'))
    await at.carry()
    assert (at.status(name), stage.seen[-1]) == ("succeeded", ("c", "me"))
    assert shown(at, name)["b"] == "succeeded"


async def test_a_cancelled_node_fails_the_execution(at: Theatre, stage: Stage) -> None:
    name = await resting(at, "keyed")
    withdraw(at, name, "b", error=CANCELLED)
    await at.carry()
    assert (at.status(name), at.error(name)["code"], at.error(name)["node"]) == (
        "failed",
        "node.cancelled",
        "b",
    )
    assert shown(at, name) == {"a": "succeeded", "b": "failed", "c": "not_reached"}


async def test_a_cancelled_node_is_not_tried_again(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Fail("x.busy", "Later."))
    body = chain(
        {"type": "keyed", "retry": {"max_attempts": 5, "delay": 60, "on": ["x.busy", "node.cancelled"]}}
    )
    name = await at.run(body)
    assert at.segment(name, 0, "status") == ("backing_off",)
    withdraw(at, name, "a", error=CANCELLED)
    await at.carry()
    assert (at.status(name), stage.calls) == ("failed", ["a"])


async def test_on_error_deals_with_a_cancelled_node(at: Theatre, stage: Stage) -> None:
    stage.tell("b", Wait(NOW + 10_000))
    nodes = [
        vertex("a", "pure"),
        vertex("b", "waits", on_error={"default": {"by": "nobody"}}),
        vertex("c", "keyed", {"text": "{{ nodes.b.output.by }}{{ nodes.b.error.code }}"}, queue="cpu"),
    ]
    name = await at.run(document(nodes, edges("a->b->c")))
    withdraw(at, name, "b", error=CANCELLED)
    await at.carry()
    assert (at.status(name), stage.seen[-1]) == ("succeeded", ("c", "nobodynode.cancelled"))
    assert statuses(at, name)["b"] == "continued"


async def test_an_edge_for_errors_leads_from_a_cancelled_node(at: Theatre, stage: Stage) -> None:
    stage.tell("b", Wait(NOW + 10_000))
    body = document(
        [vertex("b", "waits"), vertex("c", "keyed"), vertex("d", "keyed")],
        [edge("b", "c"), edge("b", "d", on="error")],
    )
    name = await at.run(body)
    withdraw(at, name, "b", error=CANCELLED)
    await at.carry()
    assert (at.status(name), stage.calls) == ("succeeded", ["b", "d"])


async def test_a_ready_node_is_skipped_before_anyone_takes_it(at: Theatre, stage: Stage) -> None:
    body = document(
        [vertex("a", "keyed"), vertex("b", "keyed", queue="cpu"), vertex("c", "keyed")], edges("a->b->c")
    )
    name = at.start(at.push(body))
    await at.executor().perform(at.outlet.taken())
    late = at.outlet.taken()
    withdraw(at, name, "b")
    await at.executor().perform(late)
    await at.carry()
    assert (at.status(name), stage.calls) == ("succeeded", ["a"])


async def test_who_holds_a_node_run_that_is_taken_from_him_has_no_word_any_more(
    at: Theatre, stage: Stage
) -> None:
    began, told = asyncio.Event(), asyncio.Event()

    async def linger(_: Any) -> None:
        began.set()
        await told.wait()

    stage.tell("a", linger)
    name = at.start(at.push(chain("keyed", "keyed")))
    carrying = asyncio.create_task(at.executor().perform(at.outlet.taken()))
    await began.wait()
    withdraw(at, name, "a", output=op.Payload("7"))
    at.leases._look_for_cancels()
    async with asyncio.timeout(5):
        await carrying
    await at.carry()
    assert (at.status(name), stage.calls) == ("succeeded", ["a", "b"])
    assert at.query("SELECT output FROM journal WHERE node = 'a'") == [("7",)]


@pytest.mark.parametrize("first", ["withdraw", "settle"])
async def test_of_a_skip_and_the_nodes_own_end_one_wins(at: Theatre, stage: Stage, first: str) -> None:
    name = at.start(at.push(chain("keyed", {"type": "keyed", "queue": "cpu"})))
    at.outlet.taken()
    claimed = at.ask(op.Claim(name, 0, "", OWNER, NOW, NOW + 15_000))
    entry = op.Entry("a", "succeeded", "keyed", output=op.Payload("1"), started_at=NOW, ended_at=NOW)
    end = op.Settle(
        name, 0, "", claimed.epoch, False, NOW, (entry,), owner=OWNER, lease=15_000, taken=(True,)
    )
    skip = withdrawal(at, name, "a")
    if first == "settle":
        assert at.ask(end) is not None
        assert at.ask(skip) is Refusal.NOT_ACTIVE
        assert at.segments(name) == {0: "done", 1: "ready"}
        return
    answers = at.ask_all([end, skip])
    assert answers == [None, [(0, "", "default")]]
    assert at.query("SELECT status FROM journal WHERE node = 'a'") == [("skipped",)]
    assert at.ask(op.Record(name, 0, "", claimed.epoch, False, NOW, (entry,))) is op.Recorded.LOST
    assert at.query("SELECT open FROM execution") == [(1,)]


async def test_two_who_ask_at_once_are_answered_one_after_the_other(at: Theatre, stage: Stage) -> None:
    name = await resting(at, "keyed")
    skip, other = withdrawal(at, name, "b"), withdrawal(at, name, "b", error=CANCELLED)
    assert at.ask_all([skip, other]) == [[(1, "", "default")], Refusal.OVER]
    assert at.ask(other) is Refusal.OVER


async def test_an_effect_that_cannot_be_repeated_is_never_skipped_once_it_has_begun(
    at: Theatre, stage: Stage
) -> None:
    name = at.start(at.push(chain("once")))
    at.outlet.taken()
    claimed = at.ask(op.Claim(name, 0, "", OWNER, NOW, NOW + 15_000))
    skip = withdrawal(at, name, "a")
    intent = op.Entry("a", "intent", "once", started_at=NOW)
    at.ask(op.Record(name, 0, "", claimed.epoch, False, NOW, (intent,)))
    assert at.ask(skip) is Refusal.IN_DOUBT
    at.ask(op.Doubt(name, 0, "", claimed.epoch, False, NOW, head=1, reason="{}"))
    assert at.ask(skip) is Refusal.IN_DOUBT
    assert at.segment(name, 0, "status", "epoch") == ("uncertain", claimed.epoch)


async def test_what_stands_behind_an_effect_that_has_not_ended_is_not_withdrawn(
    at: Theatre, stage: Stage
) -> None:
    name = at.start(at.push(chain("pure", "keyed", "keyed")))
    assert at.ask(withdrawal(at, name, "c")) is Refusal.BEHIND_EFFECT
    assert at.ask(withdrawal(at, name, "b")) == [(0, "", "default")]
    await at.carry()
    assert (at.status(name), stage.calls) == ("succeeded", ["a"])


async def test_what_is_not_under_way_is_not_withdrawn(at: Theatre, stage: Stage) -> None:
    body = document([vertex(each, "keyed") for each in "abcd"], edges("a->b->d", "a->c->d"))
    name = at.start(at.push(body))
    assert at.ask(withdrawal(at, name, "b")) is Refusal.NOT_ACTIVE
    await at.carry()
    assert at.ask(withdrawal(at, name, "b")) is Refusal.ENDED
    stopping = await resting(at, "keyed")
    at.ask(op.Cancel(stopping, NOW))
    assert at.ask(withdrawal(at, stopping, "b")) is Refusal.ENDED


async def test_a_node_of_a_held_execution_is_skipped_and_goes_on_when_that_does(
    at: Theatre, stage: Stage
) -> None:
    name = await resting(at, "keyed")
    at.ask(op.Pause(name, NOW))
    assert withdraw(at, name, "b", output=op.Payload("1")) == []
    assert at.segment(name, 1, "status", "due") == ("ready", None)
    at.outlet.send(name, at.ask(op.Pause(name, NOW, resume=True)))
    await at.carry()
    assert (at.status(name), stage.calls) == ("succeeded", ["a", "b", "c"])


SCOPE = {
    "nodes": [vertex("x", "keyed", compensate={"type": "keyed"}), vertex("y", "waits")],
    "edges": edges("x->y"),
}


async def test_a_cancelled_scope_undoes_what_it_did_and_its_failure_is_caught(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("y", Wait(NOW + 10_000))
    catch = [{"on": ["node.cancelled"], "body": {"nodes": [vertex("h", "keyed")]}}]
    scope = vertex("s", "scope", body=SCOPE, catch=catch, **{"finally": {"nodes": [vertex("f", "keyed")]}})
    name = await at.run(document([scope, vertex("z", "keyed")], edges("s->z")))
    assert at.status(name) == "waiting"
    withdraw(at, name, "s", error=CANCELLED)
    await at.carry()
    assert at.status(name) == "succeeded"
    assert stage.calls[0:2] == ["x", "y"]
    assert stage.calls[3:] == ["h", "f", "z"]


async def test_a_scope_with_an_end_of_its_own_is_not_skipped(at: Theatre, stage: Stage) -> None:
    stage.tell("y", Wait(NOW + 10_000))
    name = await at.run(document([vertex("s", "scope", body=SCOPE)]))
    assert at.ask(withdrawal(at, name, "s")) is Refusal.PAST_FINALLY


async def test_what_undoes_or_ends_a_scope_is_not_cut_short_by_cancelling_the_scope(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("f", Wait(NOW + 10_000))
    scope = vertex(
        "s", "scope", body={"nodes": [vertex("x", "keyed")]}, **{"finally": {"nodes": [vertex("f", "waits")]}}
    )
    name = await at.run(document([scope]))
    assert at.ask(withdrawal(at, name, "s", error=CANCELLED)) is Refusal.PAST_FINALLY
    withdraw(at, name, "f", "0", output=op.Payload("1"))
    await at.carry()
    assert at.status(name) == "succeeded"


EACH = {"items": "[1, 2, 3]", "concurrency": 2, "on_item_error": "null"}


async def test_one_item_of_a_map_is_cancelled_or_skipped_and_the_others_go_on(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("m@item", Wait(NOW + 10_000, 1), Wait(NOW + 10_000, 2), 3)
    name = await at.run(document([vertex("m", "waits", for_each=EACH)], outputs="{{ nodes.m.output }}"))
    withdraw(at, name, "m", "0", error=CANCELLED)
    await at.carry()
    withdraw(at, name, "m", "1", output=op.Payload('"mine"'))
    await at.carry()
    assert (at.status(name), at.output(name)) == ("succeeded", [None, "mine", 3])


@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_map_is_withdrawn_with_all_its_items(at: Theatre, stage: Stage, cancelled: bool) -> None:
    stage.tell("m@item", Wait(NOW + 10_000))
    name = await at.run(document([vertex("m", "waits", for_each=EACH), vertex("z", "keyed")], edges("m->z")))
    withdraw(at, name, "m", error=CANCELLED if cancelled else None)
    await at.carry()
    assert at.status(name) == ("failed" if cancelled else "succeeded")
    rows = at.query("SELECT item, status FROM segment WHERE execution_id = ? AND item <> '' ORDER BY 1", name)
    assert rows == [("0", "cancelled"), ("1", "cancelled")]
    assert "z" not in stage.calls
    assert at.query("SELECT open FROM execution") == [(0,)]


async def test_a_node_of_an_instance_that_is_stopped_is_not_withdrawn(at: Theatre, stage: Stage) -> None:
    began, told = asyncio.Event(), asyncio.Event()

    async def linger(_: Any) -> int:
        began.set()
        await told.wait()
        return 1

    stage.tell("m@item", linger)
    name = at.start(at.push(document([vertex("m", "keyed", for_each={**EACH, "concurrency": 1})])))
    carrying = asyncio.create_task(at.executor().perform(at.outlet.taken()))
    await began.wait()
    inner = withdrawal(at, name, "m", "0")
    withdraw(at, name, "m", output=op.Payload("[]"))
    assert at.ask(inner) is Refusal.NOT_ACTIVE
    told.set()
    await carrying
    await at.carry()
    assert (at.status(name), at.output(name)) == ("succeeded", {"m": []})


async def test_an_item_of_a_chunk_has_no_run_of_its_own(at: Theatre, stage: Stage) -> None:
    body = document([vertex("m", "pure", for_each={"items": "[1, 2, 3]"})])
    name = at.start(at.push(body))
    assert at.outlet.taken() == [(name, 0, "")]
    await at.executor().perform([(name, 0, "")])
    assert at.status(name) == "succeeded"
    await at.carry()
    other = at.start(at.push(body))
    at.outlet.taken()
    at.query("UPDATE segment SET status = 'done' WHERE execution_id = ?", other)
    plan = plan_of(at, other)
    number, inner = place(plan, "m", "0")
    at.query(
        "INSERT INTO segment (execution_id, segment, item, status, queue, hi) VALUES (?, ?, '0', 'ready', 'default', 2)",
        other,
        number,
    )
    assert at.ask(op.Withdraw(other, number, "0", inner, NOW)) is Refusal.IN_CHUNK


async def test_a_node_is_placed_by_its_item(at: Theatre, stage: Stage) -> None:
    name = at.start(
        at.push(
            document(
                [
                    vertex("m", "waits", for_each=EACH),
                    vertex("s", "scope", body={"nodes": [vertex("x", "pure")]}),
                ]
            )
        )
    )
    plan = plan_of(at, name)
    assert place(plan, "m", "")[1] == "m"
    assert place(plan, "m", "2")[1] == "m@item"
    assert place(plan, "x", "0")[1] == "x"
    for node, item in (("x", ""), ("x", "0.0"), ("m", "a"), ("m", "1.2"), ("s", "0.0")):
        with pytest.raises(WrongItem):
            place(plan, node, item)
    for node in ("trigger", "@output", "s@begin", "nobody"):
        with pytest.raises(NotFound):
            place(plan, node, "")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.close()


async def withdrawn(bench: Workbench, name: str, node: str, **more: Any) -> None:
    """Withdraw a node run with all that it waits for, and carry on."""
    plan = bench.programs.plan(queries.version_of(bench.connection, name), bench.connection)
    segment, _ = place(plan, node, "")
    child = calls.called(bench.connection, name, segment, "")
    answer = bench.ask(op.Withdraw(name, segment, "", node, bench.clock.now(), child=child, **more))
    assert not isinstance(answer, Refusal), answer
    bench.outlet.send(name, answer)
    await bench.carry()


@pytest.mark.parametrize("error", [CANCELLED, None])
async def test_what_a_withdrawn_node_has_called_is_asked_to_stop(bench: Workbench, error: str | None) -> None:
    bench.push(document([vertex("rest", "wait", {"for": "1h"})], name="child"))
    name = bench.start(bench.push(document([vertex("c", "workflow", {"workflow": "child"})], name="parent")))
    await bench.carry()
    child = str(calls.called(bench.connection, name, 0, ""))
    assert bench.ask(op.Withdraw(name, 0, "", "c", NOW)) is Refusal.NOT_ACTIVE
    await withdrawn(bench, name, "c", error=error)
    assert (bench.status(name), bench.status(child)) == ("failed" if error else "succeeded", "cancelled")
    bench.clock.move(1)
    bench.poller().tick()
    assert bench.outlet.sent == []
    assert bench.query("SELECT told FROM execution WHERE id = ?", child) == [(1,)]


async def test_a_withdrawn_wait_listens_to_nothing(bench: Workbench) -> None:
    wait = {"event": {"type": "paid"}, "timeout": "1h"}
    name = bench.start(bench.push(document([vertex("w", "wait", wait), vertex("after")], edges("w->after"))))
    await bench.carry()
    assert bench.query("SELECT kind FROM subscription ORDER BY kind") == [("event",), ("time",)]
    await withdrawn(bench, name, "w", output=op.Payload('{"name":"me"}'))
    assert bench.query("SELECT count(*) FROM subscription") == [(0,)]
    assert bench.status(name) == "succeeded"


async def test_an_approval_whose_node_is_withdrawn_is_closed(bench: Workbench) -> None:
    name = bench.start(bench.push(document([vertex("ask", "approval", {"title": "Pay?"})])))
    await bench.carry()
    await withdrawn(bench, name, "ask", error=CANCELLED)
    assert bench.query("SELECT status FROM approval") == [("withdrawn",)]
    assert bench.status(name) == "failed"


@pytest.mark.parametrize(
    ("more", "status"), [({"error": CANCELLED}, "failed"), ({"output": op.Payload("1")}, "succeeded")]
)
async def test_who_waits_at_a_limit_and_is_withdrawn_waits_no_more(
    bench: Workbench, more: dict[str, Any], status: str
) -> None:
    config = {"event": {"type": "paid"}, "timeout": "1h"}
    active = bench.push(document([vertex("w", "wait", config, mutex="k")]))
    names = []
    for _ in range(3):
        names.append(bench.start(active))
        await bench.carry()
        bench.clock.move(1)
    first, second, third = names
    look = "SELECT execution_id, granted FROM hold ORDER BY place"
    assert bench.query(look) == [(first, 1), (second, 0), (third, 0)]
    await withdrawn(bench, second, "w", **more)
    assert bench.status(second) == status
    assert bench.query(look) == [(first, 1), (third, 0)]
    await withdrawn(bench, first, "w", **more)
    assert bench.status(first) == status
    assert bench.query(look) == [(third, 1)]
