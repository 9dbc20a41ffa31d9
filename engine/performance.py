"""One performance of a segment: what it needs from its process, what it has gathered, and how it may end early."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from celeriac import Call, Json, NodeError
from engine import operations as op
from engine.callbacks import Callbacks, Waits
from engine.clock import Clock
from engine.containers import Leaving
from engine.context import NodeContext, Surroundings
from engine.errors import CeleriacError
from engine.expressions import Scope
from engine.failure import HEARTBEAT_TIMED_OUT, TIMED_OUT
from engine.leases import Hold, Leases
from engine.ledger import LedgerThread
from engine.matrix import Matrices
from engine.outside.scrub import scrub
from engine.plan import OUTPUT, PARTS, item_in, split_item
from engine.programs import Programs, Step
from engine.pulse import Pulse
from engine.reader import Reader
from engine.settings import Settings
from engine.snapshots import (
    Reference,
    Work,
)
from engine.speech import Speaking

TRIGGER = "trigger"
JOINED = "joined"
"""The name of what has met at a join that collects."""


class Children(Protocol):
    """Processes that can be killed, for nodes that compute."""

    async def call(
        self, step: Step, config: Json, context: NodeContext, timeout: float, began: Callable[[], None]
    ) -> Any:
        """Return what the node returns; raise what it raises. The child is killed `timeout` seconds after `began()`."""


class Outlet(Protocol):
    """Where what follows a commit goes."""

    def send(self, execution: str, ready: Sequence[op.Sendable]) -> None:
        """Send segments that became ready."""

    def finished(self, execution: str, reply_to: str | None) -> None:
        """Tell whoever waits for an execution that it has ended, or has answered."""


class Lost(BaseException):
    """The fence did not hold: someone else has the segment."""


class Ended(BaseException):
    """The segment rests or is in doubt; nothing more is to be done now."""


class Spread(BaseException):
    """A container rests while what it has opened runs."""

    def __init__(self, settled: op.Settled, horizon: float) -> None:
        self.settled = settled
        self.horizon = horizon


class WoundUp(BaseException):
    """A container that was stopped has done what it does in its end, and comes to nothing."""


class Called(BaseException):
    """A segment rests while what it has called runs, whose first segment is to be carried."""

    def __init__(self, ready: Sequence[tuple[str, Reference]]) -> None:
        self.ready = ready


class CallsInside(BaseException):
    """A node has called a workflow on its way, as one of its steps, and is to be called again when that has ended."""

    def __init__(self, name: str, call: Call, seconds: float) -> None:
        self.name = name
        self.call = call
        self.seconds = seconds


class Stopped(asyncio.CancelledError):
    """The execution is to stop, which the ledger said before the heartbeat did."""


class ChildDied(CeleriacError):
    """The process a node ran in died."""

    code = "node.child_died"


class NoChild(CeleriacError):
    """No child process could be started: the machine is short of processes or memory."""

    code = "node.no_child"


class NodeTimeout(CeleriacError):
    """The attempt took longer than its limit."""

    code = TIMED_OUT


class NodeSilent(CeleriacError):
    """The attempt gave no sign of life for longer than it may."""

    code = HEARTBEAT_TIMED_OUT


@dataclass(slots=True)
class Run:
    """One performance of a segment, with what is not written yet."""

    work: Work
    pure: bool
    epoch: int
    hold: Hold | None
    values: dict[str, Json]
    nodes: dict[str, Json]
    entries: list[op.Entry] = field(default_factory=list)
    pack: list[str] = field(default_factory=list)
    pack_node: str = ""
    pack_from: int = 0
    events: list[op.EventBody] = field(default_factory=list)
    blobs: list[op.Blob] = field(default_factory=list)
    output: op.Payload = op.Payload()
    head: int = 0
    ports: tuple[str, ...] = ("out",)
    failed: NodeError | None = None
    unready: Exception | None = None
    failures: int = 0
    leaving: Leaving | None = None
    answer: op.Payload | None = None
    stops: bool = False
    inline: int = 0

    def held(self, now: int) -> dict[str, Any]:
        """Return the fields every request of a holder has, with all that is unwritten."""
        entries = self.entries
        if self.pack:
            text = f"[{','.join(self.pack)}]"
            packed = op.Entry(
                self.pack_node,
                "pack",
                output=op.Payload(text=text),
                started_at=self.pack_from,
                ended_at=now,
            )
            entries = [packed, *entries]
        return {
            "execution": self.work.facts.execution,
            "segment": self.work.segment.id,
            "item": self.work.item,
            "epoch": self.epoch,
            "pure": self.pure,
            "now": now,
            "entries": tuple(entries),
            "events": tuple(self.events)
            if not self.work.item
            else tuple(_at_item(self.events, self.work.item)),
            "blobs": tuple(self.blobs),
        }


@dataclass(frozen=True, slots=True)
class Services:
    """What a performance needs from its process."""

    ledger: LedgerThread
    reader: Reader
    programs: Programs
    leases: Leases
    clock: Clock
    settings: Settings
    outlet: Outlet
    children: Children
    around: Surroundings
    owner: str
    secret: bytes
    callbacks: Callbacks | None = None
    speaking: Speaking | None = None
    matrices: Matrices = field(default_factory=Matrices)


@dataclass(slots=True)
class Draws:
    """The time and the randomness of one node run: the same on every replay, and foreseen by nobody without the secret."""

    secret: bytes
    name: str
    now_ms: int

    def draw(self, n: int) -> bytes:
        """Return the 16 bytes of the n-th draw."""
        return hmac.digest(self.secret, f"{self.name}\x1f{n}".encode(), "sha256")[:16]


def scope_of(services: Services, run: Run, node: str) -> Scope:
    """Return what the expressions of a node see."""
    work = run.work
    name = f"{work.facts.execution}\x1f{node}\x1f{work.item}"
    draws = Draws(services.secret, name, work.ready_at)
    scope = Scope(run.values, draws, links_of(services, run, work.item))
    if work.joined is not None and node == work.segment.nodes[0].id:
        return scope.with_names({JOINED: _joined(run, work.joined)})
    return scope


def _joined(run: Run, names: Iterable[str]) -> Json:
    """Return what has met at a join that collects: outputs, by the node or in the order of the edges."""
    found = {name: each.get("output") for name in names if isinstance(each := run.nodes.get(name, {}), dict)}
    return found if run.work.segment.join.collect == "map" else list(found.values())


def links_of(services: Services, run: Run, item: str) -> Waits | None:
    """Return what makes the addresses of waits known to expressions, if this process can."""
    callbacks, facts = services.callbacks, run.work.facts
    if callbacks is None:
        return None
    return Waits(callbacks, facts.execution, facts.program, run.work.segment.region, item)


def result_of(run: Run, step: Step, scope: Scope) -> Json:
    """Return the result of an execution or of an instance: as the author says, or what the leaves that ran came to."""
    node, program = step.node, run.work.facts.program
    template = program.outputs if node.type == OUTPUT else step.parts.get("output")
    if template is not None:
        return template.render(scope)
    written = node.config.get("leaves")
    names = [str(each) for each in written] if isinstance(written, list) else [*node.needs]
    if program.plan.regions[run.work.segment.region].kind in ("circle", "each"):
        return {name: run.nodes[name] for name in names if name in run.nodes}
    found = {
        name: context.get("output")
        for name in names
        if isinstance(context := run.nodes.get(name), dict) and name != TRIGGER
    }
    return found if node.type == OUTPUT or len(names) != 1 else found.get(names[0])


async def in_time(returned: Awaitable[Any], seconds: float, pulse: Pulse) -> Any:
    """Wait for what a node returns, no longer than its attempt may take, or be silent. Raises `NodeTimeout` or `NodeSilent`."""
    limit = asyncio.timeout(None)
    try:
        async with limit:
            pulse.begin(limit, seconds)
            return await returned
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise out_of_time(pulse, seconds) from error


def out_of_time(pulse: Pulse, seconds: float, more: str = "") -> NodeTimeout | NodeSilent:
    """Return the failure of an attempt that was ended by its limits."""
    if pulse.silent:
        return NodeSilent(f"The attempt sent no heartbeat for {pulse.most:g} s{more}.")
    return NodeTimeout(f"The attempt took longer than {seconds:g} s{more}.")


def name_items(values: dict[str, Json], work: Work, item: str | None = None, value: Json = None) -> None:
    """Give the items of the regions around their names: the innermost is `item`, and each has its own."""
    plan = work.facts.program.plan
    item = work.item if item is None else item
    region = plan.regions[work.segment.region]
    innermost = True
    while region.id:
        container = plan.nodes[region.owner].container
        if region.kind == "circle":
            nodes, before = values["nodes"], work.items.get(region.id)
            if isinstance(nodes, dict) and isinstance(before, dict):
                nodes.update((name, each) for name, each in before.items() if name not in nodes)
        elif region.kind == "each" and innermost and container is not None and container.part is not None:
            index = split_item(item_in(item, region.depth))[1]
            values["index"], values["item"] = index, _arrived(values, container.part.sources[index])
            innermost = False
        elif container is not None and container.body == region.id and (container.each or container.loop):
            here = value if work.hi is not None and innermost else work.items.get(region.id)
            if innermost:
                values["index"] = split_item(item_in(item, region.depth))[1]
                values["item"] = here
            if container.each is not None and container.each.name is not None:
                values[container.each.name] = here
            innermost = False
        region = plan.regions[region.parent]


def seen_in_parts(outputs: Mapping[str, dict[str, Json]]) -> dict[str, Json]:
    """Return outputs together with what parts show of their nodes."""
    found: dict[str, Json] = dict(outputs)
    for name, context in outputs.items():
        value = context.get("output") if name.endswith(PARTS) else None
        nodes = value.get("nodes") if isinstance(value, dict) else None
        found |= nodes if isinstance(nodes, dict) else {}
    return found


def _arrived(values: Mapping[str, Json], source: str) -> Json:
    """Return what an edge to a join `each` brings along: what the node it comes from has come to, or the payload."""
    if source == TRIGGER:
        trigger = values["trigger"]
        return trigger.get("payload") if isinstance(trigger, dict) else None
    nodes = values["nodes"]
    context = nodes.get(source) if isinstance(nodes, dict) else None
    return context.get("output", context.get("error")) if isinstance(context, dict) else None


def keep_lines(run: Run, context: NodeContext, now: int) -> None:
    """Keep what a node has logged for the execution's history."""
    for level, message, fields in context.lines:
        line: dict[str, Json] = {"level": level, "message": message, **fields}
        kept = scrub(line, context.secrets) if context.secrets else line
        run.events.append(("node.log", context.node_id, now, kept))


def _at_item(events: Iterable[op.EventBody], item: str) -> Iterator[op.EventBody]:
    """Yield events with the item they happened at."""
    for kind, node, at, more in events:
        yield kind, node, at, {"item": item, **more}  # type: ignore[dict-item]  # every event's last part is an object
