from __future__ import annotations

import re

import pytest

from celeriac.duration import PATTERN, rfc3339, seconds


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (0, 0.0),
        (90, 90.0),
        (0.25, 0.25),
        ("90s", 90.0),
        ("250ms", 0.25),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("2d", 172_800.0),
        ("1w", 604_800.0),
        ("1m1m", 120.0),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_a_text(written: float | str, expected: float) -> None:
    assert seconds(written) == expected


@pytest.mark.parametrize("written", ["", "5", "s", "-5s", "1 h", "1h ", "1y", "1.h", ".5s", "1h30", "1h\n"])
def test_any_other_text_is_refused_with_the_forms_that_are_read(written: str) -> None:
    with pytest.raises(ValueError, match="like 90s, 1h30m, 250ms, 2d"):
        seconds(written)
    assert re.fullmatch(PATTERN, written) is None


@pytest.mark.parametrize("written", [-1, -0.001, float("inf"), float("nan"), True, False])
def test_any_other_number_is_refused(written: float) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        seconds(written)


def test_an_instant_is_shown_in_utc_with_milliseconds() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1_935_651_600_500) == "2031-05-04T09:00:00.500Z"
