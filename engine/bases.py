"""What an execution came to, as a fork of it needs to know, and the start of that fork.

Reading happens before the start and the copying within it. What is read in between may grow and does not change: an outcome in
the journal stays, and the pen refuses a fork of what has been forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from celeriac import Json
from engine import forks
from engine import operations as op
from engine.catalog import Active, Versions
from engine.definition import TRIGGER
from engine.encoding import encode, place
from engine.errors import Conflict, Invalid, NotFound
from engine.nearest import nearest
from engine.plan import Plan
from engine.settings import DEFAULT_PROJECT, Limits
from engine.snapshots import items_of
from engine.states import EXECUTION_FINAL, ExecutionStatus
from engine.store.database import Connection
from engine.takeovers import kept_of, was_of
from engine.timeline import SegmentState
from engine.transitions.ending import bits

_VERSIONS = "SELECT v.id, v.number, w.version_id FROM workflow w JOIN workflow_version v ON v.workflow_id = w.id WHERE w.id = ?"
FAILURE = "failure"
PINNED, LATEST = "pinned", "latest"


class NothingFailed(Conflict):
    """Nothing in the execution has failed, so there is nothing to go on from."""

    code = "fork.nothing_failed"


class UnknownNode(Invalid):
    """There is no such node in the version."""

    code = "fork.unknown_node"


class InsideBody(Invalid):
    """The node stands in a body, which is kept or done again as a whole."""

    code = "fork.inside_body"


class HasPorts(Invalid):
    """An output alone does not say by which of its ports the node is left."""

    code = "fork.has_ports"


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a fork is wished for: from which nodes (None: from what failed), in which version, with what outputs and payload."""

    again: tuple[str, ...] | None
    version: str | int = PINNED
    outputs: Mapping[str, Json] = field(default_factory=dict)
    payload: Json = None
    has_payload: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A fork that may be started: what starts it, its payload, and what it takes over."""

    active: Active
    number: int
    payload: Json
    fork: forks.Fork
    start: op.Fork

    def verdicts(self) -> list[Json]:
        """Return what becomes of each node."""
        return [each.to_json() for each in self.fork.verdicts]


def prepare(
    connection: Connection,
    plan_of: Callable[[str, Connection], Plan],
    name: str,
    wanted: Wanted,
    now: int,
    limits: Limits,
    project: str = DEFAULT_PROJECT,
) -> Prepared:
    """Return the fork of an execution. Raises `NotFound`, `NothingFailed`, or `Invalid` for a wish that cannot be met."""
    rows = connection.run(
        "SELECT e.workflow_id, e.version_id, e.status, e.input, b.body, w.name "
        "FROM execution e JOIN workflow w ON w.id = e.workflow_id LEFT JOIN blob b ON b.hash = e.input_blob "
        "WHERE e.id = ? AND e.project_id = ?",
        (name, project),
    )
    if not rows:
        message = f"There is no execution {name!r}."
        raise NotFound(message, hint="celeriac executions list shows what there is.")
    workflow, version, status, text, blob, title = rows[0]
    base = _read(connection, name, plan_of(version, connection))
    version, number = _version(connection, workflow, version, wanted.version, title)
    plan = plan_of(version, connection)
    if wanted.again is None:
        _check_failure(base, status, name)
    again = None if wanted.again is None else tuple(_around(plan, each) for each in wanted.again)
    for node in (*(again or ()), *wanted.outputs):
        _check_name(plan, node)
    for node in wanted.outputs:
        _check_pin(plan, node)
    wish = forks.Wish(frozenset(again or ()), frozenset(wanted.outputs), wanted.has_payload)
    fork = forks.weigh(base, plan, wish)
    payload = wanted.payload if wanted.has_payload else json.loads(blob or text or "null")
    active = Versions().pinned(connection, version)
    entries = [
        *_repacked(plan, fork.kept, base.packs, now),
        *(_pinned(plan, node, value, now, limits) for node, value in wanted.outputs.items()),
    ]
    happened = [
        ("execution.created", workflow, now, {"version": version, "base": name}),
        *(("node.kept", node, now, {"status": base.outcomes.get(node, "succeeded")}) for node in fork.kept),
        *(("node.pinned", node, now, {}) for node in wanted.outputs),
    ]
    start = op.Fork(
        rows=tuple(_row(plan, each) for each in fork.rows),
        copied=tuple(each for each in fork.kept if each not in base.packs),
        entries=tuple(entries),
        inside=tuple(_instances(base.plan, fork.instances)),
        events=tuple(happened),
    )
    return Prepared(active, number, payload, fork, start)


def _read(connection: Connection, name: str, plan: Plan) -> forks.Base:
    """Return what an execution's nodes outside of every body came to."""
    states = [
        SegmentState(*fields)
        for fields in connection.run(
            "SELECT segment, item, status, head, exits, due FROM segment WHERE execution_id = ? AND item = ''",
            (name,),
        )
    ]
    outcomes: dict[str, str] = {}
    packs: dict[str, Json] = {}
    for node, status, output, blob in connection.run(
        "SELECT j.node, j.status, CASE WHEN j.status = 'pack' THEN j.output END, "
        "CASE WHEN j.status = 'pack' THEN b.body END FROM journal j LEFT JOIN blob b ON b.hash = j.blob "
        "WHERE j.execution_id = ? AND j.item = '' AND j.step = ''",
        (name,),
    ):
        if status == "pack":
            packs |= dict(json.loads(blob or output))
        elif node in plan.nodes:
            outcomes[node] = status
    return forks.Base(plan, {each.segment: each for each in states}, outcomes, packs)


