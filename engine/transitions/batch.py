"""One transaction at work: the executions it has locked, what it has gathered to write, and what all transitions share."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from engine import operations as op
from engine.plan import Plan
from engine.settings import Limits
from engine.states import EXECUTION_FINAL, ExecutionStatus
from engine.store import statements as sql
from engine.store.database import Connection

Key = tuple[str, int, str]
"""(execution, segment, item)."""


HeldT = TypeVar("HeldT", bound=op.Held)


_AHEAD = 10**13
"""Milliseconds that one step of priority counts for: three centuries."""

_ENCODER = json.JSONEncoder(separators=(",", ":"))


STOPPED: Final = 1
"""The `stop` of a segment that ends with whatever its holder says next."""


class Room(Protocol):
    """How much more a queue's broker should hold; an estimate, never the truth."""

    def take(self, queue: str) -> bool:
        """Whether one more segment of this queue is to be sent now; if not, the feeder sends it when there is room."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the pen needs to know besides the rows.

    Plans, the time after which a sent segment counts as lost, the room, and how long what is done in the end of a stopped
    execution may take. Times are milliseconds.
    """

    plan_of: Callable[[str, Connection], Plan]
    grace: int
    room: Room
    ending: int = Limits().ending_ms


@dataclass(slots=True)
class Row:
    """An execution's locked row, as it will be written back."""

    id: str
    project: str
    version: str
    status: ExecutionStatus
    open: int
    seq: int
    cancel_at: int | None
    pause_at: int | None
    cancel_reason: str | None
    reply_to: str | None
    limited: int = 0
    priority: int = 0
    ends_as: str | None = None
    deadline: int | None = None
    started_at: int | None = None
    finished_at: int | None = None
    output: op.Payload = op.Payload()
    error: str | None = None
    dirty: bool = False

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.status in EXECUTION_FINAL

    def move(self, status: ExecutionStatus, now: int) -> None:
        """Change the status of an execution that has not ended."""
        self.dirty = True
        if self.started_at is None:
            self.started_at = now
        self.status = status
        if status in EXECUTION_FINAL:
            self.finished_at = now

    def count(self, change: int, now: int) -> None:
        """Count active segments. With none an execution that has not ended is waiting for something outside."""
        self.open += change
        self.dirty = True
        if not self.final and (self.status is not ExecutionStatus.CREATED or change < 0):
            self.move(ExecutionStatus.RUNNING if self.open > 0 else ExecutionStatus.WAITING, now)


@dataclass(slots=True)
class Batch:
    """One transaction at work: the connection, the locked executions and the events so far."""

    connection: Connection
    rules: Rules
    rows: dict[str, Row]
    events: list[tuple[Any, ...]] = field(default_factory=list)
    blobs: dict[str, tuple[str, int]] = field(default_factory=dict)
    asked: Sequence[op.Operation] = ()
    answers: list[Any] = field(default_factory=list)
    limited_starts: list[op.Start] = field(default_factory=list)
    """Those that a limit has to let in, when everything else of the batch has been done."""
    published: set[str] = field(default_factory=set)
    """The ids of events that are new."""
    thinned: set[str] = field(default_factory=set)
    """Executions of which a part was stopped."""
    let_go: set[Key] = field(default_factory=set)
    """What was told to stop, and has ended now."""
    ending: set[str] = field(default_factory=set)
    """Executions that are to end since this batch."""
    limits_met: bool = False
    admitted: list[tuple[str, op.Sendable]] = field(default_factory=list)
    """Segments that a limit has let in and that are to be sent."""

    def emit(self, row: Row, epoch: int, now: int, *bodies: op.EventBody) -> None:
        """Append one packed row of events: a gapless range of the execution's sequence."""
        if not bodies:
            return
        text = _ENCODER.encode(bodies)
        self.events.append((row.id, row.project, row.seq + 1, len(bodies), epoch, now, text))
        row.seq += len(bodies)
        row.dirty = True

    def plan(self, execution: str) -> Plan:
        """Return the plan of an execution."""
        return self.rules.plan_of(self.rows[execution].version, self.connection)

    def due(self, row: Row, queue: str, now: int) -> tuple[int | None, bool]:
        """Return a ready segment's `due`, and whether it is to be sent now."""
        if row.pause_at is not None:
            return None, False
        if self.rules.room.take(queue):
            return now + self.rules.grace, True
        return unsent(row, now), False


def unsent(row: Row, now: int) -> int:
    """Return the `due` of a segment that was never sent: in its order the feeder sends, so a higher priority goes first."""
    return now - row.priority * _AHEAD


