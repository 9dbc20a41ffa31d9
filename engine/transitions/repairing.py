"""What pollers ask for: time that has come, messages that were lost, claims of the dead."""

from __future__ import annotations

from collections import defaultdict

from engine import operations as op
from engine.store import statements as sql
from engine.transitions.batch import (
    Batch,
    is_paused,
    is_pure,
    let_go,
    made_ready,
    may_run,
    on_item,
)
from engine.transitions.signalling import time_is_up


def wake(batch: Batch, wakes: list[op.Wake]) -> list[list[op.Sendable]]:
    """End rests whose time has come: waiting or backing_off -> ready."""
    rows = [
        (each.execution, segment, item, each.now, each.now + batch.rules.grace)
        for each in wakes
        if may_run(batch, each.execution)
        for segment, item in each.addresses
    ]
    won = batch.connection.batch(sql.WAKE, rows) if rows else []
    time_is_up(batch, [fields[:3] for fields in won], {each.execution: each.now for each in wakes})
    return made_ready(batch, wakes, won)


def expire(batch: Batch, expiries: list[op.Expire]) -> list[list[op.Sendable]]:
    """Lead ready segments that nobody took up in time to the queue that their execution began in.

    There is no worker for their own queue, or it has too much to do; those that began the execution can fail its node.
    """
    rows = []
    for each in expiries:
        if may_run(batch, each.execution):
            row = batch.rows[each.execution]
            queue = batch.rules.plan_of(row.version, batch.connection).root.queue
            due, _ = batch.due(row, queue, each.now)
            rows += [
                (each.execution, segment, item, queue, due, each.now) for segment, item in each.addresses
            ]
    found: dict[str, list[op.Sendable]] = defaultdict(list)
    for execution, *sendable in batch.connection.batch(sql.EXPIRE, rows) if rows else ():
        found[execution].append(tuple(sendable))
    return [found.pop(each.execution, []) for each in expiries]


def resend(batch: Batch, resends: list[op.Resend]) -> list[list[op.Sendable]]:
    """Mark ready segments as sent once more, unless someone else has done so since they were read.

    A message that was lost counts as a delivery of a pure segment only: with another, whoever dies over it has claimed it,
    and `lose` counts that.
    """
    rows = [
        (
            each.execution,
            segment,
            item,
            mark,
            each.due,
            int(each.lost and is_pure(batch, each.execution, segment)),
        )
        for each in resends
        if may_run(batch, each.execution)
        for segment, item, mark in each.marks
    ]
    found: dict[str, list[op.Sendable]] = defaultdict(list)
    for execution, *sendable in batch.connection.batch(sql.RESEND, rows) if rows else ():
        found[execution].append(tuple(sendable))
    return [found.pop(each.execution, []) for each in resends]


def lose(batch: Batch, losses: list[op.Lose]) -> list[list[op.Sendable]]:
    """Take claims from the dead: running -> ready, or -> quarantined when it has happened too often.

    A message that was lost is no death. What was suspected for such before it was claimed may lose as many claims as any other.
    """
    rows = [
        (
            each.execution,
            segment,
            item,
            epoch,
            "running",
            None if is_paused(batch, each.execution) else each.now + batch.rules.grace,
            each.reason,
            each.deliveries + (op.SUSPECTED if is_pure(batch, each.execution, segment) else 0),
        )
        for each in losses
        for segment, item, epoch in each.claims
    ]
    found: dict[str, list[op.Sendable]] = defaultdict(list)
    now_of = {each.execution: each.now for each in losses}
    for execution, segment, item, status, queue, deliveries in batch.connection.batch(sql.LOSE, rows):
        row, now = batch.rows[execution], now_of[execution]
        batch.emit(
            row, 0, now, ("segment.lost", segment, now, on_item(item, deliveries=deliveries, status=status))
        )
        if status != "ready":
            row.count(-1, now)
            let_go(batch, row, segment, item)
        elif row.pause_at is None:
            found[execution].append((segment, item, queue))
    return [found.pop(each.execution, []) for each in losses]
