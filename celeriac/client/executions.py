"""The part of the client that is about executions and what is done with them while they run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import cast

from celeriac.client.asking import Asking, Body, part, refused
from celeriac.outcomes import Json


class Executions(Asking):
    """Requests about executions and what is done with them while they run."""

    async def executions(
        self,
        *,
        workflow: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Body:
        """Return a page of executions."""
        query = {"workflow": workflow, "status": status, "limit": limit, "cursor": cursor}
        return await self._ask("GET", "/executions", query=query)

    async def execution(self, name: str, *, with_input: bool = False, wait: int = 0) -> Body:
        """Return an execution; with `wait` seconds when it has ended, if it does in that time."""
        query = {"include": "input"} if with_input else {}
        return await self._ask("GET", f"/executions/{part(name)}", query=query, wait=wait)

    async def report(self, ref: str, name: str) -> Body:
        """Return an execution of a workflow with its result and its log."""
        return await self._ask("GET", f"/workflows/{part(ref)}/executions/{part(name)}")

    async def events(self, name: str, after: int = 0, *, types: str = "") -> list[Body]:
        """Return the whole history of an execution so far, behind a sequence number; only of the `types` that are named."""
        found: list[Body] = []
        while True:
            query = {"after": after, "types": types or None}
            page = await self._ask("GET", f"/executions/{part(name)}/events", query=query)
            found.extend(page["data"])
            if not page["data"]:
                return found
            after = found[-1]["seq"]

    async def follow(self, name: str, after: int = 0, *, types: str = "") -> AsyncIterator[Body]:
        """Yield events as they happen, until the execution has ended; and pieces of what models say, which have no `seq`.

        Only those of the `types` that are named, such as `node.*,execution.*`, if any are.
        """
        path = f"/api/v1/executions/{part(name)}/events"
        headers = {"Accept": "text/event-stream"}
        try:
            async with self._http.stream(
                "GET",
                path,
                params={"after": after, "types": types},
                headers=headers,
                timeout=60.0,
            ) as answer:
                if answer.status_code >= 400:
                    await answer.aread()
                    raise refused(answer)
                async for line in answer.aiter_lines():
                    if line.startswith("data: {") and line != "data: {}":
                        yield json.loads(line.removeprefix("data: "))
        except self._lost as error:
            raise self._unreachable(error) from error

    async def nodes(self, name: str, *, with_output: bool = False) -> list[Body]:
        """Return what became of each node."""
        query = {"include": "output"} if with_output else {}
        found = await self._ask("GET", f"/executions/{part(name)}/nodes", query=query)
        return cast("list[Body]", found["data"])

    async def node(self, name: str, node: str, *, item: str = "") -> Body:
        """Return one run of a node: its config, what that reads, what it came to, and what it has told."""
        query = {"item": item} if item else {}
        return await self._ask("GET", f"/executions/{part(name)}/nodes/{part(node)}", query=query)

    async def why(self, name: str) -> Body:
        """Return what an execution waits for and what holds it: `{status, summary, waits, more}`."""
        return await self._ask("GET", f"/executions/{part(name)}/why")

    async def steps(self, name: str) -> Body:
        """Return what became of the steps of a playbook: `{status, steps, estimated_success, actual_success}`."""
        return await self._ask("GET", f"/executions/{part(name)}/steps")

    async def cancel(self, name: str, reason: str = "", *, force: bool = False) -> Body:
        """Ask an execution to stop; with `force` without what its scopes do in their end."""
        body: Body = {"reason": reason, "force": force}
        return await self._ask("POST", f"/executions/{part(name)}/cancel", body=body)

    async def pause(self, name: str) -> Body:
        """Hold an execution."""
        return await self._ask("POST", f"/executions/{part(name)}/pause")

    async def resume(self, name: str) -> Body:
        """Let a held execution go on."""
        return await self._ask("POST", f"/executions/{part(name)}/resume")

    async def retry(
        self, name: str, *, from_failure: bool = False, key: str | None = None, wait: int = 0
    ) -> Body:
        """Start an ended execution's version on its input once more; `from_failure` keeps what had ended well."""
        body: Json = {"from": "failure"} if from_failure else None
        return await self._ask("POST", f"/executions/{part(name)}/retry", body=body, key=key, wait=wait)

    async def fork(
        self, name: str, wish: Mapping[str, Json], *, key: str | None = None, wait: int = 0
    ) -> Body:
        """Start an execution that keeps what another came to: `{from, version?, edits?, dry?}`."""
        return await self._ask("POST", f"/executions/{part(name)}/fork", body=dict(wish), key=key, wait=wait)

    async def skip(self, name: str, node: str, wish: Mapping[str, Json]) -> Body:
        """Go on without a node: `{item?, output?, reason?}`."""
        return await self._ask("POST", f"/executions/{part(name)}/nodes/{part(node)}/skip", body=dict(wish))

    async def cancel_node(self, name: str, node: str, wish: Mapping[str, Json]) -> Body:
        """Let a node fail: `{item?, reason?}`."""
        return await self._ask("POST", f"/executions/{part(name)}/nodes/{part(node)}/cancel", body=dict(wish))

    async def items(self, name: str, node: str, wish: Mapping[str, Json]) -> Body:
        """Change a map that runs: `{add?, cancel?, complete?, item?, reason?}`."""
        return await self._ask("POST", f"/executions/{part(name)}/nodes/{part(node)}/items", body=dict(wish))

    async def attention(self, limit: int = 50, cursor: str | None = None) -> Body:
        """Return a page of what waits for a person's word."""
        return await self._ask("GET", "/attention", query={"limit": limit, "cursor": cursor})

    async def resolve(self, execution: str, segment: int, decision: Mapping[str, Json]) -> Body:
        """Say what became of a segment: `{decision, output?, item?, node?}`."""
        path = f"/executions/{part(execution)}/segments/{segment}/resolve"
        return await self._ask("POST", path, body=dict(decision))
