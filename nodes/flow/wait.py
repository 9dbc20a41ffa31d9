"""Rest for a while, until a time, or until something happens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, JsonValue, model_validator

from celeriac import Context, Fail, Json, OnCallback, OnEvent, Wait, node
from celeriac.contract import LITERAL
from celeriac.duration import PATTERN, rfc3339, seconds
from nodes.flow.emit import TYPE, Correlation

LONGEST = timedelta(days=366)
"""A year, whichever year."""

BRANCHES = 20
"""Things of which the first ends a wait."""

_RFC3339 = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$"
_FIXED: dict[str, JsonValue] = {LITERAL: True}
_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"


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
Duration = Annotated[_Number | _Text, AfterValidator(_bounded)]


class Event(BaseModel, extra="forbid"):
    """The event that a wait listens to."""

    type: str = Field(description="Its type, as it is published.", pattern=TYPE)
    correlation: Correlation = Field("", description="What it is about; the same as it is published with.")
    transient: bool = Field(
        False, description="Hear only what is published during the wait, and what other waits have had too."
    )
    lookback: Duration | None = Field(
        None,
        description="How far back it may have been published; without it, since the execution started.",
    )


class Branch(BaseModel, extra="forbid"):
    """One of several things that end a wait."""

    name: str = Field(
        description="The port to leave through when this comes first.",
        pattern=_NAME,
        json_schema_extra=_FIXED,
    )
    duration: Duration | None = Field(None, alias="for", description="How long.")
    until: _Milliseconds | _Time | None = Field(None, description="Until when.")
    event: Event | None = Field(None, description="The event to listen to.")
    callback: bool = Field(False, description="Whether a call of the address from `callback_url` ends it.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self.duration, self.until, self.event, self.callback)
        return self


_ONE_OF: dict[str, JsonValue] = {
    "oneOf": [{"required": [name]} for name in ("for", "until", "event", "callback", "any_of")]
}


class Config(BaseModel, extra="forbid", json_schema_extra=_ONE_OF):
    """What to wait for."""

    duration: Duration | None = Field(
        None, alias="for", description="How long: a number of seconds, or text like 90s, 1h30m, 250ms, 2d."
    )
    until: _Milliseconds | _Time | None = Field(
        None,
        description="Until when: 2031-05-04T09:00:00+02:00 (a time zone is needed), or milliseconds since 1970 (UTC).",
    )
    event: Event | None = Field(None, description="The event to listen to.")
    callback: bool = Field(
        False, description="Whether to wait for a call of the address from `callback_url`."
    )
    any_of: list[Annotated[Branch, Field(json_schema_extra=_FIXED)]] | None = Field(
        None,
        description="Several things of which the first ends the wait, and names the port.",
        min_length=1,
        max_length=BRANCHES,
        json_schema_extra=_FIXED,
    )
    timeout: Duration | None = Field(
        None,
        description="How long to wait for the event or the call; after it, the wait ends through the port `timeout`.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self.duration, self.until, self.event, self.callback, self.any_of)
        if self.timeout is not None and self.event is None and not self.callback:
            message = "`timeout` is for `event` and `callback`"
            raise ValueError(message)
        names = [each.name for each in self.any_of or ()]
        if len(set(names)) < len(names) or "error" in names:
            message = "the names of branches differ, and none is `error`"
            raise ValueError(message)
        return self


def _exactly_one(*parts: object) -> None:
    if sum(each is not None and each is not False for each in parts) != 1:
        message = "exactly one of the things to wait for is needed"
        raise ValueError(message)


def _ports(config: Mapping[str, Any]) -> tuple[str, ...]:
    if config.get("any_of"):
        return tuple(each["name"] for each in config["any_of"])
    return ("out", "timeout") if config.get("timeout") is not None else ("out",)


@node("wait", waits=True, ports=_ports)
def wait(config: Config, ctx: Context) -> Json | Wait:
    """Rest without holding a worker, then go on. A time that has passed holds nothing up."""
    now = ctx.now()
    if config.any_of is not None:
        return _first_of(config.any_of, now)
    if config.event is not None or config.callback:
        signals = (_listening(config.event, now),) if config.event is not None else (OnCallback(),)
        if config.timeout is None:
            return Wait(None, None, signals)
        return _timed("timeout", _end(config.timeout, None, now), signals)
    end = _end(config.duration, config.until, now)
    until = _milliseconds(end)
    value: dict[str, Json] = {"until": rfc3339(until)}
    return Wait(until, value) if end > now else value


def _first_of(branches: list[Branch], now: datetime) -> Wait:
    """Wait for the first of several; of several times, only the earliest can be that."""
    signals = tuple(
        _listening(each.event, now, each.name) if each.event is not None else OnCallback(each.name)
        for each in branches
        if each.event is not None or each.callback
    )
    times = [
        (_end(each.duration, each.until, now), each.name)
        for each in branches
        if each.event is None and not each.callback
    ]
    if not times:
        return Wait(None, None, signals)
    end, name = min(times, key=lambda each: each[0])
    return _timed(name, end, signals)


def _timed(name: str, end: datetime, signals: tuple[OnEvent | OnCallback, ...]) -> Wait:
    until = _milliseconds(end)
    value: dict[str, Json] = {"name": name, "payload": None, "at": rfc3339(until)}
    return Wait(until, value, signals, name)


def _listening(event: Event, now: datetime, name: str = "event") -> OnEvent:
    since = None
    if event.lookback is not None:
        since = _milliseconds(now - timedelta(seconds=seconds(event.lookback)))
    return OnEvent(event.type, str(event.correlation), since, event.transient, name)


def _end(duration: float | str | None, until: int | str | None, now: datetime) -> datetime:
    end = now + timedelta(seconds=seconds(duration)) if duration is not None else _instant(until)
    if end - now > LONGEST:
        message = f"The wait would end at {end.isoformat()}, and a wait is at most a year long."
        raise Fail("wait.too_long", message)
    return end


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _instant(value: int | str | None) -> datetime:
    if isinstance(value, str):
        return datetime.fromisoformat(value.upper().replace(" ", "T")).astimezone(UTC)
    return datetime.fromtimestamp((value or 0) / 1000, UTC)
