"""Variables of a project: values that its workflows read, and that are no secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from celeriac import Fail, Json
from engine.encoding import encode
from engine.errors import Conflict, Invalid, NotFound
from engine.listing import Body
from engine.store.database import Connection

MOST: Final = 500
LARGEST: Final = 32 * 1024
"""Variables of one project, and bytes of the JSON of one."""

TOGETHER: Final = 256 * 1024
"""Characters of the JSON of all of them: an execution keeps those that it reads."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class VariableUnknown(NotFound):
    """The project has no such variable."""

    code = "variable.unknown"


def named(name: str) -> str:
    """Return the name of a variable, which expressions can use. Raises `Invalid`."""
    if not _NAME.fullmatch(name):
        hint = "A letter or underscore, then letters, digits and underscores, 64 at most."
        raise Invalid(f"{name[:64]!r} cannot be the name of a variable.", hint=hint)
    return name


def listing(connection: Connection, project: str) -> list[Body]:
    """Return the variables of a project by name."""
    rows = connection.run(
        "SELECT name, value, created_at, updated_at FROM variable WHERE project_id = ? ORDER BY name",
        (project,),
    )
    return [
        {"name": name, "value": json.loads(value), "created_at": created_at, "updated_at": updated_at}
        for name, value, created_at, updated_at in rows
    ]


def put(project: str, name: str, value: Json, now: int) -> Callable[[Connection], bool]:
    """Return the change that sets a variable; it answers whether it is new. Raises `Invalid` for what cannot be kept."""
    try:
        text = encode(value, LARGEST)
    except Fail as error:
        raise Invalid(error.message.replace("output", "value")) from None

    def change(connection: Connection) -> bool:
        count, size = connection.run(
            "SELECT count(*), coalesce(sum(length(value)), 0) FROM variable WHERE project_id = ? AND name <> ?",
            (project, name),
        )[0]
        if size + len(text) > TOGETHER:
            message = f"The variables of the project would have more than {TOGETHER:,} characters together."
            raise Conflict(message, hint="Keep data elsewhere: what a workflow reads, each execution keeps.")
        there = connection.run(
            "UPDATE variable SET value = ?, updated_at = ? WHERE project_id = ? AND name = ? RETURNING name",
            (text, now, project, name),
        )
        if there:
            return False
        if count >= MOST:
            message = f"The project has {MOST} variables already."
            raise Conflict(message, hint="Remove those that nobody reads.")
        connection.run(
            "INSERT INTO variable (project_id, name, value, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
            (project, name, text, now, now),
        )
        return True

    return change


def remove(project: str, name: str) -> Callable[[Connection], None]:
    """Return the change that removes a variable. It raises `VariableUnknown`."""

    def change(connection: Connection) -> None:
        gone = connection.run(
            "DELETE FROM variable WHERE project_id = ? AND name = ? RETURNING name", (project, name)
        )
        if not gone:
            message = f"The project has no variable {name!r}."
            raise VariableUnknown(message, hint="celeriac variables list shows what there is.")

    return change
