"""Random graphs through the pure core: cut into segments, advanced in any order, against the reference interpreter."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings

from engine.advance import Address, Arrivals, Completed, advance, joins_touched
from engine.cutting import build
from engine.definition import TRIGGER, Workflow
from engine.execute import _leaves_by
from engine.plan import OUTPUT, Plan, Segment
from engine.registry import Registry
from tests.builders import document, edge, edges, node
from tests.chaos.dags import Case, Taste, cases, orders
from tests.chaos.reference import Result, evaluate, interpret, ports_of

REGISTRY = Registry.load(["nodes", "tests.nodes"])
PURE = Taste(nodes=30, computes=True)
WITH_EFFECTS = Taste(sink="http://127.0.0.1:1", nodes=30, computes=True)


def planned(body: dict[str, object]) -> Plan:
    return build(Workflow.parse(body), REGISTRY)


class Walk:
    """Performs a plan in an order that `rng` draws, with the outcomes that the reference says, several at a time."""

    def __init__(self, plan: Plan, case: Case, expected: Result, rng: random.Random) -> None:
        self._plan = plan
        self._case = case
        self._expected = expected
        self._rng = rng
        self.performed: list[str] = []
        self.skipped: set[Address] = set()
        self.done: dict[int, tuple[bool, ...]] = {}
        self.ended = False

    def run(self, limit: int = 10_000) -> None:
        ready: list[Address] = [(0, "")]
        joins: dict[Address, Arrivals] = {}
        while ready and len(self.done) < limit:
            batch = self._rng.sample(ready, self._rng.randint(1, min(3, len(ready))))
            ready = [each for each in ready if each not in batch]
            completions = [self._perform(*address) for address in batch]
            completed = [each for each in completions if each is not None]
            if len(completed) < len(completions):
                return
            touched = set().union(*(joins_touched(self._plan, each) for each in completed))
            decision = advance(self._plan, joins, completed)
            assert decision.joins.keys() <= touched
            joins.update(decision.joins)
            self.skipped.update(decision.skipped)
            ready += decision.ready

    def _perform(self, number: int, item: str) -> Completed | None:
        segment = self._plan.segments[number]
        assert number not in self.done
        for each in segment.nodes:
            self.performed.append(each.id)
            if each.id in self._expected.fatal:
                self.ended = True
                return None
        self.done[number] = self._exits(segment)
        return Completed(number, item, self.done[number])

    def _exits(self, segment: Segment) -> tuple[bool, ...]:
        last = segment.nodes[-1].id
        if last in (TRIGGER, OUTPUT):
            return (True,) * len(segment.exits)
        outcome = self._expected.nodes[last]
        failed = outcome.state == "failed"
        ports = ("error",) if failed else ports_of(outcome)
        return tuple(
            _leaves_by(each, ports, segment.exits, failed=failed)
            and (each.when is None or evaluate(each.when, self._scope()))
            for each in segment.exits
        )

    def _scope(self) -> dict[str, object]:
        body, payload = self._case.document["definition"], self._case.payload
        nodes = {
            name: {"output": outcome.output}
            for name, outcome in self._expected.nodes.items()
            if outcome.state in ("succeeded", "continued")
        }
        return {**payload, "trigger": {"payload": payload}, "nodes": nodes, "vars": body["variables"]}


def ran(expected: Result) -> set[str]:
    return {name for name, outcome in expected.nodes.items() if outcome.state != "skipped"}


@settings(max_examples=2000, deadline=None)
@given(case=cases(WITH_EFFECTS), rng=orders())
def test_any_order_of_completions_runs_what_the_reference_runs_and_each_node_once(
    case: Case, rng: random.Random
) -> None:
    expected = interpret(case.document, case.payload, case.answers)
    walk = Walk(planned(case.document), case, expected, rng)
    walk.run()
    nodes = [each for each in walk.performed if each not in (TRIGGER, OUTPUT)]
    assert sorted(set(nodes)) == sorted(nodes)
    if expected.fatal - {OUTPUT}:
        assert walk.ended
        assert set(nodes) <= ran(expected)
    else:
        assert ran(expected) == set(nodes)
        assert walk.performed.count(OUTPUT) == 1
        assert walk.performed[-1] == OUTPUT


@settings(max_examples=200, deadline=None)
@given(case=cases(WITH_EFFECTS))
def test_a_plan_survives_its_stored_form(case: Case) -> None:
    plan = planned(case.document)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@settings(max_examples=200, deadline=None)
@given(case=cases(WITH_EFFECTS))
def test_every_node_is_in_one_segment_and_every_edge_is_inside_one_or_leaves_one(case: Case) -> None:
    plan = planned(case.document)
    names = [each.id for segment in plan.segments for each in segment.nodes]
    assert sorted(names) == sorted({*names})
    assert set(names) == {TRIGGER, OUTPUT, *(each["id"] for each in case.document["definition"]["nodes"])}
    entries = [
        sum(exit_.target == each.id for s in plan.segments for exit_ in s.exits) for each in plan.segments
    ]
    assert [each.entries for each in plan.segments] == entries


LEAF_BEHIND_A_CHOICE = document(
    [node("choose", "if", {"condition": "k > 50"}), node("leaf")], [edge("choose", "leaf", port="true")]
)
JOIN_BEHIND_A_CHOICE = document(
    [node("choose", "if", {"condition": "k > 50"}), node("a"), node("b"), node("meet"), node("end")],
    [edge("choose", "a", port="true"), edge("choose", "b", port="true"), *edges("a->meet", "b->meet->end")],
)
TOO_FEW = document(
    [node("choose", "if", {"condition": "k > 50"}), node("a"), node("meet", join={"mode": "n", "count": 2})],
    [edge("choose", "meet", port="true"), *edges("choose->a->meet")],
)


@pytest.mark.parametrize("body", [LEAF_BEHIND_A_CHOICE, JOIN_BEHIND_A_CHOICE, TOO_FEW])
def test_an_execution_ends_when_its_only_leaf_is_skipped(body: dict[str, object]) -> None:
    case = Case({**body, "definition": {**body["definition"], "variables": {}}}, {"k": 1}, {})  # type: ignore[dict-item]
    walk = Walk(planned(body), case, interpret(body, {"k": 1}), random.Random(1))
    walk.run()
    assert walk.performed[-1] == OUTPUT


def test_a_chain_with_its_output_is_one_segment() -> None:
    names = [f"n{index}" for index in range(1000)]
    plan = planned(document([node(each) for each in names], edges("->".join(names))))
    assert [each.id for each in plan.segments[0].nodes] == [TRIGGER, *names, OUTPUT]


def test_the_output_joins_a_run_that_no_choice_can_skip() -> None:
    plan = planned(document([node("a"), node("b"), node("c"), node("d")], edges("a->b->d", "a->c->d")))
    assert [each.id for each in plan.segments[-1].nodes] == ["d", OUTPUT]
