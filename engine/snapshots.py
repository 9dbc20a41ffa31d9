"""What a segment needs to run, read in one go for a whole message: its row, its execution, the outputs it refers to."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from celeriac import Json
from engine.containers import SLICE, Outcome
from engine.fans import Fan
from engine.operations import WINDING
from engine.plan import Container, Plan, Region, Segment, item_in, item_of, split_item
from engine.programs import Program, Programs
from engine.signals import LISTENING, Heard
from engine.store.database import Connection
from engine.store.signals import SIGNALS
from engine.store.statements import (
    BLOBS,
    COMPLETED,
    ENDED,
    EXITS,
    EXITS_OF_ROUNDS,
    INSTANCES,
    JOINED,
    LOAD,
    OUTPUTS,
    STOPPING_INSIDE,
)

Reference = tuple[str, int, str]
"""(execution, segment, item): all that a message carries."""


@dataclass(frozen=True, slots=True)
class Past:
    """A journaled node run. `epoch` is that of the holder who wrote it."""

    status: str
    output: Json
    error: Json
    tries: int
    epoch: int = 0


@dataclass(slots=True)
class Facts:
    """What holds for a whole execution. `caller` is the segment that waits for its end.

    One that is `based` on another may have outcomes of nodes that nothing has reached.
    """

    execution: str
    program: Program
    version: str
    workflow: str
    project: str
    created_at: int
    payload: Json
    trigger: dict[str, Json]
    depth: int = 0
    caller: tuple[str, int, str] | None = None
    based: bool = False
    principal: str = ""
    priority: int = 0
    variables: Mapping[str, Json] = field(default_factory=dict)
    """Variables of the project, as they were when the execution began."""


@dataclass(slots=True)
class Work:
    """A segment to be run. `outputs` are node contexts by id, `past` what its own nodes have journaled, by (node, step).

    `hi` is the last item of a chunk; `fan` counts the instances that a container at `head` has waited for; `items` are the
    values of the items it reads, by region (of a chunk, the list of them). `heard` is the signal that ended its wait. What
    is not `reached` only ends its region. A container that was stopped is `winding`: it only does what it does in its end.
    """

    facts: Facts
    segment: Segment
    item: str
    epoch: int
    deliveries: int
    head: int
    tries: int
    ready_at: int
    first_try_at: int | None
    hi: int | None = None
    fan: Fan | None = None
    items: dict[int, Json] = field(default_factory=dict)
    outputs: dict[str, dict[str, Json]] = field(default_factory=dict)
    past: dict[tuple[str, str], Past] = field(default_factory=dict)
    reached: bool = True
    heard: Heard | None = None
    joined: tuple[str, ...] | None = None
    """Of a segment that collects, the nodes from which a taken edge had led to it when it started."""
    winding: bool = False
    refused: Exception | None = None
    """Why its limit does not let it go on."""


def load(connection: Connection, programs: Programs, references: Sequence[Reference]) -> list[Work]:
    """Read the segments that may be run now; others (done, held by someone, paused, unknown) are left out."""
    found: list[Work] = []
    rows = connection.batch(LOAD, list(references))
    blobs = _blobs(connection, (row[15] for row in rows if row[15]))
    for row in rows:
        status, stop, pause_at = row[3], row[12], row[13]
        if status != "ready" or pause_at is not None:
            continue
        program = programs.get(row[10], connection)
        payload = json.loads(blobs[row[15]] if row[15] else row[14] or "null")
        caller = None if row[23] else (row[24], row[25], row[26])
        trigger, based = json.loads(row[16]), row[27] is not None
        facts = Facts(
            row[0], program, row[10], row[17], row[18], row[19], payload, trigger, row[22], caller, based
        )
        facts.principal, facts.priority = row[29], row[30]
        if program.plan.shared:
            facts = replace(facts, variables={**program.plan.shared, **json.loads(row[31] or "{}")})
        segment = program.plan.segments[row[1]]
        fan = None if row[21] is None else Fan.from_text(row[21])
        work = Work(facts, segment, row[2], row[4], row[5], row[6], row[7], row[8], row[9], row[20], fan)
        work.reached, work.winding = row[28] > 0, stop == WINDING
        found.append(work)
    read_outputs(connection, found)
    return found


def read_outputs(connection: Connection, works: Iterable[Work]) -> None:
    """Read what works refer to and do not have yet, and the journal of those that have begun before."""
    wanted: dict[tuple[str, str, str], list[tuple[Work, int | None]]] = {}
    for work in works:
        plan, execution = work.facts.program.plan, work.facts.execution
        for name in work.segment.needs:
            if name not in work.outputs:
                item = item_in(work.item, plan.region_of(name).depth)
                for node in plan.segments[plan.segment_of[name]].nodes:
                    wanted.setdefault((execution, node.id, item), []).append((work, None))
        begun = work.epoch > 0 or work.head > 0 or work.deliveries > 0 or work.facts.based
        if begun or work.segment.nodes[-1].waits:
            for node in work.segment.nodes:
                wanted.setdefault((execution, node.id, work.item), []).append((work, None))
        for number in work.segment.reads:
            if number not in work.items:
                place = item_place(plan, plan.regions[number], work.item, chunked=work.hi is not None)
                wanted.setdefault((execution, *place), []).append((work, number))
    _read_joined(connection, [work for work in works if work.segment.collects and work.joined is None])
    if not wanted:
        return
    rows = connection.batch(OUTPUTS, sorted(wanted))
    blobs = _blobs(connection, (row[6] for row in rows if row[6]))
    for execution, node, item, step, status, output, blob, error, tries, epoch in rows:
        text = blobs[blob] if blob else output
        value: Any = None if text is None else json.loads(text)
        for work, region in wanted[(execution, node, item)]:
            if region is not None:
                _remember_item(work, region, status, value)
            elif status == "pack":
                for name, each in value:
                    _remember(work, name, "", Past("succeeded", each, None, 1))
            else:
                failed = None if error is None else json.loads(error)
                _remember(work, node, step, Past(status, value, failed, tries, epoch))
    _read_signals(connection, [work for works in wanted.values() for work, _ in works])


def joined_by(
    connection: Connection, joins: Iterable[tuple[Reference, Plan]]
) -> dict[Reference, tuple[str, ...]]:
    """Return for each join that collects the nodes from which a taken edge leads to it now."""
    plans = dict(joins)
    sources = {
        (execution, plan.segment_of[name], item)
        for (execution, number, item), plan in plans.items()
        for name in plan.segments[number].collects
    }
    exits: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for execution, segment, item, bits in connection.batch(EXITS, sorted(sources)):
        exits[(execution, item)][segment] = bits or ""
    return {key: plan.taken(key[1], exits[(key[0], key[2])]) for key, plan in plans.items()}


def _read_joined(connection: Connection, works: Sequence[Work]) -> None:
    """Read what had been taken when joins started. One that a fork begins with starts by what is there."""
    if not works:
        return
    joins = {(work.facts.execution, work.segment.id, work.item): work.facts.program.plan for work in works}
    there = {
        fields[:3]: tuple(json.loads(fields[3]))
        for fields in connection.batch(JOINED, sorted(joins))
        if fields[3] is not None
    }
    plans = [(key, plan) for key, plan in joins.items() if key not in there]
    there |= joined_by(connection, plans) if plans else {}
    for work in works:  # of which two may be of one message that came twice
        work.joined = there[work.facts.execution, work.segment.id, work.item]


def item_place(plan: Plan, region: Region, item: str, *, chunked: bool) -> tuple[str, str]:
    """Return the node and the item under whose row in the journal the value of a region's item is found.

    Of a map the items are stored by slices, of a chunk all together; the item of a loop is what the last iteration came to.
    """
    parent, index = split_item(item_in(item, region.depth))
    container = plan.nodes[region.owner].container
    if container is not None and (container.loop or container.part) and index > 0:
        return region.end, item_of(parent, index - 1)
    first = index if chunked and region.chunked else index - index % SLICE
    return items_of(region), item_of(parent, first)


def items_of(region: Region) -> str:
    """Return the name under which the items of a region are journaled."""
    return f"{region.name}@items"


def read_outcomes(
    connection: Connection,
    plan: Plan,
    execution: str,
    item: str,
    container: Container,
    latest: int | None = None,
) -> dict[int, list[Outcome]]:
    """Return what the instances of a container's regions have come to; of a loop only the `latest`, if that is said."""
    regions = [container.body, *(region for _, region in container.undo)]
    regions += [each.region for each in container.catch]
    regions += [] if container.last is None else [container.last]
    found: dict[int, list[Outcome]] = {}
    for number in regions:
        region = plan.regions[number]
        low, high = (f"{item}.", f"{item}/") if item else ("", "~")
        if latest is not None:
            low, high = item_of(item, latest), f"{item_of(item, latest)}!"
        rows = connection.run(INSTANCES, (execution, region.end, low, high))
        blobs = _blobs(connection, (row[3] for row in rows if row[3]))
        outcomes = [
            outcome for row in rows for outcome in _outcomes(row, blobs[row[3]] if row[3] else row[2])
        ]
        if outcomes:
            found[number] = sorted(outcomes, key=lambda each: each.index)
    return found


