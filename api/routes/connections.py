"""Connections: named credentials for nodes. They go in and never come out again."""

from __future__ import annotations

import os

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, principal
from api.permission import needs
from api.state import of
from celeriac import Fail
from engine.errors import Invalid

router = APIRouter(tags=["connections"])


@router.get("/connections", operation_id="connections", dependencies=[needs("connection:read")])
async def listing(request: Request) -> Response:
    """List connections, without their secrets."""
    from engine.outside import connection_rows

    project = principal.project(request)
    found = await of(request).runtime.reader.read(
        lambda connection: connection_rows.listing(connection, project)
    )
    return JSONResponse({"data": [each.to_json() for each in found]})


@router.post(
    "/connections", status_code=201, operation_id="add_connection", dependencies=[needs("connection:manage")]
)
async def add(request: Request) -> Response:
    """Store a connection: a name, a kind, the hosts it may be used with unless its kind knows them, and its values."""
    from engine.outside import connection_rows
    from engine.outside.connections import make_connection

    state = of(request)
    body = await bodies.read_object(request, "name", "kind", "hosts", "values", "replace")
    name, kind, values = (body.get(key) for key in ("name", "kind", "values"))
    hosts = body.get("hosts", [])
    if not isinstance(name, str) or not isinstance(kind, str):
        raise Invalid("`name` and `kind` are texts, and both are needed.")
    if not isinstance(hosts, list) or not all(isinstance(each, str) for each in hosts):
        raise Invalid("`hosts` is a list of the hosts the credential may be sent to.")
    if not isinstance(values, dict):
        raise Invalid("`values` is an object of the connection's fields, such as token.")
    sealed = make_connection(
        connection_id=state.runtime.clock.mint("conn"),
        project_id=principal.project(request),
        name=name,
        kind=kind,
        hosts=[str(each) for each in hosts],
        values=values,
        kinds=state.runtime.registry.connections,
        keys=state.sealing,
        now=state.runtime.clock.now(),
        random_bytes=os.urandom,
    )
    save = connection_rows.save(sealed, replace=body.get("replace") is True)
    await noting.change(request, save, "connection:save", name, kind=kind, hosts=list(hosts))
    return JSONResponse(sealed.to_json(), 201)


@router.get("/connections/{name}", operation_id="connection", dependencies=[needs("connection:read")])
async def show(request: Request, name: str) -> Response:
    """Show a connection, without its secrets."""
    from engine.outside import connection_rows

    project = principal.project(request)
    found = await of(request).runtime.reader.read(
        lambda connection: connection_rows.find(connection, name, project)
    )
    if found is None:
        raise connection_rows.missing(name)
    return JSONResponse(found.to_json())


@router.post(
    "/connections/reseal", operation_id="reseal_connections", dependencies=[needs("installation:projects")]
)
async def reseal(request: Request) -> Response:
    """Seal under the current secret key what is still sealed under an earlier one. It may be repeated, and broken off."""
    from engine.outside import resealing

    state = of(request)
    found = await resealing.reseal(state.runtime.reader, state.runtime.ledger, state.sealing, os.urandom)
    return JSONResponse(found)


@router.post(
    "/connections/{name}/test", operation_id="test_connection", dependencies=[needs("connection:manage")]
)
async def test(request: Request, name: str) -> Response:
    """Try a connection, in the way of its kind, and note what came of it. The answer is 200 for a failure too."""
    from engine.outside import connection_rows

    try:
        found = await of(request).outside.test(principal.project(request), name)
    except Fail as error:
        raise connection_rows.missing(name) from error
    return JSONResponse(found)


@router.delete(
    "/connections/{name}",
    status_code=204,
    operation_id="remove_connection",
    dependencies=[needs("connection:manage")],
)
async def remove(request: Request, name: str) -> Response:
    """Remove a connection; nodes that name it fail from now on."""
    from engine.outside import connection_rows

    await noting.change(
        request, connection_rows.remove(name, principal.project(request)), "connection:remove", name
    )
    return Response(status_code=204)


@router.get("/connection-kinds", operation_id="connection_kinds", dependencies=[needs("connection:read")])
async def kinds(request: Request) -> Response:
    """List the kinds of connections: what each one is for, the JSON Schema of its fields, and whether it asks for hosts."""
    found = of(request).runtime.registry.connections
    data = [
        {
            "kind": each.name,
            "summary": each.summary,
            "fields": each.schema(),
            "secrets": list(each.secrets()),
            "asks_for_hosts": each.hosts is None,
        }
        for _, each in sorted(found.items())
    ]
    return JSONResponse({"data": data})
