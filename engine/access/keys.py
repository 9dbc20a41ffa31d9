"""API keys: how programs prove themselves. A key is shown once, belongs to one project, and never may more than its maker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from engine.access import tokens
from engine.access.principals import Place
from engine.access.roles import PERMISSIONS, ROLES, Permission, expanded
from engine.errors import Conflict, Forbidden, Invalid, NotFound
from engine.listing import Body
from engine.nearest import nearest
from engine.store.database import Connection

MOST: Final = 500
"""Keys of one project that are good."""

_COLUMNS: Final = (
    "SELECT k.id, k.name, k.hint, k.scopes, a.name, k.created_at, k.expires_at, k.used_at, k.revoked_at "
    "FROM api_key k LEFT JOIN account a ON a.id = k.user_id "
)


class KeyUnknown(NotFound):
    """There is no such API key."""

    code = "api_key.unknown"


class TooMuch(Forbidden):
    """A key cannot be given what its maker may not do."""

    code = "api_key.too_much"


def scopes(given: object, place: Place, *, owns: bool) -> tuple[str, ...]:
    """Return what a key shall be for, each a permission or a role. Raises `Invalid`, or `TooMuch` for more than one's own."""
    known = [*(each for each in PERMISSIONS if not each.startswith("installation:")), *ROLES]
    if not isinstance(given, list) or not given or len(given) > 100:
        message = "`scopes` is a list of what the key is for."
        raise Invalid(
            message, hint="For example execution:start, or the role operator for all that it may do."
        )
    for each in given:
        if each not in known:
            near = nearest(str(each), known)
            hint = f"Did you mean {near}?" if near else f"There are: {', '.join(known)}."
            message = f"`scopes` has {str(each)[:64]!r}, which is neither a permission nor a role."
            raise Invalid(message, hint=hint)
    more = sorted(expanded(map(str, given)) - place.permissions)
    if more and not owns:
        message = f"You may not do {more[0]} in this project, so your keys cannot."
        raise TooMuch(message, hint="Leave it out of `scopes`.", permission=more[0])
    return tuple(dict.fromkeys(map(str, given)))


def create(
    key: str,
    token: str,
    project: str,
    name: str,
    wanted: Sequence[str],
    user: str | None,
    now: int,
    expires_at: int | None,
) -> Callable[[Connection], Body]:
    """Return the change that keeps a key. It raises `Conflict` when the project has too many."""

    def change(connection: Connection) -> Body:
        ((count,),) = connection.run(
            "SELECT count(*) FROM api_key WHERE project_id = ? AND revoked_at IS NULL", (project,)
        )
        if count >= MOST:
            message = f"The project has {MOST} API keys already."
            raise Conflict(message, hint="Revoke those that nobody uses: celeriac keys list")
        connection.run(
            "INSERT INTO api_key (id, project_id, name, hash, hint, scopes, user_id, created_at, expires_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                key,
                project,
                name,
                tokens.digest(token),
                token[:10],
                json.dumps(list(wanted)),
                user,
                now,
                expires_at,
            ),
        )
        return find(connection, key, project)

    return change


def listing(connection: Connection, project: str) -> list[Body]:
    """Return the keys of a project, the latest first, without the keys themselves."""
    rows = connection.run(f"{_COLUMNS} WHERE k.project_id = ? ORDER BY k.id DESC LIMIT 1000", (project,))
    return [_body(row) for row in rows]


def find(connection: Connection, key: str, project: str) -> Body:
    """Return one key. Raises `KeyUnknown`."""
    rows = connection.run(f"{_COLUMNS} WHERE k.id = ? AND k.project_id = ?", (key, project))
    if not rows:
        message = f"There is no API key {key!r}."
        raise KeyUnknown(message, hint="celeriac keys list shows what there is.")
    return _body(rows[0])


def revoke(key: str, project: str, now: int) -> Callable[[Connection], Body]:
    """Return the change that revokes a key for ever. It raises `KeyUnknown`; once more changes nothing."""

    def change(connection: Connection) -> Body:
        connection.run(
            "UPDATE api_key SET revoked_at = ? WHERE id = ? AND project_id = ? AND revoked_at IS NULL",
            (now, key, project),
        )
        return find(connection, key, project)

    return change


def used(key: str, now: int) -> Callable[[Connection], None]:
    """Return the change that remembers when a key was used."""

    def change(connection: Connection) -> None:
        connection.run("UPDATE api_key SET used_at = ? WHERE id = ?", (now, key))

    return change


def permissions(wanted: Iterable[str], maker: Place | None, *, free: bool) -> frozenset[Permission]:
    """Return what a key may do now: its scopes, as far as its maker may do them too, unless it is `free` of one."""
    found = expanded(wanted)
    if free:
        return found
    return found & maker.permissions if maker is not None else frozenset()


def _body(row: Sequence[Any]) -> Body:
    id_, name, hint, scopes_, maker, created_at, expires_at, used_at, revoked_at = row
    return {
        "id": id_,
        "name": name,
        "hint": hint,
        "scopes": json.loads(scopes_),
        "created_by": maker,
        "created_at": created_at,
        "expires_at": expires_at,
        "used_at": used_at,
        "revoked_at": revoked_at,
    }
