"""The part of the client that is about events: published, followed, and told to subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from celeriac.client.asking import Asking, Body, part
from celeriac.outcomes import Json


class Events(Asking):
    """Requests about events: published, followed, and told to subscriptions."""

    async def publish(self, event: Mapping[str, Json]) -> Body:
        """Publish `{type, correlation?, data?, id?}` or a CloudEvent; return `{id, duplicate, woken, started}`."""
        return await self._ask("POST", "/events", body=dict(event))

    async def event_triggers(self, *, limit: int = 50, cursor: str | None = None) -> Body:
        """Return a page of the triggers of workflows that wait for events."""
        return await self._ask("GET", "/events/triggers", query={"limit": limit, "cursor": cursor})

    async def event_arrivals(self, trigger: str, limit: int = 50) -> list[Body]:
        """Return what became of the latest events at a trigger."""
        path = f"/events/triggers/{part(trigger)}/arrivals"
        return cast("list[Body]", (await self._ask("GET", path, query={"limit": limit}))["data"])

    async def feed(
        self, after: str | None = None, *, topic: str = "project", types: str = "", limit: int = 100
    ) -> Body:
        """Return `{data, cursor, has_more}`: events of all executions behind a cursor, or from the beginning."""
        query = {"after": after, "topic": topic, "types": types or None, "limit": limit}
        return await self._ask("GET", "/events", query=query)
