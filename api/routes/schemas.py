"""The published schema of the definition language, with the node types of this installation."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.state import of
from engine import schema

router = APIRouter(tags=["schemas"])


@router.get("/schemas/workflow/v1.json")
async def workflow(request: Request) -> Response:
    """Return the JSON Schema 2020-12 of a definition."""
    return JSONResponse(schema.document(of(request).runtime.registry), media_type="application/schema+json")
