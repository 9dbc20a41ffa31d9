"""The WebSocket and the streams on a real server: what a client sees, whoever is slow, stops, or shows no token."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api import permission, stream, token
from api.main import create_app
from api.routes import socket as route
from api.server import Server
from engine import operations as op
from engine.feed import BEGINNING
from engine.settings import DEFAULT_PROJECT, Limits
from engine.speech import Piece
from tests.builders import document, node
from tests.workbench import Workbench


@dataclass
class Live:
    """The API on a port, and the bench whose file it reads."""

    bench: Workbench
    server: Server
    port: int
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def connect(self, **more: Any) -> Any:
        more.setdefault("additional_headers", self.headers)
        return connect(f"ws://127.0.0.1:{self.port}/api/v1/ws", **more)

    async def execution(self) -> str:
        active = self.bench.push(document([node("a")], name="w"))
        name = self.bench.start(active, {})
        await self.bench.carry()
        return name


@pytest.fixture
async def live(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Live]:
    bench = Workbench(tmp_path)
    settings = replace(bench.settings, limits=getattr(request, "param", Limits()))
    server = Server(create_app(settings, serves=False))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve([listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield Live(bench, server, listening.getsockname()[1], token.load(settings))
        server.should_exit = True
        await serving
    bench.close()


async def said(socket_: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(socket_.recv(), 10))


async def ask(socket_: ClientConnection, **frame: Any) -> Any:
    await socket_.send(json.dumps(frame))
    return await said(socket_)


async def events(socket_: ClientConnection, count: int) -> tuple[list[Any], str]:
    """Read frames until so many events have come; also return the last cursor."""
    found: list[Any] = []
    cursor = ""
    while len(found) < count:
        frame = await said(socket_)
        assert frame["type"] == "events", frame
        found += frame["data"]
        cursor = frame["cursor"]
    return found, cursor


async def closed(socket_: ClientConnection) -> int:
    with suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(socket_.recv(), 10)
    assert socket_.close_code is not None
    return socket_.close_code


async def test_a_project_is_followed_and_taken_up_again_at_the_cursor(live: Live) -> None:
    async with live.connect() as first:
        assert (await said(first))["type"] == "ready"
        answer = await ask(first, type="subscribe", topic="project", id=7)
        assert (answer["type"], answer["topic"], answer["id"]) == ("subscribed", "project", 7)
        one = await live.execution()
        found, cursor = await events(first, 3)
    assert {each["execution_id"] for each in found} == {one}
    assert [each["seq"] for each in found] == [1, 2, 3]
    two = await live.execution()
    async with live.connect() as second:
        await said(second)
        await ask(second, type="subscribe", topic="project", after=cursor, types=["execution.*"])
        three = await live.execution()
        missed, _ = await events(second, 4)
    assert [(each["execution_id"], each["type"]) for each in missed] == [
        (name, type_) for name in (two, three) for type_ in ("execution.created", "execution.succeeded")
    ]


async def test_an_execution_is_followed_by_its_numbers(live: Live) -> None:
    active = live.bench.push(document([node("a")], name="w"))
    name = live.bench.start(active, {})
    async with live.connect() as one:
        await said(one)
        await ask(one, type="subscribe", topic=f"executions/{name}")
        await live.bench.carry()
        found, cursor = await events(one, 3)
        assert [each["seq"] for each in found] == [1, 2, 3]
        assert cursor == "3"
        await ask(one, type="subscribe", topic=f"executions/{name}", after=1)
        again, _ = await events(one, 2)
        assert [each["seq"] for each in again] == [2, 3]


async def test_the_token_may_come_in_the_first_frame(live: Live) -> None:
    async with live.connect(additional_headers={}) as one:
        assert (await ask(one, type="auth", token=live.token))["type"] == "ready"
        assert (await ask(one, type="ping", id="x")) == {"type": "pong", "id": "x"}


@pytest.mark.parametrize(
    "frame",
    [
        '{"type": "auth", "token": "wrong"}',
        '{"type": "auth", "token": 7}',
        "{}",
        "x",
        "[]",
        '"' + "\u00e9" * 9,
    ],
)
async def test_whoever_shows_no_valid_token_hears_nothing(live: Live, frame: str) -> None:
    async with live.connect(additional_headers={}) as one:
        await one.send(frame)
        assert await closed(one) == route.UNAUTHORIZED


async def test_whoever_says_nothing_is_not_waited_for(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "_AUTH_SECONDS", 0.05)
    async with live.connect(additional_headers={}) as one:
        assert await closed(one) == route.UNAUTHORIZED


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_a_page_of_another_site_gets_no_connection(live: Live, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus):
        await live.connect(additional_headers={**live.headers, **headers})


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"type": "subscribe", "topic": "everything"}, "request.invalid"),
        ({"type": "subscribe"}, "request.invalid"),
        ({"type": "subscribe", "topic": "workflows/nothing"}, "request.not_found"),
        ({"type": "subscribe", "topic": "project", "after": "soon"}, "request.invalid"),
        ({"type": "subscribe", "topic": "project", "after": []}, "request.invalid"),
        ({"type": "subscribe", "topic": "project", "types": 7}, "request.invalid"),
        ({"type": "shout"}, "request.invalid"),
        ({"topic": ["a"]}, "request.invalid"),
    ],
)
async def test_a_frame_that_means_nothing_is_answered_and_harms_nobody(
    live: Live, frame: dict[str, Any], code: str
) -> None:
    async with live.connect() as one:
        await said(one)
        answer = await ask(one, **frame, id=1)
        assert (answer["type"], answer["code"], answer["id"]) == ("error", code, 1)
        assert (await ask(one, type="ping"))["type"] == "pong"


@pytest.mark.parametrize("wide", [True, False])
async def test_what_a_node_says_comes_in_frames_of_its_own_without_a_cursor(live: Live, wide: bool) -> None:
    name = await live.execution()
    hub = live.server._guard.app.state.celeriac.hub
    about = ("project", {"types": ["node.saying"]}) if wide else (f"executions/{name}", {})
    async with live.connect() as one:
        await said(one)
        await ask(one, type="subscribe", topic=about[0], **about[1])
        if not wide:
            await events(one, 1)
        for project, text in (("proj_other", "Not"), (DEFAULT_PROJECT, "Once")):
            hub.say(Piece(project, "wf_a", name, {"type": "node.saying", "text": text}))
        frame = await said(one)
    assert frame == {
        "type": "pieces",
        "topic": about[0],
        "data": [{"execution_id": name, "workflow_id": "wf_a", "type": "node.saying", "text": "Once"}],
    }


async def test_nobody_is_told_of_a_topic_that_was_given_up(live: Live) -> None:
    async with live.connect() as one:
        await said(one)
        await ask(one, type="subscribe", topic="project")
        assert (await ask(one, type="unsubscribe", topic="project"))["type"] == "unsubscribed"
        await live.execution()
        assert (await ask(one, type="ping"))["type"] == "pong"


@pytest.mark.parametrize("live", [Limits(socket_topics=2)], indirect=True)
async def test_a_connection_follows_as_many_topics_as_it_may_and_no_more(live: Live) -> None:
    names = [await live.execution() for _ in range(2)]
    async with live.connect() as one:
        await said(one)
        for each in names:
            assert (await ask(one, type="subscribe", topic=f"executions/{each}"))["type"] == "subscribed"
            await said(one)
        assert (await ask(one, type="subscribe", topic="project"))["code"] == "request.invalid"


@pytest.mark.parametrize("live", [Limits(sockets=1)], indirect=True)
async def test_as_many_connections_as_may_be_and_no_more(live: Live) -> None:
    async with live.connect() as one, live.connect() as two:
        assert (await said(one))["type"] == "ready"
        assert await closed(two) == route.TRY_AGAIN_LATER
    async with live.connect() as three:
        assert (await said(three))["type"] == "ready"


@pytest.mark.parametrize("live", [Limits(events_kept=200)], indirect=True)
async def test_whoever_takes_events_too_slowly_is_cut_off(live: Live) -> None:
    """The client reads nothing: the buffers between fill up, then what is kept for it, and then it is closed."""
    active = live.bench.push(document([node("a", "log", {"message": "x" * 30_000})], name="w"))
    async with live.connect(max_queue=1) as one, live.connect() as other:
        for each in (one, other):
            await said(each)
            await ask(each, type="subscribe", topic="project")
        hub = live.server._guard.app.state.celeriac.hub
        while not any(each.cut for each in hub._followers):
            names = {live.bench.start(active, {}) for _ in range(20)}
            await live.bench.carry()
            while names:
                names -= {
                    e["execution_id"]
                    for e in (await said(other))["data"]
                    if e["type"] == "execution.succeeded"
                }
        assert await closed(one) == route.TRY_AGAIN_LATER


async def test_when_the_server_stops_it_says_so(live: Live) -> None:
    async with live.connect() as one:
        await said(one)
        live.server.should_exit = True
        assert await closed(one) in (route.GOING_AWAY, 1012)


async def test_the_feed_as_server_sent_events_goes_on_behind_the_last_one(live: Live) -> None:
    first = await live.execution()
    headers = {**live.headers, "Accept": "text/event-stream", "Last-Event-ID": str(BEGINNING)}
    url = f"http://127.0.0.1:{live.port}/api/v1/events"
    ids: list[str] = []
    async with (
        httpx2.AsyncClient(trust_env=False) as http,
        http.stream("GET", url, headers=headers) as answer,
    ):
        second = None
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                ids.append(line.removeprefix("id: "))
            if len(ids) == 3 and second is None:
                second = await live.execution()
            if len(ids) == 6:
                break
    async with (
        httpx2.AsyncClient(trust_env=False) as http,
        http.stream("GET", url, headers={**headers, "Last-Event-ID": ids[3]}) as answer,
    ):
        found = []
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
            if len(found) == 2:
                break
    assert [(each["execution_id"], each["seq"]) for each in found] == [(second, 2), (second, 3)]
    assert first != second


async def test_a_cancelled_execution_ends_its_stream(live: Live) -> None:
    active = live.bench.push(document([node("a")], name="w"))
    name = live.bench.start(active, {})
    url = f"http://127.0.0.1:{live.port}/api/v1/executions/{name}/events"
    headers = {**live.headers, "Accept": "text/event-stream"}
    async with (
        httpx2.AsyncClient(trust_env=False) as http,
        http.stream("GET", url, headers=headers) as answer,
    ):
        lines = []
        async for line in answer.aiter_lines():
            lines.append(line)
            if line == "event: execution.created":
                live.bench.ask(op.Cancel(name, live.bench.clock.now(), "enough"))
    assert "event: end" in lines


async def http(live: Live, method: str, path: str, body: object = None, token: str | None = None) -> Any:
    shown = {"Authorization": f"Bearer {token or live.token}"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{live.port}", headers=shown) as client:
        answer = await client.request(method, f"/api/v1{path}", json=body)
    return answer.json() if answer.content else None


async def key(live: Live, *scopes: str) -> Any:
    return await http(live, "POST", "/keys", {"name": "k", "scopes": list(scopes)})


async def test_whoever_may_read_executions_follows_those_of_the_project(live: Live) -> None:
    shop = (await http(live, "POST", "/projects", {"name": "shop"}))["id"]
    reader = await key(live, "execution:read")
    async with live.connect(additional_headers={}) as one:
        await ask(one, type="auth", token=reader["key"])
        await ask(one, type="subscribe", topic="project")
        active = live.bench.push(document([node("a")], name="theirs"), project=shop)
        live.bench.start(active, {})
        await live.bench.carry()
        name = await live.execution()
        found, _ = await events(one, 3)
        assert {each["execution_id"] for each in found} == {name}
        answer = await ask(one, type="subscribe", topic="workflows/theirs")
        assert (answer["type"], answer["code"]) == ("error", "request.not_found")
    for told in (
        {"token": (await key(live, "workflow:read"))["key"]},
        {"token": reader["key"], "project": shop},
    ):
        async with live.connect(additional_headers={}) as other:
            await other.send(json.dumps({"type": "auth", **told}))
            assert await closed(other) == route.UNAUTHORIZED


async def test_what_is_open_ends_when_it_is_no_longer_permitted(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permission, "AGAIN", 0.0)
    monkeypatch.setattr(route, "_PATIENCE", 0.01)
    monkeypatch.setattr(stream, "_PATIENCE", 0.01)
    monkeypatch.setattr(stream, "_PING", 0.02)
    reader = await key(live, "execution:read")
    shown = {"Authorization": f"Bearer {reader['key']}"}
    feed = f"http://127.0.0.1:{live.port}/api/v1/events"
    async with (
        live.connect(additional_headers=shown) as one,
        httpx2.AsyncClient(headers={**shown, "Accept": "text/event-stream"}, timeout=10) as client,
        client.stream("GET", feed) as streaming,
    ):
        assert (await said(one))["type"] == "ready"
        lines = streaming.aiter_lines()
        assert await anext(lines) == "retry: 1000"
        await http(live, "DELETE", f"/keys/{reader['id']}")
        assert await closed(one) == route.UNAUTHORIZED
        async for _ in lines:
            pass
