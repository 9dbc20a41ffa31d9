"""Events as they happen: Server-Sent Events (WHATWG HTML, section 9.2).

The id of an event says where its reader is: the number of the event in its execution, or a place in the feed of the
project. A browser that reconnects names the last one it has, and goes on behind it. A piece of what a node says has no id:
nobody can go on behind it.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from fastapi import Request

from api import permission
from api.hub import TooSlow
from api.state import State
from api.topics import Topic
from engine import listing, queries
from engine.errors import Unavailable
from engine.feed import Place
from engine.speech import Piece

_PING = 15.0
_PATIENCE = 1.0
"""Seconds after which it is looked whether the API stops."""
_AT_ONCE = 500


async def while_permitted(request: Request, parts: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """Pass a stream on as long as its reader may still read it."""
    asked = time.monotonic()
    async with aclosing(parts):
        async for part in parts:
            if time.monotonic() - asked > permission.AGAIN:
                if not await permission.still_permitted(request):
                    return
                asked = time.monotonic()
            yield part


async def events(state: State, topic: Topic, after: int) -> AsyncGenerator[bytes]:
    """Yield events of the topic of an execution behind a number until it has ended and all of them are out."""
    yield b"retry: 1000\n\n"
    said = time.monotonic()
    follower = await state.hub.join(topic.wants, hears=topic.hears)
    try:
        while not state.stopping:
            if pieces := follower.heard():
                yield b"".join(map(_piece, pieces))
                said = time.monotonic()
            position = after
            try:
                found, final = await state.runtime.reader.read(
                    lambda connection, position=position: queries.events(
                        connection, str(topic.execution), position, _AT_ONCE, topic.project
                    )  # type: ignore[misc]
                )
            except Unavailable:
                found, final = [], False
            if found:
                yield b"".join(_encoded(str(each["seq"]), each) for each in found if topic.takes(each))
                after, said = int(str(found[-1]["seq"])), time.monotonic()
            if final:
                yield b"event: end\ndata: {}\n\n"
                return
            if time.monotonic() - said > _PING:
                yield b": ping\n\n"
                said = time.monotonic()
            if len(found) < _AT_ONCE:
                await follower.taken(_PATIENCE)
    except TooSlow:
        return  # the reader comes back, and says where it was
    finally:
        state.hub.leave(follower)


async def feed(state: State, topic: Topic, after: Place | None) -> AsyncGenerator[bytes]:
    """Yield the events of a topic, from now on or behind a place in the feed, for ever."""
    yield b"retry: 1000\n\n"
    follower = await state.hub.join(topic.wants, hears=topic.hears)
    said = time.monotonic()
    try:
        if after is not None:
            async for entries in state.hub.missed(follower, after):
                for entry in entries:
                    yield b"".join(_encoded(str(place), event) for place, event in topic.chosen(entry))
        while not state.stopping:
            entries = await follower.taken(_PATIENCE)
            if pieces := follower.heard():
                yield b"".join(map(_piece, pieces))
                said = time.monotonic()
            for entry in entries:
                yield b"".join(_encoded(str(place), event) for place, event in topic.chosen(entry))
                said = time.monotonic()
            if time.monotonic() - said > _PING:
                yield b": ping\n\n"
                said = time.monotonic()
    except (TooSlow, Unavailable):
        return
    finally:
        state.hub.leave(follower)


def _piece(piece: Piece) -> bytes:
    return _lines(piece.told)


def _encoded(id_: str, event: listing.Body) -> bytes:
    return f"id: {id_}\n".encode() + _lines(event)


def _lines(event: listing.Body) -> bytes:
    data = json.dumps(event, separators=(",", ":"))
    return f"event: {event['type']}\ndata: {data}\n\n".encode()