def write_back(batch: Batch) -> None:
    """Write what the transitions left in memory: blobs first, since rows refer to them."""
    if batch.blobs:
        rows = [(name, text, len(text), now) for name, (text, now) in sorted(batch.blobs.items())]
        batch.connection.insert(sql.WRITE_BLOBS, rows)
    changed = [
        (
            row.id,
            str(row.status),
            row.open,
            row.seq,
            row.cancel_at,
            row.pause_at,
            row.cancel_reason,
            row.ends_as,
            row.deadline,
            row.started_at,
            row.finished_at,
            row.output.text,
            row.output.blob,
            row.error,
        )
        for row in batch.rows.values()
        if row.dirty
    ]
    if changed:
        batch.connection.batch(sql.UPDATE_EXECUTIONS, changed)
    if batch.events:
        batch.connection.insert(sql.WRITE_EVENTS, batch.events)


def journal(batch: Batch, held: Sequence[op.Held]) -> None:
    """Write the entries, events and blobs of operations whose fence held."""
    rows: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for each in held:
        for entry in each.entries:
            item = each.item if entry.item is None else entry.item
            place = (each.execution, entry.node, item, entry.step)
            rows[place] = journal_row(each.execution, item, each.epoch, entry)
        keep(batch, each.blobs, each.now)
        batch.emit(batch.rows[each.execution], each.epoch, each.now, *each.events)
    if rows:
        batch.connection.insert(sql.WRITE_JOURNAL, list(rows.values()))


def journal_row(execution: str, item: str, epoch: int, entry: op.Entry) -> tuple[Any, ...]:
    return (
        execution,
        entry.node,
        item,
        entry.step,
        entry.status,
        entry.effect,
        entry.output.text,
        entry.output.blob,
        entry.error,
        epoch,
        entry.tries,
        entry.started_at,
        entry.ended_at,
    )


def keep(batch: Batch, blobs: Iterable[op.Blob], now: int) -> None:
    for each in blobs:
        batch.blobs[each.hash] = (each.text, now)


def rested(batch: Batch, winners: Sequence[op.Held]) -> None:
    """Journal and count segments that no longer move by themselves."""
    journal(batch, winners)
    for each in winners:
        batch.rows[each.execution].count(-1, each.now)


def made_ready(
    batch: Batch, asked: Sequence[op.Wake | op.Resolve], won: Iterable[tuple[Any, ...]]
) -> list[list[op.Sendable]]:
    """Count segments that move again, and say so: once each, however many ask for the same execution."""
    now_of = {each.execution: each.now for each in asked}
    found: dict[str, list[op.Sendable]] = defaultdict(list)
    for execution, segment, item, queue in won:
        row, now = batch.rows[execution], now_of[execution]
        row.count(1, now)
        batch.emit(row, 0, now, ("segment.ready", segment, now, on_item(item)))
        found[execution].append((segment, item, queue))
    return [found.pop(each.execution, []) for each in asked]


def let_go(batch: Batch, row: Row, segment: int, item: str) -> None:
    """Something that was told to stop has ended: what waits for that looks again."""
    if not row.final:
        batch.let_go.add((row.id, segment, item))


def standing_of(held: Sequence[HeldT]) -> dict[Key, HeldT]:
    """Return what is asked for each segment once, by its latest holder.

    A process that slept through its lease may hold a segment twice, and ask for both in one batch: the fence is looked at
    by segment, so the older one must not come that far.
    """
    standing: dict[Key, HeldT] = {}
    for each in held:
        found = standing.get(key_of(each))
        if found is None or found.epoch < each.epoch:
            standing[key_of(each)] = each
    return standing


def answers_of(asked: Sequence[HeldT], standing: Mapping[Key, HeldT], won: Container[Key]) -> list[bool]:
    """Return for each holder whether its own request was carried out."""
    return [key_of(each) in won and standing[key_of(each)] is each for each in asked]


def is_paused(batch: Batch, execution: str) -> bool:
    """Whether an execution is held: its ready segments have no `due` until it goes on."""
    row = batch.rows.get(execution)
    return row is not None and row.pause_at is not None


def is_stopping(row: Row) -> bool:
    """Whether an execution has ended or is to end, so that nobody changes it any more."""
    return row.final or row.ends_as is not None


def may_run(batch: Batch, execution: str) -> bool:
    row = batch.rows.get(execution)
    return row is not None and not row.final and row.pause_at is None


def is_pure(batch: Batch, execution: str, segment: int) -> bool:
    return batch.rules.plan_of(batch.rows[execution].version, batch.connection).segments[segment].pure


def key_of(each: op.Held | op.Claim | op.Resolve) -> Key:
    return (each.execution, each.segment, each.item)


def fence(each: op.Held) -> tuple[Any, ...]:
    return (each.execution, each.segment, each.item, each.epoch, "ready" if each.pure else "running")


def on_item(item: str, **more: object) -> dict[str, object]:
    return {"item": item, **more} if item else more
