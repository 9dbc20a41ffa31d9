"""Versions of workflows: listed, compared, published, rolled back to, and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, pages, preferences, principal
from api.permission import needs
from api.state import of
from celeriac import Json
from engine import releases, workflow_queries
from engine.diff import diff
from engine.errors import Invalid
from engine.releases import Released
from engine.store.database import Connection
from engine.triggers import endpoints

router = APIRouter(prefix="/workflows", tags=["workflows"])

Version = Annotated[int | None, Query(ge=1, lt=2**31)]
Number = Annotated[int, Path(ge=1, lt=2**31, description="The number of a version.")]
Alias = Annotated[str, Path(max_length=64, description="A name for a version, like stable.")]


@router.get("/{ref}/versions", operation_id="versions", dependencies=[needs("workflow:read")])
async def listing(
    request: Request, ref: str, limit: pages.Limit = 50, cursor: pages.Cursor = None
) -> Response:
    """List the versions of a workflow, the newest first."""
    project, before = principal.project(request), pages.by_number(request, cursor)
    found = await of(request).runtime.reader.read(
        lambda connection: workflow_queries.versions(connection, ref, limit, before, project)
    )
    return pages.answer(request, found)


@router.get("/{ref}/versions/{number}", operation_id="version", dependencies=[needs("workflow:read")])
async def show(request: Request, ref: str, number: Number) -> Response:
    """Show a version with its document. It never changes."""
    project = principal.project(request)
    found = await of(request).runtime.reader.read(
        lambda connection: workflow_queries.version(connection, ref, number, project)
    )
    return JSONResponse(found)


@router.get("/{ref}/diff", operation_id="diff", dependencies=[needs("workflow:read")])
async def differences(
    request: Request,
    ref: str,
    from_: Annotated[int | None, Query(alias="from", ge=1, lt=2**31)] = None,
    to: Version = None,
) -> Response:
    """Compare two versions: by default the active one with the one before it."""
    read, project = of(request).runtime.reader.read, principal.project(request)
    number, after = await read(lambda connection: workflow_queries.document(connection, ref, to, project))
    if from_ is None and number == 1:
        raise Invalid("There is no version before the first.", hint="Name the versions: ?from=1&to=2.")
    before_number = number - 1 if from_ is None else from_
    before_number, before = await read(
        lambda connection: workflow_queries.document(connection, ref, before_number, project)
    )
    return JSONResponse({"from": before_number, "to": number, "changes": diff(before, after)})


@router.post(
    "/{ref}/versions/{number}/publish",
    operation_id="publish_version",
    dependencies=[needs("workflow:write")],
)
async def publish(request: Request, ref: str, number: Number) -> Response:
    """Make a version the active one, with its triggers. Whether the workflow is enabled stays as it is."""
    return await _release(request, "workflow:publish", ref, number)


@router.post("/{ref}/rollback", operation_id="roll_back", dependencies=[needs("workflow:write")])
async def roll_back(request: Request, ref: str) -> Response:
    """Make an earlier version the active one: `to` a number or an alias, or else the one before it.

    What runs goes on as it began.
    """
    body = await bodies.read_object(request, "to")
    return await _release(request, "workflow:rollback", ref, wanted(body.get("to")))


@router.put("/{ref}/aliases/{alias}", operation_id="name_version", dependencies=[needs("workflow:write")])
async def name_version(request: Request, ref: str, alias: Alias) -> Response:
    """Name a version: `{version}`, a number; the name may have been another version's. Executions can be started by it."""
    body = await bodies.read_object(request, "version")
    number = body.get("version")
    if type(number) is not int or not 0 < number < 2**31:
        raise Invalid("`version` is the number of a version.")
    now, project = of(request).runtime.clock.now(), principal.project(request)
    change = releases.name_version(ref, releases.alias_named(alias), number, now, project)
    return await _renamed(request, "workflow:alias", ref, change, {"alias": alias, "version": number})


@router.delete(
    "/{ref}/aliases/{alias}", operation_id="forget_version_name", dependencies=[needs("workflow:write")]
)
async def forget_name(request: Request, ref: str, alias: Alias) -> Response:
    """Take a name of a version away."""
    change = releases.forget_name(ref, releases.alias_named(alias), principal.project(request))
    return await _renamed(request, "workflow:unalias", ref, change, {"alias": alias})


def wanted(given: Json) -> int | str | None:
    """Return which version a body names. Raises `Invalid`."""
    if given is None or (type(given) is int and 0 < given < 2**31):
        return given
    if isinstance(given, str):
        return releases.alias_named(given)
    raise Invalid("A version is named by its number or by an alias.")


async def _release(request: Request, action: str, ref: str, version: int | str | None) -> Response:
    state, project = of(request), principal.project(request)
    clock, match = state.runtime.clock, preferences.tags(request, "if-match")
    publish_ = releases.publish(ref, version, clock, project)

    def change(connection: Connection) -> tuple[Released, list[Any], str]:
        releases.expect(connection, ref, match, project)
        released = publish_(connection)
        issue = endpoints.issue(released.workflow, lambda: state.sealing, clock.entropy, clock.now())
        return released, issue(connection), releases.tag(connection, released.workflow, project)

    released, issued, tag = await noting.change(
        request,
        change,
        action,
        ref,
        lambda answer: ("done", {"version": answer[0].number, "before": answer[0].before}),
    )
    body: dict[str, Any] = {
        "id": released.workflow,
        "version": {"id": released.version, "number": released.number},
        "before": released.before,
        "etag": tag,
    }
    if issued:
        body["webhooks"] = [each.to_json(state.settings.public_base) for each in issued]
    return JSONResponse(body, headers={"ETag": tag})


async def _renamed(
    request: Request, action: str, ref: str, rename: Callable[[Connection], str], details: dict[str, Json]
) -> Response:
    project, match = principal.project(request), preferences.tags(request, "if-match")

    def change(connection: Connection) -> tuple[str, dict[str, int], str]:
        releases.expect(connection, ref, match, project)
        name = rename(connection)
        return name, releases.aliases(connection, name), releases.tag(connection, name, project)

    name, names, tag = await noting.change(request, change, action, ref, lambda _: ("done", details))
    return JSONResponse({"id": name, "aliases": names, "etag": tag}, headers={"ETag": tag})
