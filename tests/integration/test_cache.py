"""Answers of models that are kept between executions, in the heart of the engine and on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier
from typing import Any, cast

import pytest

from celeriac import Fail, Json
from engine import cache, retention
from engine.cache import Entries
from engine.errors import Unavailable
from engine.leases import Stop, _Loop
from engine.settings import DEFAULT_PROJECT, Limits, Settings
from tests.builders import Client, document, node
from tests.loopback import Asked, Server, serving
from tests.models import Way, chat, embeddings
from tests.workbench import Workbench

HOUR = 3600
OTHER = "proj_other"


@dataclass
class World:
    """A process of the engine, and a model that counts how often it is asked; its answers are numbered."""

    bench: Workbench
    server: Server
    way: Way
    say: Callable[[int], bytes] = field(default=lambda number: chat(f"Answer {number}."))

    async def run(self, project: str = DEFAULT_PROJECT, type_: str = "ai_call", **config: Json) -> str:
        """Ask in an execution of its own, and return that."""
        given: dict[str, Any] = {"model": "gpt-4", "cache": {"ttl": "1h"}, **config}
        if type_ == "ai_call":
            given.setdefault("prompt", "Why?")
        body = document([node("ask", type_, given)], outputs="{{ nodes.ask.output }}", name=f"w_{type_}")
        name = self.bench.start(self.bench.push(body, project))
        await self.bench.carry(self.bench.executor(around=self.way))
        return name

    async def ask(self, **more: Any) -> Any:
        """The same, and return what the node came to."""
        name = await self.run(**more)
        assert self.bench.status(name) == "succeeded", self.bench.error(name)
        return self.bench.output(name)

    @property
    def asked(self) -> int:
        return len(self.server.asked)

    def entries(self, seconds: float = HOUR, limits: Limits | None = None) -> Entries:
        """What a node of a third party would have."""
        services = self.bench.executor()._services
        if limits is not None:
            services = replace(services, settings=replace(services.settings, limits=limits))
        return cache.entries(services, DEFAULT_PROJECT, seconds, self.log, lambda: ("s3cr3t-k3y",))

    def log(self, message: str, level: str = "info", **fields: Json) -> None:
        self.lines.append((level, message))

    def kept(self) -> int:
        found: int = self.bench.query("SELECT count(*) FROM cache_entry")[0][0]
        return found

    lines: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
async def world(tmp_path: Path, store: Settings) -> AsyncIterator[World]:
    async def think(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.target.endswith("/embeddings"):
            writer.write(embeddings(*([0.5, float(len(each))] for each in json.loads(asked.body)["input"])))
        else:
            writer.write(made.say(made.asked))

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(think))
        bench = Workbench(tmp_path, store=store)
        stack.callback(bench.close)
        bench.leases._loop = _Loop(asyncio.get_running_loop(), 0)
        way = Way(f"{server.host}:{server.port}")
        stack.push_async_callback(way.egress.aclose)
        bench.ask(
            lambda connection: connection.run(
                "INSERT INTO project (id, name, created_at) VALUES (?, 'other', 0)", (OTHER,)
            )
        )
        made = World(bench, server, way)
        yield made


async def test_a_second_execution_asks_nobody_and_pays_nothing(world: World) -> None:
    first = await world.ask()
    assert first == {
        "text": "Answer 1.",
        "model": "gpt-4-0613",
        "finish": "stop",
        "tool_calls": [],
        "cached": False,
    }
    world.bench.ask(
        lambda connection: connection.run(
            "INSERT INTO budget (project_id, scope, period, most_cost, most_tokens, since, cost, tokens) "
            "VALUES (?, 'project', 'total', 0, 0, 0, 0, 0)",
            (DEFAULT_PROJECT,),
        )
    )
    name = await world.run()  # with a budget that has nothing left
    assert (world.bench.output(name), world.asked) == ({**first, "cached": True}, 1)
    (event,) = [each for each in world.bench.events(name) if each[0] == "node.paid"]
    assert event[3] == {
        "provider": "127.0.0.1",
        "model": "gpt-4",
        "input_tokens": 0,
        "output_tokens": 0,
        "cached_tokens": 0,
        "cost_usd": 0.0,
        "cached": True,
    }
    assert world.bench.query("SELECT count(*) FROM usage WHERE execution_id = ?", name) == [(0,)]
    assert world.bench.query("SELECT cost, tokens FROM budget") == [(0, 0)]


async def test_without_a_cache_everybody_asks(world: World) -> None:
    for number in (1, 2):
        assert await world.ask(cache=None) == {
            "text": f"Answer {number}.",
            "model": "gpt-4-0613",
            "finish": "stop",
            "tool_calls": [],
        }
    assert world.kept() == 0


async def test_no_answer_crosses_from_one_project_to_another(world: World) -> None:
    for key in ({}, {"key": "mine"}):
        before = world.asked
        for project in (DEFAULT_PROJECT, OTHER, DEFAULT_PROJECT, OTHER):
            await world.ask(project=project, cache={"ttl": "1h", **key})
        assert world.asked == before + 2


async def test_what_is_asked_and_who_is_asked_decide(world: World) -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"model": "gpt-4o"},
        {"connection": "elsewhere"},
        {"system": "Be short."},
        {"temperature": 0.5},
        {"max_tokens": 5},
        {"prompt": "Why not?"},
        {"stop": ["."]},
        {"tools": [{"name": "look"}]},
        {"images": [{"base64": "aGk=", "media_type": "image/png"}]},
        {"images": [{"base64": "aGo=", "media_type": "image/png"}]},
    ]
    for _ in range(2):
        for each in ways:
            await world.ask(**each)
        assert world.asked == len(ways)
    world.way.fields = world.way.fields.model_copy(update={"base_url": f"{world.server.url}/v2"})
    await world.ask()  # the connection leads elsewhere by now
    assert world.asked == len(ways) + 1


async def test_an_authors_key_takes_the_place_of_the_question_and_of_nothing_else(world: World) -> None:
    own = {"ttl": "1h", "key": "greeting"}
    assert (await world.ask(cache=own))["text"] == "Answer 1."
    assert (await world.ask(cache=own, prompt="Something else?"))["text"] == "Answer 1."
    for more in ({"model": "gpt-4o"}, {"connection": "elsewhere"}, {"cache": {**own, "key": "other"}}):
        before = world.asked
        await world.ask(**{"cache": own, **more})
        assert world.asked == before + 1


async def test_an_answer_is_kept_until_its_time_is_over_and_no_older_one_is_taken(world: World) -> None:
    await world.ask()
    world.bench.clock.move(HOUR - 0.001)
    await world.ask()
    assert world.asked == 1
    await world.ask(cache={"ttl": 60})  # who wants a younger one asks, and everybody has that from then on
    assert world.asked == 2
    world.bench.clock.move(60)
    await world.ask(cache={"ttl": "1d"})
    assert world.asked == 3
    world.bench.clock.move(HOUR)
    await world.ask()
    assert world.asked == 4


async def test_vectors_are_kept_as_well(world: World) -> None:
    for _ in range(2):
        found = await world.ask(type_="ai_embed", model="text-embedding-3-small", input=["a", "bc"])
        assert found == {"vectors": [[0.5, 1.0], [0.5, 2.0]], "dimensions": 2}
    await world.ask(type_="ai_embed", model="text-embedding-3-small", input=["a", "b"])
    assert world.asked == 2


# Limits


async def test_an_answer_of_the_largest_size_is_kept_and_a_larger_one_is_not(world: World) -> None:
    some = world.entries(limits=Limits(cache_bytes=12))
    assert await some.keep("a", "ü" * 5)  # 10 bytes, and two quotation marks
    assert not await some.keep("b", "ü" * 5 + "x")
    assert (await some.recall("a"), await some.recall("b")) == ("ü" * 5, None)
    assert world.lines == [
        ("warning", "This is not kept in the cache: The output has 13 bytes; the limit is 12.")
    ]


async def test_what_is_too_large_is_answered_all_the_same_and_the_history_says_so(world: World) -> None:
    world.say = lambda _: chat("x" * 300_000)
    for _ in range(2):
        name = await world.run()
        assert world.bench.output(name)["text"] == "x" * 300_000  # type: ignore[index, call-overload]
        (line,) = [each[3] for each in world.bench.events(name) if each[0] == "node.log"]
        assert (line["level"], line["code"]) == ("warning", "node.output_too_large")
    assert (world.asked, world.kept()) == (2, 0)


@pytest.mark.parametrize("ttl", ["30d", 0.001])
async def test_the_longest_and_the_shortest_time_are_taken(world: World, ttl: Json) -> None:
    await world.ask(cache={"ttl": ttl})
    assert world.kept() == 1


@pytest.mark.parametrize("ttl", [30 * 86_400 + 0.001, "31d", 0.0009])
async def test_a_time_outside_of_them_fails_the_node_before_anybody_is_asked(world: World, ttl: Json) -> None:
    name = await world.run(cache={"ttl": ttl})
    assert world.bench.error(name)["code"] == "cache.invalid_ttl"
    assert "1 ms is the least, and 2,592,000 s the most" in world.bench.error(name)["message"]
    assert world.asked == 0


# What goes


async def test_what_has_expired_is_purged_in_batches_and_so_is_what_a_deleted_project_had(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    some, longer = world.entries(HOUR), world.entries(2 * HOUR)
    for number in range(5):
        await some.keep(f"{number}", number)
    await longer.keep("stays", 1)
    await world.ask(project=OTHER)
    at = world.bench
    assert retention.purge(at.database, 0, at.clock.now() + HOUR * 1000 - 1).cached == 0
    at.ask(
        lambda connection: connection.run(
            "UPDATE project SET deleted_at = 1, name = 'x' WHERE id = ?", (OTHER,)
        )
    )
    assert retention.purge(at.database, 0, at.clock.now()).cached == 1
    steps: list[int] = []
    late = at.clock.now() + HOUR * 1000
    assert retention.purge(at.database, 0, late, lambda gone: steps.append(gone.cached)).cached == 5
    assert steps[-2:] == [2, 4]
    assert await longer.recall("stays") == 1


# Others at the same time, and what dies


async def test_two_who_ask_at_the_same_time_both_ask_and_the_later_answer_stays(world: World) -> None:
    some = world.entries()
    assert all(await asyncio.gather(some.keep("a", "earlier"), some.keep("a", "later")))
    assert (await some.recall("a"), world.kept()) == ("later", 1)


def test_many_keep_the_same_at_once_whatever_the_order(store: Settings) -> None:
    prepared = [Client(store, poll=False) for _ in range(2)]
    barrier = Barrier(len(prepared))

    async def keep(at: Client, names: Sequence[int]) -> list[bool]:
        some = Entries(cast("Any", at.runtime), DEFAULT_PROJECT, 60_000, cast("Any", print), tuple)
        return await asyncio.gather(*(some.keep(f"{name}", name) for name in names))

    def work(number: int) -> bool:
        at, names = prepared[number], range(20)
        barrier.wait(20)
        return all(all(at.do(keep(at, names[:: 1 - 2 * number]))) for _ in range(10))

    with ThreadPoolExecutor(len(prepared)) as pool:
        assert all(pool.map(work, range(len(prepared))))
    assert prepared[0].query("SELECT count(*) FROM cache_entry") == [(20,)]
    for each in prepared:
        each.close()


async def test_a_worker_that_dies_before_the_answer_is_in_the_journal_pays_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, submit = world.bench, world.bench.submit
    hung = asyncio.Event()

    def dying(work: Any) -> Any:
        if world.kept() and not hung.is_set():
            hung.set()
            return asyncio.get_running_loop().create_future()
        return submit(work)

    monkeypatch.setattr(at, "submit", dying)
    task = asyncio.ensure_future(world.run())
    await asyncio.wait_for(hung.wait(), 10)
    for hold in at.leases.held():
        hold.stop = Stop.LOST
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    at.clock.move(16)
    at.poller().tick()
    await at.carry(at.executor(around=world.way))
    ((name, status),) = at.query("SELECT id, status FROM execution")
    assert (status, world.asked) == ("succeeded", 1)
    assert cast("Any", at.output(name))["text"] == "Answer 1."
    assert len(at.query("SELECT id FROM usage")) == 1


async def test_an_answer_that_was_taken_is_in_the_journal_and_stays_when_the_entry_has_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.ask()
    at, record = world.bench, world.bench.submit
    hung = asyncio.Event()

    def dying(work: Any) -> Any:
        if any(getattr(each, "step", "") == "answer" for each in getattr(work, "entries", ())):
            done = record(work)
            hung.set()
            done.cancel()
            return asyncio.get_running_loop().create_future()
        return record(work)

    monkeypatch.setattr(at, "submit", dying)
    task = asyncio.ensure_future(world.run())
    await asyncio.wait_for(hung.wait(), 10)
    monkeypatch.setattr(at, "submit", record)
    for hold in at.leases.held():
        hold.stop = Stop.LOST
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    at.ask(lambda connection: connection.run("DELETE FROM cache_entry"))
    at.clock.move(16)
    at.poller().tick()
    await at.carry(at.executor(around=world.way))
    assert at.query("SELECT status FROM execution") == [("succeeded",)] * 2
    assert world.asked == 1


async def test_a_database_that_does_not_answer_keeps_nobody_from_an_answer_that_was_paid_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, submit = world.bench, world.bench.submit

    def failing(work: Any) -> Any:
        if callable(work) and "_KEEP" in getattr(work, "__code__").co_names:  # noqa: B009
            future = asyncio.get_running_loop().create_future()
            future.set_exception(Unavailable("The database does not answer."))
            return future
        return submit(work)

    monkeypatch.setattr(at, "submit", failing)
    name = await world.run()
    assert (at.status(name), world.asked, world.kept()) == ("succeeded", 1, 0)
    (line,) = [each[3] for each in at.events(name) if each[0] == "node.log"]
    assert line == {
        "level": "warning",
        "message": "This is not kept in the cache: The database does not answer.",
        "code": "service.unavailable",
    }


async def test_a_database_that_cannot_be_read_is_asked_again_before_any_model_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(self: Entries, key: str) -> Json:
        raise Unavailable("The database does not answer.")

    with monkeypatch.context() as broken:
        broken.setattr(Entries, "recall", unavailable)
        name = await world.run()
    assert (world.bench.status(name), world.asked) == ("running", 0)
    world.bench.clock.move(16)
    world.bench.poller().tick()
    await world.bench.carry(world.bench.executor(around=world.way))
    assert (world.bench.status(name), world.asked) == ("succeeded", 1)


async def test_no_secret_and_no_key_is_stored(world: World) -> None:
    some = world.entries()
    await some.keep("of the s3cr3t-k3y", {"echo": "Bearer s3cr3t-k3y"})
    assert await some.recall("of the s3cr3t-k3y") == {"echo": "Bearer ***"}
    ((digest, body),) = world.bench.query("SELECT digest, body FROM cache_entry")
    assert len(digest) == 64
    assert "s3cr3t" not in digest + body


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_no_time_is_refused(world: World, seconds: float) -> None:
    with pytest.raises(Fail) as refused:
        world.entries(seconds)
    assert refused.value.code == "cache.invalid_ttl"
