"""Stored connections: found, listed, saved, removed. Sealing is `connections`'s; here are only rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from celeriac import Json
from engine.errors import Conflict, NotFound
from engine.outside.connections import SealedConnection
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection

_OF_PROJECT: Final = (
    "SELECT id, project_id, name, kind, hosts, sealed, created_at, updated_at, last_used_at, tested_at, failure "
    "FROM connection WHERE project_id = ?"
)
_NAMED: Final = _OF_PROJECT + " AND name = ?"
_BY_NAME: Final = _OF_PROJECT + " ORDER BY name"


def listing(connection: Connection, project: str = DEFAULT_PROJECT) -> list[SealedConnection]:
    """Return the connections by name."""
    rows = connection.run(_BY_NAME, (project,))
    return [_of(row) for row in rows]


def find(connection: Connection, name: str, project: str = DEFAULT_PROJECT) -> SealedConnection | None:
    """Return a connection, if there is one of this name."""
    rows = connection.run(_NAMED, (project, name))
    return _of(rows[0]) if rows else None


def save(sealed: SealedConnection, *, replace: bool) -> Callable[[Connection], None]:
    """Return the change that stores a connection. It raises `Conflict` for a name that is taken, unless `replace`."""

    def change(connection: Connection) -> None:
        known = connection.run(
            "SELECT id FROM connection WHERE project_id = ? AND name = ?", (sealed.project_id, sealed.name)
        )
        if known and not replace:
            message = f"There is a connection {sealed.name!r} already."
            raise Conflict(message, hint="Choose another name, or say that it is to be replaced.")
        connection.run(
            "DELETE FROM connection WHERE project_id = ? AND name = ?", (sealed.project_id, sealed.name)
        )
        connection.run(
            "INSERT INTO connection (id, project_id, name, kind, hosts, sealed, created_at, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                sealed.id,
                sealed.project_id,
                sealed.name,
                sealed.kind,
                json.dumps(sealed.hosts),
                sealed.sealed,
                sealed.created_at,
                sealed.updated_at,
            ),
        )

    return change


def reseal(known: SealedConnection, sealed: bytes) -> Callable[[Connection], bool]:
    """Return the change that exchanges what is sealed, if nobody else has since; it returns whether it did."""

    def change(connection: Connection) -> bool:
        changed = connection.run(
            "UPDATE connection SET sealed = ? WHERE id = ? AND sealed = ? RETURNING id",
            (sealed, known.id, known.sealed),
        )
        return bool(changed)

    return change


def used(connection_id: str, now: int) -> Callable[[Connection], None]:
    """Return the change that notes a connection's use."""

    def change(connection: Connection) -> None:
        connection.run("UPDATE connection SET last_used_at = ? WHERE id = ?", (now, connection_id))

    return change


def tested(connection_id: str, failure: Mapping[str, Json] | None, now: int) -> Callable[[Connection], None]:
    """Return the change that notes what a test of a connection came to; no failure is success."""

    def change(connection: Connection) -> None:
        text = None if failure is None else json.dumps(failure)
        connection.run(
            "UPDATE connection SET tested_at = ?, failure = ? WHERE id = ?", (now, text, connection_id)
        )

    return change


def remove(name: str, project: str = DEFAULT_PROJECT) -> Callable[[Connection], None]:
    """Return the change that removes a connection. It raises `NotFound`."""

    def change(connection: Connection) -> None:
        gone = connection.run(
            "DELETE FROM connection WHERE project_id = ? AND name = ? RETURNING id", (project, name)
        )
        if not gone:
            raise missing(name)

    return change


def missing(name: str) -> NotFound:
    """Return the error of a request for a connection that is not there."""
    return NotFound(
        f"There is no connection {name!r}.", hint="celeriac connections list shows what there is."
    )


def _of(row: tuple[Any, ...]) -> SealedConnection:
    id_, project, name, kind, hosts, sealed, created_at, updated_at, last_used_at, tested_at, failure = row
    return SealedConnection(
        id_,
        project,
        name,
        kind,
        tuple(json.loads(hosts)),
        bytes(sealed),
        created_at,
        updated_at,
        last_used_at,
        tested_at,
        None if failure is None else json.loads(failure),
    )
