from __future__ import annotations

import re
import time

from engine.clock import SystemClock


def test_the_time_is_the_machines_moved_to_the_databases() -> None:
    clock = SystemClock()
    assert abs(clock.now() - time.time() * 1000) < 5_000
    clock.shift = 3_600_000
    assert abs(clock.now() - time.time() * 1000 - 3_600_000) < 5_000


def test_the_monotonic_seconds_are_the_machines_and_are_not_moved() -> None:
    clock = SystemClock()
    clock.shift = 3_600_000
    assert abs(clock.monotonic() - time.monotonic()) < 5


def test_randomness_is_as_much_as_was_asked_for_and_ids_are_unique() -> None:
    clock = SystemClock()
    assert len(clock.entropy(7)) == 7
    ids = {clock.mint("exec") for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"exec_[0-9a-z]{26}", each) for each in ids)
