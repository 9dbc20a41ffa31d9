"""How regions are cut and numbered. What one region is cut into is tested in test_plan.py, random ones in tests/property."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from engine.plan import OUTPUT, Container, Plan, PlanNode, Region
from tests.builders import edge, edges
from tests.builders import node as vertex
from tests.unit.engine.test_plan import cut, only, planned


def scope(name: str, *nodes: dict[str, Any], ways: str | None = None, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"nodes": list(nodes), "edges": edges(ways) if ways else []}
    if "output" in more:
        body["output"] = more.pop("output")
    return {"id": name, "type": "scope", "body": body, **more}


def body(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"nodes": list(nodes), "edges": []}


def each(items: str = "xs", **more: Any) -> dict[str, Any]:
    return {"items": items, **more}


FINALLY: dict[str, Any] = {"finally": body(vertex("f"))}


def regions(plan: Plan) -> list[tuple[str, str, str, int]]:
    return [(one.kind, one.name, one.owner, one.depth) for one in plan.regions]


def container(plan: Plan, name: str) -> Container:
    found = only(plan, name).container
    assert found is not None
    return found


def test_a_scope_is_one_node_outside_and_a_graph_with_a_root_and_an_end_inside() -> None:
    plan = planned(
        [vertex("a"), scope("s", vertex("b"), vertex("c"), ways="b->c"), vertex("d")], edges("a->s->d")
    )
    assert cut(plan) == [["trigger", "a", "s"], ["d", OUTPUT], ["s@begin", "b", "c", "s@end"]]
    assert regions(plan) == [("whole", "", "", 0), ("body", "s", "s", 1)]
    assert container(plan, "s") == Container(1)
    assert plan.segments[2].ends
    assert plan.owner_of(plan.regions[1]) == 0


def test_a_repeated_node_is_a_container_around_itself() -> None:
    plan = planned([vertex("a", "once", {"text": "{{ x }}"}, for_each=each(**{"as": "x"}), queue="q")])
    assert cut(plan) == [["trigger", "a"], [OUTPUT], ["a@begin", "a@item", "a@end"]]
    assert plan.segments[2].queue == "q"
    assert (only(plan, "a").effect, only(plan, "a@item").effect) == ("none", "once")
    assert (only(plan, "a").container, only(plan, "a@item").container) == (container(plan, "a"), None)


def test_what_a_repeated_node_does_with_its_failure_is_its_containers_to_say() -> None:
    plan = planned([vertex("a", "read", for_each=each(), on_error="continue", retry={"max_attempts": 4})])
    assert (only(plan, "a").on_error.action, only(plan, "a").retry.max_attempts) == ("continue", 1)
    assert (only(plan, "a@item").on_error.action, only(plan, "a@item").retry.max_attempts) == ("fail", 4)


def test_a_repeated_scope_with_handlers_is_a_scope_inside_the_repetition() -> None:
    plan = planned([scope("s", vertex("b", "read"), for_each=each(), catch=[{"body": body(vertex("c"))}])])
    assert regions(plan) == [
        ("whole", "", "", 0),
        ("body", "s", "s", 1),
        ("body", "s@item", "s@item", 2),
        ("catch", "s@item@catch0", "s@item", 2),
    ]
    assert container(plan, "s").catch == ()
    assert [one.region for one in container(plan, "s@item").catch] == [3]


def test_a_scope_has_a_region_for_everything_that_may_follow() -> None:
    plan = planned(
        [
            scope(
                "s",
                vertex("b", "read", compensate={"type": "once"}),
                vertex("c", "read"),
                catch=[
                    {"on": ["x.*"], "except": ["x.y"], "body": body(vertex("d"))},
                    {"body": body(vertex("e"))},
                ],
                timeout="2s",
                **FINALLY,
            )
        ]
    )
    assert [one.name for one in plan.regions] == ["", "s", "b@undo", "s@catch0", "s@catch1", "s@finally"]
    found = container(plan, "s")
    assert found.undo == (("b", 2),)
    assert [(one.region, one.on, one.excluding) for one in found.catch] == [
        (3, ("x.*",), ("x.y",)),
        (4, (), ()),
    ]
    assert (found.last, found.timeout) == (5, 2.0)
    assert only(plan, "b@undo").effect == "once"


def test_nodes_to_be_undone_stand_in_the_order_of_the_graph_whatever_the_order_of_the_author() -> None:
    nodes = [vertex(name, "read", compensate={"type": "noop"}) for name in "dcba"]
    plan = planned([scope("s", *nodes, ways="a->b->d")])
    order = [name for name, _ in container(plan, "s").undo]
    assert sorted(order) == ["a", "b", "c", "d"]
    assert order.index("a") < order.index("b") < order.index("d")


def deep() -> Plan:
    innermost = scope("z", vertex("c", "read"), vertex("d", "read"))
    middle = scope("y", vertex("b", "read"), innermost, vertex("e", "read", loop={"while": "false"}))
    return planned([scope("x", middle, for_each=each()), scope("w", vertex("a", "read"))])


def ranges(plan: Plan) -> Iterator[tuple[Region, range]]:
    return ((one, range(one.first, one.beyond)) for one in plan.regions)


def test_a_region_and_all_inside_it_are_one_range_of_segments_that_begins_with_its_root() -> None:
    plan = deep()
    assert [one.id for one in plan.segments] == list(range(len(plan.segments)))
    for region, numbers in ranges(plan):
        assert region.beyond <= len(plan.segments)
        root = plan.segments[region.first].nodes[0].id
        assert root == (region.begin if region.id else "trigger")
        inside = {other.id for other, _ in ranges(plan) if is_inside(plan, other, region)}
        assert {one.id for one in plan.segments if one.region in inside} == set(numbers)


def is_inside(plan: Plan, region: Region, outer: Region) -> bool:
    while region.id != outer.id and region.id:
        region = plan.regions[region.parent]
    return region.id == outer.id


def test_what_a_container_has_inside_is_known_in_one_piece() -> None:
    plan = deep()
    for name, (low, high) in plan.inside.items():
        owned = [one for one in plan.regions[1:] if one.owner == name]
        assert (low, high) == (min(one.first for one in owned), max(one.beyond for one in owned))
    assert plan.region_of("d").depth == 3


def test_items_have_a_part_for_each_region_around() -> None:
    plan = deep()
    assert {name: plan.region_of(name).depth for name in ("a", "b", "c", "e", "e@item")} == {
        "a": 1,
        "b": 2,
        "c": 3,
        "e": 2,
        "e@item": 3,
    }


# What is performed in one go


CHEAP = vertex("b")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (scope("s", CHEAP, vertex("c"), ways="b->c", for_each=each()), True),
        (scope("s", CHEAP, loop={"while": "false"}), True),
        (vertex("s", for_each=each()), True),
        (vertex("s", for_each=each(), timeout=3), True),
        (scope("s", CHEAP), False),
        (scope("s", vertex("b", "read"), for_each=each()), False),
        (scope("s", vertex("b", "wait"), for_each=each()), False),
        (scope("s", vertex("b", "compute"), for_each=each()), False),
        (scope("s", vertex("b", retry={"max_attempts": 2}), for_each=each()), False),
        (scope("s", vertex("b", timeout={"total": 3}), for_each=each()), False),
        (scope("s", CHEAP, vertex("c"), for_each=each()), False),
        (scope("s", vertex("b", "branch"), for_each=each()), False),
        (scope("s", vertex("b", for_each=each()), for_each=each()), False),
        (scope("s", CHEAP, for_each=each(), catch=[{"body": body(vertex("c"))}]), False),
    ],
)
def test_only_the_body_of_a_repetition_that_is_cheap_and_harmless_is_performed_for_many_items_in_one_go(
    made: dict[str, Any], expected: bool
) -> None:
    assert planned([made]).regions[1].chunked is expected


def test_what_handles_a_failure_is_never_a_chunk_for_its_nodes_are_read() -> None:
    handlers: dict[str, Any] = {"catch": [{"body": body(vertex("c"))}], "finally": body(vertex("d"))}
    undone = vertex("b", compensate={"type": "noop"})
    assert not any(one.chunked for one in planned([scope("s", undone, **handlers)]).regions)


# What is read


def text(value: Any) -> dict[str, Any]:
    return {"text": value}


def segment_of(plan: Plan, name: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """What the segment of a node needs, and the regions whose items it reads."""
    found = plan.segments[plan.segment_of[name]]
    return found.needs, found.reads


def test_a_node_inside_reads_what_comes_before_its_container() -> None:
    plan = planned(
        [vertex("a", "read"), scope("s", vertex("b", "read", text("{{ nodes.a.output }}")))], edges("a->s")
    )
    assert segment_of(plan, "b")[0] == ("a",)


@pytest.mark.parametrize(
    ("value", "reads"),
    [
        ("{{ item }}", (2,)),
        ("{{ outer }}", (1,)),
        ("{{ [outer, inner] }}", (1, 2)),
        ("{{ index }}", ()),
        ("{{ inner }}{{ item }}", (2,)),
        ("{{ trigger.payload }}", ()),
    ],
)
def test_only_the_items_that_are_named_are_read(value: str, reads: tuple[int, ...]) -> None:
    inner = scope("t", vertex("a", "read", text(value)), for_each=each("outer", **{"as": "inner"}))
    plan = planned([scope("s", inner, for_each=each(**{"as": "outer"}))])
    assert segment_of(plan, "a")[1] == reads
    assert segment_of(plan, "t")[1] == (1,)


def test_a_condition_and_an_output_inside_read_items_too() -> None:
    nodes = [vertex("a", "read"), vertex("b", "read"), vertex("c", "read")]
    made = scope("s", *nodes, for_each=each(), output="{{ item }}")
    made["body"]["edges"] = [*edges("a->c"), {"from": "a", "to": "b", "when": "item > 1"}]
    plan = planned([made])
    assert segment_of(plan, "a")[1] == segment_of(plan, "s@end")[1] == (1,)
    assert segment_of(plan, "b")[1] == ()


def test_the_end_needs_the_leaves_or_what_the_author_names() -> None:
    nodes = (vertex("a", "read"), vertex("b", "read"))
    assert only(planned([scope("s", *nodes)]), "s@end").needs == ("a", "b")
    named = only(planned([scope("s", *nodes, output="{{ nodes.a.output }}")]), "s@end")
    assert (named.needs, named.config) == (("a",), {"output": "{{ nodes.a.output }}"})
    nothing = only(planned([scope("s", *nodes, output=None)]), "s@end")
    assert nothing.config in ({}, {"output": None})


def test_a_handler_reads_the_body_and_its_failure_and_the_body_does_not_read_the_handler() -> None:
    told = vertex("c", "read", text("{{ nodes.s.error.code }}{{ nodes.b.output }}"))
    plan = planned([scope("s", vertex("b", "read"), catch=[{"body": body(told)}])])
    assert set(segment_of(plan, "c")[0]) == {"s", "b"}
    repeated = planned([scope("s", vertex("b", "read"), catch=[{"body": body(told)}], for_each=each())])
    assert set(segment_of(repeated, "c")[0]) == {"s@item", "b"}


def test_a_node_that_is_chosen_at_run_time_may_be_any_that_is_known_there() -> None:
    chosen = vertex("c", "read", text("{{ nodes[k].output }}"))
    plan = planned([vertex("a", "read"), scope("s", vertex("b", "read"), chosen, ways="b->c")], edges("a->s"))
    assert set(only(plan, "c").needs) >= {"a", "b"}
    outside = planned([scope("s", vertex("b", "read")), chosen], edges("s->c"))
    assert set(only(outside, "c").needs) == {"s", "c"}


def asked(node: PlanNode) -> dict[str, Any]:
    return dict(node.config)


def test_a_container_is_asked_what_its_author_wrote() -> None:
    assert asked(only(planned([vertex("a", for_each=each(until="done > 1"))]), "a")) == {
        "items": "{{ xs }}",
        "until": "{{ done > 1 }}",
    }
    rule = {"while": "index < 2", "initial": {"k": "{{ k }}"}}
    assert asked(only(planned([vertex("a", loop=rule)]), "a")) == {
        "condition": "{{ index < 2 }}",
        "initial": {"k": "{{ k }}"},
    }
    assert asked(only(planned([scope("s", vertex("a"))]), "s")) == {}


def test_an_empty_body_ends_as_it_begins() -> None:
    assert cut(planned([scope("s")]))[2] == ["s@begin", "s@end"]


def test_a_container_ends_its_segment_and_keeps_its_join_and_its_ports() -> None:
    nodes = [vertex("a", "read"), vertex("b", "read"), scope("s", vertex("c"), join="any"), vertex("d")]
    plan = planned(nodes, [*edges("a->s", "b->s"), {"from": "s", "to": "d", "on": "error"}])
    found = plan.segments[plan.segment_of["s"]]
    assert (found.join.mode, found.nodes[-1].id, found.nodes[-1].branches) == ("any", "s", True)


@pytest.mark.parametrize(
    "nodes",
    [
        [
            scope(
                "s",
                vertex("b", compensate={"type": "once"}),
                catch=[{"on": ["x"], "body": body(vertex("c"))}],
            )
        ],
        [scope("s", vertex("b"), for_each=each(tolerate={"percent": 12.5}, until="failed > 1"), timeout=3)],
        [vertex("a", loop={"until": "item", "collect": True, "initial": [1]})],
        [vertex("a")],
    ],
)
def test_a_plan_that_was_stored_is_the_same(nodes: list[dict[str, Any]]) -> None:
    plan = planned(nodes)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_plan_of_before_there_were_regions_is_one_region() -> None:
    plan = planned([vertex("a"), vertex("b", "read")], edges("a->b"))
    stored = plan.to_json()
    del stored["regions"]
    for segment in stored["segments"]:
        del segment["region"], segment["reads"]
        for node in segment["nodes"]:
            del node["container"]
    assert Plan.from_json(stored) == plan


def test_there_may_be_hundreds_of_scopes() -> None:
    nodes = [scope(f"s{index}", vertex(f"a{index}")) for index in range(500)]
    plan = planned(nodes)
    assert len(plan.regions) == 501


def test_what_rests_after_an_effect_has_a_segment_of_its_own_so_that_it_counts_from_the_end_of_that() -> None:
    nodes = [vertex("a", "once"), vertex("b"), vertex("c", "wait", {"for": 1}), vertex("d")]
    assert cut(planned(nodes, edges("a->b->c->d")))[:2] == [["trigger", "a", "b"], ["c"]]
    nodes[0] = vertex("a")
    assert cut(planned(nodes, edges("a->b->c->d")))[0] == ["trigger", "a", "b", "c"]


def test_the_end_waits_for_what_leads_to_a_join_that_may_start_without_it_and_does_not_stop_it() -> None:
    nodes = [
        *map(vertex, "ab"),
        vertex("c", join={"mode": "any", "cancel_rest": True}),
        vertex("d", join="any"),
    ]
    ways = edges("a->c", "b->c", "a->d", "b->d", "c->d")
    plan = planned(nodes, ways)
    last = next(each.id for each in plan.segments if each.nodes[-1].id == OUTPUT)
    assert {
        name: last in [each.target for each in plan.segments[plan.segment_of[name]].exits] for name in "ab"
    } == {
        "a": True,
        "b": True,
    }
    stopped = planned([*nodes[:3], vertex("e")], [*ways[:2], edge("c", "e", when="x")])
    assert [len(stopped.segments[stopped.segment_of[name]].exits) for name in "ab"] == [1, 1]


def test_the_end_waits_for_what_leads_to_a_node_that_may_be_stopped_without_it() -> None:
    stops = {"mode": "any", "cancel_rest": True}
    nodes = [*map(vertex, "abcd"), vertex("j", join=stops), vertex("k", join=stops)]
    ways = edges("a->b->j", "c->j", "a->d->k", "c->k")
    plan = planned(nodes, ways)
    last = next(each.id for each in plan.segments if each.nodes[-1].id == OUTPUT)
    assert last in [each.target for each in plan.segments[plan.segment_of["a"]].exits]
