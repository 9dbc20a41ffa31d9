"""What an author says of a schedule, read and checked. Pure; times are milliseconds since the epoch.

Its shape is the schema's business (`trigger.schedule`); here is what a schema cannot say.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Literal, NamedTuple, cast

from celeriac import Json
from celeriac.duration import seconds
from engine.triggers.cron import CronInvalid, parsed

Overlap = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "allow"]
Policy = Literal["skip", "latest", "all"]

SHORTEST: Final = 1_000
"""Milliseconds between two slots of an interval."""
LONGEST_DAYS: Final = 3_660
"""Days between them at most."""
EARLIEST, LATEST = 1971, 2200
"""The years in between which times may lie."""
LONGEST_JITTER: Final = 86_400_000
MOST_MISSED: Final = 10_000
"""Missed slots that may be made up for."""
GRACE: Final = 60_000
"""Milliseconds after which a slot counts as missed."""

CRON_HINT: Final = (
    "Five fields: minute, hour, day of month, month, day of week (0 9 * * 1-5 is nine o'clock on weekdays); "
    "of six the first is the second."
)
DAY_HINT: Final = (
    "Write 2026-12-25, 12-25 for every year, 2026-12-24/2027-01-02 for a time, "
    "or day, month and weekday as in cron: * * SAT,SUN."
)
INSTANT_HINT: Final = "Write it like 2031-05-04T09:00:00+02:00; a time zone is needed."

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_YEARLY = re.compile(r"\d{2}-\d{2}")


class Fault(NamedTuple):
    """What is wrong with one value, and what would be right."""

    path: tuple[str | int, ...]
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class Misfire:
    """What is done about slots that are `grace` too late: nothing, the latest one, or all, the `most` latest ones."""

    policy: Policy = "latest"
    most: int = 100
    grace: int = GRACE

    @classmethod
    def parse(cls, value: Any) -> Misfire:
        """Read a policy, or `{policy, max, grace}`."""
        if not isinstance(value, Mapping):
            return cls(cast("Policy", value))
        grace = value.get("grace")
        return cls(
            value.get("policy", "latest"),
            value.get("max", 100),
            GRACE if grace is None else round(seconds(grace) * 1000),
        )


@dataclass(frozen=True, slots=True)
class Day:
    """Days that are left out: from one to another, every year's, or those of a pattern."""

    first: str = ""
    last: str = ""
    yearly: str = ""
    pattern: str = ""

    @classmethod
    def parse(cls, text: str) -> Day:
        """Read one of the forms. Raises `ValueError`."""
        first, slash, last = text.partition("/")
        if _DATE.fullmatch(first):
            last = last if slash else first
            if date.fromisoformat(first) > date.fromisoformat(last):
                raise ValueError("it ends before it begins")
            return cls(first=first, last=last)
        if _YEARLY.fullmatch(text):
            date.fromisoformat(f"2024-{text}")
            return cls(yearly=text)
        if len(text.split()) != 3:
            raise ValueError("it is no day")
        parsed(f"0 0 {text}")
        return cls(pattern=f"0 0 {text}")

    def holds(self, day: date) -> bool:
        """Whether a day is one of them."""
        text = day.isoformat()
        if self.first:
            return self.first <= text <= self.last
        if self.yearly:
            return text[5:] == self.yearly
        return parsed(self.pattern).matches(datetime.combine(day, datetime.min.time()))


@dataclass(frozen=True, slots=True)
class Spec:
    """A schedule. It has `cron` or `every`; `offset` shifts an interval, which counts from the epoch."""

    cron: str | None
    every: int | None
    offset: int
    timezone: str
    jitter: int
    start: int | None
    end: int | None
    exclude: tuple[Day, ...]
    overlap: Overlap
    misfire: Misfire
    payload: Json

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Spec:
        """Read a config without faults."""
        start, end = (config.get(name) for name in ("start", "end"))
        return cls(
            cron=config.get("cron"),
            every=_milliseconds(config["every"]) if "every" in config else None,
            offset=_milliseconds(config.get("offset", 0)),
            timezone=config.get("timezone", "UTC"),
            jitter=_milliseconds(config.get("jitter", 0)),
            start=None if start is None else instant(start),
            end=None if end is None else instant(end),
            exclude=tuple(map(Day.parse, config.get("exclude", ()))),
            overlap=config.get("overlap", "skip"),
            misfire=Misfire.parse(config.get("misfire", "latest")),
            payload=config.get("payload", {}),
        )


def instant(text: str) -> int:
    """Return a time with a zone in milliseconds since the epoch. Raises `ValueError`."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("it names no time zone")
    if not EARLIEST <= found.year < LATEST:
        raise ValueError("it is too far away")
    return round(found.timestamp() * 1000)


def faults(config: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with the values of a config; what is no value of its kind is the schema's business."""
    cron, every = config.get("cron"), config.get("every")
    if isinstance(cron, str) and not _comes(cron):
        yield Fault(("cron",), f"`cron` is {cron[:40]!r}, which is no time table.", CRON_HINT)
    length = _length(every)
    if length is not None and length < SHORTEST:
        hint = "Write 1s at least; a map or a loop repeats faster."
        yield Fault(("every",), "`every` is shorter than a second.", hint)
    if length is not None and length > LONGEST_DAYS * 86_400_000:
        yield Fault(("every",), "`every` is longer than ten years.", "Write 3660d at most.")
    offset = _length(config.get("offset"))
    if offset and (length is None or offset >= length):
        yield Fault(
            ("offset",), "`offset` is not shorter than `every`.", "It shifts the slots within the interval."
        )
    if (jitter := _length(config.get("jitter"))) is not None and jitter > LONGEST_JITTER:
        yield Fault(
            ("jitter",), "`jitter` is longer than a day.", "It spreads starts within a time after the slot."
        )
    timezone = config.get("timezone")
    if isinstance(timezone, str) and not is_timezone(timezone):
        yield Fault(("timezone",), f"There is no time zone {timezone[:40]!r}.", None)
    yield from _window(config)
    exclude = config.get("exclude")
    for index, each in enumerate(exclude if isinstance(exclude, list) else ()):
        if isinstance(each, str) and not _is_day(each):
            yield Fault(("exclude", index), f"{each[:40]!r} names no days.", DAY_HINT)


def is_timezone(name: str) -> bool:
    """Whether the time zone database has a zone of this name."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _window(config: Mapping[str, Any]) -> Iterator[Fault]:
    ends = {}
    for name in ("start", "end"):
        text = config.get(name)
        if not isinstance(text, str):
            continue
        try:
            ends[name] = instant(text)
        except (ValueError, OverflowError):
            yield Fault((name,), f"`{name}` is {text[:40]!r}, which is no time.", INSTANT_HINT)
    if len(ends) == 2 and ends["end"] <= ends["start"]:
        yield Fault(
            ("end",), "`end` is not behind `start`.", "Slots lie at or after `start`, and before `end`."
        )


def _comes(cron: str) -> bool:
    try:
        return parsed(cron).after(0, zoneinfo.ZoneInfo("UTC")) is not None
    except CronInvalid:
        return False


def _is_day(text: str) -> bool:
    try:
        Day.parse(text)
    except ValueError:
        return False
    return True


def _length(value: Any) -> int | None:
    """Return a duration in milliseconds, or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return _milliseconds(value)
    except (ValueError, OverflowError):
        return None


def _milliseconds(value: float | str) -> int:
    return round(seconds(value) * 1000)