def _version(
    connection: Connection, workflow: str, pinned: str, wanted: str | int, title: str
) -> tuple[str, int]:
    for id_, number, latest in connection.run(_VERSIONS, (workflow,)):
        if {PINNED: id_ == pinned, LATEST: id_ == latest}.get(str(wanted), number == wanted):
            return id_, int(number)
    message = f"The workflow {title} has no version {wanted}."
    raise NotFound(message, hint=f"celeriac workflows versions {title} lists them.")


def _check_failure(base: forks.Base, status: str, name: str) -> None:
    ended = ExecutionStatus(status) in EXECUTION_FINAL
    doubtful = any(row.status in ("uncertain", "quarantined") for row in base.rows.values())
    if status == ExecutionStatus.SUCCEEDED or not (ended or doubtful):
        message = f"The execution {name} is {status}, and nothing in it has failed."
        hint = f"Name the nodes to be done again: celeriac executions fork {name} --from NODE"
        raise NothingFailed(message, hint=hint)


def _around(plan: Plan, name: str) -> str:
    """Return the part that a node stands in, if it stands in nothing else: nobody has written that, and it is done as a whole."""
    if name in plan.nodes:
        region = plan.region_of(name)
        while region.kind in ("circle", "each"):
            name, region = region.owner, plan.regions[region.parent]
    return name


def _check_name(plan: Plan, name: str) -> None:
    node = plan.nodes.get(name)
    if node is None or name == TRIGGER or node.ends:
        names = [
            each.id
            for segment in plan.segments
            if not segment.region
            for each in segment.nodes
            if each.id != TRIGGER and not each.ends
        ]
        near = nearest(name, names)
        hint = f"Did you mean {near}?" if near else f"It has: {', '.join(names[:20])}."
        message = f"The version has no node {name!r}."
        raise UnknownNode(message, hint=hint)
    region = plan.region_of(name)
    if region.id:
        while plan.regions[region.parent].id:
            region = plan.regions[region.parent]
        message = f"The node {name} stands in the body of {region.owner}."
        raise InsideBody(message, hint=f"Name {region.owner} instead.")


def _check_pin(plan: Plan, name: str) -> None:
    segment = plan.segments[plan.segment_of[name]]
    if segment.nodes[-1].id == name and any(
        each.port not in (None, "out", "error") for each in segment.exits
    ):
        message = f"The node {name} is left by several ports, and an output does not say which."
        raise HasPorts(message, hint="Give the output of the node before it, or fork from it.")


def _repacked(plan: Plan, kept: Iterable[str], packs: Mapping[str, Json], now: int) -> Iterable[op.Entry]:
    """Yield the rows of outcomes that share one, as the wanted version's segments share them."""
    shared: dict[int, list[str]] = {}
    for name in kept:
        if name in packs:
            shared.setdefault(plan.segment_of[name], []).append(name)
    for names in shared.values():
        text = json.dumps([[name, packs[name]] for name in names], ensure_ascii=False, separators=(",", ":"))
        yield op.Entry(names[0], "pack", output=op.Payload(text), started_at=now, ended_at=now)


def _pinned(plan: Plan, name: str, value: Json, now: int, limits: Limits) -> op.Entry:
    payload, blob = place(encode(value, limits.output_bytes), limits.blob_from_bytes)
    if blob is not None:
        message = f"The output given for {name} has more than {limits.blob_from_bytes:,} bytes."
        raise Invalid(message, hint="Give only what later nodes read.")
    return op.Entry(name, "succeeded", str(plan.nodes[name].effect), output=payload, ended_at=now)


def _instances(plan: Plan, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield what is copied of maps whose instances may stand: their outcomes, and the items these are for."""
    for name in names:
        container = plan.nodes[name].container
        if container is not None:
            region = plan.regions[container.body]
            yield region.end, kept_of(region)
            yield items_of(region), was_of(region)


def _row(plan: Plan, born: forks.Born) -> op.Born:
    exits = None if born.exits is None else bits(born.exits)
    fan = None if born.fan is None else born.fan.to_text()
    queue = plan.segments[born.segment].queue
    return op.Born(born.segment, born.item, born.status, queue, born.pending, born.taken, exits, fan)
