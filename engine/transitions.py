"""THE PEN. Every change of an execution's state is one named transition here, and nothing else writes those rows.

A transition works on all operations of its kind in a batch at once, as a set-based statement guarded by state and by the
fence, and answers who won. Whoever lost gets None and must not go on. The caller holds a transaction; the rows of all
executions the batch touches are locked first, in the order of their ids, so two writers can neither interleave within
an execution nor wait for each other in a circle.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from engine import operations as op
from engine.advance import Address, Arrivals, Completed, advance, joins_touched
from engine.failpoints import failpoint
from engine.fans import Fan
from engine.fans import Row as Opened
from engine.plan import Plan, item_of, split_item
from engine.states import EXECUTION_FINAL, ExecutionStatus
from engine.store import statements as sql
from engine.store.database import Connection

Key = tuple[str, int, str]
"""(execution, segment, item)."""

HeldT = TypeVar("HeldT", bound=op.Held)


_ENCODER = json.JSONEncoder(separators=(",", ":"))


class Room(Protocol):
    """How much more a queue's broker should hold; an estimate, never the truth."""

    def take(self, queue: str) -> bool:
        """Whether one more segment of this queue is to be sent now; if not, the feeder sends it when there is room."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the pen needs to know besides the rows: plans, the time after which a sent segment counts as lost, the room."""

    plan_of: Callable[[str, Connection], Plan]
    grace: int
    room: Room


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

    def emit(self, row: Row, epoch: int, now: int, *bodies: op.EventBody) -> None:
        """Append one packed row of events: a gapless range of the execution's sequence."""
        if not bodies:
            return
        text = _ENCODER.encode(bodies)
        self.events.append((row.id, row.project, row.seq + 1, len(bodies), epoch, now, text))
        row.seq += len(bodies)
        row.dirty = True

    def due(self, row: Row, queue: str, now: int) -> tuple[int | None, bool]:
        """Return a ready segment's `due`, and whether it is to be sent now."""
        if row.pause_at is not None:
            return None, False
        if self.rules.room.take(queue):
            return now + self.rules.grace, True
        return now, False


def apply(connection: Connection, operations: Sequence[op.Operation], rules: Rules) -> list[Any]:
    """Carry out operations inside the caller's transaction. Returns one answer for each, in their order."""
    ids = op.executions_of(operations)
    rows = {}
    for fields in connection.batch(sql.LOCK_EXECUTIONS, [(each,) for each in ids]) if ids else ():
        id_, project, version, status, *rest = fields
        rows[id_] = Row(id_, project, version, ExecutionStatus(status), *rest)
    batch = Batch(connection, rules, rows)
    kinds: dict[type[Any], list[int]] = defaultdict(list)
    for index, each in enumerate(operations):
        kinds[type(each)].append(index)
    answers: list[Any] = [None] * len(operations)
    for kind, transition in _TRANSITIONS.items():
        if indexes := kinds.get(kind):
            chosen = [operations[index] for index in indexes]
            for index, answer in zip(indexes, transition(batch, chosen), strict=True):
                answers[index] = answer
    _write_back(batch)
    return answers


def start(batch: Batch, starts: list[op.Start]) -> list[op.Started]:
    """Accept executions, each with its one root segment. A known idempotency key accepts nothing."""
    known = _known(batch, starts)
    new: dict[str, op.Start] = {}
    for each in starts:
        key = (each.project, each.idempotency_key)
        if (
            each.idempotency_key is None
            or known.setdefault(key, (each.execution, each.request_hash))[0] == each.execution
        ):
            new[each.execution] = each
    unkeyed = [_execution_row(each) for each in new.values() if each.idempotency_key is None]
    by_key = sorted(new.values(), key=lambda each: (each.project, each.idempotency_key or ""))
    keyed = [_execution_row(each) for each in by_key if each.idempotency_key is not None]
    if unkeyed:
        batch.connection.insert(sql.INSERT_EXECUTION, unkeyed)
    if keyed:
        won = {fields[0] for fields in batch.connection.batch(sql.INSERT_KEYED_EXECUTION, keyed)}
        if len(won) < len(keyed):
            known.update(_known(batch, starts))
            new = {name: each for name, each in new.items() if each.idempotency_key is None or name in won}
    segments, sent = [], set()
    for each in new.values():
        row = Row(
            each.execution, each.project, each.version, ExecutionStatus.CREATED, 1, 0, None, None, None, None
        )
        due, send = batch.due(row, each.queue, each.now)
        if send:
            sent.add(each.execution)
        segments.append((each.execution, 0, "", "ready", each.queue, 0, 1, 0, each.now, due, None, None))
        body = json.dumps([("execution.created", each.workflow, each.now, {"version": each.version})])
        batch.events.append((each.execution, each.project, 1, 1, 0, each.now, body))
        _keep(batch, each.blobs, each.now)
    if segments:
        batch.connection.insert(sql.INSERT_SEGMENT, segments)
    answers = []
    for each in starts:
        if each.execution in new:
            answers.append(op.Started(each.execution, new=True, send=each.execution in sent))
        else:
            name, request_hash = known[(each.project, each.idempotency_key)]
            answers.append(op.Started(name, new=False, same=request_hash == each.request_hash))
    return answers


