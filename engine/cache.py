"""What nodes keep between executions: rows of a project under a digest of their key, each until its time is over."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from celeriac import Fail, Json
from engine.encoding import decode, encode
from engine.errors import Unavailable
from engine.outside.scrub import scrub

if TYPE_CHECKING:
    from engine.performance import Services

_RECALL: Final = (
    "SELECT body FROM cache_entry WHERE project_id = ? AND digest = ? AND kept_at > ? AND expires_at > ?"
)
_KEEP: Final = (
    "INSERT INTO cache_entry (project_id, digest, kept_at, expires_at, body) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (project_id, digest) DO UPDATE "
    "SET kept_at = excluded.kept_at, expires_at = excluded.expires_at, body = excluded.body"
)


class Log(Protocol):
    """Writes a line to the history."""

    def __call__(self, message: str, level: str = "info", **fields: Json) -> None:
        """Write it."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of a project, as one call of a node has them: none older than `milliseconds`, and kept for as long."""

    services: Services
    project: str
    milliseconds: int
    log: Log
    secrets: Callable[[], Collection[str]]

    async def recall(self, key: str) -> Json:
        """Return what was kept under a key. Raises `Unavailable`: nothing was done by then, so the attempt is made later."""
        now = self.services.clock.now()
        asked = (self.project, _digest(key), now - self.milliseconds, now)
        rows = await self.services.reader.read(lambda connection: connection.run(_RECALL, asked))
        return decode(rows[0][0]) if rows else None

    async def keep(self, key: str, value: Json) -> bool:
        """Keep a value, the later of two in the place of the earlier one."""
        at, now = self.services, self.services.clock.now()
        try:
            text = encode(scrub(value, self.secrets()), at.settings.limits.cache_bytes)
            row = (self.project, _digest(key), now, now + self.milliseconds, text)
            await at.ledger.submit(lambda connection: connection.run(_KEEP, row))
        except (Fail, Unavailable) as error:
            self.log(f"This is not kept in the cache: {error.message}", "warning", code=error.code)
            return False
        return True


def entries(
    services: Services, project: str, seconds: float, log: Log, secrets: Callable[[], Collection[str]]
) -> Entries:
    """Return the entries of a project. Raises `Fail` (`cache.invalid_ttl`) for a time that nothing may be kept for."""
    longest = services.settings.limits.cache_ms
    if not 1 <= seconds * 1000 <= longest:
        message = (
            f"The cache keeps nothing for {seconds:,.15g} s: 1 ms is the least, and {longest / 1000:,.15g} s the most "
            "(CELERIAC_LIMIT_CACHE_MS)."
        )
        raise Fail("cache.invalid_ttl", message)
    return Entries(services, project, int(seconds * 1000), log, secrets)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
