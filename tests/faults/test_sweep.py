"""A handful of the sweep's cases; all of them are carried out by `python3 dev.py sweep`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos import sweep
from tests.chaos.scenes import Door, Worker
from tests.chaos.sweep import Lane, Trial
from tests.faults.conftest import Site

pytestmark = pytest.mark.timeout(240)

WORKER = [
    ("database.commit.after", "raise"),
    ("database.begin.before", "raise"),
    ("broker.publish.after", "raise"),
    ("network.exchange.after", "raise"),
    ("database.run.before", "stop"),
    ("network.exchange.after", "kill"),
]
API = [("arrive.after", "kill"), ("publish.accepted", "kill"), ("backfill.after", "raise")]


@pytest.fixture
def lanes(site: Site) -> Iterator[list[Lane]]:
    made = [Lane(Worker(site, 0)), Lane(Door(site, 0))]
    yield made
    for each in made:
        each.end()


def test_whoever_breaks_at_a_crossing_loses_nothing_and_does_nothing_twice(
    site: Site, lanes: list[Lane]
) -> None:
    cases = [Trial("worker", place, action) for place, action in WORKER]
    cases += [Trial("api", place, action) for place, action in API]
    assert sweep.carry_out(lanes, cases) == []
    assert not sweep.failed(cases), "\n".join(sweep.table(site.dialect, cases))
