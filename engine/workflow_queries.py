"""What people ask of workflows and their versions. Reading only; the catalogue writes.

Each function is a query of one connection, for `Reader.read`. Everything comes back as JSON, times in milliseconds since
the epoch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from celeriac import Json
from engine import releases
from engine.errors import NotFound
from engine.listing import Body, Column, Order, Page, conditions
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection
from engine.store.sql import Row

_WORKFLOW = (
    "SELECT w.id, w.name, w.description, w.enabled, w.created_at, w.updated_at, v.id, v.number, w.deleted_at "
    "FROM workflow w JOIN workflow_version v ON v.id = w.version_id "
)

_BEYOND: Final = 2**31 - 1
"""No version has this number."""


WORKFLOWS: Final[Mapping[str, Column]] = {
    "name": Column("w.name", "text"),
    "created_at": Column("w.created_at", "number"),
    "updated_at": Column("w.updated_at", "number"),
    "enabled": Column("w.enabled", "flag"),
}
"""What workflows are sorted and narrowed down by."""
_BY_NAME: Final = Order("name", WORKFLOWS["name"], down=False)


def workflows(
    connection: Connection,
    limit: int,
    *,
    by: Order = _BY_NAME,
    filters: Sequence[str] = (),
    behind: tuple[Json, str] | None = None,
    deleted: bool = False,
    project: str = DEFAULT_PROJECT,
) -> Page:
    """Return workflows in an order, those behind a position; those that are deleted, or those that are not. Raises `Invalid`."""
    where, values = conditions(filters, WORKFLOWS)
    if behind is not None:
        clause, position = by.behind("w.id", behind)
        where, values = [*where, clause], [*values, *position]
    there = f"w.deleted_at IS {'NOT ' if deleted else ''}NULL"
    clauses = " AND ".join(["w.project_id = ? AND w.hidden = 0", there, *where])
    found = connection.run(
        f"{_WORKFLOW} WHERE {clauses} ORDER BY {by.clause('w.id')} LIMIT ?", (project, *values, limit + 1)
    )
    rows = [_workflow_body(row) for row in found[:limit]]
    if len(found) <= limit:
        return Page(rows, None)
    last = rows[-1][by.field]
    return Page(rows, [str(by), int(last) if isinstance(last, bool) else last, rows[-1]["id"]])


def workflow(connection: Connection, reference: str, project: str = DEFAULT_PROJECT) -> Body:
    """Return a workflow by id or name, with the document of its active version, its aliases and its entity tag.

    Raises `NotFound`.
    """
    row = _workflow_row(connection, reference, project)
    (text,) = connection.run("SELECT document FROM workflow_version WHERE id = ?", (row[6],))[0]
    names = releases.aliases(connection, row[0])
    written = json.loads(text)
    # What stands outside of `definition` belongs to the workflow and not to its version.
    if written.get("description", "") != row[2]:
        written["description"] = row[2]
    written["name"] = row[1]
    if written.get("enabled", True) != bool(row[3]):
        written["enabled"] = bool(row[3])
    listed: dict[str, Json] = {**names}
    return {
        **_workflow_body(row),
        "aliases": listed,
        "etag": releases.tag_of([*row[:4], row[6]], names),
        "document": written,
    }


def version(connection: Connection, reference: str, number: int, project: str = DEFAULT_PROJECT) -> Body:
    """Return a version of a workflow with its document. Raises `NotFound`."""
    row = _workflow_row(connection, reference, project)
    number, written = document(connection, reference, number, project)
    found = connection.run(
        "SELECT id, number, hash, created_at FROM workflow_version WHERE workflow_id = ? AND number = ?",
        (row[0], number),
    )
    return {**_version_body(found[0], row[6]), "document": written}


def workflow_id(connection: Connection, reference: str, project: str = DEFAULT_PROJECT) -> str:
    """Return the id of a workflow that is named by it or by its name. Raises `NotFound`."""
    return str(_workflow_row(connection, reference, project)[0])


def versions(
    connection: Connection,
    reference: str,
    limit: int,
    before: int | None = None,
    project: str = DEFAULT_PROJECT,
) -> Page:
    """Return the versions of a workflow, the newest first, those before a number. Raises `NotFound`."""
    row = _workflow_row(connection, reference, project)
    found = connection.run(
        "SELECT id, number, hash, created_at FROM workflow_version WHERE workflow_id = ? AND number < ? "
        "ORDER BY number DESC LIMIT ?",
        (row[0], _BEYOND if before is None else before, limit + 1),
    )
    rows = [_version_body(each, row[6]) for each in found[:limit]]
    return Page(rows, found[limit - 1][1] if len(found) > limit else None)


def document(
    connection: Connection, reference: str, number: int | None, project: str = DEFAULT_PROJECT
) -> tuple[int, dict[str, Json]]:
    """Return a version's number and document; without a number the active one. Raises `NotFound`."""
    row = _workflow_row(connection, reference, project)
    number = row[7] if number is None else number
    found = connection.run(
        "SELECT document FROM workflow_version WHERE workflow_id = ? AND number = ?", (row[0], number)
    )
    if not found:
        message = f"The workflow {row[1]} has no version {number}."
        raise NotFound(message, hint=f"It has versions 1 to {_newest(connection, row[0])}.")
    return int(number), json.loads(found[0][0])


def _workflow_row(connection: Connection, reference: str, project: str) -> Row:
    rows = connection.run(
        _WORKFLOW + "WHERE w.project_id = ? AND w.deleted_at IS NULL AND (w.id = ? OR w.name = ?)",
        (project, reference, reference),
    )
    if not rows:
        message = f"There is no workflow {reference!r}."
        raise NotFound(message, hint="celeriac workflows list shows what there is.")
    return rows[0]


def _workflow_body(row: Sequence[Any]) -> Body:
    id_, name, description, enabled, created_at, updated_at, version, number, deleted_at = row
    body: Body = {
        "id": id_,
        "name": name,
        "description": description,
        "enabled": bool(enabled),
        "version": {"id": version, "number": number},
        "created_at": created_at,
        "updated_at": updated_at,
    }
    return body if deleted_at is None else {**body, "deleted_at": deleted_at}


def _version_body(row: Sequence[Any], active: str) -> Body:
    id_, number, digest, at = row
    return {"id": id_, "number": number, "hash": digest, "created_at": at, "active": id_ == active}


def _newest(connection: Connection, workflow_id: str) -> int:
    return int(
        connection.run("SELECT max(number) FROM workflow_version WHERE workflow_id = ?", (workflow_id,))[0][0]
    )
