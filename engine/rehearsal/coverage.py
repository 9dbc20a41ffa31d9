"""How much of a definition its tests have reached: the nodes that ran, and the edges that were taken. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from celeriac import Json
from engine.definition import Body, Edge, Node, Workflow
from engine.parts import leads_to
from engine.plan import Exit, Plan
from engine.rehearsal.stage import Performance
from engine.timeline import SegmentState


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of all nodes and edges, those that were reached, in the order of the definition."""

    nodes: dict[str, bool]
    edges: dict[str, bool]

    @property
    def percent(self) -> float:
        """The part of nodes and edges together."""
        reached = [*self.nodes.values(), *self.edges.values()]
        return 100 * sum(reached) / len(reached) if reached else 100.0

    def to_json(self) -> dict[str, Json]:
        """Return the form every surface shows."""
        return {
            "percent": round(self.percent, 1),
            "nodes": {
                "reached": sum(self.nodes.values()),
                "all": len(self.nodes),
                "missed": list(missed(self.nodes)),
            },
            "edges": {
                "reached": sum(self.edges.values()),
                "all": len(self.edges),
                "missed": list(missed(self.edges)),
            },
        }


def missed(reached: dict[str, bool]) -> Iterator[str]:
    """Yield what no test has reached."""
    return (name for name, there in reached.items() if not there)


def coverage(workflow: Workflow, plan: Plan, performances: Iterable[Performance]) -> Coverage:
    """Count. A branch is an edge: both ways out of an `if` are to be taken once."""
    nodes = dict.fromkeys(_ids(workflow.nodes), False)
    edges = {_words(edge): edge for edge in _edges(workflow.edges, workflow.nodes)}
    taken = dict.fromkeys(edges, False)
    for seen in performances:
        ran = set(seen.path)
        nodes.update((name, True) for name in ran & nodes.keys())
        taken.update(
            (words, True)
            for words, edge in edges.items()
            if not taken[words] and _is_taken(edge, plan, seen.segments, ran)
        )
    return Coverage(nodes, taken)


def _is_taken(edge: Edge, plan: Plan, rows: Sequence[SegmentState], ran: set[str]) -> bool:
    """Whether an edge led on: inside a segment when its target ran, between two when the exit was decided so."""
    number = plan.segment_of[edge.source]
    segment = plan.segments[number]
    target = _seen_from(plan, segment.region, edge.target)
    names = [each.id for each in segment.nodes]
    if names[names.index(edge.source) + 1 :][:1] == [target]:
        return edge.target in ran
    places = [
        place for place, each in enumerate(segment.exits) if _stands_for(each, edge, plan.segment_of[target])
    ]
    decided = [row.exits for row in rows if row.segment == number and row.status == "done"]
    return any(each is None or each == "*" or any(each[place] == "1" for place in places) for each in decided)


def _seen_from(plan: Plan, region: int, name: str) -> str:
    """Return a node, or the part it stands in, as a region sees it."""
    here = plan.region_of(name)
    while here.id != region and here.kind in ("circle", "each"):
        name, here = here.owner, plan.regions[here.parent]
    return name


def _stands_for(exit_: Exit, edge: Edge, target: int) -> bool:
    """Whether an exit of a segment is an edge as it was written, which may lead out of a part, or back in it."""
    same = (exit_.port, exit_.on, exit_.when) == (edge.port, edge.on, edge.when)
    return same and (exit_.target == target if exit_.mark is None else leads_to(exit_.mark, edge.target))


def _bodies(nodes: Iterable[Node]) -> Iterator[Body]:
    for node in nodes:
        handlers = [each.body for each in node.catch]
        for body in (node.body, *handlers, node.last):
            if body is not None:
                yield body


def _ids(nodes: Sequence[Node]) -> Iterator[str]:
    for node in nodes:
        yield node.id
        if node.compensate is not None:
            yield node.compensate.id
    for body in _bodies(nodes):
        yield from _ids(body.nodes)


def _edges(edges: Sequence[Edge], nodes: Sequence[Node]) -> Iterator[Edge]:
    yield from edges
    for body in _bodies(nodes):
        yield from _edges(body.edges, body.nodes)


def _words(edge: Edge) -> str:
    """Return an edge as people write it: `ask -> pay`, with the port or the kind that takes it."""
    kind = edge.port if edge.port not in (None, "out") else edge.on if edge.on != "success" else ""
    words = f"{edge.source} -{kind}-> {edge.target}" if kind else f"{edge.source} -> {edge.target}"
    return f"{words} when {edge.when}" if edge.when is not None else words
