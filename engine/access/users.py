"""Users: people with an account, and the projects they are members of.

A user is never deleted: rows remember who acted by name, and no later user may be taken for an earlier one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celeriac import Json
from engine.access.principals import KEEPER, Place, placed
from engine.approvals import NOBODY
from engine.errors import Conflict, Invalid, NotFound
from engine.listing import Body, Page
from engine.store.database import Connection

_NAME = re.compile(r"[a-z0-9_.@+-]{1,200}")
_RESERVED: Final = frozenset({NOBODY, KEEPER})
_COLUMNS: Final = "SELECT id, name, owns, active, created_at, updated_at, signed_in_at, password FROM account"


class UserUnknown(NotFound):
    """There is no such user."""

    code = "user.unknown"


class UserExists(Conflict):
    """There is a user of this name already, or there was one."""

    code = "user.exists"


class LastOwner(Conflict):
    """Nobody else could do what only the owner of an installation may."""

    code = "user.last_owner"


@dataclass(frozen=True, slots=True)
class User:
    """A user as the engine needs to know one. `password` is its hash; None until it is set."""

    id: str
    name: str
    owns: bool
    active: bool
    password: str | None
    body: Body


def named(text: object) -> str:
    """Return a name as it is kept, in small letters. Raises `Invalid`."""
    name = text.strip().lower() if isinstance(text, str) else ""
    if not _NAME.fullmatch(name) or name in _RESERVED:
        hint = f"Letters, digits and _ . @ + -, 200 at most, and not {' or '.join(sorted(_RESERVED))}."
        raise Invalid("`name` cannot be the name of a user.", hint=hint)
    return name


def listing(connection: Connection, limit: int, after: str = "") -> Page:
    """Return users by name, those behind the name `after`."""
    rows = connection.run(f"{_COLUMNS} WHERE name > ? ORDER BY name LIMIT ?", (after, limit + 1))
    found = [_user(row).body for row in rows[:limit]]
    return Page(found, str(rows[limit - 1][1]) if len(rows) > limit else None)


def by_name(connection: Connection, name: str) -> User | None:
    """Return the user of a name."""
    rows = connection.run(f"{_COLUMNS} WHERE name = ?", (name,))
    return _user(rows[0]) if rows else None


def find(connection: Connection, reference: str) -> User:
    """Return a user by id or name. Raises `UserUnknown`."""
    rows = connection.run(f"{_COLUMNS} WHERE id = ? OR name = ?", (reference, reference.lower()))
    if not rows:
        message = f"There is no user {reference!r}."
        raise UserUnknown(message, hint="celeriac users list shows who there is.")
    return _user(rows[0])


def anyone(connection: Connection) -> bool:
    """Whether there is a user at all."""
    return bool(connection.run("SELECT 1 FROM account LIMIT 1"))


def places(connection: Connection, user: str) -> dict[str, Place]:
    """Return the projects that a user is a member of, by id."""
    rows = connection.run(
        "SELECT p.id, p.name, m.roles, m.groups FROM member m JOIN project p ON p.id = m.project_id "
        "WHERE m.user_id = ? AND p.deleted_at IS NULL",
        (user,),
    )
    return {
        id_: placed(id_, name, frozenset(json.loads(roles)), frozenset(json.loads(groups)))
        for id_, name, roles, groups in rows
    }


def create(
    user: str, name: str, password: str | None, now: int, *, owns: bool
) -> Callable[[Connection], Body]:
    """Return the change that makes a user. It raises `UserExists`."""

    def change(connection: Connection) -> Body:
        if by_name(connection, name) is not None:
            message = f"There is a user {name!r} already."
            raise UserExists(message, hint="Names are never given a second time; choose another one.")
        connection.run(
            "INSERT INTO account (id, name, password, owns, active, created_at, updated_at) "
            "VALUES (?, ?, ?, ?, 1, ?, ?)",
            (user, name, password, int(owns), now, now),
        )
        return find(connection, user).body

    return change


def alter(
    reference: str, now: int, *, active: bool | None = None, owns: bool | None = None
) -> Callable[[Connection], Body]:
    """Return the change that (de)activates a user, or makes one an owner of the installation or not.

    Whoever is deactivated has no session any more. It raises `UserUnknown`, or `LastOwner` rather than lock everybody out.
    """

    def change(connection: Connection) -> Body:
        user = find(connection, reference)
        is_active = user.active if active is None else active
        is_owner = user.owns if owns is None else owns
        connection.run(
            "UPDATE account SET active = ?, owns = ?, updated_at = ? WHERE id = ?",
            (int(is_active), int(is_owner), now, user.id),
        )
        if (user.active and user.owns) and not (is_active and is_owner) and not _owned(connection):
            message = f"{user.name} is the last owner of the installation who can sign in."
            raise LastOwner(message, hint="Make somebody else an owner first.")
        if not is_active:
            end_sessions(connection, user.id, now)
        return find(connection, user.id).body

    return change


def set_password(
    user: str, password: str, now: int, *, keep: str | None = None
) -> Callable[[Connection], None]:
    """Return the change that sets a password's hash and ends the user's sessions, but for the one to `keep`."""

    def change(connection: Connection) -> None:
        connection.run("UPDATE account SET password = ?, updated_at = ? WHERE id = ?", (password, now, user))
        end_sessions(connection, user, now, keep=keep)

    return change


def renew_hash(user: str, before: str, password: str) -> Callable[[Connection], None]:
    """Return the change that stores the same password under a better hash."""

    def change(connection: Connection) -> None:
        connection.run(
            "UPDATE account SET password = ? WHERE id = ? AND password = ?", (password, user, before)
        )

    return change


def end_sessions(connection: Connection, user: str, now: int, *, keep: str | None = None) -> None:
    """End the sessions of a user, but for one."""
    connection.run(
        "UPDATE session SET revoked_at = ? WHERE user_id = ? AND revoked_at IS NULL AND id <> ?",
        (now, user, keep or ""),
    )


def _owned(connection: Connection) -> bool:
    return bool(connection.run("SELECT 1 FROM account WHERE owns = 1 AND active = 1 LIMIT 1"))


def _user(row: Sequence[Any]) -> User:
    id_, name, owns, active, created_at, updated_at, signed_in_at, password = row
    body: dict[str, Json] = {
        "id": id_,
        "name": name,
        "owns": bool(owns),
        "active": bool(active),
        "has_password": password is not None,
        "created_at": created_at,
        "updated_at": updated_at,
        "signed_in_at": signed_in_at,
    }
    return User(id_, name, bool(owns), bool(active), password, body)
