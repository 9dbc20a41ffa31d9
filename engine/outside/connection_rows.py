"""Stored connections: listed, saved, removed. Sealing is `connections`'s; here are only rows."""

from __future__ import annotations

import json
from collections.abc import Callable

from celeriac import Json
from engine.errors import Conflict, NotFound
from engine.outside.connections import SealedConnection
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection


def listing(connection: Connection, project: str = DEFAULT_PROJECT) -> list[dict[str, Json]]:
    """Return the connections by name, without their secrets, which nothing shows again."""
    rows = connection.run(
        "SELECT id, name, kind, hosts, created_at, updated_at FROM connection WHERE project_id = ? ORDER BY name",
        (project,),
    )
    return [
        {
            "id": id_,
            "name": name,
            "kind": kind,
            "hosts": json.loads(hosts),
            "created_at": created_at,
            "updated_at": updated_at,
        }
        for id_, name, kind, hosts, created_at, updated_at in rows
    ]


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


def remove(name: str, project: str = DEFAULT_PROJECT) -> Callable[[Connection], None]:
    """Return the change that removes a connection. It raises `NotFound`."""

    def change(connection: Connection) -> None:
        gone = connection.run(
            "DELETE FROM connection WHERE project_id = ? AND name = ? RETURNING id", (project, name)
        )
        if not gone:
            message = f"There is no connection {name!r}."
            raise NotFound(message, hint="celeriac connections list shows what there is.")

    return change
