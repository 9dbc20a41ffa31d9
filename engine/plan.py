"""The plan: a definition cut into fused segments and their joins. Pure, and stored with the version. `cutting` makes it.

A segment is a maximal linear run of nodes that one process performs for one message. It ends where something outside
decides what follows: a fan-out, a join, a choice of ports, a condition, a durable wait, another queue.

A region is a graph that is performed once for each of its instances: the whole definition once, the body of a map once
for each item. Two nodes exist in every region without being written: its only root, and a last one that joins every leaf
and renders the result. With them a start writes one row whatever the graph, and an instance ends when its last segment
does, by the same rules as any other segment. A node that owns regions is a container; its segment rests at it while
their instances run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache, cached_property
from typing import Any, Final, Literal, NamedTuple

from celeriac import Effect, Json
from engine.definition import (
    Allowance,
    EdgeKind,
    ForEach,
    Join,
    Loop,
    OnError,
    OnForeign,
    OnUncertain,
    Part,
    RetryPolicy,
)
from engine.holds import Limits
from engine.parts import written_source

OUTPUT = "@output"
BEGIN, END = "@begin", "@end"
REST = "@rest"
"""The port of the way from a map to the end of its region that is decided when nothing of the map runs any more."""
"""What the root and the last node of an inner region are called, behind the region's own name."""

ITEM = "@item"
"""What a repeated node is called where it is performed for one item, behind its own name."""

PARTS = ("@circle", "@each")
"""What a part is called in the graph around it, behind the name of its first node."""

DEFAULT_QUEUE = "default"

RegionKind = Literal["whole", "body", "undo", "catch", "finally", "circle", "each"]

LATE: Final = frozenset({"undo", "finally"})
"""The regions that are performed although what is around them is stopped."""


class Reach(NamedTuple):
    """A part of what a stop reaches: one container that has something to do in its end, or segments that have not."""

    first: int
    beyond: int
    owes: bool


@dataclass(frozen=True, slots=True)
class Catch:
    """A region that takes a failure over, and the errors it is for."""

    region: int
    on: tuple[str, ...]
    excluding: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Container:
    """What a node does with its regions. `undo` are nodes of the body and the regions that undo them.

    `timeout` is in seconds, for all of it.
    """

    body: int
    each: ForEach | None = None
    loop: Loop | None = None
    undo: tuple[tuple[str, int], ...] = ()
    catch: tuple[Catch, ...] = ()
    last: int | None = None
    timeout: float | None = None
    part: Part | None = None

    @property
    def owes(self) -> bool:
        """Whether there is something to do in its end, however it ends."""
        return self.last is not None or bool(self.undo)


