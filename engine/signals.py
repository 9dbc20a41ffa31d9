"""What a wait listens for, and the form in which a wait lies in the journal until it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from celeriac import Json
from celeriac.duration import rfc3339
from celeriac.outcomes import OnCallback, OnDecision, OnEvent, Signal, Wait
from engine import operations as op

LISTENING: Final = "listening"
"""The status of a journal row that holds a wait which signals may end. Its output is the wait itself."""

TIME: Final = "time"
"""The source of a signal that the time has sent."""

_KINDS: Final[dict[str, type[Signal]]] = {"event": OnEvent, "callback": OnCallback, "decision": OnDecision}

DECISIONS: Final = ("approved", "rejected")
"""What people can come to: the names of the signals."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The signal that ended a wait."""

    name: str
    source: str
    payload: Json
    at: int

    def to_json(self) -> dict[str, Json]:
        """Return what a node comes to that was ended by it."""
        return {"name": self.name, "payload": self.payload, "at": rfc3339(self.at)}


def wait_to_json(wait: Wait) -> dict[str, Json]:
    """Return a wait as it is stored, and as it comes out of a child process."""
    return {
        "until": wait.until,
        "value": wait.value,
        "signals": [{"kind": kind_of(each), **asdict(each)} for each in wait.signals],
        "port": wait.port,
        "then": None if wait.then is None else wait_to_json(wait.then),
    }


def wait_from_json(body: Mapping[str, Any]) -> Wait:
    """Read the stored form."""
    return Wait(
        body["until"],
        body["value"],
        tuple(_signal_from_json(**each) for each in body["signals"]),
        body["port"],
        None if body["then"] is None else wait_from_json(body["then"]),
    )


def subscriptions_of(wait: Wait, started_at: int) -> tuple[op.Subscription, ...]:
    """Return what a wait listens for. The time is among it only when it ends the wait, and is not followed by another."""
    found = [branch for each in wait.signals for branch in _subscriptions(each, started_at)]
    if wait.until is not None and wait.then is None:
        found.append(op.Subscription(wait.port, TIME))
    return tuple(found)


def kind_of(signal: Signal) -> str:
    """Return the word for a kind of signal."""
    return next(kind for kind, made in _KINDS.items() if isinstance(signal, made))


def names_of(wait: Wait) -> list[str]:
    """Return the names of the signals that may end a wait."""
    return [each.name for each in subscriptions_of(wait, 0) if each.kind != TIME]


def _signal_from_json(kind: str, **fields: Any) -> Signal:
    lists = {name: tuple(value) for name, value in fields.items() if name in ("users", "roles")}
    return _KINDS[kind](**{**fields, **lists})


def _subscriptions(signal: Signal, started_at: int) -> list[op.Subscription]:
    match signal:
        case OnEvent(type_, correlation, since, transient, name):
            since = started_at if since is None else since
            return [op.Subscription(name, "event", type_, correlation, since, transient)]
        case OnCallback(name):
            return [op.Subscription(name, "callback")]
        case OnDecision():
            return [op.Subscription(name, "decision") for name in DECISIONS]
