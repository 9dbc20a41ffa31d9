"""The WebSocket: one connection, any number of topics, each with a cursor to go on from (RFC 6455).

Frames are JSON objects with a `type`. A client that takes its events too slowly is closed with 1013 and comes back with
the last cursor it saw; the server keeps no more than `CELERIAC_LIMIT_EVENTS_KEPT` events for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from api import permission, principal, topics
from api.authentication import ACCESS_COOKIE, TOLD, cookie
from api.hub import Follower, TooSlow
from api.permission import Needs, anyone
from api.state import State
from api.topics import Topic
from celeriac import Json
from engine import feed, queries
from engine.access.tokens import LONGEST
from engine.errors import CeleriacError, Invalid, Unavailable
from engine.feed import Entry, Place
from engine.speech import Piece

log = logging.getLogger(__name__)

router = APIRouter(tags=["events"])

UNAUTHORIZED = 4401
"""Closed because nobody has shown a valid token in time."""
TRY_AGAIN_LATER = 1013
"""Closed for now: too many connections, or too slow a client."""
GOING_AWAY, INTERNAL_ERROR = 1001, 1011
_AUTH_SECONDS = 10.0
_PATIENCE = 1.0
"""Seconds after which it is looked whether the API stops."""
_AT_ONCE = 500


_READING = Needs("execution:read")


@router.websocket(
    "/ws",
    dependencies=[
        anyone("its handshake or its first frame shows a token that may read executions", limited=False)
    ],
)
async def connect(socket: WebSocket) -> None:
    """Follow events: `{"type": "auth", "token", "project"?}` first, then `{"type": "subscribe", "topic": ...}`."""
    state: State = socket.app.state.celeriac
    await socket.accept()
    if state.sockets >= state.settings.limits.sockets:
        await socket.close(TRY_AGAIN_LATER, "There are too many connections; try again later.")
        return
    state.sockets += 1
    try:
        await _Conversation(socket, state).hold()
    finally:
        state.sockets -= 1


class _Conversation:
    """One client. Each of its topics is followed by a task of its own."""

    def __init__(self, socket: WebSocket, state: State) -> None:
        self._socket = socket
        self._state = state
        self._following: dict[str, asyncio.Task[None]] = {}
        self._asked = 0.0

    async def hold(self) -> None:
        """Talk until one of the two leaves."""
        try:
            with suppress(WebSocketDisconnect):
                if (refusal := await self._refusal()) is not None:
                    await self._socket.close(UNAUTHORIZED, refusal)
                    return
                await self._say({"type": "ready"})
                while not self._state.stopping:
                    await self._answer(await self._frame())
                await self._socket.close(GOING_AWAY, "The server stops.")
        finally:
            for name in list(self._following):
                await self._unsubscribe(name)

    async def _refusal(self) -> str | None:
        """Return why a client is not let in that shows its token in the handshake, or in its first frame."""
        known = self._socket.scope["state"]
        if "authorization" not in self._socket.headers and cookie(self._socket, ACCESS_COOKIE) is None:
            first: dict[str, Json] = {}
            with suppress(TimeoutError):
                async with asyncio.timeout(_AUTH_SECONDS):
                    first = _read(await self._socket.receive())
            token, project = first.get("token"), first.get("project")
            if first.get("type") != "auth" or not isinstance(token, str) or len(token) > LONGEST:
                return "The first frame has to show a valid token."
            known[TOLD] = token
            known[permission.PROJECT_TOLD] = project if isinstance(project, str) else None
        try:
            await _READING(self._socket)
        except CeleriacError as error:
            return error.message[:120]
        self._asked = time.monotonic()
        return None

    async def _ask_again(self) -> None:
        """See now and then that whoever was let in may still be here. Raises `WebSocketDisconnect`."""
        if time.monotonic() - self._asked < permission.AGAIN:
            return
        self._asked = time.monotonic()
        if not await permission.still_permitted(self._socket):
            await self._socket.close(UNAUTHORIZED, "The token is of no more use here.")
            raise WebSocketDisconnect

    async def _frame(self) -> dict[str, Json]:
        """Wait for a frame; return an empty one when the server stops. Raises `WebSocketDisconnect`."""
        waiting = asyncio.ensure_future(self._socket.receive())
        try:
            while not self._state.stopping:
                await self._ask_again()
                done, _ = await asyncio.wait([waiting], timeout=_PATIENCE)
                if done:
                    return _read(waiting.result())
        finally:
            waiting.cancel()
        return {}

    async def _answer(self, asked: dict[str, Json]) -> None:
        """Do what a frame asks for, or say why not. An `id` comes back in the answer."""
        if self._state.stopping:
            return
        answer: dict[str, Json] = {"id": asked["id"]} if "id" in asked else {}
        try:
            match asked.get("type"):
                case "subscribe":
                    await self._subscribe(asked, answer)
                case "unsubscribe":
                    await self._unsubscribe(str(asked.get("topic")))
                    await self._say({"type": "unsubscribed", "topic": asked.get("topic"), **answer})
                case "ping":
                    await self._say({"type": "pong", **answer})
                case _:
                    hint = "Send a JSON object whose `type` is subscribe, unsubscribe or ping."
                    raise Invalid("The frame is none that is understood.", hint=hint)
        except CeleriacError as error:
            await self._say({"type": "error", **error.to_json(), **answer})

    async def _subscribe(self, asked: Mapping[str, Json], answer: Mapping[str, Json]) -> None:
        """Begin to tell of a topic, from now on or behind `after`."""
        state, name = self._state, str(asked.get("topic"))
        most = state.settings.limits.socket_topics
        if len(self._following) >= most and name not in self._following:
            message = f"This connection follows {most:,} topics, and may not follow more."
            raise Invalid(message, hint="Unsubscribe from some, or follow `project` instead.")
        types, project = topics.types_of(asked.get("types")), principal.project(self._socket)
        topic = await state.runtime.reader.read(
            lambda connection: topics.find(connection, name, project, types)
        )
        after = _after(topic, asked.get("after"))
        await self._unsubscribe(name)
        follower = await state.hub.join(topic.wants, hears=topic.hears)
        cursor = str(follower.since) if topic.execution is None else None
        await self._say({"type": "subscribed", "topic": name, "cursor": cursor, **answer})
        self._following[name] = asyncio.create_task(self._follow(topic, follower, after))

    async def _unsubscribe(self, name: str) -> None:
        task = self._following.pop(name, None)
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _follow(self, topic: Topic, follower: Follower, after: Place | int | None) -> None:
        """Tell what has been missed, then what happens. Ends when the client leaves, or has to."""
        try:
            if isinstance(after, int):
                await self._follow_numbers(topic, follower, after)
            if isinstance(after, Place):
                async for entries in self._state.hub.missed(follower, after):
                    await self._tell(topic, entries)
            while True:
                entries = await follower.taken(None)
                await self._pass_on(topic, follower.heard())
                await self._tell(topic, entries)
        except TooSlow:
            await self._leave(TRY_AGAIN_LATER, "Too slow; come back with the last cursor.")
        except Unavailable as error:
            await self._leave(TRY_AGAIN_LATER, error.message)
        except WebSocketDisconnect:
            return  # whoever reads frames sees that, too
        except Exception:
            log.exception("A topic could not be followed any further.")
            await self._leave(INTERNAL_ERROR, "The server made a mistake; its log has the details.")
        finally:
            self._state.hub.leave(follower)

    async def _leave(self, code: int, reason: str) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # it may be closing already
            await self._socket.close(code, reason)

    async def _follow_numbers(self, topic: Topic, follower: Follower, after: int) -> None:
        """Tell an execution's events behind a number; the hub only says when to look."""
        name = str(topic.execution)
        while True:
            position = after
            found, _ = await self._state.runtime.reader.read(
                lambda connection, position=position: queries.events(
                    connection, name, position, _AT_ONCE, topic.project
                )  # type: ignore[misc]
            )
            if found:
                after = int(str(found[-1]["seq"]))
                await self._send(topic, str(after), feed.texts(filter(topic.takes, found)))
            if len(found) < _AT_ONCE:
                await follower.taken(None)
                await self._pass_on(topic, follower.heard())

    async def _tell(self, topic: Topic, entries: list[Entry]) -> None:
        if entries:
            parts = [each.text if not topic.types else _some(topic, each) for each in entries]
            await self._send(topic, str(entries[-1].end), ",".join(filter(None, parts)))

    async def _pass_on(self, topic: Topic, pieces: list[Piece]) -> None:
        """Tell pieces of what nodes say. They have no cursor, since nobody can go on behind them."""
        if pieces:
            await self._say({"type": "pieces", "topic": topic.name, "data": [each.told for each in pieces]})

    async def _send(self, topic: Topic, cursor: str, events: str) -> None:
        if events:
            await self._socket.send_text(
                f'{{"type":"events","topic":{json.dumps(topic.name)},"cursor":"{cursor}","data":[{events}]}}'
            )

    async def _say(self, frame: Mapping[str, Json]) -> None:
        await self._socket.send_text(json.dumps(frame, separators=(",", ":")))


def _some(topic: Topic, entry: Entry) -> str:
    return feed.texts(event for _, event in topic.chosen(entry))


def _read(message: Mapping[str, str]) -> dict[str, Json]:
    """Return the object in a frame; what is none is an empty one. Raises `WebSocketDisconnect`."""
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    try:
        found: Json = json.loads(message.get("text") or "")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _after(topic: Topic, value: Json) -> Place | int | None:
    """Read where a client wants to go on: at a cursor, which for an execution is the number of an event. Raises `Invalid`."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if topic.execution is not None:
        if text is None:
            return 0
        if isinstance(text, str) and text.isdecimal() and len(text) < 12:
            return int(text)
        raise Invalid("`after` is the cursor or number of an event of the execution.")
    if text is None:
        return None
    if not isinstance(text, str):
        raise Invalid("`after` is a cursor that a frame of this topic has told.")
    return feed.place(text)
