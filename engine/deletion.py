"""Workflows that are deleted: nobody sees them and nothing starts them, but all of it is there until retention takes it, so
that one can be restored.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from engine.catalog import NameTaken
from engine.clock import Clock
from engine.errors import NotFound
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection
from engine.triggers import schedules
from engine.triggers.registration import take_shape


def delete(reference: str, now: int, project: str = DEFAULT_PROJECT) -> Callable[[Connection], str]:
    """Return the change after which nobody sees a workflow, its triggers start nothing, and its name and paths are free.

    What runs goes on to its end. It answers the workflow's id, and raises `NotFound`.
    """

    def change(connection: Connection) -> str:
        rows = connection.run(
            "SELECT id, name FROM workflow WHERE project_id = ? AND hidden = 0 AND deleted_at IS NULL "
            "AND (id = ? OR name = ?)",
            (project, reference, reference),
        )
        if not rows:
            message = f"There is no workflow {reference!r}."
            raise NotFound(message, hint="celeriac workflows list shows what there is.")
        name, title = rows[0]
        connection.run(
            "UPDATE workflow SET deleted_at = ?, updated_at = ?, enabled = 0, name = ? WHERE id = ?",
            (now, now, f"{title} (deleted, {name})", name),
        )
        connection.run(
            "UPDATE schedule SET slot = NULL, due = NULL, epoch = epoch + 1 WHERE workflow_id = ?", (name,)
        )
        connection.run("UPDATE endpoint SET shape = NULL WHERE workflow_id = ?", (name,))
        return str(name)

    return change


def restore(workflow: str, clock: Clock, project: str = DEFAULT_PROJECT) -> Callable[[Connection], str]:
    """Return the change that brings a deleted workflow back under its name, disabled, with its triggers as they were.

    What was due meanwhile is not made up for. It answers the id, and raises `NotFound`, `NameTaken` or `PathTaken`.
    """

    def change(connection: Connection) -> str:
        rows = connection.run(
            "SELECT w.name FROM workflow w WHERE w.project_id = ? AND w.id = ? AND w.deleted_at IS NOT NULL",
            (project, workflow),
        )
        if not rows:
            message = f"There is no deleted workflow {workflow!r}."
            raise NotFound(message, hint="Name it by its id: celeriac workflows list --deleted shows it.")
        title = str(rows[0][0]).removesuffix(f" (deleted, {workflow})")
        if connection.run("SELECT 1 FROM workflow WHERE project_id = ? AND name = ?", (project, title)):
            message = f"There is another workflow {title!r} by now."
            raise NameTaken(message, hint="Rename that one, or delete it first.")
        now = clock.now()
        connection.run(
            "UPDATE workflow SET deleted_at = NULL, updated_at = ?, name = ? WHERE id = ?",
            (now, title, workflow),
        )
        _begin_again(connection, workflow, now)
        return workflow

    return change


def _begin_again(connection: Connection, workflow: str, now: int) -> None:
    """Let the triggers of a workflow wait for what comes."""
    resting: list[tuple[Any, ...]] = connection.run(
        "SELECT id, spec, kind FROM schedule WHERE workflow_id = ? AND paused_at IS NULL", (workflow,)
    )
    for name, text, kind in resting:
        begun = schedules.begin(name, text, kind, now)
        connection.run(
            "UPDATE schedule SET slot = ?, due = ?, updated_at = ? WHERE id = ?",
            (begun.slot, begun.due, now, name),
        )
    for name, text in connection.run("SELECT id, config FROM endpoint WHERE workflow_id = ?", (workflow,)):
        path = json.loads(text).get("path")
        take_shape(connection, name, path if isinstance(path, str) else None)
