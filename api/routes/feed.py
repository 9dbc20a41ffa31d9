"""The feed of a project: the events of all its executions, read in parts or followed as they happen."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from api import principal, stream, topics
from api.permission import needs
from api.routes.executions import SSE
from api.state import of
from engine import feed

router = APIRouter(prefix="/events", tags=["events"])


@router.get("", operation_id="feed", dependencies=[needs("execution:read")])
async def events(
    request: Request,
    topic: Annotated[
        str, Query(max_length=300, description="`project`, `workflows/NAME` or `executions/ID`.")
    ] = (topics.ALL),
    types: Annotated[
        str, Query(max_length=2000, description="Patterns with commas between: `execution.*`.")
    ] = "",
    after: Annotated[
        str | None, Query(max_length=60, description="A place in the feed: the events behind it.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Commits that are looked at.")] = 100,
) -> Response:
    """Return events from the beginning or behind a place, or with `Accept: text/event-stream` follow them from now on."""
    state = of(request)
    patterns, project = topics.types_of(types), principal.project(request)
    wanted = await state.runtime.reader.read(
        lambda connection: topics.find(connection, topic, project, patterns)
    )
    live = SSE in request.headers.get("accept", "")
    given = (request.headers.get("last-event-id") if live else None) or after
    place = feed.place(given) if given else None
    if live:
        headers = {"X-Accel-Buffering": "no"}  # a proxy that gathers what it passes on would keep events back
        parts = stream.while_permitted(request, stream.feed(state, wanted, place))
        return StreamingResponse(parts, headers=headers, media_type=SSE)
    start = place or feed.BEGINNING
    entries = await state.runtime.reader.read(
        lambda connection: feed.read(connection, start, limit, wanted.project)
    )
    found = [event for entry in entries if wanted.wants(entry) for _, event in wanted.chosen(entry)]
    end = entries[-1].end if entries else start
    return JSONResponse({"data": found, "cursor": str(end), "has_more": len(entries) == limit})
