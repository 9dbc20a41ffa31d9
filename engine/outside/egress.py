"""The only way out: an HTTP client that connects to what the policy permits, and to nothing else.

A name is resolved once, every address of it is judged, and the connection goes to a judged address: a
resolver that answers differently the second time gains nothing. Redirects are followed here, each hop judged
like the first. No proxy, certificate store or credential of the process's environment plays a part, but for
the certificates of `SSL_CERT_FILE`.

A credential is added below the client, so that neither its log lines nor `response.request` ever hold it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore2
import httpx2

from celeriac import Fail, Program
from engine.failpoints import crossing
from engine.outside.addresses import Address, Limits, Policy, fault_of
from engine.outside.bodies import CODINGS, Body, BrokenBody, too_large
from engine.outside.credentials import Credential
from engine.outside.dialling import Dialling, Resolve, refused
from engine.outside.files import inside
from engine.outside.server_programs import Programs

__all__ = ["Egress", "Limits", "OpenLink", "Policy", "Target", "target_of"]

_FLIGHT = "celeriac.flight"
_CONNECTIONS = 512
_IDLE_CONNECTIONS = 64
_IDLE_SECONDS = 4.0
"""Below the five seconds after which common servers close an idle connection."""

_METHOD = re.compile(r"[A-Z]{1,32}")
_SAFE_TO_RESEND = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_CROSS_ORIGIN_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "connection",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "transfer-encoding",
        "user-agent",
    }
)
"""What goes along to another origin. Any other header may be a key that was meant for the first one."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, in canonical form: lower case, A-labels, no brackets."""

    scheme: str
    host: str
    port: int


