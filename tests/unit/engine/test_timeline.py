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


# Containers


def mapped(*nodes: dict[str, Any], ways: str = "", **more: Any) -> dict[str, Any]:
    """A document of a map `m` over the payload's `xs`."""
    body = {"nodes": list(nodes), "edges": edges(ways) if ways else []}
    return document([{"id": "m", "type": "scope", "for_each": {"items": "xs", **more}, "body": body}])


async def shown(bench: Workbench, body: dict[str, Any], items: int = 2) -> list[tuple[str, str, str]]:
    """What is told of an execution: node, item and status."""
    execution = bench.start(bench.push(body), {"xs": list(range(items))})
    await bench.carry()
    return [(each["node"], each.get("item", ""), each["status"]) for each in listed(bench, execution)]


async def test_what_nobody_has_written_is_not_shown(bench: Workbench) -> None:
    wait = node("a", "wait", {"for": 0})
    assert await shown(bench, mapped(wait, node("b"), ways="a->b")) == [
        ("m", "", "succeeded"),
        ("a", "0", "succeeded"),
        ("a", "1", "succeeded"),
        ("b", "0", "succeeded"),
        ("b", "1", "succeeded"),
    ]


async def test_a_repeated_node_is_shown_under_its_own_name_with_the_counts_of_its_items(
    bench: Workbench,
) -> None:
    body = document([node("sq", "transform", {"expression": "item * 2"}, for_each={"items": "xs"})])
    execution = bench.start(bench.push(body), {"xs": [1, 2]})
    await bench.carry()
    first, *others = listed(bench, execution)
    assert (first["node"], first["status"], first["items"]) == ("sq", "succeeded", {"succeeded": 2})
    assert [(each["node"], each["item"], each["status"]) for each in others] == [
        ("sq", "0", "succeeded"),
        ("sq", "1", "succeeded"),
    ]


@pytest.mark.parametrize("effect", ["transform", "wait"])
async def test_of_many_items_the_failed_ones_are_shown_first_and_all_are_counted(
    bench: Workbench, effect: str
) -> None:
    check = node("check", "transform", {"expression": "1 / (item % 50 - 49)"})
    first = node("first", effect, {"expression": "item"} if effect == "transform" else {"for": 0})
    body = mapped(first, check, node("after"), ways="first->check->after", on_item_error="drop")
    execution = bench.start(bench.push(body), {"xs": list(range(200))})
    await bench.carry()
    rows = listed(bench, execution)
    of_check = [each for each in rows if each["node"] == "check"]
    assert (of_check[0]["items"], of_check[0]["status"]) == ({"succeeded": 196, "failed": 4}, "failed")
    assert [each["item"] for each in of_check[1:] if each["status"] == "failed"] == ["49", "99", "149", "199"]
    assert len(of_check) == 21
    assert [each["items"] for each in rows if each["node"] == "after" and "items" in each] == [
        {"succeeded": 196, "not_reached": 4}
    ]
    assert len(rows) == 1 + 3 * 21


async def test_a_choice_is_each_items_own(bench: Workbench) -> None:
    body = mapped(node("ask", "if", {"condition": "item > 0"}), node("yes"), node("no"))
    body["definition"]["nodes"][0]["body"]["edges"] = [
        edge("ask", "yes", port="true"),
        edge("ask", "no", port="false"),
    ]
    found = await shown(bench, body)
    assert {each for each in found if each[0] in ("yes", "no")} == {
        ("yes", "0", "skipped"),
        ("no", "0", "succeeded"),
        ("yes", "1", "succeeded"),
        ("no", "1", "skipped"),
    }


async def test_a_container_waits_while_its_items_do(bench: Workbench) -> None:
    assert await shown(bench, mapped(node("w", "wait", {"for": 60}), node("b"), ways="w->b"), 1) == [
        ("m", "", "waiting"),
        ("w", "0", "waiting"),
        ("b", "0", "pending"),
    ]


async def test_a_map_that_was_not_begun_is_shown_once(bench: Workbench) -> None:
    body = document([node("sq", "transform", {"expression": "item"}, for_each={"items": "xs"})])
    execution = bench.start(bench.push(body), {"xs": [1, 2, 3]})
    found = told(bench, execution)
    assert found["sq"]["status"] == "ready"
    bench.ask(op.Cancel(execution, bench.clock.now()))
    assert {each["status"] for each in listed(bench, execution)} == {"cancelled"}


def scope(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"nodes": list(nodes), "edges": edges("->".join(each["id"] for each in nodes))}
    return document([{"id": "s", "type": "scope", "body": body, **more}])


BAD = node("bad", "fail", {"code": "shop.closed", "message": "closed"})
CATCH = [{"body": {"nodes": [node("rescue")], "edges": []}}]


async def test_what_catches_a_failure_is_shown_when_it_ran_and_skipped_when_not(bench: Workbench) -> None:
    assert await shown(bench, scope(node("a"), BAD, node("c"), catch=CATCH)) == [
        ("s", "", "succeeded"),
        ("a", "0", "succeeded"),
        ("bad", "0", "failed"),
        ("rescue", "0", "succeeded"),
        ("c", "0", "not_reached"),
    ]
    calm = scope(node("a"), node("b"), catch=CATCH)
    assert ("rescue", "", "skipped") in await shown(bench, {**calm, "name": "calm"})


async def test_what_undoes_is_shown_when_it_ran(bench: Workbench) -> None:
    a = node("a", compensate={"type": "noop"})
    assert ("a@undo", "0", "succeeded") in await shown(bench, scope(a, BAD))
    calm = await shown(bench, {**scope(a, node("b")), "name": "calm"})
    assert "a@undo" not in {name for name, _, _ in calm}


async def test_an_output_that_cannot_be_made_is_shown_where_it_failed(bench: Workbench) -> None:
    body = scope(node("a"), node("b"))
    body["definition"]["nodes"][0]["body"]["output"] = "{{ nothing }}"
    assert ("s@end", "0", "failed") in await shown(bench, body)


@pytest.mark.parametrize(
    ("before", "expected"),
    [(node("ask", "if", {"condition": "false"}), "skipped"), (BAD, "not_reached")],
)
async def test_the_inside_of_what_never_began_is_what_its_container_is(
    bench: Workbench, before: dict[str, Any], expected: str
) -> None:
    body = scope(node("a"), node("b"))
    body["definition"]["nodes"].append(before)
    body["definition"]["edges"] = [
        edge(before["id"], "s", port="true") if expected == "skipped" else edge("bad", "s")
    ]
    found = await shown(bench, body)
    assert {status for name, _, status in found if name in "sab"} == {expected}


async def test_a_repeated_scope_with_handlers_is_shown_once_an_item(bench: Workbench) -> None:
    found = await shown(bench, scope(BAD, catch=CATCH, for_each={"items": "xs"}), 1)
    assert found == [
        ("s", "", "succeeded"),
        ("s", "0", "succeeded"),
        ("bad", "0.0", "failed"),
        ("rescue", "0.0", "succeeded"),
    ]
