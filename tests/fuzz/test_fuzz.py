"""A short look with a fixed seed, through the whole description; `python3 dev.py fuzz` looks longer."""

from __future__ import annotations

import re

import pytest

from bench.stacks import Servers
from tests.fuzz.run import fuzz
from tests.servers import Valkey
from tests.story.house import House


@pytest.mark.timeout(300)
def test_nothing_that_is_asked_is_answered_with_5xx_or_in_a_way_nobody_wrote_down(valkey: Valkey) -> None:
    house = House(Servers(valkey))
    try:
        house.start()
        done = fuzz(house, seed=1, examples=2, phases=("examples", "fuzzing"))
    finally:
        house.clear()
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested is not None, done.stdout
    assert int(tested[1]) > 100
