"""Where requests from outside arrive: `/webhooks/{workflow}/{secret}`, and named paths below `/webhooks`.

Who calls shows no token of the API: the address or the signature is the proof, which is looked at here. These are plain
routes and no part of the API's description: their methods, bodies and answers are their authors'.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.deliveries import LARGEST, Incoming, receive
from api.problems import problem
from api.state import of
from engine.errors import TooLarge
from engine.triggers import endpoints, paths
from engine.triggers.webhooks import METHODS

NO_SUCH = "There is nothing at this address."


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


routes = [
    # Permission: none; the address or its signature is the proof.
    Route(f"{paths.ROOT}/{{rest:path}}", arrive, methods=[*METHODS], include_in_schema=False),
]
