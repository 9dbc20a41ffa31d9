"""Group commit: one bad operation costs the others nothing, and a lost answer is found again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine import operations as op
from engine.errors import Unavailable
from engine.ledger import MAX_BATCH, Ledger, LedgerThread
from engine.store.database import Connection, SqliteConnection, Verdict
from tests.builders import document, node
from tests.workbench import NOW, HandClock, QuickDatabase, Workbench

ONE = document([node("a")])


class Lost(Exception):
    """A connection is gone."""

    def __init__(self, sqlstate: str | None = None) -> None:
        super().__init__("gone")
        self.sqlstate = sqlstate


class Shaky(SqliteConnection):
    """A connection that breaks where its database says so."""

    def __init__(self, path: Path, plan: list[str]) -> None:
        super().__init__(path)
        self.plan = plan
        self.run("PRAGMA synchronous=OFF")

    def begin(self) -> None:
        self._break("begin")
        super().begin()

    def commit(self) -> None:
        self._break("before commit")
        super().commit()
        self._break("after commit")

    def _break(self, where: str) -> None:
        if self.plan and self.plan[0].partition(":")[0] == where:
            raise Lost(self.plan.pop(0).partition(":")[2] or None)


class ShakyDatabase(QuickDatabase):
    """A database whose connections break as planned: `begin`, `before commit`, `after commit`, `connect`, `...:SQLSTATE`."""

    def __init__(self, path: Path, *plan: str) -> None:
        super().__init__(path)
        self.plan = list(plan)
        self.opened = 0

    def judge(self, error: BaseException) -> Verdict:
        if isinstance(error, Lost):
            return "repeat" if error.sqlstate else "lost"
        return super().judge(error)

    def connect(self) -> Shaky:
        if self.plan and self.plan[0] == "connect":
            self.plan.pop(0)
            raise Lost
        self.opened += 1
        return Shaky(self.path, self.plan)


@contextmanager
def shaken(bench: Workbench, *plan: str) -> Iterator[tuple[Ledger, ShakyDatabase, list[float]]]:
    """A ledger on the workbench's file whose connections break, and how long it paused."""
    database = ShakyDatabase(bench.database.path, *plan)
    pauses: list[float] = []
    ledger = Ledger(database, bench.rules, "shaken", bench.clock, pause=pauses.append)
    yield ledger, database, pauses
    ledger.close()


def adding(text: str) -> Callable[[Connection], int]:
    """A piece of work that is no operation of the pen, and that shows how often it was done."""

    def add(connection: Connection) -> int:
        connection.run(
            "INSERT INTO blob (hash, body, size, created_at) SELECT ? || count(*), ?, 0, 0 FROM blob",
            (text, text),
        )
        return int(connection.run("SELECT count(*) FROM blob WHERE body = ?", (text,))[0][0])

    return add


def done(bench: Workbench, text: str) -> int:
    return int(bench.query("SELECT count(*) FROM blob WHERE body = ?", text)[0][0])


def broken(_: Connection) -> None:
    raise ValueError("broken")


def marks(bench: Workbench) -> list[tuple[Any, ...]]:
    return bench.query("SELECT writer, number FROM ledger_mark ORDER BY writer")


def test_a_batch_is_one_transaction_and_each_gets_its_own_answer(bench: Workbench) -> None:
    active = bench.push(ONE)
    name = bench.start(active)
    (number,) = (number for _, number in marks(bench))
    answers = bench.step(adding("x"), op.Cancel(name, NOW), adding("x"), op.Pause(name, NOW))
    assert answers == [1, "cancelled", 2, None]
    assert marks(bench) == [("elsewhere:1:1", number + 1)]


def test_operations_are_done_before_functions_whatever_their_order(bench: Workbench) -> None:
    name = bench.start(bench.push(ONE))

    def status(connection: Connection) -> str:
        return str(connection.run("SELECT status FROM execution")[0][0])

    assert bench.step(status, op.Cancel(name, NOW)) == ["cancelled", "cancelled"]


@pytest.mark.parametrize("place", range(7))
def test_a_bad_piece_of_work_costs_the_others_nothing(bench: Workbench, place: int) -> None:
    name = bench.start(bench.push(ONE))
    work: list[Any] = [adding("x") for _ in range(6)]
    work.insert(place, broken)
    work.append(op.Cancel(name, NOW))
    answers = bench.step(*work)
    assert isinstance(answers[place], ValueError)
    assert [each for each in answers if isinstance(each, int)] == [1, 2, 3, 4, 5, 6]
    assert answers[-1] == "cancelled"
    assert done(bench, "x") == 6


def test_of_several_bad_pieces_each_gets_its_own_failure(bench: Workbench) -> None:
    answers = bench.step(broken, adding("x"), op.Cancel("exec_unknown", NOW), broken)
    assert [type(each) for each in answers] == [ValueError, int, KeyError, ValueError]


