"""Budgets of the project and of workflows, and what models have cost."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, principal
from api.permission import needs
from api.state import of
from engine import budgets
from engine.spending import begin_of

router = APIRouter(tags=["budgets"])

Scope = Annotated[str, Path(min_length=1, max_length=300)]
_LATEST = 1 << 53


@router.get("/budgets", operation_id="budgets", dependencies=[needs("budget:read")])
async def listing(request: Request) -> Response:
    """List the budgets, with what has been spent of each in its present period."""
    state = of(request)
    project, now = principal.project(request), state.runtime.clock.now()
    found = await state.runtime.reader.read(lambda connection: budgets.listing(connection, now, project))
    return JSONResponse({"data": found})


@router.put("/budgets/{scope:path}", operation_id="set_budget", dependencies=[needs("budget:manage")])
async def put(request: Request, scope: Scope) -> Response:
    """Set the budget of `project`, or of a workflow: `usd`, `tokens` or both, for each `day`, each `month`, or in `total`."""
    state = of(request)
    body = await bodies.read_object(request, "usd", "tokens", "period")
    change = budgets.put(scope, body, state.runtime.clock.now(), principal.project(request))
    usd, tokens, period = body.get("usd"), body.get("tokens"), body.get("period")
    shown = await noting.change(request, change, "budget:put", scope, usd=usd, tokens=tokens, period=period)
    return JSONResponse(shown)


@router.delete(
    "/budgets/{scope:path}",
    status_code=204,
    operation_id="lift_budget",
    dependencies=[needs("budget:manage")],
)
async def lift(request: Request, scope: Scope) -> Response:
    """Lift a budget."""
    await noting.change(request, budgets.remove(scope, principal.project(request)), "budget:remove", scope)
    return Response(status_code=204)


@router.get("/usage", operation_id="usage", dependencies=[needs("budget:read")])
async def usage(
    request: Request,
    since: Annotated[int | None, Query(ge=0, le=_LATEST)] = None,
    until: Annotated[int | None, Query(ge=0, le=_LATEST)] = None,
) -> Response:
    """Sum up what workflows have used of each model: since a time (milliseconds; default: this month), until before another."""
    state = of(request)
    first = begin_of("month", state.runtime.clock.now()) if since is None else since
    last = _LATEST if until is None else until
    project = principal.project(request)
    found = await state.runtime.reader.read(
        lambda connection: budgets.totals(connection, first, last, project)
    )
    return JSONResponse({"since": first, "data": found})
