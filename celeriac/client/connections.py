"""The part of the client that is about credentials of nodes, which go in and never come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from celeriac.client.asking import Asking, Body, part
from celeriac.outcomes import Json


class Connections(Asking):
    """Requests about credentials of nodes, which go in and never come out."""

    async def connections(self) -> list[Body]:
        """Return the connections, without their secrets."""
        return cast("list[Body]", (await self._ask("GET", "/connections"))["data"])

    async def connection(self, name: str) -> Body:
        """Return a connection, without its secrets."""
        return await self._ask("GET", f"/connections/{part(name)}")

    async def add_connection(self, connection: Mapping[str, Json]) -> Body:
        """Store `{name, kind, hosts, values, replace?}`."""
        return await self._ask("POST", "/connections", body=dict(connection))

    async def connection_kinds(self) -> list[Body]:
        """Return the kinds of connections, with the JSON Schema of the fields of each."""
        return cast("list[Body]", (await self._ask("GET", "/connection-kinds"))["data"])

    async def test_connection(self, name: str) -> Body:
        """Try a connection; return `{ok, message, code?, ms}`."""
        return await self._ask("POST", f"/connections/{part(name)}/test")

    async def reseal_connections(self) -> Body:
        """Seal every connection under the current secret key; return `{resealed, closed}`."""
        return await self._ask("POST", "/connections/reseal")

    async def remove_connection(self, name: str) -> None:
        """Remove a connection."""
        await self._ask("DELETE", f"/connections/{part(name)}")
