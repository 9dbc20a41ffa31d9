"""Ask an HTTP server, or tell it something.

What may be repeated follows RFC 9110, section 9.2: GET, HEAD and OPTIONS only read; PUT and DELETE come to
the same when repeated; POST and PATCH do not, unless the author says that the server honours an
`Idempotency-Key`. A call that must not be repeated and whose answer got lost is *uncertain*, and is never
sent a second time unasked.
"""

from __future__ import annotations

import base64
import codecs
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

import httpx2
from pydantic import AfterValidator, BaseModel, Field, JsonValue, StrictBool

from celeriac import Context, Effect, Fail, Json, Retry, TryAgain, Uncertain, node
from celeriac.contract import TRUSTED
from celeriac.duration import PATTERN, seconds

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_REPEATABLE = frozenset({"PUT", "DELETE"})
_FRAMING = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_NOW = frozenset({408, 425, 429, 503})
"""Answers of a server that did not do the work: even what must not be repeated may be sent again."""

_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
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


def _own_headers(headers: dict[str, str]) -> dict[str, str]:
    for name in headers:
        if name.lower() in _FRAMING:
            message = f"the header {name} follows from the request itself; leave it out"
            raise ValueError(message)
    return headers


def _positive(value: float | str) -> float | str:
    if seconds(value) <= 0:
        message = "a timeout is longer than nothing"
        raise ValueError(message)
    return value


_Scalar = str | int | float | bool | None
_Status = Annotated[int, Field(ge=100, le=599)] | Literal["2xx", "3xx", "4xx", "5xx"]
_Number = Annotated[float, Field(gt=0, strict=True)]
_Text = Annotated[str, Field(pattern=PATTERN)]


class Config(BaseModel, extra="forbid"):
    """The request, and what counts as an answer."""

    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = Field(
        "GET", description="What to do. A template here makes the node one that must not be repeated."
    )
    url: str = Field(
        description="Where: an http or https URL. Secrets belong into a connection.",
        min_length=1,
        json_schema_extra={TRUSTED: "host"},
    )
    headers: Annotated[dict[str, str], AfterValidator(_own_headers)] = Field(
        {}, description="Headers to send."
    )
    query: dict[str, _Scalar | list[_Scalar]] = Field(
        {}, description="Parameters put into the URL; a list repeats its parameter, null leaves it out."
    )
    body: JsonValue = Field(
        None, description="What to send: text as it is, anything else as JSON, null nothing."
    )
    connection: str | None = Field(
        None, description="The connection that holds the credential.", json_schema_extra={TRUSTED: True}
    )
    idempotent: StrictBool | None = Field(
        None,
        description="True: the server honours an Idempotency-Key. False: never repeat it. Left out: as the "
        "method says (PUT and DELETE may be repeated, POST and PATCH may not).",
    )
    timeout: Annotated[_Number | _Text, AfterValidator(_positive)] = Field(
        30.0, description="How long the whole call may take: seconds, or text like 90s."
    )
    expect: list[_Status] | None = Field(
        None,
        description="Statuses that count as success, like [200, 404]. Default: 2xx and 3xx.",
        min_length=1,
    )


def effect(config: Mapping[str, Any]) -> Effect:
    """Return what a request does to the world, from its config as it is written, templates unrendered."""
    method, idempotent = config.get("method", "GET"), config.get("idempotent")
    if method in _READING and idempotent in (None, True):
        return Effect.READ
    if idempotent is True or (idempotent is None and method in _REPEATABLE):
        return Effect.KEYED
    return Effect.ONCE


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["status", "headers", "body"],
    "properties": {
        "status": {"type": "integer"},
        "headers": {
            "type": "object",
            "description": "By lower-case name; set-cookie is a list.",
            "additionalProperties": {"type": ["string", "array"]},
        },
        "body": {"description": "JSON where the server says so, else text, else {base64, media_type, size}."},
    },
    "additionalProperties": False,
}


@node(
    "http_request",
    effect=effect,
    retry=Retry(3, delay=1.0, on=(TryAgain,)),
    output=OUTPUT,
)
async def http_request(config: Config, ctx: Context) -> Json:
    """Send one HTTP request and return `{status, headers, body}` of its answer."""
    client = ctx.http if config.connection is None else (await ctx.connect(config.connection)).http
    doing = effect(config.model_dump(include={"method", "idempotent"}))
    request = _request(config, client, ctx.idempotency_key if doing is Effect.KEYED else None)
    shown = f"{config.method} {request.url.copy_with(query=None, fragment=None, userinfo=b'')}"
    try:
        response = await client.send(request)
    except httpx2.LocalProtocolError as error:
        raise Fail("http.invalid_request", f"{shown} cannot be sent: {error}.") from error
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise _lost(error, config, doing, shown) from error
    if _expected(response.status_code, config.expect):
        return {
            "status": response.status_code,
            "headers": _headers(response.headers),
            "body": _body(response, shown),
        }
    raise _refused(response, doing, shown, ctx.now())


