"""The one door through which executions come in: check the payload, accept durably, send.

Whatever starts a workflow (a person, a webhook, a schedule, another workflow) comes through here, so that what was
accepted is accepted in the same transaction as its idempotency key, and once.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import jsonschema_rs

from celeriac import Fail, Json
from engine import operations as op
from engine import schema
from engine.catalog import Active, trigger_event
from engine.encoding import encode, place
from engine.errors import Conflict, Invalid
from engine.failpoints import failpoint
from engine.runtime import Runtime


class InputInvalid(Invalid):
    """The payload is not what the workflow takes."""

    code = "input.invalid"


class KeyReused(Conflict):
    """The idempotency key was used before, for another request."""

    code = "request.idempotency_key_reused"


@dataclass(frozen=True, slots=True)
class Request:
    """One wish to start a workflow. `reply_to` names a queue that is told when the execution ends."""

    active: Active
    payload: Json
    kind: str = "manual"
    idempotency_key: str | None = None
    principal: str = ""
    priority: int = 0
    base: str | None = None
    reply_to: str | None = None
    fork: op.Fork | None = None
    wish: str = ""
    """What else besides workflow and payload tells one request from another under the same key."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A durable promise. `new` is false when the same request had been accepted before."""

    execution: str
    new: bool


async def accept(runtime: Runtime, request: Request) -> Accepted:
    """Accept one execution; when this returns, it will run. Raises `InputInvalid`, `KeyReused`, `Unavailable`."""
    return (await accept_all(runtime, [request]))[0]


async def accept_all(runtime: Runtime, requests: Sequence[Request]) -> list[Accepted]:
    """Accept many at once, in as few commits as the ledger needs. Raises the first refusal, with the others accepted."""
    starts = [operation(runtime, each) for each in requests]
    answers: list[op.Started] = await asyncio.gather(*map(runtime.ledger.submit, starts))
    failpoint("api.publish.before")
    runtime.dispatcher.send_all(
        (start.queue, (answer.execution, 0, ""))
        for start, answer in zip(starts, answers, strict=True)
        if answer.send
    )
    runtime.dispatcher.send_all(
        (queue, (answer.execution, segment, item))
        for answer in answers
        for segment, item, queue in answer.ready
    )
    for answer in answers:
        if not answer.same:
            hint = f"It started {answer.execution}. Use a new key for a new request."
            raise KeyReused(hint=hint, execution=answer.execution)
    return [Accepted(each.execution, each.new) for each in answers]


def operation(runtime: Runtime, request: Request) -> op.Start:
    """Return the start that a request asks for. Raises `InputInvalid`."""
    active, limits = request.active, runtime.settings.limits
    check_inputs(active.inputs, request.payload)
    try:
        text = encode(request.payload, limits.input_bytes)
    except Fail as error:
        message = error.message.replace("output", "payload")
        raise InputInvalid(message, limit=limits.input_bytes) from None
    payload, blob = place(text, limits.blob_from_bytes)
    now = runtime.clock.now()
    return op.Start(
        execution=runtime.clock.mint("exec"),
        project=active.project,
        workflow=active.workflow,
        version=active.version,
        queue=active.queue,
        now=now,
        input=payload,
        trigger=json.dumps(trigger_event(request.kind)),
        blobs=(blob,) if blob else (),
        principal=request.principal,
        idempotency_key=request.idempotency_key,
        request_hash=hashlib.sha256(f"{active.workflow}\x1f{text}{request.wish}".encode()).hexdigest(),
        priority=request.priority,
        base=request.base,
        deadline=None if active.timeout is None else now + round(active.timeout * 1000),
        reply_to=request.reply_to,
        fork=request.fork,
    )


def check_inputs(inputs: str | None, payload: Json) -> None:
    """Hold a payload against the workflow's `inputs`. Raises `InputInvalid` with every misfit and its place."""
    if inputs is None:
        return
    found: list[Json] = [
        {"pointer": "".join(f"/{each}" for each in error.instance_path), "message": error.message}
        for error in _validator(inputs).iter_errors(payload)
    ]
    if found:
        raise InputInvalid("The payload is not what the workflow takes.", errors=found)


@lru_cache(maxsize=256)
def _validator(inputs: str) -> jsonschema_rs.Draft202012Validator:
    return schema.compiled(json.loads(inputs))
