"""A handful of the sweep's cases; all of them are carried out by `python3 dev.py sweep`."""

from __future__ import annotations

import pytest

from tests.chaos import sweep
from tests.chaos.sweep import Trial
from tests.faults.conftest import Site

pytestmark = pytest.mark.timeout(180)

CASES = [
    ("database.commit.after", "raise"),
    ("database.begin.before", "raise"),
    ("broker.publish.after", "raise"),
    ("network.exchange.after", "raise"),
    ("database.run.before", "stop"),
    ("network.exchange.after", "kill"),
]


def test_a_worker_that_breaks_at_a_crossing_loses_nothing_and_does_nothing_twice(site: Site) -> None:
    cases = [Trial(place, action) for place, action in CASES]
    assert sweep.sweep(site, cases, lanes=2) == []
    assert not sweep.failed(cases), "\n".join(sweep.table(site.dialect, cases))
    assert sum(each.outcome == "ok" for each in cases) >= len(cases) // 2
