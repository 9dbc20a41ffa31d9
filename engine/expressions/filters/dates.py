"""Filters on dates. A date is RFC 3339 text; what comes out is in UTC, with milliseconds, unless asked otherwise."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from datetime import timezone as fixed_zone
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.expressions.error import TYPE, VALUE, Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.values import Json, integer_from, kind, number_from, size, text_from

_DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d)))?",
    re.ASCII,
)
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,40}(?:/[A-Za-z0-9_+-]{1,40}){0,2}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MILLISECONDS: Final = {
    "milliseconds": 1,
    "seconds": 1_000,
    "minutes": 60_000,
    "hours": 3_600_000,
    "days": 86_400_000,
    "weeks": 604_800_000,
}
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def _offset_of(moment: datetime) -> str:
    minutes = int((moment.utcoffset() or timedelta()).total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


# Python's own strftime asks the C library, which knows other languages and widths of a million digits.
_DIRECTIVES: Final[dict[str, Callable[[datetime], str]]] = {
    "Y": lambda moment: f"{moment.year:04}",
    "y": lambda moment: f"{moment.year % 100:02}",
    "m": lambda moment: f"{moment.month:02}",
    "B": lambda moment: _MONTHS[moment.month - 1],
    "b": lambda moment: _MONTHS[moment.month - 1][:3],
    "d": lambda moment: f"{moment.day:02}",
    "e": lambda moment: f"{moment.day}",
    "j": lambda moment: f"{moment.timetuple().tm_yday:03}",
    "A": lambda moment: _DAYS[moment.weekday()],
    "a": lambda moment: _DAYS[moment.weekday()][:3],
    "u": lambda moment: f"{moment.isoweekday()}",
    "G": lambda moment: f"{moment.isocalendar().year:04}",
    "V": lambda moment: f"{moment.isocalendar().week:02}",
    "H": lambda moment: f"{moment.hour:02}",
    "I": lambda moment: f"{(moment.hour + 11) % 12 + 1:02}",
    "p": lambda moment: "AM" if moment.hour < 12 else "PM",
    "M": lambda moment: f"{moment.minute:02}",
    "S": lambda moment: f"{moment.second:02}",
    "L": lambda moment: f"{moment.microsecond // 1_000:03}",
    "f": lambda moment: f"{moment.microsecond:06}",
    "z": _offset_of,
    "F": lambda moment: f"{moment.year:04}-{moment.month:02}-{moment.day:02}",
    "T": lambda moment: f"{moment.hour:02}:{moment.minute:02}:{moment.second:02}",
    "%": lambda _: "%",
}


def _moment(value: Json, name: str | None = None) -> datetime:
    """Return the instant that a text names, in the offset it is written in."""
    found = _DATE.fullmatch(text_from(value, name))
    place = f" for `{name}`" if name else ""
    if found is None:
        hint = "Such as 2024-02-29T12:00:00Z, or 2024-02-29; `date` makes one of seconds since 1970."
        raise Refused(VALUE, f"needs a date of RFC 3339{place}", hint)
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = found.groups("0")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    zone: tzinfo = UTC if not offset else fixed_zone(-offset if sign == "-" else offset)
    microsecond = int(fraction[:6].ljust(6, "0"))
    try:
        return datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second), microsecond, zone
        )
    except ValueError:
        raise Refused(VALUE, f"needs a date that is in the calendar{place}") from None


def _written(moment: datetime) -> str:
    at = _shifted(moment, UTC)
    date = f"{at.year:04}-{at.month:02}-{at.day:02}"
    return f"{date}T{at.hour:02}:{at.minute:02}:{at.second:02}.{at.microsecond // 1_000:03}Z"


def _shifted(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError:
        raise _beyond() from None


def _later(moment: datetime, milliseconds: float) -> datetime:
    try:
        return moment + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise _beyond() from None


def _beyond() -> Refused:
    return Refused(VALUE, "knows the years 1 to 9999 only")


def _unit(value: Json) -> int:
    """Return the milliseconds of a unit."""
    found = _MILLISECONDS.get(text_from(value, "unit"))
    if found is None:
        raise Refused(VALUE, f"knows the units {', '.join(_MILLISECONDS)}")
    return found


def _in_units(milliseconds: int, unit: int) -> int | float:
    return milliseconds / unit if milliseconds % unit else milliseconds // unit


def rfc3339_of(milliseconds: int) -> str:
    """Return the instant so many milliseconds after the beginning of 1970."""
    return _written(_later(_EPOCH, milliseconds))


def date(_: Evaluation, value: Json, unit: Json = "seconds") -> Json:
    """A date, or a number of units since 1970, as RFC 3339 in UTC with milliseconds."""
    if type(value) is int or type(value) is float:
        return _written(_later(_EPOCH, value * _unit(unit)))
    if type(value) is not str:
        raise Refused(TYPE, f"needs text or a number, not {kind(value)}")
    return _written(_moment(value))


def timestamp(_: Evaluation, value: Json, unit: Json = "seconds") -> Json:
    """How many units after the beginning of 1970 it is."""
    return _in_units((_moment(value) - _EPOCH) // _MILLISECOND, _unit(unit))


def date_add(
    _: Evaluation,
    value: Json,
    years: Json = 0,
    months: Json = 0,
    weeks: Json = 0,
    days: Json = 0,
    hours: Json = 0,
    minutes: Json = 0,
    seconds: Json = 0,
) -> Json:
    """That much later, or earlier; a day that the month does not have becomes its last."""
    moment = _moment(value)
    month = moment.year * 12 + moment.month - 1
    month += integer_from(years, "years") * 12 + integer_from(months, "months")
    year = month // 12
    if not 1 <= year <= 9999:
        raise _beyond()
    last = calendar.monthrange(year, month % 12 + 1)[1]
    moment = moment.replace(year=year, month=month % 12 + 1, day=min(moment.day, last))
    given = {"weeks": weeks, "days": days, "hours": hours, "minutes": minutes, "seconds": seconds}
    try:
        milliseconds = sum(number_from(each, unit) * _MILLISECONDS[unit] for unit, each in given.items())
    except OverflowError:
        raise _beyond() from None
    return _written(_later(moment, milliseconds))


def date_diff(_: Evaluation, value: Json, other: Json, unit: Json = "seconds") -> Json:
    """How much later it is than the other date."""
    return _in_units((_moment(value) - _moment(other, "other")) // _MILLISECOND, _unit(unit))


def date_format(
    evaluation: Evaluation, value: Json, pattern: Json = "%Y-%m-%d", timezone: Json = "UTC"
) -> Json:
    """Written by a pattern of %Y, %m, %d, %H, %M, %S and the like, as clocks show it in a time zone."""
    moment, text = _shifted(_moment(value), _zone(timezone)), text_from(pattern, "pattern")
    evaluation.spend(len(text))
    evaluation.build(size(text) * 4)

    def written(directive: re.Match[str]) -> str:
        write = _DIRECTIVES.get(directive.group(1))
        if write is None:
            raise Refused(VALUE, f"knows the directives %{' %'.join(_DIRECTIVES)}")
        return write(moment)

    return re.sub(r"%(.?)", written, text, flags=re.DOTALL)


def _zone(value: Json) -> tzinfo:
    name = text_from(value, "timezone")
    if _ZONE.fullmatch(name):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass  # Which of these it is depends on where the machine keeps its time zones.
    raise Refused(VALUE, "needs the name of a time zone", "Such as UTC or Europe/Berlin.")


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "date": date,
    "timestamp": timestamp,
    "date_add": date_add,
    "date_diff": date_diff,
    "date_format": date_format,
}
