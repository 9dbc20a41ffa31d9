"""Webhooks: addresses that requests from outside arrive at. Those that stand in a definition are changed there."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, pages, principal
from api.deliveries import Incoming, receive, secrets_of
from api.permission import needs
from api.state import of
from celeriac import Json
from celeriac.duration import seconds
from engine.encoding import encode
from engine.errors import Conflict, Invalid
from engine.store.database import Connection
from engine.triggers import endpoints, paths
from engine.triggers.endpoints import LONGEST_ROTATION, ROTATION, Issued, WebhookInvalid
from engine.triggers.verification import sample

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class NoSecret(Conflict):
    """No secret is stored for the address."""

    code = "webhook.no_secret"


@router.get("", operation_id="webhooks", dependencies=[needs("trigger:read")])
async def listing(
    request: Request,
    workflow: Annotated[str | None, Query(max_length=200)] = None,
    limit: pages.Limit = 50,
    cursor: pages.Cursor = None,
) -> Response:
    """List webhooks and forms. Secrets are never shown again."""
    state, after = of(request), pages.by_name(request, cursor)
    base, project = state.settings.public_base, principal.project(request)
    return pages.answer(
        request,
        await state.runtime.reader.read(
            lambda connection: endpoints.listing(
                connection, state.versions, base, limit, workflow=workflow, after=after, project=project
            )
        ),
    )


@router.post("", status_code=201, operation_id="add_webhook", dependencies=[needs("trigger:manage")])
async def add(request: Request) -> Response:
    """Make a webhook for a workflow: `{workflow, name, config}`. The answer shows its secrets, once."""
    state = of(request)
    body = await bodies.read_object(request, "workflow", "name", "config")
    workflow, title = body.get("workflow"), body.get("name")
    if not isinstance(workflow, str):
        raise Invalid("`workflow` is the name or the id of a workflow.")
    if not isinstance(title, str) or not _NAME.fullmatch(title):
        hint = "A letter or underscore, then letters, digits and underscores, at most 64 in all."
        raise Invalid("`name` is no name of a webhook.", hint=hint)
    config = endpoints.check(body.get("config", {}))
    clock = state.runtime.clock
    name, now = clock.mint("hook"), clock.now()
    project = principal.project(request)
    made = endpoints.add(name, workflow, title, config, now, project=project)

    def change(connection: Connection) -> Issued:
        found = endpoints.issue(made(connection), lambda: state.sealing, clock.entropy, now)(connection)
        return next(each for each in found if each.endpoint.id == name)

    issued: Issued = await noting.change(request, change, "webhook:add", name, workflow=workflow)
    location = {"Location": f"/api/v1/webhooks/{name}"}
    return JSONResponse(issued.to_json(state.settings.public_base), 201, location)


@router.get("/{webhook}", operation_id="webhook", dependencies=[needs("trigger:read")])
async def show(request: Request, webhook: str) -> Response:
    """Show a webhook, without its secrets."""
    state, project = of(request), principal.project(request)
    found = await state.runtime.reader.read(
        lambda connection: endpoints.find(connection, state.versions, webhook, project=project)
    )
    return JSONResponse(found.to_json(state.settings.public_base))


@router.delete(
    "/{webhook}", status_code=204, operation_id="remove_webhook", dependencies=[needs("trigger:manage")]
)
async def remove(request: Request, webhook: str) -> Response:
    """Remove a webhook; what it has started goes on."""
    change = endpoints.remove(webhook, project=principal.project(request))
    await noting.change(request, change, "webhook:remove", webhook)
    return Response(status_code=204)


@router.post("/{webhook}/rotate", operation_id="rotate_webhook", dependencies=[needs("trigger:manage")])
async def rotate(request: Request, webhook: str) -> Response:
    """Give a webhook a new secret, which the answer shows once: `{secret?, keep?}`.

    `secret` is one that the sender has made up, as Stripe and Slack do; then an address stays what it is. The one before counts
    for `keep` more, a day if nothing is said.
    """
    state = of(request)
    body = await bodies.read_object(request, "secret", "keep")
    secret, keep = body.get("secret"), ROTATION
    if secret is not None and not isinstance(secret, str):
        raise WebhookInvalid("`secret` is a text.")
    if "keep" in body:
        keep = _duration(body["keep"])
    clock = state.runtime.clock
    project = principal.project(request)
    change = endpoints.rotate(
        webhook, state.sealing, clock.entropy, clock.now(), secret=secret, keep=keep, project=project
    )
    issued: Issued = await noting.change(request, change, "webhook:rotate", webhook)
    return JSONResponse(issued.to_json(state.settings.public_base))


@router.post("/{webhook}/enable", operation_id="enable_webhook", dependencies=[needs("trigger:manage")])
async def enable(request: Request, webhook: str) -> Response:
    """Let requests arrive."""
    return await _set_enabled(request, webhook, enabled=True)


@router.post("/{webhook}/disable", operation_id="disable_webhook", dependencies=[needs("trigger:manage")])
async def disable(request: Request, webhook: str) -> Response:
    """Let no request arrive: its address is as if it were not there."""
    return await _set_enabled(request, webhook, enabled=False)


@router.get("/{webhook}/deliveries", operation_id="webhook_deliveries", dependencies=[needs("trigger:read")])
async def deliveries(request: Request, webhook: str, limit: pages.Limit = 50) -> Response:
    """Return the latest deliveries, with what became of them. What was not verified is not kept."""
    state, project = of(request), principal.project(request)

    def read(connection: Connection) -> list[dict[str, Json]]:
        endpoints.find(connection, state.versions, webhook, project=project)
        return endpoints.arrivals(connection, webhook, limit)

    return JSONResponse({"data": await state.runtime.reader.read(read)})


@router.post(
    "/{webhook}/test", status_code=202, operation_id="test_webhook", dependencies=[needs("execution:start")]
)
async def test(request: Request, webhook: str) -> Response:
    """Deliver a payload as a sender would, signed with the webhook's own secret: `{payload?, parameters?}`."""
    state, project = of(request), principal.project(request)
    largest = state.settings.limits.input_bytes + 1024
    body = await bodies.read_object(request, "payload", "parameters", largest=largest)
    about = await state.runtime.reader.read(
        lambda connection: endpoints.find(connection, state.versions, webhook, project=project)
    )
    if about.kind == "form":
        raise Invalid("A form is tried on its page.")
    given = body.get("parameters", {})
    parameters = given if isinstance(given, dict) else {}
    wanted = {each[1:-1] for each in paths.parts(about.webhook.path or "") if each.startswith("{")}
    if set(parameters) != wanted or not all(isinstance(each, str) for each in parameters.values()):
        message = f"`parameters` has a text for each of: {', '.join(sorted(wanted)) or 'none'}."
        raise Invalid(message)
    clock, verify = state.runtime.clock, about.webhook.verify
    now = clock.now()
    secrets = secrets_of(state, about, now)
    if verify.has_secret and not secrets:
        raise NoSecret(hint=f"Make one: celeriac webhooks rotate {webhook}")
    raw = encode(body.get("payload", {}), largest).encode()
    headers = sample(verify, secrets[0] if secrets else "", clock.mint("test"), raw, now // 1000)
    incoming = Incoming(
        about.webhook.methods[0],
        {"content-type": "application/json", **{name.lower(): value for name, value in headers.items()}},
        "",
        raw,
        {name: str(value) for name, value in parameters.items()},
    )
    return await receive(state, about, incoming, test=True)


def _duration(value: Json) -> int:
    try:
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            found = round(seconds(value) * 1000)
            if found <= LONGEST_ROTATION:
                return found
    except (ValueError, OverflowError):
        pass
    raise WebhookInvalid("`keep` is a duration of at most 30 days, like 12h.")


async def _set_enabled(request: Request, webhook: str, *, enabled: bool) -> Response:
    state, project = of(request), principal.project(request)
    change = endpoints.set_enabled(webhook, enabled=enabled, now=state.runtime.clock.now(), project=project)
    deed = "webhook:enable" if enabled else "webhook:disable"
    found = await noting.change(request, change, deed, webhook)
    return JSONResponse(found.to_json(state.settings.public_base))
