"""What is foreseen: each case in the smallest definition that shows it, beside one that is in order."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Json
from engine.checking import problems
from engine.checking.conditions import ABSENT, Domain, both, demands, either
from engine.expressions import expression_tree
from engine.registry import Registry

BUILT_IN = Registry.load(["nodes"])
Edges = list[dict[str, Any]]


def found(*nodes: Any, edges: Any = (), **body: Any) -> list[tuple[str, str, str]]:
    document: Json = {"name": "x", "definition": {"nodes": list(nodes), "edges": list(edges), **body}}
    return [(each.code, each.severity, each.pointer) for each in problems.check(document, BUILT_IN)]


def codes(*nodes: Any, edges: Any = (), **body: Any) -> list[str]:
    return [code for code, _, _ in found(*nodes, edges=edges, **body)]


def noop(name: str, **rest: Any) -> dict[str, Any]:
    return {"id": name, "type": "noop", **rest}


def choice(name: str, condition: Any = "x") -> dict[str, Any]:
    return {"id": name, "type": "if", "config": {"condition": condition}}


def log(name: str, expression: str, **rest: Any) -> dict[str, Any]:
    return {"id": name, "type": "log", "config": {"message": f"{{{{ {expression} }}}}"}, **rest}


def made(name: str, **values: Any) -> dict[str, Any]:
    return {"id": name, "type": "set", "config": {"values": values}}


def edge(source: str, target: str, **rest: Any) -> dict[str, Any]:
    return {"from": source, "to": target, **rest}


SPLIT = [edge("a", "b", port="true"), edge("a", "c", port="false")]
"""`a` chooses between `b` and `c`."""


# Joins.


@pytest.mark.parametrize("count", [1, 2])
def test_a_join_of_ways_that_exclude_each_other_further_up_never_fires(count: int) -> None:
    edges = [*SPLIT, edge("b", "d"), edge("c", "d")]
    nodes = [choice("a"), noop("b"), noop("c"), noop("d", join={"mode": "n", "count": count})]
    assert codes(*nodes, edges=edges) == (["flow.never_runs"] if count == 2 else [])


def test_a_switch_takes_several_cases_only_if_it_is_told_to() -> None:
    cases = [{"name": name, "when": name} for name in ("b", "c")]
    edges = [edge("a", "d", port="b"), edge("a", "d", port="c")]
    join = noop("d", join={"mode": "n", "count": 2})
    config: dict[str, Any] = {"cases": cases}
    assert codes({"id": "a", "type": "switch", "config": config}, join, edges=edges) == ["flow.never_runs"]
    config = {"cases": cases, "mode": "all"}
    assert codes({"id": "a", "type": "switch", "config": config}, join, edges=edges) == []


def test_a_success_and_a_failure_exclude_each_other() -> None:
    edges = [edge("a", "b"), edge("a", "b", on="error")]
    assert codes(noop("a"), noop("b", join={"mode": "n", "count": 2}), edges=edges) == ["flow.never_runs"]


def test_what_follows_a_dead_node_is_not_told_again() -> None:
    fail = {"id": "a", "type": "fail", "config": {"message": "No."}}
    assert found(fail, noop("b"), noop("c"), edges=[edge("a", "b"), edge("b", "c")]) == [
        ("flow.never_runs", "warning", "/definition/nodes/1")
    ]
    assert codes(fail, noop("b"), edges=[edge("a", "b", on="error")]) == []


# Conditions.


@pytest.mark.parametrize(
    ("first", "second", "possible"),
    [
        ("k > 3", "k < 5", True),
        ("k > 3", "k <= 3", False),
        ("k >= 3", "k <= 3", True),
        ("k >= 3 and k != 3", "k <= 3", False),
        ("k == 'a' or k == 'b'", "k != 'a'", True),
        ("k == 'a' or k == 'b'", "k not in ['a', 'b']", False),
        ("k == 'a' or other", "k == 'c'", True),
        ("k > 3 or k < 1", "k == 2", True),
        ("k == 1 or k == 2", "k > 2", False),
        ("k == 1", "k == true", False),
        ("k == 1", "k == 1.0", True),
        ("3 < k", "k < 'x'", False),
        ("k is defined", "k > 3", True),
        ("k is undefined", "k > 3", False),
        ("k == null", "k", False),
        ("k == -1", "k < 0", True),
        ("not (k == 1 and other)", "k == 1", True),
        ("k | default(0) > 3", "k < 2", True),
        ("k.a == 1", "k.b == 2", True),
        ("k in others", "k == 1", True),
        ("k < 3 < 5", "k > 4", False),
        ("not (1 < k < 3)", "k == 2", True),
        ("false", "k == 1", False),
    ],
)
def test_two_conditions_of_one_path(first: str, second: str, possible: bool) -> None:
    edges = [edge("a", "b", when=first), edge("b", "c", when=second)]
    assert codes(noop("a"), noop("b"), noop("c"), edges=edges) == ([] if possible else ["flow.contradiction"])


def test_after_two_ways_have_met_either_may_be_the_one() -> None:
    edges = [edge("a", "b", when="k == 1"), edge("a", "c", when="k == 2"), edge("b", "d"), edge("c", "d")]
    nodes = [noop(each) for each in "abcde"]
    assert codes(*nodes, edges=[*edges, edge("d", "e", when="k == 2")]) == []
    assert codes(*nodes, edges=[*edges, edge("d", "e", when="k == 3")]) == ["flow.contradiction"]


def test_what_holds_at_a_scope_holds_in_it_but_for_the_names_it_gives() -> None:
    body = {"nodes": [noop("c"), noop("d")], "edges": [edge("c", "d", when="k < 3")]}
    box: dict[str, Any] = {"id": "b", "type": "scope", "body": body}
    edges = [edge("a", "b", when="k > 3")]
    assert codes(noop("a"), box, edges=edges) == ["flow.contradiction"]
    assert codes(noop("a"), {**box, "for_each": {"items": "[1]", "as": "k"}}, edges=edges) == []


def test_the_union_and_the_intersection_of_what_is_left() -> None:
    def left(text: str) -> Domain:
        tree = expression_tree(text)
        assert tree is not None
        return demands(tree, holds=True)[("k",)]

    assert (left("k > 3") & left("k < 3")).is_empty
    assert (left("k == 1") | left("k == 3")).holds(("number", 3))
    assert not (left("k == 1") | left("k > 3")).holds(("number", 0))
    assert not (left("k != 1") | left("k == 2")).holds(("number", 1))
    assert left("k is undefined").holds(ABSENT)
    assert either([{("k",): left("k == 1")}, {}]) == {}
    assert both({("k",): left("k == 1")}, {("k",): left("k == 2")})[("k",)].is_empty


# What may be missing.


@pytest.mark.parametrize(
    ("expression", "warned"),
    [
        ("nodes.b.output", True),
        ("nodes.b.output | default(1)", False),
        ("1 if nodes.b.output is defined else 2", False),
        ("nodes.b.output | default(nodes.c.output)", False),
        ("(nodes.b.output | default(nodes.c.output)) ~ nodes.c.output", True),
        ("nodes.a.output.result", False),
    ],
)
def test_an_output_of_one_way_is_read_behind_both(expression: str, warned: bool) -> None:
    nodes = [choice("a"), noop("b"), noop("c"), log("d", expression)]
    edges = [*SPLIT, edge("b", "d"), edge("c", "d")]
    assert codes(*nodes, edges=edges) == (["flow.maybe_absent"] if warned else [])


def test_an_edge_that_asks_for_an_output_vouches_for_it() -> None:
    nodes = [choice("a"), noop("b"), noop("c"), noop("d"), log("e", "nodes.b.output")]
    edges = [*SPLIT, edge("b", "d"), edge("c", "d")]
    asked = edge("d", "e", when="nodes.b.output is defined")
    assert codes(*nodes, edges=[*edges, asked]) == []
    assert codes(*nodes, edges=[*edges, edge("d", "e")]) == ["flow.maybe_absent"]


def test_a_failure_that_ends_all_leaves_nobody_to_read() -> None:
    fail = {"id": "c", "type": "fail", "config": {"message": "No."}}
    edges = [*SPLIT, edge("b", "d"), edge("a", "d")]
    assert codes(choice("a"), noop("b"), fail, log("d", "nodes.b.output"), edges=edges) == []


@pytest.mark.parametrize(
    ("on_error", "warned"), [("fail", False), ("continue", True), ({"default": {"x": 1}}, False)]
)
def test_a_failure_that_goes_on_leaves_null(on_error: Any, warned: bool) -> None:
    call = {"id": "a", "type": "http_request", "config": {"url": "http://x.example"}, "on_error": on_error}
    edges = [edge("a", "b")]
    expression = (
        "nodes.a.output.body" if on_error != {"default": {"x": 1}} else "nodes.a.output.x | default(1)"
    )
    assert codes(call, log("b", expression), edges=edges) == (["flow.maybe_absent"] if warned else [])
    assert codes(call, log("b", "nodes.a.output"), edges=edges) == []


def test_an_error_is_there_behind_an_edge_for_failures() -> None:
    assert codes(noop("a"), log("b", "nodes.a.error.code"), edges=[edge("a", "b", on="error")]) == []
    assert codes(noop("a"), log("b", "nodes.a.output"), edges=[edge("a", "b", on="error")]) == [
        "flow.maybe_absent"
    ]


def test_a_join_of_some_waits_for_what_every_choice_of_them_has() -> None:
    nodes = [noop("a"), noop("b"), noop("c")]
    edges = [edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d")]
    for expression, warned in (("nodes.a.output", False), ("nodes.b.output", True)):
        reader = log("d", expression, join="any")
        assert codes(*nodes, reader, edges=edges) == (["flow.maybe_absent"] if warned else [])
    reader = log("d", "nodes.b.output", join={"mode": "n", "count": 2})
    assert codes(*nodes, reader, edges=edges) == []


def test_a_vote_comes_about_when_enough_are_sure_to_vote() -> None:
    edges = [edge(each, "d") for each in "abc"]
    vote = made("d", x=1) | {"join": {"mode": "n", "count": 2}}
    nodes = [noop("a"), noop("b"), noop("c"), vote]
    assert codes(*nodes, edges=edges, outputs="{{ nodes.d.output }}") == []
    edges[0]["when"] = edges[1]["when"] = "x"
    assert codes(*nodes, edges=edges, outputs="{{ nodes.d.output }}") == ["flow.maybe_absent"]


# Types.


@pytest.mark.parametrize(
    ("expression", "severity"),
    [
        ("nodes.a.output.x", None),
        ("nodes.a.output.x + 1", None),
        ("nodes.a.output.y", "error"),
        ("nodes.a.output.y | default(1)", None),
        ("nodes.a.output.y if k else 1", "warning"),
        ("nodes.a.output.deep.z", "error"),
        ("nodes.a.output.deep * 2", "error"),
        ("nodes.a.output.list * 2", None),
        ("nodes.a.output.list[0].any", None),
        ("nodes.a.output.payload.any.thing", None),
        ("nodes.a.output.text - 1", "error"),
        ("nodes.a.output.copy.y", "error"),
        ("vars.v.a", "error"),
    ],
)
def test_what_is_done_with_an_output_goes_with_its_type(expression: str, severity: str | None) -> None:
    first = made("o", y=1)
    values = {
        "x": 1,
        "deep": {"y": 1},
        "list": [1],
        "payload": "{{ k }}",
        "text": "{{ k }}!",
        "copy": "{{ nodes.o.output.y }}",
    }
    nodes = [first, made("a", **values), log("b", expression)]
    result = found(
        *nodes,
        edges=[edge("o", "a"), edge("a", "b")],
        variables={"v": 1},
        outputs="{{ vars.v }} {{ nodes.a.output }}",
    )
    assert result == ([("type.mismatch", severity, "/definition/nodes/2/config/message")] if severity else [])


def test_a_failure_that_is_taken_over_is_no_error() -> None:
    nodes = [made("a", x=1), log("b", "nodes.a.output.y", on_error="continue")]
    assert [severity for _, severity, _ in found(*nodes, edges=[edge("a", "b")])] == ["warning"]


# What nobody uses.


def test_what_nothing_follows_is_used_unless_the_result_is_written() -> None:
    assert codes(made("a", x=1)) == []
    assert codes(made("a", x=1), outputs={}) == ["flow.unused_output"]
    assert codes(made("a", x=1), noop("b"), edges=[edge("a", "b")]) == ["flow.unused_output"]
    assert codes(made("a", x=1), log("b", "nodes"), edges=[edge("a", "b")]) == []
    assert codes(log("b", "vars[k]"), variables={"v": 1}) == []


def test_what_is_enabled_for_a_while_may_be_missing() -> None:
    change = {
        "id": "change",
        "type": "set",
        "config": {"values": {"a": 1}},
        "enabled_while": {"not_ended": "ship"},
    }
    nodes = [
        {"id": "ship", "type": "wait", "config": {"for": "1d"}},
        change,
        {"id": "told", "type": "log", "config": {"message": "{{ nodes.change.output.a }}"}},
    ]
    ways = [{"from": "change", "to": "told"}, {"from": "ship", "to": "told"}]
    document: Any = {"name": "w", "definition": {"nodes": nodes, "edges": ways}}
    found = problems.check(document, Registry.load(["nodes"]))
    assert [(each.code, each.pointer) for each in found] == [
        ("flow.maybe_absent", "/definition/nodes/2/config/message")
    ]
