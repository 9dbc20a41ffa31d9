"""The one door through which executions come in: check the payload, accept durably, send.

Whatever starts a workflow (a person, a webhook, a schedule, another workflow) comes through here, so that what was
accepted is accepted in the same transaction as its idempotency key, and once.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

import jsonschema_rs

from celeriac import Fail, Json
from engine import cancels, expressions, schema
from engine import operations as op
from engine.catalog import Active, trigger_event
from engine.clock import Clock
from engine.definition import TRIGGER
from engine.encoding import encode, place
from engine.errors import Conflict, Invalid
from engine.expressions import ExpressionError, Scope
from engine.failpoints import failpoint
from engine.holds import QUEUE_FULL, REJECTED, Limits
from engine.settings import Settings

if TYPE_CHECKING:
    from engine.runtime import Runtime


OUTDONE: Final = "A newer execution takes its place."
"""Why an execution is cancelled whose limit lets the newest one go first."""


class InputInvalid(Invalid):
    """The payload is not what the workflow takes."""

    code = "input.invalid"


class Rejected(Conflict):
    """As many executions as may be under way under the key are so already."""

    code = REJECTED


class QueueFull(Conflict):
    """As many executions as may wait for the key do so already."""

    code = QUEUE_FULL


class KeyReused(Conflict):
    """The idempotency key was used before, for another request."""

    code = "request.idempotency_key_reused"


@dataclass(frozen=True, slots=True)
class Request:
    """One wish to start a workflow. `reply_to` names a queue that is told when the execution ends.

    `trigger` is the id of the trigger, `arrival` what the execution remembers of how it came besides. `parent` is the segment
    that calls it, `caller` the node there; `depth` counts the executions around it.
    """

    active: Active
    payload: Json
    kind: str = "manual"
    trigger: str = TRIGGER
    arrival: Mapping[str, Json] = field(default_factory=dict)
    idempotency_key: str | None = None
    principal: str = ""
    priority: int = 0
    base: str | None = None
    reply_to: str | None = None
    parent: tuple[str, int, str] | None = None
    caller: str | None = None
    depth: int = 0
    awaited: bool = False
    fork: op.Fork | None = None
    wish: str = ""
    """What else besides workflow and payload tells one request from another under the same key."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A durable promise. `new` is false when the same request had been accepted before, or another one stands for it."""

    execution: str
    new: bool


async def accept(runtime: Runtime, request: Request) -> Accepted:
    """Accept one execution; when this returns, it will run.

    Raises `InputInvalid`, `KeyReused`, `Rejected`, `QueueFull`, `Unavailable`.
    """
    return (await accept_all(runtime, [request]))[0]


async def accept_all(runtime: Runtime, requests: Sequence[Request]) -> list[Accepted]:
    """Accept many at once, in as few commits as the ledger needs. Raises the first refusal, with the others accepted."""
    return await accept_starts(runtime, [operation(runtime, each) for each in requests])


async def accept_starts(runtime: Runtime, starts: Sequence[op.Start]) -> list[Accepted]:
    """The same for starts that are made already."""
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
    outdone = sorted({name for answer in answers for name in answer.outdone})
    await asyncio.gather(*(cancels.cancel(runtime, name, OUTDONE) for name in outdone))
    for start, answer in zip(starts, answers, strict=True):
        if answer.refused is not None and start.concurrency is not None:
            refused = Rejected if answer.refused == REJECTED else QueueFull
            raise refused(hint="Try again when one of them has ended.", key=start.concurrency.key)
        if not answer.same:
            hint = f"It started {answer.execution}. Use a new key for a new request."
            raise KeyReused(hint=hint, execution=answer.execution)
    return [Accepted(each.execution, each.new) for each in answers]


class Accepting(Protocol):
    """What a start has to know of its process."""

    @property
    def settings(self) -> Settings:
        """Its settings."""

    @property
    def clock(self) -> Clock:
        """Its clock."""


def operation(runtime: Accepting, request: Request) -> op.Start:
    """Return the start that a request asks for. Raises `InputInvalid`, also for a payload that the key of a limit cannot use."""
    active, limits = request.active, runtime.settings.limits
    check_inputs(active.inputs, request.payload)
    try:
        text = encode(request.payload, limits.input_bytes)
    except Fail as error:
        message = error.message.replace("output", "payload")
        raise InputInvalid(message, limit=limits.input_bytes) from None
    payload, blob = place(text, limits.blob_from_bytes)
    now = runtime.clock.now()
    name = runtime.clock.mint("exec")
    event = _event(request)
    own = Limits()
    if active.limits is not None:
        own = _rendered(active.limits, request, name, event, now)
    return op.Start(
        execution=name,
        project=active.project,
        workflow=active.workflow,
        version=active.version,
        queue=active.queue,
        now=now,
        input=payload,
        trigger=json.dumps(event),
        blobs=(blob,) if blob else (),
        principal=request.principal,
        idempotency_key=request.idempotency_key,
        request_hash=hashlib.sha256(f"{active.workflow}\x1f{text}{request.wish}".encode()).hexdigest(),
        priority=request.priority or active.priority,
        parent=request.parent,
        depth=request.depth,
        awaited=request.awaited,
        base=request.base,
        deadline=None if active.timeout is None else now + round(active.timeout * 1000),
        reply_to=request.reply_to,
        concurrency=own.concurrency,
        rate=own.rate,
        fork=request.fork,
        variables=active.variables,
    )


def _event(request: Request) -> dict[str, Json]:
    """Return what the execution remembers of its start."""
    event = {**trigger_event(request.kind, request.trigger), **request.arrival}
    if request.parent is not None:
        event["parent"] = {"execution": request.parent[0], "node": request.caller}
    return event


@dataclass(frozen=True, slots=True)
class Moment:
    """The time and the randomness of one start."""

    name: str
    now_ms: int

    def draw(self, n: int) -> bytes:
        """Return 16 bytes that nobody has to keep from guessing: they are part of a key."""
        return hashlib.sha256(f"{self.name}\x1f{n}".encode()).digest()[:16]


def _rendered(limits: Limits, request: Request, name: str, event: dict[str, Json], now: int) -> Limits:
    payload = request.payload
    values: dict[str, Json] = dict(payload) if isinstance(payload, dict) else {}
    values["trigger"] = {**event, "payload": payload}
    values["execution"] = {
        "id": name,
        "workflow_id": request.active.workflow,
        "version": request.active.version,
        "started_at": now,
    }
    try:
        keys = expressions.compile_value(limits.keys).render(Scope(values, Moment(name, now)))
        return limits.rendered(keys)
    except (ExpressionError, Fail) as error:
        message = f"The payload gives the workflow's limit no key: {error.message}"
        raise InputInvalid(message) from None


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
