"""The count of instances on a container's row."""

from __future__ import annotations

import pytest

from engine.fans import Fan, Row


def fan(count: int = 5, size: int = 1, window: int = 2, tolerate: int = 0, **more: int) -> Fan:
    return Fan(1, more.pop("first", 0), count, size, window, tolerate)


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
    assert not made.cut
    assert bool(list(made.open())) is not closed


def test_one_that_its_container_closed_is_cut() -> None:
    made = fan()
    made.closed = True
    assert (made.cut, made.over) == (True, True)


def test_it_is_the_same_when_it_was_stored() -> None:
    made = fan(3)
    made.watch, made.deadline = True, 12
    list(made.open())
    made.arrive(1)
    assert Fan.from_text(made.to_text()) == made
