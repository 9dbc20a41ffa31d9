"""The part of the client that is about workflows."""

from __future__ import annotations

from typing import cast

from celeriac.client.asking import Asking, Body, part
from celeriac.outcomes import Json


class Workflows(Asking):
    """Requests about workflows."""

    async def push(self, document: bytes) -> Body:
        """Save a definition. Raises `Refused` with every mistake in it."""
        return await self._ask("POST", "/workflows", raw=document)

    async def validate(self, document: bytes) -> Body:
        """Return `{valid, problems}`."""
        return await self._ask("POST", "/workflows/validate", raw=document)

    async def workflows(self, limit: int = 50, cursor: str | None = None) -> Body:
        """Return a page of workflows."""
        return await self._ask("GET", "/workflows", query={"limit": limit, "cursor": cursor})

    async def workflow(self, ref: str) -> Body:
        """Return a workflow with its document."""
        return await self._ask("GET", f"/workflows/{part(ref)}")

    async def versions(self, ref: str) -> list[Body]:
        """Return the versions of a workflow."""
        return cast("list[Body]", (await self._ask("GET", f"/workflows/{part(ref)}/versions"))["data"])

    async def diff(self, ref: str, before: int | None = None, after: int | None = None) -> Body:
        """Return what differs between two versions."""
        return await self._ask("GET", f"/workflows/{part(ref)}/diff", query={"from": before, "to": after})

    async def enable(self, ref: str) -> Body:
        """Let a workflow be started."""
        return await self._ask("POST", f"/workflows/{part(ref)}/enable")

    async def disable(self, ref: str) -> Body:
        """Keep a workflow from being started; what runs goes on."""
        return await self._ask("POST", f"/workflows/{part(ref)}/disable")

    async def execute(self, ref: str, payload: Json, *, key: str | None = None, wait: int = 0) -> Body:
        """Start a workflow; with `wait` seconds the execution has its result, or at least its `answer`, if that comes in time."""
        return await self._ask(
            "POST", f"/workflows/{part(ref)}/execute", body={"input": payload}, key=key, wait=wait
        )
