"""The poller's part: schedules that are due, and what is asked of the pen about them.

Any number of pollers look at the same rows. Each of them works out the same turn, and asks for it under the schedule's
epoch: one is first, and moves the schedule on in the transaction that starts what its slots stand for.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from celeriac import Json
from celeriac.duration import rfc3339, seconds
from engine import admission
from engine import operations as op
from engine.catalog import Active, Versions
from engine.errors import CeleriacError
from engine.holds import Concurrency, Strategy
from engine.store.database import Connection
from engine.triggers.registration import ABSENCE, EMAIL, SCHEDULE
from engine.triggers.spec import Overlap, Spec
from engine.triggers.turns import turn

BATCH: Final = 500

_DUE: Final = (
    "SELECT s.id, s.name, s.kind, s.spec, s.epoch, s.slot, w.id, w.name, w.enabled, w.version_id, s.project_id "
    "FROM schedule s JOIN workflow w ON w.id = s.workflow_id "
    f"WHERE s.kind <> '{EMAIL}' AND s.due IS NOT NULL AND s.due <= ? ORDER BY s.due LIMIT {BATCH}"
)
_SOONEST: Final = (
    "SELECT s.due FROM schedule s "
    f"WHERE s.kind <> '{EMAIL}' AND s.due IS NOT NULL AND s.due > ? ORDER BY s.due LIMIT 1"
)

_STRATEGIES: Final[Mapping[Overlap, Strategy | None]] = {
    "skip": "reject",
    "buffer_one": "coalesce",
    "buffer_all": "queue",
    "cancel_other": "cancel_oldest",
    "allow": None,
}


@dataclass(frozen=True, slots=True)
class Due:
    """A schedule that somebody has to look at, and what it starts."""

    schedule: str
    name: str
    kind: str
    text: str
    epoch: int
    slot: int
    active: Active

    @property
    def spec(self) -> Spec:
        """When it is due, if it is one of the clock's."""
        return spec_of(self.text)


@lru_cache(maxsize=8192)
def spec_of(text: str) -> Spec:
    """Return a stored spec."""
    return Spec.parse(json.loads(text))


def due(connection: Connection, versions: Versions, now: int) -> list[Due]:
    """Return schedules that are due, those first that have been so for longest."""
    return [
        Due(id_, name, kind, text, epoch, slot, versions.started(connection, *workflow))
        for id_, name, kind, text, epoch, slot, *workflow in connection.run(_DUE, (now,))
    ]


def soonest(connection: Connection, now: int) -> int | None:
    """Return when the next schedule is due."""
    rows = connection.run(_SOONEST, (now,))
    return rows[0][0] if rows else None


def arrive(at: admission.Accepting, each: Due, now: int) -> op.Arrive:
    """Return what is asked of the pen about one schedule that is due. A disabled workflow's slots start nothing."""
    if each.kind == ABSENCE:
        move = op.Move(each.schedule, each.epoch, None, None, each.slot)
        return op.Arrive((absence(at, each, now),) if each.active.enabled else (), move)
    made = turn(each.spec, each.schedule, each.slot, now)
    fire = made.fire if each.active.enabled else ()
    move = op.Move(each.schedule, each.epoch, made.slot, made.due, fire[-1] if fire else None)
    return op.Arrive(tuple(arrival(at, each, slot, now) for slot in fire), move)


def arrival(
    at: admission.Accepting,
    each: Due,
    slot: int,
    now: int,
    *,
    overlap: Overlap | None = None,
    apart: str = "",
) -> op.Arrival:
    """Return the arrival of one slot. What cannot be started is written down with the reason.

    With another `overlap` than the schedule's own, what is under way is counted `apart` from what the schedule has started.
    """

    def start() -> op.Start:
        wish = request(each.schedule, each.name, each.spec, each.active, slot)
        key = f"schedule {each.schedule}{apart}"
        return limited(admission.operation(at, wish), key, overlap or each.spec.overlap)

    return _arrival(each, slot, now, start)


def absence(at: admission.Accepting, each: Due, now: int) -> op.Arrival:
    """Return the arrival of what no event has put off in time."""
    config = json.loads(each.text)
    since = each.slot - round(seconds(config["absent_for"]) * 1000)
    about: dict[str, Json] = {"schedule": each.schedule, "absent_since": rfc3339(since)}

    def start() -> op.Start:
        wish = admission.Request(
            each.active, config.get("payload", {}), kind="event", trigger=each.name, arrival=about
        )
        return admission.operation(at, wish)

    return _arrival(each, each.slot, now, start)


def _arrival(each: Due, slot: int, now: int, start: Callable[[], op.Start]) -> op.Arrival:
    key, project = str(slot), each.active.project
    try:
        return op.Arrival(each.schedule, key, project, now, (start(),))
    except CeleriacError as error:
        detail = json.dumps({"code": error.code, "message": error.message})
        return op.Arrival(each.schedule, key, project, now, status="failed", detail=detail)


def request(
    schedule: str,
    name: str,
    spec: Spec,
    active: Active,
    slot: int | None,
    *,
    payload: Json = None,
    principal: str = "",
    idempotency_key: str | None = None,
) -> admission.Request:
    """Return the wish to start what a schedule stands for; without a slot, because somebody wants it now."""
    about: dict[str, Json] = {"schedule": schedule}
    if slot is not None:
        about["scheduled_at"] = rfc3339(slot)
    return admission.Request(
        active,
        spec.payload if payload is None else payload,
        kind=SCHEDULE,
        trigger=name,
        arrival=about,
        principal=principal,
        idempotency_key=idempotency_key,
    )


def limited(start: op.Start, key: str, overlap: Overlap) -> op.Start:
    """Return a start that minds what is under way already, as `overlap` says: a limit of one on a key of the schedule's.

    Where the workflow has a `concurrency` of its own, that decides, and not this.
    """
    strategy = _STRATEGIES[overlap]
    if strategy is None or start.concurrency is not None:
        return start
    return dataclasses.replace(start, concurrency=Concurrency(key, 1, strategy))


def sendable(
    arrivals: Iterable[Sequence[op.Arrival]], answers: Iterable[Sequence[op.Arrived] | None]
) -> tuple[list[tuple[str, tuple[str, int, str]]], list[str]]:
    """Return the first segments to be sent, and executions that others take the place of."""
    ready: list[tuple[str, tuple[str, int, str]]] = []
    outdone: list[str] = []
    for asked, answer in zip(arrivals, answers, strict=True):
        for arrival, arrived in zip(asked, answer or (), strict=answer is not None):
            for start, started in zip(arrival.starts, arrived.started, strict=arrived.new):
                if started.send:
                    ready.append((start.queue, (started.execution, 0, "")))
                outdone += started.outdone
    return ready, outdone
