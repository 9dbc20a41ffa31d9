"""Connections: named credentials for nodes. They go in and never come out again."""

from __future__ import annotations

import os

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, principal
from api.permission import needs
from api.state import of
from engine.errors import Invalid

router = APIRouter(prefix="/connections", tags=["connections"])


@router.get("", dependencies=[needs("connection:read")])
async def listing(request: Request) -> Response:
    """List connections, without their secrets."""
    from engine.outside import connection_rows

    project = principal.project(request)
    found = await of(request).runtime.reader.read(
        lambda connection: connection_rows.listing(connection, project)
    )
    return JSONResponse({"data": found})


@router.post("", status_code=201, dependencies=[needs("connection:manage")])
async def add(request: Request) -> Response:
    """Store a connection: a name, a kind, the hosts it may be used with, and the secret values."""
    from engine.outside import connection_rows
    from engine.outside.connections import make_connection

    state = of(request)
    body = await bodies.read_object(request, "name", "kind", "hosts", "values", "replace")
    name, kind, hosts, values = (body.get(key) for key in ("name", "kind", "hosts", "values"))
    if not isinstance(name, str) or not isinstance(kind, str):
        raise Invalid("`name` and `kind` are texts, and both are needed.")
    if not isinstance(hosts, list) or not all(isinstance(each, str) for each in hosts):
        raise Invalid("`hosts` is a list of the hosts the credential may be sent to.")
    if not isinstance(values, dict):
        raise Invalid("`values` is an object of the secret values, such as token.")
    sealed = make_connection(
        connection_id=state.runtime.clock.mint("conn"),
        project_id=principal.project(request),
        name=name,
        kind=kind,
        hosts=[str(each) for each in hosts],
        values=values,
        key=state.sealing,
        now=state.runtime.clock.now(),
        random_bytes=os.urandom,
    )
    save = connection_rows.save(sealed, replace=body.get("replace") is True)
    await noting.change(request, save, "connection:save", name, kind=kind, hosts=list(hosts))
    return JSONResponse(sealed.to_json(), 201)


@router.delete("/{name}", status_code=204, dependencies=[needs("connection:manage")])
async def remove(request: Request, name: str) -> Response:
    """Remove a connection; nodes that name it fail from now on."""
    from engine.outside import connection_rows

    await noting.change(
        request, connection_rows.remove(name, principal.project(request)), "connection:remove", name
    )
    return Response(status_code=204)
