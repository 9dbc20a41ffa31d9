"""Mutexes and limits of nodes on both databases: who goes on, who waits, and who is next whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from celeriac import Context, Effect, Fail, Json, NodeType, Retry, TryAgain, Wait, node
from engine import admission
from engine import operations as op
from engine.registry import Registry
from engine.settings import Settings
from tests.builders import (
    Client,
    celery_worker,
    document,
    edges,
    environment,
    is_ready,
    prepared,
    wait_until,
)
from tests.builders import node as vertex
from tests.servers import Postgres, Valkey
from tests.workbench import Workbench

pytestmark = pytest.mark.timeout(120)


class Config(BaseModel):
    """What a node is handed."""

    text: Any = None


class Floor:
    """Knows who is inside a node, and how many were at most."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.most = 0
        self.order: list[str] = []
        self.acts: list[Any] = []
        self.acts_of: dict[str, list[Any]] = {}
        self.turns = 3

    async def visit(self, ctx: Context) -> Json:
        self.inside.append(ctx.execution_id)
        self.order.append(ctx.execution_id)
        self.most = max(self.most, len(self.inside))
        try:
            for _ in range(self.turns):
                await asyncio.sleep(0)
            acts = self.acts_of.get(ctx.node_id, self.acts)
            act = acts.pop(0) if acts else None
            if isinstance(act, BaseException):
                raise act
        finally:
            self.inside.remove(ctx.execution_id)
        return act if isinstance(act, Wait) else len(self.order)  # type: ignore[return-value]  # what a node may return


FLOOR = Floor()


def visiting(name: str, **more: Any) -> NodeType:
    @node(name, **more)
    async def visit(config: Config, ctx: Context) -> Json:
        """Stay a while where one may look who is there."""
        return await FLOOR.visit(ctx)

    return visit


REGISTRY = Registry(
    [
        visiting("visit", effect=Effect.READ, retry=Retry(2, on=("x.busy",), delay=1.0, jitter=0)),
        visiting("stay", effect=Effect.READ, waits=True),
        visiting("ponder"),
    ]
)


@pytest.fixture
def bench(store: Settings, tmp_path: Path) -> Iterator[Workbench]:
    global FLOOR  # noqa: PLW0603  the node types are made once, and each test has a floor of its own
    FLOOR = Floor()
    made = Workbench(tmp_path, registry=REGISTRY, store=store)
    yield made
    held = made.query(
        "SELECT h.execution_id FROM hold h JOIN execution e ON e.id = h.execution_id WHERE e.finished_at IS NOT NULL"
    )
    made.close()
    assert held == []


def one(**limits: Any) -> dict[str, Any]:
    """A definition with one node that has limits."""
    return document([vertex("a", "visit", **limits)])


def carry(bench: Workbench) -> None:
    asyncio.run(bench.carry())


def holds(bench: Workbench) -> list[tuple[Any, ...]]:
    return bench.query("SELECT execution_id, granted FROM hold ORDER BY granted DESC, rank, place")


async def until_inside(count: int = 1) -> None:
    while len(FLOOR.inside) < count:
        await asyncio.sleep(0)


def test_two_hundred_executions_are_never_two_at_a_time_under_a_mutex(bench: Workbench) -> None:
    active = bench.push(one(mutex="the door"))
    names = [bench.start(active) for _ in range(200)]
    carry(bench)
    assert {bench.status(each) for each in names} == {"succeeded"}
    assert FLOOR.most == 1
    assert holds(bench) == []


def test_a_mutex_serves_those_who_wait_in_the_order_they_came(bench: Workbench) -> None:
    active = bench.push(one(mutex="the door"))
    names = [bench.start(active) for _ in range(10)]
    FLOOR.turns = 1000

    async def carried() -> list[str]:
        carrying = asyncio.create_task(bench.carry())
        while len(holds(bench)) < len(names):
            await asyncio.sleep(0)
        queue = [name for name, _ in holds(bench)]
        await carrying
        return queue

    assert asyncio.run(carried()) == FLOOR.order


def test_a_limit_of_three_lets_three_in(bench: Workbench) -> None:
    active = bench.push(one(concurrency={"key": "hall", "limit": 3}))
    names = [bench.start(active) for _ in range(20)]
    carry(bench)
    assert {bench.status(each) for each in names} == {"succeeded"}
    assert FLOOR.most == 3


def test_keys_are_rendered_and_other_keys_are_other_doors(bench: Workbench) -> None:
    active = bench.push(one(mutex="door {{ door }}"))
    for door in (1, 2, 1, 2):
        bench.start(active, {"door": door})
    carry(bench)
    assert FLOOR.most == 2
    assert len(FLOOR.order) == 4


