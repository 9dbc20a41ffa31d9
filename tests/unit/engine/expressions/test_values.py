from __future__ import annotations

import pytest

from engine.expressions import Json, Limits
from engine.expressions.error import Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.values import chunks, fingerprint, follow, size
from tests.expressions import scope


def evaluation() -> Evaluation:
    return Evaluation(scope(), Limits(), 0, 0)


SAME: list[list[Json]] = [
    [1, 1.0],
    [0, -0.0],
    [10**20, 1e20],
    [["a", 1], ["a", 1.0]],
    [{"a": 1, "b": [True]}, {"b": [True], "a": 1.0}],
]
DIFFERENT: list[Json] = [
    None, True, False, 0, 1, 0.5, "", "0", "1", "null", "n1", "true", [], {}, [[]], [{}], ["", ""], ["a", "b"], ["ab"],
    ["a", ["b"]], [["a"], "b"], {"a": "b"}, {"b": "a"}, ["a", "b", "c"], {"a": None}, {"a": {}}, {"a": []}, [None],
    {"a": 1, "b": 2}, {"a": 2, "b": 1}, "a" * 70_000, "a" * 70_001, ["a" * 70_000], "\ud800", "\udc00",
]  # fmt: skip


@pytest.mark.parametrize("values", SAME)
def test_equal_values_have_the_same_fingerprint(values: list[Json]) -> None:
    assert len({fingerprint(evaluation(), value) for value in values}) == 1


def test_different_values_have_different_fingerprints() -> None:
    assert len({fingerprint(evaluation(), value) for value in DIFFERENT}) == len(DIFFERENT)


def test_what_is_not_json_has_no_fingerprint() -> None:
    for value in (object(), [object()], (1,)):
        with pytest.raises(Refused):
            fingerprint(evaluation(), value)


@pytest.mark.parametrize("text", ["", "a", "é", "a" * 100_000, "é" * 65_537, "a" * 65_536])
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    assert "".join(chunks(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"), [("abc", 3), ("é", 2), ("😀", 4), ("\ud800", 3), ("é" * 4_194_305, 4_194_305)]
)
def test_the_size_of_a_text_is_its_length_in_utf8(text: str, expected: int) -> None:
    assert size(text) == expected


def test_a_key_never_looks_into_something_of_another_kind() -> None:
    true_as_a_key: list[str | int] = [True]

    assert follow({"a": 1}, ["a"]) == 1
    assert follow([1, 2], [1]) == 2
    for value, keys in (([1, 2], true_as_a_key), ({"1": 1}, [1]), ([1], ["0"]), ((1, 2), [0]), ({1: 2}, [1])):
        assert type(follow(value, keys)).__name__ == "Missing"
