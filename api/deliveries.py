"""A request from outside becomes executions: verified, read, accepted with its id in one transaction, and answered.

In this order, so that nobody who cannot prove who they are learns or costs more than a hash: method, proof, body, payload.
What is accepted is durable before anything is answered.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import JSONResponse, PlainTextResponse, Response

from api import forms, payloads
from api.problems import problem
from api.starting import ended
from api.state import State
from celeriac import Json
from engine import admission, catalog
from engine import operations as op
from engine.cancels import cancel
from engine.errors import CeleriacError, Conflict, Invalid, TooLarge
from engine.failpoints import failpoint
from engine.holds import QUEUE_FULL, REJECTED
from engine.states import EXECUTION_FINAL
from engine.triggers import verification
from engine.triggers.endpoints import Endpoint, Secrets
from engine.triggers.forms import Form
from engine.triggers.forms import payload as values_of
from engine.triggers.scheduler import sendable
from engine.triggers.verification import NotVerified

LARGEST: Final = 5 * 1024 * 1024
"""Bytes of a request from outside."""

_LEFT_OUT: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "host",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)
_WITHOUT_BODY: Final = frozenset({204, 205, 304})
"""Statuses whose answer has no body (RFC 9110)."""

_MOST_HEADERS: Final = 8_192
"""Characters of headers that an execution remembers."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request. The names of its headers are in lower case."""

    method: str
    headers: Mapping[str, str]
    query: str
    body: bytes
    parameters: Mapping[str, str]
    request_id: str = ""


async def receive(state: State, about: Endpoint, incoming: Incoming, *, test: bool = False) -> Response:
    """Accept what a request brings, or refuse it. Raises what the problems of the API know."""
    webhook, verify = about.webhook, about.webhook.verify
    if incoming.method not in webhook.methods:
        detail = f"{incoming.method} is not what this address takes."
        return problem(
            405,
            "request.method_not_allowed",
            detail,
            request_id=incoming.request_id,
            headers={"Allow": ", ".join(webhook.methods)},
        )
    if len(incoming.body) > LARGEST:
        message = f"The body is larger than {LARGEST:,} bytes."
        raise TooLarge(message, limit=LARGEST)
    now = state.runtime.clock.now()
    try:
        verification.check(
            verify, secrets_of(state, about, now), incoming.headers, incoming.body, now // 1000
        )
        found, several = payloads.read(incoming.headers, incoming.body, incoming.query)
        first = found[0] if found else None
        if (said := verification.challenge(verify, first)) is not None:
            return PlainTextResponse(said)
        named = verification.delivery_id(verify, incoming.headers, first)
    except NotVerified as refused:
        return problem(401, "webhook.not_verified", str(refused), request_id=incoming.request_id)
    except payloads.TypeUnknown as unknown:
        return problem(415, unknown.code, unknown.message, hint=unknown.hint, request_id=incoming.request_id)
    catalog.startable(about.active)
    key = named or state.runtime.clock.mint("dlv")
    event = _remembered(about, incoming, None if several else key, test=test)
    waits = webhook.respond != "immediately" and not several
    reply_to = state.reply_to if waits else None
    arrived = await _accept(state, about, key, found, event, reply_to, several=several)
    return await _answer(state, incoming, about, arrived, several=several)


async def fill(state: State, about: Endpoint, form: Form, body: bytes) -> Response:
    """Accept a filled-in form, or show it again with what is wrong."""
    try:
        given = payloads.form(body)
    except Invalid as error:
        return forms.sorry(error.message, 422)
    page_id = given.pop(forms.PAGE, None)
    if not isinstance(page_id, str) or not forms.PAGE_ID.fullmatch(page_id):
        return forms.sorry("The form was not filled in on its page.", 422)
    payload, wrong = values_of(form, given)
    filled = {**given, **payload}
    if wrong:
        return forms.page(form, page_id, given=filled, wrong=wrong, status=422)
    event: dict[str, Json] = {"form": about.id, "delivery": page_id}
    try:
        catalog.startable(about.active)
        arrived = await _accept(state, about, page_id, [payload], event, None)
    except admission.InputInvalid as error:
        errors = error.details.get("errors")
        wrong = forms.messages(errors if isinstance(errors, list) else [], form)
        return forms.page(form, page_id, given=filled, wrong=wrong or {"": error.message}, status=422)
    except Conflict:
        return forms.sorry("This is not possible at the moment.", 409)
    if arrived.execution is None:
        return forms.sorry("This is not possible right now. Try again later.", 409)
    return forms.thanks(form)


def secrets_of(state: State, about: Endpoint, now: int) -> list[str]:
    """Return the secrets that count at an address. Raises `Misconfigured` or `Unavailable` when they cannot be opened."""
    if about.sealed is None or not about.webhook.verify.has_secret:
        return []
    return Secrets.open(about.sealed, about.active.project, about.id, state.sealing).good(now)