def read_edges_out(
    connection: Connection,
    plan: Plan,
    execution: str,
    item: str,
    container: Container,
    latest: int | None = None,
) -> set[str]:
    """Return the edges out of a part that were taken: by the `latest` round, or by any."""
    region = plan.regions[container.body]
    low, high = (f"{item}.", f"{item}/") if item else ("", "~")
    if latest is not None:
        low, high = item_of(item, latest), f"{item_of(item, latest)}!"
    found: set[str] = set()
    for segment in plan.segments[region.first : region.beyond]:
        marks = [each.mark for each in segment.exits]
        if segment.region != region.id or not any(marks):
            continue
        for (bits,) in connection.run(EXITS_OF_ROUNDS, (execution, segment.id, low, high)):
            taken = "1" * len(marks) if bits in (None, "*") else bits
            found.update(mark for mark, bit in zip(marks, taken, strict=True) if mark and bit == "1")
    return found


def read_ended(
    connection: Connection, plan: Plan, execution: str, item: str, number: int, indexes: Iterable[int]
) -> list[Outcome]:
    """Return what those instances of a region have come to that have ended, of these. None of them is part of a chunk."""
    end = plan.regions[number].end
    asked = [(execution, end, item_of(item, index)) for index in indexes]
    rows = connection.batch(ENDED, asked) if asked else []
    blobs = _blobs(connection, (row[3] for row in rows if row[3]))
    return [outcome for row in rows for outcome in _outcomes(row, blobs[row[3]] if row[3] else row[2])]


