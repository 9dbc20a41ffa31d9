"""Members: which users are in a project, with which roles and in which groups."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from celeriac import Json
from engine.access import users
from engine.access.roles import HIGHEST, ROLES
from engine.errors import Conflict, Forbidden, Invalid, NotFound
from engine.listing import Body
from engine.nearest import nearest
from engine.store.database import Connection

_GROUP = re.compile(r"[A-Za-z0-9_.@+-]{1,200}")
_MOST_GROUPS: Final = 50
_COLUMNS: Final = (
    "SELECT a.id, a.name, a.active, m.roles, m.groups, m.created_at, m.updated_at "
    "FROM member m JOIN account a ON a.id = m.user_id "
)


class MemberUnknown(NotFound):
    """There is no such member."""

    code = "member.unknown"


class OwnersOnly(Forbidden):
    """Only an owner of a project gives or takes the role owner."""

    code = "member.owners_only"


class LastOwner(Conflict):
    """A project has an owner as long as it has had one."""

    code = "member.last_owner"


def roles(given: object) -> tuple[str, ...]:
    """Return roles, each of them once. Raises `Invalid`."""
    if not isinstance(given, list) or not given:
        message = "`roles` is a list of one or more roles."
        raise Invalid(message, hint=f"There are: {', '.join(ROLES)}.")
    for each in given:
        if not isinstance(each, str) or each not in ROLES:
            near = nearest(str(each), list(ROLES))
            message = f"There is no role {str(each)[:64]!r}."
            raise Invalid(
                message, hint=f"Did you mean {near}?" if near else f"There are: {', '.join(ROLES)}."
            )
    return tuple(name for name in ROLES if name in given)


def groups(given: object) -> tuple[str, ...]:
    """Return the groups that approvals may ask for. Raises `Invalid`."""
    if (
        not isinstance(given, list)
        or len(given) > _MOST_GROUPS
        or not all(isinstance(each, str) and _GROUP.fullmatch(each) for each in given)
    ):
        message = f"`groups` is a list of at most {_MOST_GROUPS} names."
        raise Invalid(message, hint="A name has letters, digits and _ . @ + -, 200 at most.")
    return tuple(sorted(set(map(str, given))))


def listing(connection: Connection, project: str) -> list[Body]:
    """Return who is in a project, by name."""
    rows = connection.run(f"{_COLUMNS} WHERE m.project_id = ? ORDER BY a.name LIMIT 10000", (project,))
    return [_body(row) for row in rows]


def put(
    project: str,
    reference: str,
    now: int,
    given: Sequence[str],
    named: Sequence[str] | None,
    *,
    by_owner: bool,
) -> Callable[[Connection], Body]:
    """Return the change that lets a user in, or changes the roles and groups of a member.

    It raises `UserUnknown`, `OwnersOnly` or `LastOwner`.
    """

    def change(connection: Connection) -> Body:
        user = users.find(connection, reference)
        before = _roles(connection, project, user.id)
        _check_owner(connection, project, user.id, before or (), given, by_owner=by_owner)
        if before is None:
            connection.run(
                "INSERT INTO member (project_id, user_id, roles, groups, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (project, user.id, json.dumps(given), json.dumps(list(named or ())), now, now),
            )
        else:
            connection.run(
                "UPDATE member SET roles = ?, updated_at = ? WHERE project_id = ? AND user_id = ?",
                (json.dumps(given), now, project, user.id),
            )
            if named is not None:
                connection.run(
                    "UPDATE member SET groups = ? WHERE project_id = ? AND user_id = ?",
                    (json.dumps(list(named)), project, user.id),
                )
        rows = connection.run(f"{_COLUMNS} WHERE m.project_id = ? AND a.id = ?", (project, user.id))
        return _body(rows[0])

    return change


def remove(project: str, reference: str, *, by_owner: bool) -> Callable[[Connection], str]:
    """Return the change that takes a member out; it answers the user's id. It raises `MemberUnknown` and as `put` does."""

    def change(connection: Connection) -> str:
        rows = connection.run(
            "SELECT a.id FROM member m JOIN account a ON a.id = m.user_id "
            "WHERE m.project_id = ? AND (a.id = ? OR a.name = ?)",
            (project, reference, reference.lower()),
        )
        if not rows:
            message = f"There is no member {reference!r} in the project."
            raise MemberUnknown(message, hint="celeriac projects members shows who is in it.")
        user = str(rows[0][0])
        before = _roles(connection, project, user) or ()
        _check_owner(connection, project, user, before, (), by_owner=by_owner)
        connection.run("DELETE FROM member WHERE project_id = ? AND user_id = ?", (project, user))
        return user

    return change


def _check_owner(
    connection: Connection,
    project: str,
    user: str,
    before: Sequence[str],
    after: Sequence[str],
    *,
    by_owner: bool,
) -> None:
    if (HIGHEST in before) == (HIGHEST in after):
        return
    if not by_owner:
        raise OwnersOnly(hint="Ask an owner of the project.")
    if HIGHEST in before and not any(
        HIGHEST in json.loads(each)
        for (each,) in connection.run(
            "SELECT roles FROM member WHERE project_id = ? AND user_id <> ?", (project, user)
        )
    ):
        raise LastOwner(hint="Make somebody else an owner first.")


def _roles(connection: Connection, project: str, user: str) -> list[str] | None:
    rows = connection.run("SELECT roles FROM member WHERE project_id = ? AND user_id = ?", (project, user))
    if not rows:
        return None
    found: list[str] = json.loads(rows[0][0])
    return found


def _body(row: Sequence[Any]) -> Body:
    id_, name, active, roles_, groups_, created_at, updated_at = row
    body: dict[str, Json] = {
        "user": {"id": id_, "name": name, "active": bool(active)},
        "roles": json.loads(roles_),
        "groups": json.loads(groups_),
        "created_at": created_at,
        "updated_at": updated_at,
    }
    return body
