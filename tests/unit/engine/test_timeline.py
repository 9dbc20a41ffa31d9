from __future__ import annotations

from typing import Any

import pytest

from engine import operations as op
from engine import queries
from engine.cutting import build
from engine.definition import Workflow
from engine.plan import Plan
from engine.timeline import SegmentState, skipped
from tests.builders import document, edge, edges, node
from tests.workbench import NOW, Workbench, built_in


def told(bench: Workbench, execution: str) -> dict[str, dict[str, Any]]:
    return {each["node"]: each for each in map(dict, listed(bench, execution))}


def listed(bench: Workbench, execution: str) -> list[dict[str, Any]]:
    return [each.to_json() for each in queries.nodes(bench.connection, execution)]


async def test_nodes_that_succeeded_stand_in_the_order_in_which_they_did(bench: Workbench) -> None:
    active = bench.push(document([node("b"), node("a")], edges("a->b")))
    execution = bench.start(active)
    await bench.carry()
    assert [(each["node"], each["status"], each["tries"]) for each in listed(bench, execution)] == [
        ("a", "succeeded", 1),
        ("b", "succeeded", 1),
    ]


async def test_a_branch_that_was_not_taken_is_skipped_with_all_that_only_it_leads_to(
    bench: Workbench,
) -> None:
    nodes = [node("ask", "if", {"condition": "false"}), node("yes"), node("after"), node("no")]
    ways = [edge("ask", "yes", port="true"), edge("yes", "after"), edge("ask", "no", port="false")]
    execution = bench.start(bench.push(document(nodes, ways)))
    await bench.carry()
    found = told(bench, execution)
    assert {name: each["status"] for name, each in found.items()} == {
        "ask": "succeeded",
        "yes": "skipped",
        "after": "skipped",
        "no": "succeeded",
    }


async def test_after_a_failure_the_rest_was_not_reached(bench: Workbench) -> None:
    nodes = [node("first"), node("bad", "fail", {"code": "shop.closed", "message": "closed"}), node("last")]
    execution = bench.start(bench.push(document(nodes, edges("first->bad->last"))))
    await bench.carry()
    found = told(bench, execution)
    assert [found[name]["status"] for name in ("first", "bad", "last")] == [
        "succeeded",
        "failed",
        "not_reached",
    ]
    assert (
        found["bad"]["error"] == found["bad"]["first_error"] == {"code": "shop.closed", "message": "closed"}
    )


async def test_a_rest_shows_until_when_and_what_comes_later_is_pending(bench: Workbench) -> None:
    execution = bench.start(
        bench.push(document([node("rest", "wait", {"for": 60}), node("on")], edges("rest->on")))
    )
    await bench.carry()
    found = told(bench, execution)
    assert (found["rest"]["status"], found["rest"]["until"], found["on"]["status"]) == (
        "waiting",
        NOW + 60_000,
        "pending",
    )
    bench.clock.move(61)
    bench.poller().tick()
    await bench.carry()
    found = told(bench, execution)
    assert (found["rest"]["status"], found["rest"]["duration_ms"]) == ("succeeded", 61_000)
    assert "until" not in found["rest"]


async def test_attempts_are_counted_and_the_first_error_stays_visible(bench: Workbench) -> None:
    again = {"max_attempts": 3, "on": ["shop.closed"], "delay": 1, "jitter": 0}
    bad = node("bad", "fail", {"code": "shop.closed", "message": "closed"}, retry=again)
    execution = bench.start(bench.push(document([bad])))
    await bench.carry()
    first = told(bench, execution)["bad"]
    assert (first["status"], first["tries"], first["until"]) == ("backing_off", 1, NOW + 1000)
    for _ in range(3):
        bench.clock.move(10)
        bench.poller().tick()
        await bench.carry()
    last = told(bench, execution)["bad"]
    assert (last["status"], last["tries"], last["first_error"]["code"]) == ("failed", 3, "shop.closed")


async def test_what_was_cancelled_before_it_began_is_cancelled(bench: Workbench) -> None:
    execution = bench.start(bench.push(document([node("a"), node("b")], edges("a->b"))))
    bench.ask(op.Cancel(execution, bench.clock.now()))
    assert {each["status"] for each in listed(bench, execution)} == {"cancelled"}


def test_a_claimed_segment_shows_its_first_open_node_as_running(bench: Workbench) -> None:
    request = node("ask", "http_request", {"url": "https://example.com"})
    execution = bench.start(bench.push(document([request, node("on")], edges("ask->on"))))
    bench.ask(op.Claim(execution, 0, "", "elsewhere:1:1", bench.clock.now(), bench.clock.now() + 15_000))
    found = told(bench, execution)
    assert (found["ask"]["status"], found["ask"]["started_at"]) == ("running", NOW)
    assert found["on"]["status"] == "pending"


def plan_of(*ways: str, names: str) -> Plan:
    return build(Workflow.parse(document([node(each) for each in names], edges(*ways))), built_in())


@pytest.mark.parametrize(
    ("exits", "expected"),
    [("10", {"c"}), ("01", {"b"}), ("00", {"b", "c", "d", "@output"}), ("*", set()), (None, set())],
)
def test_the_skipped_are_the_fold_over_the_exits_not_taken(exits: str | None, expected: set[str]) -> None:
    plan = plan_of("a->b->d", "a->c->d", names="abcd")
    root = SegmentState(0, "", "done", 0, exits, None)
    found = skipped(plan, [root])
    assert {each.id for number in found for each in plan.segments[number].nodes} == expected
