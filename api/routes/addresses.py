"""Where requests from outside arrive: `/webhooks/{workflow}/{secret}`, named paths below `/webhooks`, and forms.

Who calls shows no token of the API: the address or the signature is the proof, which is looked at here. These are plain
routes and no part of the API's description: their methods, bodies and answers are their authors'.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import forms
from api.deliveries import LARGEST, Incoming, fill, receive
from api.permission import open_to_anyone
from api.problems import problem
from api.state import of
from engine.errors import TooLarge
from engine.triggers import endpoints, paths
from engine.triggers.endpoints import Endpoint
from engine.triggers.forms import Form, form
from engine.triggers.webhooks import METHODS

NO_SUCH = "There is nothing at this address."


@open_to_anyone("The address or the signature is the proof, which is looked at here.")
async def arrive(request: Request) -> Response:
    """Take a request in."""
    state = of(request)
    request_id = str(request.scope.get("state", {}).get("request_id", ""))
    asked = request.scope["path"].removeprefix(f"{paths.ROOT}/").split("/")
    read = state.runtime.reader.read
    if asked[0].startswith(paths.RESERVED):
        about = (
            await read(lambda connection: endpoints.at_address(connection, state.versions, "webhook", *asked))
            if len(asked) == 2
            else None
        )
    else:
        about = await read(lambda connection: endpoints.at_path(connection, state.versions, asked))
    if about is None:
        return problem(404, "webhook.no_such_address", NO_SUCH, request_id=request_id)
    path = about.webhook.path
    incoming = Incoming(
        request.method,
        dict(request.headers),
        request.url.query,
        await _body(request),
        {} if path is None else paths.parameters(path, asked),
        request_id,
    )
    return await receive(state, about, incoming)


@open_to_anyone("The address is the proof.")
async def show_form(request: Request) -> Response:
    """Show a form."""
    state = of(request)
    about = await _form_at(request)
    if about is None:
        return forms.sorry(NO_SUCH, 404)
    return forms.page(_form(about), state.runtime.clock.mint("form"))


@open_to_anyone("The address is the proof.")
async def fill_in(request: Request) -> Response:
    """Take a filled-in form in. Sent twice, it counts once."""
    about = await _form_at(request)
    if about is None:
        return forms.sorry(NO_SUCH, 404)
    return await fill(of(request), about, _form(about), await _body(request))


async def _form_at(request: Request) -> Endpoint | None:
    state, asked = of(request), request.path_params
    found: Endpoint | None = await state.runtime.reader.read(
        lambda connection: endpoints.at_address(
            connection, state.versions, "form", asked["workflow"], asked["secret"]
        )
    )
    return found


def _form(about: Endpoint) -> Form:
    return form(about.config, json.loads(about.active.inputs or "{}"), about.active.name)


async def _body(request: Request) -> bytes:
    """Return the body, but no more of it than may be. Raises `TooLarge`."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > LARGEST:
        message = f"The body is larger than {LARGEST:,} bytes."
        raise TooLarge(message, limit=LARGEST)
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > LARGEST:
            message = f"The body is larger than {LARGEST:,} bytes."
            raise TooLarge(message, limit=LARGEST)
    return bytes(found)


def _route(path: str, endpoint: Callable[[Request], Awaitable[Response]], *methods: str) -> Route:
    made = Route(path, endpoint, methods=methods, include_in_schema=False)
    made.methods = {*methods}  # Starlette adds HEAD to GET, which no author of a webhook has asked for.
    return made


routes = [
    _route(f"{paths.ROOT}/{{rest:path}}", arrive, *METHODS),
    _route("/forms/{workflow}/{secret}", show_form, "GET"),
    _route("/forms/{workflow}/{secret}", fill_in, "POST"),
]
