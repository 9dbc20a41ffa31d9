"""Slots of schedules against a search that looks at every minute: in zones whose clocks jump, and around the jumps."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate, pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.triggers.slots import due_of, latest_slots, next_slots
from engine.triggers.spec import Spec
from engine.triggers.turns import AT_ONCE, turn

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

JUMPS = {
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),  # half an hour
    "Africa/Casablanca": ("2026-02-15", "2026-03-22"),
    "America/Havana": ("2026-03-08", "2026-11-01"),  # at midnight
    "Asia/Beirut": ("2026-03-29", "2026-10-25"),  # at midnight, back into the day before
    "Pacific/Apia": ("2011-12-30",),  # a day that never was
    "Asia/Kathmandu": ("2026-06-01",),  # does not jump
    "UTC": ("2026-02-28",),
}
AROUND = [(zone, day) for zone, days in JUMPS.items() for day in days]

minutes = st.sampled_from(["0", "30", "15", "*/7", "0,30", "*", "5-40/20", "59"])
hours = st.sampled_from(["0", "1", "2", "3", "23", "*", "*/2", "1-3", "0,2", "9-17", "1/2"])
days = st.sampled_from(["*", "*", "*", "1", "8", "L", "29-31"])
weekdays = st.sampled_from(["*", "*", "*", "SUN", "1-5", "0"])
crons = st.builds("{} {} {} * {}".format, minutes, hours, days, weekdays)


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@cache
def walls(zone: str, day: str) -> tuple[list[int], list[datetime], list[datetime]]:
    """Every minute of the days around one, what the clock on the wall shows, and the latest that it has shown so far."""
    begin = datetime.fromisoformat(f"{day}T00:00:00+00:00") - timedelta(days=2)
    instants = [milliseconds(begin + timedelta(minutes=n)) for n in range(5 * 1440)]
    there = ZoneInfo(zone)
    shown = [datetime.fromtimestamp(each // 1000, there).replace(tzinfo=None, fold=0) for each in instants]
    return instants, shown, list(accumulate(shown, max))


def field(text: str, least: int, most: int) -> set[int]:
    """The numbers that a field of a cron text means, as its manual says."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, dash, high = span.partition("-")
        first, last = (least, most) if span == "*" else (int(low), int(high) if dash else int(low))
        found.update(range(first, (most if step and not dash else last) + 1, int(step or 1)))
    return found


def means(cron: str, wall: datetime) -> bool:
    """Whether a time on the wall is one of those that a cron text means: a second implementation, of what is used here."""
    minute, hour, day, _, weekday = cron.split()
    if wall.minute not in field(minute, 0, 59) or wall.hour not in field(hour, 0, 23):
        return False
    last = (wall + timedelta(days=1)).day == 1
    by_day = last if day == "L" else wall.day in field(day, 1, 31)
    by_weekday = wall.isoweekday() % 7 in field(weekday.replace("SUN", "0"), 0, 6)
    # A day and a weekday that both say something are alternatives.
    return by_day or by_weekday if "*" not in (day, weekday) else by_day and by_weekday


def looked_for(cron: str, zone: str, day: str) -> list[int]:
    """The slots, found by looking at every minute."""
    instants, shown, highest = walls(zone, day)
    hour = cron.split()[1]
    if "*" in hour or "/" in hour:
        return [at for at, wall in zip(instants, shown, strict=True) if means(cron, wall)]
    first: dict[datetime, int] = {}
    for at, wall in zip(instants, shown, strict=True):
        first.setdefault(wall, at)
    found = set()
    wall = shown[0]
    while wall < shown[-1]:
        if means(cron, wall):
            # Where a time on the wall is left out, the next instant jumps over it.
            found.add(first[wall] if wall in first else instants[bisect_right(highest, wall)])
        wall += timedelta(minutes=1)
    return sorted(found)


def spec(**config: object) -> Spec:
    return Spec.parse(config)


@settings(max_examples=60, deadline=None)
@given(crons, st.sampled_from(AROUND), st.integers(0, 3 * 1440 - 1), st.integers(0, MINUTE - 1))
def test_a_cron_is_due_when_a_search_of_every_minute_says_so(
    cron: str, around: tuple[str, str], minute: int, more: int
) -> None:
    zone, day = around
    instants = walls(zone, day)[0]
    after = instants[600 + minute] + more
    expected = [each for each in looked_for(cron, zone, day) if after < each <= instants[-600]]
    slots = next_slots(spec(cron=cron, timezone=zone), after, len(expected) + 1)
    assert [each for each in slots if each <= instants[-600]] == expected