def claim(batch: Batch, claims: list[op.Claim]) -> list[op.Claimed | None]:
    """Take ready segments of executions that run: ready -> running, the fence one higher."""
    wanted = {_key(each): each for each in claims if _may_run(batch, each.execution)}
    won: dict[Key, op.Claimed] = {}
    if wanted:
        rows = [(*key, each.owner, each.due) for key, each in wanted.items()]
        for fields in batch.connection.batch(sql.CLAIM, rows):
            won[fields[:3]] = op.Claimed(*fields[3:])
    for key, claimed in won.items():
        row, each = batch.rows[key[0]], wanted[key]
        if row.status is ExecutionStatus.CREATED:
            row.move(ExecutionStatus.RUNNING, each.now)
        batch.emit(
            row, claimed.epoch, each.now, ("segment.claimed", key[1], each.now, _on(key[2], owner=each.owner))
        )
    return [won.get(_key(each)) if wanted.get(_key(each)) is each else None for each in claims]


def record(batch: Batch, records: list[op.Record]) -> list[op.Recorded]:
    """Journal what has happened so far; the segment stays where it is. What is to stop learns so here, before its next effect."""
    standing = _standing(records)
    rows = [_fence(each) for each in standing.values()]
    won = {fields[:3]: fields[3] for fields in batch.connection.batch(sql.FENCE, rows)}
    answers = [
        op.Recorded.LOST
        if _key(each) not in won or standing[_key(each)].epoch != each.epoch
        else op.Recorded.STOPPING
        if won[_key(each)] or _is_stopping(batch.rows[each.execution])
        else op.Recorded.HELD
        for each in records
    ]
    _journal(
        batch, [each for each, answer in zip(records, answers, strict=True) if answer is op.Recorded.HELD]
    )
    return answers


def settle(batch: Batch, settles: list[op.Settle]) -> list[op.Settled | None]:
    """End segments, count their arrivals at joins and containers, start what became ready, end instances and executions."""
    standing = _standing(settles)
    ends = {key: _end_of(batch.rows[each.execution], each) for key, each in standing.items()}
    rows = [(*_fence(each), ends[key], _bits(each.taken)) for key, each in standing.items()]
    won = {fields[:3]: fields[3] for fields in batch.connection.batch(sql.SETTLE, rows)}
    winners = [each for key, each in standing.items() if key in won]
    failpoint("settle.fenced")
    _journal(batch, winners)
    of_execution: dict[str, list[op.Settle]] = defaultdict(list)
    for each in winners:
        of_execution[each.execution].append(each)
    wave = _Wave(batch, _load_joins(batch, of_execution), _load_fans(batch, _owners(batch, winners)))
    answers: dict[Key, op.Settled] = {}
    for execution, group in of_execution.items():
        for each in group:
            key = _key(each)
            answers[key] = wave.settle(batch.rows[execution], each, stopped=bool(won[key]))
    wave.write()
    return [
        wave.without_closed(each, answer)
        if standing[key := _key(each)] is each and (answer := answers.get(key)) is not None
        else None
        for each in settles
    ]


def spread(batch: Batch, spreads: list[op.Spread]) -> list[op.Settled | None]:
    """Open the instances of a region and let their container rest: -> waiting. What came meanwhile is looked at again."""
    standing = _standing(spreads)
    there = _load_fans(batch, [key for key, each in standing.items() if each.fan is None])
    fans: dict[Key, tuple[Fan, list[Opened]]] = {}
    for key, each in standing.items():
        if each.fan is not None:
            fan = Fan.from_text(each.fan)
            fans[key] = fan, list(fan.open())
        elif key in there:
            fans[key] = there[key].fan, []
    rows = [
        (*_fence(each), each.due, each.head, fans[key][0].to_text())
        for key, each in standing.items()
        if key in fans
    ]
    won = {fields[:3]: fields[3] for fields in batch.connection.batch(sql.SPREAD, rows)}
    winners = [each for key, each in standing.items() if key in won]
    stopped = [each for each in winners if won[_key(each)] or _is_stopping(batch.rows[each.execution])]
    _rested(batch, stopped)
    going = [each for each in winners if each not in stopped]
    _journal(batch, going)
    wave = _Wave(batch, {}, there)
    answers = {_key(each): op.Settled() for each in stopped}
    for each in going:
        fan, opened = fans[_key(each)]
        answers[_key(each)] = wave.spread(batch.rows[each.execution], each, fan, opened)
    wave.write()
    return [answers.get(_key(each)) if standing[_key(each)] is each else None for each in spreads]


