"""The part of the client that is about workflows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from celeriac.client.asking import Asking, Body, part
from celeriac.outcomes import Json


class Workflows(Asking):
    """Requests about workflows."""

    async def push(self, document: bytes, *, publish: bool = True) -> Body:
        """Save a definition; without `publish` it is only kept. Raises `Refused` with every mistake in it."""
        query = {} if publish else {"publish": "false"}
        return await self._ask("POST", "/workflows", query=query, raw=document)

    async def replace_workflow(self, ref: str, document: bytes, *, match: str = "*") -> Body:
        """Replace a workflow's definition, if it still has the ETag `match`."""
        return await self._ask("PUT", f"/workflows/{part(ref)}", raw=document, match=match)

    async def update_workflow(
        self, ref: str, change: Mapping[str, Json], *, match: str | None = None
    ) -> Body:
        """Change what a JSON Merge Patch names of a workflow's document."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return await self._ask(
            "PATCH", f"/workflows/{part(ref)}", body=dict(change), headers=headers, match=match
        )

    async def delete_workflow(self, ref: str, *, match: str | None = None) -> None:
        """Delete a workflow; it may be restored for a while."""
        await self._ask("DELETE", f"/workflows/{part(ref)}", match=match)

    async def restore_workflow(self, workflow: str) -> Body:
        """Bring a deleted workflow back, by its id; it is disabled."""
        return await self._ask("POST", f"/workflows/{part(workflow)}/restore")

    async def validate(self, document: bytes) -> Body:
        """Return `{valid, problems}`."""
        return await self._ask("POST", "/workflows/validate", raw=document)

    async def preview(self, document: bytes) -> Body:
        """Return what a definition compiles to: `{segments, mermaid, svg}`. Nothing is saved."""
        return await self._ask("POST", "/workflows/preview", raw=document)

    async def workflows(
        self,
        limit: int = 50,
        cursor: str | None = None,
        *,
        filters: Sequence[str] = (),
        sort: str | None = None,
        deleted: bool = False,
    ) -> Body:
        """Return a page of workflows: those that `filters` like `name:starts:order` leave, sorted by `field:asc` or `:desc`."""
        query: dict[str, str | int | Sequence[str] | None] = {
            "limit": limit,
            "cursor": cursor,
            "filter": filters or None,
            "sort": sort,
        }
        if deleted:
            query["deleted"] = "true"
        return await self._ask("GET", "/workflows", query=query)

    async def workflow(self, ref: str) -> Body:
        """Return a workflow with its document."""
        return await self._ask("GET", f"/workflows/{part(ref)}")

    async def versions(self, ref: str, limit: int = 50, cursor: str | None = None) -> Body:
        """Return a page of the versions of a workflow, the newest first."""
        query = {"limit": limit, "cursor": cursor}
        return await self._ask("GET", f"/workflows/{part(ref)}/versions", query=query)

    async def version(self, ref: str, number: int) -> Body:
        """Return a version with its document."""
        return await self._ask("GET", f"/workflows/{part(ref)}/versions/{number}")

    async def publish_version(self, ref: str, number: int, *, match: str | None = None) -> Body:
        """Make a version the active one."""
        path = f"/workflows/{part(ref)}/versions/{number}/publish"
        return await self._ask("POST", path, match=match)

    async def roll_back(self, ref: str, to: int | str | None = None, *, match: str | None = None) -> Body:
        """Make an earlier version the active one, by number or alias, or the one before."""
        body: Json = {} if to is None else {"to": to}
        return await self._ask("POST", f"/workflows/{part(ref)}/rollback", body=body, match=match)

    async def name_version(self, ref: str, alias: str, number: int, *, match: str | None = None) -> Body:
        """Name a version; the name may have been another version's."""
        path = f"/workflows/{part(ref)}/aliases/{part(alias)}"
        return await self._ask("PUT", path, body={"version": number}, match=match)

    async def forget_version_name(self, ref: str, alias: str, *, match: str | None = None) -> Body:
        """Take a name of a version away."""
        return await self._ask("DELETE", f"/workflows/{part(ref)}/aliases/{part(alias)}", match=match)

    async def diff(self, ref: str, before: int | None = None, after: int | None = None) -> Body:
        """Return what differs between two versions."""
        return await self._ask("GET", f"/workflows/{part(ref)}/diff", query={"from": before, "to": after})

    async def enable(self, ref: str) -> Body:
        """Let a workflow be started."""
        return await self._ask("POST", f"/workflows/{part(ref)}/enable")

    async def disable(self, ref: str) -> Body:
        """Keep a workflow from being started; what runs goes on."""
        return await self._ask("POST", f"/workflows/{part(ref)}/disable")

    async def execute(
        self,
        ref: str,
        payload: Json,
        *,
        version: int | str | None = None,
        key: str | None = None,
        wait: int = 0,
    ) -> Body:
        """Start a workflow, or a `version` of it by number or alias.

        With `wait` seconds the execution has its result, or at least its `answer`, if that comes in time.
        """
        body: dict[str, Json] = (
            {"input": payload} if version is None else {"input": payload, "version": version}
        )
        return await self._ask("POST", f"/workflows/{part(ref)}/execute", body=body, key=key, wait=wait)
