"""A map that goes on without some of its items: what is left of them, and when the region around ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine import operations as op
from engine.advance import Completed, advance, joins_touched
from engine.cutting import build
from engine.definition import Workflow
from engine.fans import Fan
from engine.plan import REST, Plan
from tests.builders import document, edges, node
from tests.theatre import Stage, Theatre
from tests.workbench import NOW, OWNER, Workbench, built_in

EACH: dict[str, Any] = {
    "for_each": {"items": "[1, 2, 3]", "until": "done == 1", "rest": "finish"},
    "body": {"nodes": [node("rest", retry={"max_attempts": 2})]},
}
MAP = document([node("each", "scope", **EACH), node("after")], edges("each->after"))
"""Segments: 0 trigger and each, 1 after, 2 the output, 3 the body."""


def planned() -> Plan:
    return build(Workflow.parse(MAP), built_in())


def test_a_map_that_may_leave_items_behind_has_one_more_way_to_the_end() -> None:
    exits = [(each.target, each.port, each.on) for each in planned().segments[0].exits]
    assert exits == [(1, None, "success"), (2, REST, "success")]
    assert planned().segments[0].rest == (None, False)
    assert planned().segments[1].rest is None


def test_a_way_that_is_not_decided_now_is_not_counted() -> None:
    completed = Completed(0, "", (True, None))
    assert joins_touched(planned(), completed) == set()
    decision = advance(planned(), {}, [completed])
    assert (decision.ready, decision.joins) == ([(1, "")], {})


ITEM: dict[str, Any] = {"item": "1", "segment": 3, "epoch": 0}
WHOLE: dict[str, Any] = {"item": "", "segment": 0, "epoch": 1, "taken": (True, False)}
LAST: dict[str, Any] = {"item": "2", "segment": 3, "epoch": 0}
AFTER: dict[str, Any] = {"item": "", "segment": 1, "epoch": 0, "taken": (True,)}


@pytest.mark.parametrize(
    "batches",
    [
        [[ITEM], [LAST], [WHOLE], [AFTER]],
        [[WHOLE], [ITEM], [LAST], [AFTER]],
        [[WHOLE], [AFTER], [ITEM, LAST]],
        [[ITEM, LAST, WHOLE], [AFTER]],
        [[WHOLE, ITEM], [AFTER, LAST]],
    ],
)
def test_the_end_comes_with_the_last_item_in_whatever_commits(
    bench: Workbench, batches: list[list[dict[str, Any]]]
) -> None:
    name = bench.start(bench.push(MAP))
    held: dict[str, Any] = {"execution": name, "pure": True, "now": NOW}
    going: dict[str, Any] = {"owner": OWNER, "lease": 1000, "inline": 0}
    fan = Fan(1, 0, 3, 1, 9, 0, watch=True)
    bench.ask(op.Spread(**held, **going, segment=0, item="", epoch=0, head=1, fan=fan.to_text()))
    bench.ask(op.Settle(**held, **going, segment=3, item="0", epoch=0))
    for batch in batches:
        assert bench.query("SELECT status FROM segment WHERE segment = 2 AND status = 'ready'") == []
        answers = bench.step(*(op.Settle(**held, **going, **each) for each in batch))
        assert all(isinstance(each, op.Settled) for each in answers), answers
    assert bench.segment(name, 2, "status", "pending") == ("ready", 0)


def test_what_has_not_begun_when_a_map_goes_on_never_begins(bench: Workbench) -> None:
    name = bench.start(bench.push(MAP))
    held: dict[str, Any] = {
        "execution": name,
        "pure": True,
        "now": NOW,
        "owner": OWNER,
        "lease": 1000,
        "inline": 0,
    }
    fan = Fan(1, 0, 3, 1, 1, 0, watch=True)
    bench.ask(op.Spread(**held, segment=0, item="", epoch=0, head=1, fan=fan.to_text()))
    bench.ask(op.Settle(**held, segment=3, item="0", epoch=0))
    bench.ask(op.Settle(**held, **WHOLE))
    bench.ask(op.Settle(**held, **ITEM))
    assert bench.query("SELECT item FROM segment WHERE segment = 3 ORDER BY item") == [("0",), ("1",)]
    assert bench.segment(name, 2, "status", "pending") == ("blocked", 1)


async def test_the_end_that_comes_with_an_item_takes_the_result_of_the_map_for_what_the_map_came_to(
    at: Theatre, stage: Stage
) -> None:
    told = asyncio.Event()

    async def linger(_: Any) -> int:
        await told.wait()
        return 2

    stage.tell("each", 1)
    stage.tell("each@item", 1, linger)
    rule = {"items": "[1, 2]", "until": "done == 1", "rest": "finish"}
    name = at.start(at.push(document([node("each", "keyed", for_each=rule)])))
    carrying = asyncio.create_task(at.carry())
    while not at.query("SELECT 1 FROM journal WHERE node = 'each'"):
        await asyncio.sleep(0.001)
    told.set()
    await carrying
    assert (at.status(name), at.output(name)) == ("succeeded", {"each": [1]})
