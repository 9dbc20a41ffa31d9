"""The part of the client that is about what the clock starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from celeriac.client.asking import Asking, Body, part
from celeriac.outcomes import Json


class Schedules(Asking):
    """Requests about what the clock starts."""

    async def schedules(
        self, *, workflow: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Body:
        """Return a page of schedules."""
        query = {"workflow": workflow, "limit": limit, "cursor": cursor}
        return await self._ask("GET", "/schedules", query=query)

    async def schedule(self, name: str) -> Body:
        """Return a schedule."""
        return await self._ask("GET", f"/schedules/{part(name)}")

    async def add_schedule(self, workflow: str, name: str, config: Mapping[str, Json]) -> Body:
        """Make a schedule for a workflow; the config is that of a schedule trigger."""
        body: Json = {"workflow": workflow, "name": name, "config": dict(config)}
        return await self._ask("POST", "/schedules", body=body)

    async def replace_schedule(self, name: str, config: Mapping[str, Json]) -> Body:
        """Give a schedule another config."""
        return await self._ask("PUT", f"/schedules/{part(name)}", body={"config": dict(config)})

    async def remove_schedule(self, name: str) -> None:
        """Remove a schedule."""
        await self._ask("DELETE", f"/schedules/{part(name)}")

    async def pause_schedule(self, name: str, reason: str = "") -> Body:
        """Let a schedule start nothing until it is resumed."""
        return await self._ask("POST", f"/schedules/{part(name)}/pause", body={"reason": reason})

    async def resume_schedule(self, name: str) -> Body:
        """Let a schedule go on with its next slot."""
        return await self._ask("POST", f"/schedules/{part(name)}/resume")

    async def run_schedule(self, name: str, payload: Json = None, *, key: str | None = None) -> Body:
        """Start now what a schedule starts; return `{execution, new}`."""
        body: Json = {} if payload is None else {"payload": payload}
        return await self._ask("POST", f"/schedules/{part(name)}/run", body=body, key=key)

    async def backfill(self, name: str, wish: Mapping[str, Json]) -> Body:
        """Start what past slots stand for: `{from, to, overlap?, dry?}`."""
        return await self._ask("POST", f"/schedules/{part(name)}/backfill", body=dict(wish))

    async def preview_schedule(self, name: str, count: int = 10, after: str | None = None) -> list[Body]:
        """Return the next slots of a schedule."""
        query = {"count": count, "after": after}
        found = await self._ask("GET", f"/schedules/{part(name)}/preview", query=query)
        return cast("list[Body]", found["data"])

    async def preview_config(
        self, config: Mapping[str, Json], count: int = 10, after: str | None = None
    ) -> list[Body]:
        """Return the next slots that a config would have."""
        query = {"count": count, "after": after}
        body: Json = {"config": dict(config)}
        return cast(
            "list[Body]", (await self._ask("POST", "/schedules/preview", query=query, body=body))["data"]
        )

    async def slots(self, name: str, limit: int = 50) -> list[Body]:
        """Return what became of the latest slots of a schedule."""
        found = await self._ask("GET", f"/schedules/{part(name)}/slots", query={"limit": limit})
        return cast("list[Body]", found["data"])