@dataclass(slots=True)
class OpenLink:
    """An opened connection, as `Context.connect` hands it out."""

    http: httpx2.AsyncClient
    kind: str
    fields: Any = field(repr=False)
    secrets: set[str] = field(repr=False)
    """What must not get into any output: it grows when the service hands out another credential."""
    _credential: Credential
    _dialling: Dialling
    _files: Path
    _programs: Programs

    def file(self, name: str) -> Path:
        """Return a path in the folder for the files of workflows."""
        return inside(self._files, name)

    async def dial(self, host: str, port: int) -> socket.socket:
        """Return a connected, non-blocking socket to a bound host."""
        self._credential.check(host, port)
        return await self._dialling.connect(host, port)

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Return the judged addresses of a bound host."""
        self._credential.check(host, port)
        return await self._dialling.judged(host, port)

    def program(self, name: str, values: Mapping[str, str]) -> AbstractAsyncContextManager[Program]:
        """Start a program that the deployment allows."""
        return self._programs.started(name, values)


@dataclass(slots=True)
class _Flight:
    """One hop on its way. `sent` says that the server may have seen some of it."""

    deadline: float
    first: bool
    sent: bool = False

    async def note(self, event: str, _: Any) -> None:
        self.sent = self.sent or event.endswith(".send_request_headers.started")


def target_of(url: httpx2.URL) -> Target:
    """Return where a URL leads. Raises `Fail` (`egress.invalid_url`) unless it is plain http or https."""
    host = url.raw_host.decode("ascii")
    port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
    if url.scheme not in ("http", "https"):
        fault: str | None = f"has the scheme {url.scheme!r}; use http or https"
    elif url.userinfo:
        fault = "has a user name in it; name a connection in the node instead"
    elif b"\\" in url.raw_path:
        fault = "has a backslash in it; write %5C"
    elif not 0 < port < 65536 or url.port == 0:
        fault = "has a port that is no number from 1 to 65535"
    else:
        fault = fault_of(host)
    if fault is not None:
        raise Fail("egress.invalid_url", f"The URL {_shown(url)!r} {fault}.")
    return Target(url.scheme, host, port)


class Egress:
    """The outgoing connections of one process and event loop, under one policy. `client` is cheap; make one
    per call.

    `resolve` and `tls` stand for the system's resolver and certificates, and are exchanged in tests.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        files: Path = Path("/nonexistent"),
        programs: Programs | None = None,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._files = files
        self._programs = programs or Programs({})
        self.policy = policy
        self._dialling = Dialling(policy, resolve)
        self._backend = _Backend(self._dialling)
        self._given_tls = tls
        self._pools: dict[tuple[bool, bool], httpcore2.AsyncConnectionPool] = {}

    def client(self, *, credential: Credential | None = None) -> httpx2.AsyncClient:
        """Return a client over the shared connections, with its own cookies. Closing it is possible and not
        needed.

        Its `timeout` bounds a whole call, redirects and body included.
        """
        return _Client(self, credential)

    def link(self, credential: Credential, kind: str = "", fields: object = None) -> OpenLink:
        """Return an opened connection: a client that carries the credential to the hosts it is bound to."""
        secrets = set(credential.secrets)
        http = _Client(self, credential, secrets)
        return OpenLink(http, kind, fields, secrets, credential, self._dialling, self._files, self._programs)

    def pool_for(self, request: httpx2.Request) -> httpcore2.AsyncConnectionPool:
        """Return the connections for a request.

        One that cannot be repeated gets a connection of its own: a server may close an idle connection at the
        very moment it is used again, and then nobody could say whether the request was seen.
        """
        repeatable = request.method in _SAFE_TO_RESEND or "idempotency-key" in request.headers
        kind = (request.url.scheme == "https", repeatable)
        if kind not in self._pools:
            self._pools[kind] = self._pool(*kind)
        return self._pools[kind]

    async def aclose(self) -> None:
        """Close all connections."""
        while self._pools:
            _, pool = self._pools.popitem()
            await pool.aclose()

    def _pool(self, secure: bool, repeatable: bool) -> httpcore2.AsyncConnectionPool:
        return httpcore2.AsyncConnectionPool(
            # Reading the certificates takes 20 ms, which who speaks plain HTTP inside need not wait for.
            ssl_context=self._tls if secure else None,
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_IDLE_CONNECTIONS if repeatable else 0,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=self._backend,
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or httpcore2.default_ssl_context()


class _Client(httpx2.AsyncClient):
    """Follows redirects under the policy, and ends a whole call at its deadline."""

    def __init__(
        self, egress: Egress, credential: Credential | None, secrets: set[str] | None = None
    ) -> None:
        limits = egress.policy.limits
        super().__init__(
            transport=_Transport(egress, credential, set() if secrets is None else secrets),
            trust_env=False,
            follow_redirects=True,
            headers={"Accept-Encoding": ", ".join(CODINGS), "User-Agent": "celeriac"},
            timeout=limits.total_seconds,
        )
        self._limits = limits

    async def send(
        self,
        request: httpx2.Request,
        *,
        stream: bool = False,
        auth: Any = httpx2.USE_CLIENT_DEFAULT,
        follow_redirects: Any = httpx2.USE_CLIENT_DEFAULT,
    ) -> httpx2.Response:
        total = request.extensions.get("timeout", {}).get("read") or self._limits.total_seconds
        deadline = asyncio.get_running_loop().time() + total
        follow = self.follow_redirects if follow_redirects is httpx2.USE_CLIENT_DEFAULT else follow_redirects
        passed: list[httpx2.Response] = []
        flight = _Flight(deadline, first=True)
        scope = asyncio.timeout_at(deadline)
        try:
            async with scope:
                while True:
                    request.extensions = {**request.extensions, _FLIGHT: flight}
                    response = await super().send(request, stream=True, auth=auth, follow_redirects=False)
                    response.history = list(passed)
                    if not (follow and response.has_redirect_location):
                        break
                    await response.aread()
                    passed.append(response)
                    request = self._next_hop(response, len(passed))
                    flight = _Flight(deadline, first=False)
                if not stream:
                    await response.aread()
        except TimeoutError as error:
            if not scope.expired():
                raise
            kind = httpx2.ReadTimeout if flight.sent else httpx2.ConnectTimeout
            raise kind(f"No answer within {total:g} seconds.", request=request) from error
        return response

    def _next_hop(self, response: httpx2.Response, hops: int) -> httpx2.Request:
        old, request = response.request, response.next_request
        shown = _shown(old.url)
        if hops > self._limits.redirects:
            raise Fail(
                "egress.redirects", f"{shown} redirects more than {self._limits.redirects} times in a row."
            )
        if request is None:
            raise Fail("egress.invalid_url", f"{shown} redirects to something that is no URL.")
        if old.url.scheme == "https" and request.url.scheme == "http":
            raise Fail(
                "egress.downgrade",
                f"{shown} redirects from https to http, where everybody could read along. "
                "Ask for the http URL itself if that is what you want.",
            )
        if request.url.origin != old.url.origin:
            kept = [each for each in request.headers.raw if each[0].lower().decode() in _CROSS_ORIGIN_HEADERS]
            request.headers = httpx2.Headers(kept)
        if request.method != old.method:
            request.headers.pop("Content-Type", None)
        return request


def _cut(place: str) -> Exception:
    """What a call comes to that finds no server, or hears no answer, for a failpoint."""
    if place.endswith(".before"):
        return httpx2.ConnectError(f"no connection at {place}")
    return httpx2.ReadTimeout(f"no answer at {place}")


class _Transport(httpx2.AsyncBaseTransport):
    """One hop: judge the URL, add the credential, send, and watch what comes back."""

    def __init__(self, egress: Egress, credential: Credential | None, secrets: set[str]) -> None:
        self._egress = egress
        self._credential = credential
        self._secrets = secrets

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        flight: _Flight = request.extensions[_FLIGHT]
        target = target_of(request.url)
        _check(request)
        credential = self._credential
        if credential is not None and not credential.bound_to(target.scheme, target.host, target.port):
            if flight.first:
                raise credential.refusal(target.host, target.port)
            credential = None
        answer = await self._exchange(request, target, flight, credential)
        if answer.status_code == 401 and credential is not None and credential.renew is not None:
            # The service has not looked at more than the credential, and hands out a new one.
            await answer.aclose()
            self._credential = credential = await credential.renew()
            self._secrets |= credential.secrets
            answer = await self._exchange(request, target, flight, credential)
        return answer

    @crossing("network.exchange", _cut)
    async def _exchange(
        self, request: httpx2.Request, target: Target, flight: _Flight, credential: Credential | None
    ) -> httpx2.Response:
        headers, path = request.headers.raw, request.url.raw_path
        if credential is not None:
            headers, path = credential.headers(headers), credential.target(path)
        limits = self._egress.policy.limits
        timeouts = {"connect": limits.connect_seconds, "pool": max(0.0, flight.deadline - _now())}
        wire = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=target.scheme, host=request.url.raw_host, port=target.port, target=path),
            headers=headers,
            content=request.stream,
            extensions={"timeout": timeouts, "trace": flight.note},
        )
        with _translated(target, limits):
            answer = await self._egress.pool_for(request).handle_async_request(wire)
        try:
            body = _body(request, answer, target, limits)
        except BaseException:
            await answer.aclose()
            raise
        dropped = (b"content-encoding", b"content-length") if body.unpacks else ()
        return httpx2.Response(
            answer.status,
            headers=[each for each in answer.headers if each[0].lower() not in dropped],
            stream=_Stream(answer, body, target, limits, flight.deadline),
            extensions={name: answer.extensions[name] for name in ("http_version", "reason_phrase")},
        )