def read_undone(
    connection: Connection, plan: Plan, execution: str, item: str, undo: Sequence[tuple[str, int]]
) -> list[int]:
    """Return the regions that undo what has succeeded in a scope's body, the last one that succeeded first.

    Nodes of one segment, and such as ended in the same moment, have ended in the order of the graph: of the cheap ones among
    them the journal has one time for all. Times are those of several processes, and of clocks that may be set back: where
    the graph says what came first, they have no say.
    """
    inside = item_of(item, 0)
    nodes = {node.id for name, _ in undo for node in plan.segments[plan.segment_of[name]].nodes}
    rows = connection.batch(COMPLETED, sorted((execution, node, inside) for node in nodes))
    blobs = _blobs(connection, (row[3] for row in rows if row[3]))
    done: set[str] = set()
    ended: dict[int, int] = {}
    for node, status, output, blob, at in rows:
        if status == "pack":
            done.update(name for name, _ in json.loads(blobs[blob] if blob else output))
        elif status == "succeeded":
            done.add(node)
        segment = plan.segment_of[node]
        ended[segment] = max(ended.get(segment, 0), at or 0)
    latest = _in_order(plan, ended)
    order = sorted(
        (each for each in undo if each[0] in done), key=lambda each: latest[plan.segment_of[each[0]]]
    )
    return [region for _, region in reversed(order)]


