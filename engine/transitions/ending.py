"""How a segment ends, or opens others and rests: the transitions that other segments follow from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from engine import operations as op
from engine.advance import Address, Arrivals, Completed, joins_touched
from engine.failpoints import failpoint
from engine.fans import Fan
from engine.fans import Row as Opened
from engine.plan import item_in, split_item
from engine.store import statements as sql
from engine.transitions.batch import (
    STOPPED,
    Batch,
    Key,
    fence,
    is_stopping,
    journal,
    key_of,
    let_go,
    on_item,
    rested,
    standing_of,
)
from engine.transitions.passing import pass_by
from engine.transitions.wave import Wave, load_fans


def settle(batch: Batch, settles: list[op.Settle]) -> list[op.Settled | None]:
    """End segments, count their arrivals at joins and containers, start what became ready, end instances and executions."""
    standing = standing_of(settles)
    rows = [
        (*fence(each), "done" if each.error is None else "failed", bits(each.taken))
        for each in standing.values()
    ]
    won = {fields[:3]: fields[3] for fields in batch.connection.batch(sql.SETTLE, rows)}
    winners = [each for key, each in standing.items() if key in won]
    failpoint("settle.fenced")
    journal(batch, winners)
    of_execution: dict[str, list[op.Settle]] = defaultdict(list)
    for each in winners:
        of_execution[each.execution].append(each)
    owners = _owners(batch, winners)
    joins, several = _load_joins(batch, of_execution, owners)
    wave = Wave(batch, joins, load_fans(batch, dict.fromkeys([*owners, *several])))
    answered = _answer(batch, [each for each in winners if not won[key_of(each)]])
    answers: dict[Key, op.Settled] = {}
    for execution, group in of_execution.items():
        # A map before the items that it does not wait for: what is left of them is counted where it ends.
        for each in sorted(group, key=lambda each: key_of(each) not in wave.fans):
            key = key_of(each)
            answers[key] = wave.settle(batch.rows[execution], each, stopped=bool(won[key]))
            if key in answered:
                answers[key] = replace(answers[key], answered=True, reply_to=batch.rows[execution].reply_to)
    wave.write()
    going = [each for each in winners if not batch.rows[each.execution].final and not won[key_of(each)]]
    for key, sendable in pass_by(batch, going).items():
        answers[key] = replace(answers[key], ready=(*answers[key].ready, *sendable))
    return [
        wave.without_closed(each, answer)
        if standing[key := key_of(each)] is each and (answer := answers.get(key)) is not None
        else None
        for each in settles
    ]


def spread(batch: Batch, spreads: list[op.Spread]) -> list[op.Settled | None]:
    """Open the instances of a region and let their container rest: -> waiting. What came meanwhile is looked at again."""
    standing = standing_of(spreads)
    there = load_fans(batch, [key for key, each in standing.items() if each.fan is None])
    fans: dict[Key, tuple[Fan, list[Opened]]] = {}
    for key, each in standing.items():
        if each.fan is not None:
            fan = Fan.from_text(each.fan)
            fans[key] = fan, list(fan.open())
        elif key in there:
            fans[key] = there[key].fan, []
    rows = [
        (*fence(each), each.due, each.head, fans[key][0].to_text())
        for key, each in standing.items()
        if key in fans
    ]
    won = {fields[:3]: fields[3] for fields in batch.connection.batch(sql.SPREAD, rows)}
    winners = [each for key, each in standing.items() if key in won]
    stopped = [each for each in winners if won[key_of(each)] == STOPPED]
    rested(batch, [_unopened(each) for each in stopped])
    for each in stopped:
        let_go(batch, batch.rows[each.execution], each.segment, each.item)
    going = [each for each in winners if each not in stopped]
    journal(batch, going)
    over = [key_of(each) for each in going if each.fan is not None and not fans[key_of(each)][1]]
    wave = Wave(batch, {}, there | load_fans(batch, over))
    answers = {key_of(each): op.Settled() for each in stopped}
    for each in going:
        fan, opened = fans[key_of(each)]
        answers[key_of(each)] = wave.spread(batch.rows[each.execution], each, fan, opened)
    wave.write()
    return [answers.get(key_of(each)) if standing[key_of(each)] is each else None for each in spreads]


def _unopened(each: op.Spread) -> op.Spread:
    """Return a spread that came to nothing, since its container had been stopped: the history does not say that it began."""
    return replace(each, events=tuple(event for event in each.events if event[0] != "node.opened"))


def _answer(batch: Batch, settles: Iterable[op.Settle]) -> set[Key]:
    """Keep what segments answer. Returns those whose answer is the first of an execution that is not to stop.

    An execution has one answer for ever: a later one is told in its history, and changes nothing.
    """
    given: dict[str, op.Settle] = {}
    later: list[op.Settle] = []
    for each in settles:
        if each.answer is None or is_stopping(batch.rows[each.execution]):
            continue
        if given.setdefault(each.execution, each) is not each:
            later.append(each)
    if not given:
        return set()
    rows = [
        (name, each.now, each.answer.text, each.answer.blob) for name, each in given.items() if each.answer
    ]
    first = {name for (name,) in batch.connection.batch(sql.ANSWER, rows)}
    for each in (*given.values(), *later):
        counts = each.execution in first and each not in later
        node = batch.rules.plan_of(batch.rows[each.execution].version, batch.connection).segments[
            each.segment
        ]
        told = ("node.responded", node.nodes[-1].id, each.now, on_item(each.item, counts=counts))
        batch.emit(batch.rows[each.execution], each.epoch, each.now, told)
    return {key_of(given[name]) for name in first}


def _owners(batch: Batch, winners: Iterable[op.Settle]) -> list[Key]:
    """Return the containers at which ends of segments may arrive, and those that may end before their instances do."""
    found: dict[Key, None] = {}
    for each in winners:
        plan = batch.rules.plan_of(batch.rows[each.execution].version, batch.connection)
        segment = plan.segments[each.segment]
        number = segment.region if each.leave is None else each.leave
        if number and (segment.ends or each.error is not None or each.leave is not None):
            region = plan.regions[number]
            parent = split_item(item_in(each.item, region.depth))[0]
            found[(each.execution, plan.owner_of(region), parent)] = None
        if segment.rest is not None or each.stops:
            found[key_of(each)] = None
    return list(found)


def _load_joins(
    batch: Batch, of_execution: Mapping[str, list[op.Settle]], owners: Iterable[Key]
) -> tuple[dict[str, dict[Address, Arrivals]], list[Key]]:
    """Read the joins that completions may touch, as they stand. Returns also which of them have an instance for each edge."""
    found: dict[str, dict[Address, Arrivals]] = {each: {} for each in of_execution}
    wanted: set[Key] = set()
    for execution, group in of_execution.items():
        plan = batch.rules.plan_of(batch.rows[execution].version, batch.connection)
        for each in group:
            if each.error is None:
                touched = joins_touched(plan, Completed(each.segment, each.item, each.taken))
                wanted.update((execution, *address) for address in touched)
    for execution, number, item in owners:
        plan = batch.rules.plan_of(batch.rows[execution].version, batch.connection)
        late = plan.segments[number].rest
        if late is not None:
            touched = joins_touched(plan, Completed(number, item, late))
            wanted.update((execution, *address) for address in touched)
    several: list[Key] = []
    for execution, number, item in sorted(wanted):
        plan = batch.rules.plan_of(batch.rows[execution].version, batch.connection)
        if plan.segments[number].join.mode == "each":
            several.append((execution, number, item))
    if wanted:
        for execution, segment, item, status, pending, taken in batch.connection.batch(
            sql.JOINS, sorted(wanted)
        ):
            found[execution][(segment, item)] = Arrivals(pending, taken, status != "blocked")
    return found, several


def bits(taken: tuple[bool, ...]) -> str:
    """Return decided exits as text; `*` when all are taken, however many they are."""
    return "*" if all(taken) else "".join("1" if each else "0" for each in taken)