def test_what_is_not_done_leaves_no_transaction_open(bench: Workbench) -> None:
    bench.step(broken)
    assert bench.step(adding("x")) == [1]
    other = bench.database.connect()
    other.begin()
    other.rollback()
    other.close()


def test_whoever_interrupts_the_writer_ends_it_with_nothing_written(bench: Workbench) -> None:
    def interrupted(connection: Connection) -> None:
        adding("x")(connection)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.step(interrupted)
    assert done(bench, "x") == 0


def test_a_commit_whose_answer_was_lost_is_found_and_not_repeated(bench: Workbench) -> None:
    with shaken(bench, "after commit") as (ledger, database, _):
        assert ledger.step([adding("x"), adding("x")]) == [1, 2]
        assert done(bench, "x") == 2
        assert database.opened == 2


def test_a_commit_that_did_not_happen_is_repeated(bench: Workbench) -> None:
    with shaken(bench, "before commit") as (ledger, _, _):
        assert ledger.step([adding("x")]) == [1]
        assert done(bench, "x") == 1


def test_a_lost_answer_is_found_even_when_the_database_is_away_for_a_while(bench: Workbench) -> None:
    with shaken(bench, "after commit", "connect", "connect", "begin") as (ledger, _, pauses):
        assert ledger.step([adding("x")]) == [1]
        assert done(bench, "x") == 1
        assert pauses == [0.05, 0.1, 0.2, 0.4]


def test_a_number_of_an_earlier_commit_is_not_taken_for_this_one(bench: Workbench) -> None:
    with shaken(bench) as (ledger, database, _):
        ledger.step([adding("x")])
        database.plan.append("before commit")
        assert ledger.step([adding("x")]) == [2]
        assert done(bench, "x") == 2


def test_a_connection_that_breaks_before_anything_was_asked_is_replaced(bench: Workbench) -> None:
    with shaken(bench, "begin", "connect") as (ledger, database, _):
        assert ledger.step([adding("x")]) == [1]
        assert database.opened == 2


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
def test_what_the_database_asks_to_repeat_is_repeated_on_the_same_connection(
    bench: Workbench, sqlstate: str
) -> None:
    with shaken(bench, f"before commit:{sqlstate}", f"before commit:{sqlstate}") as (
        ledger,
        database,
        pauses,
    ):
        assert ledger.step([adding("x")]) == [1]
        assert (database.opened, pauses) == (1, [])
        assert done(bench, "x") == 1


def test_a_database_that_stays_away_answers_every_piece_of_work_and_says_that_nothing_was_written(
    bench: Workbench,
) -> None:
    with shaken(bench, *["connect"] * 8) as (ledger, _, pauses):
        answers = ledger.step([adding("x"), adding("y")])
        assert [type(each) for each in answers] == [Unavailable, Unavailable]
        assert "Nothing was written" in answers[0].hint
        assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
        assert ledger.step([adding("x")]) == [1]


def test_a_database_that_stays_away_after_a_commit_was_asked_for_leaves_it_open(bench: Workbench) -> None:
    with shaken(bench, "after commit", *["connect"] * 7) as (ledger, _, _):
        (answer,) = ledger.step([adding("x")])
        assert isinstance(answer, Unavailable)
        assert "Nobody knows" in (answer.hint or "")


# The thread


@pytest.fixture
def thread(bench: Workbench) -> Iterator[LedgerThread]:
    made = LedgerThread(Ledger(bench.database, bench.rules, "thread", HandClock()))
    yield made
    made.close()


async def test_coroutines_get_their_answers_after_the_commit(bench: Workbench, thread: LedgerThread) -> None:
    answers = await asyncio.gather(*(thread.submit(adding("x")) for _ in range(50)))
    assert sorted(answers) == list(range(1, 51))
    assert done(bench, "x") == 50


def held_back(ledger: LedgerThread) -> tuple[threading.Event, threading.Event]:
    """Keep the writer busy: the first event says that it is, the second lets it go on."""
    busy, go_on = threading.Event(), threading.Event()

    def wait(_: Connection) -> None:
        busy.set()
        assert go_on.wait(5)

    ledger._put([(wait, _Ignored())])  # type: ignore[list-item]
    return busy, go_on


class _Ignored:
    """A waiter that has gone."""

    def get_loop(self) -> Any:
        return self

    def call_soon_threadsafe(self, *_: Any) -> None:
        raise RuntimeError("the loop is closed")


async def test_what_waits_shares_a_commit(bench: Workbench, thread: LedgerThread) -> None:
    busy, go_on = held_back(thread)
    busy.wait(5)
    futures = [thread.submit(adding("x")) for _ in range(MAX_BATCH + 1)]
    go_on.set()
    await asyncio.gather(*futures)
    assert marks(bench) == [("thread", 3)]


