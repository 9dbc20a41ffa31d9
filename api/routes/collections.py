"""Collections of texts that are found by what they mean: listed, and removed."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import noting, principal
from api.permission import needs
from api.state import of
from engine import passages

router = APIRouter(prefix="/collections", tags=["collections"])


@router.get("", operation_id="collections", dependencies=[needs("collection:read")])
async def listing(request: Request) -> Response:
    """List the collections by name, with their model and how much is in each."""
    project = principal.project(request)
    found = await of(request).runtime.reader.read(lambda connection: passages.listing(connection, project))
    return JSONResponse({"data": found})


@router.delete(
    "/{name}",
    status_code=204,
    operation_id="remove_collection",
    dependencies=[needs("collection:manage")],
)
async def remove(request: Request, name: str) -> Response:
    """Remove a collection with all its texts; what searches in it fails from now on."""
    change = passages.drop(principal.project(request), passages.named(name))
    await noting.change(request, change, "collection:remove", name)
    return Response(status_code=204)
