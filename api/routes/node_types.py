"""Node types: what nodes of this installation can do."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.permission import needs
from api.state import of
from celeriac import Effect
from celeriac.contract import NodeType
from engine.errors import NotFound
from engine.nearest import nearest
from engine.registry import UnknownNodeType

router = APIRouter(prefix="/node-types", tags=["node types"])


@router.get("", operation_id="node_types", dependencies=[needs("workflow:read")])
async def listing(request: Request) -> Response:
    """List the node types of this installation by name, the newest version of each."""
    return JSONResponse({"data": [_shown(each) for each in of(request).runtime.registry]})


@router.get("/{name}", operation_id="node_type", dependencies=[needs("workflow:read")])
async def show(request: Request, name: str) -> Response:
    """Show a node type, as `name` or `name@version`, with the JSON Schema of its config and of what it comes to."""
    registry = of(request).runtime.registry
    try:
        found = registry.resolve(name)
    except UnknownNodeType as error:
        near = nearest(name.partition("@")[0], registry.names())
        raise NotFound(error.message, hint=f"Did you mean {near}?" if near else error.hint) from None
    return JSONResponse({**_shown(found), "config": found.config.model_json_schema(), "output": found.output})


def _shown(each: NodeType) -> dict[str, Any]:
    """Return what a list shows. What depends on a node's config is null."""
    return {
        "name": each.name,
        "version": each.version,
        "summary": each.summary,
        "effect": str(each.effect) if isinstance(each.effect, Effect) else None,
        "ports": list(each.ports) if isinstance(each.ports, tuple) else None,
        "queue": each.queue,
        "timeout_seconds": each.timeout,
        "attempts": each.retry.max_attempts,
        "waits": each.waits,
    }
