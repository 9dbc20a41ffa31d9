"""What a person takes back while it runs: one run of a node, skipped or cancelled."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies
from api.state import State, of
from celeriac import Json
from engine import operations as op
from engine import queries, withdrawals
from engine.encoding import encode, place
from engine.errors import Invalid

router = APIRouter(prefix="/executions", tags=["executions"])

CANCELLED = "node.cancelled"


@router.post("/{execution}/nodes/{node}/skip")
async def skip(request: Request, execution: str, node: str) -> Response:
    """Go on without a node: nothing that only it leads to runs. With an `output` as if it had come to that."""
    state = of(request)
    limits = state.settings.limits
    body = await bodies.read_object(request, "item", "output", "reason", largest=limits.output_bytes + 2048)
    payload = op.Payload()
    if "output" in body:
        payload, blob = place(encode(body["output"], limits.output_bytes), limits.blob_from_bytes)
        if blob is not None:
            message = f"The output has more than {limits.blob_from_bytes:,} bytes."
            raise Invalid(message, hint="Give only what later nodes read.")
    return await _withdraw(state, execution, node, body, payload)


@router.post("/{execution}/nodes/{node}/cancel")
async def cancel(request: Request, execution: str, node: str) -> Response:
    """Let a node fail with `node.cancelled`, so that its `on_error`, its edges and the scopes around it deal with that."""
    body = await bodies.read_object(request, "item", "reason")
    error = {"code": CANCELLED, "message": _text(body, "reason") or "A person cancelled it."}
    return await _withdraw(of(request), execution, node, body, op.Payload(), json.dumps(error))


async def _withdraw(
    state: State,
    execution: str,
    node: str,
    body: dict[str, Json],
    output: op.Payload,
    error: str | None = None,
) -> Response:
    runtime, item = state.runtime, _text(body, "item")
    plan = await runtime.reader.read(
        lambda connection: runtime.programs.plan(queries.version_of(connection, execution), connection)
    )
    segment, name = withdrawals.place(plan, node, item)
    asked = op.Withdraw(
        execution, segment, item, name, runtime.clock.now(), output, error, "api", _text(body, "reason")
    )
    answer = await runtime.ledger.submit(asked)
    if isinstance(answer, withdrawals.Refusal):
        raise withdrawals.error_of(answer, execution, node)
    runtime.dispatcher.send(execution, answer)
    told: dict[str, Json] = {
        "execution": execution,
        "node": node,
        "status": "cancelled" if error else "skipped",
    }
    return JSONResponse({**told, "item": item} if item else told)


def _text(body: dict[str, Json], key: str) -> str:
    value = body.get(key, "")
    if not isinstance(value, str) or len(value) > 1000:
        message = f"`{key}` is a text of at most 1,000 characters."
        raise Invalid(message)
    return value
