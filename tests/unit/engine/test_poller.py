"""Repair and time, one round after another, with a broker whose queues are as long as a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from engine import operations as op
from engine.dispatch import COALESCED
from engine.errors import Unavailable
from engine.poller import Flow, Poller, PollerThread
from engine.settings import Timing
from tests.builders import document, edges, node
from tests.workbench import NOW, Workbench

ONE = document([node("a")])
REST = document([node("a", "wait", {"for": 5}), node("z")], edges("a->z"))
GRACE = 2.0
POLL = 0.25


def waiting(bench: Workbench, queue: str, count: int, ready_at: int = NOW) -> None:
    """Ready segments that were never sent."""
    active = bench.push(ONE)
    names = [bench.start(active) for _ in range(count)]
    bench.outlet.taken()
    bench.connection.begin()
    for name in names:
        bench.connection.run(
            "UPDATE segment SET queue = ?, ready_at = ?, due = ? WHERE execution_id = ?",
            (queue, ready_at, ready_at, name),
        )
    bench.connection.commit()


def sent(bench: Workbench) -> dict[str, int]:
    """How many references were sent to each queue since this was last asked."""
    found: dict[str, int] = {}
    for queue, _ in bench.outlet.sent:
        found[queue] = found.get(queue, 0) + 1
    bench.outlet.sent.clear()
    return found


def deliveries(bench: Workbench, name: str) -> int:
    return int(bench.segment(name, 0, "deliveries")[0])


# Feeding


def test_a_full_queue_that_nobody_serves_keeps_no_other_from_its_messages(bench: Workbench) -> None:
    waiting(bench, "gpu", 40, NOW - 60_000)
    waiting(bench, "default", 3)
    bench.gauge.waiting = {"gpu": 64}
    poller = bench.poller(["default", "gpu"])
    assert poller.tick() == POLL, "nothing more can be sent soon"
    assert sent(bench) == {"default": 3}


@pytest.mark.parametrize("window", [1, 2])
def test_a_queue_is_filled_as_far_as_it_has_room(bench: Workbench, window: int) -> None:
    bench.room._window = window * COALESCED
    waiting(bench, "default", 40)
    bench.gauge.waiting = {"default": window - 1}
    assert bench.poller().tick() == 0.01, "something was sent, and more is left"
    assert sent(bench) == {"default": COALESCED}


def test_the_pause_grows_again_when_there_is_no_more_to_send(bench: Workbench) -> None:
    bench.room._window = COALESCED
    waiting(bench, "default", 40)
    poller = bench.poller()
    assert [poller.tick() for _ in range(6)] == [0.01, 0.02, 0.04, 0.08, 0.16, POLL]
    assert sent(bench) == {"default": 40}


def test_each_queue_is_fed_although_one_cannot_be(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting(bench, "bad", 2)
    waiting(bench, "good", 2)
    poller = bench.poller(["bad", "good"])
    feed = poller._feed_one

    def fails(queue: str, *more: Any) -> bool:
        if queue == "bad":
            raise ValueError("no")
        return feed(queue, *more)

    monkeypatch.setattr(poller, "_feed_one", fails)
    poller.tick()
    assert sent(bench) == {"good": 2}


def test_after_a_flush_all_is_sent_again_and_nothing_is_held_against_it(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE))
    sent(bench)
    bench.gauge.flushed = True
    bench.poller().tick()
    assert sent(bench) == {"default": 1}
    assert deliveries(bench, name) == 0


def test_a_flush_is_not_forgotten_when_the_broker_cannot_be_asked_the_next_thing(bench: Workbench) -> None:
    bench.start(bench.push(ONE))
    sent(bench)
    poller = bench.poller()
    bench.gauge.flushed = True
    assert poller.flushed()
    bench.gauge.down = ConnectionError("gone")
    poller.tick()
    assert sent(bench) == {}
    bench.gauge.down = None
    poller.tick()
    assert sent(bench) == {"default": 1}
    assert not poller.flushed()


# What was sent and not taken up


def test_what_was_taken_from_an_emptied_queue_and_not_done_is_lost_with_its_taker(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE))
    sent(bench)
    poller = bench.poller()
    for expected in (1, 2, 2):
        bench.clock.move(GRACE + 0.1)
        poller.tick()
        assert (sent(bench), deliveries(bench, name)) == ({"default": 1}, expected)


def test_a_segment_that_kills_whoever_takes_it_is_found_out_although_its_queue_is_never_empty(
    bench: Workbench,
) -> None:
    name = bench.start(bench.push(ONE))
    sent(bench)
    poller = bench.poller()
    for round_ in range(200):
        bench.gauge.waiting = {"default": 2 + round_ % 3}
        bench.clock.move(0.5)
        poller.tick()
    assert deliveries(bench, name) == 2
    assert sum(sent(bench).values()) > 2


def test_what_waits_behind_workers_that_have_stopped_is_not_taken_for_lost(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE))
    sent(bench)
    poller = bench.poller()
    bench.gauge.waiting = {"default": 3}
    for _ in range(100):
        bench.clock.move(GRACE + 0.1)
        poller.tick()
    assert deliveries(bench, name) == 0
    assert 0 < sent(bench)["default"] < 25, "but in case its message is gone, it is sent again now and then"


def test_what_waits_its_turn_in_a_long_queue_is_neither_sent_twice_nor_taken_for_lost(
    bench: Workbench,
) -> None:
    poller = bench.poller()
    bench.gauge.waiting = {"default": 60}
    poller.tick()
    name = bench.start(bench.push(ONE))
    sent(bench)
    for left in range(59, 0, -1):
        bench.gauge.waiting = {"default": left}
        bench.clock.move(1)
        poller.tick()
    assert (sent(bench), deliveries(bench, name)) == ({}, 0)


def test_a_queue_is_served_as_far_as_it_has_become_shorter_since() -> None:
    flow = Flow(0)
    seen = []
    for now, length in enumerate([5, 7, 4, 6, 4, 9, 8, 0, 3, 3, 2, 4, 2, 1], 1):
        flow.look(length, now)
        seen.append((flow.served, flow.moved))
    # 5 wait at 1: 3 + 2 have gone by 5. 4 wait at 5: 1 + 8 have gone by 8, and nothing waits.
    # 3 wait at 9: 1 + 2 have gone by 13. 2 wait at 13, and 1 has gone.
    assert [served for served, _ in seen] == [0, 0, 0, 0, 1, 1, 1, 8, 8, 8, 8, 8, 9, 9]
    assert [moved for _, moved in seen] == [0, 0, 3, 3, 5, 5, 7, 8, 8, 8, 11, 11, 13, 14]


# Time


async def test_a_timer_is_waited_for_and_a_paused_one_makes_nobody_hurry(bench: Workbench) -> None:
    name = bench.start(bench.push(REST))
    await bench.carry()
    poller = bench.poller()
    bench.clock.move(4.9)
    assert poller.tick() == pytest.approx(0.1)
    bench.ask(op.Pause(name, bench.clock.now()))
    assert poller.tick() == POLL
    bench.clock.move(10)
    assert [poller.tick() for _ in range(3)] == [POLL] * 3
    assert bench.segments(name) == {0: "waiting"}
    bench.ask(op.Pause(name, bench.clock.now(), resume=True))
    poller.tick()
    assert bench.segments(name) == {0: "ready"}


async def test_more_timers_than_fit_a_round_are_woken_without_delay(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.poller._BATCH", 1)
    bench.start(bench.push(REST))
    await bench.carry()
    bench.clock.move(6)
    poller = bench.poller()
    assert poller.tick() == 0.01
    assert poller.tick() == 0.02


def test_every_few_seconds_the_clock_is_compared_with_the_databases(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(bench.clock, "sync", told.append)
    monkeypatch.setattr(bench.connection, "now", lambda: 7)
    poller = bench.poller()
    for _ in range(12):
        poller.tick()
        bench.clock.move(1)
    assert told == [7, 7]


def test_when_time_jumps_the_holders_get_a_lease_to_follow_before_their_claims_are_late(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = bench.start(bench.push(ONE))
    lease = bench.settings.timing.lease
    bench.ask(op.Claim(name, 0, "", "elsewhere:2:2", NOW, NOW + lease))
    ahead = 0
    monkeypatch.setattr(bench.clock, "now", lambda: bench.clock.ms + ahead)
    monkeypatch.setattr(bench.connection, "now", lambda: bench.clock.ms + 60_000)

    def sync(now: int) -> None:
        nonlocal ahead
        ahead = now - bench.clock.ms

    monkeypatch.setattr(bench.clock, "sync", sync)
    poller = bench.poller()
    bench.clock.move(5)
    poller.tick()
    assert ahead == 60_000
    assert bench.segments(name) == {0: "running"}
    bench.clock.move(lease / 1000 - 0.1)
    poller.tick()
    assert bench.segments(name) == {0: "running"}
    bench.clock.move(0.1)
    poller.tick()
    assert bench.segments(name) == {0: "ready"}


# What goes wrong


def test_a_part_that_fails_every_time_keeps_no_other_from_its_work_and_is_complained_of_once(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    poller = bench.poller()
    parts = [
        "_keep_time",
        "_learn_queues",
        "_take_from_the_late",
        "_wake",
        "_take_from_the_dead",
        "_end_overdue",
    ]
    for name in (*parts, "_soonest"):
        setattr(poller, name, _raising(ValueError(name)))
    for _ in range(3):
        waiting(bench, "default", 1, bench.clock.now())
        assert poller.tick() == POLL
        assert sent(bench) == {"default": 1}
        bench.clock.move(0.5)
    texts = [each.message for each in caplog.records if each.name == "engine.poller"]
    assert len(texts) == len(parts) + 1
    bench.clock.move(61)
    poller.tick()
    assert len([each for each in caplog.records if each.name == "engine.poller"]) == 2 * len(texts)


def test_an_operation_that_fails_every_time_keeps_no_other_from_being_sent(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting(bench, "default", 3)
    ask = bench.ask_each

    def ask_each(work: Sequence[Any], patience: float = 0) -> list[Any]:
        answers = ask(work, patience)
        return [ValueError("poisoned"), *answers[1:]]

    monkeypatch.setattr(bench, "ask_each", ask_each)
    bench.poller().tick()
    assert sent(bench) == {"default": 2}


@pytest.mark.parametrize("error", [ConnectionError("gone"), ValueError("a surprise")])
def test_a_broker_that_fails_is_forgotten_whatever_it_raises(bench: Workbench, error: Exception) -> None:
    bench.gauge.down = error
    assert bench.poller().tick() == POLL
    assert bench.gauge.closed == 2


def test_without_the_database_a_round_ends_and_the_next_one_waits(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    message = "The database cannot be reached."
    monkeypatch.setattr(bench, "look", _raising(Unavailable(message)))
    assert bench.poller().tick() == 1.0
    assert message in caplog.text


def _raising(error: Exception) -> Callable[..., Any]:
    def fails(*_: Any) -> Any:
        raise error

    return fails


# The thread


class Rounds:
    """A poller that counts, and that says after how long the next round is worth while."""

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.rounds = 0
        self.looks = 0
        self.flush = False
        self.some = threading.Condition()

    def tick(self) -> float:
        with self.some:
            self.rounds += 1
            self.flush = False
            self.some.notify_all()
        return self.pause

    def flushed(self) -> bool:
        with self.some:
            self.looks += 1
            self.some.notify_all()
            return self.flush

    def wait(self, true: Callable[[], bool]) -> None:
        with self.some:
            assert self.some.wait_for(true, 5)


def test_between_rounds_only_the_canary_is_looked_at_and_a_flush_begins_a_round() -> None:
    rounds = Rounds(3_600)
    thread = PollerThread(cast("Poller", rounds), Timing(canary=1))
    try:
        rounds.wait(lambda: rounds.looks > 10)
        assert rounds.rounds == 1
        rounds.flush = True
        rounds.wait(lambda: rounds.rounds == 2)
    finally:
        thread.close()
    assert not thread._thread.is_alive()


def test_a_round_begins_when_the_last_one_asked_for_it_even_before_the_canary() -> None:
    rounds = Rounds(0.001)
    thread = PollerThread(cast("Poller", rounds), Timing(canary=3_600_000))
    try:
        rounds.wait(lambda: rounds.rounds > 5)
        assert rounds.looks == 0
    finally:
        thread.close()
