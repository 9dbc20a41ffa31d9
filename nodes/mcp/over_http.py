"""Messages of the Model Context Protocol over HTTP.

Source: https://modelcontextprotocol.io/specification/2025-06-18/basic/transports (Streamable HTTP).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from celeriac import Effect, Link, TryAgain, Uncertain, exchange

if TYPE_CHECKING:
    from datetime import datetime

    import httpx2


class Http:
    """A server at an address."""

    def __init__(self, http: httpx2.AsyncClient, url: str, now: datetime, seconds: float) -> None:
        self.shown = url
        self.headers: dict[str, str] = {}
        self._http = http
        self._now = now
        self._seconds = seconds

    async def ask(self, message: Mapping[str, Any], effect: Effect) -> dict[str, Any]:
        """Post a question, and return the message that answers it."""
        response = await self._send(message, effect)
        if not exchange.succeeded(response.status_code):
            raise exchange.refused(response, effect, self._now)
        if session := response.headers.get("mcp-session-id"):
            self.headers["Mcp-Session-Id"] = session
        answer = _answer(response, message["id"])
        if answer is None:
            lost = f"{self.shown} closed the answer before it was there."
            raise (
                Uncertain("effect.uncertain", lost)
                if effect is Effect.ONCE
                else TryAgain("mcp.no_answer", lost)
            )
        return answer

    async def tell(self, message: Mapping[str, Any]) -> None:
        """Post what is not answered."""
        response = await self._send(message, Effect.READ)
        if not exchange.succeeded(response.status_code):
            raise exchange.refused(response, Effect.READ, self._now)

    def agree(self, version: str) -> None:
        """Name the version in every request from now on."""
        self.headers["MCP-Protocol-Version"] = version

    async def end(self) -> None:
        """End the server's session, if it keeps one. A server that is not told forgets by itself."""
        if "Mcp-Session-Id" in self.headers:
            with suppress(Exception):
                await self._http.delete(self.shown, headers=self.headers)

    async def _send(self, message: Mapping[str, Any], effect: Effect) -> httpx2.Response:
        headers = {"Accept": "application/json, text/event-stream", **self.headers}
        request = self._http.build_request(
            "POST", self.shown, json=message, headers=headers, timeout=self._seconds
        )
        return await exchange.send(self._http, request, effect, self._seconds)


@asynccontextmanager
async def wire(link: Link, now: datetime, seconds: float) -> AsyncIterator[Http]:
    """Hand over the way to the server of a connection of the kind `mcp`."""
    made = Http(link.http, link.fields.url, now, seconds)
    try:
        yield made
    finally:
        await made.end()


def _answer(response: httpx2.Response, number: int) -> dict[str, Any] | None:
    """Return the answer to a question out of what came: one message, or a stream of them."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    texts = _events(response.text) if kind == "text/event-stream" else [response.text]
    for text in texts:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict) and message.get("id") == number and "method" not in message:
            return message
    return None


def _events(text: str) -> list[str]:
    """Return the data of each event (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    found, lines = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            found.append("\n".join(lines))
            lines = []
    return found
