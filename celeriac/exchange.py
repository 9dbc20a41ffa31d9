"""One HTTP exchange of a node: what an answer comes to, and what no answer comes to.

What may be repeated follows from the effect that the node declares. A call that must not be repeated and whose answer got
lost is *uncertain*, and is never sent a second time unasked.
"""

from __future__ import annotations

import codecs
import json
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from celeriac.contract import Effect
from celeriac.files import file_of
from celeriac.outcomes import Fail, Json, TryAgain, Uncertain

if TYPE_CHECKING:
    import httpx2

READING = frozenset({"GET", "HEAD", "OPTIONS"})
REPEATABLE = frozenset({"PUT", "DELETE"})

_NOT_NOW = frozenset({408, 425, 429, 503})
"""Answers of a server that did not do the work: even what must not be repeated may be sent again."""

_EXCERPT = 500
_TEXT_KINDS = frozenset(
    {
        "application/javascript",
        "application/x-ndjson",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/yaml",
    }
)
_CHARSETS = ("utf-8", "utf-16", "utf-32", "ascii", "iso", "cp", "koi8", "gb", "big5", "euc", "shift_jis")
"""Python knows codecs that are no charsets, and some of them take quadratic time."""

Failure = Fail | TryAgain | Uncertain


async def send(
    client: httpx2.AsyncClient, request: httpx2.Request, effect: Effect, seconds: float
) -> httpx2.Response:
    """Send a request and return what is answered, whatever it is. Raises `Fail`, `TryAgain` or `Uncertain` when nothing is."""
    import httpx2

    shown = shown_as(request)
    try:
        return await client.send(request)
    except httpx2.LocalProtocolError as error:
        raise Fail("http.invalid_request", f"{shown} cannot be sent: {error}.") from error
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise _lost(error, request.method, effect, shown, seconds) from error


def succeeded(status: int) -> bool:
    """Whether a status is a success where nothing else is said: 2xx and 3xx."""
    return 200 <= status < 400


def refused(response: httpx2.Response, effect: Effect, now: datetime, shown: str | None = None) -> Failure:
    """Return what an answer that is no success comes to."""
    status = response.status_code
    details: dict[str, Json] = {"status": status, "body": excerpt(response)}
    message = f"{shown or shown_as(response.request)} was answered {status} {_phrase(status)}."
    after = retry_after(response, now)
    if status in _NOT_NOW:
        code = {429: "http.rate_limited", 408: "http.timeout"}.get(status, "http.unavailable")
        return TryAgain(code, message, after, details)
    if status >= 500:
        if effect is not Effect.ONCE:
            return TryAgain("http.server_error", message, after, details)
        if status in (502, 504):
            return Uncertain(
                "effect.uncertain",
                f"{message} A gateway lost the answer: nobody knows whether the server behind it did it.",
                details,
            )
        return Fail(
            "http.server_error", f"{message} It is not repeated, since the work may be half done.", details
        )
    if status >= 400:
        return Fail("http.client_error", message, details)
    return Fail("http.unexpected_status", f"{message} The node does not expect this status.", details)


def headers_of(response: httpx2.Response) -> dict[str, Json]:
    """Return the headers by lower-case name; set-cookie is a list, since its values hold commas of their own."""
    found: dict[str, Json] = {name.lower(): response.headers[name] for name in response.headers}
    if "set-cookie" in found:
        found["set-cookie"] = list(response.headers.get_list("set-cookie"))
    return found


def body_of(response: httpx2.Response) -> Json:
    """Return the body: JSON where the server says so, else text, else {base64, media_type, size}. Raises `Fail`."""
    content = response.content
    if not content:
        return None
    kind, charset = _content_type(response)
    if kind == "text/json" or kind.partition("/")[2] == "json" or kind.endswith("+json"):
        try:
            body: Json = json.loads(content, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise Fail(
                "http.invalid_body",
                f"{shown_as(response.request)} was answered {response.status_code} with a body that claims to be JSON "
                "and is not.",
                {"status": response.status_code, "body": excerpt(response)},
            ) from error
        return body
    text = _text(content, charset) if charset or not kind or _is_text(kind) else None
    if text is None:
        return file_of(content, kind or None)
    return text


def excerpt(response: httpx2.Response) -> str:
    """Return the beginning of a body, for an error."""
    return response.content[: _EXCERPT * 4].decode("utf-8", "replace").replace("\0", "\ufffd")[:_EXCERPT]


def shown_as(request: httpx2.Request) -> str:
    """Return a request for a message: without query, fragment and user name, which may hold secrets."""
    return f"{request.method} {request.url.copy_with(query=None, fragment=None, userinfo=b'')}"


def retry_after(response: httpx2.Response, now: datetime) -> float | None:
    """Return the seconds the server asks to wait: a number, or the time until a date, by the server's own
    clock.
    """
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    until = _date(text)
    return None if until is None else max(0.0, (until - server_time(response, now)).total_seconds())


def server_time(response: httpx2.Response, now: datetime) -> datetime:
    """Return the time by the server's own clock, else `now`."""
    return _date(response.headers.get("Date", "")) or now


def _lost(
    error: httpx2.RequestError, method: str, effect: Effect, shown: str, seconds: float
) -> TryAgain | Uncertain:
    """Return what a call without an answer comes to.

    Nothing was done when no connection came about; after a redirect that changed the method, the first
    request had been carried out by then.
    """
    import httpx2

    not_sent = isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout))
    if effect is Effect.ONCE and not (not_sent and error.request.method == method):
        return Uncertain(
            "effect.uncertain",
            f"{shown} was sent, and its answer got lost. Nobody knows whether the server did it. "
            "Look there; or set idempotent: true if the server honours an Idempotency-Key.",
        )
    if isinstance(error, httpx2.TimeoutException):
        return TryAgain("http.timeout", f"{shown} had no answer within {seconds:g} s.")
    return TryAgain("http.unreachable", f"{shown} got no answer: {str(error) or type(error).__name__}.")


def _content_type(response: httpx2.Response) -> tuple[str, str | None]:
    header = Message()
    header["Content-Type"] = response.headers.get("Content-Type", "")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    charset = header.get_param("charset")
    return kind, charset if isinstance(charset, str) else None


def _is_text(kind: str) -> bool:
    return kind.startswith("text/") or kind.endswith("+xml") or kind in _TEXT_KINDS


def _text(content: bytes, charset: str | None) -> str | None:
    """Return text that can be stored; None for what is no text in its charset."""
    try:
        codec = codecs.lookup(charset or "utf-8").name
        text = content.decode(codec) if codec.startswith(_CHARSETS) else None
    except (UnicodeDecodeError, LookupError):
        return None
    return None if text is None or "\0" in text else text


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(a status without a name)"


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _no_constant(name: str) -> Json:
    message = f"{name} is no JSON"
    raise ValueError(message)
