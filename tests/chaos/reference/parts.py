"""Parts: circles of edges, and what comes after a join `each`. A graph is folded first, so that it has neither.

One round of a circle is a graph in which the edges back to its entry lead out; so is one arrival at a join `each`. A part is
a node that comes to what its nodes have come to, and leaves by the edges out of it that were taken in any round or arrival.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.reference.expressions import Failure, Telling, one_of
from tests.chaos.reference.graphs import Edge, Node, Shown, leaves
from tests.chaos.reference.instances import UNFINISHED, Leave, Run, instance, seen
from tests.chaos.reference.record import Ended

OUT = "@leave"
"""Where edges lead that leave a part."""


def folded(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a graph, and all inside of it, with each part as one node. `leaves` are those that it was written with."""
    if "leaves" in body:
        return body
    nodes = [_within(each) for each in body["nodes"]]
    edges = [{**each, "written": each["from"]} for each in body.get("edges", ())]
    names = [each["id"] for each in nodes]
    back = {(one, each.first) for each in circles(names, edges) for one in each.nodes}
    onward = [each for each in edges if (each["from"], each["to"]) not in back]
    final = leaves({"nodes": nodes, "edges": onward})
    written: dict[str, Any] = {**body, "nodes": nodes, "edges": edges, "leaves": final}
    while (members := _next(written)) is not None:
        written = _fold(written, *members)
    return written


def _within(node: Node) -> Node:
    inner = {name: folded(node[name]) for name in ("body", "finally") if name in node}
    if "catch" in node:
        inner["catch"] = [{**each, "body": folded(each["body"])} for each in node["catch"]]  # type: ignore[assignment]
    return {**node, **inner}


def _next(body: Mapping[str, Any]) -> tuple[str, list[str]] | None:
    """Return the nodes of the next part, the first one first, and what kind of part it is. Circles come before joins."""
    nodes = {each["id"]: each for each in body["nodes"]}
    edges = body["edges"]
    for each in circles(list(nodes), edges):
        return "circle", [each.first, *(name for name in each.nodes if name != each.first)]
    joins = [name for name, each in nodes.items() if _arrives(each)]
    for name in joins:
        if not any(leads(each, name, edges) for each in joins if each != name):
            return "each", only_after(name, list(nodes), edges)
    return None


@dataclass(frozen=True, slots=True)
class Circle:
    """Nodes that lead to one another, and those of them to which edges lead from elsewhere."""

    nodes: Sequence[str]
    entries: Sequence[str]

    @property
    def first(self) -> str:
        """Where it begins."""
        return [*self.entries, *self.nodes][0]


def circles(names: Sequence[str], edges: Sequence[Edge]) -> Iterator[Circle]:
    """Yield the circles of a graph, each followed by those that are left in it when no edge leads back to its entry."""
    after = {each: reached(each, edges) for each in names}
    for name in names:
        some = [each for each in names if each in after[name] and name in after[each]]
        if not some or name != some[0]:
            continue
        entered = {each["to"] for each in edges if each["from"] not in some}
        circle = Circle(some, [each for each in some if each in entered])
        yield circle
        inside = [each for each in edges if {each["from"], each["to"]} <= set(some)]
        yield from circles(some, [each for each in inside if each["to"] != circle.first])


def _arrives(node: Node) -> bool:
    rule = node.get("join")
    each = rule == "each" or (isinstance(rule, Mapping) and rule.get("mode") == "each")
    return each and node.get("part", {}).get("kind") != "each"


def leads(source: str, target: str, edges: Sequence[Edge]) -> bool:
    """Whether one node leads to another, over one edge at least."""
    return target in reached(source, edges)


def reached(source: str, edges: Sequence[Edge]) -> set[str]:
    """Return every node that one leads to, over one edge at least."""
    following: dict[str, list[str]] = {}
    for each in edges:
        following.setdefault(each["from"], []).append(each["to"])
    found: set[str] = set()
    heads = [source]
    while heads:
        new = set(following.get(heads.pop(), ())) - found
        found |= new
        heads += new
    return found


def only_after(first: str, nodes: Sequence[str], edges: Sequence[Edge]) -> list[str]:
    """Return a node and all that cannot be reached but from it."""
    found = [first]
    again = True
    while again:
        again = False
        for name in nodes:
            sources = {each["from"] for each in edges if each["to"] == name}
            if name not in found and sources and sources <= set(found):
                found.append(name)
                again = True
    return found


