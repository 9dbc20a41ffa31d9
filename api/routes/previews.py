"""What a definition would be, before anything is saved."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import definitions
from api.permission import needs
from api.problems import DefinitionInvalid
from api.state import of
from engine import picture
from engine.cutting import build
from engine.definition import Workflow
from engine.plan import Plan
from engine.registry import Registry

router = APIRouter(prefix="/workflows", tags=["workflows"])

SVG = "image/svg+xml"


@router.post("/preview", operation_id="preview", dependencies=[needs("workflow:read")])
async def preview(request: Request) -> Response:
    """Compile a definition without saving it: its segments, and a picture as SVG and as Mermaid.

    With `Accept: image/svg+xml` the answer is the picture. A plan of more than 500 segments has no SVG.
    """
    document, found = await definitions.checked(request, await request.body())
    if document is None:
        raise DefinitionInvalid(found)
    registry = of(request).runtime.registry
    plan, drawn = await asyncio.to_thread(_drawn, document, registry)
    if drawn is not None and SVG in request.headers.get("accept", ""):
        return Response(drawn, media_type=SVG)
    body: dict[str, Any] = {
        "name": document["name"],
        "segments": [
            {
                "id": each.id,
                "queue": each.queue,
                "nodes": [node.id for node in each.nodes],
                "leads_to": [exit_.target for exit_ in each.exits],
                "inside": plan.regions[each.region].name or None,
            }
            for each in plan.segments
        ],
        "mermaid": picture.mermaid(plan),
        "svg": drawn,
        "warnings": [each.to_json() for each in found],
    }
    return JSONResponse(body)


def _drawn(document: Mapping[str, Any], registry: Registry) -> tuple[Plan, str | None]:
    plan = build(Workflow.parse(document), registry)
    return plan, picture.svg(plan)
