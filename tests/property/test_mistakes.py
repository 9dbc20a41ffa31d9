import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.checking import problems
from engine.registry import Registry
from tests.mistakes import MISTAKES, Definition, definitions

REGISTRY = Registry.load(["nodes"])
WORDS = st.sampled_from(
    [
        "",
        "trigger",
        "step_0",
        "step_1",
        "error",
        "{{ x }}",
        "{{ nodes.step_0.x }}",
        "{{ 1 +",
        "{% if %}",
        "$ref",
        "type",
        "n",
        "any",
        "all",
        "mode",
        "count",
        "config",
        "id",
        "set",
        "if",
        "values",
        "cases",
        "for",
        "default",
        "http:x",
    ]
)


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
    area = expected[0].partition(".")[0]
    found = [
        (each.code, each.pointer)
        for each in problems.check(spoilt, REGISTRY)
        if each.severity == "error" or each.code.startswith(area)
    ]
    assert found == [expected]


def _places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))]


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(document=definitions(), data=st.data())
def test_whatever_stands_anywhere_there_is_one_answer_for_a_value_and_its_text(
    document: Definition, data: st.DataObject
) -> None:
    spoilt: dict[str, object] = {"": copy.deepcopy(document)}
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = ("", *data.draw(st.sampled_from(_places(spoilt[""]))))
        holder: Any = spoilt
        for key in path:
            holder = holder[key]
        holder[last] = data.draw(any_json)
    found = problems.check(spoilt[""], REGISTRY)  # type: ignore[arg-type]
    _, placed = problems.check_text(json.dumps(spoilt[""], indent=1), REGISTRY)
    assert all((each.line or 0) > 0 and (each.column or 0) > 0 and each.message for each in placed)
    assert [replace(each, line=None, column=None) for each in placed] == found
