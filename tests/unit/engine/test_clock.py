from __future__ import annotations

import re
import time

import pytest

from engine import clock as clocks
from engine.clock import STILL, SystemClock


class Machine:
    """The machine's two clocks."""

    def __init__(self) -> None:
        self.wall = 1_900_000_000_000
        self.ticks = 5_000

    def time_ns(self) -> int:
        return self.wall * 1_000_000

    def monotonic_ns(self) -> int:
        return self.ticks * 1_000_000

    def monotonic(self) -> float:
        return self.ticks / 1000

    def passes(self, milliseconds: int) -> None:
        self.wall += milliseconds
        self.ticks += milliseconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(clocks, "time", made)
    return made


def test_without_a_database_the_time_begins_at_the_machines() -> None:
    assert abs(SystemClock().now() - time.time() * 1000) < 5_000
    assert abs(SystemClock().monotonic() - time.monotonic()) < 5


def test_the_time_goes_on_from_the_databases_whatever_is_done_to_the_machines(machine: Machine) -> None:
    clock = SystemClock(7_000)
    machine.passes(10)
    machine.wall += 20_000
    assert clock.now() == 7_010
    machine.wall -= 3_600_000
    assert clock.now() == 7_010


def test_the_database_is_followed_forward_at_once(machine: Machine) -> None:
    clock = SystemClock(7_000)
    machine.passes(10)
    clock.sync(27_000)
    assert clock.now() == 27_000
    machine.passes(5)
    assert clock.now() == 27_005


def test_a_small_step_back_is_made_by_standing_still(machine: Machine) -> None:
    clock = SystemClock(7_000)
    clock.sync(7_000 - STILL + 1)
    assert clock.now() == 7_000
    machine.passes(STILL - 1)
    assert clock.now() == 7_000
    machine.passes(1)
    assert clock.now() == 7_001
    clock.sync(6_999)
    clock.sync(6_998)
    assert clock.now() == 7_001, "several looks do not add up to a step"


def test_a_slow_answer_does_not_make_a_good_clock_worse(machine: Machine) -> None:
    clock = SystemClock(7_000)
    machine.passes(10)
    asked = clock.monotonic()
    told = 7_010
    machine.passes(2_700)
    clock.sync(told, asked)
    assert clock.now() == 9_710


@pytest.mark.parametrize(("told", "after"), [(27_000, 27_000), (9_999, 10_010), (10_009, 10_010)])
def test_a_time_that_cannot_be_is_moved_no_further_than_it_must_be(
    machine: Machine, told: int, after: int
) -> None:
    clock = SystemClock(10_000)
    asked = clock.monotonic()
    machine.passes(10)
    clock.sync(told, asked)
    assert clock.now() == after


def test_what_is_ahead_of_a_slow_answer_stands_still_until_its_end(machine: Machine) -> None:
    clock = SystemClock(10_000)
    asked = clock.monotonic()
    machine.passes(10)
    clock.sync(9_900, asked)
    assert clock.now() == 10_010
    machine.passes(100)
    assert clock.now() == 10_010
    machine.passes(1)
    assert clock.now() == 10_011


def test_a_database_whose_own_clock_was_set_back_is_followed(machine: Machine) -> None:
    clock = SystemClock(3_600_000)
    machine.passes(10)
    clock.sync(20_000)
    assert clock.now() == 20_000
    machine.passes(1)
    assert clock.now() == 20_001


def test_randomness_is_as_much_as_was_asked_for_and_ids_are_unique() -> None:
    clock = SystemClock()
    assert len(clock.entropy(7)) == 7
    ids = {clock.mint("exec") for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"exec_[0-9a-z]{26}", each) for each in ids)
