"""How a segment calls an execution and rests, how the end of that wakes it, and how what nobody waits for is stopped."""

from __future__ import annotations

import dataclasses
import json

from engine import operations as op
from engine.store import statements as sql
from engine.transitions.asking import cancel
from engine.transitions.batch import Batch, Key, fence, key_of, let_go, on_item, rested, standing_of
from engine.transitions.starting import accept


def call(batch: Batch, calls: list[op.Call]) -> list[op.Called | None]:
    """Start executions, and put the segments that call them to rest in the same moment: -> waiting.

    What is called has no limit of its own, or was let in by it before, and is known by its key then.
    """
    standing = standing_of(calls)
    rows = [
        (*fence(each), each.due, each.head, each.spent, each.first_try_at, each.start.execution)
        for each in standing.values()
    ]
    won = {fields[:3]: fields[3] for fields in batch.connection.batch(sql.CALL, rows)}
    winners = [each for key, each in standing.items() if key in won]
    going = [each for each in winners if not won[key_of(each)]]
    for each in winners:
        if won[key_of(each)]:
            let_go(batch, batch.rows[each.execution], each.segment, each.item)
    answers: dict[Key, op.Called] = {key_of(each): op.Called() for each in winners}
    started = accept(batch, [each.start for each in going])
    for each, one in zip(going, started, strict=True):
        already = not one.new and _known(batch, each, one.execution)
        answers[key_of(each)] = op.Called(one.execution, one.send, already)
    rested(batch, [_noted(each, answers[key_of(each)].execution) for each in winners])
    again = [each for each in going if answers[key_of(each)].already]
    _wake(
        batch,
        [
            op.Return(each.execution, each.segment, each.item, str(answers[key_of(each)].execution), each.now)
            for each in again
        ],
    )
    return [answers.get(key_of(each)) if standing[key_of(each)] is each else None for each in calls]


def returned(batch: Batch, returns: list[op.Return]) -> list[list[op.Sendable]]:
    """Wake the segments whose calls have ended, however they ended: waiting -> ready."""
    ended = [each for each in returns if (child := batch.rows.get(each.child)) is not None and child.final]
    if ended:
        batch.connection.batch(sql.TELL, [(each,) for each in sorted({each.child for each in ended})])
    ready = _wake(batch, ended)
    return [ready.pop(_place(each), []) for each in returns]


def forsake(batch: Batch, forsaken: list[op.Forsake]) -> list[None]:
    """Ask executions to stop whose callers wait for them no more."""
    cancel(
        batch,
        [op.Cancel(each.child, each.now, each.reason) for each in forsaken if each.child in batch.rows],
    )
    batch.connection.batch(sql.FORSAKE, [(*_place(each), each.child) for each in forsaken])
    return [None] * len(forsaken)


def _known(batch: Batch, each: op.Call, child: str) -> bool:
    """Wait for what this very try has started before. Returns whether that has told of its end already."""
    batch.connection.batch(sql.RECALL, [(*key_of(each), child)])
    return bool(batch.connection.batch(sql.TOLD, [(child,)]))


def _noted(each: op.Call, child: str | None) -> op.Call:
    """Return a call with what the journal and the history say of it."""
    if child is None:
        return each
    text = json.dumps({"execution": child, **({"step": each.step} if each.step else {})})
    entry = op.Entry(
        each.node, op.CALLING, output=op.Payload(text), tries=each.spent + 1, started_at=each.began
    )
    event = ("node.called", each.node, each.now, on_item(each.item, execution=child, attempt=each.spent + 1))
    return dataclasses.replace(each, entries=(*each.entries, entry), events=(*each.events, event))


def _wake(batch: Batch, returns: list[op.Return]) -> dict[Key, list[op.Sendable]]:
    """Make the callers ready, and return what is to be sent of each."""
    rows: dict[tuple[object, ...], tuple[object, ...]] = {}
    now_of: dict[Key, int] = {}
    for each in returns:
        row = batch.rows.get(each.execution)
        if row is not None and not row.final:
            due = None if row.pause_at is not None else each.now + batch.rules.grace
            rows[(*_place(each), each.child)] = (*_place(each), each.child, each.now, due)
            now_of[_place(each)] = each.now
    found: dict[Key, list[op.Sendable]] = {}
    for execution, segment, item, queue in (
        batch.connection.batch(sql.RETURN, list(rows.values())) if rows else ()
    ):
        row, now = batch.rows[execution], now_of[(execution, segment, item)]
        row.count(1, now)
        batch.emit(row, 0, now, ("segment.ready", segment, now, on_item(item)))
        if row.pause_at is None:
            found[(execution, segment, item)] = [(segment, item, queue)]
    return found


def _place(each: op.Return | op.Forsake) -> Key:
    return (each.execution, each.segment, each.item)
