"""Projects: what belongs together, and is seen by its members only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from celeriac import Json
from engine import budgets
from engine.access.principals import unknown
from engine.errors import Conflict, Invalid
from engine.listing import Body, Page
from engine.prices import dollars
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection

LONGEST_DESCRIPTION: Final = 4_000
LATEST: Final = 10_000
"""Executions that the figures of a project are about: the latest ones."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,99}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,199}")
_COLUMNS: Final = (
    "SELECT id, name, description, settings, created_at, updated_at, most_cost FROM project "
    "LEFT JOIN budget ON project_id = id AND scope = 'project'"
)


class ProjectExists(Conflict):
    """There is a project of this name already."""

    code = "project.exists"


class ProjectKept(Conflict):
    """The default project cannot be deleted."""

    code = "project.kept"


def named(name: object) -> str:
    """Return the name of a project. Raises `Invalid`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.startswith("proj_"):
        hint = "Letters, digits, blanks and _ . -, 100 at most, a letter or digit first, and not proj_."
        raise Invalid("`name` cannot be the name of a project.", hint=hint)
    return name


def described(text: object) -> str:
    """Return a description. Raises `Invalid`."""
    if not isinstance(text, str) or len(text) > LONGEST_DESCRIPTION or "\0" in text:
        message = f"`description` is a text of at most {LONGEST_DESCRIPTION:,} characters."
        raise Invalid(message)
    return text


def settings(given: object) -> dict[str, Json]:
    """Return the settings that are given; null takes one away. Raises `Invalid`.

    `budget_limit` is the project's budget in dollars, which is kept with the budgets.
    """
    if not isinstance(given, dict) or not set(given) <= {"default_model", "budget_limit"}:
        raise Invalid("`settings` is an object that may have `default_model` and `budget_limit`.")
    model, budget = given.get("default_model"), given.get("budget_limit")
    if model is not None and not (isinstance(model, str) and _MODEL.fullmatch(model)):
        raise Invalid("`default_model` is the name of a model, or null.", hint="For example gpt-4.")
    is_number = isinstance(budget, int | float) and not isinstance(budget, bool)
    if budget is not None and not (is_number and 0 <= budget <= budgets.LARGEST):
        message = f"`budget_limit` is a number of dollars from 0 to {budgets.LARGEST:,}, or null."
        raise Invalid(message)
    return dict(given)


def listing(
    connection: Connection, limit: int, after: str = "", among: Collection[str] | None = None
) -> Page:
    """Return projects by name, those behind the name `after`; only those `among` which are seen, if it is given."""
    where, values = ["deleted_at IS NULL", "name > ?"], [after]
    if among is not None:
        where.append(f"id IN ({', '.join('?' for _ in among) or 'NULL'})")
        values.extend(sorted(among))
    rows = connection.run(
        f"{_COLUMNS} WHERE {' AND '.join(where)} ORDER BY name LIMIT ?", (*values, limit + 1)
    )
    found = [_body(row) for row in rows[:limit]]
    return Page(found, str(rows[limit - 1][1]) if len(rows) > limit else None)


def find(connection: Connection, reference: str) -> Body:
    """Return a project by id or name. Raises `ProjectUnknown`."""
    rows = connection.run(
        f"{_COLUMNS} WHERE (id = ? OR name = ?) AND deleted_at IS NULL", (reference, reference)
    )
    if not rows:
        raise unknown(reference)
    return _body(rows[0])


def create(
    project: str, name: str, description: str, given: dict[str, Json], now: int
) -> Callable[[Connection], Body]:
    """Return the change that makes a project. It raises `ProjectExists`."""

    def change(connection: Connection) -> Body:
        _check_name(connection, project, name)
        connection.run(
            "INSERT INTO project (id, name, description, settings, created_at, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (project, name, description, _text({}, given), now, now),
        )
        _limit(connection, project, given, now)
        return find(connection, project)

    return change


def alter(
    project: str,
    now: int,
    *,
    name: str | None = None,
    description: str | None = None,
    given: dict[str, Json] | None = None,
) -> Callable[[Connection], Body]:
    """Return the change of what is given. It raises `ProjectExists` or `ProjectUnknown`."""

    def change(connection: Connection) -> Body:
        before = find(connection, project)
        if name is not None:
            _check_name(connection, project, name)
        known = before["settings"] if isinstance(before["settings"], dict) else {}
        connection.run(
            "UPDATE project SET name = ?, description = ?, settings = ?, updated_at = ? WHERE id = ?",
            (
                before["name"] if name is None else name,
                before["description"] if description is None else description,
                _text(known, given or {}),
                now,
                project,
            ),
        )
        _limit(connection, project, given or {}, now)
        return find(connection, project)

    return change


def delete(project: str, now: int) -> Callable[[Connection], None]:
    """Return the change after which nobody sees a project, nothing in it starts, nobody is told of it, and its name is free.

    What runs goes on to its end, and nothing is thrown away. It raises `ProjectKept` for the default project.
    """

    def change(connection: Connection) -> None:
        if project == DEFAULT_PROJECT:
            raise ProjectKept(hint="It is where everything goes that names no project. Delete what is in it.")
        name = find(connection, project)["name"]
        connection.run(
            "UPDATE project SET deleted_at = ?, updated_at = ?, name = ? WHERE id = ?",
            (now, now, f"{name} (deleted, {project})", project),
        )
        connection.run("UPDATE workflow SET enabled = 0 WHERE project_id = ?", (project,))
        connection.run(
            "UPDATE hook SET enabled = 0, reason = 'The project was deleted.', updated_at = ? "
            "WHERE project_id = ? AND enabled = 1",
            (now, project),
        )
        connection.run(
            "UPDATE api_key SET revoked_at = ? WHERE project_id = ? AND revoked_at IS NULL", (now, project)
        )

    return change


def stats(connection: Connection, project: str) -> Body:
    """Return figures: how many workflows, members and open approvals, and how the latest executions ended."""
    by_status = connection.run(
        "SELECT status, count(*) FROM (SELECT status FROM execution WHERE project_id = ? ORDER BY id DESC LIMIT ?) "
        "AS latest GROUP BY status ORDER BY status",
        (project, LATEST),
    )
    executions: dict[str, Json] = {str(status): count for status, count in by_status}
    return {
        "workflows": _count(connection, "workflow WHERE project_id = ? AND hidden = 0", project),
        "members": _count(connection, "member WHERE project_id = ?", project),
        "open_approvals": _count(connection, "approval WHERE project_id = ? AND status = 'open'", project),
        "executions": executions,
        "executions_counted": sum(count for _, count in by_status),
    }


def _count(connection: Connection, what: str, project: str) -> int:
    return int(connection.run(f"SELECT count(*) FROM {what}", (project,))[0][0])


def _check_name(connection: Connection, project: str, name: str) -> None:
    if connection.run("SELECT 1 FROM project WHERE name = ? AND id <> ?", (name, project)):
        message = f"There is a project {name!r} already, or you may not see it."
        raise ProjectExists(message, hint="Choose another name.")


def _limit(connection: Connection, project: str, given: dict[str, Json], now: int) -> None:
    if "budget_limit" in given:
        budgets.limit(connection, project, given["budget_limit"], now)  # type: ignore[arg-type]  # settings() saw to it


def _text(known: dict[str, Json], given: dict[str, Json]) -> str:
    merged = {key: value for key, value in {**known, **given}.items() if value is not None}
    merged.pop("budget_limit", None)
    return json.dumps(merged, separators=(",", ":"), sort_keys=True)


def _body(row: Sequence[Any]) -> Body:
    id_, name, description, settings_, created_at, updated_at, most_cost = row
    return {
        "id": id_,
        "name": name,
        "description": description,
        "settings": {"default_model": None, **json.loads(settings_), "budget_limit": dollars(most_cost)},
        "created_at": created_at,
        "updated_at": created_at if updated_at is None else updated_at,
    }
