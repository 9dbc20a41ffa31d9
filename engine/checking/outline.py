"""The parts of a definition that are well formed, whatever is wrong with the others.

A check that stops at the first wrong shape makes an author come back once for every mistake. Here a node
without an id, or an edge that is a number, is left out, and all that can be asked of the rest is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from celeriac import Json, NodeType
from engine import nested as definitions
from engine.checking.source import Path
from engine.definition import SCOPE, TRIGGER
from engine.graph import Graph
from engine.parts import Group, edges_back, nested
from engine.registry import Registry, UnknownNodeType

BODY: Path = ("definition",)
TRIGGERS: Path = (*BODY, "triggers")

REPEATED: Final = frozenset({"item", "index"})
"""The names that a map and a loop give to what they repeat."""

COLLECTED: Final = frozenset({"joined"})
"""The name that a join which collects gives to what it starts."""

Kind = Literal["definition", "body", "catch", "finally"]


@dataclass(frozen=True, slots=True)
class Work:
    """A node type with its config: of a node, or of what undoes one.

    `type` is None when nothing of its name is installed; `config` is {} when it has none.
    """

    path: Path
    words: str
    type: NodeType | None
    config: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Vertex:
    """A node that has an id, as it is `written`, in the region where it stands."""

    path: Path
    id: str
    region: Region
    written: Mapping[str, Any]
    work: Work
    undoing: Work | None

    @property
    def works(self) -> tuple[Work, ...]:
        """What it does, and what undoes that."""
        return (self.work,) if self.undoing is None else (self.work, self.undoing)

    @property
    def is_container(self) -> bool:
        """Whether it carries regions, written in it or implied, and so has one way out besides errors."""
        return self.written.get("type") == SCOPE or "for_each" in self.written or "loop" in self.written

    @property
    def names(self) -> frozenset[str]:
        """The names that its config can use, and the keys of its limits: those of an item, of a join, or of an edge to a join."""
        repeated = _repeated(self.written) or (COLLECTED if self.collects else frozenset[str]())
        return repeated | self.arrival

    @property
    def arrival(self) -> frozenset[str]:
        """The names that it has after a join `each`, also for what it is repeated with."""
        return REPEATED if self.id in self.region.arriving else frozenset()

    @property
    def collects(self) -> bool:
        """Whether it reads what has met at its join."""
        return "collect" in _object(self.written.get("join"))


@dataclass(frozen=True, slots=True)
class Way:
    """An edge that has two ends. `port`, `on` and `when` are as written, None when they are not or say nothing."""

    path: Path
    source: str
    target: str
    port: str | None
    on: str | None
    when: str | None
    bounds: bool = False
    """Whether it says how many times a circle goes round."""

    @property
    def fails(self) -> bool:
        """Whether it is taken after a failure only."""
        return self.port == "error" or self.on in ("error", "timeout")


class Region:
    """A graph of its own: the definition's, or that of a body in a node, its `owner`.

    What stands in it sees the nodes before it here; then those before the owner, in the region around; and so on outwards.
    """

    def __init__(
        self,
        path: Path,
        body: Mapping[str, Any],
        around: Region | None = None,
        owner: Vertex | None = None,
        kind: Kind = "definition",
        given: frozenset[str] = frozenset(),
    ) -> None:
        self.path = path
        self.body = body
        self.around = around
        self.owner = owner
        self.kind = kind
        self._given = given
        self.depth: int = 0 if around is None else around.depth + 1
        self.after: Region | None = None
        """The body that a `catch` or `finally` comes after: its nodes may have run."""
        self.vertices: list[Vertex] = []
        self.ids: dict[str, Vertex] = {}
        """The nodes by id; of two with the same id, the first. A node cannot be called trigger, so none is."""
        self.ways = [
            Way(
                (*path, "edges", index),
                each["from"],
                each["to"],
                _text(each.get("port")),
                _text(each.get("on")),
                _text(each.get("when")) or None,
                "max_iterations" in each,
            )
            for index, each in enumerate(self.edges)
            if isinstance(each, dict)
            and isinstance(each.get("from"), str)
            and isinstance(each.get("to"), str)
        ]

    def __str__(self) -> str:
        """Name it as a person would."""
        if self.kind == "definition":
            return "the definition"
        article = "a" if self.kind == "catch" else "the"
        return f"{article} {self.kind} of {self.owner.id if self.owner else 'a node without an id'}"

    @property
    def nodes(self) -> list[Any]:
        """The nodes as they are written."""
        return _list(self.body.get("nodes"))

    @property
    def edges(self) -> list[Any]:
        """The edges as they are written."""
        return _list(self.body.get("edges"))

    @property
    def outwards(self) -> Iterator[Region]:
        """This region and those around it, the definition last."""
        region: Region | None = self
        while region is not None:
            yield region
            region = region.around

    def inside(self, outer: Region) -> Vertex | None:
        """Return the node of an outer region that holds this one; None when none does, or it has no id."""
        return next((each.owner for each in self.outwards if each.around is outer), None)

    @cached_property
    def sources(self) -> list[str]:
        """What edges can start from."""
        return [*self.ids] if self.around else [*self.ids, TRIGGER]

    @cached_property
    def graph(self) -> Graph:
        """The nodes and the edges between them."""
        return Graph(self.ids, ((each.source, each.target) for each in self.ways))

    @cached_property
    def names(self) -> frozenset[str]:
        """The names that maps, loops and joins `each` around it give."""
        if self.around is None:
            return self._given
        arriving = self.owner is not None and self.owner.id in self.around.arriving
        return self._given | self.around.names | (REPEATED if arriving else frozenset())

    @cached_property
    def parts(self) -> list[tuple[int, Group]]:
        """The parts of the graph, and those inside of them, with their depth."""
        edges = [
            (way.source, way.target) for way in self.ways if way.source in self.ids and way.target in self.ids
        ]
        starts = {way.target for way in self.ways if way.source == TRIGGER}
        each = [vertex.id for vertex in self.ids.values() if _mode(vertex.written.get("join")) == "each"]
        return list(nested([*self.ids], edges, each, starts)) if each or self.graph.cyclic else []

    @cached_property
    def back(self) -> set[tuple[str, str]]:
        """The edges that lead back in a circle."""
        return edges_back((group for _, group in self.parts), ((way.source, way.target) for way in self.ways))

    def is_apart(self, name: str, reader: str | None) -> bool:
        """Whether a node runs several times for one run of its reader, so that nobody knows which is meant."""
        return any(name in group.nodes and reader not in group.nodes for _, group in self.parts)

    @cached_property
    def circling(self) -> set[str]:
        """The nodes that stand in a circle."""
        return {name for _, group in self.parts if group.kind == "circle" for name in group.nodes}

    @cached_property
    def arriving(self) -> dict[str, str]:
        """The nodes that are performed for each edge to a join, by the outermost of such joins."""
        found: dict[str, str] = {}
        for _, group in sorted(self.parts, key=lambda each: each[0]):
            for name in group.nodes if group.kind == "each" else ():
                found.setdefault(name, group.first)
        return found

    @cached_property
    def leading_astray(self) -> set[str]:
        """The nodes from which edges lead on to an end that is lost."""
        return self.graph.leading_to(each.source for each in self.ways if each.target not in self.ids)

    @cached_property
    def coming_from_nowhere(self) -> set[str]:
        """The nodes to which edges lead from an end that is lost."""
        sources = {*self.sources}
        return self.graph.reachable(each.target for each in self.ways if each.source not in sources)


class Outline:
    """What can be made out of a document."""

    def __init__(self, document: Json, registry: Registry) -> None:
        whole = document if isinstance(document, dict) else {}
        self.body: Mapping[str, Any] = _object(whole.get("definition"))
        self.registry = registry
        self._types: dict[str, NodeType | None] = {}
        self.regions: list[Region] = []
        """Every graph, each before those inside it."""
        self._enter(Region(BODY, self.body))
        self.vertices = [vertex for region in self.regions for vertex in region.vertices]
        self.ids: dict[str, Vertex] = {}
        """The nodes of all regions by id; of two with the same id, the first."""
        for region in self.regions:
            for name, vertex in region.ids.items():
                self.ids.setdefault(name, vertex)

    @property
    def whole(self) -> Region:
        """The definition's own graph."""
        return self.regions[0]

    @cached_property
    def triggers(self) -> list[tuple[Path, Mapping[str, Any]]]:
        """The ways in that are objects."""
        several = _list(self.body.get("triggers"))
        found: list[tuple[Path, Any]] = [((*TRIGGERS, index), each) for index, each in enumerate(several)]
        if "trigger" in self.body:
            found.insert(0, ((*BODY, TRIGGER), self.body[TRIGGER]))
        return [(path, each) for path, each in found if isinstance(each, dict)]

    def _enter(self, region: Region) -> None:
        """Take in a region, and those in its nodes. A document is 64 levels deep at most, so this ends early."""
        self.regions.append(region)
        for index, each in enumerate(region.nodes):
            if isinstance(each, dict):
                path = (*region.path, "nodes", index)
                vertex = self._vertex(path, each, region) if isinstance(each.get("id"), str) else None
                body: Region | None = None
                for inner, kind, graph in _bodies(each):
                    found = Region((*path, *inner), graph, region, vertex, kind, _repeated(each))
                    found.after = body
                    body = found if kind == "body" else body
                    self._enter(found)

    def _vertex(self, path: Path, node: Mapping[str, Any], region: Region) -> Vertex:
        name, undone = node["id"], node.get("compensate")
        work = Work(path, f"the node {name}", self._type(node), _config(node))
        undoing = None
        if isinstance(undone, dict):
            words = f"the compensation of {name}"
            undoing = Work((*path, "compensate"), words, self._type(undone), _config(undone))
        vertex = Vertex(path, name, region, node, work, undoing)
        region.vertices.append(vertex)
        if name != TRIGGER:
            region.ids.setdefault(name, vertex)
        return vertex

    def _type(self, node: Mapping[str, Any]) -> NodeType | None:
        reference = node.get("type")
        if not isinstance(reference, str):
            return None
        if reference not in self._types:
            try:
                self._types[reference] = self.registry.resolve(reference)
            except UnknownNodeType:
                self._types[reference] = None
        return self._types[reference]


def _config(node: Mapping[str, Any]) -> dict[str, Any]:
    return definitions.without(node.get("type"), _object(node.get("config")))


def _bodies(node: Mapping[str, Any]) -> Iterator[tuple[Path, Kind, Mapping[str, Any]]]:
    """Yield the graphs written in a node, the one that the others come after first."""
    if node.keys().isdisjoint(("body", "catch", "finally")):
        return
    found: list[tuple[Path, Kind, Any]] = [(("body",), "body", node.get("body"))]
    for index, each in enumerate(_list(node.get("catch"))):
        found.append((("catch", index, "body"), "catch", _object(each).get("body")))
    found.append((("finally",), "finally", node.get("finally")))
    yield from ((path, kind, graph) for path, kind, graph in found if isinstance(graph, dict))


def _repeated(node: Mapping[str, Any]) -> frozenset[str]:
    if "for_each" not in node and "loop" not in node:
        return frozenset()
    name = _object(node.get("for_each")).get("as")
    return REPEATED | {name} if isinstance(name, str) else REPEATED


def _mode(join: Any) -> Any:
    return join.get("mode") if isinstance(join, dict) else join


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
