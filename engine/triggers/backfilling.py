"""Slots of the past, started now: because a schedule was paused, or not there yet.

Each slot is an arrival like any other, so one that has started something before starts nothing again, and a backfill that
was broken off goes on where it was when it is asked for once more.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from engine import operations as op
from engine.admission import OUTDONE
from engine.cancels import cancel
from engine.errors import Invalid
from engine.failpoints import failpoint
from engine.triggers.scheduler import arrival, sendable
from engine.triggers.schedules import MOST_BACKFILLED, Found
from engine.triggers.slots import next_slots
from engine.triggers.spec import Overlap
from engine.triggers.turns import AT_ONCE

if TYPE_CHECKING:
    from engine.runtime import Runtime

APART: Final = " backfill"
"""What a backfill has under way does not hold up the schedule itself, nor the other way round."""


class BackfillInvalid(Invalid):
    """The time to fill is none that a backfill can take."""

    code = "schedule.backfill_invalid"


@dataclass(slots=True)
class Backfilled:
    """How many slots started something, had done so before, or could not; and the executions."""

    counts: Counter[str] = field(default_factory=Counter)
    executions: list[str] = field(default_factory=list)


def past_slots(found: Found, begin: int, end: int, now: int) -> list[int]:
    """Return the slots from `begin` up to `end`. Raises `BackfillInvalid`."""
    if end <= begin:
        raise BackfillInvalid("`to` is not behind `from`.")
    if end > now:
        raise BackfillInvalid("`to` lies ahead.", hint="What is still to come starts by itself.")
    slots = [each for each in next_slots(found.spec, begin - 1, MOST_BACKFILLED + 1) if each < end]
    if len(slots) > MOST_BACKFILLED:
        message = f"There are more than {MOST_BACKFILLED:,} slots in this time."
        raise BackfillInvalid(message, hint="Fill it piece by piece.")
    return slots


async def backfill(runtime: Runtime, found: Found, slots: list[int], overlap: Overlap) -> Backfilled:
    """Start what these slots stand for, a few in a transaction, in their order. Raises `Unavailable`."""
    done = Backfilled()
    for index in range(0, len(slots), AT_ONCE):
        now = runtime.clock.now()
        some = slots[index : index + AT_ONCE]
        asked = op.Arrive(
            tuple(arrival(runtime, found.due, slot, now, overlap=overlap, apart=APART) for slot in some)
        )
        answer: tuple[op.Arrived, ...] = await runtime.ledger.submit(asked)
        failpoint("backfill.after")
        ready, outdone = sendable([asked.arrivals], [answer])
        runtime.dispatcher.send_all(ready)
        await asyncio.gather(*(cancel(runtime, each, OUTDONE) for each in sorted(set(outdone))))
        for each in answer:
            done.counts[each.status if each.new else "known"] += 1
            if each.new and each.execution is not None and each.status == "started":
                done.executions.append(each.execution)
    return done
