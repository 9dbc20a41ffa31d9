from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from engine.advance import Address, Arrivals, Completed, Decision, advance, is_join, joins_touched
from engine.cutting import build
from engine.definition import Workflow
from engine.plan import Plan
from tests.builders import document, edge, edges, node
from tests.workbench import built_in


def planned(nodes: list[dict[str, Any]], ways: list[dict[str, Any]]) -> Plan:
    return build(Workflow.parse(document(nodes, ways)), built_in())


def number(plan: Plan, name: str) -> int:
    return plan.segment_of[name]


def completed(plan: Plan, name: str, *targets: str) -> Completed:
    """The segment of a node, done, with the exits to these nodes taken."""
    here = plan.segments[number(plan, name)]
    wanted = {number(plan, each) for each in targets}
    return Completed(here.id, "", tuple(exit_.target in wanted for exit_ in here.exits))


def names(plan: Plan, addresses: list[Address]) -> list[str]:
    """The first nodes of segments."""
    return [plan.segments[segment].nodes[0].id for segment, _ in addresses]


DIAMOND = planned([node(each) for each in "abcd"], edges("a->b->d", "a->c->d"))


def with_join(join: Any) -> Plan:
    """Three branches that meet in `z`, each by an edge of which nobody knows beforehand whether it is taken."""
    ways = [*edges("a->b", "a->c", "a->d"), *(edge(each, "z", when="trigger") for each in "bcd")]
    return planned([*(node(each) for each in "abcd"), node("z", join=join)], ways)


def test_a_fan_out_starts_every_taken_branch_and_no_other() -> None:
    decision = advance(DIAMOND, {}, [completed(DIAMOND, "a", "b")])
    assert names(DIAMOND, decision.ready) == ["b"]
    assert decision.joins == {(number(DIAMOND, "d"), ""): Arrivals(1, 0)}
    assert decision.skipped == []


def test_a_join_waits_for_every_branch_and_runs_when_one_of_them_was_taken() -> None:
    first = advance(DIAMOND, {}, [completed(DIAMOND, "b", "d")])
    assert first == Decision([], {(3, ""): Arrivals(1, 1)}, [])
    second = advance(DIAMOND, first.joins, [completed(DIAMOND, "c")])
    assert second == Decision([(3, "")], {(3, ""): Arrivals(0, 1, decided=True)}, [])


def test_the_joins_that_were_read_are_not_written_into() -> None:
    stored = {(3, ""): Arrivals(1, 1)}
    advance(DIAMOND, stored, [completed(DIAMOND, "c", "d")])
    assert stored == {(3, ""): Arrivals(1, 1)}


def test_every_item_has_joins_of_its_own() -> None:
    done = [Completed(1, "0", (True,)), Completed(2, "1", (True,)), Completed(2, "0", (True,))]
    decision = advance(DIAMOND, {}, done)
    assert decision.ready == [(3, "0")]
    assert decision.joins[3, "1"] == Arrivals(1, 1)


def test_a_join_that_nothing_leads_to_any_more_is_skipped_and_so_is_what_follows() -> None:
    plan = planned(
        [node("a"), node("b"), node("c"), node("meet"), node("after"), node("other")],
        [*edges("a->b->meet", "a->c->meet->after", "a->other"), edge("c", "other")],
    )
    decision = advance(plan, {}, [completed(plan, "a", "other")])
    assert names(plan, decision.ready) == ["other"]
    assert names(plan, decision.skipped) == ["meet"]


def test_the_end_runs_even_when_everything_before_it_is_skipped() -> None:
    plan = planned([node("a"), node("b")], [edge("a", "b", when="false")])
    decision = advance(plan, {}, [completed(plan, "a")])
    assert names(plan, decision.ready) == ["@output"]


