"""Events from outside: published once each, for all waits that listen and those that will look back."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies, principal
from api.permission import needs
from api.state import State, of
from celeriac import Fail, Json
from engine import operations as op
from engine.encoding import encode, place
from engine.errors import Invalid, TooLarge

router = APIRouter(prefix="/events", tags=["events"])

_TYPE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,199}")
_LONGEST = {"correlation": 400, "id": 400, "source": 400}


@router.post("", dependencies=[needs("event:publish")])
async def publish(request: Request) -> Response:
    """Publish `{type, correlation?, data?, id?}`, or a CloudEvent in its structured form; tell how many waits it ended.

    An `id` is published once, however often it is sent; CloudEvents count theirs for each `source`.
    """
    state = of(request)
    body = await _read(request, state)
    type_ = body.get("type")
    if not isinstance(type_, str) or not _TYPE.fullmatch(type_):
        hint = "Letters, digits and _ . : / -, 200 at most, like order.paid."
        raise Invalid("`type` is no type of an event.", hint=hint)
    now = state.runtime.clock.now()
    data, blob = place(_encoded(state, body.get("data")), state.settings.limits.blob_from_bytes)
    published: op.Published = await state.runtime.ledger.submit(
        op.Publish(
            id=state.runtime.clock.mint("evt"),
            project=principal.project(request),
            type=type_,
            correlation=_text(body, "correlation") or "",
            now=now,
            expires_at=now + state.settings.limits.event_ms,
            data=data,
            blobs=(blob,) if blob else (),
            source=_text(body, "source") or "",
            key=_text(body, "id"),
            principal=principal.of(request).name,
        )
    )
    state.runtime.dispatcher.send_all(
        (queue, (execution, segment, item)) for execution, (segment, item, queue) in published.ready
    )
    answer = {"id": published.id, "duplicate": not published.new, "woken": published.woken}
    return JSONResponse(answer)


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
