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
from pydantic import AfterValidator, BaseModel, Field, JsonValue, StrictBool, model_validator

from celeriac import Context, Effect, Fail, Json, Retry, TryAgain, exchange, files, forms, node
from celeriac.contract import TRUSTED
from celeriac.duration import PATTERN, seconds
from nodes.http.pages import Pages, collected

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
    form: dict[str, JsonValue] | None = Field(
        None, description="What to send, as a form: what is nested is named outer[inner]."
    )
    fields: dict[str, JsonValue] | None = Field(
        None,
        description="What to send, as a form with files (multipart): files are {base64, media_type, name}.",
    )
    file: JsonValue = Field(
        None, description="What to send, as it is: text, or a file as nodes hand it on, {base64, media_type}."
    )
    pages: Pages | None = Field(
        None, description="Ask for page after page: `body` is then the list of all items. For GET."
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

    @model_validator(mode="after")
    def _one_body(self) -> Config:
        given = [name for name in ("body", "form", "fields", "file") if getattr(self, name) is not None]
        if len(given) > 1:
            message = f"it sends one of {' and '.join(given)}, not both"
            raise ValueError(message)
        if self.pages is not None and (self.method != "GET" or given):
            message = "pages are asked for with GET, which sends no body"
            raise ValueError(message)
        return self


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
        "more": {
            "type": "boolean",
            "description": "With `pages`: whether there are more items than were wanted.",
        },
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

    async def send(request: httpx2.Request) -> httpx2.Response:
        shown = exchange.shown_as(request)
        response = await exchange.send(client, request, doing, seconds(config.timeout))
        if not _expected(response.status_code, config.expect):
            raise exchange.refused(response, doing, ctx.now(), shown)
        return response

    if config.pages is not None:
        response, items, more = await collected(config.pages, client, request, send)
        headers = exchange.headers_of(response)
        return {"status": response.status_code, "headers": headers, "body": items, "more": more}
    response = await send(request)
    return {
        "status": response.status_code,
        "headers": exchange.headers_of(response),
        "body": exchange.body_of(response),
    }


def _request(config: Config, client: httpx2.AsyncClient, key: str | None) -> httpx2.Request:
    try:
        headers = httpx2.Headers(config.headers)
        content, media_type = _content(config)
        if media_type is not None:
            headers.setdefault("Content-Type", media_type)
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


def _content(config: Config) -> tuple[bytes | None, str | None]:
    """Return the body and its media type."""
    if config.form is not None:
        return forms.encoded(config.form)
    if config.fields is not None:
        return forms.multipart(forms.parts_of(config.fields), "form-data")
    if config.file is not None:
        return files.content_of(config.file)
    if config.body is None:
        return None, None
    if isinstance(config.body, str):
        return config.body.encode(), "text/plain; charset=utf-8"
    return json.dumps(config.body, ensure_ascii=False, allow_nan=False).encode(), "application/json"


def _expected(status: int, expect: list[Any] | None) -> bool:
    if expect is None:
        return exchange.succeeded(status)
    return status in expect or f"{status // 100}xx" in expect
