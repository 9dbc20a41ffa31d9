from __future__ import annotations

from typing import Any

from engine.definition import Workflow
from engine.rehearsal.coverage import Coverage, coverage, missed
from tests.builders import document, edge, edges, node
from tests.unit.engine.rehearsal.conftest import Perform

GET = {"url": "http://a"}


def reached(perform: Perform, document_: dict[str, Any], *runs: tuple[Any, Any]) -> Coverage:
    seen = [perform(document_, payload, mocks) for payload, mocks in runs]
    return coverage(Workflow.parse(document_), seen[0].part.plan, seen)


def test_both_ways_out_of_a_choice_have_to_be_taken(perform: Perform) -> None:
    nodes = [node("ask", "if", {"condition": "yes"}), node("a"), node("b"), node("c")]
    ways = [edge("ask", "a", port="true"), edge("ask", "b", port="false"), *edges("a->c", "b->c")]
    one = reached(perform, document(nodes, ways), ({"yes": True}, {}))
    assert list(missed(one.nodes)) == ["b"]
    assert list(missed(one.edges)) == ["ask -false-> b", "b -> c"]
    assert one.percent == 100 * 5 / 8
    both = reached(perform, document(nodes, ways), ({"yes": True}, {}), ({"yes": False}, {}))
    assert both.to_json() == {
        "percent": 100.0,
        "nodes": {"reached": 4, "all": 4, "missed": []},
        "edges": {"reached": 4, "all": 4, "missed": []},
    }


def test_an_edge_inside_a_segment_is_taken_when_its_end_runs(perform: Perform) -> None:
    nodes = [node("a"), node("b", "fail", {"message": "No."}), node("c")]
    found = reached(perform, document(nodes, edges("a->b->c")), ({}, {}))
    assert found.edges == {"a -> b": True, "b -> c": False}


def test_edges_after_errors_and_with_conditions_are_edges_of_their_own(perform: Perform) -> None:
    nodes = [node("a", "http_request", GET), node("b"), node("c"), node("d")]
    ways = [edge("a", "b", when="n > 1"), edge("a", "c", on="error"), edge("a", "d", on="any")]
    bad = {"a": {"error": {"code": "a.b"}}}
    found = reached(perform, document(nodes, ways), ({"n": 1}, {"a": {"output": 1}}))
    assert list(missed(found.edges)) == ["a -> b when n > 1", "a -error-> c"]
    found = reached(perform, document(nodes, ways), ({"n": 2}, {"a": {"output": 1}}), ({"n": 2}, bad))
    assert found.percent == 100


def test_edges_into_circles_around_in_them_and_out_count_as_they_were_written(perform: Perform) -> None:
    count = {"expression": "nodes.b.output | default(0) + 1"}
    nodes = [node("a"), node("b", "transform", count), node("c"), node("d"), node("e")]
    ways = [*edges("trigger->a->b->c"), edge("c", "b", when="nodes.b.output < n"), edge("c", "d")]
    ways += [edge("b", "e", when="nodes.b.output > 2"), edge("trigger", "b")]
    found = reached(perform, document(nodes, ways), ({"n": 1}, {}))
    assert list(missed(found.edges)) == ["c -> b when nodes.b.output < n", "b -> e when nodes.b.output > 2"]
    found = reached(perform, document(nodes, ways), ({"n": 3}, {}))
    assert found.percent == 100


def test_edges_to_a_join_each_and_what_it_starts_count_as_they_were_written(perform: Perform) -> None:
    nodes = [node("a"), node("b"), node("m", join="each"), node("n"), node("z")]
    ways = [edge("a", "m", when="x"), *edges("b->m->n->z", "b->z")]
    found = reached(perform, document(nodes, ways), ({"x": False}, {}))
    assert list(missed(found.edges)) == ["a -> m when x"]
    assert all(found.nodes.values())


def test_bodies_count_with_their_nodes_and_edges(perform: Perform) -> None:
    undo = {"type": "noop"}
    body = {"nodes": [node("p"), node("q", compensate=undo)], "edges": edges("p->q")}
    catch = [{"body": {"nodes": [node("r")]}}]
    last = {"nodes": [node("s"), node("t")], "edges": edges("s->t")}
    scope = node("all", "scope", body=body, catch=catch, **{"finally": last})
    found = reached(perform, document([node("z"), scope], edges("z->all")), ({}, {}))
    assert found.nodes == {
        "z": True,
        "all": True,
        "p": True,
        "q": True,
        "q@undo": False,
        "r": False,
        "s": True,
        "t": True,
    }
    assert found.edges == {"z -> all": True, "p -> q": True, "s -> t": True}


def test_what_a_map_does_for_any_item_counts(perform: Perform) -> None:
    body = {
        "nodes": [node("ask", "if", {"condition": "item > 1"}), node("a"), node("b")],
        "edges": [edge("ask", "a", port="true"), edge("ask", "b", port="false")],
    }
    each = node("each", "scope", body=body, for_each={"items": "ids"})
    assert reached(perform, document([each]), ({"ids": [1, 2]}, {})).percent == 100
    assert list(missed(reached(perform, document([each]), ({"ids": []}, {})).nodes)) == ["ask", "a", "b"]


def test_edges_from_the_trigger_count(perform: Perform) -> None:
    found = reached(perform, document([node("a"), node("b")], edges("trigger->a->b")), ({}, {}))
    assert found.edges == {"trigger -> a": True, "a -> b": True}
