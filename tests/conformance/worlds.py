"""A world for each node type: a config that succeeds, and real servers on loopback that count what is done to them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from celeriac import Json
from celeriac.testing import OpenLink, World
from nodes.connections.smtp import Smtp
from tests.loopback import Asked, Handler, Server, answer, serving
from tests.mailbox import mailbox


@dataclass(frozen=True, slots=True)
class Town:
    """Where servers are opened, to be closed after the test."""

    stack: AsyncExitStack
    request: pytest.FixtureRequest

    async def serve(self, handler: Handler) -> Server:
        """Start a server."""
        return await self.stack.enter_async_context(serving(handler))

    async def client(self) -> httpx2.AsyncClient:
        """Open a client."""
        return await self.stack.enter_async_context(httpx2.AsyncClient())


Make = Callable[[Town], Awaitable[World]]


def plain(**config: Json) -> list[Make]:
    """A world without anything in it."""

    async def make(_: Town) -> World:
        return World(config)

    return [make]


def keyed(server: Server) -> Callable[[], int]:
    """Count the effects of a server that does each key once."""

    def count() -> int:
        changing = [each for each in server.asked if each.method not in ("GET", "HEAD")]
        named = {each.headers["idempotency-key"] for each in changing if "idempotency-key" in each.headers}
        return len(named) + sum("idempotency-key" not in each.headers for each in changing)

    return count


def http_request(**config: Json) -> Make:
    async def make(town: Town) -> World:
        server = await town.serve(_ok)
        given: dict[str, Json] = {"url": server.url, **config}
        return World(given, http=await town.client(), effects=keyed(server))

    return make


async def _ok(_: Asked, writer: Any) -> None:
    writer.write(answer(json.dumps({"ok": True}), Content_Type="application/json"))


async def failing(_: Town) -> World:
    return World({"message": "As its author wants it."}, fails="workflow.failed")


async def send_email(town: Town) -> World:
    box = await town.stack.enter_async_context(mailbox())
    fields = Smtp(host="127.0.0.1", port=box.port, security="none", sender="bot@example.com")
    config: dict[str, Json] = {"to": "ada@example.com", "subject": "Hello", "body": "Hello."}
    return World(config, connections={"email": OpenLink("smtp", fields)}, effects=lambda: len(box.messages))


WORLDS: dict[str, list[Make]] = {
    "approval": plain(title="Go on?"),
    "emit": plain(event="order.placed"),
    "exit": plain(scope="branch"),
    "fail": [failing],
    "http_request": [
        http_request(),
        http_request(method="POST", body={"a": 1}),
        http_request(method="POST", idempotent=True),
        http_request(method="PUT", body="text"),
    ],
    "if": plain(condition=True),
    "log": plain(message="Hello."),
    "merge": plain(),
    "noop": plain(),
    "send_email": [send_email],
    "set": plain(values={"a": 1}),
    "switch": plain(cases=[{"name": "big", "when": True}]),
    "transform": plain(expression=[1]),
    "wait": plain(**{"for": "1s"}),
    "workflow": plain(workflow="other"),
}
