"""The application: the engine's parts, the routes, and the guard before them."""

from __future__ import annotations

import functools
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from api import openapi, permission, problems, token
from api.guard import Guard
from api.hub import Hub
from api.limiter import Limiter
from api.pieces import Pieces
from api.replies import Replies
from api.routes import (
    addresses,
    approvals,
    attention,
    audit,
    auth,
    budgets,
    callbacks,
    collections,
    connections,
    events,
    executions,
    feed,
    forks,
    health,
    keys,
    links,
    members,
    models,
    node_types,
    previews,
    projects,
    reports,
    schedules,
    schemas,
    socket,
    subscriptions,
    users,
    variables,
    versions,
    webhooks,
    withdrawals,
    workflows,
)
from api.state import State
from engine.access.directory import Directory
from engine.hooks.courier import Courier
from engine.outside.addresses import Policy
from engine.outside.egress import Egress
from engine.registry import Registry
from engine.runtime import assemble
from engine.settings import Settings
from engine.watch import Watcher

ROOMS = (
    workflows,
    previews,
    versions,
    executions,
    reports,
    forks,
    withdrawals,
    attention,
    approvals,
    links,
    connections,
    models,
    budgets,
    collections,
    events,
    callbacks,
    schedules,
    webhooks,
    auth,
    users,
    projects,
    members,
    keys,
    variables,
    node_types,
    audit,
    socket,
    feed,
    subscriptions,
)
"""What is under `/api/v1`, in the order in which it is looked at."""
_OVERHEAD = 64 * 1024
_FIRST_LOOK = 0.02
"""Seconds before the first look at an execution someone waits for: a worker's word is quicker when it comes."""


def create_app(settings: Settings, *, serves: bool = True) -> Guard:
    """Return the API as an ASGI application; its lifespan starts and stops the engine's parts. Raises `Misconfigured`.

    Without `serves` it only asks and goes: it looks after nothing, and hears no replies.
    """
    registry = Registry.load(settings.node_modules, settings.declarations)
    own_token = token.load(settings).encode()
    limits = settings.limits

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        runtime = assemble(settings, poll=serves, registry=registry)
        watcher = Watcher(runtime.reader, _FIRST_LOOK)
        replies = Replies(runtime.app, watcher.tell) if serves else None
        hub = Hub(runtime.reader, limits.events_kept, limits.pieces_kept)
        state = app.state.celeriac = State(
            settings,
            runtime,
            watcher,
            replies,
            hub,
            own_token,
            Directory(runtime.reader, runtime.ledger, runtime.clock),
            Limiter(limits.requests),
            Limiter(limits.anonymous_requests),
            Limiter(limits.logins),
        )
        courier = _courier(state) if serves else None
        pieces = Pieces(runtime.app, hub, lambda: state.sealing) if serves else None
        if serves:
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 20)
        try:
            yield
        finally:
            state.stopping = True
            if courier is not None:
                await courier.end()
            await hub.close()
            await watcher.close()
            await state.end()
            if replies is not None:
                replies.close()
            if pieces is not None:
                pieces.close()
            state.passwords.close()
            runtime.close()

    app = FastAPI(
        title="Celeriac",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    problems.install(app)
    app.router.routes += routes()
    permission.check(app)
    openapi.install(app)
    public = urlsplit(settings.public_base).hostname or settings.api_host
    hosts = {*settings.api_hosts, settings.api_host, public} - {"0.0.0.0", "::"}  # noqa: S104  never served by that name
    largest = max(limits.definition_bytes, limits.input_bytes) + _OVERHEAD
    guard = Guard(app, hosts=hosts, largest=largest)
    app.state.metrics = guard.metrics
    return guard


@functools.cache
def routes() -> tuple[BaseRoute, ...]:
    """Return all routes. They are made once, however many applications there are: what they depend on is in each request."""
    found = APIRouter()
    for each in ROOMS:
        found.include_router(each.router, prefix="/api/v1")
    found.include_router(health.router)
    found.include_router(schemas.router)
    # The busiest first: a route costs the more, the more of them stand before it.
    return (*addresses.routes, *found.routes)


def _courier(state: State) -> Courier:
    """Start what tells subscriptions of events."""
    settings = state.settings
    egress = Egress(Policy.parse(settings.egress_allow))
    made = Courier(state.runtime, egress, lambda: state.sealing, settings.public_base)
    made.begin()
    return made
