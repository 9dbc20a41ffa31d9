"""A conversation with a server of the Model Context Protocol, over its transport for HTTP.

Sources: https://modelcontextprotocol.io/specification/2025-06-18/basic/lifecycle, .../basic/transports (Streamable HTTP),
.../server/tools. What a server asks of its client (models, files, people) it does not get here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celeriac import Effect, Fail, Json, TryAgain, Uncertain, exchange
from nodes.http.events import Events

if TYPE_CHECKING:
    from datetime import datetime

    import httpx2

VERSION = "2025-06-18"
_MOST_PAGES = 50
_END = b"\n\n"
"""What ends an event that a server has left without its end."""


@dataclass(slots=True)
class Session:
    """A conversation that has begun."""

    http: httpx2.AsyncClient
    url: str
    now: datetime
    seconds: float
    headers: dict[str, str] = field(default_factory=dict)
    server: str = ""
    _number: int = 0

    async def ask(self, method: str, params: Mapping[str, Json], effect: Effect) -> dict[str, Any]:
        """Ask for something, and return the result. Raises `Fail`, `TryAgain` or `Uncertain`."""
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": dict(params)}
        response = await self._send(message, effect)
        if not exchange.succeeded(response.status_code):
            raise exchange.refused(response, effect, self.now)
        if session := response.headers.get("mcp-session-id"):
            self.headers["Mcp-Session-Id"] = session
        answer = _answer(response, self._number)
        if answer is None:
            lost = f"{self.url} closed the answer before it was there."
            raise (
                Uncertain("effect.uncertain", lost)
                if effect is Effect.ONCE
                else TryAgain("mcp.no_answer", lost)
            )
        if isinstance(error := answer.get("error"), dict):
            said = str(error.get("message", ""))[:500]
            raise Fail(
                "mcp.refused",
                f"{self.server or self.url} refuses {method}: {said}",
                {"code": error.get("code")},
            )
        result = answer.get("result")
        if not isinstance(result, dict):
            raise Fail("mcp.invalid", f"{self.url} answered {method} with something that is no result.")
        return result

    async def tell(self, method: str) -> None:
        """Tell something that is not answered."""
        response = await self._send({"jsonrpc": "2.0", "method": method}, Effect.READ)
        if not exchange.succeeded(response.status_code):
            raise exchange.refused(response, Effect.READ, self.now)

    async def tools(self) -> list[dict[str, Any]]:
        """Return what tools there are."""
        found: list[dict[str, Any]] = []
        cursor: Json = None
        for _ in range(_MOST_PAGES):
            page = await self.ask("tools/list", {} if cursor is None else {"cursor": cursor}, Effect.READ)
            found += [each for each in page.get("tools", []) if isinstance(each, dict)]
            cursor = page.get("nextCursor")
            if cursor is None:
                break
        return found

    async def _send(self, message: Mapping[str, Any], effect: Effect) -> httpx2.Response:
        headers = {"Accept": "application/json, text/event-stream", **self.headers}
        request = self.http.build_request(
            "POST", self.url, json=message, headers=headers, timeout=self.seconds
        )
        return await exchange.send(self.http, request, effect, self.seconds)


@asynccontextmanager
async def session(
    http: httpx2.AsyncClient, url: str, now: datetime, seconds: float
) -> AsyncIterator[Session]:
    """Begin a conversation, hand it over, and end it. Raises `Fail` or `TryAgain`."""
    made = Session(http, url, now, seconds)
    about: dict[str, Json] = {
        "protocolVersion": VERSION,
        "capabilities": {},
        "clientInfo": {"name": "celeriac", "version": "1"},
    }
    told = await made.ask("initialize", about, Effect.READ)
    made.headers["MCP-Protocol-Version"] = str(told.get("protocolVersion", VERSION))[:100]
    info = told.get("serverInfo")
    made.server = str(info.get("name", ""))[:100] if isinstance(info, dict) else ""
    await made.tell("notifications/initialized")
    try:
        yield made
    finally:
        if "Mcp-Session-Id" in made.headers:
            # A server that is not told forgets by itself.
            with suppress(Exception):
                await http.delete(url, headers=made.headers)


def _answer(response: httpx2.Response, number: int) -> dict[str, Any] | None:
    """Return the answer to a question out of what came: one message, or a stream of them."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    texts = Events().feed(response.content + _END) if kind == "text/event-stream" else [response.text]
    for text in texts:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict) and message.get("id") == number and "method" not in message:
            return message
    return None
