"""The audit: read by whoever may, and written by nobody over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api import pages, principal
from api.permission import needs
from api.state import of
from engine.access import audit

router = APIRouter(prefix="/audit", tags=["audit"])

Filter = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


@router.get("", operation_id="audit", dependencies=[needs("audit:read")])
async def listing(
    request: Request,
    actor: Filter = None,
    action: Filter = None,
    limit: pages.Limit = 50,
    cursor: pages.Cursor = None,
) -> Response:
    """List what was done in the project, the latest first; of one `actor` (id or name), or one `action`."""
    return await _listing(request, principal.project(request), actor, action, limit, cursor)


@router.get("/installation", operation_id="audit_installation", dependencies=[needs("installation:audit")])
async def everything(
    request: Request,
    actor: Filter = None,
    action: Filter = None,
    limit: pages.Limit = 50,
    cursor: pages.Cursor = None,
) -> Response:
    """List what was done in the whole installation: in every project, and to users and sessions."""
    return await _listing(request, None, actor, action, limit, cursor)


async def _listing(
    request: Request,
    project: str | None,
    actor: str | None,
    action: str | None,
    limit: int,
    cursor: str | None,
) -> Response:
    before = pages.by_birth(request, cursor)
    return pages.answer(
        request,
        await of(request).runtime.reader.read(
            lambda connection: audit.listing(
                connection,
                limit,
                project=project,
                actor=actor,
                action=action,
                before=None if before is None else before[0],
            )
        ),
    )
