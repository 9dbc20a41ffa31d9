from __future__ import annotations

import pytest

from bench.shapes import SHAPES, Chain, Fan, Fibonacci, Shape, fibonacci
from engine.checking.problems import check
from engine.cutting import build
from engine.definition import Workflow
from engine.registry import Registry
from engine.settings import Limits


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load(["nodes", "bench.nodes"])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_every_shape_is_a_definition_without_mistakes(shape: Shape, registry: Registry) -> None:
    found = check(shape.document(), registry, Limits())
    assert [each for each in found if each.severity == "error"] == []


def test_a_chain_is_one_segment(registry: Registry) -> None:
    plan = build(Workflow.parse(Chain("chain", 10).document()), registry)
    assert [len(each.nodes) for each in plan.segments] == [12]


def test_a_chain_of_effects_is_one_segment_that_is_claimed(registry: Registry) -> None:
    plan = build(Workflow.parse(Chain("chain", 10, effect=True).document()), registry)
    assert [each.pure for each in plan.segments] == [False]


def test_a_fan_is_one_segment_for_each_of_its_middle_nodes_between_two(registry: Registry) -> None:
    plan = build(Workflow.parse(Fan("fan", 50).document()), registry)
    assert len(plan.segments) == 52
    assert max(each.entries for each in plan.segments) == 50


def test_what_computes_for_long_does_so_on_a_queue_of_its_own(registry: Registry) -> None:
    plan = build(Workflow.parse(Fibonacci("compute", 3, 33, child=True).document()), registry)
    assert {each.queue for each in plan.segments} == {"cpu"}


def test_a_shape_knows_what_an_execution_comes_to() -> None:
    assert Chain("chain", 10).result() == 9
    assert Fan("fan", 50).result() is None
    assert Fibonacci("compute", 3, 10, child=False).result() == fibonacci(10) == 55
