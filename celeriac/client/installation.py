"""The part of the client that is about the installation itself: whether it can do its work, and what its language is."""

from __future__ import annotations

from celeriac.client.asking import Asking, Body, part
from celeriac.outcomes import Json


class Installation(Asking):
    """Requests about the installation itself, and for whoever has an address of a wait."""

    async def health(self) -> Body:
        """Return how the installation stands: `{status, services, queues, overdue, attention, ...}`."""
        return await self._ask("GET", "/health", root="")

    async def openapi(self) -> Body:
        """Return the description of the API (OpenAPI 3.1)."""
        return await self._ask("GET", "/openapi.json")

    async def call_back(self, token: str, payload: Json = None) -> Body:
        """End a wait with what is sent along. `token` is the last part of the address that the wait gave away."""
        return await self._ask("POST", f"/callbacks/{part(token)}", body=payload)