async def _accept(
    state: State,
    about: Endpoint,
    key: str,
    found: list[Json],
    event: dict[str, Json],
    reply_to: str | None,
    *,
    several: bool = False,
) -> op.Arrived:
    """Take a delivery in; what cannot be started is written down too. Raises the reason."""
    runtime = state.runtime
    now = runtime.clock.now()
    project = about.active.project
    try:
        if not found:
            raise Invalid("The body has no line.")
        starts = []
        for number, payload in enumerate(found, 1):
            wish = admission.Request(
                about.active,
                payload,
                kind=about.kind,
                trigger=about.name,
                arrival=event,
                reply_to=reply_to,
            )
            starts.append(_operation(state, wish, number if several else None))
        arrival = op.Arrival(about.id, key, project, now, tuple(starts))
        refusal = None
    except CeleriacError as error:
        detail = json.dumps({"code": error.code, "message": error.message})
        arrival, refusal = op.Arrival(about.id, key, project, now, status="failed", detail=detail), error
    asked = op.Arrive((arrival,))
    answer: tuple[op.Arrived, ...] = await runtime.ledger.submit(asked)
    failpoint("arrive.after")
    ready, outdone = sendable([asked.arrivals], [answer])
    runtime.dispatcher.send_all(ready)
    await asyncio.gather(*(cancel(runtime, each, admission.OUTDONE) for each in sorted(set(outdone))))
    (arrived,) = answer
    if arrived.execution is None and refusal is not None:
        raise refusal
    return arrived


def _operation(state: State, wish: admission.Request, line: int | None) -> op.Start:
    try:
        return admission.operation(state.runtime, wish)
    except admission.InputInvalid as error:
        if line is None:
            raise
        message = f"Line {line}: {error.message}"
        raise admission.InputInvalid(message, hint=error.hint, line=line, **error.details) from None


async def _answer(
    state: State, incoming: Incoming, about: Endpoint, arrived: op.Arrived, *, several: bool
) -> Response:
    webhook = about.webhook
    if arrived.execution is None:
        refused = json.loads(arrived.detail or "{}").get("code")
        raise (admission.QueueFull if refused == QUEUE_FULL else admission.Rejected)(
            hint="Send it again when an execution has ended."
        )
    url = f"/api/v1/executions/{arrived.execution}"
    body: dict[str, Json] = {"execution": arrived.execution, "url": url, "duplicate": not arrived.new}
    if several and arrived.new:
        body["executions"] = [None if each.refused else each.execution for each in arrived.started]
        body["refused"] = sum(each.refused in (REJECTED, QUEUE_FULL) for each in arrived.started)
    headers = {"Location": url}
    if webhook.respond == "immediately" or several:
        return JSONResponse(body, 202, headers)
    answers = webhook.respond == "respond_node"
    shown = await ended(state, arrived.execution, webhook.deadline, about.active.project, answers=answers)
    if answers and "answer" in shown:
        said: Any = shown["answer"]
        if said["status"] in _WITHOUT_BODY:
            return Response(None, said["status"], said["headers"])
        return JSONResponse(said["body"], said["status"], said["headers"])
    if shown["status"] not in EXECUTION_FINAL:
        return JSONResponse(body, 202, headers)
    if shown["status"] != "succeeded":
        error: Any = shown.get("error") or {}
        more: dict[str, Json] = {"execution": arrived.execution, "status": shown["status"]}
        if isinstance(error, dict) and "code" in error:
            more["error"] = error["code"]
        detail = f"The delivery was accepted, and its execution has {shown['status'].replace('_', ' ')}."
        return problem(
            422,
            "webhook.execution_failed",
            detail,
            request_id=incoming.request_id,
            more=more,
            headers=headers,
        )
    return JSONResponse(shown.get("output"), 200, headers)


def _remembered(about: Endpoint, incoming: Incoming, delivery: str | None, *, test: bool) -> dict[str, Json]:
    """Return what an execution remembers of the request that started it: nothing that proves anything."""
    left_out = _LEFT_OUT | about.webhook.verify.secret_headers
    room, headers = _MOST_HEADERS, {}
    for name, value in incoming.headers.items():
        room -= len(name) + len(value)
        if name not in left_out and room >= 0:
            headers[name] = value
    found: dict[str, Json] = {
        "webhook": about.id,
        "method": incoming.method,
        "parameters": {**incoming.parameters},
        "query": payloads.pairs(incoming.query, "query"),
        "headers": {**headers},
    }
    if delivery is not None:
        found["delivery"] = delivery
    return {**found, "test": True} if test else found
