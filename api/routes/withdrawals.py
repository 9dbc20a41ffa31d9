"""What a person changes while it runs: one run of a node, skipped or cancelled; the items of a map."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, principal
from api.permission import needs
from api.state import of
from celeriac import Json
from engine import calls, queries, withdrawals
from engine import operations as op
from engine.access import audit
from engine.encoding import encode, place
from engine.errors import Invalid
from engine.plan import Plan

router = APIRouter(prefix="/executions", tags=["executions"])

CANCELLED = "node.cancelled"


@router.post("/{execution}/nodes/{node}/skip", operation_id="skip", dependencies=[needs("execution:control")])
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
    return await _withdraw(request, execution, node, body, payload)


@router.post(
    "/{execution}/nodes/{node}/cancel", operation_id="cancel_node", dependencies=[needs("execution:control")]
)
async def cancel(request: Request, execution: str, node: str) -> Response:
    """Let a node fail with `node.cancelled`, so that its `on_error`, its edges and the scopes around it deal with that."""
    body = await bodies.read_object(request, "item", "reason")
    error = {"code": CANCELLED, "message": _text(body, "reason") or "A person cancelled it."}
    return await _withdraw(request, execution, node, body, op.Payload(), json.dumps(error))


@router.post(
    "/{execution}/nodes/{node}/items", operation_id="items", dependencies=[needs("execution:control")]
)
async def items(request: Request, execution: str, node: str) -> Response:
    """Change a map that runs: `add` items, `cancel` some by index (or all), or `complete` it with what has finished."""
    state = of(request)
    runtime, limits = state.runtime, state.settings.limits
    body = await bodies.read_object(
        request, "item", "add", "cancel", "complete", "reason", largest=limits.input_bytes
    )
    error = json.dumps({"code": CANCELLED, "message": _text(body, "reason") or "A person cancelled it."})
    if body.get("cancel") == "all":
        return await _withdraw(request, execution, node, body, op.Payload(), error)
    complete = body.get("complete", False)
    if not isinstance(complete, bool):
        raise Invalid("`complete` is true or false.")
    item = _text(body, "item")
    segment, name = withdrawals.place(await _plan(request, execution), node, item)
    asked = op.ChangeItems(
        execution,
        segment,
        item,
        name,
        runtime.clock.now(),
        tuple(encode(each, limits.output_bytes) for each in _list(body, "add")),
        _indexes(body),
        error,
        complete,
        limits.map_items,
        limits.blob_from_bytes,
        principal.of(request).name,
    )
    answer = await noting.change(request, asked, "execution:items", execution, _told, node=node, item=item)
    if isinstance(answer, withdrawals.Refusal):
        raise withdrawals.error_of(answer, execution, node)
    runtime.dispatcher.send(execution, answer.ready)
    cancelled: list[Json] = list(answer.cancelled)
    return JSONResponse({"execution": execution, "node": node, "count": answer.count, "cancelled": cancelled})


async def _withdraw(
    request: Request,
    execution: str,
    node: str,
    body: dict[str, Json],
    output: op.Payload,
    error: str | None = None,
) -> Response:
    state, item = of(request), _text(body, "item")
    runtime = state.runtime
    segment, name = withdrawals.place(await _plan(request, execution), node, item)
    asked = op.Withdraw(
        execution,
        segment,
        item,
        name,
        runtime.clock.now(),
        output,
        error,
        principal.of(request).name,
        _text(body, "reason"),
        await runtime.reader.read(lambda connection: calls.called(connection, execution, segment, item)),
    )
    action = "execution:cancel_node" if error else "execution:skip"
    answer = await noting.change(request, asked, action, execution, _told, node=node, item=item)
    if isinstance(answer, withdrawals.Refusal):
        raise withdrawals.error_of(answer, execution, node)
    runtime.dispatcher.send(execution, answer)
    told: dict[str, Json] = {
        "execution": execution,
        "node": node,
        "status": "cancelled" if error else "skipped",
    }
    return JSONResponse({**told, "item": item} if item else told)


async def _plan(request: Request, execution: str) -> Plan:
    runtime, project = of(request).runtime, principal.project(request)
    found: Plan = await runtime.reader.read(
        lambda connection: runtime.programs.plan(
            queries.version_of(connection, execution, project), connection
        )
    )
    return found


def _told(answer: object) -> tuple[audit.Outcome, dict[str, Json]]:
    return "failed" if isinstance(answer, withdrawals.Refusal) else "done", {}


def _list(body: dict[str, Json], key: str) -> list[Json]:
    found = body.get(key, [])
    if not isinstance(found, list):
        message = f"`{key}` is a list."
        raise Invalid(message)
    return found


def _indexes(body: dict[str, Json]) -> tuple[int, ...]:
    found = _list(body, "cancel")
    if not all(type(each) is int for each in found):
        raise Invalid("`cancel` is a list of indexes, or the word all.")
    return tuple(each for each in found if isinstance(each, int))


def _text(body: dict[str, Json], key: str) -> str:
    value = body.get(key, "")
    if not isinstance(value, str) or len(value) > 1000:
        message = f"`{key}` is a text of at most 1,000 characters."
        raise Invalid(message)
    return value
