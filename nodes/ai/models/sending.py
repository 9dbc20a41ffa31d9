"""Requests to a provider, and what comes of them in the words of outcomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from celeriac import Fail, Json, Link, TryAgain, Uncertain
from nodes.ai.models.breaker import BREAKER
from nodes.ai.models.provider import Letter, Provider, Unreadable

T = TypeVar("T")

_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_EXCERPT = 500

_REFUSALS = {
    400: ("ai.invalid_request", "does not understand the request"),
    401: ("ai.unauthorized", "does not accept the credential of the connection"),
    402: ("ai.quota", "wants to be paid first"),
    403: ("ai.unauthorized", "does not let this credential do that"),
    404: ("ai.unknown_model", "does not know the model, or has nothing at this address"),
    413: ("ai.too_large", "takes no request of this size"),
}
_BUSY = {
    408: ("ai.timeout", "did not answer in time"),
    409: ("ai.server_error", "could not answer just now"),
    429: ("ai.rate_limited", "has been asked too often"),
    503: ("ai.overloaded", "has too much to do"),
    529: ("ai.overloaded", "has too much to do"),
}


@dataclass(frozen=True, slots=True)
class Post:
    """The way to one provider: a connection, how many seconds an answer may take, and the time now."""

    link: Link
    provider: Provider
    timeout: float
    now: datetime

    @property
    def base(self) -> httpx2.URL:
        """Where the API is: where the connection says, or at the provider's."""
        return httpx2.URL(getattr(self.link.fields, "base_url", None) or self.provider.base_url)

    @property
    def own(self) -> bool:
        """Whether that is at the provider's."""
        return self.base.host == httpx2.URL(self.provider.base_url).host

    @property
    def payee(self) -> str:
        """Whose prices hold: the provider's own, or those of whoever runs the server."""
        return self.provider.name if self.own else self.base.host

    async def send(self, letter: Letter, read: Callable[[Mapping[str, Any]], T]) -> T:
        """Send a request and return what is read in its answer.

        Raises `TryAgain` (the provider did nothing for it, and may later), `Fail` (it will not), or `Uncertain`: it was sent,
        and its answer got lost or cannot be read, so that it may have to be paid for.
        """
        with BREAKER.watching(f"{self.base.host}:{self.base.port or 443}"):
            return await self._sent(letter, read)

    async def _sent(self, letter: Letter, read: Callable[[Mapping[str, Any]], T]) -> T:
        host = self.base.host
        response = await self._response(letter)
        if response.status_code != 200:
            raise _refusal(response, self.provider, host, self.now)
        try:
            return read(_object_in(response))
        except Unreadable as error:
            raise Uncertain(
                "ai.invalid_answer",
                f"The answer of {host} is not what the API of {self.provider.name} has: {error}. "
                "Look at the base address of the connection.",
                {"body": response.text[:_EXCERPT]},
            ) from error

    async def _response(self, letter: Letter) -> httpx2.Response:
        url = httpx2.URL(str(self.base).rstrip("/") + "/" + letter.path)
        content = json.dumps(letter.body, ensure_ascii=False, allow_nan=False).encode()
        headers = {"Content-Type": "application/json", **letter.headers}
        http = self.link.http
        request = http.build_request("POST", url, content=content, headers=headers, timeout=self.timeout)
        try:
            return await http.send(request)
        except _NOT_SENT as error:
            raise TryAgain("ai.unreachable", f"{url.host} cannot be reached: {_reason(error)}.") from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            code = "ai.timeout" if isinstance(error, httpx2.TimeoutException) else "ai.unreachable"
            message = f"{url.host} was asked, and its answer got lost: {_reason(error)}."
            raise Uncertain(code, message) from error


def _object_in(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Unreadable("it is no JSON object")
    return body


def _refusal(response: httpx2.Response, provider: Provider, host: str, now: datetime) -> Fail | TryAgain:
    """Return what an answer without a result comes to."""
    status = response.status_code
    error = _error_of(response)
    said = str(error.get("message") or "").strip()[:_EXCERPT]
    details: dict[str, Json] = {"status": status, **({"said": said} if said else {})}
    tail = f": {said}" if said else "."
    if provider.spent(error):
        return Fail("ai.quota", f"The account at {host} has nothing left to spend{tail}", details)
    if status in _BUSY or status >= 500:
        code, words = _BUSY.get(status, ("ai.server_error", "failed"))
        return TryAgain(code, f"{host} {words} ({status}){tail}", _after(response, now), details)
    code, words = _REFUSALS.get(status, ("ai.invalid_request", "refuses the request"))
    return Fail(code, f"{host} {words} ({status}){tail}", details)


def _error_of(response: httpx2.Response) -> Mapping[str, Any]:
    """Return the error in an answer. Both vendors have it at `error`; other servers may have only text there."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {"message": response.text}
    found = body.get("error", body) if isinstance(body, dict) else body
    return found if isinstance(found, dict) else {"message": str(found)}


def _after(response: httpx2.Response, now: datetime) -> float | None:
    """Return how many seconds the provider asks to wait: in milliseconds, in seconds, or until a date."""
    for name, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            found = float(response.headers[name]) / divisor
        except (KeyError, ValueError):
            continue
        if 0 <= found < 86_400 * 365:
            return found
    try:
        moment = parsedate_to_datetime(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max(0.0, (moment - now).total_seconds())


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
