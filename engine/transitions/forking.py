"""What a fork takes over: rows of the journal, copied where they lie, and segments as if they had been carried here."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from engine import operations as op
from engine.errors import NotFound
from engine.states import ExecutionStatus
from engine.store import statements as sql
from engine.transitions.batch import Batch, Row, journal_row

READY = "ready"
_OWN, _ALL = ("", "!"), ("", "~")
"""Ranges of items: that of a node outside of every body, and every one."""


def take_over(batch: Batch, starts: list[op.Start]) -> dict[str, tuple[op.Sendable, ...]]:
    """Write what forks begin with. Returns what is to be sent of each. Raises `NotFound` for a base that has been forgotten."""
    if not starts:
        return {}
    if batch.connection.dialect == "postgresql":
        batch.connection.run(sql.HOLD_BLOBS)
    copied, entries, born, expiring = [], [], [], []
    ready: dict[str, list[op.Sendable]] = defaultdict(list)
    for each in starts:
        fork = each.fork
        if fork is None:
            continue
        if each.base not in batch.rows:
            message = f"There is no execution {each.base!r} any more."
            raise NotFound(message)
        name, base = each.execution, each.base
        copied += [(name, node, base, node, *_OWN) for node in fork.copied]
        copied += [(name, as_, base, node, *_ALL) for node, as_ in fork.inside]
        entries += [journal_row(name, "", 0, entry) for entry in fork.entries]
        row = Row(name, each.project, each.version, ExecutionStatus.CREATED, 1, 0, None, None, None, None)
        row.priority = each.priority
        for one in fork.rows:
            due, send = batch.due(row, one.queue, each.now) if one.status == READY else (None, False)
            counts = (one.pending, one.taken, each.now, due, one.exits, one.fan)
            born.append((name, one.segment, one.item, one.status, one.queue, *counts))
            segment = batch.rules.plan_of(each.version, batch.connection).segments[one.segment]
            if one.status == READY and segment.queue_timeout is not None:
                until = each.now + round(segment.queue_timeout * 1000)
                expiring.append((name, one.segment, one.item, until))
            if send:
                ready[name].append((one.segment, one.item, one.queue))
        body = json.dumps(fork.events)
        batch.events.append((name, each.project, 1, len(fork.events), 0, each.now, body))
        for blob in each.blobs:
            batch.blobs[blob.hash] = (blob.text, each.now)
    _copy(batch, starts, copied)
    if entries:
        batch.connection.insert(sql.WRITE_JOURNAL, entries)
    batch.connection.insert(sql.BORN, born)
    if expiring:
        batch.connection.batch(sql.EXPIRES, expiring)
    return {name: tuple(found) for name, found in ready.items()}


def open_in(fork: op.Fork) -> int:
    """Return how many segments of a fork can move by themselves."""
    return sum(each.status == READY for each in fork.rows)


def _copy(batch: Batch, starts: Sequence[op.Start], rows: Sequence[tuple[str | None, ...]]) -> None:
    """Copy rows of journals; every one that an outcome was read from has to be there still."""
    found = set(batch.connection.batch(sql.TAKE_OVER, rows)) if rows else set()
    for each in starts:
        missing = [
            node for node in (each.fork.copied if each.fork else ()) if (each.execution, node) not in found
        ]
        if missing:
            message = f"What {missing[0]} came to in {each.base} is not there any more."
            raise NotFound(message)
