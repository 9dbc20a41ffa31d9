"""Parts: what is performed as a region of its own though no scope is written around it. Pure: graphs in, graphs out.

A *circle* is a part because edges lead back in it: one round of it is a graph without circles, that begins at the node where
the circle is entered and ends where edges lead out or back. What comes after a join `each` is a part because it is performed
once for every edge. Whoever cuts or checks a graph sees each part as one node, in a graph that has neither.

Seen from outside, a node of a circle is what it last came to, and one after a join `each` is the list of what it came to, in
the order of the edges. An edge that leads out of a part is decided when all of the part has ended: it is taken if it was taken
once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from engine.definition import SCOPE, TRIGGER, Body, Edge, Node, OnError, Part, PartKind
from engine.graph import Graph

LEAVE: Final = "@leave"
"""Where the edges of a part lead that leave it: to the end of its region."""

MOST_NESTED: Final = 10
"""So many parts stand inside each other at most."""

_ROUNDS: Final = 1000
"""The rounds of a circle at most, when its author does not say."""


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes of one graph that become a part."""

    kind: PartKind
    first: str
    nodes: tuple[str, ...]
    entries: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the part is called as a node of the graph around it."""
        return f"{self.first}@{self.kind}"


def groups(
    nodes: Sequence[str],
    edges: Iterable[tuple[str, str]],
    each: Collection[str],
    starts: Collection[str] = (),
) -> list[Group]:
    """Return the circles of a graph, or if it has none the parts after joins `each`; no node is in two of them.

    `starts` are the nodes to which edges from outside of the graph lead. A circle with several entries is grouped by the first.
    """
    ways = [*edges]
    place = {name: number for number, name in enumerate(nodes)}
    if not each and all(place[a] < place[b] for a, b in ways if a in place and b in place):
        return []
    graph = Graph(nodes, ways)
    if graph.cyclic:
        return [Group("circle", one.entries[0], one.nodes, one.entries) for one in graph.circles(starts)]
    found: list[Group] = []
    inside: set[str] = set()
    for (name,) in reversed(graph.components) if each else ():
        if name in each and name not in inside:
            members = graph.only_after(name, starts)
            inside.update(members)
            found.append(Group("each", name, tuple(members)))
    return found


def nested(
    nodes: Sequence[str],
    edges: Iterable[tuple[str, str]],
    each: Collection[str],
    starts: Collection[str] = (),
) -> Iterator[tuple[int, Group]]:
    """Yield all parts of a graph, and those inside of them, each with how deep it stands: 1 for those in no other.

    Their nodes are those that the author has written. Beyond `MOST_NESTED` nothing is looked for.
    """
    written: dict[str, tuple[str, ...]] = {name: (name,) for name in nodes}
    waiting = [(1, tuple(nodes), [*edges], frozenset(each), frozenset(starts))]
    while waiting:
        depth, names, ways, joins, begun = waiting.pop()
        found = groups(names, ways, joins, begun)
        within = {name: group for group in found for name in group.nodes}
        inner: dict[str, list[tuple[str, str]]] = {group.name: [] for group in found}
        for a, b in ways if found else ():
            group = within.get(a)
            if group is not None and group is within.get(b) and b != group.first:
                inner[group.name].append((a, b))
        for group in found:
            written[group.name] = tuple(each for name in group.nodes for each in written[name])
            entries = tuple(written[name][0] for name in group.entries)
            yield depth, Group(group.kind, written[group.first][0], written[group.name], entries)
            if depth <= MOST_NESTED:
                left = joins.intersection(group.nodes) - {group.first}
                waiting.append((depth + 1, group.nodes, inner[group.name], left, frozenset()))
        if found and found[0].kind == "circle":
            called = {name: group.name for name, group in within.items()}
            outer = [(called.get(a, a), called.get(b, b)) for a, b in ways]
            waiting.append(
                (
                    depth,
                    tuple(dict.fromkeys(called.get(name, name) for name in names)),
                    [(a, b) for a, b in outer if a != b],
                    frozenset(
                        called.get(name, name)
                        for name in joins
                        if name not in within or within[name].first == name
                    ),
                    frozenset(called.get(name, name) for name in begun),
                )
            )


def edges_back(found: Iterable[Group], edges: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the edges that lead back to where a circle is entered."""
    leading: dict[str, list[str]] = {}
    for source, target in edges:
        leading.setdefault(target, []).append(source)
    return {
        (source, group.first)
        for group in found
        if group.kind == "circle"
        for inside in [set(group.nodes)]
        for source in leading.get(group.first, ())
        if source in inside
    }