def test_a_key_that_cannot_be_rendered_fails_the_node(bench: Workbench) -> None:
    active = bench.push(one(mutex="{{ door }}"))
    without, odd = bench.start(active, {}), bench.start(active, {"door": [1]})
    carry(bench)
    assert bench.error(without)["code"] == "expression.unknown_name"
    assert bench.error(odd)["code"] == "limit.bad_key"
    assert FLOOR.order == []


def test_a_scope_holds_its_key_from_beginning_to_end(bench: Workbench) -> None:
    body = {"nodes": [vertex("a", "visit"), vertex("b", "visit")], "edges": edges("a->b")}
    active = bench.push(document([{"id": "critical", "type": "scope", "mutex": "the door", "body": body}]))
    names = [bench.start(active) for _ in range(20)]
    carry(bench)
    assert {bench.status(each) for each in names} == {"succeeded"}
    assert FLOOR.most == 1
    assert FLOOR.order[::2] == FLOOR.order[1::2]


def test_each_item_of_a_map_asks_for_itself(bench: Workbench) -> None:
    each = vertex("a", "visit", for_each={"items": "[1, 1, 2, 2]"}, mutex="door {{ item }}")
    execution = bench.start(bench.push(document([each])))
    carry(bench)
    assert bench.status(execution) == "succeeded"
    assert len(FLOOR.order) == 4
    assert FLOOR.most == 2


def test_each_round_of_a_repeated_scope_asks_for_itself(bench: Workbench) -> None:
    body = {"nodes": [vertex("a", "ponder"), vertex("b", "visit")], "edges": edges("a->b")}
    scope = {"id": "s", "type": "scope", "for_each": {"items": "[1, 1, 2, 2]"}, "mutex": "{{ item }}"}
    execution = bench.start(bench.push(document([{**scope, "body": body}])))
    carry(bench)
    assert bench.status(execution) == "succeeded"
    assert FLOOR.most == 2


def test_a_holder_keeps_its_key_over_its_attempts(bench: Workbench) -> None:
    FLOOR.acts = [Fail("x.busy", "later"), None, None]
    active = bench.push(one(mutex="the door"))
    first, second = bench.start(active), bench.start(active)
    carry(bench)
    assert len(FLOOR.order) == 1
    assert [granted for _, granted in holds(bench)] == [1, 0]
    bench.clock.move(1.1)
    bench.poller().tick()
    carry(bench)
    assert {bench.status(first), bench.status(second)} == {"succeeded"}
    assert FLOOR.order[0] == FLOOR.order[1] != FLOOR.order[2]


def test_a_failed_holder_gives_its_key_on(bench: Workbench) -> None:
    FLOOR.acts = [Fail("x.broken", "no")]
    active = bench.push(one(mutex="the door"))
    names = [bench.start(active) for _ in range(3)]
    carry(bench)
    assert sorted(bench.status(each) for each in names) == ["failed", "succeeded", "succeeded"]


def test_a_durable_wait_keeps_the_key(bench: Workbench) -> None:
    FLOOR.acts = [Wait(until=bench.clock.now() + 60_000)]
    active = bench.push(document([vertex("a", "stay", mutex="the door")]))
    bench.start(active), bench.start(active)
    carry(bench)
    assert len(FLOOR.order) == 1
    bench.clock.move(61)
    bench.poller().tick()
    carry(bench)
    assert len(FLOOR.order) == 2


def test_a_cancelled_holder_gives_its_key_on_when_it_has_stopped(bench: Workbench) -> None:
    active = bench.push(one(mutex="the door"))
    names = [bench.start(active) for _ in range(2)]
    FLOOR.turns = 1000

    async def cancelled() -> str:
        carrying = asyncio.create_task(bench.carry())
        await until_inside()
        holder: str = FLOOR.inside[0]
        bench.ask(op.Cancel(holder, bench.clock.now()))
        assert [granted for _, granted in holds(bench)] == [1, 0]
        await carrying
        return holder

    holder = asyncio.run(cancelled())
    assert bench.status(holder) == "cancelled"
    assert {bench.status(each) for each in names} == {"cancelled", "succeeded"}


def test_a_cancelled_waiter_leaves_the_queue(bench: Workbench) -> None:
    active = bench.push(one(mutex="the door"))
    names = [bench.start(active) for _ in range(3)]
    FLOOR.turns = 1000

    async def cancelled() -> None:
        carrying = asyncio.create_task(bench.carry())
        await until_inside()
        while len(holds(bench)) < 3:
            await asyncio.sleep(0)
        waiting = [name for name, granted in holds(bench) if not granted]
        bench.ask(op.Cancel(waiting[0], bench.clock.now()))
        assert bench.status(waiting[0]) == "cancelled"
        assert len(holds(bench)) == 2
        await carrying

    asyncio.run(cancelled())
    assert sorted(map(bench.status, names)) == ["cancelled", "succeeded", "succeeded"]


