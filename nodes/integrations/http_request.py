"""Ask an HTTP server, or tell it something.

What may be repeated follows RFC 9110, section 9.2: GET, HEAD and OPTIONS only read; PUT and DELETE come to
the same when repeated; POST and PATCH do not, unless the author says that the server honours an
`Idempotency-Key`. A call that must not be repeated and whose answer got lost is *uncertain*, and is never
sent a second time unasked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import httpx2
from pydantic import AfterValidator, BaseModel, Field, JsonValue, StrictBool

from celeriac import Context, Effect, Fail, Json, Retry, TryAgain, exchange, node
from celeriac.duration import PATTERN, seconds

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
        description="Where: an http or https URL. Secrets belong into a connection.", min_length=1
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
    connection: str | None = Field(None, description="The connection that holds the credential.")
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
    if method in exchange.READING and idempotent in (None, True):
        return Effect.READ
    if idempotent is True or (idempotent is None and method in exchange.REPEATABLE):
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
    shown = exchange.shown_as(request)
    response = await exchange.send(client, request, doing, seconds(config.timeout))
    if not _expected(response.status_code, config.expect):
        raise exchange.refused(response, doing, ctx.now(), shown)
    return {
        "status": response.status_code,
        "headers": exchange.headers_of(response),
        "body": exchange.body_of(response),
    }


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
        return exchange.succeeded(status)
    return status in expect or f"{status // 100}xx" in expect
