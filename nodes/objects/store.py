"""Requests to an object store, and what is answered: its errors, its lists."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, ParseError

from celeriac import Effect, Fail, Link, TryAgain, exchange
from nodes.conversions.xml_parse import element_of
from nodes.objects.signing import Keys, encoded, headers_for

if TYPE_CHECKING:
    import httpx2

_AGAIN = frozenset(
    {
        "SlowDown",
        "RequestTimeout",
        "InternalError",
        "ServiceUnavailable",
        "OperationAborted",
        "ConditionalRequestConflict",
    }
)
_REFUSED = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "RequestTimeTooSkewed"}
)


async def ask(
    link: Link,
    method: str,
    bucket: str | None,
    key: str = "",
    *,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
    effect: Effect = Effect.READ,
) -> httpx2.Response:
    """Send one signed request and return its answer. Raises `Fail` or `TryAgain` for what is no success."""
    import httpx2

    fields, query = link.fields, query or {}
    name = bucket or fields.bucket
    if name is None:
        raise Fail("object.no_bucket", "Neither the node nor its connection names a bucket.")
    base = urlsplit(fields.endpoint)
    host = base.netloc if fields.path_style else f"{name}.{base.netloc}"
    path = f"/{name}/{key}" if fields.path_style else f"/{key}"
    keys = Keys(
        fields.access_key,
        fields.secret_key.get_secret_value(),
        fields.region,
        fields.token.get_secret_value() if fields.token else None,
    )
    # By the clock of now, and not of the node's begin: a signature lives for minutes.
    now = datetime.now(UTC)
    signed = headers_for(
        keys, method, host, path, query, headers or {}, content, now.strftime("%Y%m%dT%H%M%SZ")
    )
    parameters = "&".join(f"{encoded(each)}={encoded(query[each])}" for each in sorted(query))
    url = httpx2.URL(
        scheme=base.scheme,
        host=urlsplit(f"//{host}").hostname or "",
        port=base.port,
        raw_path=(encoded(path, "/") + (f"?{parameters}" if parameters else "")).encode("ascii"),
    )
    request = link.http.build_request(method, url, content=content or None, headers=signed, timeout=120.0)
    response = await exchange.send(link.http, request, effect, 120.0)
    if 200 <= response.status_code < 300:
        return response
    raise _refusal(response, effect, now)


def text_of(element: Element, path: str) -> str:
    """Return the text of what is inside an element, whatever the namespace; empty when it is not there."""
    found = element.find("/".join(f"{{*}}{each}" for each in path.split("/")))
    return "" if found is None else found.text or ""


def parsed(response: httpx2.Response) -> Element:
    """Return the body of an answer as XML. Raises `Fail` (`http.invalid_body`)."""
    try:
        return element_of(response.text)
    except (ParseError, Fail) as error:
        shown = exchange.shown_as(response.request)
        raise Fail("http.invalid_body", f"{shown} was answered with something that is no XML.") from error


def _refusal(response: httpx2.Response, effect: Effect, now: datetime) -> Exception:
    """Return what an answer that is no success comes to. The store names a code of its own in the body."""
    shown = exchange.shown_as(response.request)
    code = message = ""
    try:
        body = element_of(response.text)
        code, message = text_of(body, "Code"), text_of(body, "Message")
    except (ParseError, Fail):
        pass
    details: dict[str, Any] = {"status": response.status_code, "code": code}
    said = f"{shown} was answered {response.status_code} {code}: {message}".rstrip(": ") + "."
    if code in _REFUSED:
        return Fail("connection.refused", said, details)
    if code in ("NoSuchKey", "NoSuchBucket") or (response.status_code == 404 and not code):
        return Fail("object.missing", said, details)
    if response.status_code == 412:
        return Fail("object.exists", said, details)
    if code in _AGAIN:
        return TryAgain("http.unavailable", said, exchange.retry_after(response, now), details)
    return exchange.refused(response, effect, now)
