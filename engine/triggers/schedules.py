"""Schedules as people see them: listed, made, changed, paused, and asked when they are due.

The changes run in the ledger's thread, like those of the catalogue. Every one raises the schedule's epoch, so that a poller
that has read the row before does nothing any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from celeriac import Fail, Json
from celeriac.duration import rfc3339, seconds
from engine import schema
from engine.catalog import Active, Versions
from engine.encoding import encode
from engine.errors import Conflict, Invalid, NotFound
from engine.listing import Body, Page
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection
from engine.triggers.registration import API, DEFINITION, EMAIL, SCHEDULE, ScheduleNameTaken, stored
from engine.triggers.scheduler import Due, spec_of
from engine.triggers.slots import due_of, next_slots, zone_of
from engine.triggers.spec import Spec, faults
from engine.triggers.turns import Turn, first

LARGEST_CONFIG: Final = 1024 * 1024
"""Bytes of a config that is made over the API, its payload included."""
MOST_SHOWN: Final = 1_000
"""Slots that a preview shows at most."""
MOST_BACKFILLED: Final = 10_000
"""Slots that one backfill starts at most."""

_COLUMNS: Final = (
    "SELECT s.id, s.name, s.origin, s.kind, w.id, w.name, w.enabled, s.spec, s.slot, s.due, s.last_slot, s.paused_at, s.reason, "
    "s.created_at, s.updated_at FROM schedule s JOIN workflow w ON w.id = s.workflow_id AND w.deleted_at IS NULL "
)
_ONE: Final = (
    "SELECT s.id, s.name, s.kind, s.spec, s.epoch, s.slot, s.paused_at, s.origin, w.id, w.name, w.enabled, w.version_id, "
    "s.project_id FROM schedule s JOIN workflow w ON w.id = s.workflow_id AND w.deleted_at IS NULL "
    "WHERE s.project_id = ? AND s.id = ?"
)


class ScheduleInvalid(Invalid):
    """The schedule cannot be used as it is written."""

    code = "schedule.invalid"


class ScheduleUnknown(NotFound):
    """There is no such schedule."""

    code = "schedule.unknown"


class ScheduleOfDefinition(Conflict):
    """The schedule stands in its workflow's definition, and is changed there."""

    code = "schedule.of_definition"


class ScheduleOfAbsence(Conflict):
    """The schedule has no slots: it is due when no event has come for a while, or looks into a mailbox."""

    code = "schedule.of_absence"


@dataclass(frozen=True, slots=True)
class Found:
    """A schedule that somebody wants to do something with."""

    due: Due
    paused: bool
    origin: str

    @property
    def spec(self) -> Spec:
        """When it is due."""
        return self.due.spec


def check(config: Json) -> dict[str, Any]:
    """Return a config that can be used. Raises `ScheduleInvalid` with every mistake in it."""
    found: list[Json] = [
        {"pointer": "".join(f"/{each}" for each in error.instance_path), "message": error.message}
        for error in schema.of_trigger(SCHEDULE).iter_errors(config)
    ]
    if isinstance(config, dict):
        found += [
            {
                "pointer": "".join(f"/{each}" for each in fault.path),
                "message": fault.message,
                "hint": fault.hint,
            }
            for fault in faults(config)
        ]
    try:
        encode(config, LARGEST_CONFIG)
    except Fail as error:
        found.append({"pointer": "", "message": error.message.replace("output", "config")})
    if found or not isinstance(config, dict):
        raise ScheduleInvalid(errors=found)
    return config


def listing(
    connection: Connection,
    limit: int,
    *,
    workflow: str | None = None,
    after: str = "",
    project: str = DEFAULT_PROJECT,
) -> Page:
    """Return schedules in the order of their ids, those behind `after`; of one workflow, by id or name, or of all."""
    where, values = "WHERE s.project_id = ? AND s.id > ?", [project, after]
    if workflow is not None:
        where += " AND (w.id = ? OR w.name = ?)"
        values += [workflow, workflow]
    rows = connection.run(f"{_COLUMNS} {where} ORDER BY s.id LIMIT ?", (*values, limit + 1))
    return Page([_body(row) for row in rows[:limit]], str(rows[limit - 1][0]) if len(rows) > limit else None)


