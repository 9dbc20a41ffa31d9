"""The part of the client that is about what people are asked."""

from __future__ import annotations

from collections.abc import Mapping

from celeriac.client.asking import Asking, Body, part
from celeriac.outcomes import Json


class Approvals(Asking):
    """Requests about what people are asked."""

    async def approvals(
        self, *, status: str | None = None, mine: bool = False, limit: int = 50, cursor: str | None = None
    ) -> Body:
        """Return a page of approvals; with `mine` of those that wait for this client's voice."""
        query = {"status": status, "mine": "true" if mine else None, "limit": limit, "cursor": cursor}
        return await self._ask("GET", "/approvals", query=query)

    async def approval(self, name: str) -> Body:
        """Return an approval with what it asks, and who has said what."""
        return await self._ask("GET", f"/approvals/{part(name)}")

    async def decide(
        self, name: str, decision: Mapping[str, Json], *, principal: str | None = None, roles: str = ""
    ) -> Body:
        """Say `{decision, shown_hash, comment?, form?}` for a principal with these roles."""
        acting = {"X-Celeriac-Principal": principal, "X-Celeriac-Roles": roles}
        headers = {name: value for name, value in acting.items() if value}
        path = f"/approvals/{part(name)}/decide"
        return await self._ask("POST", path, body=dict(decision), headers=headers)

    async def create_approval_link(self, name: str, user: str, *, expires_in: int | None = None) -> Body:
        """Return a `url` by which a member decides on an approval without signing in, once; good for some seconds."""
        body: dict[str, Json] = {"user": user}
        if expires_in is not None:
            body["expires_in"] = expires_in
        return await self._ask("POST", f"/approvals/{part(name)}/links", body=body)

    async def linked_approval(self, token: str) -> Body:
        """Return the approval that a link is for. Looking changes nothing."""
        return await self._ask("GET", f"/approval-links/{part(token)}")

    async def decide_by_link(self, token: str, decision: Mapping[str, Json]) -> Body:
        """Say `{decision, shown_hash, comment?, form?}` as the person whom a link was made for."""
        return await self._ask("POST", f"/approval-links/{part(token)}/decide", body=dict(decision))