@dataclass(frozen=True, slots=True)
class Region:
    """A graph that is performed once for each of its instances.

    `owner` is the container (nothing owns the whole), `depth` the number of regions around a node of it, itself included and
    the whole not: so many parts an item of its segments has. It begins with the segment `first`; its own and those of
    all regions inside it go up to `beyond`. A `chunked` one is a single segment that is cheap enough to perform many
    items in one go.
    """

    id: int
    kind: RegionKind
    name: str
    owner: str
    parent: int
    depth: int
    first: int
    beyond: int
    chunked: bool

    @property
    def begin(self) -> str:
        """The name of its root."""
        return f"{self.name}{BEGIN}"

    @property
    def end(self) -> str:
        """The name of its last node, whose outcome is the instance's."""
        return f"{self.name}{END}"


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One node with every rule that holds for it resolved. `type` is `name@version`; times are seconds.

    `needs` are the nodes its config reads, `branches` says that a failure has edges of its own to follow. One that is `foreign`
    does what cannot be repeated with something that a model has said; `on_foreign` is what its author wants then.
    `queue_timeout` is how long it may be ready before a worker takes it up, `heartbeat` how long a call of it may be silent.
    """

    id: str
    type: str
    config: Mapping[str, Json]
    effect: Effect
    process: bool
    waits: bool
    retry: RetryPolicy
    attempt_timeout: float
    total_timeout: float | None
    on_error: OnError
    on_uncertain: OnUncertain
    branches: bool
    needs: tuple[str, ...]
    container: Container | None = None
    limits: Limits | None = None
    foreign: bool = False
    on_foreign: OnForeign | None = None
    queue_timeout: float | None = None
    heartbeat: float | None = None

    @property
    def ends(self) -> bool:
        """Whether a region ends with it: it runs whatever was skipped before it."""
        return self.type in (OUTPUT, END)


@dataclass(frozen=True, slots=True)
class Exit:
    """An edge out of a segment's last node.

    `entry` numbers the edges that lead to a join `each`. `mark` names the edge out of a part that this one stands for.
    """

    target: int
    port: str | None
    on: EdgeKind
    when: str | None
    entry: int = 0
    mark: str | None = None


@dataclass(frozen=True)
class Segment:
    """One unit of dispatch. `entries` counts the edges that lead in; `needs` are the nodes outside that it reads.

    `reads` are the regions whose item it reads, `losers` the segments that could only have led here and stop when it starts.
    `collects` are the nodes that edges lead here from, if its first node reads what of them was taken. After the end of the
    segment `milestone` it does not begin any more.
    """

    id: int
    nodes: tuple[PlanNode, ...]
    queue: str
    exits: tuple[Exit, ...]
    entries: int
    join: Join
    needs: tuple[str, ...]
    region: int = 0
    reads: tuple[int, ...] = ()
    losers: tuple[int, ...] = ()
    collects: tuple[str, ...] = ()
    milestone: int | None = None

    @cached_property
    def pure(self) -> bool:
        """Whether running it twice is harmless, and nobody has to know who runs it, so that it needs no claim."""
        return (
            self.limits is None
            and self.milestone is None
            and all(
                each.effect is Effect.NONE
                and not each.process
                and each.queue_timeout is None
                and each.heartbeat is None
                for each in self.nodes
            )
        )

    @property
    def limits(self) -> Limits | None:
        """The limits of its node: one that has some is alone in its segment, which holds what it takes until it ends."""
        return self.nodes[0].limits

    @property
    def queue_timeout(self) -> float | None:
        """The seconds its node may wait for a worker: one that has such a limit is alone in its segment."""
        return self.nodes[0].queue_timeout

    @cached_property
    def rest(self) -> tuple[bool | None, ...] | None:
        """Which of its exits are decided, as not taken, when the items have ended that a map went on without; if it can."""
        late = tuple(False if each.port == REST else None for each in self.exits)
        return late if False in late else None

    @cached_property
    def ends(self) -> bool:
        """Whether its region ends with it."""
        return self.nodes[-1].ends


@dataclass(frozen=True)
class Plan:
    """The compiled version of one definition."""

    segments: tuple[Segment, ...]
    variables: Mapping[str, Json]
    outputs: Json
    timeout: float | None
    regions: tuple[Region, ...]
    budget: Allowance | None = None
    shared: Mapping[str, Json] = field(default_factory=dict)

    @cached_property
    def segment_of(self) -> dict[str, int]:
        """Which segment each node is in."""
        return {node.id: segment.id for segment in self.segments for node in segment.nodes}

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """The nodes whose outputs are the default result, in the author's order."""
        final = self.segments[self.segment_of[OUTPUT]]
        return final.nodes[-1].needs

    @property
    def root(self) -> Segment:
        """Where every execution starts."""
        return self.segments[0]

    @cached_property
    def nodes(self) -> dict[str, PlanNode]:
        """Every node by its id."""
        return {node.id: node for segment in self.segments for node in segment.nodes}

    @cached_property
    def losing(self) -> dict[int, tuple[int, ...]]:
        """For each segment that a join may stop, these joins."""
        found: dict[int, tuple[int, ...]] = {}
        for segment in self.segments:
            for loser in segment.losers:
                found[loser] = (*found.get(loser, ()), segment.id)
        return found

    @cached_property
    def bound(self) -> dict[int, tuple[int, ...]]:
        """For each segment that is a milestone, those that do not begin after its end."""
        found: dict[int, tuple[int, ...]] = {}
        for segment in self.segments:
            if segment.milestone is not None:
                found[segment.milestone] = (*found.get(segment.milestone, ()), segment.id)
        return found

    @cached_property
    def owned(self) -> dict[str, tuple[Region, ...]]:
        """For each container its regions, in their order."""
        found: dict[str, tuple[Region, ...]] = {}
        for region in self.regions[1:]:
            found[region.owner] = (*found.get(region.owner, ()), region)
        return found

    @cached_property
    def listening(self) -> frozenset[int]:
        """The segments that may rest until a signal comes."""
        last = ((segment.id, segment.nodes[-1]) for segment in self.segments)
        return frozenset(number for number, node in last if node.waits and node.container is None)

    @cached_property
    def inside(self) -> dict[str, tuple[int, int]]:
        """For each container the range of segments that all its regions take up."""
        found: dict[str, tuple[int, int]] = {}
        for region in self.regions[1:]:
            low, high = found.get(region.owner, (region.first, region.beyond))
            found[region.owner] = min(low, region.first), max(high, region.beyond)
        return found

    def taken(self, number: int, exits: Mapping[int, str]) -> tuple[str, ...]:
        """Return the nodes from which an edge to a collecting segment is taken, in the order of the edges.

        `exits` are those of the segments before it that have ended, as their rows have them. An edge out of a part is told
        by the node in it that the author drew it from.
        """
        found: dict[str, None] = {}
        for name in self.segments[number].collects:
            source = self.segments[self.segment_of[name]]
            bits = exits.get(source.id, "")
            bits = "1" * len(source.exits) if bits == "*" else bits
            for each, bit in zip(source.exits, bits, strict=False):
                if bit == "1" and each.target == number:
                    found[written_source(name, each.port)] = None
        return tuple(found)

    @cached_property
    def owing(self) -> frozenset[int]:
        """The segments of the containers that have something to do in their end, however they end."""
        last = ((segment.id, segment.nodes[-1].container) for segment in self.segments)
        return frozenset(number for number, each in last if each is not None and each.owes)

    def reach(self, first: int, beyond: int) -> tuple[Reach, ...]:
        """Return what a stop of the segments from `first` up to `beyond` reaches: not what containers there do in their end."""
        found = self._reaches.get((first, beyond))
        if found is None:
            found = self._reaches[first, beyond] = tuple(self._reach(first, beyond))
        return found

    def _reach(self, first: int, beyond: int) -> Iterator[Reach]:
        late = {
            number
            for each in self.regions
            if each.kind in LATE and first <= each.first and each.beyond <= beyond
            if (each.first, each.beyond) != (first, beyond)
            for number in range(each.first, each.beyond)
        }
        reached = [each for each in range(first, beyond) if each not in late]
        start = 0
        for index, number in enumerate(reached):
            following = reached[index + 1] if index + 1 < len(reached) else None
            if number in self.owing or following != number + 1 or following in self.owing:
                yield Reach(reached[start], number + 1, owes=number in self.owing)
                start = index + 1

    @cached_property
    def _reaches(self) -> dict[tuple[int, int], tuple[Reach, ...]]:
        return {}

    def region_of(self, node: str) -> Region:
        """Return the region a node stands in."""
        return self.regions[self.segments[self.segment_of[node]].region]

    def owner_of(self, region: Region) -> int:
        """Return the segment that rests while instances of a region run."""
        return self.segment_of[region.owner]

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "segments": [_stored(each) for each in self.segments],
            "variables": dict(self.variables),
            "outputs": self.outputs,
            "timeout": self.timeout,
            "regions": [_stored(each) for each in self.regions],
            "budget": _stored(self.budget),
            **({"shared": dict(self.shared)} if self.shared else {}),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Plan:
        """Read the stored form."""
        return cls(
            tuple(_segment_from_json(each) for each in body["segments"]),
            body["variables"],
            body["outputs"],
            body["timeout"],
            tuple(Region(**each) for each in body["regions"])
            if "regions" in body
            else (whole(len(body["segments"])),),
            Allowance(**body["budget"]) if body.get("budget") else None,
            body.get("shared", {}),
        )


