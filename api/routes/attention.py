"""What waits for a person's word: effects of unknown fate, and segments whose process died too often."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, pages, principal
from api.permission import needs
from api.state import of
from celeriac import Json
from engine import operations as op
from engine import queries
from engine.encoding import encode, place
from engine.errors import Conflict, Invalid

router = APIRouter(tags=["attention"])

DECISIONS = ("retry", "done", "fail")
DECLARED = "effect.declared_failed"


@router.get("/attention", operation_id="attention", dependencies=[needs("execution:read")])
async def listing(request: Request, limit: pages.Limit = 50, cursor: pages.Cursor = None) -> Response:
    """List what waits for a person's word, with the reason and the remedy; those of the oldest executions first."""
    behind, project = pages.by_place(request, cursor), principal.project(request)
    found = await of(request).runtime.reader.read(
        lambda connection: queries.attention(connection, limit, behind, project)
    )
    return pages.answer(request, found)


@router.post(
    "/executions/{execution}/segments/{number}/resolve",
    operation_id="resolve",
    dependencies=[needs("execution:control")],
)
async def resolve(
    request: Request, execution: str, number: Annotated[int, Path(ge=0, le=1_000_000)]
) -> Response:
    """Say what became of it: `retry` it, take it as `done` with an `output`, or let it `fail`."""
    state = of(request)
    limits = state.settings.limits
    body = await bodies.read_object(
        request, "decision", "output", "item", "node", largest=limits.output_bytes + 1024
    )
    decision, item = body.get("decision"), body.get("item", "")
    if decision not in DECISIONS:
        raise Invalid("`decision` is none of retry, done and fail.", hint="done: it happened; fail: give up.")
    if not isinstance(item, str):
        raise Invalid("`item` is no text.")
    if "output" in body and decision != "done":
        raise Invalid("`output` is only for `done`: it is the result of what happened.")
    found = await state.runtime.reader.read(
        lambda connection: queries.doubtful(connection, execution, number, item, principal.project(request))
    )
    if found.paused:
        message = f"The execution {execution} is paused."
        raise Conflict(message, hint=f"Let it go on first: celeriac executions resume {execution}")
    node = _node(found, body.get("node"), str(decision))
    now = state.runtime.clock.now()
    payload, error = op.Payload(), None
    if decision == "done":
        payload, blob = place(encode(body.get("output"), limits.output_bytes), limits.blob_from_bytes)
        if blob is not None:
            message = f"The output has more than {limits.blob_from_bytes:,} bytes."
            raise Invalid(message, hint="Give only what later nodes read.")
    elif decision == "fail":
        error = json.dumps({"code": DECLARED, "message": "A person decided that it failed."})
    who = principal.of(request).name
    asked = op.Resolve(execution, number, item, str(decision), now, who, payload, node, error)
    ready = await noting.change(
        request,
        asked,
        "execution:resolve",
        execution,
        lambda ready: ("done" if ready is not None else "failed", {}),
        segment=number,
        item=item,
        decision=str(decision),
    )
    if ready is None:
        message = f"The segment {number} of {execution} waits for nobody's word any more."
        raise Conflict(message, hint="celeriac attention list shows what still waits.")
    state.runtime.dispatcher.send(execution, ready)
    return JSONResponse({"execution": execution, "segment": number, "decision": decision, "node": node})


def _node(found: queries.Doubtful, named: Json, decision: str) -> str:
    """Return the node whose outcome a decision gives; "" for a quarantined segment that is just run again."""
    if named is not None and named not in found.candidates:
        raise Invalid("`node` is none that waits.", hint=f"It may be: {', '.join(found.candidates)}.")
    if found.status == "quarantined" and decision == "retry":
        return ""
    if named is None and len(found.candidates) != 1:
        if decision == "fail" and found.candidates:
            return found.candidates[0]
        message = "It is not known which node ends the process."
        raise Invalid(message, hint=f"Name it in `node`: {', '.join(found.candidates)}.")
    return str(named or found.candidates[0])
