"""Ask people, and rest until they have decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, JsonValue, model_validator

from celeriac import Context, Json, OnDecision, Wait, node
from celeriac.contract import LITERAL, SCHEMA
from celeriac.duration import rfc3339, seconds
from nodes.flow.wait import Duration

VOICES = 50
REMINDERS = 10

_FIXED: dict[str, JsonValue] = {LITERAL: True}
_Name = Annotated[str, Field(min_length=1, max_length=200)]


class People(BaseModel, extra="forbid"):
    """Some people, by their names and by roles."""

    users: list[_Name] = Field([], description="By name.", max_length=100)
    roles: list[_Name] = Field([], description="Everybody who has one of these roles.", max_length=100)


class Config(BaseModel, extra="forbid"):
    """What to ask, whom, and what happens when nobody answers."""

    title: str = Field(description="What is to be decided, in one line.", min_length=1, max_length=200)
    description: str = Field("", description="What there is to say about it.", max_length=10_000)
    show: JsonValue = Field(
        None, description="What people are to see. Each decision is bound to exactly this."
    )
    form: dict[str, JsonValue] | None = Field(
        None,
        description="JSON Schema of what they fill in; a rejection may leave it empty.",
        json_schema_extra={SCHEMA: True},
    )
    approvers: People = Field(
        default_factory=People, description="Who may decide; everybody, when nobody is named."
    )
    quorum: int = Field(
        1,
        description="How many have to approve; with `majority`, how many voices there are.",
        ge=1,
        le=VOICES,
    )
    rule: Literal["reject_wins", "majority"] = Field(
        "reject_wins",
        description="reject_wins: one rejection decides. majority: more than half of `quorum` voices do.",
    )
    four_eyes: bool = Field(False, description="Whether whoever started the execution may not decide.")
    timeout: Duration | None = Field(None, description="How long they have.")
    on_timeout: Literal["reject", "approve", "branch", "escalate"] = Field(
        "reject",
        description="What comes then: a decision, the port `timeout`, or as much time again for `escalate_to`.",
        json_schema_extra=_FIXED,
    )
    escalate_to: People | None = Field(None, description="Who is asked after the time; then it is rejected.")
    reminders: list[Duration] = Field(
        [],
        description="After how long people are asked again, each before the time is up.",
        max_length=REMINDERS,
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        times = [seconds(each) for each in self.reminders]
        if times != sorted(set(times)) or (
            self.timeout is not None and times and times[-1] >= seconds(self.timeout)
        ):
            message = "reminders stand in their order, and before the timeout"
            raise ValueError(message)
        if (self.on_timeout == "escalate") != (self.escalate_to is not None):
            message = "`escalate_to` is for `on_timeout: escalate`, which needs it"
            raise ValueError(message)
        if self.timeout is None and self.on_timeout != "reject":
            message = "`on_timeout` needs a `timeout`"
            raise ValueError(message)
        return self


def _ports(config: Mapping[str, Any]) -> tuple[str, ...]:
    ports = ("approved", "rejected")
    return (*ports, "timeout") if config.get("on_timeout") == "branch" else ports


@node("approval", waits=True, ports=_ports)
def approval(config: Config, ctx: Context) -> Wait:
    """Ask people for a decision, and go on with it."""
    ask = OnDecision(
        title=config.title,
        description=config.description,
        show=config.show,
        form=config.form,
        users=tuple(config.approvers.users),
        roles=tuple(config.approvers.roles),
        quorum=config.quorum,
        rule=config.rule,
        four_eyes=config.four_eyes,
    )
    now = int(ctx.now().timestamp() * 1000)
    asked = replace(ask, reminded=len(config.reminders))
    if config.timeout is None:
        following = Wait(None, None, (asked,))
    else:
        end = now + _milliseconds(config.timeout)
        following = _last(config, asked, end)
    for number, each in reversed(list(enumerate(config.reminders))):
        following = Wait(now + _milliseconds(each), None, (replace(ask, reminded=number),), then=following)
    return following


def _last(config: Config, ask: OnDecision, end: int) -> Wait:
    """Return the last wait for those who were asked first."""
    port = {"approve": "approved", "branch": "timeout"}.get(config.on_timeout, "rejected")
    if config.escalate_to is None or config.timeout is None:
        return _until(end, ask, port)
    others = replace(
        ask,
        users=tuple(config.escalate_to.users),
        roles=tuple(config.escalate_to.roles),
        escalated=True,
    )
    return Wait(end, None, (ask,), then=_until(end + _milliseconds(config.timeout), others, port))


def _until(end: int, ask: OnDecision, port: str) -> Wait:
    payload: dict[str, Json] = {"decision": port, "by": "time", "votes": []}
    value: dict[str, Json] = {"name": port, "payload": payload, "at": rfc3339(end)}
    return Wait(end, value, (ask,), port)


def _milliseconds(duration: float | str) -> int:
    return round(timedelta(seconds=seconds(duration)).total_seconds() * 1000)
