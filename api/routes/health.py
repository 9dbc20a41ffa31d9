"""Whether the process lives, whether it can do its work, and how that stands."""

from __future__ import annotations

import asyncio
from importlib.metadata import PackageNotFoundError, version
from time import monotonic
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.metrics import Metrics
from api.permission import anyone, needs
from api.state import State, of
from engine.broker import DOWN, Broker
from engine.errors import CeleriacError
from engine.store.schema import check

router = APIRouter(tags=["health"])

_WITHIN = 5.0
_BEGUN: Final = monotonic()
_TEXT: Final = "text/plain"


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


@router.get("/health", operation_id="health", dependencies=[needs("installation:watch")])
async def health(request: Request) -> Response:
    """Tell how the installation stands: whether database and broker answer, what waits for workers, what waits for people.

    `status` is healthy, or degraded when segments are overdue or wait for a person, or else unhealthy, with 503.
    """
    state, metrics = of(request), _metrics(request)
    look = await metrics.look(state)
    work, messages = look.work, look.messages
    body: dict[str, Any] = {
        "status": "unhealthy",
        "version": _version(),
        "uptime_seconds": round(monotonic() - _BEGUN),
        "services": {"database": _word(work is not None), "broker": _word(messages is not None)},
    }
    if messages is not None:
        body["queues"] = {
            queue: {"messages": messages[queue], **_of_queue(work, queue)} for queue in messages
        }
    if work is not None:
        body["overdue"] = work.overdue
        body["attention"] = work.attention
        body["deliveries_due"] = work.deliveries
        body["schedule_lag_ms"] = work.lag
    good = work is not None and messages is not None
    if good and work is not None:
        body["status"] = "degraded" if work.overdue or work.attention else "healthy"
    return JSONResponse(body, 200 if good else 503)


@router.get("/metrics", operation_id="metrics", dependencies=[needs("installation:watch")])
async def metrics(request: Request) -> Response:
    """Tell Prometheus: requests of this process, and how the work stands, as of five seconds ago at most."""
    state, found = of(request), _metrics(request)
    text = found.text(await found.look(state), state.sockets)
    return Response(text, media_type=f"{_TEXT}; version=0.0.4; charset=utf-8")


def _metrics(request: Request) -> Metrics:
    found: Metrics = request.app.state.metrics
    return found


def _of_queue(work: Any, queue: str) -> dict[str, int]:
    """Return the open segments of a queue by status."""
    found = {} if work is None else work.segments
    return {status: number for (name, status), number in sorted(found.items()) if name == queue}


def _word(up: bool) -> str:
    return "up" if up else "down"


def _version() -> str:
    try:
        return version("celeriac")
    except PackageNotFoundError:
        return "unknown"


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
