"""Large executions hold, as far as seconds allow; the whole of it is in tests/soak."""

from __future__ import annotations

import pytest

from engine.settings import Limits
from tests.large import DEEP, measured

pytestmark = pytest.mark.timeout(300)


def test_ten_times_the_items_of_a_map_take_a_little_more_memory() -> None:
    small, large = measured("items", 1_000), measured("items", 10_000)
    assert (small["status"], small["output"]) == ("succeeded", 1_000)
    assert (large["status"], large["output"]) == ("succeeded", 10_000)
    assert large["peak_mb"] - small["peak_mb"] < 50


@pytest.mark.parametrize(("case", "count", "output"), [("bodies", 300, 300), ("rounds", 500, 500)])
def test_many_of_them_come_to_their_end(case: str, count: int, output: int) -> None:
    found = measured(case, count)
    assert (found["status"], found["output"]) == ("succeeded", output)


def test_a_thousand_waits_rest_at_once_in_one_process() -> None:
    found = measured("waits", 1_000)
    assert (found["status"], found["output"], found["waiting"]) == ("succeeded", 1_000, 1_000)


def test_as_many_scopes_as_may_be_stand_inside_each_other_as_deep_as_they_may() -> None:
    most = Limits().scopes
    assert (most, DEEP) == (500, 10)
    found = measured("scopes", most)
    assert (found["status"], found["output"]) == ("succeeded", most // DEEP)
