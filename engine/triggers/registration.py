"""The triggers of a version that becomes the active one, written down in the transaction that makes it so.

What is the same as before stays as it is: a schedule that nobody has changed keeps its next slot, and stays paused if it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.clock import Clock
from engine.definition import Trigger, Workflow
from engine.store.database import Connection
from engine.triggers.spec import Spec
from engine.triggers.turns import first

DEFINITION: Final = "definition"
"""The origin of what stands in a definition; what people make over the API is from there."""


@dataclass(frozen=True, slots=True)
class _Schedule:
    """A schedule to be written. `text` is its stored form."""

    id: str
    name: str
    text: str
    slot: int | None
    due: int | None


def prepare(workflow: Workflow, clock: Clock, project: str) -> Callable[[Connection, str], None]:
    """Return the change that registers the triggers of a workflow, which it is handed the id of."""
    now = clock.now()
    schedules = [_schedule(each, clock, now) for each in workflow.triggers if each.type == "schedule"]

    def change(connection: Connection, workflow_id: str) -> None:
        _write_schedules(connection, schedules, project, workflow_id, now)

    return change


def stored(config: Mapping[str, Any]) -> str:
    """Return a config as it is stored: two that mean the same are the same text."""
    return json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _schedule(trigger: Trigger, clock: Clock, now: int) -> _Schedule:
    name = clock.mint("sched")
    begun = first(Spec.parse(trigger.config), name, now)
    return _Schedule(name, trigger.id, stored(trigger.config), begun.slot, begun.due)


def _write_schedules(
    connection: Connection, schedules: list[_Schedule], project: str, workflow: str, now: int
) -> None:
    rows = connection.run(
        "SELECT name, id, spec, paused_at FROM schedule WHERE workflow_id = ? AND origin = ?",
        (workflow, DEFINITION),
    )
    known = {name: fields for name, *fields in rows}
    for each in schedules:
        if each.name not in known:
            connection.run(
                "INSERT INTO schedule (id, project_id, workflow_id, name, origin, kind, spec, slot, due, created_at, "
                "updated_at) VALUES (?, ?, ?, ?, ?, 'schedule', ?, ?, ?, ?, ?)",
                (each.id, project, workflow, each.name, DEFINITION, each.text, each.slot, each.due, now, now),
            )
            continue
        name, text, paused_at = known.pop(each.name)
        if text != each.text:
            slot, due = (each.slot, each.due) if paused_at is None else (None, None)
            connection.run(
                "UPDATE schedule SET spec = ?, epoch = epoch + 1, slot = ?, due = ?, updated_at = ? WHERE id = ?",
                (each.text, slot, due, now, name),
            )
    for name, *_ in known.values():
        connection.run("DELETE FROM inbox WHERE source = ?", (name,))
        connection.run("DELETE FROM schedule WHERE id = ?", (name,))
