"""Events of an execution as they happen: Server-Sent Events (WHATWG HTML, section 9.2).

The id of an event is its sequence number, so a browser that reconnects names the last one it has, and goes on behind it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

from api.state import State
from engine import queries
from engine.errors import Unavailable

_PING = 15.0
_SHORTEST, _LONGEST = 0.05, 0.5
_AT_ONCE = 500


async def events(state: State, execution: str, after: int, project: str) -> AsyncIterator[bytes]:
    """Yield events behind a sequence number until the execution has ended and all of them are out."""
    yield b"retry: 1000\n\n"
    pause, said = _SHORTEST, time.monotonic()
    while not state.stopping:
        position = after
        try:
            found, final = await state.runtime.reader.read(
                lambda connection, position=position: queries.events(
                    connection, execution, position, _AT_ONCE, project
                )  # type: ignore[misc]
            )
        except Unavailable:
            found, final = [], False
        if found:
            yield b"".join(_encoded(each) for each in found)
            after = int(str(found[-1]["seq"]))
            pause, said = _SHORTEST, time.monotonic()
        if final:
            yield b"event: end\ndata: {}\n\n"
            return
        if time.monotonic() - said > _PING:
            yield b": ping\n\n"
            said = time.monotonic()
        if len(found) < _AT_ONCE:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST)


def _encoded(event: queries.Body) -> bytes:
    data = json.dumps(event, separators=(",", ":"))
    return f"id: {event['seq']}\nevent: {event['type']}\ndata: {data}\n\n".encode()
