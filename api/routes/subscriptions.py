"""Subscriptions: addresses outside that are told of events by signed requests (webhooks out)."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import httpx2
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, pages, principal, topics
from api.permission import needs
from api.state import State, of
from celeriac import Fail, Json
from engine import workflow_queries
from engine.errors import Invalid
from engine.feed import BEGINNING
from engine.hooks import message, rows
from engine.hooks.courier import place_of
from engine.hooks.rows import Hook
from engine.outside.egress import target_of
from engine.outside.sealing import seal

router = APIRouter(prefix="/subscriptions", tags=["subscriptions"])

_ROTATION = 86_400_000
"""Milliseconds for which the old secret signs too, after it was exchanged."""
_LONGEST = {"url": 2_000, "description": 1_000}
_TYPE = re.compile(r"[a-z_*]+(\.[a-z_*]+)?")


@router.get("", operation_id="subscriptions", dependencies=[needs("subscription:read")])
async def listing(request: Request) -> Response:
    """List subscriptions, without their secrets."""
    project = principal.project(request)
    found = await of(request).runtime.reader.read(lambda connection: rows.hooks(connection, project))
    return JSONResponse({"data": [each.to_json() for each in found]})


@router.post("", status_code=201, operation_id="subscribe", dependencies=[needs("subscription:manage")])
async def add(request: Request) -> Response:
    """Add a subscription: `{url, types?, workflow?, description?}`. The answer shows its secret, once."""
    state, project = of(request), principal.project(request)
    body = await bodies.read_object(request, "url", "types", "workflow", "description")
    if "url" not in body:
        raise Invalid("`url` is needed: where to send events.")
    changes = await _changes(request, {"types": list(rows.DEFAULT_TYPES), **body})
    id_, now = state.runtime.clock.mint("sub"), state.runtime.clock.now()
    secret = message.make_secret(os.urandom)
    made = Hook(
        id=id_,
        project=project,
        url=changes["url"],
        types=tuple(changes["types"]),
        workflow=changes.get("workflow_id"),
        description=changes.get("description", ""),
        enabled=True,
        reason=None,
        secret=_sealed(state, project, id_, secret),
        old_secret=None,
        old_until=None,
        place=BEGINNING,
        failing_since=None,
        created_at=now,
        updated_at=now,
    )
    change = rows.add(made, state.settings.limits.subscriptions)
    await noting.change(request, change, "subscription:add", id_, url=made.url)
    headers = {"Location": f"/api/v1/subscriptions/{id_}"}
    return JSONResponse({**made.to_json(), "secret": secret}, 201, headers)


@router.get("/{subscription}", operation_id="subscription", dependencies=[needs("subscription:read")])
async def show(request: Request, subscription: str) -> Response:
    """Show a subscription, and why it is disabled if it is."""
    found = await _find(request, subscription)
    return JSONResponse(found.to_json())


@router.patch(
    "/{subscription}", operation_id="change_subscription", dependencies=[needs("subscription:manage")]
)
async def alter(request: Request, subscription: str) -> Response:
    """Change `url`, `types`, `workflow`, `description` or `enabled`; enabled again, it hears of what happens from then on."""
    body = await bodies.read_object(request, "url", "types", "workflow", "description", "enabled")
    changes = await _changes(request, body)
    if "types" in changes:
        changes["types"] = json.dumps(changes["types"])
    return JSONResponse((await _altered(request, "subscription:alter", subscription, changes)).to_json())


@router.delete(
    "/{subscription}",
    status_code=204,
    operation_id="unsubscribe",
    dependencies=[needs("subscription:manage")],
)
async def remove(request: Request, subscription: str) -> Response:
    """Remove a subscription, and all it was still to be told."""
    change = rows.remove(subscription, principal.project(request))
    await noting.change(request, change, "subscription:remove", subscription[:64])
    return Response(status_code=204)


@router.post(
    "/{subscription}/rotate", operation_id="rotate_subscription", dependencies=[needs("subscription:manage")]
)
async def rotate(request: Request, subscription: str) -> Response:
    """Give a subscription a new secret, which the answer shows once. For a day both sign, the new one first."""
    state = of(request)
    known = await _find(request, subscription)
    now = state.runtime.clock.now()
    secret = message.make_secret(os.urandom)
    changes = {
        "secret": _sealed(state, known.project, known.id, secret),
        "old_secret": known.secret,
        "old_until": now + _ROTATION,
    }
    altered = await _altered(request, "subscription:rotate", known.id, changes)
    return JSONResponse({**altered.to_json(), "secret": secret})


@router.post(
    "/{subscription}/test",
    status_code=202,
    operation_id="test_subscription",
    dependencies=[needs("subscription:manage")],
)
async def test(request: Request, subscription: str) -> Response:
    """Send an event of the type `webhook.test`; the deliveries tell what came of it."""
    state = of(request)
    about = await _find(request, subscription)
    clock = state.runtime.clock
    made = await state.runtime.ledger.submit(rows.test(about, clock.mint("msg"), clock.now()))
    return JSONResponse(made.to_json(), 202)


@router.get(
    "/{subscription}/deliveries", operation_id="deliveries", dependencies=[needs("subscription:read")]
)
async def deliveries(
    request: Request, subscription: str, limit: pages.Limit = 50, cursor: pages.Cursor = None
) -> Response:
    """List what a subscription was told or is to be told, the latest first, with every attempt."""
    reader = of(request).runtime.reader
    before = pages.by_name(request, cursor) or None
    await _find(request, subscription)
    return pages.answer(
        request,
        await reader.read(lambda connection: rows.deliveries(connection, subscription, limit, before)),
    )


@router.post(
    "/{subscription}/deliveries/{delivery}/redeliver",
    status_code=202,
    operation_id="redeliver",
    dependencies=[needs("subscription:manage")],
)
async def redeliver(request: Request, subscription: str, delivery: str) -> Response:
    """Send what was delivered or given up once more, under the same id."""
    state = of(request)
    about = await _find(request, subscription)
    made = await state.runtime.ledger.submit(rows.again(about, delivery, state.runtime.clock.now()))
    return JSONResponse(made.to_json(), 202)


async def _find(request: Request, subscription: str) -> Hook:
    project = principal.project(request)
    found: Hook = await of(request).runtime.reader.read(
        lambda connection: rows.hook(connection, subscription, project)
    )
    return found


async def _altered(request: Request, action: str, subscription: str, changes: dict[str, Any]) -> Hook:
    now = of(request).runtime.clock.now()
    change = rows.alter(subscription, principal.project(request), changes, now)
    altered: Hook = await noting.change(request, change, action, subscription[:64])
    return altered


async def _changes(request: Request, body: dict[str, Json]) -> dict[str, Any]:
    """Return the columns that a body means. Raises `Invalid`, or `NotFound` for the workflow."""
    found: dict[str, Any] = {}
    for name in ("url", "description"):
        if name in body:
            found[name] = _text(body, name)
    if "url" in found:
        _check_url(found["url"])
    if "types" in body:
        found["types"] = [str(each) for each in topics.types_of(body["types"])]
        if not found["types"] or not all(_TYPE.fullmatch(each) for each in found["types"]):
            hint = "For example execution.* or node.failed; leave it out for the ends of executions."
            raise Invalid("`types` is no list of types of events.", hint=hint)
    if "workflow" in body:
        reference = body["workflow"]
        found["workflow_id"] = None
        if reference is not None:
            if not isinstance(reference, str):
                raise Invalid("`workflow` is the name or the id of one, or null for all.")
            project = principal.project(request)
            found["workflow_id"] = await of(request).runtime.reader.read(
                lambda connection: workflow_queries.workflow_id(connection, reference, project)
            )
    if "enabled" in body:
        if not isinstance(body["enabled"], bool):
            raise Invalid("`enabled` is true or false.")
        found["enabled"] = int(body["enabled"])
    return found


def _text(body: dict[str, Json], name: str) -> str:
    value = body[name]
    if not isinstance(value, str) or len(value) > _LONGEST[name] or "\0" in value:
        message_ = f"`{name}` is a text of at most {_LONGEST[name]:,} characters."
        raise Invalid(message_)
    return value


def _check_url(url: str) -> None:
    try:
        target_of(httpx2.URL(url))
    except (Fail, httpx2.InvalidURL) as error:
        reason = error.message if isinstance(error, Fail) else f"The URL cannot be read: {error}."
        raise Invalid(reason, hint="Write it like https://example.com/hooks.") from None


def _sealed(state: State, project: str, hook: str, secret: str) -> bytes:
    return seal(secret.encode(), place_of(project, hook), state.sealing, os.urandom)
