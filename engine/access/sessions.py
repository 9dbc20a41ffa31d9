"""Sessions: one login each, with a short token to act with and a long one that renews both.

Renewing is idempotent for a moment: the new tokens follow from the old one and the installation's secret, so two tabs that
renew at once get the same, and nobody who reads the database gets any. A token that was renewed longer ago and comes again
was stolen, from whoever used it first or second; so the session ends for both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from engine.access import tokens
from engine.listing import Body
from engine.store.database import Connection

ACCESS_MS: Final = 10 * 60_000
LASTS_MS: Final = 30 * 86_400_000
"""How long a token may be used to act, and how long a session lasts at most, however often it is renewed."""

GRACE_MS: Final = 10_000
"""How long the token before stays good for the same renewal."""

Method = Literal["password", "invitation"]
"""How somebody proved who it is. Whatever else proves it, or has to be proved besides, opens a session in the same way."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A session and its tokens, which are not kept anywhere. `access_until` and `until` are milliseconds since the epoch."""

    session: str
    user: str
    access: str = field(repr=False)
    refresh: str = field(repr=False)
    access_until: int
    until: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Why a session was not renewed. `reused` says that its token had been renewed before, and the session has ended."""

    user: str | None
    session: str | None
    reused: bool


def open_(
    key: bytes,
    session: str,
    user: str,
    method: Method,
    random: bytes,
    now: int,
    address: str,
    agent: str,
) -> tuple[Opened, Callable[[Connection], None]]:
    """Return a new session of a user, and the change that keeps it."""
    refresh = tokens.refresh(session, random)
    opened = _opened(key, session, user, refresh, now, now + LASTS_MS)

    def change(connection: Connection) -> None:
        connection.run(
            "INSERT INTO session (id, user_id, method, access, access_until, refresh, rotated_at, until, address, "
            "agent, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                session,
                user,
                method,
                tokens.digest(opened.access),
                opened.access_until,
                tokens.digest(refresh),
                now,
                opened.until,
                address[:100],
                agent[:200],
                now,
            ),
        )
        connection.run("UPDATE account SET signed_in_at = ? WHERE id = ?", (now, user))

    return opened, change


def renew(key: bytes, token: str, now: int) -> Callable[[Connection], Opened | Lost]:
    """Return the change that renews a session by its refresh token; it answers the new tokens, or why there are none."""
    session = tokens.session_of(token) or ""
    digest = tokens.digest(token)
    following = tokens.refresh(session, tokens.derived(key, "refresh", token))

    def change(connection: Connection) -> Opened | Lost:
        rows = connection.run(
            "SELECT s.user_id, s.refresh, s.previous, s.rotated_at, s.until, s.revoked_at, a.active "
            "FROM session s JOIN account a ON a.id = s.user_id WHERE s.id = ?",
            (session,),
        )
        if not rows:
            return Lost(None, None, reused=False)
        user, current, previous, rotated_at, until, revoked_at, active = rows[0]
        if revoked_at is not None or until <= now or not active:
            return Lost(user, session, reused=False)
        opened = _opened(key, session, user, following, now, until)
        if digest == current and _advance(connection, opened, digest, now):
            return opened
        if digest == current:
            return opened  # another process has renewed it since the look above
        if digest == previous and now - rotated_at <= GRACE_MS:
            return _opened(key, session, user, following, rotated_at, until)
        connection.run("UPDATE session SET revoked_at = ? WHERE id = ?", (now, session))
        return Lost(user, session, reused=True)

    return change


def access_of(key: bytes, refresh: str) -> str:
    """Return the access token that was given together with a refresh token."""
    return tokens.make(tokens.ACCESS, tokens.derived(key, "access", refresh))


def end(session: str, user: str, now: int) -> Callable[[Connection], bool]:
    """Return the change that ends a session of a user; it answers whether there was one."""

    def change(connection: Connection) -> bool:
        return bool(
            connection.run(
                "UPDATE session SET revoked_at = ? WHERE id = ? AND user_id = ? AND revoked_at IS NULL RETURNING id",
                (now, session, user),
            )
        )

    return change


def listing(connection: Connection, user: str, now: int) -> list[Body]:
    """Return a user's sessions that are alive, the latest first."""
    rows = connection.run(
        "SELECT id, method, address, agent, created_at, rotated_at, until FROM session "
        "WHERE user_id = ? AND revoked_at IS NULL AND until > ? ORDER BY id DESC LIMIT 200",
        (user, now),
    )
    names = ("id", "method", "address", "agent", "created_at", "renewed_at", "until")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _advance(connection: Connection, opened: Opened, before: str, now: int) -> bool:
    return bool(
        connection.run(
            "UPDATE session SET previous = refresh, refresh = ?, access = ?, access_until = ?, rotated_at = ? "
            "WHERE id = ? AND refresh = ? AND revoked_at IS NULL RETURNING id",
            (
                tokens.digest(opened.refresh),
                tokens.digest(opened.access),
                opened.access_until,
                now,
                opened.session,
                before,
            ),
        )
    )


def _opened(key: bytes, session: str, user: str, refresh: str, now: int, until: int) -> Opened:
    return Opened(session, user, access_of(key, refresh), refresh, min(now + ACCESS_MS, until), until)