def _in_order(plan: Plan, ended: Mapping[int, int]) -> dict[int, int]:
    """Return when segments of one region ended, none before what it had to wait for. A join that waits for one of many says
    nothing of the others.
    """
    latest = dict(ended)
    region = plan.regions[plan.segments[next(iter(ended))].region] if ended else plan.regions[0]
    late = bool(ended)
    while late:
        late = False
        for segment in plan.segments[region.first : region.beyond]:
            for target in {each.target for each in segment.exits}:
                following = plan.segments[target]
                waits = following.join.mode == "all" or following.entries == 1
                if waits and latest.get(target, 0) < latest.get(segment.id, 0):
                    latest[target] = latest[segment.id]
                    late = True
    return latest


def stopping_inside(connection: Connection, execution: str, item: str, first: int, beyond: int) -> bool:
    """Whether something inside a container that was told to stop has not ended yet: it runs, or winds up."""
    inside = f"{item}." if item else ""
    return bool(connection.run(STOPPING_INSIDE, (execution, first, beyond, inside, inside)))


def _outcomes(row: Sequence[Any], text: str | None) -> Iterator[Outcome]:
    """Yield the outcomes that one row of the journal holds: that of an instance, or those of a chunk of them."""
    item, status, _, _, error = row
    index = split_item(item)[1]
    value: Any = None if text is None else json.loads(text)
    errors = None if error is None else json.loads(error)
    if status != "chunk":
        yield Outcome(index, value, errors if status == "failed" else None, left=status == "left")
        return
    failed = errors or {}
    for at, each in enumerate(value, index):
        yield Outcome(at, each, failed.get(str(at)))


def _remember_item(work: Work, region: int, status: str, value: Any) -> None:
    """Keep the value of an item, taken out of what is stored together with it."""
    found = work.facts.program.plan.regions[region]
    _, index = split_item(item_in(work.item, found.depth))
    whole = work.hi is not None and found.chunked
    if status == "items" and not whole:
        container = work.facts.program.plan.nodes[found.owner].container
        single = container is not None and (container.loop or container.part)
        value = value[0 if single else index % SLICE]
    work.items[region] = value


def context_of(past: Past) -> dict[str, Json] | None:
    """Return a finished node run as expressions see it, or None for one that has not finished."""
    if past.status == "succeeded":
        return {"output": past.output}
    if past.status == "continued":
        return {"output": past.output, "error": past.error}
    if past.status in ("failed", "caught"):
        return {"error": past.error}
    return None


def _read_signals(connection: Connection, works: Iterable[Work]) -> None:
    """Read what has ended the waits that works come from."""
    waited = {
        (work.facts.execution, work.segment.id, work.item): work
        for work in works
        if any(past.status == LISTENING for past in work.past.values())
    }
    rows = connection.batch(SIGNALS, sorted(waited)) if waited else []
    blobs = _blobs(connection, (row[6] for row in rows if row[6]))
    for *key, name, source, payload, blob, at in rows:
        text = blobs[blob] if blob else payload
        waited[(key[0], key[1], key[2])].heard = Heard(
            name, source, None if text is None else json.loads(text), at
        )


def _remember(work: Work, node: str, step: str, past: Past) -> None:
    if work.facts.program.plan.segment_of[node] == work.segment.id:
        work.past[(node, step)] = past
    elif not step and (context := context_of(past)) is not None:
        work.outputs[node] = context


def _blobs(connection: Connection, names: Iterable[Any]) -> dict[str, str]:
    wanted = sorted(set(names))
    return dict(connection.batch(BLOBS, [(each,) for each in wanted])) if wanted else {}
