"""Members of a project, their roles and their groups."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, principal
from api.permission import needs
from api.routes.projects import Named
from api.state import of
from engine.access import members
from engine.access.roles import HIGHEST

router = APIRouter(prefix="/projects/{project}/members", tags=["projects"])


@router.get("", operation_id="members", dependencies=[needs("member:read", at="project")])
async def listing(request: Request, _: Named) -> Response:
    """List who is in a project, with roles and groups."""
    found = await of(request).runtime.reader.read(
        lambda connection: members.listing(connection, principal.project(request))
    )
    return JSONResponse({"data": found})


@router.put("/{user}", operation_id="put_member", dependencies=[needs("member:manage", at="project")])
async def put(request: Request, _: Named, user: str) -> Response:
    """Let a user in, or change a member: `{roles, groups?}`. Only an owner gives or takes the role owner."""
    state, here = of(request), principal.project(request)
    body = await bodies.read_object(request, "roles", "groups")
    roles = members.roles(body.get("roles"))
    groups = members.groups(body["groups"]) if "groups" in body else None
    change = members.put(here, user, state.runtime.clock.now(), roles, groups, by_owner=_is_owner(request))
    found = await noting.change(request, change, "member:put", user[:200], roles=list(roles))
    state.directory.forget()
    return JSONResponse(found)


@router.delete(
    "/{user}",
    status_code=204,
    operation_id="remove_member",
    dependencies=[needs("member:manage", at="project")],
)
async def remove(request: Request, _: Named, user: str) -> Response:
    """Take a member out of a project, and with it what that member's keys may do there."""
    here = principal.project(request)
    change = members.remove(here, user, by_owner=_is_owner(request))
    await noting.change(request, change, "member:remove", user[:200])
    of(request).directory.forget()
    return Response(status_code=204)


def _is_owner(request: Request) -> bool:
    return principal.of(request).owns or HIGHEST in principal.place(request).roles
