"""The part of the client that is about subscriptions: addresses that are told of events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from celeriac.client.asking import Asking, Body, part
from celeriac.outcomes import Json


class Subscriptions(Asking):
    """Requests about addresses that are told of events."""

    async def subscriptions(self) -> list[Body]:
        """Return the addresses that are told of events."""
        return cast("list[Body]", (await self._ask("GET", "/subscriptions"))["data"])

    async def subscribe(self, wish: Mapping[str, Json]) -> Body:
        """Have an address told of events: `{url, types?, workflow?, description?}`. The answer shows its secret, once."""
        return await self._ask("POST", "/subscriptions", body=dict(wish))

    async def subscription(self, name: str) -> Body:
        """Return a subscription."""
        return await self._ask("GET", f"/subscriptions/{part(name)}")

    async def change_subscription(self, name: str, changes: Mapping[str, Json]) -> Body:
        """Change `{url?, types?, workflow?, description?, enabled?}`."""
        return await self._ask("PATCH", f"/subscriptions/{part(name)}", body=dict(changes))

    async def rotate_subscription(self, name: str) -> Body:
        """Give a subscription a new secret, which the answer shows once. The old one signs too for a day."""
        return await self._ask("POST", f"/subscriptions/{part(name)}/rotate")

    async def test_subscription(self, name: str) -> Body:
        """Send an event of the type `webhook.test`."""
        return await self._ask("POST", f"/subscriptions/{part(name)}/test")

    async def deliveries(self, name: str, limit: int = 50, cursor: str | None = None) -> Body:
        """Return a page of what a subscription was told, the latest first."""
        query = {"limit": limit, "cursor": cursor}
        return await self._ask("GET", f"/subscriptions/{part(name)}/deliveries", query=query)

    async def redeliver(self, name: str, delivery: str) -> Body:
        """Send what was delivered or given up once more."""
        path = f"/subscriptions/{part(name)}/deliveries/{part(delivery)}/redeliver"
        return await self._ask("POST", path)

    async def unsubscribe(self, name: str) -> None:
        """Remove a subscription."""
        await self._ask("DELETE", f"/subscriptions/{part(name)}")
