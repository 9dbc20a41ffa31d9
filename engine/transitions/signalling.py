"""Waits that a signal ends: how they begin, and what ends them. The first signal a wait is given decides.

A signal is a row with the key of its wait. Whoever writes it has ended the wait, whether the segment rests, has not
come so far yet, or is between two of its rests; everything else here follows from that row, in the same transaction.

Who publishes an event looks for listeners, who begins to listen looks for events: neither may overlook the other, so
both take the lock of the topic first, before those of executions, and all topics in one order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine import operations as op
from engine.signals import DECISIONS, TIME
from engine.states import SEGMENT_FINAL
from engine.store import signals as sql
from engine.store.database import Connection
from engine.store.statements import AWAKE, REST
from engine.transitions.batch import (
    Batch,
    Key,
    Row,
    fence,
    keep,
    key_of,
    let_go,
    on_item,
    rested,
    standing_of,
)

Topic = tuple[str, str, str]
"""(project, type, correlation) of events."""


@dataclass(frozen=True, slots=True)
class Given:
    """A signal about to be written."""

    name: str
    source: str
    now: int
    payload: op.Payload = op.Payload()
    principal: str = ""
    event: str | None = None


def lock_topics(connection: Connection, operations: Sequence[op.Operation]) -> set[str]:
    """Take the locks of all topics a batch touches. Returns the executions that listen to what it publishes."""
    published = {_topic(each) for each in operations if isinstance(each, op.Publish)}
    heard = {
        (each.project, branch.event, branch.correlation)
        for each in operations
        if isinstance(each, op.Rest)
        for branch in each.subscriptions
        if branch.kind == "event"
    }
    if connection.dialect == "postgresql":
        alone = {_number(each) for each in published}
        for number in sorted(alone | {_number(each) for each in heard}):
            connection.run(sql.LOCK_TOPIC if number in alone else sql.SHARE_TOPIC, (number,))
    if not published:
        return set()
    return {row[3] for row in connection.batch(sql.LISTENERS, sorted(published))}


def log(connection: Connection, operations: Sequence[op.Operation]) -> set[str]:
    """Write events down for those who look back. Returns the ids of those that are new."""
    rows = [
        (
            each.id,
            each.project,
            each.type,
            each.correlation,
            each.source,
            each.key,
            each.data.text,
            each.data.blob,
            each.principal,
            each.now,
            each.expires_at,
        )
        for each in operations
        if isinstance(each, op.Publish)
    ]
    rows.sort(key=lambda row: (row[1], row[4], row[5] or "", row[0]))
    return {fields[0] for fields in connection.batch(sql.WRITE_EVENT_LOG, rows)}


def rest(batch: Batch, rests: list[op.Rest]) -> list[list[op.Sendable] | None]:
    """Put segments to rest until a signal: -> waiting. What has been signalled already is ready again at once."""
    standing = standing_of(rests)
    rows = [(*fence(each), each.due, each.head) for each in standing.values()]
    won = {fields[:3]: fields[3] for fields in batch.connection.batch(REST, rows)}
    winners = {key: each for key, each in standing.items() if key in won}
    rested(batch, list(winners.values()))
    for key in winners:
        if won[key] == "cancelled":
            let_go(batch, batch.rows[key[0]], *key[1:])
    alive = {key: each for key, each in winners.items() if won[key] == "waiting"}
    ended = _forestalled(batch, alive)
    listening = {key: each for key, each in alive.items() if key not in ended}
    _listen(batch, listening)
    sent = _awaken(batch, {key: alive[key].now for key in ended})
    sent |= _look_back(batch, listening)
    return [
        sent.get(key, []) if standing[key := key_of(each)] is each and key in won else None for each in rests
    ]


def signal(batch: Batch, signals: list[op.Signal]) -> list[op.Signalled]:
    """Give waits their signal, now or before they begin: waiting -> ready. The first one decides."""
    asked: dict[Key, op.Signal] = {}
    for each in signals:
        row = batch.rows.get(each.execution)
        if row is not None and not row.final:
            asked.setdefault((each.execution, each.segment, each.item), each)
    rows = [(*key, each.name, each.source) for key, each in asked.items()]
    given = {}
    for execution, segment, item, _, status, told, kind, begun in (
        batch.connection.batch(sql.STANDING, rows) if rows else ()
    ):
        unheard = kind is None and (bool(begun) or status == "waiting")
        over = told is not None or status in SEGMENT_FINAL or unheard
        if not over:
            each = asked[(execution, segment, item)]
            keep(batch, each.blobs, each.now)
            given[(execution, segment, item)] = Given(
                each.name, each.source, each.now, each.payload, each.principal
            )
    sent = deliver(batch, given)
    return [
        op.Signalled(won=True, ready=tuple(sent[key]))
        if (key := (each.execution, each.segment, each.item)) in sent and asked[key] is each
        else op.Signalled(won=False)
        for each in signals
    ]


def publish(batch: Batch, publishes: list[op.Publish]) -> list[op.Published]:
    """Log events and end the waits that listen to them: waiting -> ready. A known key publishes nothing.

    Within an execution an event goes to the wait that has listened longest, and to every transient one.
    """
    new = batch.published
    listeners: dict[Topic, list[tuple[Key, str, bool]]] = {}
    topics = sorted({_topic(each) for each in publishes if each.id in new})
    for *topic, execution, segment, item, name, transient in (
        batch.connection.batch(sql.LISTENERS, topics) if topics else ()
    ):
        row = batch.rows.get(execution)
        if row is not None and not row.final:
            listener = ((execution, segment, item), name, bool(transient))
            listeners.setdefault((topic[0], topic[1], topic[2]), []).append(listener)
    given: dict[Key, Given] = {}
    ended: dict[str, list[Key]] = {}
    for each in publishes:
        if each.id not in new:
            continue
        keep(batch, each.blobs, each.now)
        had: set[str] = set()
        for key, name, transient in listeners.get(_topic(each), ()):
            if key in given or (key[0] in had and not transient):
                continue
            if not transient:
                had.add(key[0])
            event = None if transient else each.id
            given[key] = Given(name, "event", each.now, each.data, each.principal, event)
            ended.setdefault(each.id, []).append(key)
    sent = deliver(batch, given)
    known = _known(batch, [each for each in publishes if each.id not in new])
    answers = []
    for each in publishes:
        if each.id in new:
            keys = [key for key in ended.get(each.id, ()) if key in sent]
            ready = tuple((key[0], one) for key in keys for one in sent[key])
            answers.append(op.Published(each.id, new=True, woken=len(keys), ready=ready))
        else:
            answers.append(op.Published(known[(each.project, each.source, each.key)], new=False))
    return answers


def time_is_up(batch: Batch, woken: Iterable[Key], now_of: Mapping[str, int]) -> None:
    """Give waits whose time has come the signal of the time, unless another one was quicker."""
    keys = [key for key in woken if listens(batch, batch.rows[key[0]], key[1])]
    found = batch.connection.batch(sql.TIMES, keys) if keys else ()
    _write(batch, {fields[:3]: Given(fields[3], TIME, now_of[fields[0]]) for fields in found})


def withdraw(batch: Batch, stopped: Iterable[Key], now: int) -> None:
    """Let nothing be given any more to segments that were stopped."""
    keys = [key for key in stopped if listens(batch, batch.rows[key[0]], key[1])]
    if keys:
        batch.connection.batch(sql.DROP_SUBSCRIPTIONS, keys)
        batch.connection.batch(sql.CLOSE_APPROVALS, [(*key, "withdrawn", now) for key in keys])


def withdraw_ended(batch: Batch) -> None:
    """The same for executions that have ended."""
    ended = [
        (row.id, row.finished_at)
        for row in batch.rows.values()
        if row.finished_at is not None and batch.rules.plan_of(row.version, batch.connection).listening
    ]
    if ended:
        batch.connection.batch(sql.DROP_ALL_SUBSCRIPTIONS, [each[:1] for each in ended])
        batch.connection.batch(sql.WITHDRAW_APPROVALS, ended)


def listens(batch: Batch, row: Row, segment: int) -> bool:
    """Whether a segment may rest until a signal comes."""
    return segment in batch.rules.plan_of(row.version, batch.connection).listening


def _forestalled(batch: Batch, rests: Mapping[Key, op.Rest]) -> set[Key]:
    """Return waits whose signal is there already. An early one of a branch that they do not have was meant for no one."""
    found = batch.connection.batch(sql.SIGNALS, list(rests)) if rests else ()
    given = {fields[:3]: fields[3:5] for fields in found}
    ended = {
        key
        for key, branch in given.items()
        if rests[key].again or branch in {(each.name, each.kind) for each in rests[key].subscriptions}
    }
    if stray := [key for key in given if key not in ended]:
        batch.connection.batch(sql.DROP_SIGNALS, stray)
    return ended


def _listen(batch: Batch, rests: Mapping[Key, op.Rest]) -> None:
    """Write down what waits listen for, in the place of what they listened for before."""
    if not rests:
        return
    batch.connection.batch(sql.DROP_SUBSCRIPTIONS, list(rests))
    rows = [
        (
            *key,
            branch.name,
            batch.rows[key[0]].project,
            branch.kind,
            branch.event,
            branch.correlation,
            int(branch.transient),
            each.now,
        )
        for key, each in rests.items()
        for branch in each.subscriptions
    ]
    if rows:
        batch.connection.insert(sql.WRITE_SUBSCRIPTIONS, rows)
    asked = [(key, each, each.approval) for key, each in rests.items() if each.approval is not None]
    if asked:
        approvals = [_approval_row(batch, key, each, approval) for key, each, approval in asked]
        batch.connection.insert(sql.WRITE_APPROVALS, approvals)


def _approval_row(batch: Batch, key: Key, each: op.Rest, asked: op.Approval) -> tuple[object, ...]:
    return (
        asked.id,
        batch.rows[key[0]].project,
        *key,
        asked.node,
        asked.title,
        asked.body.text,
        asked.body.blob,
        asked.shown_hash,
        asked.approvers,
        asked.quorum,
        asked.rule,
        int(asked.four_eyes),
        asked.reminded,
        int(asked.escalated),
        "open",
        asked.due,
        each.now,
    )


def _look_back(batch: Batch, rests: Mapping[Key, op.Rest]) -> dict[Key, list[op.Sendable]]:
    """Give waits what was published before, if they may look back: each event to one wait of an execution."""
    branches = [
        (key, branch)
        for key, each in rests.items()
        for branch in each.subscriptions
        if branch.kind == "event" and not branch.transient
    ]
    sent: dict[Key, list[op.Sendable]] = {}
    while branches:
        rows = [
            (
                number,
                rests[key].project,
                branch.event,
                branch.correlation,
                branch.since,
                rests[key].now,
                key[0],
            )
            for number, (key, branch) in enumerate(branches)
        ]
        found = {number: event for number, event in batch.connection.batch(sql.LOOK_BACK, rows) if event}
        names = sorted({(each,) for each in found.values()})
        events = {row[0]: row[1:] for row in batch.connection.batch(sql.EVENTS, names)} if names else {}
        given: dict[Key, Given] = {}
        had: set[tuple[str, str]] = set()
        for number, event in sorted(found.items(), key=lambda each: (events[each[1]][3], each)):
            key, branch = branches[number]
            if key not in given and (key[0], event) not in had:
                had.add((key[0], event))
                data, blob, principal, at = events[event]
                payload, heard = op.Payload(data, blob), max(rests[key].now, at)
                given[key] = Given(branch.name, "event", heard, payload, principal, event)
        sent |= deliver(batch, given)
        branches = [branches[number] for number in found if branches[number][0] not in given]
    return sent


def deliver(batch: Batch, given: Mapping[Key, Given]) -> dict[Key, list[op.Sendable]]:
    """Write signals and wake what rests for them. Returns what is to be sent, for each wait that had none before."""
    return _awaken(batch, {key: given[key].now for key in _write(batch, given)})


def _write(batch: Batch, given: Mapping[Key, Given]) -> list[Key]:
    """Write signals. Returns the waits that had none before; nothing else is listened for there any more."""
    if not given:
        return []
    rows = [
        (
            *key,
            batch.rows[key[0]].project,
            each.name,
            each.source,
            each.payload.text,
            each.payload.blob,
            each.principal,
            each.event,
            each.now,
        )
        for key, each in sorted(given.items())
    ]
    won = sorted(fields[:3] for fields in batch.connection.batch(sql.WRITE_SIGNALS, rows))
    if not won:
        return []
    batch.connection.batch(sql.DROP_SUBSCRIPTIONS, won)
    ends = [(*key, _end_of(given[key]), given[key].now) for key in won]
    batch.connection.batch(sql.CLOSE_APPROVALS, ends)
    for key in won:
        each = given[key]
        more = {"name": each.name, "source": each.source, "by": each.principal, "event": each.event}
        body = on_item(key[2], **{name: value for name, value in more.items() if value})
        batch.emit(batch.rows[key[0]], 0, each.now, ("segment.signalled", key[1], each.now, body))
    return won


def _awaken(batch: Batch, now_of: Mapping[Key, int]) -> dict[Key, list[op.Sendable]]:
    """Make what rests ready again. Returns what is to be sent, for each: nothing for what does not rest, or is held."""
    sent: dict[Key, list[op.Sendable]] = {key: [] for key in now_of}
    rows, sendable = [], {}
    for key, now in now_of.items():
        row = batch.rows[key[0]]
        plan = batch.rules.plan_of(row.version, batch.connection)
        queue = plan.segments[key[1]].queue
        due, send = batch.due(row, queue, now)
        rows.append((*key, now, due))
        if send:
            sendable[key] = (key[1], key[2], queue)
    for fields in batch.connection.batch(AWAKE, rows) if rows else ():
        key = fields[:3]
        row, now = batch.rows[key[0]], now_of[key]
        row.count(1, now)
        batch.emit(row, 0, now, ("segment.ready", key[1], now, on_item(key[2])))
        if key in sendable:
            sent[key].append(sendable[key])
    return sent


def _known(batch: Batch, publishes: Iterable[op.Publish]) -> dict[tuple[str, str, str | None], str]:
    keys = sorted({(each.project, each.source, each.key or "") for each in publishes})
    return (
        {fields[:3]: fields[3] for fields in batch.connection.batch(sql.KNOWN_EVENTS, keys)} if keys else {}
    )


def _end_of(given: Given) -> str:
    """Return how an approval has ended with a signal: as people or their author said, or otherwise."""
    if given.name in DECISIONS:
        return given.name
    return "timed_out" if given.source == TIME else "withdrawn"


def _topic(each: op.Publish) -> Topic:
    return (each.project, each.type, each.correlation)


def _number(topic: Topic) -> int:
    """Return the number under which a topic is locked."""
    return int.from_bytes(hashlib.sha256("\x1f".join(topic).encode()).digest()[:8], "big", signed=True)