def test_who_is_held_waits_behind_the_others_until_it_goes_on(bench: Workbench) -> None:
    active = bench.push(one(mutex="the door"))
    names = [bench.start(active) for _ in range(3)]
    FLOOR.turns = 1000

    async def held() -> str:
        carrying = asyncio.create_task(bench.carry())
        await until_inside()
        while len(holds(bench)) < 3:
            await asyncio.sleep(0)
        waiting = [name for name, granted in holds(bench) if not granted]
        bench.ask(op.Pause(waiting[0], bench.clock.now()))
        await carrying
        return str(waiting[0])

    paused = asyncio.run(held())
    assert sorted(map(bench.status, names)) == ["succeeded", "succeeded", "waiting"]
    bench.ask(op.Pause(paused, bench.clock.now(), resume=True))
    bench.clock.move(1)
    bench.poller().tick()
    carry(bench)
    assert bench.status(paused) == "succeeded"


def test_a_stopped_instance_gives_its_key_on(bench: Workbench) -> None:
    body = {
        "nodes": [
            vertex("slow", "stay", mutex="door"),
            vertex("bad", "visit", {"text": "{{ nodes.slow.output }}"}),
        ],
        "edges": edges("slow->bad"),
    }
    FLOOR.acts_of = {
        "slow": [None, Wait(until=bench.clock.now() + 600_000)],
        "bad": [TryAgain("x.busy", "not yet"), Fail("x.broken", "no")],
        "after": [Wait(until=bench.clock.now() + 600_000)],
    }
    scope = {"id": "s", "type": "scope", "for_each": {"items": "[0, 1, 2]"}, "body": body}
    after = vertex("after", "stay")
    execution = bench.start(
        bench.push(document([{**scope, "on_error": "continue"}, after], edges("s->after")))
    )
    carry(bench)
    assert [granted for _, granted in holds(bench)] == [1, 0]
    bench.clock.move(2)
    bench.poller().tick()
    carry(bench)
    assert bench.status(execution) == "waiting"
    assert holds(bench) == []
    other = bench.start(bench.push(one(mutex="door")))
    carry(bench)
    assert bench.status(other) == "succeeded"


def test_whose_row_is_locked_elsewhere_is_let_in_and_hears_of_it_later(bench: Workbench) -> None:
    if bench.connection.dialect != "postgresql":
        return  # SQLite has one writer, who has every row
    active = bench.push(one(mutex="door"))
    names = [bench.start(active) for _ in range(2)]
    FLOOR.turns = 1000
    elsewhere = bench.database.connect()

    async def locked() -> str:
        carrying = asyncio.create_task(bench.carry())
        while len(holds(bench)) < 2:
            await asyncio.sleep(0)
        waiting: str = next(name for name, granted in holds(bench) if not granted)
        elsewhere.run("BEGIN")
        elsewhere.run("SELECT 1 FROM execution WHERE id = ? FOR UPDATE", (waiting,))
        await carrying
        return waiting

    waiting = asyncio.run(locked())
    elsewhere.rollback()
    elsewhere.close()
    assert holds(bench) == [(waiting, 1)]
    assert bench.status(waiting) == "waiting"
    bench.clock.move(1)
    bench.poller().tick()
    carry(bench)
    assert {bench.status(each) for each in names} == {"succeeded"}
    assert holds(bench) == []


def test_no_key_is_touched_by_a_message_that_comes_twice(bench: Workbench) -> None:
    active = bench.push(one(mutex="the door"))
    names = [bench.start(active) for _ in range(4)]
    FLOOR.turns = 100

    async def doubled() -> None:
        carrying = asyncio.create_task(bench.carry())
        await until_inside()
        rows = bench.query("SELECT execution_id, segment, item FROM segment")
        await bench.executor().perform(rows * 2)
        await carrying

    asyncio.run(doubled())
    assert FLOOR.most == 1
    assert {bench.status(each) for each in names} == {"succeeded"}


def test_who_finds_no_slot_is_turned_away_when_the_author_says_so(bench: Workbench) -> None:
    active = bench.push(one(concurrency={"key": "hall", "limit": 2, "strategy": "reject"}))
    names = [bench.start(active) for _ in range(5)]
    FLOOR.turns = 300
    carry(bench)
    assert sorted(map(bench.status, names)) == ["failed"] * 3 + ["succeeded"] * 2
    failed = next(each for each in names if bench.status(each) == "failed")
    assert bench.error(failed)["code"] == "limit.rejected"
    assert bench.error(failed)["node"] == "a"
    assert FLOOR.most == 2
    assert holds(bench) == []


