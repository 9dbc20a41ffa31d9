"""Limits of whole workflows on both databases: who waits, who is refused, who gives way, and who is first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from celeriac import Json
from engine import admission, catalog
from engine import operations as op
from engine.settings import Settings
from tests.builders import document
from tests.builders import node as vertex
from tests.workbench import Workbench

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def bench(store: Settings, tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path, store=store)
    yield made
    made.close()


def gated(strategy: str | None = None, key: str = "orders of {{ customer }}", **more: Any) -> dict[str, Any]:
    """A workflow that waits for a minute, so that executions of it stay under way."""
    concurrency = {"key": key, "limit": 1, **more}
    if strategy is not None:
        concurrency["strategy"] = strategy
    return document([vertex("a", "wait", {"for": "60s"})], concurrency=concurrency)


def wish(bench: Workbench, active: catalog.Active, customer: Json = 1, **more: Any) -> op.Start:
    request = admission.Request(active, {"customer": customer}, **more)
    return admission.operation(cast("Any", bench), request)


def started(bench: Workbench, active: catalog.Active, *customers: Json, **more: Any) -> list[op.Started]:
    """Start one after the other, each in a transaction of its own."""
    found: list[op.Started] = []
    for customer in customers:
        answer = bench.ask(wish(bench, active, customer, **more))
        if answer.send:
            bench.outlet.sent.append((active.queue, (answer.execution, 0, "")))
        found.append(answer)
        bench.clock.move(0.001)
    return found


def go_on(bench: Workbench, seconds: float = 0) -> None:
    """Let time pass, and do what has to be done."""
    asyncio.run(bench.carry())
    bench.clock.move(seconds)
    for _ in range(3):
        bench.poller().tick()
        asyncio.run(bench.carry())


def holds(bench: Workbench) -> list[tuple[Any, ...]]:
    return bench.query("SELECT execution_id, granted FROM hold ORDER BY granted DESC, rank, place")


def test_one_more_waits_until_the_one_before_has_ended(bench: Workbench) -> None:
    active = bench.push(gated())
    first, second, third, other = started(bench, active, 1, 1, 1, 2)
    assert [each.send for each in (first, second, third, other)] == [True, False, False, True]
    go_on(bench)
    assert bench.status(first.execution) == bench.status(other.execution) == "waiting"
    assert bench.status(second.execution) == bench.status(third.execution) == "created"
    go_on(bench, 61)
    assert bench.status(first.execution) == "succeeded"
    assert [bench.status(each.execution) for each in (second, third)] == ["waiting", "created"]
    go_on(bench, 61)
    go_on(bench, 61)
    assert bench.status(third.execution) == "succeeded"
    assert holds(bench) == []


def test_several_in_one_transaction_are_one_after_the_other_as_well(bench: Workbench) -> None:
    active = bench.push(gated())
    answers = bench.ask_all([wish(bench, active) for _ in range(5)])
    assert [each.send for each in answers] == [True, False, False, False, False]
    assert [granted for _, granted in holds(bench)] == [1, 0, 0, 0, 0]


def test_a_start_that_is_refused_leaves_nothing(bench: Workbench) -> None:
    active = bench.push(gated("reject"))
    first, second = started(bench, active, 1, 1)
    assert first.new
    assert second.refused == "limit.rejected"
    assert bench.query("SELECT count(*) FROM execution") == [(1,)]
    go_on(bench, 61)
    (third,) = started(bench, active, 1)
    assert third.new


def test_the_door_says_why_it_refuses(bench: Workbench) -> None:
    active = bench.push(gated("reject"))
    at = cast("Any", _Runtime(bench))

    async def twice() -> None:
        requests = [admission.Request(active, {"customer": 1}) for _ in range(2)]
        await admission.accept_all(at, requests)

    with pytest.raises(admission.Rejected) as caught:
        asyncio.run(twice())
    assert caught.value.to_json()["code"] == "limit.rejected"
    assert caught.value.details == {"key": "orders of 1"}


def test_a_full_queue_refuses(bench: Workbench) -> None:
    active = bench.push(gated(max_queued=1))
    answers = started(bench, active, 1, 1, 1)
    assert [each.refused for each in answers] == [None, None, "limit.queue_full"]


def test_a_known_idempotency_key_is_never_refused(bench: Workbench) -> None:
    active = bench.push(gated("reject"))
    (first,) = started(bench, active, 1, idempotency_key="k")
    (again,) = started(bench, active, 1, idempotency_key="k")
    assert again == op.Started(first.execution, new=False)
    assert len(holds(bench)) == 1


def test_two_starts_under_one_idempotency_key_in_one_transaction_are_one(bench: Workbench) -> None:
    active = bench.push(gated())
    first, second = bench.ask_all([wish(bench, active, idempotency_key="k") for _ in range(2)])
    assert (first.new, second.new, second.execution) == (True, False, first.execution)
    assert len(holds(bench)) == 1


def test_those_that_come_while_one_waits_are_the_one_that_waits(bench: Workbench) -> None:
    active = bench.push(gated("coalesce"))
    first, second, third = started(bench, active, 1, 1, 1)
    fourth, fifth = bench.ask_all([wish(bench, active, 2), wish(bench, active, 1)])
    assert (first.new, second.new, fourth.new) == (True, True, True)
    assert (third.new, third.execution) == (False, second.execution)
    assert (fifth.new, fifth.execution) == (False, second.execution)


def test_the_oldest_gives_way_to_the_newest(bench: Workbench) -> None:
    active = bench.push(gated("cancel_oldest"))
    at = cast("Any", _Runtime(bench))
    names = []
    for _ in range(4):
        accepted = asyncio.run(admission.accept(at, admission.Request(active, {"customer": 1})))
        names.append(accepted.execution)
        bench.clock.move(0.01)
    go_on(bench)
    assert [bench.status(each) for each in names] == ["cancelled", "cancelled", "cancelled", "waiting"]
    assert [name for name, _ in holds(bench)] == [names[-1]]


def test_who_is_cancelled_while_it_waits_leaves_the_queue(bench: Workbench) -> None:
    active = bench.push(gated())
    first, second, third = started(bench, active, 1, 1, 1)
    bench.ask(op.Cancel(second.execution, bench.clock.now()))
    assert bench.status(second.execution) == "cancelled"
    bench.ask(op.Cancel(first.execution, bench.clock.now()))
    assert bench.status(first.execution) == "cancelled"
    go_on(bench)
    assert bench.status(third.execution) == "waiting"


def test_who_is_held_while_it_waits_is_passed_over(bench: Workbench) -> None:
    active = bench.push(gated())
    _, second, third = started(bench, active, 1, 1, 1)
    bench.ask(op.Pause(second.execution, bench.clock.now()))
    go_on(bench)
    go_on(bench, 61)
    assert [bench.status(each.execution) for each in (second, third)] == ["created", "waiting"]
    bench.ask(op.Pause(second.execution, bench.clock.now(), resume=True))
    go_on(bench, 61)
    assert bench.status(second.execution) == "waiting"


def test_a_higher_priority_is_let_in_first(bench: Workbench) -> None:
    active = bench.push(gated())
    started(bench, active, 1)
    low, high = started(bench, active, 1)[0], started(bench, active, 1, priority=5)[0]
    go_on(bench)
    go_on(bench, 61)
    assert [bench.status(each.execution) for each in (low, high)] == ["created", "waiting"]


def test_a_rate_spreads_starts(bench: Workbench) -> None:
    rate = {"key": "starts", "limit": 2, "period": "10s"}
    active = bench.push(document([vertex("a", "noop")], rate=rate))
    answers = started(bench, active, *[1] * 5)
    assert [each.send for each in answers] == [True, True, False, False, False]
    ended = []
    for _ in range(4):
        go_on(bench)
        ended.append([bench.status(each.execution) for each in answers].count("succeeded"))
        bench.clock.move(5)
    assert ended == [2, 3, 4, 5]


def test_a_payload_without_the_key_is_refused(bench: Workbench) -> None:
    active = bench.push(gated())
    with pytest.raises(admission.InputInvalid, match="key"):
        admission.operation(cast("Any", bench), admission.Request(active, {}))
    whole = bench.push(gated(key="{{ customer }}"))
    with pytest.raises(admission.InputInvalid, match="key"):
        wish(bench, whole, [1])


def test_a_workflow_and_its_nodes_may_have_limits_of_their_own(bench: Workbench) -> None:
    body = document([vertex("a", "noop", mutex="inner")], concurrency={"key": "outer", "limit": 2})
    active = bench.push(body)
    answers = started(bench, active, *[1] * 6)
    go_on(bench)
    assert {bench.status(each.execution) for each in answers} == {"succeeded"}
    assert holds(bench) == []


def test_where_a_queue_is_full_a_higher_priority_is_sent_first(bench: Workbench) -> None:
    bench.room.learn("default", 1_000)
    plain = bench.push(document([vertex("a", "noop")], name="plain"))
    urgent = bench.push(document([vertex("a", "noop")], name="urgent", priority=7))
    names = [started(bench, plain, 1)[0], started(bench, urgent, 1)[0], *started(bench, plain, 1, priority=9)]
    assert not any(each.send for each in names)
    bench.gauge.waiting["default"] = 0
    bench.clock.move(1)
    bench.poller().tick()
    sent = [execution for execution, _, _ in bench.outlet.taken()]
    assert sent == [names[2].execution, names[1].execution, names[0].execution]


class _Runtime:
    """The door's view of a bench."""

    def __init__(self, bench: Workbench) -> None:
        self.settings, self.clock = bench.settings, bench.clock
        self.ledger, self.reader, self.dispatcher = bench, bench, bench.outlet
