from __future__ import annotations

import random

import pytest

from engine.nearest import nearest


@pytest.mark.parametrize(
    ("name", "candidates", "expected"),
    [
        ("emial", ["email", "payload"], "email"),
        ("Email", ["email", "emails"], "email"),
        ("uper", ["upper", "lower"], "upper"),
        ("xyz", ["email", "payload"], None),
        ("", ["a"], None),
        ("email", [], None),
        ("email", ["email"], None),
        ("a" * 129, ["a" * 128], None),
        ("a" * 128, ["a" * 129], None),
    ],
)
def test_the_most_similar_name_is_found(name: str, candidates: list[str], expected: str | None) -> None:
    assert nearest(name, candidates) == expected


def test_the_order_of_the_candidates_does_not_matter() -> None:
    candidates = ["node_a", "node_b", "node_c", "mode_x", "nodes"]
    answers = set()
    for seed in range(20):
        random.Random(seed).shuffle(candidates)
        answers.add(nearest("node_x", candidates))

    assert answers == {"mode_x"}


def test_of_equally_similar_names_the_first_of_the_alphabet_is_found() -> None:
    assert nearest("node_x", ["node_c", "node_a", "node_b"]) == "node_a"


def test_a_difference_in_case_alone_beats_every_other_difference() -> None:
    assert nearest("userid", ["userId", "user_id"]) == "userId"


def test_ten_thousand_candidates_do_not_take_long_to_compare() -> None:
    assert nearest("name_00042x", (f"name_{number:05}" for number in range(10_000))) == "name_00042"
