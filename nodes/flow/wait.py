"""Rest for a while, or until a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from celeriac import Context, Fail, Json, Wait, node
from celeriac.duration import PATTERN, seconds

LONGEST = timedelta(days=366)
"""A year, whichever year."""

OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["until"],
    "properties": {"until": {"type": "string"}},
    "additionalProperties": False,
}
_RFC3339 = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$"


def _bounded(value: float | str) -> float | str:
    if seconds(value) > LONGEST.total_seconds():
        message = "a wait is at most a year long"
        raise ValueError(message)
    return value


def _readable(value: str) -> str:
    _instant(value)
    return value


_Number = Annotated[float, Field(ge=0, strict=True)]
_Text = Annotated[str, Field(pattern=PATTERN)]
_Milliseconds = Annotated[int, Field(strict=True, ge=0, le=253_402_300_799_999)]
_Time = Annotated[str, Field(pattern=_RFC3339), AfterValidator(_readable)]


class Config(
    BaseModel, extra="forbid", json_schema_extra={"oneOf": [{"required": ["for"]}, {"required": ["until"]}]}
):
    """How long."""

    duration: Annotated[_Number | _Text, AfterValidator(_bounded)] | None = Field(
        None, alias="for", description="How long: a number of seconds, or text like 90s, 1h30m, 250ms, 2d."
    )
    until: _Milliseconds | _Time | None = Field(
        None,
        description="Until when: 2031-05-04T09:00:00+02:00 (a time zone is needed), or milliseconds since 1970 (UTC).",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.duration is None) == (self.until is None):
            message = "exactly one of `for` and `until` is needed"
            raise ValueError(message)
        return self


@node("wait", waits=True, output=OUTPUT)
def wait(config: Config, ctx: Context) -> Json | Wait:
    """Rest without holding a worker, then go on. A time that has passed holds nothing up."""
    now = ctx.now()
    end = (
        now + timedelta(seconds=seconds(config.duration))
        if config.duration is not None
        else _instant(config.until)
    )
    if end - now > LONGEST:
        message = f"The wait would end at {end.isoformat()}, and a wait is at most a year long."
        raise Fail("wait.too_long", message)
    value: dict[str, Json] = {"until": end.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    return Wait(int(end.timestamp() * 1000), value) if end > now else value


def _instant(value: int | str | None) -> datetime:
    if isinstance(value, str):
        return datetime.fromisoformat(value.upper().replace(" ", "T")).astimezone(UTC)
    return datetime.fromtimestamp((value or 0) / 1000, UTC)
