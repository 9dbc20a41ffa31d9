"""Whether the process lives, and whether it can do its work."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.permission import anyone
from api.state import State, of
from engine.broker import DOWN, Broker
from engine.errors import CeleriacError
from engine.store.schema import check

router = APIRouter(tags=["health"])

_WITHIN = 5.0


@router.get(
    "/healthz",
    operation_id="alive",
    dependencies=[anyone("it only says that the process lives", limited=False)],
)
async def alive() -> Response:
    """Answer, as long as the process does."""
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz",
    operation_id="ready",
    dependencies=[anyone("it only says whether the process can do its work", limited=False)],
)
async def ready(request: Request) -> Response:
    """Tell whether database and broker can be reached, and why not."""
    state = of(request)
    checks = {"database": await _database(state), "broker": await asyncio.to_thread(_broker, state)}
    good = all(each == "ok" for each in checks.values())
    return JSONResponse({"status": "ready" if good else "not ready", "checks": checks}, 200 if good else 503)


async def _database(state: State) -> str:
    try:
        async with asyncio.timeout(_WITHIN):
            await state.runtime.reader.read(check)
    except CeleriacError as error:
        return error.message
    except TimeoutError:
        return "The database does not answer."
    return "ok"


def _broker(state: State) -> str:
    broker = Broker(state.runtime.app)
    try:
        broker.lengths(state.settings.queues)
    except DOWN:
        return "The broker cannot be reached."
    finally:
        broker.close()
    return "ok"
