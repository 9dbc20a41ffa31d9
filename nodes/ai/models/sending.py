"""Requests to a provider, and what comes of them in the words of outcomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from celeriac import Fail, Json, Link, TryAgain, Uncertain
from nodes.ai.models.breaker import BREAKER
from nodes.ai.models.provider import Letter, Provider, Unfinished, Unreadable
from nodes.http.events import Events

T = TypeVar("T")

_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_EXCERPT = 500
_DONE = "[DONE]"
"""What OpenAI's API says behind the last event."""

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
        with self._watched():
            response = await self.link.http.send(self._request(letter))
            self._look(response)
            with self._reading(response):
                return read(_object(response.content))

    async def send_in_parts(
        self, letter: Letter, read: Callable[[Mapping[str, Any]], T], say: Callable[[str], None]
    ) -> T:
        """Do the same with a request that is answered in parts, and `say` the words in each as it comes.

        An answer that breaks off is lost, whatever of it has come. A server that answers as a whole after all is understood.
        """
        with self._watched():
            response = await self.link.http.send(self._request(letter), stream=True)
            async with aclosing(response):
                streams = response.status_code == 200 and _is_stream(response)
                if not streams:
                    await response.aread()
                self._look(response)
                with self._reading(response):
                    body = await self._gathered(response, say) if streams else _object(response.content)
                    return read(body)

    async def _gathered(self, response: httpx2.Response, say: Callable[[str], None]) -> Mapping[str, Any]:
        """Return the whole of an answer that comes in parts. Raises `Unreadable`, and `Uncertain` when the provider fails."""
        events, gathering = Events(), self.provider.gather()
        async for data in response.aiter_bytes():
            for text in events.feed(data):
                if text == _DONE:
                    continue
                event = _object(text)
                if error := event.get("error"):
                    raise _failure(error, self.base.host)
                say(gathering.take(event))
        return gathering.body()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Ask inside the block, which ends the provider's rest or begins it, and say in our words what went wrong."""
        host = self.base.host
        with BREAKER.watching(f"{host}:{self.base.port or 443}"):
            try:
                yield
            except _NOT_SENT as error:
                raise TryAgain("ai.unreachable", f"{host} cannot be reached: {_reason(error)}.") from error
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                code = "ai.timeout" if isinstance(error, httpx2.TimeoutException) else "ai.unreachable"
                message = f"{host} was asked, and its answer got lost: {_reason(error)}."
                raise Uncertain(code, message) from error

    def _request(self, letter: Letter) -> httpx2.Request:
        url = httpx2.URL(str(self.base).rstrip("/") + "/" + letter.path)
        content = json.dumps(letter.body, ensure_ascii=False, allow_nan=False).encode()
        headers = {"Content-Type": "application/json", **letter.headers}
        return self.link.http.build_request(
            "POST", url, content=content, headers=headers, timeout=self.timeout
        )

    def _look(self, response: httpx2.Response) -> None:
        """Raise what an answer without a result comes to."""
        if response.status_code != 200:
            raise _refusal(response, self.provider, self.base.host, self.now)

    @contextmanager
    def _reading(self, response: httpx2.Response) -> Iterator[None]:
        """Read an answer inside the block, and say in our words that it cannot be read, or has no end."""
        host = self.base.host
        try:
            yield
        except Unfinished as error:
            raise Uncertain("ai.unreachable", f"{host} began to answer, and broke off.") from error
        except Unreadable as error:
            excerpt: dict[str, Json] = {} if _is_stream(response) else {"body": response.text[:_EXCERPT]}
            raise Uncertain(
                "ai.invalid_answer",
                f"The answer of {host} is not what the API of {self.provider.name} has: {error}. "
                "Look at the base address of the connection.",
                excerpt,
            ) from error


def _is_stream(response: httpx2.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower() == "text/event-stream"


def _failure(error: object, host: str) -> Uncertain:
    """Return what an error in the midst of an answer comes to: nobody knows what has to be paid for."""
    known = error if isinstance(error, dict) else {"message": str(error)}
    said = str(known.get("message") or "").strip()[:_EXCERPT]
    busy = "overloaded" in str(known.get("type"))
    code, words = _BUSY[529] if busy else ("ai.server_error", "failed")
    return Uncertain(code, f"{host} {words} in the midst of its answer{f': {said}' if said else '.'}")


def _object(text: str | bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(text)
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