def show(connection: Connection, name: str, project: str = DEFAULT_PROJECT) -> Body:
    """Return a schedule. Raises `ScheduleUnknown`."""
    rows = connection.run(f"{_COLUMNS} WHERE s.project_id = ? AND s.id = ?", (project, name))
    if not rows:
        raise _unknown(name)
    return _body(rows[0])


def find(connection: Connection, versions: Versions, name: str, project: str = DEFAULT_PROJECT) -> Found:
    """Return a schedule of the clock's with what it starts. Raises `ScheduleUnknown` or `ScheduleOfAbsence`."""
    rows = connection.run(_ONE, (project, name))
    if not rows:
        raise _unknown(name)
    id_, title, kind, text, epoch, slot, paused_at, origin, *workflow = rows[0]
    if kind != SCHEDULE:
        raise ScheduleOfAbsence
    active: Active = versions.started(connection, *workflow)
    return Found(Due(id_, title, kind, text, epoch, slot or 0, active), paused_at is not None, origin)


def add(
    name: str,
    workflow: str,
    title: str,
    config: Mapping[str, Any],
    now: int,
    *,
    project: str = DEFAULT_PROJECT,
) -> Callable[[Connection], Body]:
    """Return the change that makes a schedule for a workflow, by its id or name."""
    begun = first(Spec.parse(config), name, now)

    def change(connection: Connection) -> Body:
        found = connection.run(
            "SELECT id FROM workflow WHERE project_id = ? AND hidden = 0 AND deleted_at IS NULL AND (id = ? OR name = ?)",
            (project, workflow, workflow),
        )
        if not found:
            message = f"There is no workflow {workflow!r}."
            raise NotFound(message, hint="celeriac workflows list shows what there is.")
        made = connection.run(
            "INSERT INTO schedule (id, project_id, workflow_id, name, origin, kind, spec, slot, due, created_at, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workflow_id, name) DO NOTHING RETURNING id",
            (
                name,
                project,
                found[0][0],
                title,
                API,
                SCHEDULE,
                stored(config),
                begun.slot,
                begun.due,
                now,
                now,
            ),
        )
        if not made:
            raise ScheduleNameTaken(hint=f"Take another name than {title}.")
        return show(connection, name, project)

    return change


def replace(
    name: str, config: Mapping[str, Any], now: int, *, project: str = DEFAULT_PROJECT
) -> Callable[[Connection], Body]:
    """Return the change that gives a schedule another config; what is past by its new slots is not made up for."""
    begun = first(Spec.parse(config), name, now)

    def change(connection: Connection) -> Body:
        _must_be_ours(connection, name, project)
        connection.run(
            "UPDATE schedule SET spec = ?, epoch = epoch + 1, updated_at = ?, "
            "slot = CASE WHEN paused_at IS NULL THEN CAST(? AS BIGINT) END, "
            "due = CASE WHEN paused_at IS NULL THEN CAST(? AS BIGINT) END WHERE id = ?",
            (stored(config), now, begun.slot, begun.due, name),
        )
        return show(connection, name, project)

    return change


def remove(name: str, project: str = DEFAULT_PROJECT) -> Callable[[Connection], None]:
    """Return the change that removes a schedule; what it has started goes on."""

    def change(connection: Connection) -> None:
        _must_be_ours(connection, name, project)
        connection.run("DELETE FROM inbox WHERE source = ?", (name,))
        connection.run("DELETE FROM schedule WHERE id = ?", (name,))

    return change


