"""Pieces of what nodes say: from the broker to those who follow, and to nobody else."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from api import stream
from api.hub import Follower, Hub
from api.pieces import Pieces
from api.topics import Topic
from engine import feed, queries
from engine.broker import Broker, make_app
from engine.errors import Misconfigured
from engine.feed import BEGINNING
from engine.outside.sealing import SealingKeys
from engine.settings import Settings
from engine.speech import Piece, written

KEYS = SealingKeys.of(b"k" * 32)


class Still:
    """A database in which nothing happens."""

    def __init__(self) -> None:
        self.stopping = False
        self.runtime = self
        self.reader = self
        self.ended = False
        self.hub = Hub(cast("Any", self), keeps=10, pieces=3)

    async def read(self, query: Any) -> Any:
        return BEGINNING if query is feed.end else query(None)


def piece(text: str, execution: str = "exec_a", project: str = "proj_a", workflow: str = "wf_a") -> Piece:
    return Piece(project, workflow, execution, {"type": "node.saying", "node": "n", "text": text})


def said(follower: Follower) -> list[Any]:
    return [each.event["text"] for each in follower.heard()]


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Still:
    made = Still()
    monkeypatch.setattr(feed, "read", lambda *_: [])
    monkeypatch.setattr(queries, "events", lambda *_: ([], made.ended))
    return made


@pytest.fixture
async def hub(still: Still) -> AsyncIterator[Hub]:
    yield still.hub
    await still.hub.close()


def topic(execution: str | None = None, *types: str, workflow: str | None = None) -> Topic:
    return Topic("t", "proj_a", workflow, execution, types)


@pytest.mark.parametrize(
    ("wanted", "hears"),
    [
        (topic("exec_a"), True),
        (topic("exec_a", "execution.*"), False),
        (topic("exec_a", "node.*"), True),
        (topic(), False),
        (topic(None, "node.saying"), True),
        (topic(None, "execution.*"), False),
        (topic(workflow="wf_a"), False),
    ],
)
def test_an_execution_is_heard_and_more_only_on_request(wanted: Topic, hears: bool) -> None:
    assert wanted.hears is hears


async def test_each_hears_what_it_follows(hub: Hub) -> None:
    one = await hub.join(topic("exec_a").wants, hears=True)
    whole = await hub.join(topic(None, "node.saying").wants, hears=True)
    deaf = await hub.join(topic().wants)
    other = piece("other's", project="proj_b")
    for each in (piece("mine"), piece("next", "exec_b"), other):
        hub.say(each)
    assert (said(one), said(whole), said(deaf)) == (["mine"], ["mine", "next"], [])
    assert not hub.wants(other)
    assert hub.wants(piece("next", "exec_b"))


async def test_who_is_slow_to_hear_gets_the_latest_and_is_not_cut_off(hub: Hub) -> None:
    follower = await hub.join(topic("exec_a").wants, hears=True)
    for number in range(9):
        hub.say(piece(str(number)))
    assert await follower.taken(0) == []
    assert said(follower) == ["6", "7", "8"]


async def test_pieces_come_as_server_sent_events_without_an_id(still: Still, hub: Hub) -> None:
    parts = stream.events(cast("Any", still), topic("exec_a"), 0)
    assert await anext(parts) == b"retry: 1000\n\n"
    waiting = asyncio.ensure_future(anext(parts))
    while not hub.followed:
        await asyncio.sleep(0.001)
    hub.say(piece("of somebody else", project="proj_b"))
    hub.say(piece("Once"))
    assert await waiting == (
        b"event: node.saying\n"
        b'data: {"execution_id":"exec_a","workflow_id":"wf_a","type":"node.saying","node":"n","text":"Once"}\n\n'
    )
    still.ended = True
    assert await anext(parts) == b"event: end\ndata: {}\n\n"
    await parts.aclose()


async def test_the_feed_has_pieces_for_who_names_them(still: Still, hub: Hub) -> None:
    parts = stream.feed(cast("Any", still), topic(None, "node.saying"), None)
    await anext(parts)
    waiting = asyncio.ensure_future(anext(parts))
    while not hub.followed:
        await asyncio.sleep(0.001)
    hub.say(piece("Once"))
    assert (await waiting).startswith(b"event: node.saying\ndata: {")
    await parts.aclose()


@pytest.fixture
def app(tmp_path: Path) -> Any:
    return make_app(Settings("sqlite:///x", "memory://pieces", tmp_path))


async def heard(broker: Broker, follower: Follower, *texts: str) -> list[Any]:
    """Say something until it is heard: who has just begun to listen may miss the first."""
    while not follower.said:
        await asyncio.to_thread(broker.say, list(texts))
        await asyncio.sleep(0.01)
    return said(follower)


async def test_what_is_said_through_the_broker_is_heard_by_who_follows(app: Any, hub: Hub) -> None:
    follower = await hub.join(topic("exec_a").wants, hears=True)
    pieces, broker = Pieces(app, hub, lambda: KEYS), Broker(app)
    strange = [
        "junk",
        "proj_a wf_a exec_a AAAA",
        written(piece("forged"), SealingKeys.of(b"o" * 32), os.urandom),
        written(piece("of another"), KEYS, os.urandom).replace("exec_a", "exec_b"),
    ]
    found = await heard(broker, follower, *strange, written(piece("Once"), KEYS, os.urandom))
    assert set(found) == {"Once"}
    await asyncio.to_thread(pieces.close)
    broker.close()


async def test_without_keys_nothing_is_heard_and_the_log_says_so_once(
    app: Any, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    await hub.join(topic("exec_a").wants, hears=True)

    def no_keys() -> SealingKeys:
        message = "CELERIAC_SECRET_KEY is not set."
        raise Misconfigured(message)

    pieces, broker = Pieces(app, hub, no_keys), Broker(app)
    with caplog.at_level(logging.WARNING, "api.pieces"):
        while not caplog.records:
            await asyncio.to_thread(broker.say, [written(piece("Once"), KEYS, os.urandom)] * 2)
            await asyncio.sleep(0.01)
        await asyncio.to_thread(pieces.close)
        await asyncio.sleep(0)
    assert [each.getMessage() for each in caplog.records] == [
        "What models say is not told while they write: CELERIAC_SECRET_KEY is not set."
    ]
    broker.close()
