"""Models that workflows may name: listed with their prices, entered, forgotten."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, principal
from api.permission import needs
from api.state import of
from engine import models
from engine.errors import Invalid

router = APIRouter(prefix="/models", tags=["models"])

Name = Annotated[str, Path(min_length=1, max_length=models.LONGEST)]


@router.get("", operation_id="models", dependencies=[needs("model:read")])
async def listing(request: Request, all: bool = False) -> Response:  # noqa: A002  the word of the query
    """List the models that were entered and those of this machine; with `all` also those on the public price lists."""
    state = of(request)
    project, now = principal.project(request), state.runtime.clock.now()
    found = await state.runtime.reader.read(
        lambda connection: models.listing(connection, project, now=now, every=all)
    )
    return JSONResponse({"data": found})


@router.put("/{name:path}", operation_id="enter_model", dependencies=[needs("model:manage")])
async def enter(request: Request, name: Name) -> Response:
    """Enter a model under a name of your own: its provider, what that calls it, the connection, and what it costs."""
    state = of(request)
    body = await bodies.read(request)
    if not isinstance(body, dict):
        raise Invalid("The body is an object that describes the model.")
    shown, change = models.save(name, body, state.runtime.clock.now(), principal.project(request))
    await noting.change(request, change, "model:save", name)
    return JSONResponse(shown)


@router.delete(
    "/{name:path}", status_code=204, operation_id="forget_model", dependencies=[needs("model:manage")]
)
async def forget(request: Request, name: Name) -> Response:
    """Forget a model that was entered."""
    await noting.change(request, models.remove(name, principal.project(request)), "model:remove", name)
    return Response(status_code=204)
