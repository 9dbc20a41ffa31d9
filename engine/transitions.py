"""THE PEN. Every change of an execution's state is one named transition here, and nothing else writes those rows.

A transition works on all operations of its kind in a batch at once, as a set-based statement guarded by state and by the
fence, and answers who won. Whoever lost gets None and must not go on. The caller holds a transaction; the rows of all
executions the batch touches are locked first, in the order of their ids, so two writers can neither interleave within
an execution nor wait for each other in a circle.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from engine import operations as op
from engine.advance import Address, Arrivals, Completed, advance, joins_touched
from engine.failpoints import failpoint
from engine.plan import Plan
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
        segments.append((each.execution, 0, "", "ready", each.queue, 0, 1, 0, each.now, due, None))
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
    won = {fields[:3] for fields in batch.connection.batch(sql.FENCE, rows)}
    answers = [
        op.Recorded.LOST
        if _key(each) not in won or standing[_key(each)].epoch != each.epoch
        else op.Recorded.STOPPING
        if _is_stopping(batch.rows[each.execution])
        else op.Recorded.HELD
        for each in records
    ]
    _journal(
        batch, [each for each, answer in zip(records, answers, strict=True) if answer is op.Recorded.HELD]
    )
    return answers


def settle(batch: Batch, settles: list[op.Settle]) -> list[op.Settled | None]:
    """End segments, count their arrivals at joins, start what became ready, end executions."""
    standing = _standing(settles)
    ends = {key: _end_of(batch.rows[each.execution], each) for key, each in standing.items()}
    rows = [(*_fence(each), ends[key], _bits(each.taken)) for key, each in standing.items()]
    won = {fields[:3] for fields in batch.connection.batch(sql.SETTLE, rows)}
    winners = [each for key, each in standing.items() if key in won]
    failpoint("settle.fenced")
    _journal(batch, winners)
    of_execution: dict[str, list[op.Settle]] = defaultdict(list)
    for each in winners:
        of_execution[each.execution].append(each)
    joins = _load_joins(batch, of_execution)
    answers: dict[Key, op.Settled] = {}
    births = _Births()
    stopped: list[str] = []
    for execution, group in of_execution.items():
        _settle_execution(batch, batch.rows[execution], group, joins, births, answers, stopped)
    births.write(batch.connection)
    if stopped:
        batch.connection.batch(sql.STOP_UNSTARTED, [(each,) for each in stopped])
    return [answers.get(_key(each)) if standing[_key(each)] is each else None for each in settles]


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
    won = {fields[:3] for fields in batch.connection.batch(sql.RELEASE, rows)}
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
    for execution, segment, item in batch.connection.batch(sql.RENEW, rows):
        held[execution].add((segment, item))
    return [
        op.Renewed(
            frozenset(held[each.execution]),
            cancelling=(row := batch.rows.get(each.execution)) is None
            or row.cancel_at is not None
            or row.final,
            pausing=row is not None and row.pause_at is not None,
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
class _Births:
    """Segment rows that completions bring into being or change, keyed so that none is written twice."""

    segments: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    counts: dict[Key, tuple[Any, ...]] = field(default_factory=dict)

    def write(self, connection: Connection) -> None:
        """Write all of them in two statements."""
        if self.segments:
            connection.insert(sql.INSERT_SEGMENT, list(self.segments.values()))
        if self.counts:
            connection.batch(sql.COUNT_JOINS, list(self.counts.values()))


def _settle_execution(
    batch: Batch,
    row: Row,
    group: list[op.Settle],
    joins: Mapping[str, dict[Address, Arrivals]],
    births: _Births,
    answers: dict[Key, op.Settled],
    stopped: list[str],
) -> None:
    for each in group:
        if row.status is ExecutionStatus.CREATED:
            row.move(ExecutionStatus.RUNNING, each.now)
        if _is_stopping(row):
            row.count(-1, each.now)
            _end_cancelled(batch, row, each.now)
            answers[_key(each)] = op.Settled(finished=str(row.status), reply_to=row.reply_to)
        elif each.error is not None:
            row.open -= 1
            row.error = each.error
            row.move(ExecutionStatus.FAILED, each.now)
            batch.emit(
                row, each.epoch, each.now, ("execution.failed", None, each.now, json.loads(each.error))
            )
            stopped.append(row.id)
            answers[_key(each)] = op.Settled(finished=str(row.status), reply_to=row.reply_to)
        else:
            plan = batch.rules.plan_of(row.version, batch.connection)
            if plan.segments[each.segment].last:
                row.open -= 1
                row.output = each.output
                row.move(ExecutionStatus.SUCCEEDED, each.now)
                batch.emit(row, each.epoch, each.now, ("execution.succeeded", None, each.now, {}))
                answers[_key(each)] = op.Settled(finished=str(row.status), reply_to=row.reply_to)
            else:
                answers[_key(each)] = _follow(batch, row, plan, each, joins[row.id], births)


def _follow(
    batch: Batch, row: Row, plan: Plan, each: op.Settle, joins: dict[Address, Arrivals], births: _Births
) -> op.Settled:
    """Carry out what `advance` decides for one completion."""
    decision = advance(plan, joins, [Completed(each.segment, each.item, each.taken)])
    joins.update(decision.joins)
    ready: list[op.Sendable] = []
    successors: list[tuple[int, str, op.Claimed]] = []
    claims = 0
    for address in decision.ready:
        segment, item = address
        queue, pure = plan.segments[segment].queue, plan.segments[segment].pure
        arrivals = decision.joins.get(address, Arrivals(0, 1))
        key = (row.id, segment, item)
        status, epoch, owner = "ready", 0, None
        near = queue == plan.segments[each.segment].queue and row.pause_at is None
        if near and len(successors) < each.inline and (pure or not claims):
            due: int | None = each.now + batch.rules.grace
            if not pure:
                claims, due, status, epoch, owner = 1, each.now + each.lease, "running", 1, each.owner
                claimed = ("segment.claimed", segment, each.now, _on(item, owner=each.owner))
                batch.emit(row, 1, each.now, claimed)
            successors.append((segment, item, op.Claimed(epoch, 0, 0, 0, each.now, None)))
        else:
            due, send = batch.due(row, queue, each.now)
            if send:
                ready.append((segment, item, queue))
        births.counts.pop(key, None)
        births.segments[key] = (
            *key,
            status,
            queue,
            arrivals.pending,
            arrivals.taken,
            epoch,
            each.now,
            due,
            owner,
        )
    for address, arrivals in decision.joins.items():
        key = (row.id, *address)
        if address in decision.ready:
            continue
        if address in decision.skipped or not arrivals.decided:
            status = "skipped" if arrivals.decided else "blocked"
            queue = plan.segments[address[0]].queue
            births.segments[key] = (
                *key,
                status,
                queue,
                arrivals.pending,
                arrivals.taken,
                0,
                each.now,
                None,
                None,
            )
        elif key in births.segments:
            births.segments[key] = (
                *births.segments[key][:5],
                arrivals.pending,
                arrivals.taken,
                *births.segments[key][7:],
            )
        else:
            births.counts[key] = (*key, arrivals.pending, arrivals.taken)
    row.count(len(decision.ready) - 1, each.now)
    return op.Settled(ready=tuple(ready), successors=tuple(successors))


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


def _answers(asked: Sequence[HeldT], standing: Mapping[Key, HeldT], won: set[Key]) -> list[bool]:
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
            place = (each.execution, entry.node, each.item, entry.step)
            rows[place] = _journal_row(each.execution, each.item, each.epoch, entry)
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
