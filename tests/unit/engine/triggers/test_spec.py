from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from engine import schema
from engine.triggers.slots import latest_slots, next_slots
from engine.triggers.spec import MOST_MISSED, Day, Misfire, Spec, faults, instant

DAY = 86_400_000


def test_a_config_is_read_with_its_defaults() -> None:
    spec = Spec.parse({"every": "90s"})
    assert (spec.every, spec.offset, spec.timezone, spec.overlap) == (90_000, 0, "UTC", "skip")
    assert (spec.misfire, spec.payload, spec.exclude) == (Misfire("latest", 100, 60_000), {}, ())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("all", Misfire("all", 100, 60_000)),
        ({"policy": "all", "max": 5}, Misfire("all", 5, 60_000)),
        ({"policy": "skip", "grace": "2m"}, Misfire("skip", 100, 120_000)),
    ],
)
def test_what_is_missed_is_said_in_a_word_or_more(value: Any, expected: Misfire) -> None:
    assert Misfire.parse(value) == expected


def test_the_schema_has_the_limit_of_the_code() -> None:
    definitions = schema.document(_registry())["$defs"]
    assert definitions["misfire"]["properties"]["max"]["maximum"] == MOST_MISSED


@pytest.mark.parametrize(
    ("text", "day", "held"),
    [
        ("2026-12-25", "2026-12-25", True),
        ("2026-12-25", "2027-12-25", False),
        ("12-25", "2027-12-25", True),
        ("02-29", "2028-02-29", True),
        ("2026-12-24/2027-01-02", "2027-01-02", True),
        ("2026-12-24/2027-01-02", "2027-01-03", False),
        ("* * SAT,SUN", "2026-03-07", True),
        ("* * SAT,SUN", "2026-03-09", False),
        ("24-26 12 *", "2026-12-26", True),
    ],
)
def test_days_that_are_left_out(text: str, day: str, held: bool) -> None:
    assert Day.parse(text).holds(date.fromisoformat(day)) is held


@pytest.mark.parametrize(
    "text", ["", "x", "2026-02-30", "02-30", "2026-12-24/2026-12-23", "2026-12-24/x", "* * MOO", "* * * *"]
)
def test_what_names_no_days_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Day.parse(text)


def test_values_of_another_kind_are_left_to_the_schema() -> None:
    odd: dict[str, Any] = {
        "cron": 7, "every": None, "offset": [], "jitter": {}, "timezone": 1, "start": 0, "end": True, "exclude": "x"
    }  # fmt: skip
    assert list(faults(odd)) == []


def test_an_instant_needs_a_zone_and_a_century_that_somebody_may_see() -> None:
    assert instant("2031-05-04T09:00:00+02:00") == instant("2031-05-04T07:00:00Z")
    for text in (
        "2031-05-04T09:00:00",
        "2031-13-04T09:00:00Z",
        "0001-01-01T00:00:00Z",
        "2200-01-01T00:00:00Z",
    ):
        with pytest.raises(ValueError, match=r"."):
            instant(text)


def test_an_interval_counts_from_the_epoch() -> None:
    assert next_slots(Spec.parse({"every": "1h", "offset": "15m"}), DAY, 2) == [
        DAY + 900_000,
        DAY + 4_500_000,
    ]
    assert next_slots(Spec.parse({"every": "1h"}), DAY, 1) == [DAY + 3_600_000]


def test_slots_lie_in_the_window() -> None:
    spec = Spec.parse({"every": "1h", "start": "2026-03-01T10:00:00Z", "end": "2026-03-01T12:00:00Z"})
    ten = instant("2026-03-01T10:00:00Z")
    assert next_slots(spec, 0, 5) == [ten, ten + 3_600_000]
    assert latest_slots(spec, 0, ten + DAY, 5) == [ten, ten + 3_600_000]
    assert next_slots(spec, ten + DAY, 5) == []


def test_days_are_left_out_whole_and_in_the_zone() -> None:
    spec = Spec.parse({"every": "6h", "exclude": ["2026-03-02"], "timezone": "America/New_York"})
    found = next_slots(spec, instant("2026-03-02T00:00:00Z"), 3)
    expected = ["2026-03-03T06:00:00Z", "2026-03-03T12:00:00Z", "2026-03-03T18:00:00Z"]
    assert found == [instant(each) for each in expected]


def test_every_day_left_out_is_the_end_of_a_schedule() -> None:
    assert next_slots(Spec.parse({"every": 1, "exclude": ["* * *"]}), 0, 1) == []


def _registry() -> Any:
    from tests.workbench import built_in

    return built_in()
