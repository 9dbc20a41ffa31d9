"""How the work stands, as numbers that are cheap to ask for: each from an index of what is open, none from a look at all rows.

Counting stops at `MOST`, so that a look costs the same on a very long backlog; the numbers are then at least that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.store.database import Connection

MOST: Final = 100_000
"""Rows that are counted at most, of each kind."""
OVERDUE: Final = 30_000
"""Milliseconds after its time for which a segment that is ready should have been taken up."""

_SEGMENTS: Final = (
    "SELECT queue, status, count(*) FROM (SELECT queue, status FROM segment "
    "WHERE status IN ('ready', 'running', 'waiting', 'backing_off') LIMIT ?) AS open GROUP BY queue, status"
)
_OVERDUE: Final = (
    "SELECT count(*) FROM (SELECT 1 FROM segment WHERE status = 'ready' AND due < ? LIMIT ?) AS late"
)
_ATTENTION: Final = "SELECT count(*) FROM (SELECT 1 FROM segment WHERE status IN ('uncertain', 'quarantined') LIMIT ?) AS unsure"
_DELIVERIES: Final = (
    "SELECT count(*) FROM (SELECT 1 FROM hook_delivery WHERE due IS NOT NULL AND due <= ? LIMIT ?) AS due"
)
_SCHEDULES: Final = "SELECT min(due) FROM schedule WHERE due IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Gauges:
    """How the work stands. `lag` are the milliseconds by which the latest schedule is late."""

    segments: dict[tuple[str, str], int]
    overdue: int
    attention: int
    deliveries: int
    lag: int


def gauges(connection: Connection, now: int) -> Gauges:
    """Return how the work stands."""

    def count(statement: str, *values: int) -> int:
        return int(connection.run(statement, (*values, MOST))[0][0])

    ((due,),) = connection.run(_SCHEDULES)
    return Gauges(
        {(queue, status): number for queue, status, number in connection.run(_SEGMENTS, (MOST,))},
        count(_OVERDUE, now - OVERDUE),
        count(_ATTENTION),
        count(_DELIVERIES, now),
        0 if due is None else max(0, now - due),
    )
