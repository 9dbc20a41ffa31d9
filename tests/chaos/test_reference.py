"""The reference interpreter against definitions whose meaning is worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import document, edge, edges, node
from tests.chaos.reference import ANYTHING, evaluate, interpret


def states(nodes: list[dict[str, Any]], ways: list[dict[str, Any]], payload: Any = None) -> dict[str, str]:
    result = interpret(document(nodes, ways), payload or {"k": 1})
    return {name: outcome.state for name, outcome in result.nodes.items()}


def test_a_branch_not_taken_is_skipped_with_all_that_only_it_leads_to() -> None:
    nodes = [node("c", "if", {"condition": "k > 5"}), *map(node, "abde")]
    ways = [edge("c", "a", port="true"), edge("c", "b", port="false"), *edges("a->d", "b->e", "d->e")]
    assert states(nodes, ways) == {
        "c": "succeeded",
        "a": "skipped",
        "b": "succeeded",
        "d": "skipped",
        "e": "succeeded",
    }


@pytest.mark.parametrize(("count", "state"), [(1, "succeeded"), (2, "succeeded"), (3, "skipped")])
def test_a_join_of_n_runs_when_n_of_its_edges_are_taken(count: int, state: str) -> None:
    nodes = [*map(node, "abc"), node("m", join={"mode": "n", "count": count})]
    ways = [edge("a", "m"), edge("b", "m"), edge("c", "m", when="false")]
    assert states(nodes, ways)["m"] == state


def test_an_unhandled_failure_ends_the_execution_and_what_follows_it_never_runs() -> None:
    nodes = [node("a", "fail", {"message": "no", "code": "x.y"}), node("b"), node("c")]
    result = interpret(document(nodes, edges("a->b")), {})
    assert (result.status, result.fatal) == ("failed", {"a"})
    assert "b" not in result.nodes
    assert result.nodes["c"].state == "succeeded"


def test_a_failure_with_an_edge_of_its_own_takes_that_one_only() -> None:
    nodes = [node("a", "fail", {"message": "no", "code": "x.y"}), *map(node, "bcd")]
    ways = [edge("a", "b", on="error"), edge("a", "c"), edge("a", "d", on="any")]
    assert states(nodes, ways) == {"a": "failed", "b": "succeeded", "c": "skipped", "d": "succeeded"}


def test_a_failure_with_a_default_goes_on_with_it() -> None:
    nodes = [
        node("a", "fail", {"message": "no"}, on_error={"default": {"n": 4}}),
        node("b", "transform", {"expression": "nodes.a.output.n + 1"}),
    ]
    assert interpret(document(nodes, edges("a->b")), {}).output == {"b": 5}


@pytest.mark.parametrize(
    ("words", "tries", "state"),
    [
        (["500", "ok"], 2, "succeeded"),
        (["500", "ok"], 1, "failed"),
        (["drop"], 2, "succeeded"),
        (["lose", "lose", "ok"], 3, "succeeded"),
        (["400"], 5, "failed"),
    ],
)
def test_a_call_is_repeated_as_often_as_its_author_allows(words: list[str], tries: int, state: str) -> None:
    config = {"method": "POST", "url": "http://x", "idempotent": True, "body": {}}
    call = node("a", "http_request", config, retry={"max_attempts": tries})
    assert interpret(document([call]), {}, {"a": words}).nodes["a"].state == state


def test_the_default_result_is_what_the_leaves_that_ran_came_to() -> None:
    nodes = [
        node("c", "if", {"condition": "k == 1"}),
        node("a", "wait", {"for": 1}),
        node("b", "set", {"values": {"n": "{{ k }}"}}),
    ]
    ways = [edge("c", "a", port="false"), edge("c", "b", port="true")]
    assert interpret(document(nodes, ways), {"k": 1}).output == {"b": {"n": 1}}
    assert interpret(document(nodes, ways), {"k": 2}).output == {"a": ANYTHING}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3 % 7", 2),
        ("k - 3 < 0 and s == 'x'", True),
        ("a.b | default(4)", 4),
        ("(a.b | default(k)) + 1", 3),
        ("false or k != 2", False),
    ],
)
def test_an_expression_has_a_value(text: str, value: Any) -> None:
    assert evaluate(text, {"k": 2, "s": "x", "a": {}}) == value
