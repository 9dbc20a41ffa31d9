from __future__ import annotations

import pytest

from engine.hooks import schedule
from engine.hooks.schedule import PAUSES


@pytest.mark.parametrize("attempt", range(1, len(PAUSES) + 1))
def test_attempts_come_ever_later(attempt: int) -> None:
    pause = PAUSES[attempt - 1] * 1000
    assert schedule.following(attempt, 1_000, None, b"\0") == 1_000 + pause
    assert schedule.following(attempt, 1_000, None, b"\xff") == 1_000 + round(pause * 1.1)


def test_after_the_last_one_it_is_given_up() -> None:
    assert schedule.following(len(PAUSES) + 1, 1_000, None, b"\0") is None


def test_a_receiver_may_ask_for_more_time_but_not_for_less_nor_for_ever() -> None:
    assert schedule.following(1, 0, 60.0, b"\0") == 60_000
    assert schedule.following(1, 0, 1.0, b"\0") == 5_000
    assert schedule.following(1, 0, 10.0**8, b"\0") == schedule.LONGEST_WISH * 1000


@pytest.mark.parametrize(
    ("status", "heard"), [(199, False), (200, True), (204, True), (299, True), (302, False), (410, False)]
)
def test_only_success_is_heard(status: int, heard: bool) -> None:
    assert schedule.is_heard(status) is heard


@pytest.mark.parametrize(
    ("headers", "wish"),
    [
        ({}, None),
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 9}, None),
    ],
)
def test_what_a_receiver_asks_for(headers: dict[str, str], wish: float | None) -> None:
    assert schedule.wish_of(headers) == wish
