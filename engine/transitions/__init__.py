"""THE PEN. Every change of an execution's state is one named transition here, and nothing else writes those rows.

A transition works on all operations of its kind in a batch at once, as a set-based statement guarded by state and by the
fence, and answers who won. Whoever lost gets None and must not go on. The caller holds a transaction; the rows of all
executions the batch touches are locked first, in the order of their ids, so two writers can neither interleave within
an execution nor wait for each other in a circle.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine import operations as op
from engine.states import ExecutionStatus
from engine.store import statements as sql
from engine.store.database import Connection
from engine.transitions.arriving import conclude, take_in
from engine.transitions.asking import cancel, pause, resolve
from engine.transitions.batch import Batch, Room, Row, Rules, write_back
from engine.transitions.calling import call, forsake, returned
from engine.transitions.deciding import decide
from engine.transitions.ending import settle, spread
from engine.transitions.holding import claim, doubt, record, release, renew, suspend
from engine.transitions.limiting import admit, pass_on
from engine.transitions.mapping import change_items
from engine.transitions.repairing import expire, lose, resend, wake
from engine.transitions.signalling import lock_topics, log, publish, rest, signal, withdraw_ended
from engine.transitions.starting import start
from engine.transitions.stopping import finish
from engine.transitions.withdrawing import withdraw

__all__ = [
    "Room",
    "Rules",
    "admit",
    "apply",
    "call",
    "cancel",
    "change_items",
    "claim",
    "decide",
    "doubt",
    "expire",
    "forsake",
    "lose",
    "pause",
    "publish",
    "record",
    "release",
    "renew",
    "resend",
    "resolve",
    "rest",
    "returned",
    "settle",
    "signal",
    "spread",
    "start",
    "suspend",
    "wake",
    "withdraw",
]


def apply(connection: Connection, operations: Sequence[op.Operation], rules: Rules) -> list[Any]:
    """Carry out operations inside the caller's transaction. Returns one answer for each, in their order."""
    listeners = lock_topics(connection, operations)
    published = log(connection, operations)
    intake = take_in(connection, operations, published)
    asked = [*operations, *intake.starts]
    ids = sorted(listeners | set(op.executions_of(asked)))
    rows = {}
    for fields in connection.batch(sql.LOCK_EXECUTIONS, [(each,) for each in ids]) if ids else ():
        id_, project, version, status, *rest = fields
        rows[id_] = Row(id_, project, version, ExecutionStatus(status), *rest)
    answers: list[Any] = [None] * len(asked)
    batch = Batch(connection, rules, rows, asked=asked, answers=answers, published=published)
    kinds: dict[type[Any], list[int]] = defaultdict(list)
    for index, each in enumerate(asked):
        kinds[type(each)].append(index)
    for kind, transition in _TRANSITIONS.items():
        if indexes := kinds.get(kind):
            chosen = [asked[index] for index in indexes]
            for index, answer in zip(indexes, transition(batch, chosen), strict=True):
                answers[index] = answer
    finish(batch)
    withdraw_ended(batch)
    pass_on(batch)
    started = zip(intake.starts, answers[len(operations) :], strict=True)
    for index, arrived in conclude(connection, intake, {each.execution: one for each, one in started}):
        published_ = answers[index]
        answers[index] = arrived if published_ is None else dataclasses.replace(published_, arrived=arrived)
    write_back(batch)
    return answers[: len(operations)]


_TRANSITIONS: Mapping[type[Any], Callable[[Batch, Any], Sequence[Any]]] = {
    op.Start: start,
    op.Cancel: cancel,
    op.Pause: pause,
    op.Resolve: resolve,
    op.Withdraw: withdraw,
    op.ChangeItems: change_items,
    op.Signal: signal,
    op.Decide: decide,
    op.Publish: publish,
    op.Record: record,
    op.Settle: settle,
    op.Spread: spread,
    op.Suspend: suspend,
    op.Call: call,
    op.Rest: rest,
    op.Doubt: doubt,
    op.Release: release,
    op.Renew: renew,
    op.Lose: lose,
    op.Wake: wake,
    op.Expire: expire,
    op.Return: returned,
    op.Forsake: forsake,
    op.Admit: admit,
    op.Resend: resend,
    op.Claim: claim,
}
"""In this order within a batch: what people ask, what holders say, what takes from holders."""
