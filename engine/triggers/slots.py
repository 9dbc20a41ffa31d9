"""When a schedule is due. Pure: the same spec has the same slots, whoever asks and however often.

A *slot* is a time of a schedule, in milliseconds since the epoch. With jitter it is due a little later, by a draw that
comes out the same for everybody; its name stays the time of the slot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from engine.triggers.cron import first_instant, parsed
from engine.triggers.spec import Spec

_DAYS = 4_000
"""How many days in a row may be left out before a schedule counts as over."""


def next_slots(spec: Spec, after: int, n: int) -> list[int]:
    """Return the first `n` slots behind an instant; fewer when there are no more."""
    found: list[int] = []
    for slot in slots(spec, after):
        if len(found) == n:
            break
        found.append(slot)
    return found


def latest_slots(spec: Spec, after: int, until: int, n: int) -> list[int]:
    """Return the last `n` slots behind `after` and up to `until`, the oldest first.

    They are looked for from the end, in ever larger pieces: behind a long outage lie more of them than anybody counts.
    """
    width = spec.every * n if spec.every is not None else 3_600_000
    while True:
        begin = max(after, until - width)
        found: list[int] = []
        for slot in slots(spec, begin):
            if slot > until:
                break
            found.append(slot)
        if len(found) >= n or begin == after:
            return found[-n:]
        width *= 4


def slots(spec: Spec, after: int) -> Iterator[int]:
    """Yield the slots behind an instant."""
    zone = zone_of(spec.timezone)
    if spec.start is not None:
        after = max(after, spec.start - 1)
    skipped = 0
    while (slot := _following(spec, after, zone)) is not None and (spec.end is None or slot < spec.end):
        over = _end_of_excluded(spec, slot, zone)
        if over is None:
            skipped = 0
            yield slot
            after = slot
        else:
            skipped += 1
            after = over - 1
            if skipped > _DAYS:
                return


def due_of(spec: Spec, name: str, slot: int) -> int:
    """Return when the schedule `name` starts what a slot stands for."""
    if not spec.jitter:
        return slot
    draw = hashlib.sha256(f"{name}\x1f{slot}".encode()).digest()
    return slot + int.from_bytes(draw[:8], "big") % (spec.jitter + 1)


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo:
    """Return a time zone that is known to be there."""
    return UTC if name == "UTC" else ZoneInfo(name)


def _following(spec: Spec, after: int, zone: tzinfo) -> int | None:
    """Return the first time behind an instant, excluded or not."""
    if spec.every is not None:
        return after + spec.every - (after - spec.offset) % spec.every
    found = parsed(spec.cron or "").after(after // 1000, zone)
    return None if found is None else found * 1000


def _end_of_excluded(spec: Spec, slot: int, zone: tzinfo) -> int | None:
    """Return when the day of a slot is over, if that day is left out."""
    if not spec.exclude:
        return None
    day = datetime.fromtimestamp(slot / 1000, zone).date()
    if not any(each.holds(day) for each in spec.exclude):
        return None
    return first_instant(datetime.combine(day + timedelta(days=1), time()), zone) * 1000