def pause(name: str, reason: str, now: int, project: str = DEFAULT_PROJECT) -> Callable[[Connection], Body]:
    """Return the change that lets a schedule start nothing until it is resumed."""

    def change(connection: Connection) -> Body:
        connection.run(
            "UPDATE schedule SET paused_at = coalesce(paused_at, CAST(? AS BIGINT)), reason = ?, slot = NULL, due = NULL, "
            "epoch = epoch + 1, updated_at = ? WHERE project_id = ? AND id = ?",
            (now, reason, now, project, name),
        )
        return show(connection, name, project)

    return change


def resume(name: str, now: int, project: str = DEFAULT_PROJECT) -> Callable[[Connection], Body]:
    """Return the change that lets a schedule go on with its next slot. What was due in the pause is not made up for."""

    def change(connection: Connection) -> Body:
        body = show(connection, name, project)
        if body["paused_at"] is not None:
            ((text, kind),) = connection.run("SELECT spec, kind FROM schedule WHERE id = ?", (name,))
            begun = begin(name, text, kind, now)
            connection.run(
                "UPDATE schedule SET paused_at = NULL, reason = '', slot = ?, due = ?, epoch = epoch + 1, updated_at = ? "
                "WHERE id = ?",
                (begun.slot, begun.due, now, name),
            )
        return show(connection, name, project)

    return change


def begin(name: str, text: str, kind: str, now: int) -> Turn:
    """Return where a schedule that has rested begins."""
    if kind == SCHEDULE:
        return first(spec_of(text), name, now)
    if kind == EMAIL:
        return Turn((), 0, now)
    due = now + round(seconds(json.loads(text)["absent_for"]) * 1000)
    return Turn((), due, due)


def arrivals(connection: Connection, name: str, limit: int) -> list[Body]:
    """Return what became of the latest slots."""
    rows = connection.run(
        "SELECT key, status, execution_id, detail, at FROM inbox WHERE source = ? ORDER BY at DESC, key DESC LIMIT ?",
        (name, limit),
    )
    return [
        {
            "slot": int(key) if key.isdigit() else key,
            "status": status,
            "execution": execution,
            "at": at,
            **({"error": json.loads(detail)} if detail else {}),
        }
        for key, status, execution, detail, at in rows
    ]


def preview(spec: Spec, name: str, after: int, count: int) -> list[Body]:
    """Return the next slots: as the clock on the wall shows them with its offset, in UTC, and when each is due."""
    zone = zone_of(spec.timezone)
    return [
        {
            "slot": slot,
            "at": rfc3339(slot),
            "local": datetime.fromtimestamp(slot / 1000, zone).isoformat(),
            "due": due_of(spec, name, slot),
        }
        for slot in next_slots(spec, after, count)
    ]


def _must_be_ours(connection: Connection, name: str, project: str) -> None:
    """Refuse to change what stands in a definition."""
    if show(connection, name, project)["origin"] == DEFINITION:
        raise ScheduleOfDefinition(hint="Change the definition and push it: celeriac push FILE.")


def _unknown(name: str) -> ScheduleUnknown:
    message = f"There is no schedule {name[:100]!r}."
    return ScheduleUnknown(message, hint="celeriac schedules list shows what there is.")


def _body(row: tuple[Any, ...]) -> Body:
    (
        id_,
        name,
        origin,
        kind,
        workflow,
        title,
        enabled,
        spec,
        slot,
        due,
        last_slot,
        paused_at,
        reason,
        created,
        updated,
    ) = row
    status = "active" if enabled else "disabled"
    if slot is None:
        status = "over" if kind == SCHEDULE else "resting"
    if paused_at is not None:
        status = "paused"
    return {
        "id": id_,
        "name": name,
        "workflow": {"id": workflow, "name": title},
        "kind": kind,
        "origin": origin,
        "status": status,
        "config": json.loads(spec),
        "next_slot": slot,
        "next_due": due,
        "last_slot": last_slot,
        "paused_at": paused_at,
        "reason": reason,
        "created_at": created,
        "updated_at": updated,
    }
