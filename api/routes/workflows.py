"""Workflows: definitions that are saved, looked at, compared, enabled, and started."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, pages, preferences, principal
from api.permission import needs
from api.problems import DefinitionInvalid
from api.starting import start
from api.state import State, of
from celeriac import Json
from engine import admission, callees, catalog, queries
from engine.catalog import Pushed
from engine.checking import problems
from engine.diff import diff
from engine.errors import Invalid
from engine.store.database import Connection
from engine.triggers import endpoints
from engine.triggers.endpoints import Issued

router = APIRouter(prefix="/workflows", tags=["workflows"])

Version = Annotated[int | None, Query(ge=1)]


@router.post("", status_code=201, operation_id="push", dependencies=[needs("workflow:write")])
async def push(request: Request) -> Response:
    """Save a definition under its name: a new version when it differs. Every mistake in it comes back in one answer."""
    state = of(request)
    raw = await request.body()
    document, found = await asyncio.to_thread(_checked, state, raw)
    if document is None:
        raise DefinitionInvalid(found)
    project = principal.project(request)
    found = [*found, *await _missing(state, document, project)]
    clock = state.runtime.clock
    save = await asyncio.to_thread(catalog.push, document, state.runtime.registry, clock, project)

    def change(connection: Connection) -> tuple[Pushed, list[Issued]]:
        pushed = save(connection)
        issue = endpoints.issue(pushed.workflow, lambda: state.sealing, clock.entropy, clock.now())
        return pushed, issue(connection)

    pushed, issued = await noting.change(
        request, change, "workflow:push", str(document["name"]), lambda answer: ("done", _pushed(answer[0]))
    )
    body: dict[str, Any] = {
        "id": pushed.workflow,
        "name": document["name"],
        "version": {"id": pushed.version, "number": pushed.number},
        "created": pushed.created,
        "changed": pushed.changed,
        "warnings": [each.to_json() for each in found],
    }
    if issued:
        body["webhooks"] = [each.to_json(state.settings.public_base) for each in issued]
        body["webhook_url"] = body["webhooks"][0]["url"]
    location = {"Location": f"/api/v1/workflows/{pushed.workflow}"}
    return JSONResponse(body, 201 if pushed.created else 200, location)


@router.post("/validate", operation_id="validate", dependencies=[needs("workflow:read")])
async def validate(request: Request) -> Response:
    """Tell every mistake in a definition, and save nothing."""
    state = of(request)
    raw = await request.body()
    document, found = await asyncio.to_thread(_checked, state, raw)
    if document is not None:
        found = [*found, *await _missing(state, document, principal.project(request))]
    return JSONResponse({"valid": document is not None, "problems": [each.to_json() for each in found]})


@router.get("", operation_id="workflows", dependencies=[needs("workflow:read")])
async def listing(request: Request, limit: pages.Limit = 50, cursor: pages.Cursor = None) -> Response:
    """List workflows by name."""
    after, project = pages.by_name(cursor), principal.project(request)
    return pages.answer(
        await of(request).runtime.reader.read(
            lambda connection: queries.workflows(connection, limit, after, project)
        )
    )


@router.get("/{ref}", operation_id="workflow", dependencies=[needs("workflow:read")])
async def show(request: Request, ref: str) -> Response:
    """Show a workflow, by id or name, with its active document."""
    project = principal.project(request)
    return JSONResponse(
        await of(request).runtime.reader.read(lambda connection: queries.workflow(connection, ref, project))
    )


@router.get("/{ref}/versions", operation_id="versions", dependencies=[needs("workflow:read")])
async def versions(request: Request, ref: str) -> Response:
    """List the versions of a workflow, the newest first."""
    project = principal.project(request)
    found = await of(request).runtime.reader.read(
        lambda connection: queries.versions(connection, ref, project)
    )
    return JSONResponse({"data": found})


@router.get("/{ref}/diff", operation_id="diff", dependencies=[needs("workflow:read")])
async def differences(
    request: Request,
    ref: str,
    from_: Annotated[int | None, Query(alias="from", ge=1)] = None,
    to: Version = None,
) -> Response:
    """Compare two versions: by default the active one with the one before it."""
    read, project = of(request).runtime.reader.read, principal.project(request)
    number, after = await read(lambda connection: queries.document(connection, ref, to, project))
    if from_ is None and number == 1:
        raise Invalid("There is no version before the first.", hint="Name the versions: ?from=1&to=2.")
    before_number = number - 1 if from_ is None else from_
    before_number, before = await read(
        lambda connection: queries.document(connection, ref, before_number, project)
    )
    return JSONResponse({"from": before_number, "to": number, "changes": diff(before, after)})


@router.post("/{ref}/enable", operation_id="enable", dependencies=[needs("workflow:write")])
async def enable(request: Request, ref: str) -> Response:
    """Let a workflow be started."""
    return await _set_enabled(request, ref, enabled=True)


@router.post("/{ref}/disable", operation_id="disable", dependencies=[needs("workflow:write")])
async def disable(request: Request, ref: str) -> Response:
    """Keep a workflow from being started; what runs goes on."""
    return await _set_enabled(request, ref, enabled=False)


@router.post(
    "/{ref}/execute", status_code=202, operation_id="execute", dependencies=[needs("execution:start")]
)
async def execute(request: Request, ref: str) -> Response:
    """Start a workflow on `input`. With `Prefer: wait=SECONDS` the answer is the result, if it comes in that time."""
    state = of(request)
    largest = state.settings.limits.input_bytes + 1024
    body = await bodies.read_object(request, "input", largest=largest)
    wait = preferences.wait(request)
    project = principal.project(request)
    found = await state.runtime.reader.read(
        lambda connection: state.versions.active(connection, ref, project)
    )
    wish = admission.Request(
        catalog.startable(found),
        body.get("input", {}),
        idempotency_key=preferences.idempotency_key(request),
        principal=principal.named(request),
        reply_to=state.reply_to if wait else None,
    )
    return await start(state, wish, wait)


def _pushed(pushed: Pushed) -> dict[str, Json]:
    return {"id": pushed.workflow, "version": pushed.number, "changed": pushed.changed}


def _checked(state: State, raw: bytes) -> tuple[dict[str, Json] | None, list[problems.Problem]]:
    """Return a definition that may be used, and what is to be said about it; None when it has mistakes."""
    document, found = problems.check_text(raw, state.runtime.registry, state.settings.limits)
    if not isinstance(document, dict) or any(each.severity == "error" for each in found):
        return None, found
    return document, found


async def _missing(state: State, document: dict[str, Json], project: str) -> list[problems.Problem]:
    """Return warnings about calls of workflows that are not there."""
    registry = state.runtime.registry
    found: list[problems.Problem] = await state.runtime.reader.read(
        lambda connection: callees.missing(connection, document, registry, project)
    )
    return found


async def _set_enabled(request: Request, ref: str, *, enabled: bool) -> Response:
    now, project = of(request).runtime.clock.now(), principal.project(request)
    change = catalog.set_enabled(ref, enabled=enabled, now=now, project=project)
    action = "workflow:enable" if enabled else "workflow:disable"
    workflow = await noting.change(request, change, action, ref)
    return JSONResponse({"id": workflow, "enabled": enabled})
