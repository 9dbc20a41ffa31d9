"""What does not begin any more once another node has ended."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Context, OnEvent, Wait
from engine import operations as op
from engine.registry import Registry
from engine.settings import DEFAULT_PROJECT
from tests.builders import document, edges, node
from tests.theatre import REGISTRY, Stage, Theatre
from tests.unit.engine.test_timeouts import carry_near
from tests.workbench import NOW

WHILE = {"enabled_while": {"not_ended": "ship"}}


def order(change: dict[str, Any], *more: Any, ways: Any = ()) -> dict[str, Any]:
    """An order that may be changed while it has not been shipped, and what follows a change."""
    nodes = [node("ship", "waits"), change, node("changed", "pure"), *more]
    return document(nodes, [*edges("change->changed"), *ways])


async def shipped(at: Theatre, name: str) -> None:
    """Let the wait for the shipment be over."""
    now = at.clock.now()
    event = op.Publish(f"evt_{now}", DEFAULT_PROJECT, "shipped", "", now, now + 60_000)
    for execution, ready in at.ask(event).ready:
        at.outlet.send(execution, [ready])
    await carry_near(at)


def listens(kind: str) -> Wait:
    return Wait(None, None, (OnEvent(kind),))


def word(at: Theatre, name: str, node_: str) -> str:
    ((status,),) = at.query(
        "SELECT status FROM journal WHERE execution_id = ? AND node = ? AND step = ''", name, node_
    )
    return str(status)


@pytest.mark.parametrize("kind", ["pure", "read", "waits"])
async def test_before_the_end_it_begins_as_ever(at: Theatre, stage: Stage, kind: str) -> None:
    stage.tell("ship", listens("shipped"))
    name = await at.run(order(node("change", kind, **WHILE)))
    assert stage.calls[-1] == "changed"
    await shipped(at, name)
    assert at.status(name) == "succeeded"


@pytest.mark.parametrize("kind", ["pure", "read"])
async def test_after_the_end_it_is_skipped_with_what_follows(at: Theatre, stage: Stage, kind: str) -> None:
    stage.tell("ask", Wait(NOW + 60_000))
    body = order(node("change", kind, **WHILE), node("ask", "waits"), ways=edges("ask->change"))
    name = await at.run(body)
    await at.tick(60)
    assert (at.status(name), stage.calls) == ("succeeded", ["ship", "ask"])
    assert word(at, name, "change") == "skipped"
    assert at.output(name) == {"ship": {"by": "ship"}}


async def test_a_wait_is_withdrawn_at_the_end(at: Theatre, stage: Stage) -> None:
    stage.tell("ship", listens("shipped"))
    stage.tell("change", listens("change"))
    name = await at.run(order(node("change", "waits", **WHILE)))
    assert len(at.query("SELECT 1 FROM subscription")) == 2
    await shipped(at, name)
    assert (at.status(name), word(at, name, "change")) == ("succeeded", "skipped")
    assert at.query("SELECT 1 FROM subscription") == []
    assert "changed" not in stage.calls


async def test_what_nobody_has_taken_up_is_skipped_at_the_end_by_those_who_began(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("ship", listens("shipped"))
    name = at.start(at.push(order(node("change", "distant", **WHILE))))
    await carry_near(at)
    at.programs._registry = Registry([each for each in REGISTRY.everything() if each.name != "distant"])
    at.programs._found.clear()
    await shipped(at, name)
    assert (at.status(name), word(at, name, "change")) == ("succeeded", "skipped")
    assert "change" not in stage.calls


async def test_what_has_begun_goes_on(at: Theatre, stage: Stage) -> None:
    stage.tell("ship", listens("shipped"))

    async def works(_: Context) -> Any:
        now = at.clock.now()
        event = op.Publish("evt_1", DEFAULT_PROJECT, "shipped", "", now, now + 60_000)
        for execution, ready in at.ask(event).ready:
            await at.executor().perform([(execution, *ready[:2])])
        return "done"

    stage.tell("change", works)
    name = await at.run(order(node("change", "read", **WHILE)))
    assert at.status(name) == "succeeded"
    assert stage.calls[-1] == "changed"


async def test_what_is_tried_again_has_begun(at: Theatre, stage: Stage) -> None:
    stage.tell("ship", listens("shipped"))
    stage.tell("change", ValueError(), "done")
    retry = {"max_attempts": 2, "delay": 5, "jitter": 0}
    name = await at.run(order(node("change", "read", retry=retry, **WHILE)))
    await shipped(at, name)
    assert at.status(name) == "waiting"
    await at.tick(5)
    assert (at.status(name), stage.calls[-1]) == ("succeeded", "changed")


async def test_a_scope_is_skipped_as_a_whole(at: Theatre, stage: Stage) -> None:
    stage.tell("ask", Wait(NOW + 60_000))
    change = node("change", "scope", body={"nodes": [node("inner", "read")]}, **WHILE)
    name = await at.run(order(change, node("ask", "waits"), ways=edges("ask->change")))
    await at.tick(60)
    assert (at.status(name), stage.calls) == ("succeeded", ["ship", "ask"])


async def test_each_item_has_its_own_milestone(at: Theatre, stage: Stage) -> None:
    stage.tell("ship", lambda ctx: listens("shipped") if ctx.item == "1" else "gone")
    stage.tell("ask", Wait(NOW + 60_000))
    inner = order(node("change", "read", **WHILE), node("ask", "waits"), ways=edges("ask->change"))[
        "definition"
    ]
    body = {**inner, "output": "{{ nodes.changed.output | default('too late') }}"}
    name = await at.run(document([node("all", "scope", body=body, for_each={"items": "[1, 2]"})]))
    await at.tick(60)
    await shipped(at, name)
    assert at.output(name) == {"all": ["too late", {"by": "changed"}]}


async def test_what_was_skipped_never_ends_so_nothing_is_skipped_because_of_it(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("ship", listens("shipped"))
    stage.tell("change", listens("change"))
    stage.tell("rest", Wait(NOW + 60_000))
    stage.tell("ask", Wait(NOW + 30_000))
    after_change = {"enabled_while": {"not_ended": "change"}}
    late = node("late", "read", **after_change)
    rest = node("rest", "waits", **after_change)
    name = await at.run(
        order(node("change", "waits", **WHILE), late, rest, node("ask", "waits"), ways=edges("ask->late"))
    )
    await shipped(at, name)
    assert (at.status(name), word(at, name, "change")) == ("waiting", "skipped")
    await at.tick(60)
    assert (at.status(name), word(at, name, "late"), word(at, name, "rest")) == (
        "succeeded",
        "succeeded",
        "succeeded",
    )
