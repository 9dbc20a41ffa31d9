"""Projects: made by whoever owns the installation, looked after by their own admins and owners."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, pages, principal
from api.permission import needs, signed_in
from api.state import of
from engine.access import members, projects
from engine.errors import Invalid
from engine.listing import Body
from engine.store.database import Connection

router = APIRouter(prefix="/projects", tags=["projects"])

Named = Annotated[str, Path(alias="project", description="A project, by id or name.")]
"""What the route's declaration has turned into the request's project already."""


@router.get("", operation_id="projects", dependencies=[signed_in()])
async def listing(request: Request, limit: pages.Limit = 50, cursor: pages.Cursor = None) -> Response:
    """List the projects that whoever asks is in, by name."""
    after, person = pages.by_name(request, cursor), principal.of(request)
    among = None if person.owns else [each.project for each in person.places.values()]
    return pages.answer(
        request,
        await of(request).runtime.reader.read(
            lambda connection: projects.listing(connection, limit, after, among)
        ),
    )


@router.post(
    "", status_code=201, operation_id="create_project", dependencies=[needs("installation:projects")]
)
async def create(request: Request) -> Response:
    """Make a project `{name, description?, settings?, owner?}`. Its owner, else its maker, may do everything there."""
    state, person = of(request), principal.of(request)
    body = await bodies.read_object(request, "name", "description", "settings", "owner")
    name = projects.named(body.get("name"))
    description = projects.described(body.get("description", ""))
    given = projects.settings(body.get("settings", {}))
    owner = body.get("owner", person.id if person.kind == "user" else None)
    if owner is not None and not isinstance(owner, str):
        raise Invalid("`owner` is the id or name of a user.")
    clock = state.runtime.clock
    project, now = clock.mint("proj"), clock.now()
    make = projects.create(project, name, description, given, now)

    def change(connection: Connection) -> Body:
        made = make(connection)
        if owner is not None:
            members.put(project, owner, now, ("owner", "approver"), None, by_owner=True)(connection)
        return made

    made = await noting.change(request, change, "project:create", project, project=project, name=name)
    state.directory.forget()
    return JSONResponse(made, 201, {"Location": f"/api/v1/projects/{project}"})


@router.get("/{project}", operation_id="project", dependencies=[needs("project:read", at="project")])
async def show(request: Request, _: Named) -> Response:
    """Show a project, by id or name."""
    found = await of(request).runtime.reader.read(
        lambda connection: projects.find(connection, principal.project(request))
    )
    return JSONResponse(found)


@router.patch(
    "/{project}", operation_id="update_project", dependencies=[needs("project:update", at="project")]
)
async def update(request: Request, _: Named) -> Response:
    """Change `{name?, description?, settings?}`. Of `settings` what is given changes, and null takes it away."""
    state = of(request)
    body = await bodies.read_object(request, "name", "description", "settings")
    change = projects.alter(
        principal.project(request),
        state.runtime.clock.now(),
        name=projects.named(body["name"]) if "name" in body else None,
        description=projects.described(body["description"]) if "description" in body else None,
        given=projects.settings(body["settings"]) if "settings" in body else None,
    )
    found = await noting.change(
        request, change, "project:update", principal.project(request), changed=", ".join(sorted(body))
    )
    state.directory.forget()
    return JSONResponse(found)


@router.delete(
    "/{project}",
    status_code=204,
    operation_id="delete_project",
    dependencies=[needs("project:delete", at="project")],
)
async def delete(request: Request, _: Named) -> Response:
    """Delete a project: nobody sees it any more and nothing in it starts, while what runs goes on to its end."""
    state, here = of(request), principal.project(request)
    await noting.change(request, projects.delete(here, state.runtime.clock.now()), "project:delete", here)
    state.directory.forget()
    return Response(status_code=204)


@router.get(
    "/{project}/stats", operation_id="project_stats", dependencies=[needs("project:read", at="project")]
)
async def stats(request: Request, _: Named) -> Response:
    """Return figures of a project: its workflows, members and open approvals, and how its latest executions ended."""
    found = await of(request).runtime.reader.read(
        lambda connection: projects.stats(connection, principal.project(request))
    )
    return JSONResponse(found)