def folded(body: Body) -> Body:
    """Return a graph with each of its parts as one node, so that it has neither circles nor joins `each` inside of parts."""
    while found := _groups(body):
        body = _with_parts(body, found)
    return body


def _groups(body: Body) -> list[Group]:
    each = {
        node.id
        for node in body.nodes
        if node.join is not None
        and node.join.mode == "each"
        and (node.part is None or node.part.kind == "circle")
    }
    edges = [(edge.source, edge.target) for edge in body.edges]
    starts = {edge.target for edge in body.edges if edge.source == TRIGGER}
    return groups([node.id for node in body.nodes], edges, each, starts)


def _with_parts(body: Body, found: Sequence[Group]) -> Body:
    of = {name: group for group in found for name in group.nodes}
    inner: dict[str, list[Edge]] = {group.name: [] for group in found}
    sources: dict[str, list[str]] = {group.name: [] for group in found}
    outer: list[Edge] = []
    for edge in body.edges:
        source, target = of.get(edge.source), of.get(edge.target)
        back = (
            source is target
            and source is not None
            and source.kind == "circle"
            and edge.target == source.first
        )
        if source is not None and source is target and not back:
            inner[source.name].append(edge)
            continue
        here = edge
        if source is not None:
            written = f"{source_of(edge)}>{target_of(edge)}"
            mark = f"{len(inner[source.name])}:{written}"
            inner[source.name].append(replace(edge, target=LEAVE, mark=mark))
            here = replace(edge, source=source.name, port=mark, on="success", when=None)
        if not back:
            outer.append(here if target is None else replace(here, target=target.name))
            if target is not None:
                sources[target.name].append(source_of(edge))
    nodes: list[Node] = []
    by_id = {node.id: node for node in body.nodes}
    for node in body.nodes:
        group = of.get(node.id)
        if group is None:
            nodes.append(node)
        elif node.id == group.first:
            members = [by_id[name] for name in group.nodes]
            nodes.append(_container(group, members, inner[group.name], sources[group.name]))
    return replace(body, nodes=tuple(nodes), edges=tuple(outer))


def _container(group: Group, members: Sequence[Node], edges: Sequence[Edge], sources: Sequence[str]) -> Node:
    first = members[[node.id for node in members].index(group.first)]
    marks = [edge.mark for edge in edges if edge.target == LEAVE and edge.mark is not None]
    bounds = [
        edge.most
        for edge in edges
        if edge.most is not None and edge.mark and leads_to(edge.mark, group.first)
    ]
    return Node(
        id=group.name,
        type=SCOPE,
        config={},
        retry=None,
        timeout=None,
        on_error=OnError("fail"),
        join=first.join,
        queue=None,
        effect=None,
        on_uncertain="ask",
        body=Body(
            tuple(replace(node, join=None) if node is first else node for node in members), tuple(edges)
        ),
        part=Part(
            group.kind,
            group.first,
            tuple(_written(members)),
            tuple(mark for mark in marks if not leads_to(mark, group.first) or group.kind == "each"),
            min(bounds, default=_ROUNDS),
            tuple(sources) or (TRIGGER,),
        ),
    )


def leads_to(mark: str, name: str) -> bool:
    """Whether the edge of a mark leads to a node: in a circle, to its first node is back."""
    return mark.endswith(f">{name}")


def source_of(edge: Edge) -> str:
    """Return where an edge starts as its author has written it."""
    return written_source(edge.source, edge.port)


def written_source(source: str, port: str | None) -> str:
    """Return the node that an edge out of `source` was drawn from: of a part, the one inside that its port names."""
    return port.partition(":")[2].partition(">")[0] if "@" in source and port else source


def target_of(edge: Edge) -> str:
    """Return where an edge leads as its author has written it."""
    return edge.target if edge.mark is None else edge.mark.rpartition(">")[2]


def _written(members: Iterable[Node]) -> Iterator[str]:
    for node in members:
        if node.part is None:
            yield node.id
        else:
            yield from node.part.nodes