def _fold(body: Mapping[str, Any], kind: str, members: Sequence[str]) -> dict[str, Any]:
    first, name = members[0], f"{members[0]}@{kind}"
    inside: list[Edge] = []
    outside: list[Edge] = []
    sources: list[str] = []
    rounds: list[int] = []
    for number, edge in enumerate(body["edges"]):
        here, there = edge["from"] in members, edge["to"] in members
        back = here and edge["to"] == first
        if here and there and not back:
            inside.append(edge)
        elif here:
            inside.append({**edge, "to": OUT, "mark": "back" if back else f"{number}"})
            if back:
                rounds += [edge["max_iterations"]] if "max_iterations" in edge else []
            else:
                kept = {key: edge[key] for key in ("to", "written", "mark") if key in edge}
                outside.append({**kept, "from": name, "port": f"{number}"})
        else:
            outside.append({**edge, "to": name} if there else edge)
            sources += [edge["written"]] if there else []
    nodes = {each["id"]: each for each in body["nodes"]}
    join = {"join": nodes[first]["join"]} if "join" in nodes[first] else {}
    entry = {key: each for key, each in nodes[first].items() if key != "join"}
    inner = folded({"nodes": [entry, *(nodes[each] for each in members[1:])], "edges": inside})
    part: dict[str, Any] = {"kind": kind, "nodes": list(_written(nodes[each] for each in members))}
    part |= {"most": min(rounds, default=1000), "sources": sources}
    made = {"id": name, "type": "scope", "part": part, "body": inner, "on_error": "fail", **join}
    units = [each if each["id"] != first else made for each in body["nodes"] if each["id"] not in members[1:]]
    return {**body, "nodes": units, "edges": outside}


def _written(nodes: Iterator[Node]) -> Iterator[str]:
    for each in nodes:
        yield from each["part"]["nodes"] if "part" in each else [each["id"]]


def perform_part(run: Run, node: Node, since: int, found: Ended | None) -> Any:
    """Perform a circle, or what comes after a join `each`."""
    if node["part"]["kind"] == "circle":
        return _circle(run, node, since)
    return _each(run, node, since, found)


def _circle(run: Run, node: Node, since: int) -> Any:
    part = node["part"]
    carried: dict[str, Any] = {}
    taken: dict[str, None] = {}
    for index in range(part["most"]):
        around = seen(run) | carried
        within, outcome = instance(run, node, node["id"], node["body"], index, since, around=around)
        if outcome is None:
            return UNFINISHED
        if outcome.state == "failed":
            raise Failure(outcome.code)
        carried |= _came_to(within, part["nodes"])
        marks = list(_marks(within))
        taken |= dict.fromkeys(marks)
        since = outcome.seq
        if "back" not in marks:
            return Shown(tuple(taken), carried)
    raise Failure("loop.too_many_iterations")


def _each(run: Run, node: Node, since: int, found: Ended | None) -> Any:
    part = node["part"]
    around = {name: each for name, each in seen(run).items() if name not in part["nodes"]}
    edges = [number for number, each in enumerate(run.edges) if each["to"] == node["id"]]
    whole = True
    arrived: list[dict[str, Any]] = []
    taken: dict[str, None] = {}
    failed: set[str] = set()
    away: list[Leave] = []
    for index, edge in enumerate(edges or [None]):
        way = None if edge is None else run.ways.get(edge)
        whole = whole and (edge is None or way is not None)
        if edge is not None and (way is None or not way.taken):
            continue
        names = {"item": None if edge is None else _item(run, part["sources"][index]), "index": index}
        begin = since if way is None else way.seq
        try:
            within, outcome = instance(
                run, node, node["id"], node["body"], index, begin, names, around=around
            )
        except Leave as leave:
            away.append(leave)
            continue
        if outcome is None:
            whole = False
        elif outcome.state == "failed":
            failed.add(str(outcome.code))
        else:
            arrived.append(_came_to(within, part["nodes"]))
            taken |= dict.fromkeys(_marks(within))
    if away:
        raise min(away, key=lambda each: each.seq)
    if failed:
        raise Failure(one_of(frozenset(failed)))
    last = max((run.ways[edge].seq for edge in edges if edge in run.ways), default=0)
    if found is not None and 0 < found.seq <= last:
        run.complain(node["id"], f"it ended at {found.seq}, and was reached at {last}")
    return Shown(tuple(taken), _lists(part["nodes"], arrived)) if whole else UNFINISHED


def _lists(names: Sequence[str], arrived: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What each node came to in every arrival, of those that have an output in one."""
    return {
        name: {"output": [each.get(name, {}).get("output") for each in arrived]}
        for name in names
        if any("output" in each.get(name, {}) for each in arrived)
    }


def _item(run: Run, source: str) -> Any:
    """What the node at the other end of an edge came to."""
    if source == "trigger":
        return run.given.payload
    came = seen(run).get(source, {})
    return came["output"] if "output" in came else Telling(came.get("error", {}).get("code"))


def _came_to(run: Run, names: Collection[str]) -> dict[str, Any]:
    return {name: each for name, each in seen(run, around={}).items() if name in names}


def _marks(run: Run) -> Iterator[str]:
    """Yield by which of the edges out of a part a round of it has left."""
    for number, edge in enumerate(run.edges):
        if "mark" in edge and number in run.ways and run.ways[number].taken:
            yield edge["mark"]
