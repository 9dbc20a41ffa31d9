"""Several schedulers at once, on both databases: each slot starts one execution, whoever of them dies, sleeps or loses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from engine import operations as op
from engine.dispatch import Room
from engine.poller import Poller
from engine.settings import DEFAULT_PROJECT, Settings
from engine.triggers import schedules
from tests.builders import Client, document, node
from tests.workbench import Gauge, HandClock

SCHEDULES = 40
SECONDS = 12


class Scheduler:
    """The poller of one process, under a clock that all of them share."""

    def __init__(self, client: Client, clock: HandClock) -> None:
        self.client = client
        self.sent: list[Any] = []
        at = client.runtime
        self.poller = Poller(
            at.settings, clock, at.ledger, at.reader.ask, Gauge(), Room(64), self.sent.extend, ["default"]
        )


@pytest.fixture
def clients(store: Settings) -> Iterator[list[Client]]:
    made = [Client(store, poll=False) for _ in range(5)]
    yield made
    for each in made:
        each.close()


def started(client: Client) -> Counter[tuple[str, str]]:
    """How many executions each slot has started, as the executions themselves remember it."""
    rows = client.query("SELECT trigger_event FROM execution")
    events = [json.loads(text) for (text,) in rows]
    return Counter((each["schedule"], each["scheduled_at"]) for each in events)


@pytest.mark.parametrize("count", [2, 5])
def test_however_many_schedulers_look_each_slot_starts_one_execution(
    clients: list[Client], count: int
) -> None:
    clock = HandClock()
    first = clients[0]
    active = first.push(document([node("a")]))
    for number in range(SCHEDULES):
        config = {"every": 1 + number % 3, "overlap": "allow", "jitter": "400ms" if number % 2 else 0}
        change = schedules.add(f"sched_{number:02}", active.workflow, f"s{number}", config, clock.now())
        first.runtime.ledger.ask(change)
    crowd = [Scheduler(each, clock) for each in clients[:count]]
    barrier = Barrier(count)

    def look(scheduler: Scheduler) -> None:
        barrier.wait(20)
        scheduler.poller.tick()

    with ThreadPoolExecutor(count) as pool:
        for turn in range(SECONDS * 2):
            clock.move(0.5)
            # Now and then one of them stands still for a while, and wakes up with what it had read before.
            looking = [each for number, each in enumerate(crowd) if (turn + number) % 4 or count == 2]
            barrier = Barrier(len(looking))
            list(pool.map(look, looking))
    clock.move(0.5)
    crowd[0].poller.tick()
    found = started(first)
    expected = sum(SECONDS // (1 + number % 3) for number in range(SCHEDULES))
    assert set(found.values()) == {1}
    assert len(found) == expected
    assert first.query("SELECT count(*) FROM inbox WHERE status = 'started'") == [(expected,)]
    assert {reference[0] for each in crowd for _, reference in each.sent} == {
        name for (name,) in first.query("SELECT id FROM execution")
    }


def test_of_many_who_move_a_schedule_on_one_starts_what_is_due(clients: list[Client]) -> None:
    active = clients[0].push(document([node("a")]))
    now = clients[0].runtime.clock.now()
    change = schedules.add("sched_x", active.workflow, "x", {"every": 60}, now)
    clients[0].runtime.ledger.ask(change)
    for turn in range(12):
        asked = []
        for number in range(10):
            start = op.Start(
                f"exec_{turn}_{number}",
                DEFAULT_PROJECT,
                active.workflow,
                active.version,
                "default",
                now,
                op.Payload("{}"),
                "{}",
            )
            arrival = op.Arrival("sched_x", str(turn), DEFAULT_PROJECT, now, (start,))
            asked.append(op.Arrive((arrival,), op.Move("sched_x", turn, turn + 1, turn + 1, turn)))
        barrier = Barrier(len(asked))

        def ask(number: int, asked: list[op.Arrive] = asked, barrier: Barrier = barrier) -> Any:
            barrier.wait(20)
            return clients[number % len(clients)].runtime.ledger.ask(asked[number])

        with ThreadPoolExecutor(len(asked)) as pool:
            answers = list(pool.map(ask, range(len(asked))))
        won = [each for each in answers if each is not None]
        assert len(won) == 1
        assert won[0][0].new
        rows = clients[0].query(
            "SELECT execution_id FROM inbox WHERE source = 'sched_x' AND key = ?", str(turn)
        )
        assert rows == [(won[0][0].execution,)]
    assert clients[0].query("SELECT count(*) FROM execution") == [(12,)]
    assert clients[0].query("SELECT epoch, slot, last_slot FROM schedule") == [(12, 12, 11)]


def test_the_same_delivery_at_once_starts_one_execution_and_is_answered_alike(clients: list[Client]) -> None:
    active = clients[0].push(document([node("a")]))
    now = clients[0].runtime.clock.now()
    for turn in range(8):
        names = [f"exec_{turn}_{number}" for number in range(10)]
        barrier = Barrier(len(names))

        def ask(number: int, turn: int = turn, names: list[str] = names, barrier: Barrier = barrier) -> Any:
            start = op.Start(
                names[number],
                DEFAULT_PROJECT,
                active.workflow,
                active.version,
                "default",
                now,
                op.Payload("{}"),
                "{}",
            )
            arrival = op.Arrival("hook_x", f"delivery-{turn}", DEFAULT_PROJECT, now, (start,))
            barrier.wait(20)
            return clients[number % len(clients)].runtime.ledger.ask(op.Arrive((arrival,)))

        with ThreadPoolExecutor(len(names)) as pool:
            answers = [each[0] for each in pool.map(ask, range(len(names)))]
        assert [each.new for each in answers].count(True) == 1
        assert len({each.execution for each in answers}) == 1
    assert clients[0].query("SELECT count(*) FROM execution") == [(8,)]
