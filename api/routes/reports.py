"""Reports of executions: the result and a log in one answer, below the workflow."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import principal
from api.permission import needs
from api.state import of
from engine import listing, queries, workflow_queries
from engine.errors import NotFound
from engine.reports import MOST, report
from engine.store.database import Connection

router = APIRouter(prefix="/workflows", tags=["executions"])


@router.get("/{ref}/executions/{execution}", operation_id="report", dependencies=[needs("execution:read")])
async def show(request: Request, ref: str, execution: str) -> Response:
    """Show an execution with its result and its log of up to 1,000 lines; of a longer history that is the beginning."""
    project = principal.project(request)

    def look(connection: Connection) -> listing.Body:
        workflow = workflow_queries.workflow_id(connection, ref, project)
        found = queries.execution(connection, execution, project=project)
        if found["workflow"]["id"] != workflow:  # type: ignore[index,call-overload]  # its own shape
            message = f"There is no execution {execution!r} of this workflow."
            raise NotFound(message, hint="celeriac executions list shows what there is.")
        events, _ = queries.events(connection, execution, 0, MOST, project)
        return report(found, events)

    return JSONResponse(await of(request).runtime.reader.read(look))
