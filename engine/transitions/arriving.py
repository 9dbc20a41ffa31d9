"""How what arrives at a trigger starts something: once, in the transaction that writes down that it has come.

Before anything else of a batch, schedules are moved on and arrivals written; those that are new bring their starts into the
batch, where they are starts like any other, limits included. In the end it is written down what became of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine import operations as op
from engine.store import arrivals as sql
from engine.store.database import Connection

Place = tuple[str, str]
"""(source, key) of an arrival."""


@dataclass(slots=True)
class Intake:
    """What has been taken in. `starts` belong to the batch."""

    arrives: list[tuple[int, op.Arrive]] = field(default_factory=list)
    moved: dict[str, op.Move] = field(default_factory=dict)
    new: dict[Place, op.Arrival] = field(default_factory=dict)

    @property
    def starts(self) -> list[op.Start]:
        """All that is to be started."""
        return [start for each in self.new.values() for start in each.starts]

    def going(self, each: op.Arrive) -> bool:
        """Whether the schedule that an arrival comes from was moved on by it."""
        return each.move is None or self.moved.get(each.move.schedule) is each.move


def take_in(connection: Connection, operations: Sequence[op.Operation]) -> Intake:
    """Move schedules on, and write down what has not arrived before."""
    intake = Intake([(index, each) for index, each in enumerate(operations) if isinstance(each, op.Arrive)])
    if not intake.arrives:
        return intake
    moves: dict[str, op.Move] = {}
    for _, each in intake.arrives:
        if each.move is not None:
            moves.setdefault(each.move.schedule, each.move)
    if moves:
        found = connection.batch(sql.LOCK_SCHEDULES, [(name,) for name in sorted(moves)])
        going = [moves[name] for name, epoch in found if moves[name].epoch == epoch]
        connection.batch(
            sql.MOVE_SCHEDULES, [(each.schedule, each.slot, each.due, each.last) for each in going]
        )
        intake.moved = {each.schedule: each for each in going}
    arrived: dict[Place, op.Arrival] = {}
    for _, each in intake.arrives:
        if intake.going(each):
            for arrival in each.arrivals:
                arrived.setdefault((arrival.source, arrival.key), arrival)
    rows = [_row(arrived[place]) for place in sorted(arrived)]
    intake.new = {(source, key): arrived[source, key] for source, key in connection.batch(sql.TAKE_IN, rows)}
    return intake


def conclude(
    connection: Connection, intake: Intake, started: Mapping[str, op.Started]
) -> list[tuple[int, tuple[op.Arrived, ...] | None]]:
    """Write down what became of the starts. Returns an answer for each that was asked, by its place in the batch."""
    if not intake.arrives:
        return []
    found = {place: _arrived(each, started) for place, each in intake.new.items()}
    changed = [
        (*place, each.status, each.execution, each.detail)
        for place, each in sorted(found.items())
        if each.status != intake.new[place].status
    ]
    connection.batch(sql.CONCLUDE, changed)
    missing = {
        (arrival.source, arrival.key)
        for _, each in intake.arrives
        if intake.going(each)
        for arrival in each.arrivals
    } - found.keys()
    known = {
        (source, key): op.Arrived(new=False, status=status, execution=execution, detail=detail)
        for source, key, status, execution, detail in connection.batch(sql.KNOWN_ARRIVALS, sorted(missing))
    }
    answers = []
    for index, each in intake.arrives:
        answer: tuple[op.Arrived, ...] | None = None
        if intake.going(each):
            answer = tuple(
                found[place]
                if (place := (arrival.source, arrival.key)) in found and intake.new[place] is arrival
                else _again(found[place] if place in found else known[place])
                for arrival in each.arrivals
            )
        answers.append((index, answer))
    return answers


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
