"""Which workflows an event starts, and which schedules its absence would start something by.

Whoever publishes an event asks first who waits for its type, and brings their starts along: they are accepted in the
transaction that publishes it, and only if it is new.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from celeriac import Fail, Json
from celeriac.duration import seconds
from engine import admission, expressions
from engine import operations as op
from engine.catalog import Active, Versions
from engine.errors import CeleriacError, NotFound
from engine.expressions import ExpressionError, Scope
from engine.listing import Body, Page
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection
from engine.triggers.spec import Fault

KIND: Final = "event"
LONGEST_CHAIN: Final = 32
"""Executions that start one another by events, one after the other; the next start is refused."""
LONGEST_ABSENCE: Final = 366 * 86_400
MOST_STARTED: Final = 1_000
"""Workflows that one event starts."""

_LISTENERS: Final = (
    "SELECT t.id, t.name, t.config, t.schedule_id, w.id, w.name, w.enabled, w.version_id, t.project_id "
    "FROM event_trigger t JOIN workflow w ON w.id = t.workflow_id AND w.deleted_at IS NULL "
    "WHERE t.project_id = ? AND t.type IN ({}) "
    f"ORDER BY t.id LIMIT {MOST_STARTED}"
)
_LISTING: Final = (
    "SELECT t.id, t.name, t.config, w.id, w.name, w.enabled FROM event_trigger t "
    "JOIN workflow w ON w.id = t.workflow_id AND w.deleted_at IS NULL WHERE t.project_id = ? AND t.id > ? ORDER BY t.id LIMIT ?"
)


class ChainTooLong(CeleriacError):
    """Events have started executions one after the other, too many to be meant."""

    code = "event.chain_too_long"


class FilterFailed(CeleriacError):
    """The filter of a trigger cannot be computed for an event."""

    code = "event.filter_failed"


@dataclass(frozen=True, slots=True)
class Event:
    """An event about to be published. `hops` counts the executions that have led to it, each started by an event."""

    id: str
    type: str
    data: Json = None
    source: str = ""
    subject: str = ""
    hops: int = 0

    def about(self) -> dict[str, Json]:
        """Return what an execution remembers of it."""
        found: dict[str, Json] = {
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "subject": self.subject,
        }
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events a trigger is for. With `absent_for`, in seconds, it is for the lack of them."""

    type: str
    source: str | None = None
    subject: str | None = None
    when: str | None = None
    absent_for: float | None = None
    payload: Json = None

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Filter:
        """Read a config without faults."""
        absent = config.get("absent_for")
        return cls(
            config["type"],
            config.get("source"),
            config.get("subject"),
            config.get("when"),
            None if absent is None else seconds(absent),
            config.get("payload", {}),
        )


@dataclass(frozen=True, slots=True)
class Listener:
    """A trigger that waits for a type of events, and what it starts."""

    id: str
    name: str
    filter: Filter
    schedule: str | None
    active: Active


@lru_cache(maxsize=4096)
def filter_of(text: str) -> Filter:
    """Return a stored filter."""
    return Filter.parse(json.loads(text))