@settings(max_examples=60, deadline=None)
@given(crons, st.sampled_from(AROUND), st.integers(1, 40))
def test_one_step_after_the_other_comes_to_what_many_at_once_do(
    cron: str, around: tuple[str, str], count: int
) -> None:
    zone, day = around
    asked = spec(cron=cron, timezone=zone)
    after = walls(zone, day)[0][700]
    at_once = next_slots(asked, after, count)
    step: list[int] = []
    while len(step) < len(at_once):
        step += next_slots(asked, step[-1] if step else after, 1)
    assert step == at_once
    assert step == sorted(set(step))


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(crons.map(lambda text: {"cron": text}), st.integers(60, 50_000).map(lambda s: {"every": s})),
    st.sampled_from(AROUND),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_the_latest_slots_are_the_end_of_all_of_them(
    config: dict[str, object], around: tuple[str, str], hours: int, count: int
) -> None:
    zone, day = around
    asked = spec(timezone=zone, **config)
    after = walls(zone, day)[0][700]
    until = after + hours * HOUR
    everything = [each for each in next_slots(asked, after, 2_401) if each <= until]
    assert latest_slots(asked, after, until, count) == everything[-count:]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3600),
    st.sampled_from(["skip", "latest", "all"]),
    st.integers(1, 120),
    st.integers(0, 90_000),
    st.lists(st.integers(1, 40 * MINUTE), min_size=1, max_size=12),
)
def test_however_often_somebody_looks_no_slot_comes_twice_and_the_policy_says_which_come(
    every: int, policy: str, most: int, jitter: int, pauses: list[int]
) -> None:
    asked = spec(every=every, jitter=jitter / 1000, misfire={"policy": policy, "max": most, "grace": 60})
    now = 1_900_000_000_000
    slot: int | None = next_slots(asked, now, 1)[0]
    fired: list[int] = []
    looks: list[tuple[int, int]] = []
    for pause in pauses:
        now += pause
        while True:
            assert slot is not None
            before = slot
            made = turn(asked, "s", slot, now)
            assert len(made.fire) <= AT_ONCE
            fired += made.fire
            looks.append((before, now))
            slot = made.slot
            assert made.due is not None
            if made.due > now:
                break
    assert fired == sorted(set(fired))
    assert all(due_of(asked, "s", each) <= now for each in fired)
    in_time: set[int] = set()
    for before, at in looks:
        horizon = at - asked.misfire.grace - asked.jitter
        near = next_slots(asked, max(before - 1, horizon), 200)
        for each in near:
            if due_of(asked, "s", each) > at:
                break
            in_time.add(each)
    # What was in time when somebody looked has been started, whatever the policy; none before the slot in front of it.
    assert in_time <= set(fired)
    if policy == "skip":
        assert set(fired) <= in_time
    if policy == "all" and most == 120 and every > 60:
        assert fired == next_slots(asked, fired[0] - 1, len(fired))


def test_the_rule_in_words() -> None:
    new_york = "America/New_York"

    def around(cron: str, day: str) -> list[str]:
        begin = milliseconds(datetime.fromisoformat(f"{day}T00:00:00-05:00"))
        found = next_slots(spec(cron=cron, timezone=new_york), begin - 1, 40)
        zone = ZoneInfo(new_york)
        return [
            datetime.fromtimestamp(each / 1000, zone).isoformat()
            for each in found
            if each < begin + DAY and datetime.fromtimestamp(each / 1000, zone).date().isoformat() == day
        ]

    assert around("30 2 * * *", "2026-03-08") == ["2026-03-08T03:00:00-04:00"]
    assert around("*/15 2 * * *", "2026-03-08") == ["2026-03-08T03:00:00-04:00"]
    assert around("0 2,3 * * *", "2026-03-08") == ["2026-03-08T03:00:00-04:00"]
    assert around("30 */1 * * *", "2026-03-08")[:3] == [
        "2026-03-08T00:30:00-05:00",
        "2026-03-08T01:30:00-05:00",
        "2026-03-08T03:30:00-04:00",
    ]
    assert datetime.fromtimestamp(
        next_slots(
            spec(cron="30 1 * * *", timezone=new_york),
            milliseconds(datetime(2026, 11, 1, 4, tzinfo=UTC)),
            2,
        )[0]
        / 1000,
        UTC,
    ) == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    twice = next_slots(
        spec(cron="30 1 * * *", timezone=new_york), milliseconds(datetime(2026, 11, 1, 4, tzinfo=UTC)), 2
    )
    assert twice[1] - twice[0] == DAY + HOUR
    passing = next_slots(
        spec(cron="30 * * * *", timezone=new_york), milliseconds(datetime(2026, 11, 1, 4, 45, tzinfo=UTC)), 4
    )
    assert [b - a for a, b in pairwise(passing)] == [HOUR, HOUR, HOUR]
