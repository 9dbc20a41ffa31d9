"""The part of the client that is about where requests from outside arrive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from celeriac.client.asking import Asking, Body, part
from celeriac.outcomes import Json


class Webhooks(Asking):
    """Requests about where requests from outside arrive."""

    async def webhooks(
        self, *, workflow: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Body:
        """Return a page of webhooks and forms."""
        query = {"workflow": workflow, "limit": limit, "cursor": cursor}
        return await self._ask("GET", "/webhooks", query=query)

    async def webhook(self, name: str) -> Body:
        """Return a webhook, without its secrets."""
        return await self._ask("GET", f"/webhooks/{part(name)}")

    async def add_webhook(self, workflow: str, name: str, config: Mapping[str, Json]) -> Body:
        """Make a webhook for a workflow. The answer shows its secrets, once."""
        body: Json = {"workflow": workflow, "name": name, "config": dict(config)}
        return await self._ask("POST", "/webhooks", body=body)

    async def remove_webhook(self, name: str) -> None:
        """Remove a webhook."""
        await self._ask("DELETE", f"/webhooks/{part(name)}")

    async def rotate_webhook(self, name: str, *, secret: str | None = None, keep: str | None = None) -> Body:
        """Give a webhook a new secret, or this one; the one before counts for a while. The answer shows it, once."""
        given: dict[str, Json] = {"secret": secret, "keep": keep}
        body: Json = {key: value for key, value in given.items() if value is not None}
        return await self._ask("POST", f"/webhooks/{part(name)}/rotate", body=body)

    async def enable_webhook(self, name: str) -> Body:
        """Let requests arrive."""
        return await self._ask("POST", f"/webhooks/{part(name)}/enable")

    async def disable_webhook(self, name: str) -> Body:
        """Let no requests arrive."""
        return await self._ask("POST", f"/webhooks/{part(name)}/disable")

    async def webhook_deliveries(self, name: str, limit: int = 50) -> list[Body]:
        """Return the latest deliveries of a webhook."""
        found = await self._ask("GET", f"/webhooks/{part(name)}/deliveries", query={"limit": limit})
        return cast("list[Body]", found["data"])

    async def test_webhook(
        self, name: str, payload: Json = None, parameters: Mapping[str, str] | None = None
    ) -> Body:
        """Deliver a payload to a webhook as a sender would."""
        body: Json = {"payload": payload, "parameters": {**(parameters or {})}}
        return await self._ask("POST", f"/webhooks/{part(name)}/test", body=body)
