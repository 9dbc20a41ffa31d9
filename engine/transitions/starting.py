"""How an execution comes to be."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from engine import operations as op
from engine.states import ExecutionStatus
from engine.store import statements as sql
from engine.store.holds import PARK_FIRST
from engine.transitions import forking
from engine.transitions.batch import Batch, Row, keep


def start(batch: Batch, starts: list[op.Start]) -> list[op.Started | None]:
    """Accept executions, each with its one root segment. A known idempotency key accepts nothing.

    Those with a limit are answered later, by `pass_on`. A fork waits for none.
    """
    limited = {
        each.execution: each
        for each in starts
        if each.fork is None and (each.concurrency is not None or each.rate is not None)
    }
    if not limited:
        return [*accept(batch, starts)]
    batch.limited_starts += limited.values()
    free = [each for each in starts if each.execution not in limited]
    answers = dict(zip((each.execution for each in free), accept(batch, free), strict=True))
    return [answers.get(each.execution) for each in starts]


def accept(
    batch: Batch, starts: Sequence[op.Start], resting: Mapping[str, int | None] | None = None
) -> list[op.Started]:
    """Accept executions, each with its one root segment, or where a fork begins.

    The first segments of those in `resting` wait until a time, or until a limit lets them in.
    """
    resting = resting or {}
    known = known_keys(batch, starts)
    new: dict[str, op.Start] = {}
    for each in starts:
        key = (each.project, each.idempotency_key)
        if (
            each.idempotency_key is None
            or known.setdefault(key, (each.execution, each.request_hash))[0] == each.execution
        ):
            new[each.execution] = each
    unkeyed = [_execution_row(each, resting) for each in new.values() if each.idempotency_key is None]
    by_key = sorted(new.values(), key=lambda each: (each.project, each.idempotency_key or ""))
    keyed = [_execution_row(each, resting) for each in by_key if each.idempotency_key is not None]
    if unkeyed:
        batch.connection.insert(sql.INSERT_EXECUTION, unkeyed)
    if keyed:
        won = {fields[0] for fields in batch.connection.batch(sql.INSERT_KEYED_EXECUTION, keyed)}
        if len(won) < len(keyed):
            known.update(known_keys(batch, starts))
            new = {name: each for name, each in new.items() if each.idempotency_key is None or name in won}
    segments, sent = [], set()
    forked = forking.take_over(batch, [each for each in new.values() if each.fork is not None])
    for each in new.values():
        if each.fork is not None:
            continue
        row = Row(
            each.execution, each.project, each.version, ExecutionStatus.CREATED, 1, 0, None, None, None, None
        )
        row.priority = each.priority
        status, due = "waiting", resting.get(each.execution)
        if each.execution not in resting:
            status = "ready"
            due, send = (
                (each.now + batch.rules.grace, True) if each.handed else batch.due(row, each.queue, each.now)
            )
            if send:
                sent.add(each.execution)
        segments.append((each.execution, 0, "", status, each.queue, 0, 1, 0, each.now, due, None, None))
        body = json.dumps([("execution.created", each.workflow, each.now, {"version": each.version})])
        batch.events.append((each.execution, each.project, 1, 1, 0, each.now, body))
        keep(batch, each.blobs, each.now)
    if segments:
        batch.connection.insert(sql.INSERT_SEGMENT, segments)
        batch.connection.batch(PARK_FIRST, [(name,) for name in resting if name in new])
    answers = []
    for each in starts:
        if each.execution in new:
            ready = forked.get(each.execution, ())
            answers.append(op.Started(each.execution, new=True, send=each.execution in sent, ready=ready))
        else:
            name, request_hash = known[(each.project, each.idempotency_key)]
            answers.append(op.Started(name, new=False, same=request_hash == each.request_hash))
    return answers


def known_keys(
    batch: Batch, starts: Iterable[op.Start]
) -> dict[tuple[str, str | None], tuple[str, str | None]]:
    """Return the executions that idempotency keys have started before, each with the hash of its request."""
    keys = sorted(
        {(each.project, each.idempotency_key) for each in starts if each.idempotency_key is not None}
    )
    if not keys:
        return {}
    return {(p, key): (name, digest) for p, key, name, digest in batch.connection.batch(sql.KNOWN_KEYS, keys)}


def _execution_row(each: op.Start, resting: Container[str]) -> tuple[Any, ...]:
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
        int(each.execution not in resting) if each.fork is None else forking.open_in(each.fork),
        1 if each.fork is None else len(each.fork.events),
        each.now,
        each.deadline,
        each.reply_to,
        each.depth,
        int(not each.awaited),
        each.variables,
    )