class _Stream(httpx2.AsyncByteStream):
    """The body on its way in: piece by piece under its bounds, the last one before the deadline."""

    def __init__(
        self, answer: httpcore2.Response, body: Body, target: Target, limits: Limits, deadline: float
    ) -> None:
        self._answer = answer
        self._body = body
        self._target = target
        self._limits = limits
        self._deadline = deadline

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async with aclosing(self._answer.aiter_stream()) as transfer:
                while (data := await self._next(transfer)) is not None:
                    for piece in self._body.feed(data):
                        yield piece
            self._body.finish()
        except TimeoutError as error:
            raise httpx2.ReadTimeout("The answer's body did not come to its end in time.") from error
        except BrokenBody as error:
            raise httpx2.DecodingError(str(error)) from error

    async def aclose(self) -> None:
        with _translated(self._target, self._limits):
            await self._answer.aclose()

    async def _next(self, transfer: AsyncIterator[bytes]) -> bytes | None:
        with _translated(self._target, self._limits):
            async with asyncio.timeout_at(self._deadline):
                return await anext(transfer, None)


class _Backend(httpcore2.AsyncNetworkBackend):
    """Connects to judged addresses only."""

    def __init__(self, dialling: Dialling) -> None:
        self._dialling = dialling
        self._dialler = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        *_: Any,
        **__: Any,
    ) -> httpcore2.AsyncNetworkStream:
        seconds = timeout or self._dialling.policy.limits.connect_seconds
        end = _now() + seconds
        try:
            addresses = await self._dialling.addresses(host, port, seconds)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        failure: Exception | None = None
        for tried, address in enumerate(addresses):
            share = (end - _now()) / (len(addresses) - tried)
            try:
                return await self._connected(host, address, port, max(0.0, share))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore2.ConnectError(f"The name {host} has no address.")

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        raise Fail("egress.refused", "Workflows do not connect to local sockets.")

    async def _connected(
        self, host: str, address: Address, port: int, seconds: float
    ) -> httpcore2.AsyncNetworkStream:
        stream = await self._dialler.connect_tcp(str(address), port, seconds)
        peer = ip_address(stream.get_extra_info("server_addr")[0])
        if peer != address:
            await stream.aclose()
            raise refused(host, port, "not the address that was judged")
        return stream


