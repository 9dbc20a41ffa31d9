from __future__ import annotations

import pytest

from api import limiter
from api.limiter import Limiter


class Hand:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_as_many_as_the_limit_at_once_and_then_one_after_the_other() -> None:
    clock = Hand()
    made = Limiter(6, clock)
    stands = [made.take("a") for _ in range(7)]
    assert [each.left for each in stands if each] == [5, 4, 3, 2, 1, 0, 0]
    assert [each.wait for each in stands if each] == [0, 0, 0, 0, 0, 0, pytest.approx(10)]
    clock.now += 10
    again = made.take("a")
    assert again is not None
    assert (again.wait, again.left) == (0, 0)
    assert again.full_in == pytest.approx(60)
    refused = made.take("a")
    assert refused is not None
    assert refused.wait == pytest.approx(10)
    clock.now += 60
    rested = made.take("a")
    assert rested is not None
    assert rested.left == 5


def test_what_is_refused_is_not_counted() -> None:
    clock = Hand()
    made = Limiter(1, clock)
    made.take("a")
    for _ in range(100):
        made.take("a")
    clock.now += 60
    found = made.take("a")
    assert found is not None
    assert found.wait == 0


def test_each_key_stands_for_itself_and_a_look_costs_nothing() -> None:
    made = Limiter(1, Hand())
    for key in ("a", "b"):
        looked = made.look(key)
        taken = made.take(key)
        assert looked is not None
        assert taken is not None
        assert looked.wait == taken.wait == 0
    looked = made.look("a")
    assert looked is not None
    assert looked.wait > 0


def test_without_a_limit_nothing_is_counted() -> None:
    assert Limiter(0).take("a") is None


def test_the_key_that_was_quiet_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "KEPT", 2)
    made = Limiter(1, Hand())
    for key in "abc":
        made.take(key)
    standing = [made.look(key) for key in "abc"]
    assert [each.wait > 0 for each in standing if each] == [False, True, True]
