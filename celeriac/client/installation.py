"""The part of the client that is about the installation itself: whether it can do its work, and what its language is."""

from __future__ import annotations

from typing import cast

from celeriac.client.asking import Asking, Body, part
from celeriac.outcomes import Json


class Installation(Asking):
    """Requests about the installation itself, and for whoever has an address of a wait."""

    async def health(self) -> Body:
        """Return how the installation stands: `{status, services, queues, overdue, attention, ...}`."""
        return await self._ask("GET", "/health", root="")

    async def node_types(self) -> list[Body]:
        """Return the node types of the installation."""
        return cast("list[Body]", (await self._ask("GET", "/node-types"))["data"])

    async def node_type(self, name: str) -> Body:
        """Return a node type, as `name` or `name@version`, with the JSON Schema of its config."""
        return await self._ask("GET", f"/node-types/{part(name)}")

    async def openapi(self) -> Body:
        """Return the description of the API (OpenAPI 3.1)."""
        return await self._ask("GET", "/openapi.json")

    async def call_back(self, token: str, payload: Json = None) -> Body:
        """End a wait with what is sent along. `token` is the last part of the address that the wait gave away."""
        return await self._ask("POST", f"/callbacks/{part(token)}", body=payload)
