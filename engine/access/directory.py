"""From a token to a principal, without a look at the database for each request.

What was found is good for `FRESH` seconds, and what is changed in this process is forgotten at once. So another process goes on
for at most that long with what somebody might no longer do.
"""

from __future__ import annotations

import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from engine.access import keys, projects, tokens, users
from engine.access.principals import Place, Principal
from engine.approvals import NOBODY
from engine.clock import Clock
from engine.ledger import LedgerThread
from engine.reader import Reader
from engine.store.database import Connection

log = logging.getLogger(__name__)

FRESH: Final = 5.0
"""Seconds that a revoked token, key or role may still be good for in another process."""

KEPT: Final = 10_000
"""Principals that are remembered together; more than that many programs at once cost a look each."""

USED_MS: Final = 60_000
"""How exact `used_at` of a key is."""

T = TypeVar("T")

_SESSION: Final = (
    "SELECT s.id, s.access_until, a.id, a.name, a.owns FROM session s JOIN account a ON a.id = s.user_id "
    "WHERE s.access = ? AND s.revoked_at IS NULL AND a.active = 1"
)
_KEY: Final = (
    "SELECT k.id, k.name, k.scopes, k.expires_at, k.used_at, p.id, p.name, k.user_id, a.name, a.owns, a.active "
    "FROM api_key k JOIN project p ON p.id = k.project_id LEFT JOIN account a ON a.id = k.user_id "
    "WHERE k.hash = ? AND k.revoked_at IS NULL AND p.deleted_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class Known:
    """A principal, and until when its token is good (milliseconds since the epoch), if it is not for ever."""

    principal: Principal
    until: int | None = None
    used_at: int | None = None


class Directory:
    """The principals of one process. For one event loop."""

    def __init__(
        self,
        reader: Reader,
        ledger: LedgerThread,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._ledger = ledger
        self._clock = clock
        self._known: _Fresh[Known] = _Fresh(monotonic)
        self._places: _Fresh[Place] = _Fresh(monotonic)

    def remembered(self, token: str) -> Principal | None:
        """Return the principal of a token that was looked at a moment ago."""
        found = self._known.get(tokens.digest(token))
        return None if found is None else self._good(found)

    async def principal(self, token: str) -> Principal | None:
        """Return whose token this is; None when it is nobody's, or not any more. Raises `Unavailable`."""
        digest = tokens.digest(token)
        found = self._known.get(digest)
        if found is None:
            find = {f"{tokens.ACCESS}_": by_session, f"{tokens.KEY}_": by_key}.get(token[:4])
            if find is None or len(token) > tokens.LONGEST:
                return None
            era = self._known.era
            found = await self._reader.read(lambda connection: find(connection, digest))
            if found is None:
                return None
            self._known.put(digest, found, era)
            self._note_use(found)
        return self._good(found)

    async def project(self, reference: str) -> Place:
        """Return a project by id or name, for whoever may see all of them. Raises `ProjectUnknown`."""
        found = self._places.get(reference)
        if found is None:
            era = self._places.era
            body = await self._reader.read(lambda connection: projects.find(connection, reference))
            found = Place(str(body["id"]), str(body["name"]))
            self._places.put(reference, found, era)
        return found

    def drop(self, token: str) -> None:
        """Look again for one token."""
        self._known.drop(tokens.digest(token))

    def forget(self) -> None:
        """Look again for everybody: something was changed."""
        self._known.clear()
        self._places.clear()

    def _good(self, found: Known) -> Principal | None:
        if found.until is not None and found.until <= self._clock.now():
            return None
        return found.principal

    def _note_use(self, found: Known) -> None:
        now = self._clock.now()
        if found.principal.kind != "key" or (found.used_at or 0) > now - USED_MS:
            return
        done = self._ledger.submit(keys.used(found.principal.id, now))
        done.add_done_callback(_said)


def by_session(connection: Connection, digest: str) -> Known | None:
    """Return the user that an access token's session belongs to."""
    rows = connection.run(_SESSION, (digest,))
    if not rows:
        return None
    session, until, user, name, owns = rows[0]
    places = users.places(connection, user)
    return Known(Principal(user, name, "user", bool(owns), places, session), until)


def by_key(connection: Connection, digest: str) -> Known | None:
    """Return the program of a key: in its project it may do what its scopes say and its maker still may."""
    rows = connection.run(_KEY, (digest,))
    if not rows:
        return None
    key, title, scopes, until, used_at, project, name, user, maker, owns, active = rows[0]
    if user is not None and not active:
        return None
    theirs = None if user is None else users.places(connection, user).get(project)
    permissions = keys.permissions(json.loads(scopes), theirs, free=user is None or bool(owns))
    groups = frozenset() if theirs is None else theirs.groups
    place = Place(project, name, permissions, groups=groups)
    principal = Principal(key, f"{maker or NOBODY}/{title}", "key", places={project: place})
    return Known(principal, until, used_at)


class _Fresh(Generic[T]):
    """What was found a moment ago."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._found: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self.era = 0

    def get(self, key: Hashable) -> T | None:
        found = self._found.get(key)
        if found is None or found[0] <= self._monotonic():
            return None
        return found[1]

    def put(self, key: Hashable, value: T, era: int) -> None:
        """Keep it, unless something was changed since it was looked for in `era`."""
        if era != self.era:
            return
        self._found[key] = (self._monotonic() + FRESH, value)
        self._found.move_to_end(key)
        while len(self._found) > KEPT:
            self._found.popitem(last=False)

    def drop(self, key: Hashable) -> None:
        """Forget one, also if it is just being looked for."""
        self.era += 1
        self._found.pop(key, None)

    def clear(self) -> None:
        self.era += 1
        self._found.clear()


def _said(done: Any) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.debug("When a key was used was not kept: %s", error)
