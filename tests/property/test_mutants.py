"""Planted bugs are seen. All of them are looked for by `dev.py chaos --mutants`; here, those that show at once."""

from __future__ import annotations

import pytest

from tests.chaos import mutants

QUICK = (
    "a commit without a fence",
    "told before it is committed",
    "the number of the try in an effect's key",
    "marked as sent for ever",
    "an end while something waits",
    "what is not taken is not passed on",
)
SEEDS = range(12)

pytestmark = pytest.mark.timeout(300)


def test_there_are_twenty_and_each_can_be_planted_and_taken_out_again() -> None:
    assert len(mutants.MUTANTS) == 20
    for name in mutants.MUTANTS:
        with mutants.planted(name):
            pass


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_seen(name: str) -> None:
    assert mutants.look(name, SEEDS).invariants


def test_nothing_is_seen_where_nothing_goes_wrong() -> None:
    assert mutants.calm(range(5)) == []