async def test_a_failure_reaches_the_one_who_asked(thread: LedgerThread) -> None:
    good, bad = thread.submit(adding("x")), thread.submit(broken)
    with pytest.raises(ValueError, match="broken"):
        await bad
    assert await good == 1


async def test_who_has_stopped_waiting_is_not_answered(thread: LedgerThread) -> None:
    busy, go_on = held_back(thread)
    busy.wait(5)
    gone, here = thread.submit(adding("x")), thread.submit(adding("x"))
    gone.cancel()
    go_on.set()
    assert await here == 2
    assert gone.cancelled()


def test_threads_ask_one_or_several(thread: LedgerThread) -> None:
    assert thread.ask(adding("x")) == 1
    assert sorted(thread.ask_all([adding("x"), adding("x")])) == [2, 3]
    assert thread.ask_all([]) == []
    with pytest.raises(ValueError, match="broken"):
        thread.ask(broken)


def test_a_thread_waits_so_long_and_is_told_that_the_answer_may_still_come(thread: LedgerThread) -> None:
    busy, go_on = held_back(thread)
    busy.wait(5)
    with pytest.raises(Unavailable, match="may still be carried out"):
        thread.ask(adding("x"), patience=0.01)
    go_on.set()
    assert thread.ask(adding("x")) == 2


async def test_what_waits_is_committed_before_the_end_and_nothing_is_taken_after_it(
    bench: Workbench,
) -> None:
    thread = LedgerThread(Ledger(bench.database, bench.rules, "thread", bench.clock))
    busy, go_on = held_back(thread)
    busy.wait(5)
    future = thread.submit(adding("x"))
    ending = asyncio.create_task(asyncio.to_thread(thread.close))
    while not thread._closing:
        await asyncio.sleep(0.001)
    with pytest.raises(Unavailable, match="stopping"):
        thread.submit(adding("x"))
    go_on.set()
    await ending
    assert await future == 1
    assert done(bench, "x") == 1


# What is nobody's fault


class Full(QuickDatabase):
    """A disk with no room for another page."""

    def connect(self) -> SqliteConnection:
        made = super().connect()
        made.run("PRAGMA max_page_count=1")
        return made


def large(connection: Connection) -> None:
    connection.run(
        "INSERT INTO blob (hash, body, size, created_at) VALUES ('large', ?, 0, 0)", ("x" * 500_000,)
    )


def test_a_full_disk_is_unavailable_to_all_at_once_and_is_not_looked_for_in_halves(bench: Workbench) -> None:
    pauses: list[float] = []
    ledger = Ledger(Full(bench.database.path), bench.rules, "full", bench.clock, pause=pauses.append)
    answers = ledger.step([adding("x"), large, adding("x")])
    assert [type(each) for each in answers] == [Unavailable] * 3
    assert "full" in answers[0].message
    assert pauses == [0.05, 0.1, 0.2, 0.4]
    assert done(bench, "x") == 0
    assert ledger.step([op.Pause("exec_unknown", NOW)])[0].args == ("exec_unknown",), "reading goes on"
    ledger.close()


def test_a_disk_that_has_room_again_is_written_to(bench: Workbench) -> None:
    ledger = Ledger(Full(bench.database.path), bench.rules, "full", bench.clock)

    def room(_: float) -> None:
        ledger._connected().run("PRAGMA max_page_count=100000")

    ledger._pause = room
    assert ledger.step([large, adding("x")]) == [None, 1]
    ledger.close()


def test_a_file_that_others_keep_locked_is_waited_for_and_then_unavailable(bench: Workbench) -> None:
    with shaken(bench, *["begin:busy"] * 8) as (ledger, _, pauses):
        (answer,) = ledger.step([adding("x")])
        assert isinstance(answer, Unavailable)
        assert "busy" in answer.message
        assert pauses == []
        assert ledger.step([adding("x")]) == [1]


def test_locks_are_not_waited_for_longer_than_a_caller_waits_for_an_answer(bench: Workbench) -> None:
    class Slow(ShakyDatabase):
        def judge(self, error: BaseException) -> Verdict:
            bench.clock.move(10)
            return super().judge(error)

    database = Slow(bench.database.path, *["begin:busy"] * 8)
    ledger = Ledger(database, bench.rules, "slow", bench.clock)
    (answer,) = ledger.step([adding("x")])
    assert isinstance(answer, Unavailable)
    assert len(database.plan) == 5
    ledger.close()


def test_several_may_be_asked_for_so_that_a_failure_is_one_of_the_answers(thread: LedgerThread) -> None:
    first, second, third = thread.ask_each([adding("x"), broken, adding("x")])
    assert (first, third) == (1, 2)
    assert isinstance(second, ValueError)