def test_who_was_turned_away_may_come_again(bench: Workbench) -> None:
    again = {"max_attempts": 3, "on": ["limit.rejected"], "delay": 1, "jitter": 0}
    active = bench.push(one(concurrency={"key": "hall", "limit": 1, "strategy": "reject"}, retry=again))
    names = [bench.start(active) for _ in range(2)]
    FLOOR.turns = 300
    carry(bench)
    assert len(FLOOR.order) == 1
    bench.clock.move(1.5)
    bench.poller().tick()
    carry(bench)
    assert {bench.status(each) for each in names} == {"succeeded"}


def test_no_more_wait_than_may(bench: Workbench) -> None:
    active = bench.push(one(concurrency={"key": "hall", "limit": 1, "max_queued": 2}))
    names = [bench.start(active) for _ in range(6)]
    FLOOR.turns = 300
    carry(bench)
    assert sorted(map(bench.status, names)) == ["failed"] * 3 + ["succeeded"] * 3
    codes = {bench.error(each)["code"] for each in names if bench.status(each) == "failed"}
    assert codes == {"limit.queue_full"}


def test_a_rate_lets_so_many_start_within_its_period(bench: Workbench) -> None:
    active = bench.push(one(rate={"key": "api", "limit": 3, "period": "9s"}))
    for _ in range(8):
        bench.start(active)
    started: list[int] = []
    for _ in range(20):
        bench.poller().tick()
        carry(bench)
        started.append(len(FLOOR.order))
        bench.clock.move(1)
    assert started == [3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 8, 8]
    assert holds(bench) == []


def test_a_rate_counts_each_attempt(bench: Workbench) -> None:
    FLOOR.acts = [Fail("x.busy", "later"), None]
    execution = bench.start(bench.push(one(rate={"key": "api", "limit": 1, "period": "10s"})))
    carry(bench)
    for moved, count in ((1.1, 1), (8, 1), (1, 2)):
        bench.clock.move(moved)
        bench.poller().tick()
        carry(bench)
        assert len(FLOOR.order) == count
    assert bench.status(execution) == "succeeded"


def test_a_place_is_taken_before_a_time_and_kept_until_then(bench: Workbench) -> None:
    limits = {"concurrency": {"key": "hall", "limit": 1}, "rate": {"key": "api", "limit": 1, "period": "10s"}}
    active = bench.push(one(**limits))
    names = [bench.start(active) for _ in range(3)]
    started = []
    for _ in range(25):
        bench.poller().tick()
        carry(bench)
        started.append(len(FLOOR.order))
        bench.clock.move(1)
    assert (started[0], started[9], started[10], started[19], started[20]) == (1, 1, 2, 2, 3)
    assert {bench.status(each) for each in names} == {"succeeded"}
    assert holds(bench) == []


def test_who_is_cancelled_while_its_time_has_not_come_leaves_nothing(bench: Workbench) -> None:
    active = bench.push(one(rate={"key": "api", "limit": 1, "period": "10s"}))
    names = [bench.start(active) for _ in range(2)]
    carry(bench)
    waiting = next(each for each in names if bench.status(each) == "waiting")
    bench.ask(op.Cancel(waiting, bench.clock.now()))
    assert bench.status(waiting) == "cancelled"
    assert holds(bench) == []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_worker_that_is_killed_holding_a_key_comes_back_to_it_and_nobody_came_between(
    database: str, request: pytest.FixtureRequest, valkey: Valkey, tmp_path: Path
) -> None:
    valkey.flush()
    with ExitStack() as opened:
        url = None
        if database == "postgresql":
            server: Postgres = request.getfixturevalue("postgres")
            url = opened.enter_context(server.database())
        around = environment(tmp_path, valkey.url, url)
        client = Client(prepared(around))
        opened.callback(client.close)
        first, second = (celery_worker(around, tmp_path / f"{name}.log", name=name) for name in ("v", "w"))
        opened.callback(second.end)
        wait_until(lambda: is_ready(first) and is_ready(second))
        active = client.push(document([vertex("a", "compute", {"seconds": 0.05}, mutex="door")]))
        client.start_all([admission.Request(active, {"k": number}) for number in range(30)])
        wait_until(lambda: client.query("SELECT count(*) FROM journal WHERE node = 'a'")[0][0] >= 5)
        wait_until(
            lambda: bool(client.query("SELECT 1 FROM segment WHERE status = 'running' AND segment > 0"))
        )
        first.kill()
        client.all_finished()
        rows = client.query("SELECT started_at, ended_at FROM journal WHERE node = 'a' ORDER BY started_at")
        assert len(rows) == 30
        overlapping = [(before, after) for before, after in pairwise(rows) if after[0] < before[1]]
        assert overlapping == []
        assert client.query("SELECT * FROM hold") == []