def _now() -> float:
    return asyncio.get_running_loop().time()


def _check(request: httpx2.Request) -> None:
    """Refuse what would make the server, or anything on the way, see another request than the one that was
    judged.
    """
    if not _METHOD.fullmatch(request.method) or request.method in ("CONNECT", "TRACE"):
        raise Fail("egress.invalid_method", f"Requests of the method {request.method!r} are not sent.")
    if [each.lower() for each in request.headers.get_list("host")] != [request.url.netloc.decode("ascii")]:
        raise Fail("egress.invalid_header", "The header Host follows from the URL. Leave it out.")


def _body(request: httpx2.Request, answer: httpcore2.Response, target: Target, limits: Limits) -> Body:
    """Return the watch over an answer's body. Raises `Fail` when its headers alone are too much."""
    if sum(len(name) + len(value) + 4 for name, value in answer.headers) > limits.header_bytes:
        raise _headers_too_large(target, limits)
    headers = httpx2.Headers(answer.headers)
    codings = [each.strip().lower() for each in headers.get_list("content-encoding", split_commas=True)]
    codings = [each for each in codings if each and each != "identity"]
    bodiless = request.method == "HEAD" or answer.status in (204, 304)
    if not bodiless and (len(codings) > 1 or not set(codings) <= set(CODINGS)):
        raise Fail(
            "egress.encoding",
            f"{target.host} answers in the coding {', '.join(codings)!r}, which was not asked for. "
            f"Ask it for {' or '.join(CODINGS)}, or for none (Accept-Encoding: identity).",
        )
    length = headers.get("content-length", "")
    if not bodiless and length.isdecimal() and int(length) > limits.body_bytes:
        raise too_large(target.host, limits)
    return Body(target.host, limits, codings[0] if codings and not bodiless else None)


def _headers_too_large(target: Target, limits: Limits) -> Fail:
    return Fail(
        "egress.headers_too_large",
        f"The headers of {target.host} are larger than {limits.header_bytes} bytes.",
    )


_SAME_NAME = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
)


@contextmanager
def _translated(target: Target, limits: Limits) -> Generator[None]:
    """Raise httpcore's errors as those of the same name that users of the client know."""
    try:
        yield
    except _SAME_NAME as error:
        # h11 marks an unfinished header block that outgrew its buffer with the status a server would answer.
        cause = error.args[0] if error.args else None
        if getattr(cause, "error_status_hint", None) == 431:
            raise _headers_too_large(target, limits) from error
        raise getattr(httpx2, type(error).__name__)(str(error)) from error


def _shown(url: httpx2.URL) -> str:
    """Return a URL for a message: without query, fragment and user name, which may hold secrets."""
    return str(url.copy_with(query=None, fragment=None, userinfo=b""))
