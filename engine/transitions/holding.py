"""What the holder of a segment asks for while it has it: the claim, the journal, the lease, a rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from engine import operations as op
from engine.advance import Address
from engine.holds import QUEUE_TIMED_OUT
from engine.states import ExecutionStatus
from engine.store import statements as sql
from engine.transitions.batch import (
    STOPPED,
    Batch,
    Key,
    answers_of,
    fence,
    is_paused,
    journal,
    key_of,
    let_go,
    may_run,
    on_item,
    rested,
    standing_of,
)
from engine.transitions.limiting import let_in
from engine.transitions.passing import passed


def claim(batch: Batch, claims: list[op.Claim]) -> list[op.Claimed | None]:
    """Take ready segments of executions that run: ready -> running, the fence one higher."""
    wanted = {key_of(each): each for each in claims if may_run(batch, each.execution)}
    won: dict[Key, op.Claimed] = {}
    refused = let_in(batch, wanted)
    if wanted:
        rows = [(*key, each.owner, each.due) for key, each in wanted.items()]
        for fields in batch.connection.batch(sql.CLAIM, rows):
            won[fields[:3]] = op.Claimed(*fields[3:])
            if _is_late(won[fields[:3]], wanted[fields[:3]].now):
                refused.setdefault(fields[:3], QUEUE_TIMED_OUT)
    first = [key for key, claimed in won.items() if claimed.epoch == 1]
    for key in passed(batch, first, max((each.now for each in claims), default=0)):
        won[key] = replace(won[key], passed=True)
    for key in won.keys() & refused.keys():
        won[key] = replace(won[key], refused=refused[key])
    for key, claimed in won.items():
        row, each = batch.rows[key[0]], wanted[key]
        if row.status is ExecutionStatus.CREATED:
            row.move(ExecutionStatus.RUNNING, each.now)
        batch.emit(
            row,
            claimed.epoch,
            each.now,
            ("segment.claimed", key[1], each.now, on_item(key[2], owner=each.owner)),
        )
    return [won.get(key_of(each)) if wanted.get(key_of(each)) is each else None for each in claims]


def _is_late(claimed: op.Claimed, now: int) -> bool:
    """Whether nobody took the segment up in time. Once somebody has, its wait for a worker is over for good."""
    return claimed.epoch == 1 and claimed.expires is not None and claimed.expires <= now


def record(batch: Batch, records: list[op.Record]) -> list[op.Recorded]:
    """Journal what has happened so far; the segment stays where it is. What is to stop learns so here, before its next effect."""
    standing = standing_of(records)
    rows = [fence(each) for each in standing.values()]
    won = {fields[:3]: fields[3] for fields in batch.connection.batch(sql.FENCE, rows)}
    answers = [
        op.Recorded.LOST
        if key_of(each) not in won or standing[key_of(each)].epoch != each.epoch
        else op.Recorded.STOPPING
        if won[key_of(each)] or batch.rows[each.execution].final
        else op.Recorded.HELD
        for each in records
    ]
    journal(
        batch, [each for each, answer in zip(records, answers, strict=True) if answer is op.Recorded.HELD]
    )
    return answers


def suspend(batch: Batch, suspends: list[op.Suspend]) -> list[bool]:
    """Put segments to rest until a time: -> waiting, or -> backing_off between attempts."""
    standing = standing_of(suspends)
    rows = [
        (
            *fence(each),
            "backing_off" if each.backing_off else "waiting",
            each.due,
            each.head,
            each.tries,
            each.first_try_at,
            each.reason,
        )
        for each in standing.values()
    ]
    won = {fields[:3]: fields[3] for fields in batch.connection.batch(sql.SUSPEND, rows)}
    _rested(batch, standing, won)
    return answers_of(suspends, standing, won)


def doubt(batch: Batch, doubts: list[op.Doubt]) -> list[bool]:
    """Put segments aside whose effect nobody knows the fate of: running -> uncertain."""
    standing = standing_of(doubts)
    rows = [(*fence(each), each.head, each.reason) for each in standing.values()]
    won = {fields[:3]: fields[3] for fields in batch.connection.batch(sql.DOUBT, rows)}
    _rested(batch, standing, won)
    return answers_of(doubts, standing, won)


def release(batch: Batch, releases: list[op.Release]) -> list[bool]:
    """Hand claims back: running -> ready, at once. What was told to stop is over."""
    standing = standing_of(releases)
    rows = [(*fence(each), int(is_paused(batch, each.execution))) for each in standing.values()]
    won = {fields[:3]: fields[3] for fields in batch.connection.batch(sql.RELEASE, rows)}
    winners = [each for key, each in standing.items() if key in won]
    journal(batch, winners)
    for each in winners:
        row = batch.rows[each.execution]
        body = ("segment.released", each.segment, each.now, on_item(each.item))
        batch.emit(row, each.epoch, each.now, body)
        if won[key_of(each)] == STOPPED:
            row.count(-1, each.now)
            let_go(batch, row, each.segment, each.item)
    return answers_of(releases, standing, won)


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
        if stop == STOPPED:
            stopping[execution].add((segment, item))
    return [
        op.Renewed(
            frozenset(held[each.execution]),
            cancelling=(row := batch.rows.get(each.execution)) is None or row.final,
            pausing=row is not None and row.pause_at is not None,
            stopping=frozenset(stopping[each.execution]),
        )
        for each in renewals
    ]


def _rested(batch: Batch, standing: Mapping[Key, op.Held], won: Mapping[Key, str]) -> None:
    rested(batch, [each for key, each in standing.items() if key in won])
    for key, status in won.items():
        if status == "cancelled":
            let_go(batch, batch.rows[key[0]], *key[1:])
