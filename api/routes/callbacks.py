"""Calls from outside that end a wait: no token of the API is asked for, the address itself is the proof."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies
from api.permission import anyone
from api.state import of
from celeriac import Fail
from engine import operations as op
from engine import queries
from engine.encoding import encode, place
from engine.errors import Conflict, Invalid, NotFound

router = APIRouter(prefix="/callbacks", tags=["callbacks"])

LARGEST = 1024 * 1024
"""Bytes of a body that whoever has an address may send."""


class CallbackUnknown(NotFound):
    """There is no such address."""

    code = "callback.unknown"


class CallbackUsed(Conflict):
    """The wait is over: this address was called before, or something else came first."""

    code = "callback.used"


@router.post(
    "/{token}",
    status_code=202,
    operation_id="call_back",
    dependencies=[anyone("the address is the proof", limited=False)],
)
async def call(request: Request, token: str) -> Response:
    """End a wait with what is sent along. Each address works once."""
    state = of(request)
    address = state.callbacks.read(token)
    if address is None:
        raise CallbackUnknown
    found = await state.runtime.reader.read(lambda connection: queries.wait_of(connection, address))
    if found is None:
        raise CallbackUnknown
    try:
        text = encode(await bodies.read(request, LARGEST), LARGEST)
    except Fail as error:
        raise Invalid(error.message.replace("output", "body")) from None
    payload, blob = place(text, state.settings.limits.blob_from_bytes)
    signalled: op.Signalled = await state.runtime.ledger.submit(
        op.Signal(
            address.execution,
            found,
            address.item,
            address.name,
            "callback",
            state.runtime.clock.now(),
            payload,
            (blob,) if blob else (),
        )
    )
    if not signalled.won:
        raise CallbackUsed
    state.runtime.dispatcher.send(address.execution, signalled.ready)
    return JSONResponse({"accepted": True}, 202)
