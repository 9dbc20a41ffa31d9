"""Milestones: what does not begin any more once another node has ended.

Whoever comes first decides, and both come under the execution's lock: the claim with which something begins, and the end after
which it may not. What waits at that time, and has not begun otherwise, is taken from whoever has it, as a person would do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from engine import operations as op
from engine.store import statements as sql
from engine.transitions.batch import Batch, Key, journal_row, key_of, on_item
from engine.transitions.withdrawing import withdraw

_REASON = "What it was enabled with has ended."


def passed(batch: Batch, claimed: Collection[Key], now: int) -> set[Key]:
    """Return those of the claims, each the first of its segment, whose milestone has passed; their nodes are skipped."""
    asked: dict[Key, list[Key]] = defaultdict(list)
    for execution, number, item in claimed:
        plan = batch.rules.plan_of(batch.rows[execution].version, batch.connection)
        milestone = plan.segments[number].milestone
        if milestone is not None:
            asked[(execution, milestone, item)].append((execution, number, item))
    ended = [fields[:3] for fields in batch.connection.batch(sql.EXITS, sorted(asked))] if asked else ()
    found = {key for each in _not_skipped(batch, ended) for key in asked[each]}
    entries = []
    for execution, number, item in sorted(found):
        row = batch.rows[execution]
        node = batch.rules.plan_of(row.version, batch.connection).segments[number].nodes[0]
        entry = op.Entry(node.id, "skipped", str(node.effect), started_at=now, ended_at=now)
        entries.append(journal_row(execution, item, 1, entry))
        batch.emit(row, 1, now, ("node.skipped", node.id, now, on_item(item, by="", reason=_REASON)))
    if entries:
        batch.connection.insert(sql.WRITE_JOURNAL, entries)
    return found


def pass_by(batch: Batch, ended: Iterable[op.Settle]) -> dict[Key, list[op.Sendable]]:
    """Skip what waits for nothing any more after these ends. Returns by the end what is to be sent because of it."""
    bound: dict[Key, tuple[op.Settle, tuple[int, ...]]] = {}
    for each in ended:
        plan = batch.rules.plan_of(batch.rows[each.execution].version, batch.connection)
        if numbers := plan.bound.get(each.segment, ()):
            bound[key_of(each)] = each, numbers
    asked: dict[Key, op.Settle] = {}
    for key in _not_skipped(batch, bound):
        each, numbers = bound[key]
        asked |= {(each.execution, number, each.item): each for number in numbers}
    if not asked:
        return {}
    skips: list[tuple[Key, op.Withdraw]] = []
    for execution, number, item, status, epoch, _, _, fan, child in batch.connection.batch(
        sql.STANDING, sorted(asked)
    ):
        key = (execution, number, item)
        waits = status == "waiting" and fan is None and child is None
        if waits or (status == "ready" and epoch == 0):
            plan = batch.rules.plan_of(batch.rows[execution].version, batch.connection)
            node, now = plan.segments[number].nodes[0].id, asked[key].now
            skips.append((key, op.Withdraw(*key, node, now, reason=_REASON)))
    found: dict[Key, list[op.Sendable]] = defaultdict(list)
    moved = []
    for (key, _), ready in zip(skips, withdraw(batch, [each for _, each in skips]), strict=True):
        if isinstance(ready, list):
            queue = batch.rules.plan_of(batch.rows[key[0]].version, batch.connection).root.queue
            moved.append((*key, queue))
            found[key_of(asked[key])] += [(segment, item, queue) for segment, item, _ in ready]
    if moved:  # nothing of it is called any more, so whoever has begun the execution can end it
        batch.connection.batch(sql.REQUEUE, moved)
    return found


def _not_skipped(batch: Batch, ended: Collection[Key]) -> list[Key]:
    """Return those milestones whose node has come to an end itself, and was not skipped, by a person or another milestone."""
    nodes: dict[tuple[str, str, str], Key] = {}
    for execution, number, item in sorted(ended):
        plan = batch.rules.plan_of(batch.rows[execution].version, batch.connection)
        nodes[(execution, plan.segments[number].nodes[-1].id, item)] = (execution, number, item)
    skipped = batch.connection.batch(sql.SKIPPED, list(nodes)) if nodes else ()
    return [key for place, key in nodes.items() if place not in {tuple(each) for each in skipped}]