def faults(config: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with the values of a config; what is no value of its kind is the schema's business."""
    absent = config.get("absent_for")
    if isinstance(absent, int | float | str) and not isinstance(absent, bool):
        try:
            length = seconds(absent)
        except ValueError:
            return
        if not 1 <= length <= LONGEST_ABSENCE:
            yield Fault(("absent_for",), "`absent_for` is not between a second and a year.", None)


def types(type_: str) -> list[str]:
    """Return the types, with and without a `*` at the end, that triggers may have that are for an event of this type."""
    parts = type_.split(".")
    return [type_, "*", *(".".join([*parts[:count], "*"]) for count in range(1, len(parts)))]


def listeners(
    connection: Connection, versions: Versions, type_: str, project: str = DEFAULT_PROJECT
) -> list[Listener]:
    """Return the triggers that wait for events of this type, of workflows that may be started."""
    wanted = types(type_)
    rows = connection.run(_LISTENERS.format(", ".join("?" for _ in wanted)), (project, *wanted))
    return [
        Listener(id_, name, filter_of(config), schedule, versions.started(connection, *workflow))
        for id_, name, config, schedule, *workflow in rows
        if workflow[2]
    ]


def follows(
    at: admission.Accepting, event: Event, waiting: Iterable[Listener], now: int
) -> tuple[tuple[op.Arrival, ...], tuple[tuple[str, int], ...]]:
    """Return what an event brings about at triggers: arrivals, and schedules that wait on."""
    arrivals: list[op.Arrival] = []
    postponed: list[tuple[str, int]] = []
    for each in waiting:
        wanted = each.filter
        if wanted.source not in (None, event.source) or wanted.subject not in (None, event.subject):
            continue
        try:
            if wanted.when is not None and not _holds(wanted.when, event, now):
                continue
            if each.schedule is not None and wanted.absent_for is not None:
                postponed.append((each.schedule, now + round(wanted.absent_for * 1000)))
                continue
            arrivals.append(
                op.Arrival(each.id, event.id, each.active.project, now, (_start(at, event, each),))
            )
        except CeleriacError as error:
            detail = json.dumps({"code": error.code, "message": error.message})
            arrivals.append(
                op.Arrival(each.id, event.id, each.active.project, now, status="failed", detail=detail)
            )
    return tuple(arrivals), tuple(postponed)


def hops_of(trigger: Mapping[str, Json]) -> int:
    """Return how many executions have led to what an execution publishes, by what it remembers of its start."""
    found = trigger.get("hops", 0)
    return found if isinstance(found, int) else 0


def listing(connection: Connection, limit: int, after: str = "", project: str = DEFAULT_PROJECT) -> Page:
    """Return the triggers that wait for events in the order of their ids, those behind `after`."""
    rows = connection.run(_LISTING, (project, after, limit + 1))
    found: list[Body] = [
        {
            "id": id_,
            "name": name,
            "workflow": {"id": workflow, "name": title},
            "enabled": bool(enabled),
            "config": json.loads(config),
        }
        for id_, name, config, workflow, title, enabled in rows[:limit]
    ]
    return Page(found, str(rows[limit - 1][0]) if len(rows) > limit else None)


def arrived(connection: Connection, name: str, limit: int, project: str = DEFAULT_PROJECT) -> list[Body]:
    """Return what became of the latest events at a trigger. Raises `NotFound`."""
    if not connection.run("SELECT 1 FROM event_trigger WHERE project_id = ? AND id = ?", (project, name)):
        message = f"There is no trigger {name[:100]!r} for events."
        raise NotFound(message, hint="GET /api/v1/events/triggers lists what there is.")
    rows = connection.run(
        "SELECT key, status, execution_id, detail, at FROM inbox WHERE source = ? ORDER BY at DESC, key DESC LIMIT ?",
        (name, limit),
    )
    return [
        {
            "event": key,
            "status": status,
            "execution": execution,
            "at": at,
            **({"error": json.loads(detail)} if detail else {}),
        }
        for key, status, execution, detail, at in rows
    ]


def _start(at: admission.Accepting, event: Event, each: Listener) -> op.Start:
    if event.hops >= LONGEST_CHAIN:
        message = f"{LONGEST_CHAIN} executions have started one another by events, and no more are started."
        raise ChainTooLong(message)
    about: dict[str, Json] = {"event": event.about(), "hops": event.hops + 1}
    wish = admission.Request(each.active, event.data, kind=KIND, trigger=each.name, arrival=about)
    return admission.operation(at, wish)


def _holds(when: str, event: Event, now: int) -> bool:
    """Whether the filter's expression is true of an event. Raises `FilterFailed`."""
    values: dict[str, Json] = dict(event.data) if isinstance(event.data, dict) else {}
    values["trigger"] = {"type": KIND, "event": event.about(), "payload": event.data}
    try:
        found = expressions.compile_expression(when).evaluate(Scope(values, admission.Moment(event.id, now)))
    except (ExpressionError, Fail) as error:
        message = f"`when` cannot be computed: {error.message}"
        raise FilterFailed(message) from None
    if not isinstance(found, bool):
        raise FilterFailed("`when` is neither true nor false.")
    return found
