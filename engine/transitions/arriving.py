"""How what arrives at a trigger starts something: once, in the transaction that writes down that it has come.

Before anything else of a batch, schedules are moved on and arrivals written; those that are new bring their starts into the
batch, where they are starts like any other, limits included. In the end it is written down what became of them. The
arrivals of an event are new with it.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from engine import operations as op
from engine.store import arrivals as sql
from engine.store.database import Connection

Place = tuple[str, str]
"""(source, key) of an arrival."""


@dataclass(slots=True)
class Intake:
    """What has been taken in: `asked` by place in the batch, and None where a schedule was not to be moved on."""

    asked: dict[int, tuple[op.Arrival, ...] | None] = field(default_factory=dict)
    new: dict[Place, op.Arrival] = field(default_factory=dict)

    @property
    def starts(self) -> list[op.Start]:
        """All that is to be started."""
        return [start for each in self.new.values() for start in each.starts]

    @property
    def arrivals(self) -> Iterator[op.Arrival]:
        """All that has arrived, new or not."""
        return (arrival for each in self.asked.values() for arrival in each or ())


def take_in(connection: Connection, operations: Sequence[op.Operation], published: Container[str]) -> Intake:
    """Move schedules on, and write down what has not arrived before."""
    intake = Intake()
    _postpone(connection, operations, published)
    moved = _move(connection, operations)
    for index, each in enumerate(operations):
        if isinstance(each, op.Arrive):
            going = each.move is None or moved.get(each.move.schedule) is each.move
            intake.asked[index] = each.arrivals if going else None
        elif isinstance(each, op.Publish) and each.arrivals and each.id in published:
            intake.asked[index] = each.arrivals
    arrived: dict[Place, op.Arrival] = {}
    for arrival in intake.arrivals:
        arrived.setdefault((arrival.source, arrival.key), arrival)
    rows = [_row(arrived[place]) for place in sorted(arrived)]
    intake.new = {(source, key): arrived[source, key] for source, key in connection.batch(sql.TAKE_IN, rows)}
    return intake


def conclude(
    connection: Connection, intake: Intake, started: Mapping[str, op.Started]
) -> list[tuple[int, tuple[op.Arrived, ...] | None]]:
    """Write down what became of the starts. Returns an answer for each that was asked, by its place in the batch."""
    if not intake.asked:
        return []
    found = {place: _arrived(each, started) for place, each in intake.new.items()}
    changed = [
        (*place, each.status, each.execution, each.detail)
        for place, each in sorted(found.items())
        if each.status != intake.new[place].status
    ]
    connection.batch(sql.CONCLUDE, changed)
    missing = {(arrival.source, arrival.key) for arrival in intake.arrivals} - found.keys()
    known = {
        (source, key): op.Arrived(new=False, status=status, execution=execution, detail=detail)
        for source, key, status, execution, detail in connection.batch(sql.KNOWN_ARRIVALS, sorted(missing))
    }

    def answer(arrival: op.Arrival) -> op.Arrived:
        place = (arrival.source, arrival.key)
        if intake.new.get(place) is arrival:
            return found[place]
        return _again(found.get(place) or known[place])

    return [
        (index, None if each is None else tuple(map(answer, each))) for index, each in intake.asked.items()
    ]


def _move(connection: Connection, operations: Sequence[op.Operation]) -> dict[str, op.Move]:
    """Take schedules on to their next slots. Returns what was done: of several that ask for the same, the first."""
    moves: dict[str, op.Move] = {}
    for each in operations:
        if isinstance(each, op.Arrive) and each.move is not None:
            moves.setdefault(each.move.schedule, each.move)
    found = connection.batch(sql.LOCK_SCHEDULES, [(name,) for name in sorted(moves)])
    going = [moves[name] for name, epoch in found if moves[name].epoch == epoch]
    connection.batch(sql.MOVE_SCHEDULES, [(each.schedule, each.slot, each.due, each.last) for each in going])
    return {each.schedule: each for each in going}


def _postpone(connection: Connection, operations: Sequence[op.Operation], published: Container[str]) -> None:
    """Let schedules wait on that the absence of an event would start something by. Whoever locks several does so in order."""
    until: dict[str, int] = {}
    for each in operations:
        if isinstance(each, op.Publish) and each.id in published:
            for name, due in each.postponed:
                until[name] = max(due, until.get(name, 0))
    if until:
        connection.batch(sql.HOLD_SCHEDULES, [(name,) for name in sorted(until)])
        connection.batch(sql.POSTPONE, sorted(until.items()))


def _arrived(each: op.Arrival, started: Mapping[str, op.Started]) -> op.Arrived:
    """Return what became of one that is new: of several starts it is enough that one was accepted."""
    if not each.starts:
        return op.Arrived(new=True, status=each.status, detail=each.detail)
    answers = tuple(started[start.execution] for start in each.starts)
    accepted = [answer for answer in answers if answer.refused is None]
    if not accepted:
        detail = json.dumps({"code": answers[0].refused})
        return op.Arrived(new=True, status="refused", started=answers, detail=detail)
    first = accepted[0]
    status = each.status if first.new else "coalesced"
    return op.Arrived(new=True, status=status, execution=first.execution, started=answers, detail=each.detail)


def _again(found: op.Arrived) -> op.Arrived:
    return op.Arrived(new=False, status=found.status, execution=found.execution, detail=found.detail)


def _row(each: op.Arrival) -> tuple[object, ...]:
    execution = each.starts[0].execution if each.starts else None
    return (each.source, each.key, each.project, each.status, execution, each.detail, each.now)
