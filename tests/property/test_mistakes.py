import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import problems
from engine.registry import Registry
from tests.mistakes import MISTAKES, Definition, definitions

REGISTRY = Registry.load(["nodes"])


@settings(max_examples=60, deadline=None)
@given(definitions())
def test_a_definition_without_a_mistake_has_no_problem(document: Definition) -> None:
    assert problems.check(document, REGISTRY) == []


@pytest.mark.parametrize("name", sorted(MISTAKES))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=definitions(), data=st.data())
def test_one_mistake_is_reported_once_with_its_code_and_its_place(
    name: str, document: Definition, data: st.DataObject
) -> None:
    spoilt = copy.deepcopy(document)
    expected = MISTAKES[name](spoilt, data.draw)
    assert [(each.code, each.pointer) for each in problems.check(spoilt, REGISTRY)] == [expected]
