from __future__ import annotations

from bench.processes import spent


def test_time_is_counted_by_role_from_the_first_snapshot_on() -> None:
    before = {"worker": {1: 2.0, 2: 1.0}, "broker": {9: 0.5}}
    after = {"worker": {1: 2.5, 2: 1.25}, "broker": {9: 0.5}}
    assert spent(before, after) == {"worker": 0.75, "broker": 0.0}


def test_a_process_that_began_in_between_counts_whole_and_one_that_ended_not_at_all() -> None:
    assert spent({"worker": {1: 2.0}}, {"worker": {3: 0.5}}) == {"worker": 0.5}
