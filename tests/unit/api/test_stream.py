from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from api import stream
from api.hub import Hub
from api.topics import Topic
from engine import feed, queries
from engine.errors import Unavailable
from engine.feed import BEGINNING

TOPIC = Topic("executions/exec_x", "proj_x", execution="exec_x")


class Told:
    """A state whose reader tells events in steps: each read hands out the next answer, or raises it."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.after: list[int] = []
        self.stopping = False
        self.runtime = self
        self.reader = self
        self.hub = Hub(cast("Any", self), 100)

    async def read(self, query: Any) -> Any:
        if query is feed.end:
            return BEGINNING
        answer = query(self)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def events(self, _: Any, __: str, after: int, ___: int, project: str) -> Any:
        assert project == "proj_x"
        self.after.append(after)
        return self.answers.pop(0)


def event(seq: int) -> dict[str, Any]:
    return {"seq": seq, "type": "node.succeeded", "at": 1, "node": "n"}


async def streamed(told: Told, monkeypatch: pytest.MonkeyPatch, after: int = 0) -> str:
    monkeypatch.setattr(queries, "events", told.events)
    monkeypatch.setattr(feed, "read", lambda *_: [])
    monkeypatch.setattr(stream, "_PATIENCE", 0.001)
    parts = [each async for each in stream.events(cast("Any", told), TOPIC, after)]
    await told.hub.close()
    return b"".join(parts).decode()


async def test_events_bear_their_number_as_id_and_the_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    text = await streamed(Told(([event(1), event(2)], False), ([], False), ([event(3)], True)), monkeypatch)
    assert text == (
        "retry: 1000\n\n"
        'id: 1\nevent: node.succeeded\ndata: {"seq":1,"type":"node.succeeded","at":1,"node":"n"}\n\n'
        'id: 2\nevent: node.succeeded\ndata: {"seq":2,"type":"node.succeeded","at":1,"node":"n"}\n\n'
        'id: 3\nevent: node.succeeded\ndata: {"seq":3,"type":"node.succeeded","at":1,"node":"n"}\n\n'
        "event: end\ndata: {}\n\n"
    )


async def test_it_goes_on_behind_the_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(([event(8)], False), ([], True))
    await streamed(told, monkeypatch, after=7)
    assert told.after == [7, 8]


async def test_it_survives_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "id: 1" in await streamed(Told(Unavailable(), ([event(1)], True)), monkeypatch)


async def test_a_long_silence_is_broken_by_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_PING", 0)
    assert ": ping\n\n" in await streamed(Told(([], False), ([], True)), monkeypatch)


async def test_it_ends_when_the_process_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    told.stopping = True
    assert await streamed(told, monkeypatch) == "retry: 1000\n\n"
    await asyncio.sleep(0)
