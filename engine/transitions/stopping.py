"""How what is under way is stopped (instances, branches, whole executions), and how that ends.

What has not begun is cancelled, what runs is told. A container that has something to do in its end winds up: it is looked at
again, does that, and is cancelled then. An execution has ended when nothing of it winds up any more, and so has an instance.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from engine import operations as op
from engine.plan import item_in, split_item
from engine.states import ExecutionStatus
from engine.store import statements as sql
from engine.transitions.batch import Batch, Key, Row, on_item, unsent
from engine.transitions.signalling import withdraw


@dataclass(frozen=True, slots=True)
class Closing:
    """What is to stop: the segments from `first` up to `beyond`, for an `item` or all that is `inside` it."""

    execution: str
    first: int
    beyond: int
    item: str = ""
    inside: str = ""

    def covers(self, batch: Batch, execution: str, segment: int, item: str) -> bool:
        """Whether a segment is reached."""
        return (
            execution == self.execution
            and self.first <= segment < self.beyond
            and (item == self.item or item.startswith(self.inside))
            and any(
                each.first <= segment < each.beyond
                for each in batch.plan(execution).reach(self.first, self.beyond)
            )
        )


def whole(batch: Batch, row: Row) -> Closing:
    """Return what stops an execution."""
    return Closing(row.id, 0, len(batch.plan(row.id).segments))


def stop(batch: Batch, closings: Iterable[Closing], now: int, *, force: bool = False) -> None:
    """Stop what closings cover. With `force` nothing is done in the end."""
    rows = []
    names = set()
    for each in dict.fromkeys(closings):
        row = batch.rows[each.execution]
        names.add(row.id)
        due = None if row.pause_at is not None else unsent(row, now)
        reach = batch.plan(row.id).reach(each.first, each.beyond)
        parts = (
            [(each.first, each.beyond, 0)]
            if force
            else [(first, beyond, int(owes)) for first, beyond, owes in reach]
        )
        rows += [
            (row.id, first, beyond, each.item, each.inside, owes, now, due, 2 if force else 0)
            for first, beyond, owes in parts
        ]
    stopped = batch.connection.batch(sql.STOP, rows)
    withdraw(batch, [fields[:3] for fields in stopped], now)
    for name, segment, item, how, epoch in sorted(stopped):
        if how == op.WINDING:
            body = ("segment.ready", segment, now, on_item(item, stopped=True))
            batch.emit(batch.rows[name], epoch, now, body)
    batch.thinned.update(names)
    for name, active in batch.connection.batch(sql.COUNT_ACTIVE, [(each,) for each in sorted(names)]):
        row = batch.rows[name]
        row.count(active - row.open, now)


def conclude(batch: Batch, row: Row, status: ExecutionStatus, now: int, epoch: int = 0) -> bool:
    """Let an execution end, or do before what is done in its end. Returns whether it has ended now."""
    if batch.plan(row.id).owing:
        row.ends_as = str(status)
        row.dirty = True
        batch.ending.add(row.id)
        return False
    _end(batch, row, status, now, epoch)
    return True


def end_if_over(batch: Batch, row: Row, now: int) -> bool:
    """End an execution that is to end and has nothing left to do. Of a cancelled one everything has let go then."""
    if row.final or row.ends_as is None:
        return False
    if row.open > 0 and (row.cancel_at is not None or row.id not in batch.ending):
        return False
    if _winds(batch, row):
        return False
    _end(batch, row, ExecutionStatus(row.ends_as), now)
    return True


def finish(batch: Batch) -> None:
    """End what is over now, and say so in the answers of the batch. What is to end and is not over has a time for that."""
    now = max((getattr(each, "now", 0) for each in batch.asked), default=0)
    _nudge(batch, now)
    ended = {row.id: row for row in batch.rows.values() if row.dirty and end_if_over(batch, row, now)}
    for index, each in enumerate(batch.asked if ended else ()):
        answer, row = batch.answers[index], ended.get(getattr(each, "execution", ""))
        if row is not None and isinstance(answer, op.Settled):
            batch.answers[index] = replace(answer, finished=str(row.status), reply_to=row.reply_to)
    for row in batch.rows.values():
        if row.id in batch.ending and not row.final and _winds(batch, row):
            row.deadline = now + batch.rules.ending
            more = {"as": row.ends_as, "until": row.deadline}
            batch.emit(row, 0, now, ("execution.ending", None, now, more))


def _winds(batch: Batch, row: Row) -> bool:
    return bool(batch.plan(row.id).owing) and bool(batch.connection.batch(sql.WINDING, [(row.id,)]))


def _end(batch: Batch, row: Row, status: ExecutionStatus, now: int, epoch: int = 0) -> None:
    if status is ExecutionStatus.TIMED_OUT:
        message = "The execution did not end within its own time limit."
        row.error = json.dumps({"code": "execution.timed_out", "message": message})
    row.move(status, now)
    more = json.loads(row.error or "{}") if status is ExecutionStatus.FAILED else {}
    batch.emit(row, epoch, now, (f"execution.{status}", None, now, more))


def _nudge(batch: Batch, now: int) -> None:
    """Let the containers around what has let go look again, if they wait for that."""
    rows: dict[Key, tuple[object, ...]] = {}
    for execution, segment, item in batch.let_go:
        plan = batch.plan(execution)
        region = plan.regions[plan.segments[segment].region]
        while region.id:
            place = (execution, plan.owner_of(region), split_item(item_in(item, region.depth))[0])
            rows[place] = (*place, now)
            region = plan.regions[region.parent]
    if rows:
        batch.connection.batch(sql.NUDGE, [rows[place] for place in sorted(rows)])