def _stored(value: Any) -> Any:
    """Return what is stored of a value: objects for dataclasses, all else as it is.

    `dataclasses.asdict` copies everything it meets, also what only has to be read, and took a tenth of a push.
    """
    kind = type(value)
    if kind is tuple:
        return tuple(map(_stored, value))
    if not is_dataclass(kind):
        return value
    return {name: _stored(getattr(value, name)) for name in _names(kind)}


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


def _segment_from_json(body: Mapping[str, Any]) -> Segment:
    return Segment(
        id=body["id"],
        nodes=tuple(
            PlanNode(
                **{
                    **each,
                    "effect": Effect(each["effect"]),
                    "retry": RetryPolicy(
                        **{
                            **each["retry"],
                            "on": tuple(each["retry"]["on"]),
                            "excluding": tuple(each["retry"]["excluding"]),
                        }
                    ),
                    "on_error": OnError(**each["on_error"]),
                    "needs": tuple(each["needs"]),
                    "container": _container_from_json(each.get("container")),
                    "limits": Limits.from_json(each.get("limits")),
                }
            )
            for each in body["nodes"]
        ),
        queue=body["queue"],
        exits=tuple(Exit(**each) for each in body["exits"]),
        entries=body["entries"],
        join=Join(**body["join"]),
        needs=tuple(body["needs"]),
        region=body.get("region", 0),
        reads=tuple(body.get("reads", ())),
        losers=tuple(body.get("losers", ())),
        collects=tuple(body.get("collects", ())),
        milestone=body.get("milestone"),
    )


def _container_from_json(body: Mapping[str, Any] | None) -> Container | None:
    if body is None:
        return None
    return Container(
        body=body["body"],
        each=ForEach(**body["each"]) if body["each"] else None,
        loop=Loop(**body["loop"]) if body["loop"] else None,
        undo=tuple((node, region) for node, region in body["undo"]),
        catch=tuple(
            Catch(each["region"], tuple(each["on"]), tuple(each["excluding"])) for each in body["catch"]
        ),
        last=body["last"],
        timeout=body["timeout"],
        part=_part_from_json(body.get("part")),
    )


def _part_from_json(body: Mapping[str, Any] | None) -> Part | None:
    if body is None:
        return None
    several = {name: tuple(body[name]) for name in ("nodes", "ports", "sources", "shown")}
    return Part(body["kind"], body["first"], most=body["most"], **several)


def whole(segments: int) -> Region:
    """Return the region that is not inside any other."""
    return Region(0, "whole", "", "", 0, 0, 0, segments, chunked=False)


def item_in(item: str, depth: int) -> str:
    """Return the part of an item's path that names the instance of a region of that depth around it."""
    return ".".join(item.split(".")[:depth]) if depth else ""


def item_of(parent: str, index: int) -> str:
    """Return the path of an instance inside another."""
    return f"{parent}.{index}" if parent else str(index)


def split_item(item: str) -> tuple[str, int]:
    """Return what an instance is inside of, and its index there."""
    parent, _, index = item.rpartition(".")
    return parent, int(index)