def close(batch: Batch, closes: list[op.Close]) -> list[bool]:
    """Stop the instances that a container waits for. The container itself stays where it is."""
    standing = _standing(closes)
    rows = [_fence(each) for each in standing.values()]
    won = {fields[:3] for fields in batch.connection.batch(sql.FENCE, rows)}
    winners = [each for key, each in standing.items() if key in won]
    _journal(batch, winners)
    wave = _Wave(batch, {}, _load_fans(batch, map(_key, winners)))
    for each in winners:
        wave.close(batch.rows[each.execution], _key(each), each.now)
    wave.write()
    return _answers(closes, standing, won)


def suspend(batch: Batch, suspends: list[op.Suspend]) -> list[bool]:
    """Put segments to rest until a time: -> waiting, or -> backing_off between attempts."""
    standing = _standing(suspends)
    rows = [
        (
            *_fence(each),
            "backing_off" if each.backing_off else "waiting",
            each.due,
            each.head,
            each.tries,
            each.first_try_at,
        )
        for each in standing.values()
    ]
    won = {fields[:3] for fields in batch.connection.batch(sql.SUSPEND, rows)}
    _rested(batch, [each for key, each in standing.items() if key in won])
    return _answers(suspends, standing, won)


def doubt(batch: Batch, doubts: list[op.Doubt]) -> list[bool]:
    """Put segments aside whose effect nobody knows the fate of: running -> uncertain."""
    standing = _standing(doubts)
    rows = [(*_fence(each), each.head, each.reason) for each in standing.values()]
    won = {fields[:3] for fields in batch.connection.batch(sql.DOUBT, rows)}
    _rested(batch, [each for key, each in standing.items() if key in won])
    return _answers(doubts, standing, won)


def release(batch: Batch, releases: list[op.Release]) -> list[bool]:
    """Hand claims back: running -> ready, at once. In an execution that is to stop, they are over."""
    standing = _standing(releases)
    rows = [(*_fence(each), int(_is_paused(batch, each.execution))) for each in standing.values()]
    won = {fields[:3]: fields[3] for fields in batch.connection.batch(sql.RELEASE, rows)}
    winners = [each for key, each in standing.items() if key in won]
    _journal(batch, winners)
    stopped = []
    for each in winners:
        row = batch.rows[each.execution]
        body = ("segment.released", each.segment, each.now, _on(each.item))
        batch.emit(row, each.epoch, each.now, body)
        if _is_stopping(row):
            stopped.append(row.id)
            row.count(-1, each.now)
            _end_cancelled(batch, row, each.now)
        elif won[_key(each)]:
            row.count(-1, each.now)
    if stopped:
        batch.connection.batch(sql.STOP_UNSTARTED, [(each,) for each in sorted(set(stopped))])
    return _answers(releases, standing, won)


def renew(batch: Batch, renewals: list[op.Renew]) -> list[op.Renewed]:
    """Prolong claims. What is not answered as held is lost, and its holder must not write any more."""
    rows = [
        (each.execution, segment, item, epoch, "running", each.due)
        for each in renewals
        for segment, item, epoch in each.claims
    ]
    held: dict[str, set[Address]] = defaultdict(set)
    stopping: dict[str, set[Address]] = defaultdict(set)
    for execution, segment, item, stop in batch.connection.batch(sql.RENEW, rows):
        held[execution].add((segment, item))
        if stop:
            stopping[execution].add((segment, item))
    return [
        op.Renewed(
            frozenset(held[each.execution]),
            cancelling=(row := batch.rows.get(each.execution)) is None
            or row.cancel_at is not None
            or row.final,
            pausing=row is not None and row.pause_at is not None,
            stopping=frozenset(stopping[each.execution]),
        )
        for each in renewals
    ]


def wake(batch: Batch, wakes: list[op.Wake]) -> list[list[op.Sendable]]:
    """End rests whose time has come: waiting or backing_off -> ready."""
    rows = [
        (each.execution, segment, item, each.now, each.now + batch.rules.grace)
        for each in wakes
        if _may_run(batch, each.execution)
        for segment, item in each.addresses
    ]
    return _made_ready(batch, wakes, batch.connection.batch(sql.WAKE, rows) if rows else [])


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
            int(each.lost and _is_pure(batch, each.execution, segment)),
        )
        for each in resends
        if _may_run(batch, each.execution)
        for segment, item, mark in each.marks
    ]
    found: dict[str, list[op.Sendable]] = defaultdict(list)
    for execution, *sendable in batch.connection.batch(sql.RESEND, rows) if rows else ():
        found[execution].append(tuple(sendable))
    return [found.pop(each.execution, []) for each in resends]