def _request(config: Config, client: httpx2.AsyncClient, key: str | None) -> httpx2.Request:
    try:
        headers = httpx2.Headers(config.headers)
        content: bytes | None = None
        if isinstance(config.body, str):
            content = config.body.encode()
            headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        elif config.body is not None:
            content = json.dumps(config.body, ensure_ascii=False, allow_nan=False).encode()
            headers.setdefault("Content-Type", "application/json")
        if key is not None:
            headers.setdefault("Idempotency-Key", key)
        url = httpx2.URL(config.url)
        if config.query:
            given = {name: value for name, value in config.query.items() if value is not None}
            url = url.copy_merge_params(given)
        return client.build_request(
            config.method, url, content=content, headers=headers, timeout=seconds(config.timeout)
        )
    except (httpx2.InvalidURL, ValueError) as error:
        raise Fail("http.invalid_request", f"The request cannot be built: {error}") from error


def _expected(status: int, expect: list[Any] | None) -> bool:
    if expect is None:
        return 200 <= status < 400
    return status in expect or f"{status // 100}xx" in expect


def _lost(error: httpx2.RequestError, config: Config, doing: Effect, shown: str) -> TryAgain | Uncertain:
    """Return what a call without an answer comes to.

    Nothing was done when no connection came about; after a redirect that changed the method, the first
    request had been carried out by then.
    """
    untouched = isinstance(error, _NOT_SENT) and error.request.method == config.method
    if doing is Effect.ONCE and not untouched:
        return Uncertain(
            "effect.uncertain",
            f"{shown} was sent, and its answer got lost. Nobody knows whether the server did it. "
            "Look there; or set idempotent: true if the server honours an Idempotency-Key.",
        )
    if isinstance(error, httpx2.TimeoutException):
        return TryAgain("http.timeout", f"{shown} had no answer within {seconds(config.timeout):g} s.")
    return TryAgain("http.unreachable", f"{shown} got no answer: {str(error) or type(error).__name__}.")


def _refused(
    response: httpx2.Response, doing: Effect, shown: str, now: datetime
) -> Fail | TryAgain | Uncertain:
    """Return what an answer that is no success comes to."""
    status = response.status_code
    details: dict[str, Json] = {"status": status, "body": _excerpt(response)}
    message = f"{shown} was answered {status} {_phrase(status)}."
    after = _retry_after(response, now)
    if status in _NOT_NOW:
        code = {429: "http.rate_limited", 408: "http.timeout"}.get(status, "http.unavailable")
        return TryAgain(code, message, after, details)
    if status >= 500:
        if doing is not Effect.ONCE:
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


def _headers(headers: httpx2.Headers) -> dict[str, Json]:
    found: dict[str, Json] = {name.lower(): headers[name] for name in headers}
    if "set-cookie" in found:
        # Its values hold commas of their own, so that they cannot be joined.
        found["set-cookie"] = list(headers.get_list("set-cookie"))
    return found


def _body(response: httpx2.Response, shown: str) -> Json:
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
                f"{shown} was answered {response.status_code} with a body that claims to be JSON and is not.",
                {"status": response.status_code, "body": _excerpt(response)},
            ) from error
        return body
    text = _text(content, charset) if charset or not kind or _is_text(kind) else None
    if text is None:
        return {
            "base64": base64.b64encode(content).decode(),
            "media_type": kind or None,
            "size": len(content),
        }
    return text


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


def _excerpt(response: httpx2.Response) -> str:
    return response.content[: _EXCERPT * 4].decode("utf-8", "replace").replace("\0", "\ufffd")[:_EXCERPT]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(a status without a name)"


def _retry_after(response: httpx2.Response, now: datetime) -> float | None:
    """Return the seconds the server asks to wait: a number, or the time until a date, by the server's own
    clock.
    """
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    until, its_now = _date(text), _date(response.headers.get("Date", "")) or now
    return None if until is None else max(0.0, (until - its_now).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _no_constant(name: str) -> Json:
    message = f"{name} is no JSON"
    raise ValueError(message)
