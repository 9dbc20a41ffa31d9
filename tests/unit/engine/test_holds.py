from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from celeriac import Fail
from engine.checking import problems
from engine.holds import Concurrency, Limits, Rate, admitted, key_of, take_token
from engine.plan import Plan
from engine.registry import Registry
from tests.builders import document, edges, node

REGISTRY = Registry.load(["nodes"])


@dataclass(frozen=True)
class Asking:
    """Somebody who asks."""

    name: str
    most: int = 1
    waits: bool = True


def names(held: int, *asking: Asking) -> str:
    return "".join(each.name for each in admitted(held, asking))


def test_who_comes_first_goes_on_as_long_as_there_are_slots() -> None:
    assert names(1, *(Asking(each, 3) for each in "abc")) == "ab"
    assert names(3, *(Asking(each, 3) for each in "abc")) == ""


def test_nobody_passes_who_has_to_wait() -> None:
    assert names(1, Asking("a", 1), Asking("b", 5)) == ""


def test_who_is_turned_away_is_in_nobodys_way() -> None:
    assert names(1, Asking("a", 1, waits=False), Asking("b", 5)) == "b"


def test_tokens_are_a_burst_at_first_and_then_one_at_a_time() -> None:
    rate = Rate("k", 3, 9.0)
    expected, times = None, []
    for _ in range(6):
        at, expected = take_token(rate, expected, 1_000)
        times.append(at)
    assert times == [1_000, 1_000, 1_000, 4_000, 7_000, 10_000]


def test_a_rate_at_rest_is_a_burst_again() -> None:
    rate = Rate("k", 2, 1.0)
    _, expected = take_token(rate, None, 1_000)
    assert take_token(rate, expected, 5_000) == (5_000, 5_500_000)


def test_a_rate_may_be_faster_than_the_clock_counts() -> None:
    expected, times = None, []
    for _ in range(20_000):
        at, expected = take_token(Rate("k", 10_000, 1.0), expected, 0)
        times.append(at)
    assert (times[9_999], times[10_010], times[-1]) == (0, 2, 1_000)


@pytest.mark.parametrize("value", ["", "x" * 201, None, True, [1], 1.5, {"a": 1}])
def test_what_is_no_key(value: Any) -> None:
    with pytest.raises(Fail) as caught:
        key_of(value)
    assert caught.value.code == "limit.bad_key"


def test_a_whole_number_is_a_key() -> None:
    assert (key_of(7), key_of("x" * 200)) == ("7", "x" * 200)


def test_a_mutex_is_a_concurrency_of_one() -> None:
    assert Limits.parse({"mutex": "k"}) == Limits(Concurrency("k", 1))
    assert Limits.parse({"rate": {"key": "k", "limit": 2, "period": "1m"}}) == Limits(rate=Rate("k", 2, 60.0))
    assert Limits.parse({}) is None


def planned(body: dict[str, Any]) -> Plan:
    from engine import cutting
    from engine.definition import Workflow

    return cutting.build(Workflow.parse(body), REGISTRY)


def test_a_node_with_a_limit_is_alone_in_its_segment_and_the_plan_survives_being_stored() -> None:
    nodes = [node("a"), node("b", mutex="door"), node("c")]
    plan = planned(document(nodes, edges("a->b->c")))
    assert [[each.id for each in segment.nodes] for segment in plan.segments] == [
        ["trigger", "a"],
        ["b"],
        ["c", "@output"],
    ]
    assert [segment.pure for segment in plan.segments] == [True, False, True]
    assert Plan.from_json(plan.to_json()).segments[1].limits == Limits(Concurrency("door", 1))


def found(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each.pointer, each.code) for each in problems.check(body, REGISTRY)]


@pytest.mark.parametrize(
    ("limits", "place", "code"),
    [
        ({"mutex": "{{ nodes.b.output }}"}, "mutex", "expression.not_before"),
        ({"mutex": "{{ nodes.x.output }}"}, "mutex", "expression.unknown_node"),
        ({"mutex": "{{ item }}"}, "mutex", "expression.unavailable_name"),
        ({"mutex": "{{ a b }}"}, "mutex", "expression.syntax"),
        ({"mutex": ""}, "mutex", "definition.bad_value"),
        (
            {"concurrency": {"key": "{{ vars.x }}", "limit": 1}},
            "concurrency/key",
            "expression.unknown_variable",
        ),
        ({"concurrency": {"key": "k"}}, "concurrency", "definition.missing_key"),
        ({"concurrency": {"key": "k", "limit": 0}}, "concurrency/limit", "definition.bad_value"),
        (
            {"concurrency": {"key": "k", "limit": 1, "strategy": "coalesce"}},
            "concurrency/strategy",
            "definition.bad_value",
        ),
        (
            {"rate": {"key": "{{ index }}", "limit": 1, "period": 1}},
            "rate/key",
            "expression.unavailable_name",
        ),
        ({"mutex": "k", "concurrency": {"key": "k", "limit": 1}}, "concurrency", "definition.bad_value"),
    ],
)
def test_mistakes_in_limits_are_found_before_anything_runs(
    limits: dict[str, Any], place: str, code: str
) -> None:
    body = document([node("a", **limits), node("b")], edges("a->b"))
    assert found(body) == [(f"/definition/nodes/0/{place}", code)]


def test_in_a_repeated_node_the_key_may_name_the_item() -> None:
    each: dict[str, Any] = {"for_each": {"items": "[1]", "as": "order"}}
    assert found(document([node("a", mutex="{{ item }} {{ order }} {{ index }}", **each)])) == []


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("{{ vars.x }}", "expression.unavailable_name"),
        ("{{ nodes.a.output }}", "expression.not_before"),
        ("{{ customer }} {{ trigger.payload.x }}", None),
    ],
)
def test_the_key_of_a_whole_workflow_reads_what_started_it(key: str, code: str | None) -> None:
    body = document([node("a")], variables={"x": 1}, concurrency={"key": key, "limit": 1})
    mistakes = [each for each in found(body) if not each[1].startswith("flow.")]
    assert mistakes == ([("/definition/concurrency/key", code)] if code else [])
