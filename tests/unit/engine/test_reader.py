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


async def test_what_many_ask_at_once_is_asked_once(reader: Reader) -> None:
    begun, going = threading.Event(), threading.Event()
    asked: list[int] = []

    def hold(_: Connection) -> None:
        begun.set()
        going.wait(10)

    def query(connection: Connection) -> int:
        asked.append(len(asked))
        return asked[-1]

    held = [asyncio.create_task(reader.read(hold)) for _ in range(2)]  # both threads
    await asyncio.to_thread(begun.wait, 10)
    several = [asyncio.create_task(reader.share("a", query)) for _ in range(5)]
    other = asyncio.create_task(reader.share("b", query))
    await asyncio.sleep(0)
    several.pop().cancel()  # who goes away takes nothing away from the others
    going.set()
    assert len(set(await asyncio.gather(*several))) == 1
    await other
    await asyncio.gather(*held)
    assert len(asked) == 2
    assert await reader.share("a", query) == 2


async def test_nobody_gets_what_is_older_than_their_question(reader: Reader) -> None:
    begun, going = threading.Event(), threading.Event()

    def slow(_: Connection) -> str:
        begun.set()
        going.wait(10)
        return "old"

    first = asyncio.create_task(reader.share("a", slow))
    await asyncio.to_thread(begun.wait, 10)
    assert await reader.share("a", lambda _: "new") == "new"
    going.set()
    assert await first == "old"


async def test_what_could_not_be_asked_is_asked_again(
    database: Judging, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(database, "connect", lambda: (_ for _ in ()).throw(Trouble("lost")))
        for _ in range(2):
            with pytest.raises(Unavailable):
                await reader.share("a", lambda _: "there")
    assert await reader.share("a", lambda _: "there") == "there"
