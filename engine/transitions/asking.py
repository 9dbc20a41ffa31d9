"""What people ask for: stop, hold, go on, and a word on what is in doubt."""

from __future__ import annotations

from collections import defaultdict

from engine import operations as op
from engine.states import ExecutionStatus
from engine.store import statements as sql
from engine.transitions.batch import (
    Batch,
    is_paused,
    journal_row,
    key_of,
    made_ready,
    may_run,
    on_item,
    unsent,
)
from engine.transitions.stopping import end_if_over, stop, whole


def cancel(batch: Batch, cancels: list[op.Cancel]) -> list[str]:
    """Ask executions to stop. What has not started is cancelled now; what runs is told by its next heartbeat.

    What scopes do in their end is done before it ends, unless that is forced, or has taken too long.
    """
    for each in cancels:
        row = batch.rows[each.execution]
        if row.final:
            continue
        begins, force = row.ends_as is None, each.force or (each.timed_out and row.ends_as is not None)
        if begins:
            row.cancel_at = each.now
            row.cancel_reason = "timed_out" if each.timed_out else each.reason
            row.ends_as = str(ExecutionStatus.TIMED_OUT if each.timed_out else ExecutionStatus.CANCELLED)
            batch.ending.add(row.id)
            told = ("execution.cancel_requested", None, each.now, {"reason": row.cancel_reason})
            batch.emit(row, 0, each.now, told)
        if force:
            row.deadline = None
            told = ("execution.cancel_forced", None, each.now, {"reason": each.reason})
            batch.emit(row, 0, each.now, told)
        if begins or force:
            paused_at, row.pause_at = row.pause_at, None
            row.dirty = True
            stop(batch, [whole(batch, row)], each.now, force=force)
            if paused_at is not None:
                held = max(0, each.now - paused_at)
                batch.connection.batch(sql.HOLD_READY, [(row.id, unsent(row, each.now), held)])
            end_if_over(batch, row, each.now)
    return [str(batch.rows[each.execution].status) for each in cancels]


def pause(batch: Batch, pauses: list[op.Pause]) -> list[list[op.Sendable] | None]:
    """Hold executions between segments, or let them go on."""
    changed: dict[str, int] = {}
    held: dict[str, int] = {}
    for each in pauses:
        row = batch.rows[each.execution]
        if row.final or (row.pause_at is None) is each.resume:
            continue
        held[each.execution] = 0 if row.pause_at is None else max(0, each.now - row.pause_at)
        row.pause_at = None if each.resume else each.now
        changed[each.execution] = each.now
        batch.emit(
            row, 0, each.now, ("execution.resumed" if each.resume else "execution.paused", None, each.now, {})
        )
    rows = [
        (name, None if is_paused(batch, name) else now + batch.rules.grace, held[name])
        for name, now in changed.items()
    ]
    found: dict[str, list[op.Sendable]] = defaultdict(list)
    for execution, *sendable in batch.connection.batch(sql.HOLD_READY, rows) if rows else ():
        if not is_paused(batch, execution):
            found[execution].append(tuple(sendable))
    return [None if batch.rows[each.execution].final else found[each.execution] for each in pauses]


def resolve(batch: Batch, resolves: list[op.Resolve]) -> list[list[op.Sendable] | None]:
    """Carry out a person's word: uncertain or quarantined -> ready, with the outcome given in the journal."""
    rows = [
        (each.execution, each.segment, each.item, each.now, each.now + batch.rules.grace)
        for each in resolves
        if may_run(batch, each.execution)
    ]
    won = batch.connection.batch(sql.RESOLVE, rows) if rows else []
    keys = {fields[:3] for fields in won}
    for each in resolves:
        if (each.execution, each.segment, each.item) not in keys:
            continue
        if each.decision == "retry" and each.node:
            batch.connection.batch(sql.WAIVE, [(each.execution, each.node, each.item)])
        elif each.node:
            status = {"done": "succeeded", "fail": "failed"}[each.decision]
            entry = op.Entry(each.node, status, "once", "", each.output, each.error, 1, each.now, each.now)
            batch.connection.insert(sql.WRITE_JOURNAL, [journal_row(each.execution, each.item, 0, entry)])
        body = on_item(each.item, decision=each.decision, by=each.principal, node=each.node)
        batch.emit(
            batch.rows[each.execution], 0, each.now, ("segment.resolved", each.segment, each.now, body)
        )
    found = made_ready(batch, resolves, won)
    return [ready if key_of(each) in keys else None for each, ready in zip(resolves, found, strict=True)]