def lose(batch: Batch, losses: list[op.Lose]) -> list[list[op.Sendable]]:
    """Take claims from the dead: running -> ready, or -> quarantined when it has happened too often."""
    rows = [
        (
            each.execution,
            segment,
            item,
            epoch,
            "running",
            None if _is_paused(batch, each.execution) else each.now + batch.rules.grace,
            each.reason,
            each.deliveries,
        )
        for each in losses
        for segment, item, epoch in each.claims
    ]
    found: dict[str, list[op.Sendable]] = defaultdict(list)
    now_of = {each.execution: each.now for each in losses}
    stopped = []
    for execution, segment, item, status, queue, deliveries in batch.connection.batch(sql.LOSE, rows):
        row, now = batch.rows[execution], now_of[execution]
        batch.emit(
            row, 0, now, ("segment.lost", segment, now, _on(item, deliveries=deliveries, status=status))
        )
        if _is_stopping(row):
            stopped.append(execution)
            row.count(-1, now)
            _end_cancelled(batch, row, now)
        elif status != "ready":
            row.count(-1, now)
        elif row.pause_at is None:
            found[execution].append((segment, item, queue))
    if stopped:
        batch.connection.batch(sql.STOP_UNSTARTED, [(each,) for each in sorted(set(stopped))])
    return [found.pop(each.execution, []) for each in losses]


def cancel(batch: Batch, cancels: list[op.Cancel]) -> list[str]:
    """Ask executions to stop. What has not started is cancelled now; what runs is told by its next heartbeat."""
    asked = []
    for each in cancels:
        row = batch.rows[each.execution]
        if _is_stopping(row):
            continue
        row.cancel_at = each.now
        row.cancel_reason = "timed_out" if each.timed_out else each.reason
        batch.emit(
            row, 0, each.now, ("execution.cancel_requested", None, each.now, {"reason": row.cancel_reason})
        )
        asked.append(row)
    if asked:
        ids = [(row.id,) for row in asked]
        batch.connection.batch(sql.STOP_UNSTARTED, ids)
        running: dict[str, int] = dict(batch.connection.batch(sql.COUNT_RUNNING, ids))
        for row in asked:
            row.open = running.get(row.id, 0)
            row.dirty = True
            _end_cancelled(batch, row, row.cancel_at or 0)
    return [str(batch.rows[each.execution].status) for each in cancels]


def pause(batch: Batch, pauses: list[op.Pause]) -> list[list[op.Sendable] | None]:
    """Hold executions between segments, or let them go on."""
    changed: dict[str, int] = {}
    for each in pauses:
        row = batch.rows[each.execution]
        if row.final or (row.pause_at is None) is each.resume:
            continue
        row.pause_at = None if each.resume else each.now
        changed[each.execution] = each.now
        batch.emit(
            row, 0, each.now, ("execution.resumed" if each.resume else "execution.paused", None, each.now, {})
        )
    rows = [
        (name, None if _is_paused(batch, name) else now + batch.rules.grace) for name, now in changed.items()
    ]
    found: dict[str, list[op.Sendable]] = defaultdict(list)
    for execution, *sendable in batch.connection.batch(sql.HOLD_READY, rows) if rows else ():
        if not _is_paused(batch, execution):
            found[execution].append(tuple(sendable))
    return [None if batch.rows[each.execution].final else found[each.execution] for each in pauses]


