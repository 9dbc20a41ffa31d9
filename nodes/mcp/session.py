"""A conversation with a server of the Model Context Protocol, over HTTP or with a program.

Sources: https://modelcontextprotocol.io/specification/2025-06-18/basic/lifecycle, .../server/tools. What a server asks of its
client (models, files, people) it does not get here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from celeriac import Effect, Fail, Json, Link
from nodes.mcp import over_http, over_program

if TYPE_CHECKING:
    from datetime import datetime

VERSION = "2025-06-18"
VERSIONS = frozenset({"2024-11-05", "2025-03-26", VERSION, "2025-11-25"})
"""Those in which tools are listed and used as they are here."""
KINDS: Final = ("mcp", "mcp_program")
"""The kinds of connections that lead to a server."""
MOST_PAGES = 50
MOST_TOOLS = 1_000
MOST_LISTED = 10_485_760
"""How many tools a server may list, and in how many bytes."""


class Wire(Protocol):
    """What carries messages to a server. `shown` is the server for people."""

    shown: str

    async def ask(self, message: Mapping[str, Any], effect: Effect) -> dict[str, Any]:
        """Send a question, and return the message that answers it. Raises `Fail`, `TryAgain` or `Uncertain`."""

    async def tell(self, message: Mapping[str, Any]) -> None:
        """Send what is not answered. Raises `Fail` or `TryAgain`."""

    def agree(self, version: str) -> None:
        """Take note of the version that both speak."""


@dataclass(slots=True)
class Session:
    """A conversation that has begun."""

    wire: Wire
    server: str = ""
    _number: int = 0

    async def ask(self, method: str, params: Mapping[str, Json], effect: Effect) -> dict[str, Any]:
        """Ask for something, and return the result. Raises `Fail`, `TryAgain` or `Uncertain`."""
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": dict(params)}
        answer = await self.wire.ask(message, effect)
        if isinstance(error := answer.get("error"), dict):
            said = str(error.get("message", ""))[:500]
            raise Fail(
                "mcp.refused",
                f"{self.server or self.wire.shown} refuses {method}: {said}",
                {"code": error.get("code")},
            )
        result = answer.get("result")
        if not isinstance(result, dict):
            raise Fail(
                "mcp.invalid", f"{self.wire.shown} answered {method} with something that is no result."
            )
        return result

    async def tools(self) -> list[dict[str, Any]]:
        """Return what tools there are, in the server's order. Raises `Fail` (`mcp.too_many_tools`) for a list without end."""
        found: list[dict[str, Any]] = []
        params: dict[str, Json] = {}
        size = 0
        for _ in range(MOST_PAGES):
            page = await self.ask("tools/list", params, Effect.READ)
            listed = page.get("tools")
            if not isinstance(listed, list):
                raise Fail(
                    "mcp.invalid", f"{self.wire.shown} answered tools/list with something that is no list."
                )
            found += [each for each in listed if isinstance(each, dict)]
            size += len(json.dumps(listed))
            if len(found) > MOST_TOOLS or size > MOST_LISTED:
                break
            if page.get("nextCursor") is None:
                return found
            params = {"cursor": page["nextCursor"]}
        raise Fail(
            "mcp.too_many_tools",
            f"{self.server or self.wire.shown} lists more than {MOST_TOOLS} tools, {MOST_PAGES} pages or {MOST_LISTED} bytes "
            "of them. Have it list less, or name its tools one by one with mcp_call.",
            {"tools": MOST_TOOLS, "pages": MOST_PAGES, "bytes": MOST_LISTED},
        )


@asynccontextmanager
async def session(link: Link, now: datetime, seconds: float) -> AsyncIterator[Session]:
    """Begin a conversation over a connection of one of `KINDS`, hand it over, and end it. An answer may take so many seconds.

    Raises `Fail` or `TryAgain`.
    """
    carried: AbstractAsyncContextManager[Wire] = (
        over_program.wire(link, seconds) if link.kind == "mcp_program" else over_http.wire(link, now, seconds)
    )
    async with carried as wire:
        made = Session(wire)
        about: dict[str, Json] = {
            "protocolVersion": VERSION,
            "capabilities": {},
            "clientInfo": {"name": "celeriac", "version": "1"},
        }
        told = await made.ask("initialize", about, Effect.READ)
        version = str(told.get("protocolVersion", VERSION))[:100]
        if version not in VERSIONS:
            message = f"{wire.shown} speaks the protocol of {version}, which is not spoken here."
            raise Fail("mcp.version", f"{message} Use a release that speaks {VERSION}.", {"version": version})
        wire.agree(version)
        info = told.get("serverInfo")
        made.server = str(info.get("name", ""))[:100] if isinstance(info, dict) else ""
        await wire.tell({"jsonrpc": "2.0", "method": "notifications/initialized"})
        yield made
