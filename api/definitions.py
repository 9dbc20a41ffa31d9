"""Definitions that come in: checked, and saved as versions of workflows, with all that belongs to it in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from api import noting, principal
from api.problems import DefinitionInvalid
from api.state import State, of
from celeriac import Json
from engine import callees, catalog, listing, releases, workflow_queries
from engine.catalog import Pushed
from engine.checking import problems
from engine.store.database import Connection
from engine.triggers import endpoints
from engine.triggers.endpoints import Issued


async def checked(request: Request, raw: bytes) -> tuple[dict[str, Json] | None, list[problems.Problem]]:
    """Return a definition that may be used, and what is to be said about it; None when it has mistakes."""
    state = of(request)
    document, found = await asyncio.to_thread(_checked, state, raw)
    if document is not None:
        project, registry = principal.project(request), state.runtime.registry
        found = [
            *found,
            *await state.runtime.reader.read(
                lambda connection: callees.missing(connection, document, registry, project)
            ),
        ]
    return document, found


async def save(
    request: Request,
    raw: bytes,
    action: str,
    *,
    into: str | None = None,
    publish: bool = True,
    match: Sequence[str] | None = None,
) -> Response:
    """Save a definition as a version, into one workflow or under its name; refuse one that has mistakes.

    With `match` only while the workflow still has one of these entity tags.
    """
    state = of(request)
    document, found = await checked(request, raw)
    if document is None:
        raise DefinitionInvalid(found)
    project, clock = principal.project(request), state.runtime.clock

    def prepared() -> Any:
        registry = state.runtime.registry
        return catalog.push(document, registry, clock, project, into=into, publish=publish)

    push = await asyncio.to_thread(prepared)

    def change(connection: Connection) -> tuple[Pushed, list[Issued], str]:
        if into is not None:
            releases.expect(connection, into, match, project)
        pushed = push(connection)
        issue = endpoints.issue(pushed.workflow, lambda: state.sealing, clock.entropy, clock.now())
        return pushed, issue(connection), releases.tag(connection, pushed.workflow, project)

    pushed, issued, tag = await noting.change(
        request, change, action, str(document["name"]), lambda answer: ("done", _told(answer[0]))
    )
    body: dict[str, Any] = {
        "id": pushed.workflow,
        "name": document["name"],
        "version": {"id": pushed.version, "number": pushed.number},
        "created": pushed.created,
        "changed": pushed.changed,
        "active": pushed.active,
        "etag": tag,
        "warnings": [each.to_json() for each in found],
    }
    if issued:
        body["webhooks"] = [each.to_json(state.settings.public_base) for each in issued]
        body["webhook_url"] = body["webhooks"][0]["url"]
    headers = {"Location": f"/api/v1/workflows/{pushed.workflow}", "ETag": tag}
    return JSONResponse(body, 201 if pushed.created else 200, headers)


async def current(request: Request, ref: str) -> listing.Body:
    """Return a workflow as it is shown. Raises `NotFound`."""
    project = principal.project(request)
    found: listing.Body = await of(request).runtime.reader.read(
        lambda connection: workflow_queries.workflow(connection, ref, project)
    )
    return found


def _told(pushed: Pushed) -> dict[str, Json]:
    return {"id": pushed.workflow, "version": pushed.number, "changed": pushed.changed}


def _checked(state: State, raw: bytes) -> tuple[dict[str, Json] | None, list[problems.Problem]]:
    document, found = problems.check_text(raw, state.runtime.registry, state.settings.limits)
    if not isinstance(document, dict) or any(each.severity == "error" for each in found):
        return None, found
    return document, found
