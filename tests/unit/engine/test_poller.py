"""Rounds of the poller on a real SQLite file: a clock in the hand, a broker that says what the test wants."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest

from engine import identity
from engine import operations as op
from engine.dispatch import COALESCED
from engine.errors import Unavailable
from engine.poller import PollerThread
from engine.settings import Timing
from tests.builders import document, edges, node
from tests.workbench import NOW, OWNER, Workbench

ONE = document([node("a", "http_request", {"url": "https://x.example/"})], name="one")
TIMED = document([node("a")], name="timed", timeout=60)
ELSEWHERE = document([node("a", queue="elsewhere")], name="elsewhere")
FULL = 64
"""Messages that fill a queue."""


@pytest.fixture
def name(bench: Workbench) -> str:
    """An execution that was sent."""
    return bench.start(bench.push(ONE))


def claimed(bench: Workbench, name: str, owner: str = OWNER) -> None:
    now = bench.clock.now()
    assert bench.ask(op.Claim(name, 0, "", owner, now, now + bench.settings.timing.lease)) is not None


def resting(bench: Workbench, name: str, due: int, *, backing_off: bool = False) -> None:
    claimed(bench, name)
    (epoch,) = bench.segment(name, 0, "epoch")
    assert bench.ask(
        op.Suspend(name, 0, "", epoch, pure=False, now=bench.clock.now(), due=due, backing_off=backing_off)
    )


def ticked(bench: Workbench, seconds: float = 0.0, **more: Any) -> list[tuple[str, Any]]:
    """What a round sends, so many seconds later."""
    bench.outlet.sent.clear()
    bench.clock.move(seconds)
    bench.poller(**more).tick()
    return list(bench.outlet.sent)


# Nothing to do


def test_a_round_with_nothing_to_do_sends_nothing_and_comes_again_in_its_rhythm(
    bench: Workbench, name: str
) -> None:
    bench.outlet.sent.clear()
    assert bench.poller().tick() == 0.25
    assert bench.outlet.sent == []


# Overdue messages


def test_a_message_that_was_not_taken_up_in_time_is_sent_again(bench: Workbench, name: str) -> None:
    assert ticked(bench, 1.999) == []
    assert ticked(bench, 0.001) == [("default", (name, 0, ""))]
    assert bench.segment(name, 0, "due") == (bench.clock.now() + 2_000,)
    assert ticked(bench, 1.999) == []


def test_a_message_that_waits_in_its_queue_is_not_lost(bench: Workbench, name: str) -> None:
    bench.gauge.waiting["default"] = 1
    for _ in range(5):
        ticked(bench, 2)
    assert bench.segment(name, 0, "deliveries") == (0,)


def test_a_message_that_is_neither_waiting_nor_taken_up_counts_as_a_delivery(
    bench: Workbench, name: str
) -> None:
    assert ticked(bench, 2) == [("default", (name, 0, ""))]
    assert bench.segment(name, 0, "deliveries") == (1,)


def test_a_full_queue_gets_no_more_until_it_has_room(bench: Workbench, name: str) -> None:
    bench.gauge.waiting["default"] = FULL
    assert ticked(bench, 9) == []
    bench.gauge.waiting["default"] = FULL - 1
    assert ticked(bench) == [("default", (name, 0, ""))]


def test_what_found_no_room_when_it_became_ready_is_sent_in_its_order(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, window=1)
    active = bench.push(ONE)
    names = []
    for _ in range(COALESCED + 3):
        bench.clock.move(0.001)
        names.append(bench.start(active))
    assert len(bench.outlet.sent) == COALESCED
    bench.gauge.waiting["default"] = 1
    assert ticked(bench) == []
    bench.gauge.waiting["default"] = 0
    assert ticked(bench) == [("default", (each, 0, "")) for each in names[COALESCED:]]
    assert bench.query("SELECT DISTINCT deliveries FROM segment") == [(0,)]
    bench.close()


def test_a_round_sends_as_much_as_there_is_room_for_and_comes_again_soon(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, window=1)
    active = bench.push(ONE)
    for _ in range(COALESCED * 2 + 1):
        bench.start(active)
    bench.outlet.sent.clear()
    bench.clock.move(2)
    assert bench.poller().tick() == 0.01
    assert len(bench.outlet.sent) == COALESCED
    bench.gauge.waiting["default"] = 1
    assert bench.poller().tick() == 0.05
    bench.close()


def test_a_queue_that_nobody_serves_does_not_keep_another_waiting(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, window=1)
    stuck = bench.push(ELSEWHERE)
    start = [bench.start(stuck) for _ in range(2)][0]
    bench.connection.run(
        "INSERT INTO segment (execution_id, segment, item, status, queue, ready_at, due) "
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "
        "SELECT ?, i, '', 'ready', 'elsewhere', 0, 1 FROM n",
        (start,),
    )
    name = bench.start(bench.push(ONE))
    bench.gauge.waiting["elsewhere"] = 1
    assert ticked(bench, 2, queues=("default", "elsewhere")) == [("default", (name, 0, ""))]
    bench.close()


def test_after_a_flush_everything_is_sent_again_at_once_and_nobody_is_to_blame(
    bench: Workbench, name: str
) -> None:
    bench.gauge.flushed = True
    assert ticked(bench) == [("default", (name, 0, ""))]
    assert bench.segment(name, 0, "deliveries") == (0,)
    assert ticked(bench) == []


def test_of_two_pollers_that_see_the_same_one_sends(bench: Workbench, name: str) -> None:
    bench.clock.move(2)
    bench.outlet.sent.clear()
    one, two = bench.poller(), bench.poller()
    rows = bench.query("SELECT execution_id, segment, item, due FROM segment")
    one.tick()
    two._forward([op.Resend(rows[0][0], ((0, "", rows[0][3]),), NOW)])
    assert bench.outlet.sent == [("default", (name, 0, ""))]


def test_a_broker_that_is_down_is_forgotten_and_time_goes_on(bench: Workbench, name: str) -> None:
    resting(bench, name, NOW + 1_000)
    bench.gauge.down = ConnectionError("gone")
    assert ticked(bench, 1) == [("default", (name, 0, ""))]
    assert bench.gauge.closed == 1
    assert ticked(bench, 2) == []
    assert bench.gauge.closed == 3
    bench.gauge.down = None
    assert ticked(bench) == [("default", (name, 0, ""))]


def test_nothing_of_a_paused_execution_is_sent(bench: Workbench, name: str) -> None:
    bench.ask(op.Pause(name, NOW))
    bench.gauge.flushed = True
    assert ticked(bench, 9) == []


def test_what_a_worker_handed_back_is_sent_at_once_and_costs_nothing(bench: Workbench, name: str) -> None:
    claimed(bench, name)
    bench.ask(op.Release(name, 0, "", 1, pure=False, now=NOW))
    assert ticked(bench) == [("default", (name, 0, ""))]
    assert bench.segment(name, 0, "deliveries") == (0,)


# Timers


@pytest.mark.parametrize("backing_off", [False, True])
def test_a_rest_ends_in_the_round_after_its_time(bench: Workbench, name: str, backing_off: bool) -> None:
    resting(bench, name, NOW + 5_000, backing_off=backing_off)
    assert ticked(bench, 4.999) == []
    assert ticked(bench, 0.001) == [("default", (name, 0, ""))]
    assert bench.status(name) == "running"
    assert ticked(bench, 0.001) == []


def test_the_next_round_comes_when_the_next_timer_is_due(bench: Workbench, name: str) -> None:
    resting(bench, name, NOW + 100)
    assert bench.poller().tick() == 0.1
    bench.clock.move(0.0995)
    assert bench.poller().tick() == 0.001


def test_a_timer_of_a_paused_execution_neither_wakes_nor_hurries_anyone(bench: Workbench, name: str) -> None:
    resting(bench, name, NOW + 100)
    bench.ask(op.Pause(name, NOW))
    bench.clock.move(9)
    bench.outlet.sent.clear()
    assert bench.poller().tick() == 0.25
    assert bench.outlet.sent == []
    bench.ask(op.Pause(name, NOW, resume=True))
    assert ticked(bench) == [("default", (name, 0, ""))]


# Claims of the late and the dead


def test_a_claim_that_was_not_renewed_is_taken_away_and_sent_once(bench: Workbench, name: str) -> None:
    claimed(bench, name)
    assert ticked(bench, 14.999) == []
    assert ticked(bench, 0.001) == [("default", (name, 0, ""))]
    assert bench.segment(name, 0, "status", "deliveries") == ("ready", 1)
    assert ticked(bench, 0.3) == []
    assert bench.segment(name, 0, "deliveries") == (1,)


def test_a_claim_that_was_renewed_is_left(bench: Workbench, name: str) -> None:
    claimed(bench, name)
    bench.clock.move(5)
    bench.ask(op.Renew(name, ((0, "", 1),), bench.clock.now(), bench.clock.now() + 15_000))
    assert ticked(bench, 14.9) == []


def test_a_claim_of_a_dead_process_of_this_host_is_taken_without_waiting(
    bench: Workbench, name: str
) -> None:
    claimed(bench, name, f"{identity.host()}:1:not-its-birth")
    assert ticked(bench) == [("default", (name, 0, ""))]
    assert bench.segment(name, 0, "deliveries") == (1,)
    assert "segment.lost" in bench.kinds(name)


def test_a_claim_of_a_living_process_is_left(bench: Workbench, name: str) -> None:
    claimed(bench, name, identity.owner())
    assert ticked(bench) == []


def test_the_dead_are_looked_for_twice_a_second_and_not_in_every_round(bench: Workbench, name: str) -> None:
    poller = bench.poller()
    poller.tick()
    claimed(bench, name, f"{identity.host()}:1:not-its-birth")
    bench.clock.move(0.4)
    poller.tick()
    assert bench.segments(name) == {0: "running"}
    bench.clock.move(0.1)
    poller.tick()
    assert bench.segments(name) == {0: "ready"}


def test_too_many_deliveries_put_a_segment_aside(bench: Workbench, name: str) -> None:
    for _ in range(4):
        claimed(bench, name)
        ticked(bench, 15)
    assert bench.segment(name, 0, "status", "reason") == (
        "quarantined",
        "The worker did not renew its claim in time.",
    )
    assert bench.status(name) == "waiting"


# Deadlines


def test_an_execution_past_its_deadline_is_told_to_stop(bench: Workbench) -> None:
    waiting, running = (bench.start(bench.push(TIMED)) for _ in range(2))
    claimed(bench, running)
    ticked(bench, 59.999)
    assert bench.status(waiting) == "created"
    ticked(bench, 0.001)
    assert bench.status(waiting) == "timed_out"
    assert bench.query("SELECT cancel_reason FROM execution WHERE id = ?", running) == [("timed_out",)]
    bench.ask(op.Settle(running, 0, "", 1, pure=False, now=NOW, taken=()))
    assert bench.status(running) in ("timed_out", "running")


# Queues


def test_a_poller_without_queues_of_its_own_looks_after_all_there_are(bench: Workbench) -> None:
    name = bench.start(bench.push(ELSEWHERE))
    assert ticked(bench, 2) == []
    assert ticked(bench, 0, queues=None) == [("elsewhere", (name, 0, ""))]


def test_new_queues_are_learned_every_few_seconds(bench: Workbench) -> None:
    poller = bench.poller(queues=None)
    poller.tick()
    name = bench.start(bench.push(ELSEWHERE))
    bench.outlet.sent.clear()
    bench.clock.move(4)
    poller.tick()
    assert bench.outlet.sent == []
    bench.clock.move(2)
    poller.tick()
    assert bench.outlet.sent == [("elsewhere", (name, 0, ""))]


def test_the_rhythm_is_the_settings(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, timing=Timing(poll=50, grace=100))
    name = bench.start(bench.push(ONE))
    assert bench.poller().tick() == 0.05
    assert ticked(bench, 0.1) == [("default", (name, 0, ""))]
    bench.close()


# Chains of repair


def test_one_round_repairs_everything_that_is_due(bench: Workbench) -> None:
    active = bench.push(ONE)
    lost, late, asleep, dead = (bench.start(active) for _ in range(4))
    claimed(bench, late)
    claimed(bench, dead, f"{identity.host()}:1:not-its-birth")
    resting(bench, asleep, NOW + 1)
    sent = ticked(bench, 15)
    assert sorted(reference[0] for _, reference in sent) == sorted([lost, late, asleep, dead])


def test_a_join_that_waits_is_nobodys_business(bench: Workbench) -> None:
    name = bench.start(bench.push(document([node(each) for each in "abcd"], edges("a->b->d", "a->c->d"))))
    at: dict[str, Any] = {"execution": name, "item": "", "epoch": 0, "pure": True, "now": NOW}
    bench.ask(op.Settle(**at, segment=0, taken=(True, True)))
    bench.ask(op.Settle(**at, segment=1, taken=(True,)))
    assert [reference[1] for _, reference in ticked(bench, 2)] == [2]


# The thread


class Rounds:
    """A poller whose rounds go as they are told: a pause to return, or an exception to raise."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.done = threading.Event()
        self.count = 0

    def tick(self) -> float:
        self.count += 1
        answer = self.answers.pop(0) if self.answers else 60.0
        if not self.answers:
            self.done.set()
        if isinstance(answer, Exception):
            raise answer
        return float(answer)


def test_the_thread_goes_round_until_it_is_closed() -> None:
    rounds = Rounds(0.0, 0.0, 60.0)
    thread = PollerThread(cast("Any", rounds), 60)
    assert rounds.done.wait(5)
    thread.close()
    assert rounds.count == 3
    assert not thread._thread.is_alive()


def test_a_round_comes_at_least_as_often_as_the_canary() -> None:
    rounds = Rounds(60.0, 60.0, 60.0)
    thread = PollerThread(cast("Any", rounds), 0.001)
    assert rounds.done.wait(5)
    thread.close()


@pytest.mark.parametrize("error", [Unavailable(), ValueError("a surprise")])
def test_a_round_that_fails_is_followed_by_another(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = Rounds(error, 60.0)
    thread = PollerThread(cast("Any", rounds), 0.001)
    assert rounds.done.wait(5)
    thread.close()
    assert "A round of the poller failed" in caplog.text
