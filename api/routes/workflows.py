"""Workflows: definitions under names, saved, looked at, changed, enabled, deleted, and started."""

from __future__ import annotations

import json
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from api import bodies, definitions, noting, pages, preferences, principal
from api.permission import needs
from api.problems import PreconditionRequired
from api.routes.versions import wanted
from api.starting import start
from api.state import of
from engine import admission, catalog, deletion, listing, releases, workflow_queries
from engine.errors import Invalid
from engine.merging import merged
from engine.store.database import Connection

router = APIRouter(prefix="/workflows", tags=["workflows"])

PATCHED_AGAIN: Final = 5
"""How often a patch that names no ETag is applied anew when somebody else was quicker."""

Filters = Annotated[
    list[str],
    Query(
        alias="filter",
        max_length=listing.MOST_FILTERS,
        description="`field:operator:value`, like `name:starts:order` or `enabled:eq:true`; all of them hold. Fields: name, "
        "enabled, created_at, updated_at. Operators: eq, ne, lt, lte, gt, gte, and starts for texts.",
    ),
]
Sort = Annotated[
    str | None,
    Query(max_length=50, description="`field:asc` or `field:desc`, of the same fields; by name otherwise."),
]


@router.post("", status_code=201, operation_id="push", dependencies=[needs("workflow:write")])
async def push(
    request: Request,
    publish: Annotated[
        bool, Query(description="false: only keep the version, and go on with the active one.")
    ] = True,
) -> Response:
    """Save a definition under its name: a new version when it differs. Every mistake in it comes back in one answer."""
    return await definitions.save(request, await request.body(), "workflow:push", publish=publish)


@router.post("/validate", operation_id="validate", dependencies=[needs("workflow:read")])
async def validate(request: Request) -> Response:
    """Tell every mistake in a definition, and save nothing."""
    document, found = await definitions.checked(request, await request.body())
    return JSONResponse({"valid": document is not None, "problems": [each.to_json() for each in found]})


@router.get("", operation_id="workflows", dependencies=[needs("workflow:read")])
async def listed(
    request: Request,
    filters: Filters = [],  # noqa: B006  FastAPI copies it
    sort: Sort = None,
    deleted: Annotated[bool, Query(description="Those that are deleted and may be restored.")] = False,
    limit: pages.Limit = 50,
    cursor: pages.Cursor = None,
) -> Response:
    """List workflows, by name or as `sort` says; those that `filter` leaves."""
    by, project = listing.order(sort, workflow_queries.WORKFLOWS, "name"), principal.project(request)
    behind = pages.by_order(request, cursor, str(by))
    found = await of(request).runtime.reader.read(
        lambda connection: workflow_queries.workflows(
            connection, limit, by=by, filters=filters, behind=behind, deleted=deleted, project=project
        )
    )
    return pages.answer(request, found)


@router.get("/{ref}", operation_id="workflow", dependencies=[needs("workflow:read")])
async def show(request: Request, ref: str) -> Response:
    """Show a workflow, by id or name, with its active document, its aliases, and the ETag that changes ask for."""
    found = await definitions.current(request, ref)
    tag = str(found["etag"])
    if {tag, "*"} & {*(preferences.tags(request, "if-none-match") or ())}:
        return Response(status_code=304, headers={"ETag": tag})
    return JSONResponse(found, headers={"ETag": tag})


@router.put("/{ref}", operation_id="replace_workflow", dependencies=[needs("workflow:write")])
async def replace(request: Request, ref: str) -> Response:
    """Replace a workflow's definition: a new version when it differs. Another name in it renames the workflow.

    It has to say by `If-Match` what it replaces, since what others have changed meanwhile would be lost unseen; `*` means
    whatever is there.
    """
    found, match = await definitions.current(request, ref), preferences.tags(request, "if-match")
    if match is None:
        raise PreconditionRequired(hint="Send If-Match with the ETag of what you have seen, or with *.")
    return await definitions.save(
        request, await request.body(), "workflow:replace", into=str(found["id"]), match=match
    )


@router.patch("/{ref}", operation_id="update_workflow", dependencies=[needs("workflow:write")])
async def patch(request: Request, ref: str) -> Response:
    """Change what a JSON Merge Patch names (RFC 7396) of a workflow's document: null takes a member away.

    A list is replaced as a whole. Without `If-Match` it changes whatever is there.
    """
    match, limits = preferences.tags(request, "if-match"), of(request).settings.limits
    change = await bodies.read(request, limits.definition_bytes)
    if not isinstance(change, dict):
        raise Invalid("A patch of a workflow is an object.", hint='For example {"description": "..."}.')
    for tried in range(PATCHED_AGAIN):
        found = await definitions.current(request, ref)
        raw = json.dumps(merged(found["document"], change), ensure_ascii=False).encode()
        try:
            return await definitions.save(
                request, raw, "workflow:update", into=str(found["id"]), match=match or (str(found["etag"]),)
            )
        except releases.WorkflowChanged:
            if match is not None or tried == PATCHED_AGAIN - 1:
                raise
    raise AssertionError  # every turn of the loop returns or raises in the end


@router.delete(
    "/{ref}", status_code=204, operation_id="delete_workflow", dependencies=[needs("workflow:write")]
)
async def delete(request: Request, ref: str) -> Response:
    """Delete a workflow: nobody sees it and nothing starts it any more, and its name is free. What runs goes on.

    It may be restored until retention takes it with the last of its executions.
    """
    now, project = of(request).runtime.clock.now(), principal.project(request)
    remove = deletion.delete(ref, now, project)
    match = preferences.tags(request, "if-match")

    def change(connection: Connection) -> str:
        releases.expect(connection, ref, match, project)
        return remove(connection)

    await noting.change(request, change, "workflow:delete", ref)
    return Response(status_code=204)


@router.post("/{ref}/restore", operation_id="restore_workflow", dependencies=[needs("workflow:write")])
async def restore(request: Request, ref: str) -> Response:
    """Bring a deleted workflow back, by its id: disabled, with its versions, and with its triggers as they were."""
    project = principal.project(request)
    change = deletion.restore(ref, of(request).runtime.clock, project)
    await noting.change(request, change, "workflow:restore", ref)
    found = await definitions.current(request, ref)
    return JSONResponse(found, headers={"ETag": str(found["etag"])})


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
    """Start a workflow on `input`: the active version, or the `version` of a number or an alias.

    With `Prefer: wait=SECONDS` the answer is the result, if it comes in that time.
    """
    state = of(request)
    largest = state.settings.limits.input_bytes + 1024
    body = await bodies.read_object(request, "input", "version", largest=largest)
    wait = preferences.wait(request)
    project, version = principal.project(request), wanted(body.get("version"))

    def find(connection: Connection) -> catalog.Active:
        number = None if version is None else releases.number_of(connection, ref, version, project)
        return state.versions.active(connection, ref, project, number)

    wish = admission.Request(
        catalog.startable(await state.runtime.reader.read(find)),
        body.get("input", {}),
        idempotency_key=preferences.idempotency_key(request),
        principal=principal.named(request),
        reply_to=state.reply_to if wait else None,
    )
    return await start(state, wish, wait)


async def _set_enabled(request: Request, ref: str, *, enabled: bool) -> Response:
    now, project = of(request).runtime.clock.now(), principal.project(request)
    change = catalog.set_enabled(ref, enabled=enabled, now=now, project=project)
    action = "workflow:enable" if enabled else "workflow:disable"
    workflow = await noting.change(request, change, action, ref)
    return JSONResponse({"id": workflow, "enabled": enabled})
