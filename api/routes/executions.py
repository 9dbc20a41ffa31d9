"""Executions: looked at, followed, stopped, held, let go on, and repeated."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from api import bodies, noting, pages, preferences, principal, stream, topics
from api.permission import needs
from api.routes.forks import fork_of
from api.starting import ended, start
from api.state import of
from engine import admission, bases, cancels, catalog, queries
from engine import operations as op
from engine import why as whys
from engine.errors import Conflict, Invalid
from engine.listing import Body
from engine.states import EXECUTION_FINAL, ExecutionStatus
from engine.store.database import Connection

router = APIRouter(prefix="/executions", tags=["executions"])

SSE = "text/event-stream"


@router.get("", operation_id="executions", dependencies=[needs("execution:read")])
async def listing(
    request: Request,
    workflow: Annotated[str | None, Query(max_length=200)] = None,
    status: ExecutionStatus | None = None,
    limit: pages.Limit = 50,
    cursor: pages.Cursor = None,
) -> Response:
    """List executions, the latest first."""
    before, project = pages.by_birth(request, cursor), principal.project(request)
    return pages.answer(
        request,
        await of(request).runtime.reader.read(
            lambda connection: queries.executions(
                connection, limit, reference=workflow, status=status, before=before, project=project
            )
        ),
    )


@router.get("/{execution}", operation_id="execution", dependencies=[needs("execution:read")])
async def show(
    request: Request,
    execution: str,
    include: Annotated[str, Query(pattern="^(|input)$", description="`input` adds it.")] = "",
) -> Response:
    """Show an execution and its result. With `Prefer: wait=SECONDS` when it has ended, if it does in that time."""
    state, wait, project = of(request), preferences.wait(request), principal.project(request)
    if wait:
        await _must_exist(request, execution)
        return JSONResponse(await ended(state, execution, wait, project))
    return JSONResponse(
        await state.runtime.reader.read(
            lambda connection: queries.execution(
                connection, execution, with_input=include == "input", project=project
            )
        )
    )


@router.get("/{execution}/events", operation_id="events", dependencies=[needs("execution:read")])
async def events(
    request: Request,
    execution: str,
    after: Annotated[int, Query(ge=0, description="A sequence number; events behind it are returned.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    types: Annotated[
        str, Query(max_length=2000, description="Patterns with commas between: `node.*,execution.*`.")
    ] = "",
) -> Response:
    """Return the history of an execution, or with `Accept: text/event-stream` go on as it happens."""
    state, project, patterns = of(request), principal.project(request), topics.types_of(types)
    live = SSE in request.headers.get("accept", "")
    if live:
        after, limit = _last_seen(request, after), 1

    def read(connection: Connection) -> tuple[topics.Topic, list[Body], bool]:
        topic = topics.of_execution(connection, execution, project, patterns)
        return (topic, *topics.history(connection, topic, after, limit))

    topic, found, final = await state.runtime.reader.read(read)
    if not live:
        return JSONResponse({"data": found, "final": final})
    if final and not found:
        return Response(status_code=204)  # tells a browser not to come back
    # A proxy that gathers what it passes on would keep events back.
    headers = {"X-Accel-Buffering": "no"}
    found_later = stream.while_permitted(request, stream.events(state, topic, after))
    return StreamingResponse(found_later, headers=headers, media_type=SSE)


@router.get("/{execution}/nodes", operation_id="nodes", dependencies=[needs("execution:read")])
async def nodes(
    request: Request,
    execution: str,
    include: Annotated[
        str, Query(pattern="^(|output)$", description="`output` adds what they came to.")
    ] = "",
) -> Response:
    """Return what became of each node."""
    reader, project = of(request).runtime.reader, principal.project(request)
    found = [
        each.to_json()
        for each in await reader.read(lambda connection: queries.nodes(connection, execution, project))
    ]
    if include:
        known = await reader.read(lambda connection: queries.outputs(connection, execution, project))
        for each in found:
            place = (str(each["node"]), str(each.get("item", "")))
            if place in known:
                each["output"] = known[place]
    return JSONResponse({"data": found})


@router.get("/{execution}/nodes/{node}", operation_id="node", dependencies=[needs("execution:read")])
async def node(
    request: Request,
    execution: str,
    node: str,
    item: Annotated[str, Query(max_length=200, description="The item, inside of a map.")] = "",
) -> Response:
    """Show one run of a node: its config, what that reads, what it came to, its attempts and its log lines."""
    project = principal.project(request)
    found = await of(request).runtime.reader.read(
        lambda connection: queries.node(connection, execution, node, item, project)
    )
    return JSONResponse(found)


@router.get("/{execution}/why", operation_id="why", dependencies=[needs("execution:read")])
async def why(request: Request, execution: str) -> Response:
    """Say why an execution does not go on: what it waits for, what holds it, and what helps."""
    state, project = of(request), principal.project(request)
    now = state.runtime.clock.now()
    found = await state.runtime.reader.read(lambda connection: whys.why(connection, execution, now, project))
    return JSONResponse(found)


@router.get("/{execution}/steps", operation_id="steps", dependencies=[needs("execution:read")])
async def steps(request: Request, execution: str) -> Response:
    """Return what became of each step of a playbook: status, result, duration, and estimated beside actual success."""
    project = principal.project(request)
    read = of(request).runtime.reader.read
    return JSONResponse(await read(lambda connection: queries.steps(connection, execution, project)))


@router.post(
    "/{execution}/cancel", status_code=202, operation_id="cancel", dependencies=[needs("execution:control")]
)
async def cancel(request: Request, execution: str) -> Response:
    """Ask an execution to stop. What has not begun never will; what runs is told within seconds.

    Scopes do what they do in their end before it ends, unless it is asked with `"force": true`, then or later.
    """
    state = of(request)
    body = await bodies.read_object(request, "reason", "force")
    reason, force = body.get("reason", ""), body.get("force", False)
    if not isinstance(reason, str) or len(reason) > 1000:
        raise Invalid("`reason` is a text of at most 1,000 characters.")
    if not isinstance(force, bool):
        raise Invalid("`force` is true or false.")
    await _must_exist(request, execution)
    asked = op.Cancel(execution, state.runtime.clock.now(), reason, force=force)
    status = await noting.change(request, asked, "execution:cancel", execution, reason=reason, force=force)
    await cancels.cascade(state.runtime, execution)
    return JSONResponse(
        {"id": execution, "status": status}, 200 if ExecutionStatus(status) in EXECUTION_FINAL else 202
    )


@router.post("/{execution}/pause", operation_id="pause", dependencies=[needs("execution:control")])
async def pause(request: Request, execution: str) -> Response:
    """Hold an execution: what runs goes on to the end of its segment, nothing new begins."""
    return await _hold(request, execution, resume=False)


@router.post("/{execution}/resume", operation_id="resume", dependencies=[needs("execution:control")])
async def resume(request: Request, execution: str) -> Response:
    """Let a held execution go on."""
    return await _hold(request, execution, resume=True)


@router.post(
    "/{execution}/retry", status_code=202, operation_id="retry", dependencies=[needs("execution:start")]
)
async def retry(request: Request, execution: str) -> Response:
    """Start the same version on the same input once more: a new execution, based on the old one.

    With `"from": "failure"` it keeps what had ended well, and does the rest.
    """
    state, wait = of(request), preferences.wait(request)
    body = await bodies.read_object(request, "from")
    if "from" in body:
        if body["from"] != bases.FAILURE:
            raise Invalid("`from` is not the word failure.", hint="A fork starts from nodes: /fork.")
        return await fork_of(request, state, execution, bases.Wanted(None))
    found, payload = await state.runtime.reader.read(
        lambda connection: queries.again(connection, execution, principal.project(request))
    )
    wish = admission.Request(
        catalog.startable(found),
        payload,
        kind="retry",
        base=execution,
        idempotency_key=preferences.idempotency_key(request),
        principal=principal.named(request),
        reply_to=state.reply_to if wait else None,
    )
    return await start(state, wish, wait)


def _last_seen(request: Request, after: int) -> int:
    """Return the number of the last event that a stream's reader has."""
    text = request.headers.get("last-event-id", "")
    return int(text) if text.isdecimal() and len(text) < 12 else after


async def _must_exist(request: Request, execution: str) -> None:
    project = principal.project(request)
    await of(request).runtime.reader.read(lambda connection: queries.is_there(connection, execution, project))


async def _hold(request: Request, execution: str, *, resume: bool) -> Response:
    state = of(request)
    await _must_exist(request, execution)
    asked = op.Pause(execution, state.runtime.clock.now(), resume=resume)
    ready = await noting.change(
        request,
        asked,
        "execution:resume" if resume else "execution:pause",
        execution,
        lambda ready: ("done" if ready is not None else "failed", {}),
    )
    if ready is None:
        message = f"The execution {execution} has ended."
        raise Conflict(message, hint=f"Start it once more: celeriac executions retry {execution}")
    state.runtime.dispatcher.send(execution, ready)
    return JSONResponse({"id": execution, "paused": not resume})
