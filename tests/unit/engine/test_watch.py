from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from engine.errors import Unavailable
from engine.watch import Watcher


class Ended:
    """A reader of executions that have ended, or have answered. It counts how often it was asked, and may be down at first."""

    def __init__(self, *executions: str, down: int = 0, answered: tuple[str, ...] = ()) -> None:
        self.executions = set(executions)
        self.answered = set(answered)
        self.asked = 0
        self.down = down

    async def read(self, query: Callable[[Any], Any]) -> list[tuple[str, int | None]]:
        self.asked += 1
        if self.asked <= self.down:
            raise Unavailable
        return cast("list[tuple[str, int | None]]", query(self))

    def batch(self, _: object, rows: list[tuple[str, int]]) -> list[tuple[str, int | None]]:
        return [
            (name, 1 if name in self.executions else None)
            for name, answers in rows
            if name in self.executions or (answers and name in self.answered)
        ]


def watcher(reader: Ended, patience: float = 0.001) -> Watcher:
    return Watcher(cast("Any", reader), patience)


async def test_a_word_wakes_every_waiter_without_a_look() -> None:
    reader = Ended()
    watching = watcher(reader, patience=60)
    waiters = [asyncio.create_task(watching.told("e", 5)) for _ in range(3)]
    await asyncio.sleep(0)
    watching.tell("e")
    assert (await asyncio.gather(*waiters), reader.asked) == ([True] * 3, 0)
    await watching.close()


async def test_without_a_word_looking_finds_out() -> None:
    assert await watcher(Ended("e")).told("e", 5)


async def test_what_does_not_end_in_time_is_not_told() -> None:
    assert not await watcher(Ended()).told("e", 0.02)


async def test_looking_survives_a_database_that_is_away() -> None:
    reader = Ended("e", down=2)
    assert await watcher(reader).told("e", 5)
    assert reader.asked == 3


async def test_a_word_about_what_nobody_waits_for_is_nothing() -> None:
    watcher(Ended()).tell("e")


async def test_an_answer_is_found_by_who_waits_for_one() -> None:
    assert await watcher(Ended(answered=("e",))).told("e", 5, answers=True)


async def test_an_answer_does_not_wake_who_waits_for_the_end() -> None:
    reader = Ended(answered=("e",))
    watching = watcher(reader)
    end = asyncio.create_task(watching.told("e", 5))
    assert await watching.told("e", 5, answers=True)
    assert not end.done()
    reader.executions.add("e")
    assert await end
    await watching.close()