def resolve(batch: Batch, resolves: list[op.Resolve]) -> list[list[op.Sendable] | None]:
    """Carry out a person's word: uncertain or quarantined -> ready, with the outcome given in the journal."""
    rows = [
        (each.execution, each.segment, each.item, each.now, each.now + batch.rules.grace)
        for each in resolves
        if _may_run(batch, each.execution)
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
            batch.connection.insert(sql.WRITE_JOURNAL, [_journal_row(each.execution, each.item, 0, entry)])
        body = _on(each.item, decision=each.decision, by=each.principal, node=each.node)
        batch.emit(
            batch.rows[each.execution], 0, each.now, ("segment.resolved", each.segment, each.now, body)
        )
    found = _made_ready(batch, resolves, won)
    return [ready if _key(each) in keys else None for each, ready in zip(resolves, found, strict=True)]


_TRANSITIONS: Mapping[type[Any], Callable[[Batch, Any], Sequence[Any]]] = {
    op.Start: start,
    op.Cancel: cancel,
    op.Pause: pause,
    op.Resolve: resolve,
    op.Record: record,
    op.Settle: settle,
    op.Spread: spread,
    op.Close: close,
    op.Suspend: suspend,
    op.Doubt: doubt,
    op.Release: release,
    op.Renew: renew,
    op.Lose: lose,
    op.Wake: wake,
    op.Resend: resend,
    op.Claim: claim,
}
"""In this order within a batch: what people ask, what holders say, what takes from holders."""


@dataclass(slots=True)
class _Waiting:
    """A container's row, with the count of its instances."""

    fan: Fan
    status: str
    epoch: int
    pending: int
    taken: int
    deliveries: int
    head: int
    tries: int
    first_try_at: int | None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class _Closing:
    """Instances that are to stop: the segments from `first` up to `beyond`, for an `item` or all that is `inside` it."""

    execution: str
    first: int
    beyond: int
    item: str
    inside: str

    def covers(self, execution: str, segment: int, item: str) -> bool:
        """Whether a segment belongs to them."""
        return (
            execution == self.execution
            and self.first <= segment < self.beyond
            and (item == self.item or item.startswith(self.inside))
        )


@dataclass(slots=True)
class _Started:
    """What one operation starts: segments to be sent, and those its caller goes on with."""

    ready: list[op.Sendable] = field(default_factory=list)
    successors: list[tuple[int, str, op.Claimed]] = field(default_factory=list)
    claims: int = 0

    def settled(self) -> op.Settled:
        """Return it as an answer."""
        return op.Settled(ready=tuple(self.ready), successors=tuple(self.successors))


@dataclass(slots=True)
class _Wave:
    """What the operations of one batch bring about in rows of other segments, gathered until it is written at once.

    Rows are keyed, so that none is written twice: two predecessors of one join may end in the same batch.
    """

    batch: Batch
    joins: dict[str, dict[Address, Arrivals]]
    fans: dict[Key, _Waiting]
    segments: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    counts: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    closings: list[_Closing] = field(default_factory=list)
    closed_at: int = 0
    ended: list[str] = field(default_factory=list)

    def settle(self, row: Row, each: op.Settle, *, stopped: bool) -> op.Settled:
        """Decide what follows from the end of one segment."""
        batch = self.batch
        if row.status is ExecutionStatus.CREATED:
            row.move(ExecutionStatus.RUNNING, each.now)
        if _is_stopping(row):
            row.count(-1, each.now)
            _end_cancelled(batch, row, each.now)
            return op.Settled(finished=str(row.status), reply_to=row.reply_to)
        if stopped or self.is_closed(row.id, each.segment, each.item):
            row.count(-1, each.now)
            return op.Settled()
        plan = batch.rules.plan_of(row.version, batch.connection)
        segment = plan.segments[each.segment]
        if segment.region and (each.error is not None or segment.ends):
            return self._arrive(row, plan, each)
        if each.error is not None:
            row.open -= 1
            row.error = each.error
            row.move(ExecutionStatus.FAILED, each.now)
            batch.emit(
                row, each.epoch, each.now, ("execution.failed", None, each.now, json.loads(each.error))
            )
            self.ended.append(row.id)
            return op.Settled(finished=str(row.status), reply_to=row.reply_to)
        if segment.ends:
            row.open -= 1
            row.output = each.output
            row.move(ExecutionStatus.SUCCEEDED, each.now)
            batch.emit(row, each.epoch, each.now, ("execution.succeeded", None, each.now, {}))
            return op.Settled(finished=str(row.status), reply_to=row.reply_to)
        return self._follow(row, plan, each)

    def spread(self, row: Row, each: op.Spread, fan: Fan, opened: Sequence[Opened]) -> op.Settled:
        """Start the rows that a fan has opened, or look again at one that has moved on since it was looked at."""
        if row.status is ExecutionStatus.CREATED:
            row.move(ExecutionStatus.RUNNING, each.now)
        plan = self.batch.rules.plan_of(row.version, self.batch.connection)
        started = _Started()
        region = plan.regions[fan.region]
        for first, last in opened:
            hi = last if region.chunked else None
            self._start(row, plan, each, (region.first, item_of(each.item, first)), started, hi=hi)
        again = not opened and (fan.over or fan.ended != each.ended)
        if again:
            key = _key(each)
            waiting = self.fans[key]
            waiting.epoch, waiting.head = each.epoch, each.head
            self._start(row, plan, each, (each.segment, each.item), started, container=waiting)
        row.count(len(opened) + again - 1, each.now)
        return started.settled()

    def close(self, row: Row, key: Key, now: int) -> None:
        """Stop the instances of a container's fan."""
        waiting = self.fans.get(key)
        if waiting is None or waiting.fan.closed:
            return
        plan = self.batch.rules.plan_of(row.version, self.batch.connection)
        waiting.fan.closed = waiting.changed = True
        self._close_all(row, plan, waiting.fan.region, key[2], now)

    def is_closed(self, execution: str, segment: int, item: str) -> bool:
        """Whether a segment belongs to an instance that this batch has stopped."""
        return any(each.covers(execution, segment, item) for each in self.closings)

    def without_closed(self, each: op.Settle, answer: op.Settled) -> op.Settled:
        """Return an answer without what another operation of the batch has stopped since."""
        if not self.closings:
            return answer
        return replace(
            answer,
            ready=tuple(one for one in answer.ready if not self.is_closed(each.execution, one[0], one[1])),
            successors=tuple(
                one for one in answer.successors if not self.is_closed(each.execution, one[0], one[1])
            ),
        )

    def write(self) -> None:
        """Write everything: rows that are born or changed, then what is stopped."""
        connection = self.batch.connection
        if self.segments:
            rows = [
                (*fields[:3], "cancelled", *fields[4:9], None, None, fields[11])
                if self.closings and self.is_closed(*fields[:3])
                else fields
                for fields in self.segments.values()
            ]
            connection.insert(sql.INSERT_SEGMENT, rows)
        if self.counts:
            connection.batch(sql.COUNT_JOINS, list(self.counts.values()))
        if changed := [(*key, each.fan.to_text()) for key, each in self.fans.items() if each.changed]:
            connection.batch(sql.COUNT_FANS, changed)
        if self.ended:
            connection.batch(sql.STOP_UNSTARTED, [(each,) for each in self.ended])
        if self.closings:
            self._write_closings()

    def _write_closings(self) -> None:
        connection = self.batch.connection
        rows = [(each.execution, each.first, each.beyond, each.item, each.inside) for each in self.closings]
        connection.batch(sql.STOP_INSTANCES, list(dict.fromkeys(rows)))
        names = sorted({each.execution for each in self.closings})
        for name, active in connection.batch(sql.COUNT_ACTIVE, [(each,) for each in names]):
            row = self.batch.rows[name]
            row.count(active - row.open, self.closed_at)

    def _follow(self, row: Row, plan: Plan, each: op.Settle) -> op.Settled:
        """Carry out what `advance` decides for one completion."""
        joins = self.joins[row.id]
        decision = advance(plan, joins, [Completed(each.segment, each.item, each.taken)])
        joins.update(decision.joins)
        started = _Started()
        for address in decision.ready:
            self._start(row, plan, each, address, started, decision.joins.get(address, Arrivals(0, 1)))
        for address, arrivals in decision.joins.items():
            if address not in decision.ready:
                self._count(row, plan, each, address, arrivals, skipped=address in decision.skipped)
        row.count(len(decision.ready) - 1, each.now)
        return started.settled()

    def _start(
        self,
        row: Row,
        plan: Plan,
        each: op.Follows,
        address: Address,
        started: _Started,
        arrivals: Arrivals | None = None,
        *,
        hi: int | None = None,
        container: _Waiting | None = None,
    ) -> None:
        """Make a segment ready: to be sent, or for the caller to go on with. A container is looked at again."""
        segment, item = address
        key = (row.id, segment, item)
        queue, pure = plan.segments[segment].queue, plan.segments[segment].pure
        status, epoch, owner = "ready", 0, None
        pending, taken = (arrivals.pending, arrivals.taken) if arrivals else (0, 1)
        if container is not None:
            epoch, pending, taken = container.epoch + 1, container.pending, container.taken
        near = queue == plan.segments[each.segment].queue and row.pause_at is None
        if near and len(started.successors) < each.inline and (pure or not started.claims):
            due: int | None = each.now + self.batch.rules.grace
            if not pure:
                due, status, owner = each.now + each.lease, "running", each.owner
                epoch += 1
                started.claims = 1
                claimed = ("segment.claimed", segment, each.now, _on(item, owner=each.owner))
                self.batch.emit(row, epoch, each.now, claimed)
            handed = op.Claimed(epoch, 0, 0, 0, each.now, None, hi)
            if container is not None:
                handed = op.Claimed(
                    epoch,
                    container.deliveries,
                    container.head,
                    container.tries,
                    each.now,
                    container.first_try_at,
                    fan=container.fan.to_text(),
                )
            started.successors.append((segment, item, handed))
        else:
            due, send = self.batch.due(row, queue, each.now)
            if send:
                started.ready.append((segment, item, queue))
        if container is not None:
            container.epoch, container.status = epoch, status
        self.counts.pop(key, None)
        self.segments[key] = (
            *key,
            status,
            queue,
            pending,
            taken,
            epoch,
            each.now,
            due,
            owner,
            hi,
        )

    def _count(
        self, row: Row, plan: Plan, each: op.Settle, address: Address, arrivals: Arrivals, *, skipped: bool
    ) -> None:
        """Note an arrival at a join that does not start by it."""
        key = (row.id, *address)
        if skipped or not arrivals.decided:
            status = "skipped" if arrivals.decided else "blocked"
            queue = plan.segments[address[0]].queue
            self.segments[key] = (
                *key,
                status,
                queue,
                arrivals.pending,
                arrivals.taken,
                0,
                each.now,
                None,
                None,
                None,
            )
        elif key in self.segments:
            self.segments[key] = (
                *self.segments[key][:5],
                arrivals.pending,
                arrivals.taken,
                *self.segments[key][7:],
            )
        else:
            self.counts[key] = (*key, arrivals.pending, arrivals.taken)

    def _arrive(self, row: Row, plan: Plan, each: op.Settle) -> op.Settled:
        """Count the end of an instance, or of a chunk of them, at the container that waits for it."""
        region = plan.regions[plan.segments[each.segment].region]
        parent, _ = split_item(each.item)
        started = _Started()
        if each.error is not None and region.beyond - region.first > 1:
            self._close(each.now, _Closing(row.id, region.first, region.beyond, each.item, f"{each.item}."))
        key = (row.id, plan.owner_of(region), parent)
        waiting = self.fans.get(key)
        count = 0
        if waiting is not None and waiting.fan.region == region.id and not waiting.fan.closed:
            fan = waiting.fan
            fan.arrive(each.failures if each.error is None else 1)
            waiting.changed = True
            if fan.closed and fan.pending:
                self._close_all(row, plan, region.id, parent, each.now)
            for first, last in fan.open():
                hi = last if region.chunked else None
                self._start(row, plan, each, (region.first, item_of(parent, first)), started, hi=hi)
                count += 1
            if waiting.status == "waiting" and (fan.over or fan.watch):
                self._start(row, plan, each, key[1:], started, container=waiting)
                count += 1
        row.count(count - 1, each.now)
        return started.settled()

    def _close_all(self, row: Row, plan: Plan, region: int, parent: str, now: int) -> None:
        found = plan.regions[region]
        inside = f"{parent}." if parent else ""
        self._close(now, _Closing(row.id, found.first, found.beyond, parent, inside))

    def _close(self, now: int, closing: _Closing) -> None:
        self.closings.append(closing)
        self.closed_at = max(self.closed_at, now)


def _owners(batch: Batch, winners: Iterable[op.Settle]) -> list[Key]:
    """Return the containers at which ends of segments may arrive."""
    found: dict[Key, None] = {}
    for each in winners:
        plan = batch.rules.plan_of(batch.rows[each.execution].version, batch.connection)
        segment = plan.segments[each.segment]
        if segment.region and (segment.ends or each.error is not None):
            owner = plan.owner_of(plan.regions[segment.region])
            found[(each.execution, owner, split_item(each.item)[0])] = None
    return list(found)


def _load_fans(batch: Batch, keys: Iterable[Key]) -> dict[Key, _Waiting]:
    """Read the rows of containers that wait for instances."""
    return {
        fields[:3]: _Waiting(Fan.from_text(fields[11]), *fields[3:11])
        for fields in batch.connection.batch(sql.FANS, list(keys))
        if fields[11] is not None
    }


def _load_joins(
    batch: Batch, of_execution: Mapping[str, list[op.Settle]]
) -> dict[str, dict[Address, Arrivals]]:
    """Read the joins that completions may touch, as they stand."""
    found: dict[str, dict[Address, Arrivals]] = {each: {} for each in of_execution}
    wanted: set[Key] = set()
    for execution, group in of_execution.items():
        plan = batch.rules.plan_of(batch.rows[execution].version, batch.connection)
        for each in group:
            if each.error is None:
                touched = joins_touched(plan, Completed(each.segment, each.item, each.taken))
                wanted.update((execution, *address) for address in touched)
    if wanted:
        for execution, segment, item, status, pending, taken in batch.connection.batch(
            sql.JOINS, sorted(wanted)
        ):
            found[execution][(segment, item)] = Arrivals(pending, taken, status != "blocked")
    return found


def _end_of(row: Row, each: op.Settle) -> str:
    """Return the state a segment ends in, given what its execution is doing."""
    if _is_stopping(row):
        return "cancelled"
    return "done" if each.error is None else "failed"


def _end_cancelled(batch: Batch, row: Row, now: int) -> None:
    """End an execution that was asked to stop once nothing of it runs any more."""
    if row.final or row.cancel_at is None or row.open > 0:
        return
    timed_out = row.cancel_reason == "timed_out"
    if timed_out:
        error = {
            "code": "execution.timed_out",
            "message": "The execution did not end within its own time limit.",
        }
        row.error = json.dumps(error)
    row.move(ExecutionStatus.TIMED_OUT if timed_out else ExecutionStatus.CANCELLED, now)
    batch.emit(row, 0, now, (f"execution.{row.status}", None, now, {}))


def _standing(held: Sequence[HeldT]) -> dict[Key, HeldT]:
    """Return what is asked for each segment once, by its latest holder.

    A process that slept through its lease may hold a segment twice, and ask for both in one batch: the fence is looked at
    by segment, so the older one must not come that far.
    """
    standing: dict[Key, HeldT] = {}
    for each in held:
        found = standing.get(_key(each))
        if found is None or found.epoch < each.epoch:
            standing[_key(each)] = each
    return standing


def _answers(asked: Sequence[HeldT], standing: Mapping[Key, HeldT], won: Container[Key]) -> list[bool]:
    """Return for each holder whether its own request was carried out."""
    return [_key(each) in won and standing[_key(each)] is each for each in asked]


def _rested(batch: Batch, winners: Sequence[op.Held]) -> None:
    """Journal and count segments that no longer move by themselves; cancel those of a cancelled execution."""
    _journal(batch, winners)
    stopped = []
    for each in winners:
        row = batch.rows[each.execution]
        row.count(-1, each.now)
        if _is_stopping(row):
            stopped.append(row.id)
            _end_cancelled(batch, row, each.now)
    if stopped:
        batch.connection.batch(sql.STOP_UNSTARTED, [(each,) for each in sorted(set(stopped))])


def _made_ready(
    batch: Batch, asked: Sequence[op.Wake | op.Resolve], won: Iterable[tuple[Any, ...]]
) -> list[list[op.Sendable]]:
    """Count segments that move again, and say so: once each, however many ask for the same execution."""
    now_of = {each.execution: each.now for each in asked}
    found: dict[str, list[op.Sendable]] = defaultdict(list)
    for execution, segment, item, queue in won:
        row, now = batch.rows[execution], now_of[execution]
        row.count(1, now)
        batch.emit(row, 0, now, ("segment.ready", segment, now, _on(item)))
        found[execution].append((segment, item, queue))
    return [found.pop(each.execution, []) for each in asked]


def _journal(batch: Batch, held: Sequence[op.Held]) -> None:
    """Write the entries, events and blobs of operations whose fence held."""
    rows: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for each in held:
        for entry in each.entries:
            item = each.item if entry.item is None else entry.item
            place = (each.execution, entry.node, item, entry.step)
            rows[place] = _journal_row(each.execution, item, each.epoch, entry)
        _keep(batch, each.blobs, each.now)
        batch.emit(batch.rows[each.execution], each.epoch, each.now, *each.events)
    if rows:
        batch.connection.insert(sql.WRITE_JOURNAL, list(rows.values()))


def _journal_row(execution: str, item: str, epoch: int, entry: op.Entry) -> tuple[Any, ...]:
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


def _keep(batch: Batch, blobs: Iterable[op.Blob], now: int) -> None:
    for each in blobs:
        batch.blobs[each.hash] = (each.text, now)


def _write_back(batch: Batch) -> None:
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


def _known(batch: Batch, starts: Iterable[op.Start]) -> dict[tuple[str, str | None], tuple[str, str | None]]:
    keys = sorted(
        {(each.project, each.idempotency_key) for each in starts if each.idempotency_key is not None}
    )
    if not keys:
        return {}
    return {(p, key): (name, digest) for p, key, name, digest in batch.connection.batch(sql.KNOWN_KEYS, keys)}


def _execution_row(each: op.Start) -> tuple[Any, ...]:
    parent = each.parent or (None, None, None)
    return (
        each.execution,
        each.project,
        each.workflow,
        each.version,
        "created",
        each.input.text,
        each.input.blob,
        each.trigger,
        each.idempotency_key,
        each.request_hash,
        each.principal,
        each.priority,
        *parent,
        each.base,
        1,
        1,
        each.now,
        each.deadline,
        each.reply_to,
    )


def _is_paused(batch: Batch, execution: str) -> bool:
    """Whether an execution is held: its ready segments have no `due` until it goes on."""
    row = batch.rows.get(execution)
    return row is not None and row.pause_at is not None


def _is_stopping(row: Row) -> bool:
    return row.final or row.cancel_at is not None


def _may_run(batch: Batch, execution: str) -> bool:
    row = batch.rows.get(execution)
    return row is not None and not row.final and row.cancel_at is None and row.pause_at is None


def _is_pure(batch: Batch, execution: str, segment: int) -> bool:
    return batch.rules.plan_of(batch.rows[execution].version, batch.connection).segments[segment].pure


def _key(each: op.Held | op.Claim | op.Resolve) -> Key:
    return (each.execution, each.segment, each.item)


def _fence(each: op.Held) -> tuple[Any, ...]:
    return (each.execution, each.segment, each.item, each.epoch, "ready" if each.pure else "running")


def _bits(taken: tuple[bool, ...]) -> str:
    """Return decided exits as text; `*` when all are taken, however many they are."""
    return "*" if all(taken) else "".join("1" if each else "0" for each in taken)


def _on(item: str, **more: object) -> dict[str, object]:
    return {"item": item, **more} if item else more
