"""The way out of a process: its guarded HTTP client, and the connections of its projects, opened for one call each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Protocol

from engine.outside.addresses import Policy
from engine.outside.connections import SealedConnection, open_connection, unknown
from engine.outside.egress import Egress, OpenLink
from engine.outside.sealing import SealingKey
from engine.reader import Reader
from engine.settings import Settings
from engine.store.database import Connection

if TYPE_CHECKING:
    import httpx2

_FIND = (
    "SELECT id, project_id, name, kind, hosts, sealed, created_at, updated_at FROM connection "
    "WHERE project_id = ? AND name = ?"
)
_NAMES = "SELECT name FROM connection WHERE project_id = ?"


LOCAL: Final = "local"
"""The connection to the models of this machine, which nobody has to store."""


class Models(Protocol):
    """The models of this machine."""

    def link(self) -> OpenLink:
        """Return an opened connection to them."""


class Outside:
    """What nodes of this process reach the world through."""

    def __init__(
        self, settings: Settings, reader: Reader, secret: bytes, models: Models | None = None
    ) -> None:
        self._models = models
        self._egress = Egress(Policy.parse(settings.egress_allow))
        self._reader = reader
        self._key = SealingKey.of(secret)

    def client(self) -> httpx2.AsyncClient:
        """Return a guarded client with no credential, and with cookies of its own: a call leaves nothing to the next."""
        return self._egress.client()

    async def connect(self, project: str, name: str) -> tuple[OpenLink, frozenset[str]]:
        """Open a connection for one call; return it and the texts that must not appear in what the call gives back."""
        if name == LOCAL and self._models is not None:
            return self._models.link(), frozenset()
        sealed = await self._reader.read(lambda connection: find(connection, project, name))
        credential = open_connection(sealed, self._key)
        return self._egress.link(credential), credential.secrets

    async def end(self) -> None:
        """Close every network connection."""
        await self._egress.aclose()


def find(connection: Connection, project: str, name: str) -> SealedConnection:
    """Read a stored connection. Raises `Fail` (`connection.unknown`) with the nearest name."""
    rows = connection.run(_FIND, (project, name))
    if not rows:
        raise unknown(name, (row[0] for row in connection.run(_NAMES, (project,))))
    fields = rows[0]
    id_, project_id, title, kind, hosts, sealed, created_at, updated_at = fields
    return SealedConnection(
        id_, project_id, title, kind, tuple(json.loads(hosts)), bytes(sealed), created_at, updated_at
    )
