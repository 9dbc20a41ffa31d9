"""Variables of a project."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, principal
from api.permission import needs
from api.state import of
from engine.access import variables
from engine.errors import Invalid

router = APIRouter(prefix="/variables", tags=["variables"])


@router.get("", operation_id="variables", dependencies=[needs("variable:read")])
async def listing(request: Request) -> Response:
    """List the project's variables by name, with their values."""
    project = principal.project(request)
    found = await of(request).runtime.reader.read(lambda connection: variables.listing(connection, project))
    return JSONResponse({"data": found})


@router.put("/{name}", operation_id="put_variable", dependencies=[needs("variable:write")])
async def put(request: Request, name: str) -> Response:
    """Set a variable to `{value}`, any JSON. Executions that have started keep the value they began with."""
    body = await bodies.read_object(request, "value")
    if "value" not in body:
        raise Invalid("`value` is missing.", hint='For example {"value": 10}; null is a value, too.')
    project, now = principal.project(request), of(request).runtime.clock.now()
    change = variables.put(project, variables.named(name), body["value"], now)
    new = await noting.change(request, change, "variable:put", name)
    return JSONResponse({"name": name, "value": body["value"]}, 201 if new else 200)


@router.delete(
    "/{name}", status_code=204, operation_id="remove_variable", dependencies=[needs("variable:write")]
)
async def remove(request: Request, name: str) -> Response:
    """Remove a variable; what starts from now on and reads it fails."""
    change = variables.remove(principal.project(request), variables.named(name))
    await noting.change(request, change, "variable:remove", name)
    return Response(status_code=204)