@pytest.mark.parametrize(
    ("join", "taken", "starts_at"),
    [
        ("any", "1..", 1),
        ("any", "01.", 2),
        ("any", "001", 3),
        ("any", "000", None),
        ({"mode": "n", "count": 2}, "11.", 2),
        ({"mode": "n", "count": 2}, "101", 3),
        ({"mode": "n", "count": 2}, "100", None),
        ({"mode": "n", "count": 3}, "111", 3),
        ("all", "100", 3),
        ("all", "000", None),
    ],
)
def test_a_join_starts_with_the_arrival_that_decides_it_and_once(
    join: Any, taken: str, starts_at: int | None
) -> None:
    plan = with_join(join)
    joins: dict[Address, Arrivals] = {}
    started = []
    for index, (name, is_taken) in enumerate(zip("bcd", taken, strict=True), 1):
        done = completed(plan, name, *("z" if is_taken != "0" else ""))
        decision = advance(plan, joins, [done])
        joins.update(decision.joins)
        if "z" in names(plan, decision.ready):
            started.append(index)
    assert started == ([] if starts_at is None else [starts_at])


def test_what_the_late_bring_to_a_join_is_still_counted() -> None:
    plan = with_join("any")
    address = (number(plan, "z"), "")
    done = [completed(plan, each, "z") for each in "bcd"]
    assert advance(plan, {}, done).joins[address] == Arrivals(0, 3, decided=True)


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_the_order_of_completions_does_not_change_what_starts(order: tuple[int, ...]) -> None:
    plan = with_join({"mode": "n", "count": 2})
    done = [completed(plan, "b", "z"), completed(plan, "c"), completed(plan, "d", "z")]
    decision = advance(plan, {}, [done[index] for index in order])
    assert sorted(names(plan, decision.ready)) == ["z"]


def test_every_join_a_completion_may_change_is_named_beforehand() -> None:
    plan = planned(
        [node("a"), node("b"), node("c"), node("x"), node("y"), node("end")],
        edges("a->b->x", "a->c->x", "x->y", "b->y", "y->end"),
    )
    done = completed(plan, "a")
    assert advance(plan, {}, [done]).joins.keys() <= joins_touched(plan, done)
    assert {plan.segments[each].nodes[0].id for each, _ in joins_touched(plan, done)} == {"x", "y"}


def test_a_taken_edge_may_skip_a_join_that_counts_and_what_is_behind_it() -> None:
    plan = planned(
        [node("a"), node("b"), node("few", join={"mode": "n", "count": 2}), node("x"), node("late")],
        edges("a->few", "b->few->late", "x->late"),
    )
    done = completed(plan, "a", "few")
    touched = {plan.segments[each].nodes[0].id for each, _ in joins_touched(plan, done)}
    assert touched >= {"few", "late"}


def test_a_segment_with_one_edge_into_it_is_no_join() -> None:
    assert [is_join(each) for each in DIAMOND.segments] == [False, False, False, True]


def test_an_edge_counts_as_done_when_its_node_has_ended_and_not_when_it_was_skipped() -> None:
    plan = with_join({"mode": "n", "count": 2, "when": "done"})
    first = advance(plan, {}, [completed(plan, "b")])
    assert names(plan, first.ready) == []
    assert names(plan, advance(plan, first.joins, [completed(plan, "c")]).ready) == ["z"]
    skipped = advance(plan, {}, [completed(plan, "a", "b"), completed(plan, "b")])
    assert "z" not in names(plan, skipped.ready)


def test_what_only_leads_to_a_join_that_has_started_is_skipped() -> None:
    nodes = [*(node(each) for each in "abcd"), node("z", join={"mode": "any", "cancel_rest": True})]
    plan = planned(nodes, [*edges("a->b", "a->c->d"), edge("b", "z"), edge("d", "z", when="trigger")])
    losers = {plan.segments[each].nodes[0].id for each in plan.segments[number(plan, "z")].losers}
    assert losers == {"trigger", "b", "c"}
    won = advance(plan, {}, [completed(plan, "b", "z")])
    assert names(plan, won.ready) == ["z"]
    late = advance(plan, won.joins, [completed(plan, "a", "c")])
    assert names(plan, late.ready) == []


def test_what_also_leads_elsewhere_is_no_loser() -> None:
    nodes = [*(node(each) for each in "abcde"), node("z", join={"mode": "any", "cancel_rest": True})]
    plan = planned(nodes, [*edges("a->b->z", "a->c->z", "c->d", "a->e")])
    losers = {plan.segments[each].nodes[0].id for each in plan.segments[number(plan, "z")].losers}
    assert losers == {"b"}
