"""Which version of a workflow is meant: published, rolled back to, and named by aliases; and whether it is still the one
that somebody has seen.

These functions run in the ledger's thread, each a whole change.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.catalog import locking
from engine.clock import Clock
from engine.definition import Workflow
from engine.errors import Conflict, Invalid, NotFound, PreconditionFailed
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection
from engine.triggers import registration

MOST_ALIASES: Final = 50
"""Names that versions of one workflow have at most."""

_ALIAS: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_ROW: Final = (
    "SELECT w.id, w.name, w.description, w.enabled, w.version_id, v.number FROM workflow w "
    "JOIN workflow_version v ON v.id = w.version_id WHERE w.project_id = ? AND w.deleted_at IS NULL "
    "AND (w.id = ? OR w.name = ?)"
)


class WorkflowChanged(PreconditionFailed):
    """The workflow is another one by now than the one you have seen; nothing was changed."""

    code = "workflow.changed"


class AliasUnknown(NotFound):
    """No version of the workflow has this name."""

    code = "workflow.alias_unknown"


class TooManyAliases(Conflict):
    """The workflow's versions have as many names as they may."""

    code = "workflow.too_many_aliases"


@dataclass(frozen=True, slots=True)
class Released:
    """A workflow and its active version."""

    workflow: str
    version: str
    number: int
    before: int


def alias_named(name: object) -> str:
    """Return the name of an alias. Raises `Invalid`."""
    if not isinstance(name, str) or not _ALIAS.fullmatch(name):
        hint = "A letter, then letters, digits and _ . -, 64 at most, like stable."
        raise Invalid("This cannot be the name of an alias.", hint=hint)
    return name


def aliases(connection: Connection, workflow: str) -> dict[str, int]:
    """Return the names that versions of a workflow have."""
    rows = connection.run(
        "SELECT name, number FROM workflow_alias WHERE workflow_id = ? ORDER BY name", (workflow,)
    )
    return {str(name): int(number) for name, number in rows}


def tag(connection: Connection, reference: str, project: str = DEFAULT_PROJECT) -> str:
    """Return the entity tag of a workflow (RFC 9110, section 8.8.3): another one as soon as it is.

    Raises `NotFound`.
    """
    row = _row(connection, reference, project)
    return tag_of(row, aliases(connection, row[0]))


def tag_of(row: Sequence[Any], names: dict[str, int]) -> str:
    """Return the entity tag of what a workflow is: its id, name, description, whether it is enabled, its version, its aliases."""
    shown = json.dumps([*row[:3], bool(row[3]), row[4], names], ensure_ascii=False)
    return f'"{hashlib.sha256(shown.encode()).hexdigest()[:24]}"'


def expect(
    connection: Connection, reference: str, wanted: Sequence[str] | None, project: str = DEFAULT_PROJECT
) -> None:
    """Refuse to go on unless a workflow has one of these entity tags; None and `*` stand for any. Raises `WorkflowChanged`."""
    if wanted is None or "*" in wanted:
        _row(connection, reference, project)
        return
    connection.run(
        f"SELECT id FROM workflow WHERE project_id = ? AND (id = ? OR name = ?){locking(connection)}",  # noqa: S608  words of ours
        (project, reference, reference),
    )
    current = tag(connection, reference, project)
    if current not in wanted:
        hint = "Look at it again, and repeat the change if it still makes sense."
        raise WorkflowChanged(hint=hint, etag=current)


def number_of(
    connection: Connection, reference: str, version: int | str, project: str = DEFAULT_PROJECT
) -> int:
    """Return the number of a version that is named by it or by an alias. Raises `NotFound` or `AliasUnknown`."""
    if isinstance(version, int):
        return version
    row = _row(connection, reference, project)
    found = connection.run(
        "SELECT number FROM workflow_alias WHERE workflow_id = ? AND name = ?", (row[0], version)
    )
    if not found:
        message = f"No version of {row[1]} is named {version!r}."
        raise AliasUnknown(message, hint="celeriac workflows show tells its aliases.")
    return int(found[0][0])


def publish(
    reference: str, version: int | str | None, clock: Clock, project: str = DEFAULT_PROJECT
) -> Callable[[Connection], Released]:
    """Return the change that makes a version the active one, with its triggers; None means the one before the active one.

    Whether the workflow is enabled stays as it is. What runs goes on as it began.
    """

    def change(connection: Connection) -> Released:
        row = _row(connection, reference, project)
        before = int(row[5])
        if version is None and before == 1:
            raise Invalid("There is no version before the first.", hint="Name the version: to.")
        number = before - 1 if version is None else number_of(connection, row[0], version, project)
        name, document = _version(connection, row, number)
        workflow = Workflow.parse({**document, "name": row[1]})
        connection.run(
            "UPDATE workflow SET version_id = ?, description = ?, updated_at = ? WHERE id = ?",
            (name, workflow.description, clock.now(), row[0]),
        )
        registration.prepare(workflow, clock, project)(connection, row[0])
        return Released(row[0], name, number, before)

    return change


def name_version(
    reference: str, alias: str, number: int, now: int, project: str = DEFAULT_PROJECT
) -> Callable[[Connection], str]:
    """Return the change that gives a version a name, which another may have had; it answers the workflow's id."""

    def change(connection: Connection) -> str:
        row = _row(connection, reference, project)
        _version(connection, row, number)
        known = aliases(connection, row[0])
        if alias not in known and len(known) >= MOST_ALIASES:
            message = f"The versions of {row[1]} have {MOST_ALIASES} names already."
            raise TooManyAliases(message, hint="Take one away first.")
        connection.run(
            "INSERT INTO workflow_alias (workflow_id, name, number, updated_at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (workflow_id, name) DO UPDATE SET number = excluded.number, updated_at = excluded.updated_at",
            (row[0], alias, number, now),
        )
        return str(row[0])

    return change


def forget_name(reference: str, alias: str, project: str = DEFAULT_PROJECT) -> Callable[[Connection], str]:
    """Return the change that takes a name away; it answers the workflow's id, or raises `AliasUnknown`."""

    def change(connection: Connection) -> str:
        row = _row(connection, reference, project)
        number_of(connection, row[0], alias, project)
        connection.run("DELETE FROM workflow_alias WHERE workflow_id = ? AND name = ?", (row[0], alias))
        return str(row[0])

    return change


def _row(connection: Connection, reference: str, project: str) -> tuple[Any, ...]:
    rows = connection.run(_ROW, (project, reference, reference))
    if not rows:
        message = f"There is no workflow {reference!r}."
        raise NotFound(message, hint="celeriac workflows list shows what there is.")
    return rows[0]


def _version(connection: Connection, row: Sequence[Any], number: int) -> tuple[str, dict[str, Any]]:
    found = connection.run(
        "SELECT id, document FROM workflow_version WHERE workflow_id = ? AND number = ?", (row[0], number)
    )
    if not found:
        message = f"The workflow {row[1]} has no version {number}."
        raise NotFound(message, hint="celeriac workflows versions shows what there is.")
    return str(found[0][0]), json.loads(found[0][1])
