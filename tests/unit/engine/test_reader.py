"""Reading beside the writer, when the database is not as it should be."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.errors import Unavailable
from engine.reader import Reader
from engine.store.database import Connection, Verdict
from tests.workbench import QuickDatabase, Workbench


class Trouble(Exception):
    """What a driver raises; its word is the verdict on it."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(f"it is {verdict}")
        self.verdict = verdict


class Judging(QuickDatabase):
    """A database that says of each trouble what it means, and counts its connections."""

    opened = 0

    def connect(self) -> Any:
        self.opened += 1
        return super().connect()

    def judge(self, error: BaseException) -> Verdict:
        return error.verdict if isinstance(error, Trouble) else "own"


@pytest.fixture
def database(bench: Workbench) -> Judging:
    return Judging(bench.database.path)


@pytest.fixture
def reader(database: Judging) -> Iterator[Reader]:
    made = Reader(database)
    yield made
    made.close()


def troubled(verdict: Verdict, times: int) -> Callable[[Connection], Any]:
    left = [Trouble(verdict)] * times

    def query(connection: Connection) -> Any:
        if left:
            raise left.pop()
        return connection.run("SELECT 1")

    return query


@pytest.mark.parametrize("verdict", ["lost", "repeat"])
def test_what_may_pass_is_asked_once_more_on_a_new_connection(
    reader: Reader, database: Judging, verdict: Verdict
) -> None:
    assert reader.ask(troubled(verdict, 1)) == [(1,)]
    assert database.opened == 2
    with pytest.raises(Unavailable):
        reader.ask(troubled(verdict, 2))
    assert reader.ask(troubled(verdict, 0)) == [(1,)]


def test_what_nobody_can_help_is_unavailable_at_once(reader: Reader, database: Judging) -> None:
    with pytest.raises(Unavailable, match="it is unavailable"):
        reader.ask(troubled("unavailable", 1))
    assert database.opened == 1
    assert reader.ask(troubled("own", 0)) == [(1,)]


async def test_a_query_that_is_wrong_says_so_and_keeps_the_connection(
    reader: Reader, database: Judging
) -> None:
    with pytest.raises(Trouble):
        reader.ask(troubled("own", 1))
    assert reader.ask(troubled("own", 0)) == [(1,)]
    assert database.opened == 1
    assert await reader.read(troubled("own", 0)) == [(1,)]


async def test_what_was_asked_is_answered_before_the_end_and_nothing_is_taken_after_it(
    database: Judging,
) -> None:
    reader = Reader(database)
    asked = asyncio.gather(*(reader.read(troubled("own", 0)) for _ in range(5)))
    await asyncio.sleep(0)
    await asyncio.to_thread(reader.close)
    assert await asked == [[(1,)]] * 5
    with pytest.raises(Unavailable, match="stopping"):
        await reader.read(troubled("own", 0))


async def test_who_has_stopped_waiting_for_an_answer_disturbs_nobody(reader: Reader) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def slow(_: Connection) -> None:
        busy.set()
        assert go_on.wait(5)

    waiting = asyncio.create_task(reader.read(slow))
    await asyncio.to_thread(busy.wait, 5)
    waiting.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await reader.read(troubled("own", 0)) == [(1,)]
