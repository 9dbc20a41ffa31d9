"""The triggers of a version that becomes the active one, written down in the transaction that makes it so.

What is the same as before stays as it is: a schedule that nobody has changed keeps its next slot, and stays paused if it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from celeriac.duration import seconds
from engine.clock import Clock
from engine.definition import Trigger, Workflow
from engine.errors import Conflict
from engine.store.database import Connection
from engine.triggers import paths
from engine.triggers.spec import Spec
from engine.triggers.turns import first

DEFINITION: Final = "definition"
API: Final = "api"
"""The origin of what stands in a definition, and of what people make over the API."""

SCHEDULE: Final = "schedule"
ABSENCE: Final = "absence"
EMAIL: Final = "email"
"""The kinds of schedules: what the clock starts, what starts when no event puts it off, and looks into a mailbox."""

ENDPOINTS: Final = ("webhook", "form")
"""The types of triggers that requests arrive at."""

_LOCK: Final = 0x50415448


class PathTaken(Conflict):
    """Another webhook has this path already."""

    code = "webhook.path_taken"


class ScheduleNameTaken(Conflict):
    """The workflow has a schedule of this name already."""

    code = "schedule.name_taken"


class WebhookNameTaken(Conflict):
    """The workflow has a webhook of this name already."""

    code = "webhook.name_taken"


@dataclass(frozen=True, slots=True)
class _Schedule:
    """A schedule to be written. `text` is its stored form."""

    id: str
    name: str
    kind: str
    text: str
    slot: int | None
    due: int | None


def prepare(workflow: Workflow, clock: Clock, project: str) -> Callable[[Connection, str], None]:
    """Return the change that registers the triggers of a workflow, which it is handed the id of."""
    now = clock.now()
    schedules = [_schedule(each, clock, now) for each in workflow.triggers if each.type == "schedule"]
    schedules += [_absence(each, clock, now) for each in workflow.triggers if "absent_for" in each.config]
    schedules += [_mailbox(each, clock, now) for each in workflow.triggers if each.type == EMAIL]
    endpoints = [(clock.mint("hook"), each) for each in workflow.triggers if each.type in ENDPOINTS]
    events = [(clock.mint("etrg"), each) for each in workflow.triggers if each.type == "event"]

    def change(connection: Connection, workflow_id: str) -> None:
        _write_schedules(connection, schedules, project, workflow_id, now)
        _write_endpoints(connection, endpoints, project, workflow_id, now)
        _write_events(connection, events, project, workflow_id)

    return change


def stored(config: Mapping[str, Any]) -> str:
    """Return a config as it is stored: two that mean the same are the same text."""
    return json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def take_shape(connection: Connection, endpoint: str, path: str | None) -> None:
    """Let a webhook listen at a named path, or at none. Raises `PathTaken`."""
    shape = None if path is None else paths.shape(path)
    if shape is not None:
        if connection.dialect == "postgresql":
            # One at a time: of two that take the same path at the same moment, the later one sees the earlier one's.
            connection.run("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
        taken = connection.run("SELECT 1 FROM endpoint WHERE shape = ? AND id <> ?", (shape, endpoint))
        if taken:
            message = (
                f"Another webhook listens at {paths.ROOT}/{shape.replace(paths.PARAMETER, '...')} already."
            )
            raise PathTaken(message, hint="celeriac webhooks list shows which; take another path.")
    connection.run("UPDATE endpoint SET shape = ? WHERE id = ?", (shape, endpoint))


def _schedule(trigger: Trigger, clock: Clock, now: int) -> _Schedule:
    name = clock.mint("sched")
    begun = first(Spec.parse(trigger.config), name, now)
    return _Schedule(name, trigger.id, SCHEDULE, stored(trigger.config), begun.slot, begun.due)


def _absence(trigger: Trigger, clock: Clock, now: int) -> _Schedule:
    """Return the schedule of a trigger that starts something when no event comes for a while."""
    due = now + round(seconds(trigger.config["absent_for"]) * 1000)  # type: ignore[arg-type]  # the schema says so
    return _Schedule(clock.mint("sched"), trigger.id, ABSENCE, stored(trigger.config), due, due)


def _mailbox(trigger: Trigger, clock: Clock, now: int) -> _Schedule:
    """Return the looks into a mailbox, of which the first only finds out where its end is."""
    return _Schedule(clock.mint("sched"), trigger.id, EMAIL, stored(trigger.config), 0, now)


def _same_mailbox(one: str, other: str) -> bool:
    """Whether two triggers read the same messages, so that the later one goes on where the earlier one was."""
    return all(json.loads(one).get(name) == json.loads(other).get(name) for name in ("connection", "mailbox"))


def _write_schedules(
    connection: Connection, schedules: list[_Schedule], project: str, workflow: str, now: int
) -> None:
    rows = connection.run(
        "SELECT name, id, spec, paused_at, kind, slot FROM schedule WHERE workflow_id = ? AND origin = ?",
        (workflow, DEFINITION),
    )
    known = {name: fields for name, *fields in rows}
    for each in schedules:
        if each.name not in known:
            made = connection.run(
                "INSERT INTO schedule (id, project_id, workflow_id, name, origin, kind, spec, slot, due, created_at, "
                "updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (workflow_id, name) DO NOTHING RETURNING id",
                (
                    each.id,
                    project,
                    workflow,
                    each.name,
                    DEFINITION,
                    each.kind,
                    each.text,
                    each.slot,
                    each.due,
                    now,
                    now,
                ),
            )
            if not made:
                raise ScheduleNameTaken(hint=f"Rename the trigger {each.name}, or remove that schedule.")
            continue
        name, text, paused_at, kind, place = known.pop(each.name)
        if text != each.text:
            goes_on = kind == each.kind == EMAIL and _same_mailbox(text, each.text)
            slot, due = (place if goes_on else each.slot, each.due) if paused_at is None else (None, None)
            connection.run(
                "UPDATE schedule SET kind = ?, spec = ?, epoch = epoch + 1, slot = ?, due = ?, updated_at = ? WHERE id = ?",
                (each.kind, each.text, slot, due, now, name),
            )
    for name, *_ in known.values():
        connection.run("DELETE FROM inbox WHERE source = ?", (name,))
        connection.run("DELETE FROM schedule WHERE id = ?", (name,))


def _write_endpoints(
    connection: Connection, endpoints: list[tuple[str, Trigger]], project: str, workflow: str, now: int
) -> None:
    rows = connection.run(
        "SELECT name, id, kind FROM endpoint WHERE workflow_id = ? AND origin = ?", (workflow, DEFINITION)
    )
    known = {name: fields for name, *fields in rows}
    kept = {each.id: each for _, each in endpoints}
    for title, (name, kind) in [*known.items()]:
        if title not in kept or kept[title].type != kind:
            connection.run("DELETE FROM inbox WHERE source = ?", (name,))
            connection.run("DELETE FROM endpoint WHERE id = ?", (name,))
            del known[title]
    # Paths that are given up are free for the others.
    connection.run(
        "UPDATE endpoint SET shape = NULL WHERE workflow_id = ? AND origin = ?", (workflow, DEFINITION)
    )
    for name, each in endpoints:
        text, id_ = stored(each.config), known[each.id][0] if each.id in known else name
        if each.id in known:
            connection.run(
                "UPDATE endpoint SET config = ?, updated_at = CASE WHEN config = ? THEN updated_at ELSE ? END WHERE id = ?",
                (text, text, now, id_),
            )
        else:
            made = connection.run(
                "INSERT INTO endpoint (id, project_id, workflow_id, name, origin, kind, config, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workflow_id, name) DO NOTHING RETURNING id",
                (id_, project, workflow, each.id, DEFINITION, each.type, text, now, now),
            )
            if not made:
                raise WebhookNameTaken(hint=f"Rename the trigger {each.id}, or remove that webhook.")
        path = each.config.get("path")
        take_shape(connection, id_, path if isinstance(path, str) else None)


def _write_events(
    connection: Connection, events: list[tuple[str, Trigger]], project: str, workflow: str
) -> None:
    known: dict[str, str] = dict(
        connection.run("SELECT name, id FROM event_trigger WHERE workflow_id = ?", (workflow,))
    )
    connection.run("DELETE FROM event_trigger WHERE workflow_id = ?", (workflow,))
    for name, each in events:
        schedule = None
        if "absent_for" in each.config:
            rows = connection.run(
                "SELECT id FROM schedule WHERE workflow_id = ? AND name = ?", (workflow, each.id)
            )
            schedule = rows[0][0]
        connection.run(
            "INSERT INTO event_trigger (id, project_id, workflow_id, name, type, config, schedule_id) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                known.pop(each.id, name),
                project,
                workflow,
                each.id,
                each.config["type"],
                stored(each.config),
                schedule,
            ),
        )
    for name in known.values():
        connection.run("DELETE FROM inbox WHERE source = ?", (name,))
