"""Events from outside: published once each, for all waits that listen and those that will look back."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies, pages, principal
from api.permission import needs
from api.state import State, of
from celeriac import Fail, Json
from engine.encoding import encode, place
from engine.errors import Invalid, TooLarge
from engine.failpoints import failpoint
from engine.triggers import events as triggers
from engine.triggers.publishing import publish as publishing

router = APIRouter(prefix="/events", tags=["events"])

_TYPE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,199}")
_LONGEST = {"correlation": 400, "id": 400, "source": 400}


@router.post("", operation_id="publish", dependencies=[needs("event:publish")])
async def publish(request: Request) -> Response:
    """Publish `{type, correlation?, data?, id?}`, or a CloudEvent in its structured form; tell how many waits it ended, and
    which executions it started.

    An `id` is published once, however often it is sent; CloudEvents count theirs for each `source`.
    """
    state = of(request)
    body = await _read(request, state)
    type_ = body.get("type")
    if not isinstance(type_, str) or not _TYPE.fullmatch(type_):
        hint = "Letters, digits and _ . : / -, 200 at most, like order.paid."
        raise Invalid("`type` is no type of an event.", hint=hint)
    data = place(_encoded(state, body.get("data")), state.settings.limits.blob_from_bytes)
    event = triggers.Event(
        state.runtime.clock.mint("evt"),
        type_,
        body.get("data"),
        _text(body, "source") or "",
        _text(body, "correlation") or "",
    )
    person, project = principal.of(request).name, principal.project(request)
    published, ready = await publishing(
        state.runtime, state.versions, event, data, key=_text(body, "id"), principal=person, project=project
    )
    failpoint("publish.accepted")
    state.runtime.dispatcher.send_all(ready)
    answer: dict[str, Json] = {
        "id": published.id,
        "duplicate": not published.new,
        "woken": published.woken,
        "started": [each.execution for each in published.arrived if each.status == "started"],
    }
    return JSONResponse(answer)


@router.get("/triggers", operation_id="event_triggers", dependencies=[needs("trigger:read")])
async def listing(request: Request, limit: pages.Limit = 50, cursor: pages.Cursor = None) -> Response:
    """List the triggers of workflows that wait for events."""
    after, project = pages.by_name(request, cursor), principal.project(request)
    return pages.answer(
        request,
        await of(request).runtime.reader.read(
            lambda connection: triggers.listing(connection, limit, after, project)
        ),
    )


@router.get(
    "/triggers/{trigger}/arrivals", operation_id="event_arrivals", dependencies=[needs("trigger:read")]
)
async def arrivals(request: Request, trigger: str, limit: pages.Limit = 50) -> Response:
    """Return what became of the latest events at a trigger, those included that could start nothing."""
    project = principal.project(request)
    return JSONResponse(
        {
            "data": await of(request).runtime.reader.read(
                lambda connection: triggers.arrived(connection, trigger, limit, project=project)
            )
        }
    )


async def _read(request: Request, state: State) -> dict[str, Json]:
    """Return a body in our own words, whichever form it has."""
    largest = state.settings.limits.input_bytes + 4096
    body = await bodies.read(request, largest)
    if isinstance(body, dict) and "specversion" in body:
        named = {"type": "type", "subject": "correlation", "data": "data", "id": "id", "source": "source"}
        if body["specversion"] != "1.0" or "data_base64" in body:
            raise Invalid("Of CloudEvents, version 1.0 with JSON in `data` is understood.")
        return {word: body[name] for name, word in named.items() if name in body}
    return await bodies.read_object(request, "type", "correlation", "data", "id", largest=largest)


def _text(body: dict[str, Json], name: str) -> str | None:
    """Return a short text; a whole number stands for its digits."""
    value = body.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not (isinstance(value, str) and len(value) <= _LONGEST[name]):
        message = f"`{name}` is a text of at most {_LONGEST[name]} characters, or a whole number."
        raise Invalid(message)
    if value is not None and "\0" in value:
        message = f"`{name}` holds the character NUL."
        raise Invalid(message)
    return value


def _encoded(state: State, data: Json) -> str:
    limit = state.settings.limits.input_bytes
    try:
        return encode(data, limit)
    except Fail as error:
        message = error.message.replace("output", "data")
        raise (TooLarge if error.code.endswith("too_large") else Invalid)(message) from None
