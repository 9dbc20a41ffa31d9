"""The published schema of the definition language, with the node types of this installation, and that of this API."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.permission import anyone, signed_in
from api.state import of
from engine import schema

router = APIRouter(tags=["schemas"])


@router.get("/api/v1/openapi.json", include_in_schema=False, dependencies=[signed_in()])
async def openapi(request: Request) -> Response:
    """Return the description of this API (OpenAPI 3.1)."""
    return JSONResponse(request.app.openapi())


@router.get(
    "/schemas/workflow/v1.json",
    operation_id="workflow_schema",
    dependencies=[anyone("the language is public", limited=False)],
)
async def workflow(request: Request) -> Response:
    """Return the JSON Schema 2020-12 of a definition."""
    return JSONResponse(schema.document(of(request).runtime.registry), media_type="application/schema+json")
