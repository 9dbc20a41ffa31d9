"""How executions, branches and instances end early: what runs is stopped, then scopes do what they do in their end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from celeriac import Context, Exit, Fail, Wait
from engine import operations as op
from engine.settings import Limits
from tests.builders import document, edges, node
from tests.theatre import Stage, Theatre, theatre
from tests.workbench import NOW

UNDONE = {"compensate": {"type": "keyed"}}


def scope(name: str, *body: dict[str, Any], last: Any = None, **more: Any) -> dict[str, Any]:
    """A scope whose nodes follow one another, with one node in its `finally`."""
    ways = edges("->".join(each["id"] for each in body)) if len(body) > 1 else []
    ends = {"finally": {"nodes": [node(last, "read") if isinstance(last, str) else last]}} if last else {}
    return {"id": name, "type": "scope", "body": {"nodes": list(body), "edges": ways}, **ends, **more}


def rest(stage: Stage, *names: str) -> None:
    """Let nodes wait for a day."""
    for each in names:
        stage.tell(each, Wait(NOW + 86_400_000))


async def stop(at: Theatre, name: str, **more: Any) -> str:
    """Ask an execution to stop, and carry what follows from that at once."""
    status: str = at.ask(op.Cancel(name, at.clock.now(), **more))
    await settle(at)
    return status


async def settle(at: Theatre, seconds: float = 0.0, rounds: int = 12) -> None:
    for _ in range(rounds):
        await at.tick(seconds)


async def test_a_cancelled_execution_undoes_and_does_what_is_done_in_the_end_and_catches_nothing(
    at: Theatre, stage: Stage
) -> None:
    rest(stage, "b")
    catch = [{"body": {"nodes": [node("caught", "read")]}}]
    told = node("z", "read", {"text": "{{ nodes.s.error.code }}"})
    nodes = [node("a", "keyed", **UNDONE), node("c", "keyed", **UNDONE), node("b", "waits")]
    name = await at.run(
        document([scope("s", *nodes, last=told, catch=catch), node("after", "read")], edges("s->after"))
    )
    assert await stop(at, name) == "running"
    assert at.status(name) == "cancelled"
    assert stage.calls == ["a", "c", "b", "c@undo", "a@undo", "z"]
    assert stage.seen[-1] == ("z", "scope.stopped")
    kinds = at.kinds(name)
    assert kinds.index("execution.cancel_requested") < kinds.index("execution.ending")
    assert kinds[-1] == "execution.cancelled"
    assert kinds.count("execution.ending") == 1


async def test_the_innermost_ends_first(at: Theatre, stage: Stage) -> None:
    rest(stage, "w")
    inner = scope("i", node("w", "waits"), last="zi")
    name = await at.run(document([scope("o", scope("m", inner, last="zm"), last="zo")]))
    await stop(at, name)
    assert (stage.calls, at.status(name)) == (["w", "zi", "zm", "zo"], "cancelled")


async def test_what_never_began_owes_nothing(at: Theatre, stage: Stage) -> None:
    rest(stage, "w")
    name = await at.run(
        document([node("w", "waits"), scope("s", node("a", "pure"), last="z")], edges("w->s"))
    )
    assert await stop(at, name) == "cancelled"
    assert stage.calls == ["w"]


async def test_what_runs_in_the_body_has_let_go_before_the_end_begins(tmp_path: Path, stage: Stage) -> None:
    at = theatre(tmp_path)
    told = asyncio.Event()

    async def slow(_: Context) -> None:
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            await told.wait()
            raise

    stage.tell("a", slow)
    name = at.start(at.push(document([scope("s", node("a", "read"), last="z")])))
    running = asyncio.create_task(at.carry())
    while "a" not in stage.calls:
        await asyncio.sleep(0)
    assert await stop(at, name) == "running"
    at.leases.renew()
    await settle(at, 0.5)
    assert (stage.calls, at.status(name)) == (["a"], "running")
    told.set()
    await running
    await settle(at)
    assert (stage.calls, at.status(name)) == (["a", "z"], "cancelled")
    at.close()


async def test_a_second_request_changes_nothing_and_one_with_force_skips_the_end(
    at: Theatre, stage: Stage
) -> None:
    rest(stage, "w", "z")
    ends = scope("s", node("w", "waits"), last=node("z", "waits"))
    name = await at.run(document([ends]))
    await stop(at, name, reason="first")
    assert (stage.calls, at.status(name)) == (["w", "z"], "waiting")
    assert await stop(at, name, reason="second") == "waiting"
    assert stage.calls == ["w", "z"]
    assert await stop(at, name, reason="third", force=True) == "cancelled"
    assert at.query("SELECT cancel_reason, deadline FROM execution") == [("first", None)]
    assert at.kinds(name)[-2:] == ["execution.cancel_forced", "execution.cancelled"]
    assert set(at.segments(name).values()) <= {"cancelled", "done", "blocked"}
    assert not at.query("SELECT 1 FROM segment WHERE status NOT IN ('cancelled', 'done')")


async def test_the_first_request_may_have_force(at: Theatre, stage: Stage) -> None:
    rest(stage, "w")
    name = await at.run(document([scope("s", node("w", "waits"), last="z")]))
    assert await stop(at, name, force=True) == "cancelled"
    assert stage.calls == ["w"]


async def test_the_end_has_a_time_and_no_more(at: Theatre, stage: Stage) -> None:
    rest(stage, "w", "z")
    name = await at.run(document([scope("s", node("w", "waits"), last=node("z", "waits"))]))
    await stop(at, name)
    await settle(at, Limits().ending_ms / 1000 - 0.001, rounds=1)
    assert at.status(name) == "waiting"
    await settle(at, 0.001, rounds=2)
    assert at.status(name) == "cancelled"
    assert stage.calls == ["w", "z"]


async def test_an_execution_out_of_time_has_timed_out_when_the_end_is_done(at: Theatre, stage: Stage) -> None:
    rest(stage, "w")
    name = await at.run(document([scope("s", node("w", "waits"), last="z")], timeout=60))
    await settle(at, 60, rounds=1)
    await settle(at)
    assert (stage.calls, at.status(name)) == (["w", "z"], "timed_out")
    assert at.error(name)["code"] == "execution.timed_out"


async def test_a_failure_beside_lets_a_scope_do_its_end_before_the_execution_has_failed(
    at: Theatre, stage: Stage
) -> None:
    rest(stage, "w")
    stage.tell("v", Wait(NOW + 1_000))
    stage.tell("bad", Fail("x.broken", "It broke."))
    nodes = [
        scope("s", node("a", "keyed", **UNDONE), node("w", "waits"), last="z"),
        node("v", "waits"),
        node("bad", "read"),
    ]
    name = await at.run(document(nodes, edges("v->bad")))
    await at.tick(1)
    await settle(at)
    assert stage.calls[-3:] == ["bad", "a@undo", "z"]
    assert (at.status(name), at.error(name)["code"]) == ("failed", "x.broken")
    assert at.kinds(name)[-1] == "execution.failed"


async def test_a_failure_decides_and_a_cancel_that_comes_later_does_not(at: Theatre, stage: Stage) -> None:
    rest(stage, "w")
    stage.tell("z", Wait(NOW + 5_000))
    stage.tell("v", Wait(NOW + 1_000))
    stage.tell("bad", Fail("x.broken", "It broke."))
    nodes = [scope("s", node("w", "waits"), last=node("z", "waits")), node("v", "waits"), node("bad", "read")]
    name = await at.run(document(nodes, edges("v->bad")))
    await at.tick(1)
    await settle(at)
    assert at.status(name) == "waiting"
    assert await stop(at, name) == "waiting"
    await settle(at, 5, rounds=3)
    assert at.status(name) == "failed"


async def test_an_exit_of_the_workflow_waits_for_the_end_of_scopes_beside(at: Theatre, stage: Stage) -> None:
    rest(stage, "w")
    stage.tell("v", Wait(NOW + 1_000))
    stage.tell("out", Exit("workflow", 7))
    nodes = [scope("s", node("w", "waits"), last="z"), node("v", "waits"), node("out", "waits")]
    name = await at.run(document(nodes, edges("v->out")))
    await at.tick(1)
    await settle(at)
    assert stage.calls[-2:] == ["out", "z"]
    assert (at.status(name), at.output(name)) == ("succeeded", 7)


async def test_what_loses_at_a_join_does_its_end_beside_what_follows_and_the_execution_waits_for_it(
    at: Theatre, stage: Stage
) -> None:
    rest(stage, "w", "z")
    stage.tell("v", Wait(NOW + 1_000))
    join = {"mode": "any", "cancel_rest": True}
    nodes = [
        scope("s", node("w", "waits"), last=node("z", "waits")),
        node("v", "waits"),
        node("j", "pure", join=join),
    ]
    name = await at.run(document(nodes, edges("s->j", "v->j")))
    await at.tick(1)
    await settle(at)
    assert (stage.calls[-2:], at.status(name)) == (["j", "z"], "waiting")
    await settle(at, 86_400, rounds=2)
    assert at.status(name) == "succeeded"
    assert at.output(name) == {"j": {"by": "j"}}


@pytest.mark.parametrize("where", ["body", "catch", "finally", "undo"])
async def test_wherever_a_cancel_meets_a_scope_its_end_is_done_once(
    at: Theatre, stage: Stage, where: str
) -> None:
    resting = {"body": "b", "catch": "c", "finally": "z", "undo": "a@undo"}[where]
    stage.tell("b", Fail("x.broken", "It broke."))
    stage.tell(resting, Wait(NOW + 5_000))
    catch = [{"body": {"nodes": [node("c", "waits")]}}]
    nodes = [node("a", "keyed", compensate={"type": "waits"}), node("b", "waits")]
    name = await at.run(document([scope("s", *nodes, last=node("z", "waits"), catch=catch)]))
    await settle(at)
    assert stage.calls[-1] == resting
    await stop(at, name)
    await settle(at, 5, rounds=3)
    await settle(at)
    expected = ["a", "b", "a@undo", *(["c"] if where in ("catch", "finally") else []), "z"]
    assert (stage.calls, at.status(name)) == (expected, "cancelled")


async def test_a_held_execution_that_is_cancelled_goes_on_to_its_end(at: Theatre, stage: Stage) -> None:
    rest(stage, "w")
    name = await at.run(document([scope("s", node("w", "waits"), last="z")]))
    at.ask(op.Pause(name, NOW))
    await stop(at, name)
    assert (stage.calls, at.status(name)) == (["w", "z"], "cancelled")


async def test_one_that_is_held_in_its_end_is_cancelled_with_what_it_does_there(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("z", Fail("x.busy", "Not now."))
    name = await at.run(document([scope("s", node("a", "read"), last=node("z", "once"))]))
    assert at.status(name) == "running" or at.status(name) == "waiting"
    at.ask(op.Pause(name, NOW))
    await settle(at, 60, rounds=2)
    assert stage.calls == ["a", "z"]
    await stop(at, name)
    await settle(at, 60, rounds=2)
    assert (stage.calls, at.status(name)) == (["a", "z", "z"], "cancelled")


async def test_items_do_their_end_before_their_map_has_failed(at: Theatre, stage: Stage) -> None:
    stage.tell("w", lambda ctx: Wait(NOW + 1_000 if ctx.item.split(".")[1] == "1" else NOW + 86_400_000))
    stage.tell("x", Fail("x.broken", "It broke."))
    each = scope("s", node("w", "waits"), node("x", "read"), last="z", for_each={"items": "[1, 2, 3]"})
    outer = scope("o", each, last="zo")
    name = await at.run(document([outer]))
    await at.tick(1)
    await settle(at)
    assert stage.calls == ["w", "w", "w", "x", "z", "z", "z", "zo"]
    assert (at.status(name), at.error(name)["code"]) == ("failed", "x.broken")


async def test_a_scope_out_of_time_lets_the_scopes_inside_do_their_end_first(
    at: Theatre, stage: Stage
) -> None:
    rest(stage, "w")
    catch = [{"on": ["node.timeout"], "body": {"nodes": [node("late", "read")]}}]
    name = await at.run(
        document([scope("o", scope("i", node("w", "waits"), last="zi"), last="zo", timeout=2, catch=catch)])
    )
    await at.tick(2)
    await settle(at)
    assert (stage.calls, at.status(name)) == (["w", "zi", "late", "zo"], "succeeded")


async def test_a_failure_in_the_end_of_a_stopped_scope_hinders_nothing(at: Theatre, stage: Stage) -> None:
    rest(stage, "w")
    stage.tell("zi", Fail("x.broken", "It broke."))
    name = await at.run(document([scope("o", scope("i", node("w", "waits"), last="zi"), last="zo")]))
    await stop(at, name)
    assert (stage.calls, at.status(name)) == (["w", "zi", "zo"], "cancelled")


async def test_a_compensation_that_fails_is_told_and_the_first_failure_stays_the_cause(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("c", Fail("x.broken", "It broke.", {"why": 1}))
    stage.tell("a@undo", Fail("x.stuck", "It is stuck."))
    stage.tell("b@undo", Fail("x.gone", "It is gone."))
    nodes = [node("a", "keyed", **UNDONE), node("b", "keyed", **UNDONE), node("c", "read")]
    name = await at.run(document([scope("s", *nodes, last="z")]))
    assert stage.calls[-3:] == ["b@undo", "a@undo", "z"]
    error = at.error(name)
    assert (error["code"], error["details"]["why"]) == ("x.broken", 1)
    failed = [(each["node"], each["error"]["code"]) for each in error["details"]["compensations"]]
    assert failed == [("a", "x.stuck"), ("b", "x.gone")]
    told = [
        (each[1], each[3]["error"]["code"])
        for each in at.events(name)
        if each[0] == "node.compensation_failed"
    ]
    assert told == [("b", "x.gone"), ("a", "x.stuck")]


async def test_an_instance_that_was_stopped_waits_for_the_scopes_in_it(at: Theatre, stage: Stage) -> None:
    """A loser that does its end inside a body: the scope around goes on when that is done."""
    rest(stage, "w")
    stage.tell("z", Wait(NOW + 9_000))
    stage.tell("v", Wait(NOW + 1_000))
    join = {"mode": "any", "cancel_rest": True}
    inner = scope("s", node("w", "waits"), last=node("z", "waits"))
    body = {
        "nodes": [inner, node("v", "waits"), node("j", "pure", join=join)],
        "edges": edges("s->j", "v->j"),
    }
    nodes = [{"id": "o", "type": "scope", "body": body}, node("after", "read")]
    name = await at.run(document(nodes, edges("o->after")))
    await at.tick(1)
    await settle(at)
    assert stage.calls[-2:] == ["j", "z"]
    await settle(at, 9, rounds=2)
    await settle(at)
    assert (stage.calls[-1], at.status(name)) == ("after", "succeeded")
