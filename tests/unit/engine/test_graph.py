import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.graph import Graph

NODES = [str(number) for number in range(8)]
edges_of_any_graph = st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), max_size=20)


def ways(edges: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Every pair that edges connect, by repeated composition: slow, and nothing like the code under test."""
    found = set(edges)
    while True:
        longer = found | {(a, d) for a, b in found for c, d in found if b == c}
        if longer == found:
            return found
        found = longer


@given(edges_of_any_graph)
def test_a_node_precedes_another_when_a_way_leads_there(edges: list[tuple[str, str]]) -> None:
    graph = Graph(NODES, edges)
    expected = ways(edges)
    assert expected == {(a, b) for a in NODES for b in NODES if graph.precedes(a, b)}


@given(edges_of_any_graph, st.lists(st.sampled_from(NODES), max_size=3))
def test_what_can_be_reached_and_what_leads_there_are_the_ways_of_the_graph(
    edges: list[tuple[str, str]], ends: list[str]
) -> None:
    graph = Graph(NODES, edges)
    assert set(ends) | {b for a, b in ways(edges) if a in ends} == graph.reachable(ends)
    assert set(ends) | {a for a, b in ways(edges) if b in ends} == graph.leading_to(ends)


@given(edges_of_any_graph)
def test_the_nodes_of_cycles_are_those_that_come_back_to_themselves(edges: list[tuple[str, str]]) -> None:
    assert {a for a, b in ways(edges) if a == b} == Graph(NODES, edges).cyclic


@given(edges_of_any_graph)
def test_each_cycle_is_a_way_along_edges_back_to_its_start(edges: list[tuple[str, str]]) -> None:
    for cycle in Graph(NODES, edges).cycles():
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        assert set(itertools.pairwise(cycle)) <= set(edges)


@given(edges_of_any_graph)
def test_without_the_last_edge_of_every_cycle_no_cycle_is_left(edges: list[tuple[str, str]]) -> None:
    last = {(cycle[-2], cycle[-1]) for cycle in Graph(NODES, edges).cycles()}
    assert Graph(NODES, [each for each in edges if each not in last]).cycles() == []


@given(edges_of_any_graph)
def test_components_come_after_those_they_lead_to_and_hold_each_node_once(
    edges: list[tuple[str, str]],
) -> None:
    components = Graph(NODES, edges).components
    assert sorted(NODES) == sorted(node for component in components for node in component)
    number = {node: index for index, component in enumerate(components) for node in component}
    assert all(number[a] >= number[b] for a, b in edges)


def test_a_cycle_starts_at_the_node_that_was_written_first() -> None:
    graph = Graph("xabc", [("x", "b"), ("a", "b"), ("b", "c"), ("c", "a")])
    assert graph.cycles() == [["a", "b", "c", "a"]]


def test_a_loop_of_one_node_is_a_cycle() -> None:
    assert Graph("ab", [("a", "a"), ("a", "b")]).cycles() == [["a", "a"]]


def test_edges_to_what_is_no_node_are_left_out() -> None:
    graph = Graph(["a"], [("a", "x"), ("x", "a")])
    assert ({"a"}, []) == (graph.reachable(["a", "x"]), graph.cycles())


def test_no_more_cycles_are_given_than_asked_for() -> None:
    edges = [(str(a), str(b)) for a in range(20) for b in range(20) if a != b]
    assert len(Graph(map(str, range(20)), edges).cycles(5)) == 5


@pytest.mark.parametrize("shape", ["chain", "ring", "random"])
def test_ten_thousand_nodes_need_no_recursion(shape: str) -> None:
    size = 10_000
    steps = [(str(number), str(number + 1)) for number in range(size - 1)]
    if shape == "ring":
        steps.append((str(size - 1), "0"))
    if shape == "random":
        draw = random.Random(1)
        steps += [tuple(map(str, sorted(draw.sample(range(size), 2)))) for _ in range(4 * size)]  # type: ignore[misc]
    graph = Graph(map(str, range(size)), steps)
    assert (True, shape == "ring") == (graph.precedes("0", "9999"), graph.precedes("9999", "0"))
    assert [size + 1] * (shape == "ring") == [len(each) for each in graph.cycles()]
