"""Large executions: what they come to and the memory they take is judged; the times are printed, and judged by a reader."""

from __future__ import annotations

import pytest

from tests.large import measured

pytestmark = pytest.mark.timeout(900)


def test_a_hundred_thousand_items_take_less_than_fifty_megabytes_more_than_a_thousand() -> None:
    small, large = measured("items", 1_000), measured("items", 100_000)
    print(small, large)
    assert (large["status"], large["output"]) == ("succeeded", 100_000)
    assert large["peak_mb"] - small["peak_mb"] < 50


def test_ten_thousand_items_with_a_body_of_their_own() -> None:
    small, large = measured("bodies", 1_000), measured("bodies", 10_000, 800)
    print(small, large)
    assert (large["status"], large["output"]) == ("succeeded", 10_000)
    assert large["peak_mb"] - small["peak_mb"] < 50


def test_ten_thousand_rounds() -> None:
    small, large = measured("rounds", 1_000), measured("rounds", 10_000, 800)
    print(small, large)
    assert (large["status"], large["output"]) == ("succeeded", 10_000)
    assert large["peak_mb"] - small["peak_mb"] < 50
