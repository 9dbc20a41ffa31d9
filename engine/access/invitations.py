"""Invitations: tokens that work once. Whoever has one sets a user's password, or becomes the first user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.access import tokens, users
from engine.errors import Forbidden
from engine.store.database import Connection

LASTS_MS: Final = 24 * 3_600_000


class InvitationUnusable(Forbidden):
    """The invitation is none, has been used, or has expired."""

    code = "invitation.unusable"


def issue(token: str, user: str | None, now: int) -> Callable[[Connection], int]:
    """Return the change that keeps an invitation in the place of earlier ones to the same; it answers when it expires."""

    def change(connection: Connection) -> int:
        if user is None:
            connection.run("DELETE FROM invitation WHERE user_id IS NULL")
        else:
            connection.run("DELETE FROM invitation WHERE user_id = ?", (user,))
        connection.run(
            "INSERT INTO invitation (hash, user_id, created_at, expires_at) VALUES (?, ?, ?, ?)",
            (tokens.digest(token), user, now, now + LASTS_MS),
        )
        return now + LASTS_MS

    return change


def look(connection: Connection, token: str, now: int) -> str | None:
    """Return the name of the user an invitation is for; None when it is for the first user. Raises `InvitationUnusable`."""
    user = _open(connection, token, now)
    return None if user is None else users.find(connection, user).name


def accept(
    token: str, password: str, now: int, *, new: str, name: str | None
) -> Callable[[Connection], users.User]:
    """Return the change that uses an invitation up and sets a password; without a user it makes one called `name`.

    It raises `InvitationUnusable`: also once there is a user, for an invitation to be the first.
    """

    def change(connection: Connection) -> users.User:
        user = _open(connection, token, now)
        if user is None:
            if users.anyone(connection) or name is None:
                raise InvitationUnusable
            users.create(new, name, password, now, owns=True)(connection)
            connection.run("DELETE FROM invitation WHERE user_id IS NULL")
            return users.find(connection, new)
        connection.run("DELETE FROM invitation WHERE user_id = ?", (user,))
        users.set_password(user, password, now)(connection)
        return users.find(connection, user)

    return change


def _open(connection: Connection, token: str, now: int) -> str | None:
    rows = connection.run(
        "SELECT i.user_id, a.active FROM invitation i LEFT JOIN account a ON a.id = i.user_id "
        "WHERE i.hash = ? AND i.expires_at > ?",
        (tokens.digest(token), now),
    )
    if not rows or rows[0][1] == 0:
        raise InvitationUnusable(hint="Ask for a new one: celeriac users invite NAME")
    return None if rows[0][0] is None else str(rows[0][0])
