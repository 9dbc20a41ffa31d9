from __future__ import annotations

import asyncio

from engine.rehearsal.clock import HandClock
from engine.rehearsal.loop import perform


def test_what_sleeps_side_by_side_takes_the_longest_of_them_and_comes_in_order() -> None:
    clock = HandClock()
    woken = []

    async def sleep(days: int) -> None:
        await asyncio.sleep(days * 86_400)
        woken.append((days, clock.passed // 86_400_000))

    async def main() -> None:
        await asyncio.gather(sleep(3), sleep(1), sleep(2))

    perform(clock, main())
    assert woken == [(1, 1), (2, 2), (3, 3)]


def test_a_timeout_comes_at_its_time() -> None:
    clock = HandClock()

    async def main() -> str:
        try:
            async with asyncio.timeout(2.5):
                await asyncio.sleep(60)
        except TimeoutError:
            return "late"
        return "in time"

    assert (perform(clock, main()), clock.passed) == ("late", 2500)


def test_a_year_and_a_century_end() -> None:
    clock = HandClock()

    async def main() -> None:
        await asyncio.sleep(365 * 86_400)
        await asyncio.sleep(36_500 * 86_400)

    perform(clock, main())
    assert clock.passed == 101 * 365 * 86_400_000


def test_a_thread_takes_no_time_whatever_timer_runs() -> None:
    clock = HandClock()

    async def main() -> int:
        async with asyncio.timeout(1):
            return await asyncio.to_thread(sum, range(300_000)) + await asyncio.to_thread(lambda: 7)

    assert (perform(clock, main()), clock.passed) == (44_999_850_007, 0)


def test_with_no_timer_it_waits_for_what_comes_from_another_thread() -> None:
    clock = HandClock()

    async def main() -> int:
        return await asyncio.to_thread(lambda: 7)

    assert (perform(clock, main()), clock.passed) == (7, 0)
