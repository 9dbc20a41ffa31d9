"""Circles and joins `each`: which nodes they are, how a graph is folded by them, and what comes of them when they run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from celeriac import Exit, Fail
from engine.definition import Body, Workflow
from engine.parts import LEAVE, MOST_NESTED, Group, edges_back, folded, groups, leads_to, nested
from tests.builders import document, edges
from tests.builders import node as vertex
from tests.theatre import STAGE, Stage, Theatre
from tests.unit.engine.test_bases import fork, prepared, words
from tests.workbench import Workbench

AGAIN = "nodes.{0}.output | default(0) + 1"


def pairs(text: str) -> list[tuple[str, str]]:
    return [(each[0], each[1]) for each in text.split()]


def found(names: str, ways: str, each: str = "", starts: str = "") -> list[Group]:
    return groups([*names], pairs(ways), {*each}, {*starts})


# Which nodes they are.


def test_nodes_that_lead_to_each_other_are_a_circle_that_begins_where_it_is_entered() -> None:
    assert found("abcd", "ab bc cb bd") == [Group("circle", "b", ("b", "c"), ("b",))]


def test_a_circle_that_nothing_leads_into_begins_at_the_node_that_is_written_first() -> None:
    assert found("ba", "ab ba") == [Group("circle", "b", ("b", "a"), ("b",))]


def test_edges_from_the_trigger_lead_into_a_circle() -> None:
    assert found("ba", "ab ba", starts="a") == [Group("circle", "a", ("b", "a"), ("a",))]


def test_a_node_that_leads_back_to_itself_is_a_circle() -> None:
    assert found("ab", "aa ab") == [Group("circle", "a", ("a",), ("a",))]


def test_every_entry_is_told() -> None:
    assert found("abc", "ab ac bc cb")[0].entries == ("b", "c")


def test_a_join_has_what_only_it_leads_to() -> None:
    assert found("abmnoz", "am bm mn mo no az oz", each="m") == [Group("each", "m", ("m", "n", "o"))]


def test_what_the_trigger_leads_to_belongs_to_no_join() -> None:
    assert found("amn", "am mn", each="m", starts="n") == [Group("each", "m", ("m",))]


def test_a_join_inside_of_another_ones_part_is_no_part_beside_it() -> None:
    assert found("amno", "am mn no", each="mn") == [Group("each", "m", ("m", "n", "o"))]


def test_parts_stand_in_parts() -> None:
    inside = list(nested([*"amnco"], pairs("am mn nc cn no co oa"), {*"n"}))
    assert [(depth, each.kind, each.first, set(each.nodes)) for depth, each in inside] == [
        (1, "circle", "a", {*"amnco"}),
        (2, "circle", "n", {*"nc"}),
        (2, "each", "n", {*"nco"}),
    ]
    assert edges_back((each for _, each in inside), pairs("am mn nc cn no co oa")) == {("c", "n"), ("o", "a")}


def test_no_more_is_looked_for_than_may_be_nested() -> None:
    names = [f"n{number}" for number in range(40)]
    ways = [*pairwise(names)]
    depths = [depth for depth, _ in nested(names, [*ways, *((b, a) for a, b in ways)], ())]
    assert max(depths) == MOST_NESTED + 1


# How a graph is folded.


def body_of(nodes: Sequence[dict[str, Any]], ways: list[dict[str, Any]]) -> Body:
    workflow = Workflow.parse(document([*nodes], ways))
    return folded(Body(workflow.nodes, workflow.edges))


def test_an_edge_out_of_a_circle_is_a_port_and_one_back_is_none() -> None:
    ways = [*edges("a->b->c"), {"from": "c", "to": "b", "when": "x", "max_iterations": 7}, *edges("c->d")]
    ways.append({"from": "b", "to": "d", "on": "error"})
    made = body_of([vertex(each) for each in "abcd"], ways)
    assert [each.id for each in made.nodes] == ["a", "b@circle", "d"]
    circle = made.nodes[1]
    assert circle.part is not None
    assert circle.body is not None
    assert circle.part.ports == ("2:c>d", "3:b>d")
    assert circle.part.most == 7
    assert [(each.source, each.target, each.port, each.on) for each in made.edges] == [
        ("a", "b@circle", None, "success"),
        ("b@circle", "d", "2:c>d", "success"),
        ("b@circle", "d", "3:b>d", "success"),
    ]
    assert [(each.target, each.mark, each.on, each.when) for each in circle.body.edges] == [
        ("c", None, "success", None),
        (LEAVE, "1:c>b", "success", "x"),
        (LEAVE, "2:c>d", "success", None),
        (LEAVE, "3:b>d", "error", None),
    ]
    assert leads_to("1:c>b", "b")
    assert not leads_to("1:c>bb", "b")


def test_the_sources_of_a_join_are_those_that_were_written() -> None:
    ways = [*edges("a->b"), {"from": "b", "to": "a", "when": "x"}, *edges("b->m"), *edges("c->m")]
    made = body_of([vertex(each) if each != "m" else vertex(each, join="each") for each in "abcm"], ways)
    part = made.nodes[-1].part
    assert part is not None
    assert part.sources == ("b", "c")


# What comes of them.


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Workbench(tmp_path)
    yield made
    made.close()


def computed(name: str, expression: str, **more: Any) -> dict[str, Any]:
    return vertex(name, "transform", {"expression": expression}, **more)


def again(name: str, **more: Any) -> dict[str, Any]:
    """A node that counts how often it has run."""
    return computed(name, AGAIN.format(name), **more)


def ways(text: str, **conditions: str) -> list[dict[str, Any]]:
    """Edges like `ab`, with the condition that is given under that name."""
    return [
        {"from": a, "to": b, **({"when": conditions[a + b]} if a + b in conditions else {})}
        for a, b in pairs(text)
    ]


def came_to(
    bench: Workbench, nodes: list[dict[str, Any]], edges_: list[dict[str, Any]], payload: Any = None
) -> Any:
    execution = bench.start(bench.push(document(nodes, edges_)), {} if payload is None else payload)
    asyncio.run(bench.carry())
    status = bench.status(execution)
    return bench.output(execution) if status == "succeeded" else bench.error(execution)


CASES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], Any]] = {
    "a node by itself": ([again("a")], ways("aa", aa="nodes.a.output < 5"), {"a": 5}),
    "several ways out": (
        [
            again("a"),
            computed("b", "nodes.a.output * 10"),
            computed("x", "nodes.b.output"),
            computed("y", "1"),
        ],
        ways("ab ba bx ay", ba="nodes.a.output < 3", bx="nodes.a.output == 2", ay="nodes.a.output > 5"),
        {"x": 30},
    ),
    "side by side in a round": (
        [
            again("a"),
            computed("b", "nodes.a.output"),
            computed("c", "nodes.a.output * 2"),
            computed("d", "nodes.b.output + nodes.c.output"),
        ],
        ways("ab ac bd cd da", da="nodes.d.output < 9"),
        {"d": 9},
    ),
    "one inside another": (
        [
            again("a"),
            again("b"),
            again("c"),
            computed("z", "[nodes.a.output, nodes.b.output, nodes.c.output]"),
        ],
        ways(
            "ab bc cb ca cz",
            cb="nodes.b.output % 3 != 0",
            ca="nodes.b.output % 3 == 0 and nodes.a.output < 4",
            cz="nodes.a.output >= 4 and nodes.b.output % 3 == 0",
        ),
        {"z": [4, 12, 12]},
    ),
    "a scope in it": (
        [
            vertex("s", "scope", body={"nodes": [computed("i", "(nodes.k.output | default(0)) + 1")]}),
            computed("k", "nodes.s.output"),
        ],
        ways("sk ks", ks="nodes.k.output < 4"),
        {"k": 4},
    ),
    "a map of cheap items in it": (
        [
            computed("s", "item + (nodes.k.output | default(0))", for_each={"items": "[1, 2, 3]"}),
            computed("k", "nodes.s.output | sum"),
        ],
        ways("sk ks", ks="nodes.k.output < 40"),
        {"k": 78},
    ),
    "a map around it": (
        [
            vertex(
                "m",
                "scope",
                for_each={"items": "[3, 1]", "as": "n"},
                body={
                    "nodes": [
                        computed("a", "(nodes.a.output | default(0)) + item"),
                        computed("b", "[n, index, nodes.a.output]"),
                    ],
                    "edges": ways("aa ab", aa="nodes.a.output < 6"),
                },
            )
        ],
        [],
        {"m": [[3, 0, 6], [1, 1, 6]]},
    ),
    "an exit out of a loop around it": (
        [
            vertex(
                "l",
                "scope",
                loop={"while": "true"},
                body={
                    "nodes": [
                        again("a"),
                        vertex("x", "exit", {"scope": "loop", "value": "{{ nodes.a.output }}"}),
                    ],
                    "edges": ways("aa ax", aa="nodes.a.output < 5", ax="nodes.a.output == 5"),
                },
            )
        ],
        [],
        {"l": 5},
    ),
    "an error that leads out": (
        [
            again("a"),
            vertex("f", "fail", {"code": "x.broken", "message": "No."}),
            computed("h", "nodes.f.error.code ~ nodes.a.output"),
        ],
        [
            *ways("aa af fa", aa="nodes.a.output < 3", af="nodes.a.output == 3", fa="nodes.a.output == 9"),
            {"from": "f", "to": "h", "on": "error"},
        ],
        {"f": None, "h": "x.broken3"},
    ),
    "any of the edges from outside": (
        [computed("p", "1"), computed("q", "1"), again("a", join="any"), computed("b", "nodes.a.output")],
        ways("pa qa ab ba", ba="nodes.b.output < 3"),
        {"b": 3},
    ),
    "a node that is chosen at run time": (
        [again("a"), computed("b", "nodes[which].output"), computed("c", "nodes[which].output")],
        ways("ab ba bc", ba="nodes.a.output < 3"),
        {"c": 3},
    ),
    "every edge": (
        [
            computed("a", "'A'"),
            computed("b", "'B'"),
            computed("m", "[item, index]", join="each"),
            computed("n", "nodes.m.output"),
        ],
        ways("am bm mn"),
        {"n": [["A", 0], ["B", 1]]},
    ),
    "no edge": (
        [
            computed("a", "1"),
            computed("m", "item", join="each"),
            computed("z", "nodes.m.output | default('none')"),
        ],
        ways("am az mz", am="no"),
        {"z": "none"},
    ),
    "the trigger": (
        [computed("a", "1"), computed("m", "item", join="each")],
        [{"from": "trigger", "to": "a"}, {"from": "trigger", "to": "m"}, *ways("am")],
        {"m": [{"which": "a", "no": False}, 1]},
    ),
    "a way that goes on for some only": (
        [
            computed("a", "1"),
            computed("b", "2"),
            computed("m", "item", join="each"),
            computed("n", "nodes.m.output"),
            computed("o", "[nodes.m.output, nodes.n.output]"),
            computed("c", "0"),
        ],
        ways("am bm mn no co", mn="item > 1"),
        {"o": [[1, 2], [None, 2]]},
    ),
    "a circle for every edge": (
        [
            computed("a", "0"),
            computed("b", "10"),
            computed("c", "(nodes.c.output | default(item)) + 1", join="each"),
            computed("d", "nodes.c.output"),
        ],
        ways("ac bc cc cd", cc="nodes.c.output % 10 < 3"),
        {"d": [3, 13]},
    ),
    "every edge in each round": (
        [
            again("s"),
            computed("a", "nodes.s.output"),
            computed("b", "nodes.s.output * 2"),
            computed("m", "item", join="each"),
            computed("z", "nodes.m.output"),
        ],
        ways("sa sb am bm mz ms", ms="nodes.s.output < 3"),
        {"z": [3, 6]},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_graph_with_parts_comes_to(bench: Workbench, name: str) -> None:
    nodes, edges_, expected = CASES[name]
    assert came_to(bench, nodes, edges_, {"which": "a", "no": False}) == expected


def test_a_circle_goes_round_as_often_as_it_may_and_not_once_more(bench: Workbench) -> None:
    back = {"from": "a", "to": "a", "when": "nodes.a.output < n", "max_iterations": 3}
    assert came_to(bench, [again("a")], [back], {"n": 3}) == {"a": 3}
    failed = came_to(bench, [again("a")], [back], {"n": 4})
    assert (failed["code"], failed["node"]) == ("loop.too_many_iterations", "a")


def test_the_failure_of_a_round_is_that_of_its_node(bench: Workbench) -> None:
    failed = came_to(
        bench, [again("a"), computed("b", "1 / (3 - nodes.a.output)")], ways("ab ba", ba="nodes.a.output < 9")
    )
    assert (failed["node"], failed["code"], failed["details"]["index"]) == ("b", "expression.number", 2)


def test_one_failure_ends_what_all_edges_have_started(bench: Workbench) -> None:
    scope = vertex(
        "s",
        "scope",
        body={
            "nodes": [computed("a", "1"), computed("b", "0"), computed("m", "1 / item", join="each")],
            "edges": ways("am bm"),
        },
        catch=[{"body": {"nodes": [computed("c", "nodes.s.error.code")]}}],
    )
    assert came_to(bench, [scope], []) == {"s": "expression.number"}
    assert (
        bench.query("SELECT DISTINCT status FROM segment WHERE status NOT IN ('done', 'failed', 'cancelled')")
        == []
    )


# Forks of them.


def joined() -> dict[str, Any]:
    nodes = [
        vertex("a", "keyed"),
        vertex("b", "keyed"),
        vertex("m", "keyed", join="each"),
        vertex("z", "keyed"),
    ]
    return document(nodes, edges("a->m->z", "b->m"))


async def test_a_fork_begins_again_with_what_the_edges_to_a_join_had_started(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("m", "m", Fail("x.broken", "It broke."), "m")
    name = await at.run(joined())
    assert at.status(name) == "failed"
    assert words(prepared(at, name, failure=True))["m@each"] == "again"
    made = await fork(at, name, failure=True)
    assert (at.status(made), sorted(stage.calls)) == ("succeeded", ["m", "m", "z", "z"])
    assert at.output(made) == {"z": [{"by": "z"}, {"by": "z"}]}


async def test_a_fork_keeps_a_join_that_had_ended_well(at: Theatre, stage: Stage) -> None:
    body = joined()
    body["definition"]["nodes"].append(vertex("y", "keyed"))
    body["definition"]["edges"] += edges("b->z", "z->y")
    name = await at.run(body)
    made = await fork(at, name, "y")
    assert (at.status(made), stage.calls) == ("succeeded", ["y"])
    assert at.output(made) == at.output(name)


async def test_a_fork_that_repeats_one_source_starts_its_edge_anew(at: Theatre, stage: Stage) -> None:
    name = await at.run(joined())
    made = await fork(at, name, "b")
    assert (at.status(made), stage.calls.count("m"), "a" in stage.calls) == ("succeeded", 2, False)


async def test_a_fork_from_a_node_in_a_circle_repeats_the_circle(at: Theatre, stage: Stage) -> None:
    nodes = [vertex("a", "keyed"), vertex("b", "keyed"), vertex("c", "keyed"), vertex("z", "keyed")]
    body = document(nodes, [*edges("a->b->c->z"), {"from": "c", "to": "b", "when": "nodes.c.output == 1"}])
    stage.tell("c", 1, 2)
    name = await at.run(body)
    assert (at.status(name), stage.calls) == ("succeeded", ["a", "b", "c", "b", "c", "z"])
    made = await fork(at, name, "c")
    assert (at.status(made), stage.calls[:2], "a" in stage.calls) == ("succeeded", ["b", "c"], False)
    stage.calls.clear()
    kept = await fork(at, name, "z")
    assert (at.status(kept), stage.calls) == ("succeeded", ["z"])


async def test_an_exit_out_of_a_scope_stops_what_edges_have_started(at: Theatre, stage: Stage) -> None:
    inside = [
        vertex("a", "keyed"),
        vertex("b", "keyed"),
        vertex("m", "keyed", join="each"),
        vertex("n", "waits"),
    ]
    scope = vertex("s", "scope", body={"nodes": inside, "edges": edges("a->m->n", "b->m")})
    stage.tell("n", Exit("s", "out"))
    name = await at.run(document([scope]))
    assert (at.status(name), at.output(name)) == ("succeeded", {"s": "out"})
    assert STAGE.calls.count("n") <= 2


async def test_a_join_collects_from_the_nodes_of_a_circle_under_their_own_names(
    at: Theatre, stage: Stage
) -> None:
    """What leads out of a circle is one row, and may stand for several edges."""
    ways: list[Any] = [
        {"from": "a", "to": "b"},
        {"from": "b", "to": "a", "when": "nodes.a.output.n < 2"},
        {"from": "a", "to": "m", "when": "nodes.a.output.n == 2"},
        {"from": "b", "to": "m"},
        {"from": "c", "to": "m"},
    ]
    stage.tell("a", {"n": 1}, {"n": 2})
    tells = vertex("m", "pure", {"text": "{{ joined }}"}, join={"mode": "all", "collect": "map"})
    await at.run(document([*(vertex(each, "pure") for each in "abc"), tells], ways))
    (met,) = [text for name, text in stage.seen if name == "m"]
    assert met == {"a": {"n": 2}, "b": {"by": "b"}, "c": {"by": "c"}}
