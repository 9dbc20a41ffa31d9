"""Waits that a signal ends, with several processes at once, on both databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from engine import operations as op
from engine.settings import DEFAULT_PROJECT, Settings
from tests.builders import Client, document, node

PAUSE = document([node("pause", "wait", {"event": {"type": "paid"}})])
SUBSCRIPTION = op.Subscription("event", "event", "paid")


@pytest.fixture
def clients(store: Settings) -> Iterator[list[Client]]:
    """Three processes, each with a ledger of its own."""
    made = [Client(store, poll=False) for _ in range(3)]
    yield made
    for each in made:
        each.close()


def at_once(clients: Sequence[Client], work: Sequence[Any]) -> list[Any]:
    """Ask for everything at the same time, each from another process than the one before; answers and exceptions."""
    barrier = Barrier(len(work))

    def ask(number: int) -> Any:
        ledger = clients[number % len(clients)].runtime.ledger
        barrier.wait(20)
        return ledger.ask_each([work[number]])[0]

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(ask, range(len(work))))


def rest(client: Client, execution: str, *subscriptions: op.Subscription, **more: Any) -> op.Rest:
    now = client.runtime.clock.now()
    listening = subscriptions or (SUBSCRIPTION,)
    made = {"pure": True, "now": now, "project": DEFAULT_PROJECT, "subscriptions": listening, **more}
    return op.Rest(execution, 0, "", 0, **made)


def publish(client: Client, name: str, **more: Any) -> op.Publish:
    now = client.runtime.clock.now()
    made = {"correlation": "", **more}
    return op.Publish(name, DEFAULT_PROJECT, "paid", now=now, expires_at=now + 60_000, **made)


def test_an_event_that_is_published_while_a_wait_begins_is_never_overlooked(clients: list[Client]) -> None:
    active = clients[0].push(PAUSE)
    for turn in range(25):
        names = [clients[0].start(active) for _ in range(6)]
        listening = op.Subscription("event", "event", "paid", str(turn))
        asked: list[Any] = [rest(clients[0], each, listening) for each in names]
        asked.insert(turn % 6, publish(clients[0], f"evt_{turn}", correlation=str(turn)))
        answers = at_once(clients, asked)
        assert not [each for each in answers if isinstance(each, BaseException)]
        heard = clients[0].query("SELECT execution_id FROM signal WHERE event_id = ?", f"evt_{turn}")
        assert sorted(name for (name,) in heard) == sorted(names)
        states = clients[0].query("SELECT status FROM segment WHERE execution_id IN (?, ?)", *names[:2])
        assert states == [("ready",), ("ready",)]
    assert clients[0].query("SELECT * FROM subscription") == []


def test_a_known_key_is_published_once_by_however_many(clients: list[Client]) -> None:
    active = clients[0].push(PAUSE)
    names = [clients[0].start(active) for _ in range(3)]
    for each in names:
        assert clients[0].runtime.ledger.ask(rest(clients[0], each)) == []
    answers = at_once(clients, [publish(clients[0], f"evt_{n}", key="k") for n in range(12)])
    assert [each.new for each in answers].count(True) == 1
    assert {each.id for each in answers} == {next(each.id for each in answers if each.new)}
    assert sum(each.woken for each in answers) == 3


def test_of_time_and_signals_that_come_together_one_decides(clients: list[Client]) -> None:
    active = clients[0].push(document([node("pause", "wait", {"callback": True, "timeout": 0.001})]))
    both = (op.Subscription("callback", "callback"), op.Subscription("timeout", "time"))
    for turn in range(15):
        name = clients[0].start(active)
        now = clients[0].runtime.clock.now()
        assert clients[0].runtime.ledger.ask(rest(clients[0], name, *both, due=now)) == []
        asked: list[Any] = [op.Signal(name, 0, "", "callback", "callback", now) for _ in range(8)]
        asked.insert(turn % 9, op.Wake(name, ((0, ""),), now + 1))
        answers = at_once(clients, asked)
        won = [each for each in answers if isinstance(each, op.Signalled) and each.won]
        (row,) = clients[0].query("SELECT source FROM signal WHERE execution_id = ?", name)
        assert len(won) == (row[0] == "callback")
        assert clients[0].query("SELECT status, epoch FROM segment WHERE execution_id = ?", name) == [
            ("ready", 1)
        ]


def test_of_time_and_events_that_come_together_one_decides(clients: list[Client]) -> None:
    active = clients[0].push(PAUSE)
    for turn in range(15):
        name = clients[0].start(active)
        now = clients[0].runtime.clock.now()
        both = (op.Subscription("event", "event", "paid", name), op.Subscription("timeout", "time"))
        assert clients[0].runtime.ledger.ask(rest(clients[0], name, *both, due=now)) == []
        asked: list[Any] = [
            publish(clients[0], f"evt_{turn}_{number}", correlation=name) for number in range(6)
        ]
        asked.insert(turn % 7, op.Wake(name, ((0, ""),), now + 1))
        answers = at_once(clients, asked)
        woken = sum(each.woken for each in answers if isinstance(each, op.Published))
        (row,) = clients[0].query("SELECT source FROM signal WHERE execution_id = ?", name)
        assert woken == (row[0] == "event")
        assert clients[0].query("SELECT status, epoch FROM segment WHERE execution_id = ?", name) == [
            ("ready", 1)
        ]


def test_a_signal_for_a_wait_that_begins_at_that_moment_is_kept(clients: list[Client]) -> None:
    active = clients[0].push(document([node("pause", "wait", {"callback": True})]))
    listening = op.Subscription("callback", "callback")
    for turn in range(15):
        name = clients[0].start(active)
        asked: list[Any] = [rest(clients[0], name, listening)]
        now = clients[0].runtime.clock.now()
        asked.insert(turn % 2, op.Signal(name, 0, "", "callback", "callback", now))
        for answer in at_once(clients, asked):
            assert not isinstance(answer, BaseException)
        assert clients[0].query("SELECT status FROM segment WHERE execution_id = ?", name) == [("ready",)]


def test_of_twenty_who_decide_at_once_exactly_one_does(clients: list[Client]) -> None:
    active = clients[0].push(document([node("ask", "approval", {"title": "Pay?"})]))
    both = tuple(op.Subscription(each, "decision") for each in ("approved", "rejected"))
    for turn in range(5):
        name = clients[0].start(active)
        asked = op.Approval(
            f"appr_{turn}", "ask", "Pay?", op.Payload("{}"), "h", '{"users":[],"roles":[]}', 1, "reject_wins"
        )
        assert clients[0].runtime.ledger.ask(rest(clients[0], name, *both, approval=asked)) == []
        now = clients[0].runtime.clock.now()
        deciders = [
            op.Decide(name, asked.id, f"p{n}", frozenset(), ("approved", "rejected")[n % 2], "h", now)
            for n in range(20)
        ]
        said = at_once(clients, deciders)
        decided = [each for each in said if each.counted is op.Counted.DECIDED]
        assert len(decided) == 1
        assert [each.counted for each in said].count(op.Counted.CLOSED) == 19
        assert {each.status for each in said} == {decided[0].status}
        assert clients[0].query("SELECT count(*) FROM approval_vote WHERE approval_id = ?", asked.id) == [
            (1,)
        ]
        ((signalled, status),) = clients[0].query(
            "SELECT g.name, a.status FROM signal g JOIN approval a ON a.execution_id = g.execution_id "
            "WHERE g.execution_id = ?",
            name,
        )
        assert signalled == status == decided[0].status


def test_a_quorum_is_counted_right_by_however_many(clients: list[Client]) -> None:
    active = clients[0].push(document([node("ask", "approval", {"title": "Pay?"})]))
    name = clients[0].start(active)
    asked = op.Approval(
        "appr", "ask", "t", op.Payload("{}"), "h", '{"users":[],"roles":[]}', 7, "reject_wins"
    )
    branch = op.Subscription("approved", "decision")
    assert clients[0].runtime.ledger.ask(rest(clients[0], name, branch, approval=asked)) == []
    now = clients[0].runtime.clock.now()
    people = [f"p{n % 10}" for n in range(20)]
    said = at_once(
        clients, [op.Decide(name, "appr", each, frozenset(), "approved", "h", now) for each in people]
    )
    outcomes = [each.counted for each in said]
    assert (outcomes.count(op.Counted.COUNTED), outcomes.count(op.Counted.DECIDED)) == (6, 1)
    assert clients[0].query("SELECT count(*) FROM approval_vote") == [(7,)]
