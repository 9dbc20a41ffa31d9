"""The count of instances on a container's row: what is there already is not opened, and everything else once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.fans import Fan, Row


def fan(
    count: int = 5,
    size: int = 1,
    window: int = 2,
    tolerate: int = 0,
    *,
    first: int = 0,
    there: list[list[int]] | None = None,
) -> Fan:
    return Fan(1, first, count, size, window, tolerate, there=there or [])


def test_no_more_rows_are_opened_than_the_window_has_room_for() -> None:
    made = fan()
    assert list(made.open()) == [Row(0, 0), Row(1, 1)]
    assert list(made.open()) == []
    made.arrive(0)
    assert list(made.open()) == [Row(2, 2)]
    assert (made.pending, made.ended, made.opened) == (2, 1, 3)


def test_a_row_holds_many_items_and_the_last_one_the_rest() -> None:
    assert list(fan(5, size=2, window=9).open()) == [Row(0, 1), Row(2, 3), Row(4, 4)]


def test_an_iteration_begins_where_the_one_before_it_ended() -> None:
    assert list(fan(1, first=7).open()) == [Row(7, 7)]


def test_it_is_over_when_everything_that_there_is_has_arrived() -> None:
    made = fan(2)
    seen = [made.over]
    list(made.open())
    for _ in range(2):
        made.arrive(0)
        seen.append(made.over)
    assert seen == [False, False, True]
    assert not made.closed


@pytest.mark.parametrize(("tolerate", "closed"), [(0, True), (1, True), (2, False)])
def test_more_failures_than_are_tolerated_close_it(tolerate: int, closed: bool) -> None:
    made = fan(tolerate=tolerate)
    list(made.open())
    made.arrive(2)
    assert (made.closed, made.over) == (closed, closed)
    assert bool(list(made.open())) is not closed


def test_it_is_the_same_when_it_was_stored() -> None:
    made = fan(3)
    made.watch, made.deadline = True, 12
    list(made.open())
    made.arrive(1)
    assert Fan.from_text(made.to_text()) == made


def test_rows_are_opened_a_window_at_a_time() -> None:
    made = fan(7, size=2, window=3)
    assert list(made.open()) == [Row(0, 1), Row(2, 3), Row(4, 5)]
    assert list(made.open()) == []
    made.arrive(0)
    assert list(made.open()) == [Row(6, 6)]


def test_what_is_there_is_left_out_and_a_row_ends_before_it() -> None:
    assert list(fan(9, size=4, window=3, there=[[0, 1], [4, 4], [8, 8]]).open()) == [Row(2, 3), Row(5, 7)]


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
