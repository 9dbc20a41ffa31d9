"""What gets in. Stands before everything else, and looks at the form of a request; who sends it is for its route to ask.

The API listens on loopback, where every web page in the user's browser can send requests too. So the Host has to be one
of ours (a rebound DNS name is not), a request that a browser sends for another site is refused, and a body has to be declared
as JSON (which a form cannot do).
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Iterable
from time import perf_counter
from typing import TYPE_CHECKING

from api.metrics import OTHER, OUTSIDE, Metrics
from api.problems import problem
from engine.errors import TooLarge

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import Response
    from starlette.types import Message, Receive, Scope, Send

log = logging.getLogger(__name__)

OPEN = frozenset({"/healthz", "/readyz", "/schemas/workflow/v1.json"})
"""What is answered whatever the Host is, since probes and editors ask by address: whether it lives, and what the language is."""

FOREIGN = ("/webhooks/", "/forms/")
"""What anybody may send anything to, by any method: below them the address or a signature is the proof."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


class Guard:
    """The application behind its door. `largest` is the most bytes of a body that are read at all."""

    def __init__(self, app: FastAPI, *, hosts: Iterable[str], largest: int) -> None:
        self.app = app
        self.metrics = Metrics()
        self._hosts = LOOPBACK | {each.lower() for each in hosts}
        self._largest = largest

    def begin_stopping(self) -> None:
        """Let streams end, which would keep a server from stopping."""
        if (state := getattr(self.app.state, "celeriac", None)) is not None:
            state.stopping = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._shake_hands(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else _new_id()
        scope.setdefault("state", {})["request_id"] = request_id

        begun = perf_counter()
        answered: list[bool] = []

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered.append(True)
                self.metrics.count(_operation(scope), message["status"], perf_counter() - begun)
                own = message.get("headers", ())
                message["headers"] = [
                    *own,
                    *scope["state"].get("headers", ()),
                    *(each for each in _HEADERS if each[0] not in {name for name, _ in own}),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is None:
            try:
                await self.app(scope, self._measured(receive), marked)
            except asyncio.CancelledError:
                if answered:
                    raise
                await _leaving(request_id)(scope, receive, marked)
            return
        status, code, detail, hint = refusal
        answer = problem(status, code, detail, hint=hint, request_id=request_id)
        await answer(scope, receive, marked)

    async def _shake_hands(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a WebSocket in, or refuse it as another request would be. Its token may come in its first frame."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if _name_of(host) not in self._hosts or not _same_site(headers, host):
            await receive()
            await send({"type": "websocket.close", "code": 4403, "reason": "Refused."})
            return
        scope.setdefault("state", {})["request_id"] = _new_id()
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str, str, str] | None:
        """Return why a request is refused: status, code, reason, remedy."""
        if scope["path"] in OPEN and scope["method"] in ("GET", "HEAD"):
            return None
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if _name_of(host) not in self._hosts:
            hint = "Use a loopback address, or name this host in CELERIAC_API_HOSTS."
            return 421, "request.host_refused", f"This API does not serve the host {host[:100]!r}.", hint
        outside = scope["path"].startswith(FOREIGN)
        if not (outside and scope["method"] == "GET") and not _same_site(headers, host):
            hint = "Call the API from a program, not from a page of another site."
            return 403, "request.cross_origin", "The request was sent for a page of another site.", hint
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            hint = "No name here has it, and no database keeps it."
            return 422, "request.invalid", "The address has the character NUL.", hint
        if outside:
            return None
        return self._body_refusal(scope["method"], headers)

    def _body_refusal(self, method: str, headers: dict[bytes, bytes]) -> tuple[int, str, str, str] | None:
        length = headers.get(b"content-length", b"")
        if method not in _WITH_BODY or (length in (b"", b"0") and b"transfer-encoding" not in headers):
            return None
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
            hint = "Send the header Content-Type: application/json."
            return 415, "request.not_json", "The body is not declared as JSON.", hint
        if length.isdigit() and int(length) > self._largest:
            return 413, "limit.too_large", self._too_large(), "Send less at once."
        return None

    def _measured(self, receive: Receive) -> Receive:
        """Return a way to receive that ends with `TooLarge` once a body without a stated length has become too large."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._largest:
                raise TooLarge(self._too_large())
            return message

        return counted

    def _too_large(self) -> str:
        return f"The body is larger than {self._largest:,} bytes."


def _leaving(request_id: str) -> Response:
    """Return the answer to a request that is broken off, since its process ends and waits no longer."""
    detail = "The process that had this request ends, and it may or may not have been carried out."
    hint = "Ask again; with an Idempotency-Key nothing is done twice."
    headers = {"Retry-After": "1"}
    return problem(503, "service.unavailable", detail, hint=hint, request_id=request_id, headers=headers)


def _operation(scope: Scope) -> str:
    """Return what a request is counted as: the operation, once a route has been found."""
    found = getattr(scope.get("route"), "operation_id", None)
    if found is None:
        path = scope["path"]
        return next((name for prefix, name in OUTSIDE.items() if path.startswith(prefix)), OTHER)
    return str(found)


def _new_id() -> str:
    """Return an id for a request: it has to be another every time, and may be guessed."""
    return f"{random.getrandbits(64):016x}"


def _name_of(host: str) -> str:
    """Return a Host header's name without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _same_site(headers: dict[bytes, bytes], host: str) -> bool:
    """Whether a browser says that this is no request of another site; programs send neither header."""
    if headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
        return False
    origin = headers.get(b"origin")
    return origin is None or origin.decode("latin-1").lower() in (f"http://{host}", f"https://{host}")
