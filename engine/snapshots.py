"""What a segment needs to run, read in one go for a whole message: its row, its execution, the outputs it refers to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from celeriac import Json
from engine.plan import Segment
from engine.programs import Program, Programs
from engine.store.database import Connection
from engine.store.statements import BLOBS, LOAD, OUTPUTS

Reference = tuple[str, int, str]
"""(execution, segment, item): all that a message carries."""


@dataclass(frozen=True, slots=True)
class Past:
    """A journaled node run."""

    status: str
    output: Json
    error: Json
    tries: int


@dataclass(slots=True)
class Facts:
    """What holds for a whole execution."""

    execution: str
    program: Program
    version: str
    workflow: str
    project: str
    created_at: int
    payload: Json
    trigger: dict[str, Json]


@dataclass(slots=True)
class Work:
    """A segment to be run. `outputs` are node contexts by id, `past` what its own nodes have journaled, by (node, step)."""

    facts: Facts
    segment: Segment
    item: str
    epoch: int
    deliveries: int
    head: int
    tries: int
    ready_at: int
    first_try_at: int | None
    outputs: dict[str, dict[str, Json]] = field(default_factory=dict)
    past: dict[tuple[str, str], Past] = field(default_factory=dict)


def load(connection: Connection, programs: Programs, references: Sequence[Reference]) -> list[Work]:
    """Read the segments that may be run now; others (done, held by someone, paused, unknown) are left out."""
    found: list[Work] = []
    rows = connection.batch(LOAD, list(references))
    blobs = _blobs(connection, (row[15] for row in rows if row[15]))
    for row in rows:
        status, cancel_at, pause_at = row[3], row[12], row[13]
        if status != "ready" or cancel_at is not None or pause_at is not None:
            continue
        program = programs.get(row[10], connection)
        payload = json.loads(blobs[row[15]] if row[15] else row[14] or "null")
        facts = Facts(row[0], program, row[10], row[17], row[18], row[19], payload, json.loads(row[16]))
        segment = program.plan.segments[row[1]]
        found.append(Work(facts, segment, row[2], row[4], row[5], row[6], row[7], row[8], row[9]))
    read_outputs(connection, found)
    return found


def read_outputs(connection: Connection, works: Iterable[Work]) -> None:
    """Read what works refer to and do not have yet, and the journal of those that have begun before."""
    wanted: dict[tuple[str, str, str], list[Work]] = {}
    for work in works:
        plan = work.facts.program.plan
        names = {
            node.id
            for name in work.segment.needs
            if name not in work.outputs
            for node in plan.segments[plan.segment_of[name]].nodes
        }
        begun = work.epoch > 0 or work.head > 0 or work.deliveries > 0
        if begun or work.segment.nodes[-1].waits:
            names.update(node.id for node in work.segment.nodes)
        for name in names:
            wanted.setdefault((work.facts.execution, name, work.item), []).append(work)
    if not wanted:
        return
    rows = connection.batch(OUTPUTS, sorted(wanted))
    blobs = _blobs(connection, (row[6] for row in rows if row[6]))
    for execution, node, item, step, status, output, blob, error, tries, _effect in rows:
        text = blobs[blob] if blob else output
        for work in wanted[(execution, node, item)]:
            if status == "pack":
                for name, value in json.loads(text):
                    _remember(work, name, "", Past("succeeded", value, None, 1))
            else:
                value = None if text is None else json.loads(text)
                failed = None if error is None else json.loads(error)
                _remember(work, node, step, Past(status, value, failed, tries))


def context_of(past: Past) -> dict[str, Json] | None:
    """Return a finished node run as expressions see it, or None for one that has not finished."""
    if past.status == "succeeded":
        return {"output": past.output}
    if past.status == "continued":
        return {"output": past.output, "error": past.error}
    if past.status == "failed":
        return {"error": past.error}
    return None


def _remember(work: Work, node: str, step: str, past: Past) -> None:
    if work.facts.program.plan.segment_of[node] == work.segment.id:
        work.past[(node, step)] = past
    elif not step and (context := context_of(past)) is not None:
        work.outputs[node] = context


def _blobs(connection: Connection, names: Iterable[Any]) -> dict[str, str]:
    wanted = sorted(set(names))
    return dict(connection.batch(BLOBS, [(each,) for each in wanted])) if wanted else {}
