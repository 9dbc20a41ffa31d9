from __future__ import annotations

import asyncio

import pytest

from engine.performance import NodeSilent, NodeTimeout, in_time
from engine.pulse import Pulse


async def beating(pulse: Pulse, times: int, pause: float) -> str:
    for _ in range(times):
        await asyncio.sleep(pause)
        pulse.beat()
    return "done"


async def test_whoever_beats_may_go_on_to_the_end_of_its_time() -> None:
    pulse = Pulse(0.2)
    assert await in_time(beating(pulse, 30, 0.01), 60, pulse) == "done"


async def test_whoever_is_silent_is_ended_before_its_time() -> None:
    pulse = Pulse(0.01)
    with pytest.raises(NodeSilent, match=r"sent no heartbeat for 0\.01 s"):
        await in_time(asyncio.sleep(60), 60, pulse)


async def test_no_heartbeat_prolongs_the_attempt_itself() -> None:
    pulse = Pulse(60)
    with pytest.raises(NodeTimeout, match=r"took longer than 0\.03 s"):
        await in_time(beating(pulse, 1_000, 0.01), 0.03, pulse)


async def test_whoever_is_excused_need_not_beat() -> None:
    pulse = Pulse(0.01)

    async def rests() -> str:
        pulse.excuse()
        await asyncio.sleep(0.05)
        return "done"

    assert await in_time(rests(), 60, pulse) == "done"


async def test_a_beat_after_the_end_changes_nothing() -> None:
    pulse = Pulse(0.01)

    async def beats_at_last() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            pulse.beat()

    with pytest.raises(NodeSilent):
        await in_time(beats_at_last(), 60, pulse)
    pulse.beat()
