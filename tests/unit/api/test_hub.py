"""Who follows the feed gets everything behind its place once, and nobody waits for who is slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from api import hub as hubs
from api.hub import Hub, TooSlow
from engine import feed
from engine import operations as op
from engine.feed import BEGINNING, Entry
from tests.builders import document, node
from tests.workbench import Workbench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.close()


@pytest.fixture
async def hub(bench: Workbench) -> AsyncIterator[Hub]:
    made = Hub(cast("Any", bench), keeps=20)
    yield made
    await made.close()


def happens(bench: Workbench, count: int = 1) -> list[str]:
    """Let some executions begin and be cancelled."""
    active = bench.push(document([node("a")], name="w"))
    found = [bench.start(active, {}) for _ in range(count)]
    for each in found:
        bench.ask(op.Cancel(each, bench.clock.now(), "enough"))
    return found


def numbers(entries: list[Entry]) -> list[tuple[str, Any]]:
    return [(each.execution, event["seq"]) for each in entries for event in each.events]


async def until(follower: hubs.Follower, count: int) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    while len(found) < count:
        found += numbers(await follower.taken(5))
    return found


async def test_what_was_missed_and_what_follows_are_everything_once(bench: Workbench, hub: Hub) -> None:
    happens(bench, 3)
    follower = await hub.join(lambda _: True)
    happens(bench, 2)
    missed = [each async for part in hub.missed(follower, BEGINNING) for each in numbers(part)]
    whole = numbers(feed.read(bench.connection, BEGINNING, 1000))
    rest = await until(follower, len(whole) - len(missed))
    assert missed + rest == whole


async def test_each_is_told_what_it_wants(bench: Workbench, hub: Hub) -> None:
    (first,) = happens(bench)
    active = bench.push(document([node("a")], name="w"))
    second = bench.start(active, {})
    others = await hub.join(lambda entry: entry.execution != first)
    bench.ask(op.Cancel(second, bench.clock.now(), "enough"))
    assert {execution for execution, _ in await until(others, 1)} == {second}


async def test_who_is_slow_is_cut_off_and_the_others_are_not(bench: Workbench, hub: Hub) -> None:
    slow, quick = await hub.join(lambda _: True), await hub.join(lambda _: True)
    count = 0
    while not slow.cut:
        happens(bench)
        count += len(await until(quick, 1))
    assert count > 20
    with pytest.raises(TooSlow):
        await slow.taken(0)
    assert not slow.waiting


async def test_it_reads_only_while_somebody_follows(bench: Workbench, hub: Hub) -> None:
    first = await hub.join(lambda _: True)
    reading = hub._reading
    hub.leave(first)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert reading is not None
    assert reading.cancelled()
    happens(bench)
    again = await hub.join(lambda _: True)
    happens(bench)
    assert {seq for _, seq in await until(again, 1)} >= {1}


async def test_when_the_feed_cannot_be_read_nobody_waits_for_it(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = await hub.join(lambda _: True)

    def broken(*_: Any) -> Any:
        raise KeyError("a mistake")

    monkeypatch.setattr(feed, "read", broken)
    with pytest.raises(TooSlow):
        await follower.taken(5)
