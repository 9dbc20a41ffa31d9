"""Instances of a map that a fork takes over: those that succeeded in its base, for an item that is still the same.

The fork's start has copied what they came to, and their items, under names of their own. When the map is reached its items are
known, and each instance whose item is equal gets its outcome without running.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from celeriac import Json
from engine import operations as op
from engine.encoding import encode, place
from engine.plan import Region, item_of, split_item
from engine.settings import Limits
from engine.store.database import Connection
from engine.store.statements import BLOBS, INSTANCES

MOST_RANGES = 1_000
"""The row of a map holds the ranges of what is there; with more of them the rest is done again."""


def kept_of(region: Region) -> str:
    """Return the name under which a fork has the outcomes of its base's instances."""
    return f"{region.name}@kept"


def was_of(region: Region) -> str:
    """Return the name under which a fork has the items of its base's instances."""
    return f"{region.name}@was"


@dataclass(frozen=True, slots=True)
class Kept:
    """An outcome of the base: of one instance, in its stored form, or of a run of instances that were done in one go."""

    first: int
    stored: op.Payload
    values: Sequence[Json] | None = None
    failed: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The ranges of indexes that need not run, and the rows that say what they came to."""

    ranges: list[list[int]]
    entries: list[op.Entry]
    blobs: list[op.Blob]


def read(connection: Connection, execution: str, region: Region) -> tuple[dict[int, Json], list[Kept]]:
    """Return the items and the outcomes that a fork has from its base."""
    items: dict[int, Json] = {}
    for first, _, text, blob, _ in _rows(connection, execution, was_of(region)):
        items |= dict(enumerate(json.loads(_whole(connection, text, blob)), first))
    kept = []
    for first, status, text, blob, error in _rows(connection, execution, kept_of(region)):
        if status == "succeeded":
            kept.append(Kept(first, op.Payload(text, blob)))
        elif status == "chunk":
            failed = frozenset(map(int, json.loads(error))) if error else frozenset()
            kept.append(Kept(first, op.Payload(), json.loads(_whole(connection, text, blob)), failed))
    return items, sorted(kept, key=lambda each: each.first)


def take_over(
    region: Region,
    values: Sequence[Json],
    items: Mapping[int, Json],
    kept: Iterable[Kept],
    now: int,
    limits: Limits,
) -> TakenOver:
    """Return what need not run of a map with these items."""

    def is_same(index: int) -> bool:
        return (
            index < len(values)
            and index in items
            and encode(items[index], limits.output_bytes) == encode(values[index], limits.output_bytes)
        )

    found = TakenOver([], [], [])
    for each in kept:
        for first, last in _runs(each, is_same):
            if found.ranges and found.ranges[-1][1] + 1 == first:
                found.ranges[-1][1] = last
            elif len(found.ranges) < MOST_RANGES:
                found.ranges.append([first, last])
            else:
                return found
            payload, status = each.stored, "succeeded"
            if each.values is not None:
                text = encode(each.values[first - each.first : last + 1 - each.first], limits.output_bytes)
                payload, blob = place(text, limits.blob_from_bytes)
                found.blobs.extend([blob] if blob else [])
                status = "chunk"
            item = item_of("", first)
            found.entries.append(
                op.Entry(region.end, status, output=payload, started_at=now, ended_at=now, item=item)
            )
    return found


def _runs(kept: Kept, is_same: Callable[[int], bool]) -> Iterator[tuple[int, int]]:
    """Yield the runs of indexes of an outcome that stand."""
    count = 1 if kept.values is None else len(kept.values)
    first: int | None = None
    for index in range(kept.first, kept.first + count):
        stands = index not in kept.failed and is_same(index)
        if stands and first is None:
            first = index
        elif not stands and first is not None:
            yield first, index - 1
            first = None
    if first is not None:
        yield first, kept.first + count - 1


def _rows(
    connection: Connection, execution: str, name: str
) -> Iterator[tuple[int, str, str | None, str | None, str | None]]:
    """Yield the rows of a name with their indexes: status, text, blob, error."""
    for item, status, text, blob, error in connection.run(INSTANCES, (execution, name, "", "~")):
        yield split_item(item)[1], status, text, blob, error


def _whole(connection: Connection, text: str | None, blob: str | None) -> str:
    return str(text if blob is None else connection.batch(BLOBS, [(blob,)])[0][1])
