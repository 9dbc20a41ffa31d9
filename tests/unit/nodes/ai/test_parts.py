from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.ai.models.parts import parts


@given(
    st.text(alphabet="ab .\n", max_size=400),
    st.integers(8, 60),
    st.integers(0, 15),
)
def test_parts_are_short_enough_and_leave_no_word_out(text: str, size: int, overlap: int) -> None:
    overlap = min(overlap, size // 4)
    found = list(parts(text, size, overlap))
    assert all(0 < len(each) <= size for each in found)
    assert all(each == each.strip() for each in found)
    assert sum(each.count("a") for each in found) >= text.count("a")
    if overlap == 0:
        assert "".join("".join(found).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n ", []),
        ("short", ["short"]),
        ("one two three\n\nfour five six", ["one two three", "four five six"]),
        ("one two three. four five six", ["one two three.", "four five six"]),
        ("one two three four five six", ["one two three four", "five six"]),
        ("a" * 45, ["a" * 20, "a" * 20, "a" * 5]),
    ],
)
def test_a_text_is_cut_where_it_does_least_harm(text: str, expected: list[str]) -> None:
    assert list(parts(text, 20, 0)) == expected


def test_each_part_begins_with_the_last_words_of_the_one_before() -> None:
    text = "one two three four five six seven eight nine"
    assert list(parts(text, 20, 8)) == ["one two three four", "four five six seven", "seven eight nine"]
