"""Repair and time, one round after another, with a broker whose queues are as long as a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from engine import identity
from engine import operations as op
from engine.dispatch import COALESCED
from engine.errors import Unavailable
from engine.poller import Flow, Poller, PollerThread
from engine.settings import Timing
from tests.builders import document, edges, node
from tests.workbench import NOW, OWNER, Workbench

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
    monkeypatch.setattr(bench.clock, "sync", lambda now, _: told.append(now))
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

    def sync(now: int, asked: float) -> None:
        assert asked <= bench.clock.monotonic()
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


# Claims of the late and the dead

EFFECT = document([node("a", "http_request", {"url": "https://x.example/"})], name="effect")


def claimed(bench: Workbench, owner: str = OWNER) -> str:
    """An execution that someone performs."""
    name = bench.start(bench.push(EFFECT))
    bench.outlet.taken()
    now = bench.clock.now()
    assert bench.ask(op.Claim(name, 0, "", owner, now, now + bench.settings.timing.lease)) is not None
    return name


def ticked(bench: Workbench, seconds: float = 0.0) -> list[str]:
    """The executions of which a round sends something, so many seconds later."""
    bench.clock.move(seconds)
    bench.poller().tick()
    return [execution for execution, _, _ in bench.outlet.taken()]


def test_a_claim_that_was_not_renewed_is_taken_away_and_sent_once(bench: Workbench) -> None:
    name = claimed(bench)
    assert ticked(bench, 14.999) == []
    assert ticked(bench, 0.001) == [name]
    assert bench.segment(name, 0, "status", "deliveries") == ("ready", 1)
    assert ticked(bench, POLL) == []


def test_a_claim_that_was_renewed_is_left(bench: Workbench) -> None:
    name = claimed(bench)
    bench.clock.move(5)
    bench.ask(op.Renew(name, ((0, "", 1),), bench.clock.now(), bench.clock.now() + 15_000))
    assert ticked(bench, 14.9) == []


def test_a_claim_of_a_dead_process_of_this_host_is_taken_without_waiting(bench: Workbench) -> None:
    name = claimed(bench, f"{identity.host()}:1:not-its-birth")
    assert ticked(bench) == [name]
    assert bench.segment(name, 0, "deliveries") == (1,)


def test_a_claim_of_a_living_process_is_left(bench: Workbench) -> None:
    claimed(bench, identity.owner())
    assert ticked(bench) == []


def test_the_dead_are_looked_for_twice_a_second_and_not_in_every_round(bench: Workbench) -> None:
    poller = bench.poller()
    poller.tick()
    name = claimed(bench, f"{identity.host()}:1:not-its-birth")
    bench.clock.move(0.4)
    poller.tick()
    assert bench.segments(name) == {0: "running"}
    bench.clock.move(0.2)
    poller.tick()
    assert bench.segments(name) == {0: "ready"}


def test_too_many_deliveries_put_a_segment_aside(bench: Workbench) -> None:
    name = claimed(bench)
    for _ in range(3):
        ticked(bench, 15)
        bench.ask(op.Claim(name, 0, "", OWNER, bench.clock.now(), bench.clock.now() + 15_000))
    ticked(bench, 15)
    assert bench.segment(name, 0, "status", "reason") == (
        "quarantined",
        "The worker did not renew its claim in time.",
    )
    assert bench.status(name) == "waiting"


def test_messages_that_were_lost_do_not_count_as_deaths(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE))
    for _ in range(op.SUSPECTED):
        ((due,),) = bench.connection.run("SELECT due FROM segment")
        bench.clock.move(5)
        now = bench.clock.now()
        bench.ask(op.Resend(name, ((0, "", due),), now + 1_000, lost=True))
    assert deliveries(bench, name) == op.SUSPECTED
    for death in range(4):
        assert bench.segments(name) == {0: "ready"}, death
        now = bench.clock.now()
        claim = op.Claim(name, 0, "", OWNER, now, now + bench.settings.timing.lease)
        assert bench.ask(claim) is not None
        ticked(bench, 15)
    assert bench.segments(name) == {0: "quarantined"}


@pytest.mark.parametrize("backing_off", [False, True])
def test_a_rest_ends_in_the_round_after_its_time(bench: Workbench, backing_off: bool) -> None:
    name = claimed(bench)
    rest = op.Suspend(name, 0, "", 1, pure=False, now=NOW, due=NOW + 5_000, backing_off=backing_off)
    assert bench.ask(rest)
    assert ticked(bench, 4.999) == []
    assert ticked(bench, 0.001) == [name]
    assert ticked(bench, 0.001) == []


def test_what_a_worker_handed_back_is_sent_at_once_and_costs_nothing(bench: Workbench) -> None:
    name = claimed(bench)
    bench.ask(op.Release(name, 0, "", 1, pure=False, now=NOW))
    assert ticked(bench) == [name]
    assert deliveries(bench, name) == 0


def test_an_execution_past_its_deadline_is_told_to_stop(bench: Workbench) -> None:
    active = bench.push(document([node("a")], name="timed", timeout=60))
    name = bench.start(active)
    ticked(bench, 59.999)
    assert bench.status(name) == "created"
    ticked(bench, 0.001)
    assert bench.status(name) == "timed_out"


def test_a_poller_without_queues_of_its_own_learns_every_few_seconds_which_there_are(
    bench: Workbench,
) -> None:
    poller = bench.poller(queues=None)
    poller.tick()
    name = bench.start(bench.push(document([node("a", queue="elsewhere")], name="elsewhere")))
    bench.outlet.taken()
    found = []
    for seconds in (4, 2, 2):
        bench.clock.move(seconds)
        poller.tick()
        found.append([execution for execution, _, _ in bench.outlet.taken()])
    assert found[0] == []
    assert [name] in found[1:]
