"""What a process holds and how long, with a clock in the hand and a ledger that answers as it is told."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from engine import operations as op
from engine.errors import Unavailable
from engine.leases import EXIT_STALLED, Hold, Leases, Stop, _Loop
from engine.settings import Timing
from tests.workbench import NOW, HandClock

TIMING = Timing(lease=15_000, heartbeat=5_000, loop_lag=8_000)


class Ledger:
    """Keeps what it was asked and confirms every claim that is not in `lost`."""

    def __init__(self) -> None:
        self.asked: list[op.Renew] = []
        self.lost: set[tuple[str, int]] = set()
        self.cancelling: set[str] = set()
        self.error: Exception | None = None
        self.some = threading.Event()
        self.looks = 0

    def ask_all(self, work: Sequence[op.Renew]) -> list[op.Renewed]:
        self.asked.extend(work)
        self.some.set()
        if self.error is not None:
            raise self.error
        return [
            op.Renewed(
                frozenset((s, i) for s, i, _ in each.claims if (each.execution, s) not in self.lost),
                cancelling=each.execution in self.cancelling,
                pausing=False,
            )
            for each in work
        ]

    def ask(self, query: Callable[[Any], Any]) -> Any:
        """The reader: which executions are to stop."""
        self.looks += 1
        self.some.set()
        return query(self)

    def batch(self, _: Any, rows: Sequence[tuple[str, int, str, int]]) -> list[tuple[str, int, str, str]]:
        if self.error is not None:
            raise self.error
        lost = [(*row[:3], "lost") for row in rows if (row[0], row[1]) in self.lost]
        return lost + [(*row[:3], "cancelled") for row in rows if row[0] in self.cancelling]


class Tasks:
    """A task that only knows whether it was cancelled."""

    def __init__(self) -> None:
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1


class NowLoop:
    """An event loop that does at once what it is called for, unless it stands still."""

    def __init__(self) -> None:
        self.still = False

    def call_soon_threadsafe(self, function: Any, *arguments: Any) -> None:
        if not self.still:
            function(*arguments)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def loop() -> NowLoop:
    return NowLoop()


@pytest.fixture
def leases(clock: HandClock, ledger: Ledger, loop: NowLoop) -> Leases:
    made = Leases(cast("Any", ledger), cast("Any", ledger), clock, TIMING)
    made._loop = _Loop(cast("Any", loop), clock.monotonic())
    return made


def held(leases: Leases, execution: str = "exec_1", segment: int = 0, **more: Any) -> Hold:
    task = cast("Any", Tasks())
    return leases.hold(Hold(execution, segment, "", 1, leases.horizon(), task, **more))


def cancelled(hold: Hold) -> int:
    return cast("Tasks", hold.task).cancelled


def test_a_claim_is_safe_for_two_thirds_of_its_lease(leases: Leases, clock: HandClock) -> None:
    hold = held(leases)
    clock.move(9.89)
    assert leases.safe(hold)
    clock.move(0.02)
    assert not leases.safe(hold)


def test_a_renewal_asks_for_a_whole_lease_and_moves_the_safe_time(
    leases: Leases, ledger: Ledger, clock: HandClock
) -> None:
    hold = held(leases)
    clock.move(5)
    leases.renew()
    assert ledger.asked == [op.Renew("exec_1", ((0, "", 1),), NOW + 5_000, NOW + 20_000)]
    clock.move(9.8)
    assert leases.safe(hold)


def test_claims_of_one_execution_are_renewed_together(leases: Leases, ledger: Ledger) -> None:
    held(leases, "exec_1", 1)
    held(leases, "exec_2", 1)
    held(leases, "exec_1", 2)
    leases.renew()
    assert [(each.execution, each.claims) for each in ledger.asked] == [
        ("exec_1", ((1, "", 1), (2, "", 1))),
        ("exec_2", ((1, "", 1),)),
    ]


def test_what_is_lost_is_stopped_and_the_rest_goes_on(leases: Leases, ledger: Ledger) -> None:
    lost, kept = held(leases, "exec_1", 1), held(leases, "exec_1", 2)
    ledger.lost.add(("exec_1", 1))
    leases.renew()
    assert (lost.stop, cancelled(lost)) == (Stop.LOST, 1)
    assert (kept.stop, cancelled(kept)) == (None, 0)
    assert not leases.safe(lost)


def test_what_is_to_be_cancelled_is_stopped_once(leases: Leases, ledger: Ledger) -> None:
    hold = held(leases)
    ledger.cancelling.add("exec_1")
    leases.renew()
    leases.renew()
    assert (hold.stop, cancelled(hold)) == (Stop.CANCELLED, 1)


def test_a_cancellation_is_seen_between_two_renewals(leases: Leases, ledger: Ledger) -> None:
    stopping, other = held(leases, "exec_1"), held(leases, "exec_2")
    ledger.cancelling.add("exec_1")
    leases._look_for_cancels()
    assert (stopping.stop, other.stop) == (Stop.CANCELLED, None)
    assert ledger.asked == []


def test_a_claim_that_was_taken_away_is_seen_between_two_renewals(leases: Leases, ledger: Ledger) -> None:
    taken, other = held(leases, "exec_1"), held(leases, "exec_2")
    ledger.lost.add(("exec_1", taken.segment))
    leases._look_for_cancels()
    assert (taken.stop, other.stop, ledger.asked) == (Stop.LOST, None, [])


def test_nothing_is_asked_for_when_nothing_is_held(leases: Leases, ledger: Ledger) -> None:
    leases._look_for_cancels()
    leases.renew()
    assert (ledger.looks, ledger.asked) == (0, [])


def test_a_claim_is_not_renewed_past_the_end_of_its_own_attempt(
    leases: Leases, ledger: Ledger, clock: HandClock
) -> None:
    held(leases, "exec_1", attempt_until=clock.monotonic() + 3)
    held(leases, "exec_2", attempt_until=clock.monotonic() + 99)
    clock.move(3)
    leases.renew()
    assert [each.execution for each in ledger.asked] == ["exec_2"]


def test_a_holder_without_a_task_is_stopped_when_it_looks(leases: Leases, ledger: Ledger) -> None:
    hold = leases.hold(Hold("exec_1", 0, "", 1, leases.horizon()))
    ledger.lost.add(("exec_1", 0))
    leases.renew()
    assert hold.stop is Stop.LOST
    assert not leases.safe(hold)


def test_a_later_claim_of_the_same_segment_stops_the_earlier_one(leases: Leases) -> None:
    earlier = held(leases)
    later = held(leases)
    assert (earlier.stop, later.stop) == (Stop.LOST, None)
    assert leases.held() == [later]
    leases.drop(earlier)
    assert leases.held() == [later]
    leases.drop(later)
    assert leases.held() == []


def test_a_claim_that_ended_while_the_ledger_was_asked_is_not_stopped(leases: Leases, ledger: Ledger) -> None:
    hold = held(leases)
    ledger.lost.add(("exec_1", 0))
    ask_all = ledger.ask_all

    def meanwhile(work: Sequence[op.Renew]) -> list[op.Renewed]:
        leases.drop(hold)
        return ask_all(work)

    ledger.ask_all = meanwhile  # type: ignore[method-assign]  # it ends in the middle of the answer
    leases.renew()
    assert (hold.stop, cancelled(hold)) == (None, 0)


def test_without_a_loop_nobody_is_told(ledger: Ledger, clock: HandClock) -> None:
    leases = Leases(cast("Any", ledger), cast("Any", ledger), clock, TIMING)
    hold = held(leases)
    ledger.lost.add(("exec_1", 0))
    leases.renew()
    leases._watch_loop()
    leases._seen()
    assert hold.stop is None
    leases.end()


# The event loop under watch


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """With what codes the process would have ended."""
    found: list[int] = []
    monkeypatch.setattr(os, "_exit", found.append)
    return found


def test_a_loop_that_answers_is_left_alone(leases: Leases, clock: HandClock, exits: list[int]) -> None:
    for _ in range(5):
        leases._watch_loop()
        clock.move(100)
    assert exits == []


def test_a_loop_that_stands_still_ends_the_process(
    leases: Leases, clock: HandClock, loop: NowLoop, exits: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    loop.still = True
    leases._watch_loop()
    clock.move(8)
    leases._watch_loop()
    assert exits == []
    clock.move(0.1)
    leases._watch_loop()
    assert exits == [EXIT_STALLED]
    assert "process=True" in caplog.text


# The thread


@pytest.fixture
async def beating(clock: HandClock, ledger: Ledger) -> Any:
    """A heartbeat of 2 milliseconds by the clock of the test."""
    made = Leases(cast("Any", ledger), cast("Any", ledger), clock, Timing(heartbeat=2))
    made.begin(asyncio.get_running_loop())
    yield made
    made.end()
    assert made._thread is not None
    assert not made._thread.is_alive()


async def until(true: Callable[[], Any]) -> None:
    for _ in range(2_000):
        if true():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it did not come true")


async def test_the_heart_looks_for_cancellations_often_and_renews_in_its_rhythm(
    beating: Leases, ledger: Ledger, clock: HandClock
) -> None:
    held(beating)
    await until(lambda: ledger.looks)
    assert ledger.asked == []
    clock.move(1)
    await until(lambda: ledger.asked)


@pytest.mark.parametrize("error", [Unavailable(), ValueError("a surprise")])
async def test_a_heartbeat_that_fails_is_followed_by_another(
    beating: Leases, ledger: Ledger, clock: HandClock, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    hold = held(beating)
    ledger.error = error
    clock.move(1)
    await until(lambda: ledger.asked)
    ledger.error = None
    ledger.cancelling.add("exec_1")
    await until(lambda: cancelled(hold))
    assert "eartbeat" in caplog.text


@pytest.fixture(autouse=True)
def _no_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that went wrong must not end pytest."""

    def refuse(code: int) -> None:
        raise AssertionError(code)

    monkeypatch.setattr(os, "_exit", refuse)
