"""Messages of the Model Context Protocol with a program of this machine, one on each line of its input and output.

Source: https://modelcontextprotocol.io/specification/2025-06-18/basic/transports (stdio).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from celeriac import Effect, Fail, Link, Program, TryAgain, Uncertain

MOST_JUNK = 100
"""Lines that are no messages, before a program is not listened to any more: some greet."""

_UNKNOWN = {"code": -32601, "message": "Nothing is done for servers here."}


class Lines:
    """A program that was started for this conversation."""

    def __init__(self, program: Program, shown: str, seconds: float) -> None:
        self.shown = shown
        self._program = program
        self._seconds = seconds
        self._junk = 0

    async def ask(self, message: Mapping[str, Any], effect: Effect) -> dict[str, Any]:
        """Write a question, and return the message that answers it."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._asked(message)
        except TimeoutError:
            lost = TryAgain("mcp.timeout", f"{self.shown} had no answer within {self._seconds:g} s.")
        except ConnectionError:
            lost = await self._ended()
        except (Fail, TryAgain) as error:
            if effect is not Effect.ONCE:
                raise
            raise self._uncertain(error.message) from error
        raise self._uncertain(lost.message) if effect is Effect.ONCE else lost

    async def tell(self, message: Mapping[str, Any]) -> None:
        """Write what is not answered."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._write(message)
        except TimeoutError:
            raise TryAgain("mcp.timeout", f"{self.shown} read nothing within {self._seconds:g} s.") from None
        except ConnectionError:
            raise await self._ended() from None

    def agree(self, version: str) -> None:
        """Do nothing: lines name no version."""

    async def _asked(self, message: Mapping[str, Any]) -> dict[str, Any]:
        await self._write(message)
        while (line := await self._program.read()) is not None:
            found = _message(line)
            if found is None:
                self._bear(line)
            elif "method" in found:
                await self._answer(found)
            elif found.get("id") == message["id"]:
                return found
        raise await self._ended()

    async def _answer(self, asked: Mapping[str, Any]) -> None:
        """Answer what the server asks: that somebody is here, and nothing else. What it only tells needs no answer."""
        if "id" in asked:
            said = {"result": {}} if asked["method"] == "ping" else {"error": _UNKNOWN}
            await self._write({"jsonrpc": "2.0", "id": asked["id"], **said})

    async def _write(self, message: Mapping[str, Any]) -> None:
        await self._program.write(json.dumps(message).encode())

    def _bear(self, line: bytes) -> None:
        self._junk += 1
        if self._junk > MOST_JUNK:
            shown = line[:200].decode("utf-8", "replace").replace("\0", "\ufffd")
            raise Fail(
                "mcp.invalid",
                f"{self.shown} writes lines to its output that are no messages, like {shown!r}. "
                "Have it write them to its standard error.",
            )

    async def _ended(self) -> TryAgain:
        return TryAgain("mcp.no_answer", f"{self.shown} gave no answer. {await self._program.last_words()}")

    def _uncertain(self, why: str) -> Uncertain:
        return Uncertain("effect.uncertain", f"{why} Nobody knows whether the tool did it.")


@asynccontextmanager
async def wire(link: Link, seconds: float) -> AsyncIterator[Lines]:
    """Start the program of a connection of the kind `mcp_program`, and hand over the way to it."""
    name, token = link.fields.program, link.fields.token
    values = {} if token is None else {"token": token.get_secret_value()}
    async with link.program(name, values) as program:
        yield Lines(program, f"The program {name}", seconds)


def _message(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
