from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac import Fail
from engine.encoding import decode, encode, place, storable
from engine.operations import Blob, Payload

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def refusal(value: object, limit: int = 1000) -> Fail:
    with pytest.raises(Fail) as caught:
        encode(value, limit)
    return caught.value


@settings(max_examples=50)
@given(value=VALUES)
def test_what_is_stored_is_what_was_given(value: Any) -> None:
    assert decode(encode(value, 10_000_000)) == value


def test_nothing_stored_is_null() -> None:
    assert decode(None) is None


def test_text_is_stored_as_it_is_and_without_spaces() -> None:
    assert encode({"a": ["ü", 1.5]}, 100) == '{"a":["ü",1.5]}'


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "Out of range"),
        ([float("inf")], "Out of range"),
        (object(), "not JSON serializable"),
        ({1: {2}}, "not JSON serializable"),
        ("\ud800", "half of a surrogate pair"),
        ({"\udfff": 1}, "half of a surrogate pair"),
        (nested(100_000), "nested too deep"),
        ({(1, 2): 3}, "keys must be"),
    ],
    ids=["nan", "infinity", "object", "set", "surrogate", "surrogate in a key", "deep", "key"],
)
def test_what_is_no_json_is_refused_with_its_reason(value: object, reason: str) -> None:
    refused = refusal(value)
    assert refused.code == "node.output_invalid"
    assert reason in refused.message


@pytest.mark.parametrize("value", ["a\0b", {"\0": 1}, ["\\\0"], "\\\\\0"])
def test_the_character_nul_is_refused_wherever_it_is(value: object) -> None:
    assert "NUL" in refusal(value).message


@pytest.mark.parametrize("value", ["\\u0000", "\\\\u0000", {"\\u0000": 1}])
def test_a_text_that_only_spells_nul_is_kept(value: Any) -> None:
    assert json.loads(encode(value, 100)) == value


def test_the_limit_counts_bytes_and_is_reached_by_one_more() -> None:
    assert encode("x" * 8, 10) == '"xxxxxxxx"'
    assert refusal("x" * 9, 10).code == "node.output_too_large"
    assert encode("ü" * 4, 10) == '"üüüü"'
    assert refusal("ü" * 5, 10).details == {"size": 12, "limit": 10}


def test_a_short_text_stays_in_its_row_and_a_long_one_is_named_by_its_content() -> None:
    assert place("x" * 9, 10) == (Payload(text="x" * 9), None)
    digest = hashlib.sha256(b"x" * 10).hexdigest()
    assert place("x" * 10, 10) == (Payload(blob=digest), Blob(digest, "x" * 10))


def test_a_value_that_holds_itself_is_refused_and_disturbs_no_later_one() -> None:
    value: list[Any] = []
    value.append(value)
    assert "Circular reference" in refusal(value).message
    value.clear()
    assert encode(value, 10) == "[]"


def test_what_accompanies_an_outcome_is_itself_or_the_beginning_of_how_python_shows_it() -> None:
    assert storable({"a": [1, "ü"]}) == {"a": [1, "ü"]}
    assert storable({1}) == "{1}"
    assert storable("\ud800") == "'\\ud800'"
    assert storable("x" * 70_000) == "'" + "x" * 199
