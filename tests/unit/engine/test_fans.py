"""The count of a region's instances: what is there already is not opened, and everything else once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.fans import Fan, Row


def fan(count: int, *, size: int = 1, window: int = 3, there: list[list[int]] | None = None) -> Fan:
    return Fan(1, 0, count, size, window, 0, there=there or [])


def test_rows_are_opened_a_window_at_a_time() -> None:
    made = fan(7, size=2)
    assert list(made.open()) == [Row(0, 1), Row(2, 3), Row(4, 5)]
    assert list(made.open()) == []
    made.arrive(0)
    assert list(made.open()) == [Row(6, 6)]


def test_what_is_there_is_left_out_and_a_row_ends_before_it() -> None:
    assert list(fan(9, size=4, there=[[0, 1], [4, 4], [8, 8]]).open()) == [Row(2, 3), Row(5, 7)]


def test_a_fan_of_which_everything_is_there_is_over_at_once() -> None:
    made = fan(3, there=[[0, 2]])
    assert list(made.open()) == []
    assert made.over


def test_a_fan_is_read_as_it_was_written() -> None:
    made = fan(9, size=4, there=[[2, 3]])
    assert Fan.from_text(made.to_text()) == made


def test_what_is_planned_is_told_and_nothing_is_opened() -> None:
    made = fan(9, size=4, window=1, there=[[6, 6]])
    list(made.open())
    assert (made.planned(), made.pending, made.there) == ([Row(4, 5), Row(7, 8)], 1, [[6, 6]])


@given(
    st.integers(0, 40),
    st.integers(1, 7),
    st.integers(1, 5),
    st.lists(st.integers(0, 39), unique=True),
    st.lists(st.integers(0, 39)),
)
def test_every_index_is_opened_once_or_is_there(
    count: int, size: int, window: int, there: list[int], later: list[int]
) -> None:
    made = fan(
        count, size=size, window=window, there=[[each, each] for each in sorted(there) if each < count]
    )
    left_out = {each for each in there if each < count}
    opened: list[int] = []
    while not made.over:
        for first, last in made.open():
            opened.extend(range(first, last + 1))
        if later and (index := later.pop()) >= made.opened and index < count and not made.is_there(index):
            made.leave_out(index)
            left_out.add(index)
        if made.pending:
            made.arrive(0)
    assert sorted(opened) == sorted(set(range(count)) - left_out)
