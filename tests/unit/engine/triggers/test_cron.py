from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from engine.triggers.cron import Cron, CronInvalid, first_instant, parsed

BEGIN = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())


def following(text: str, count: int = 1, zone: str = "UTC", after: int = BEGIN) -> list[str]:
    found = []
    for _ in range(count):
        next_ = parsed(text).after(after, ZoneInfo(zone))
        assert next_ is not None
        after = next_
        found.append(datetime.fromtimestamp(after, UTC).isoformat(sep=" ").removesuffix("+00:00"))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 9 * * 1-5", "2026-03-02 09:00:00"),
        ("*/5 * * * *", "2026-03-01 00:05:00"),
        ("30 * * * * *", "2026-03-01 00:00:30"),
        ("15 30 9 * * *", "2026-03-01 09:30:15"),
        ("0 0 L * *", "2026-03-31 00:00:00"),
        ("0 0 * * MON#2", "2026-03-09 00:00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00:00"),
        ("0 0 13 * FRI", "2026-03-06 00:00:00"),
        ("  0   9  * *  * ", "2026-03-01 09:00:00"),
        ("0 0 ? * SUN", "2026-03-08 00:00:00"),
        ("0 0 * JAN-FEB 7", "2027-01-03 00:00:00"),
    ],
)
def test_the_next_time_of_a_text(text: str, expected: str) -> None:
    assert following(text) == [expected]


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "* * * * * * *", "60 * * * *", "x * * * *", "R * * * *", "H/5 * * * *", "0 R(1-3) * * *", "@daily",
     "0 0 0 * *", "0 0 * * 8", "1-0-2 * * * *", "* * * * MON#6", "\0 * * * *"],
)  # fmt: skip
def test_what_is_no_time_table_is_refused(text: str) -> None:
    with pytest.raises(CronInvalid):
        Cron(text)


def test_names_with_the_letters_of_chance_are_names() -> None:
    assert following("0 0 * MAR FRI")[0] == "2026-03-06 00:00:00"
    assert following("0 0 * * THU")[0] == "2026-03-05 00:00:00"


def test_a_day_that_never_comes_has_no_next_time() -> None:
    assert Cron("0 0 30 2 *").after(BEGIN, UTC) is None


def test_at_the_end_of_all_calendars_nothing_follows() -> None:
    end = int(datetime(9999, 12, 31, 23, 59, tzinfo=UTC).timestamp())
    assert Cron("0 0 * * *").after(end, UTC) is None
    assert Cron("* * * * *").after(end, ZoneInfo("America/New_York")) is None


def test_a_repeated_hour_that_follows_a_rare_time_is_not_overlooked() -> None:
    # Behind 23:45 the next time on a wall that never jumps is a year away; this one goes back to 23:00 first.
    after = int(datetime(2026, 10, 24, 20, 45, tzinfo=UTC).timestamp())
    assert following("30 */1 24 10 *", 1, "Asia/Beirut", after) == ["2026-10-24 21:30:00"]


def test_a_text_matches_a_time_on_the_wall() -> None:
    assert parsed("0 0 * * SAT").matches(datetime.fromisoformat("2026-03-07"))
    assert not parsed("0 0 * * SAT").matches(datetime.fromisoformat("2026-03-08"))


@pytest.mark.parametrize(
    ("zone", "shown", "expected"),
    [
        ("Europe/Berlin", datetime.fromisoformat("2026-03-29T02:30"), "2026-03-29 01:00"),
        ("Europe/Berlin", datetime.fromisoformat("2026-10-25T02:30"), "2026-10-25 00:30"),
        ("Australia/Lord_Howe", datetime.fromisoformat("2026-10-04T02:10"), "2026-10-03 15:30"),
        ("Pacific/Apia", datetime.fromisoformat("2011-12-30T12:00"), "2011-12-30 10:00"),
        ("UTC", datetime.fromisoformat("2026-01-01"), "2026-01-01 00:00"),
    ],
)
def test_when_a_wall_first_shows_a_time_or_jumps_over_it(zone: str, shown: datetime, expected: str) -> None:
    found = datetime.fromtimestamp(first_instant(shown, ZoneInfo(zone)), UTC)
    assert found.strftime("%Y-%m-%d %H:%M") == expected
