"""A moment: read, moved, and written in every form that others ask for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field

from celeriac import Context, Fail, Json, node
from celeriac.duration import seconds

_SHORT = 100_000_000_000
"""Numbers below are seconds since the epoch, above milliseconds: the border is the year 5138, or March 1973."""


class Config(BaseModel, extra="forbid"):
    """Which moment, and where."""

    value: str | float | None = Field(
        None,
        description="The moment: ISO 8601, or seconds or milliseconds since the epoch. Left out, now.",
    )
    timezone: str = Field("UTC", description="The time zone it is written in, like Europe/Berlin.")
    add: str | float = Field(0, description="What is added: seconds, or text like 1h30m; -1d goes back.")
    start_of: str | None = Field(
        None,
        description="Go back to the beginning of the day, week (Monday), month, year or hour.",
        pattern="^(hour|day|week|month|year)$",
    )
    format: str | None = Field(None, description="A form of your own, like %d.%m.%Y.", max_length=100)


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": [
        "iso",
        "epoch",
        "epoch_ms",
        "date",
        "time",
        "year",
        "month",
        "day",
        "weekday",
        "week",
        "text",
    ],
    "properties": {
        "iso": {"type": "string", "description": "ISO 8601, with the offset."},
        "epoch": {"type": "integer", "description": "Seconds since the epoch."},
        "epoch_ms": {"type": "integer"},
        "date": {"type": "string"},
        "time": {"type": "string"},
        "year": {"type": "integer"},
        "month": {"type": "integer"},
        "day": {"type": "integer"},
        "weekday": {"type": "integer", "description": "Monday is 1."},
        "week": {"type": "integer", "description": "By ISO 8601."},
        "text": {"type": ["string", "null"], "description": "In the form of your own."},
    },
    "additionalProperties": False,
}


@node("datetime", output=OUTPUT)
def date_time(config: Config, ctx: Context) -> Json:
    """Return a moment in every form."""
    try:
        zone = ZoneInfo(config.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Fail("conversion.invalid", f"{config.timezone!r} is no time zone.") from error
    try:
        moment = (_read(config.value, zone, ctx.now()) + timedelta(seconds=_moved(config.add))).astimezone(
            zone
        )
        moment = _begin(moment, config.start_of)
        text = None if config.format is None else moment.strftime(config.format)
    except (ValueError, OverflowError, OSError) as error:
        raise Fail("conversion.invalid", f"That is no moment: {error}.") from error
    return {
        "iso": moment.isoformat(),
        "epoch": int(moment.timestamp()),
        "epoch_ms": round(moment.timestamp() * 1000),
        "date": moment.date().isoformat(),
        "time": moment.time().isoformat("seconds"),
        "year": moment.year,
        "month": moment.month,
        "day": moment.day,
        "weekday": moment.isoweekday(),
        "week": moment.isocalendar().week,
        "text": text,
    }


def _read(value: str | float | None, zone: ZoneInfo, now: datetime) -> datetime:
    if value is None:
        return now
    if isinstance(value, str):
        read = datetime.fromisoformat(value)
        return read.replace(tzinfo=zone) if read.tzinfo is None else read
    return datetime.fromtimestamp(value if abs(value) < _SHORT else value / 1000, UTC)


def _moved(add: str | float) -> float:
    if isinstance(add, str) and add.startswith("-"):
        return -seconds(add[1:])
    return seconds(add) if isinstance(add, str) else add


def _begin(moment: datetime, what: str | None) -> datetime:
    if what is None:
        return moment
    found = moment.replace(minute=0, second=0, microsecond=0)
    if what == "hour":
        return found
    found = found.replace(hour=0)
    if what == "week":
        return found - timedelta(days=found.weekday())
    if what == "month":
        return found.replace(day=1)
    return found.replace(month=1, day=1) if what == "year" else found
