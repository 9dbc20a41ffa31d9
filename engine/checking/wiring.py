"""What is wrong between the nodes: names that lead nowhere, exits nobody has, circles, and what can never
run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final

from engine.checking.finding import Finding, Guesses, did_you_mean, listed
from engine.checking.outline import BODY, Outline, Vertex, Way
from engine.checking.source import Path
from engine.definition import TRIGGER

ERROR: Final = "error"
"""The exit every node has besides those of its type."""

_PATH_SHOWN: Final = 12
_CYCLES_SHOWN: Final = 100


def wiring(outline: Outline, flawed: Collection[Path], guesses: Guesses) -> Iterator[Finding]:
    """Yield what is wrong with ids, edges, ports, joins and the graph. The configs at `flawed` do not fit
    their schema.
    """
    ports = {each.id: _ports(each, flawed) for each in outline.ids.values()}
    yield from _duplicate_ids(outline)
    yield from _duplicate_ports(outline, ports)
    yield from _edges(outline, ports, guesses)
    yield from _joins(outline)
    yield from _failures(outline)
    yield from _cycles(outline)
    yield from _unreachable(outline, guesses)


def _ports(vertex: Vertex, flawed: Collection[Path]) -> tuple[str, ...] | None:
    """Return a node's exits; None where its type is unknown, or its config too wrong to tell."""
    if vertex.type is None:
        return None
    try:
        return vertex.type.ports_of(vertex.config)
    except Exception:
        if vertex.path not in flawed:
            raise
        return None


def _duplicate_ids(outline: Outline) -> Iterator[Finding]:
    for vertex in outline.vertices:
        first = outline.ids.get(vertex.id, vertex)
        if first is not vertex:
            message = f"The id {vertex.id} is taken: node {_number(first)} has it already."
            yield Finding(
                (*vertex.path, "id"), "definition.duplicate_id", message, "Give one of them another id."
            )


def _duplicate_ports(outline: Outline, ports: dict[str, tuple[str, ...] | None]) -> Iterator[Finding]:
    for vertex in outline.ids.values():
        for name, count in Counter((*(ports[vertex.id] or ()), ERROR)).items():
            if count > 1:
                reason = (
                    "every node has it for failures" if name == ERROR else "two ways out cannot share a name"
                )
                message = f"The node {vertex.id} has the port {name} twice; {reason}."
                path = (*vertex.path, "config")
                yield Finding(path, "definition.duplicate_port", message, "Give one of them another name.")


def _edges(outline: Outline, ports: dict[str, tuple[str, ...] | None], guesses: Guesses) -> Iterator[Finding]:
    sources = [*outline.ids, TRIGGER]
    seen: dict[tuple[str | None, ...], Way] = {}
    for way in outline.ways:
        yield from _ends(way, outline, sources, guesses)
        if way.source == way.target and way.source in outline.ids:
            message = f"The edge leads from {way.source} back to itself."
            yield Finding(
                way.path, "definition.self_loop", message, "Remove it; `retry` repeats a node that fails."
            )
        port = ERROR if way.on == ERROR else None if way.port == "out" else way.port
        on = None if way.on in ("success", ERROR) else way.on
        first = seen.setdefault((way.source, way.target, port, on, way.when), way)
        if first is not way:
            message = f"The edge {way.source} -> {way.target} stands there already, as edge {_number(first)}."
            yield Finding(way.path, "definition.duplicate_edge", message, "Remove one of the two.")
        yield from _exit(way, ("out",) if way.source == TRIGGER else ports.get(way.source), guesses)


def _ends(way: Way, outline: Outline, sources: list[str], guesses: Guesses) -> Iterator[Finding]:
    if way.source != TRIGGER and way.source not in outline.ids:
        message = f"The edge starts from {way.source}, and there is no such node."
        hint = did_you_mean(guesses.nearest(way.source, sources), f"An edge starts from {listed(sources)}.")
        yield Finding((*way.path, "from"), "definition.unknown_edge_end", message, hint)
    if way.target == TRIGGER:
        message = "No edge leads to trigger: it is where executions start."
        yield Finding((*way.path, "to"), "definition.edge_to_trigger", message, "Let the edge end at a node.")
    elif way.target not in outline.ids:
        message = f"The edge leads to {way.target}, and there is no such node."
        hint = did_you_mean(
            guesses.nearest(way.target, outline.ids), f"There are {listed(list(outline.ids))}."
        )
        yield Finding((*way.path, "to"), "definition.unknown_edge_end", message, hint)


def _exit(way: Way, ports: tuple[str, ...] | None, guesses: Guesses) -> Iterator[Finding]:
    """Check the exit an edge starts from, and that `port` and `on` say the same."""
    if way.source == TRIGGER and way.fails:
        key = "port" if way.port == ERROR else "on"
        message = "The trigger has no port error: what fails before the start starts nothing."
        yield Finding((*way.path, key), "definition.unknown_port", message, f"Remove `{key}`.")
    elif way.port is not None and ports is not None and way.port not in (*ports, ERROR):
        message = f"{way.source} has no port {way.port}."
        exits = [*ports, ERROR]
        hint = did_you_mean(guesses.nearest(way.port, exits), f"Its ports are {listed(exits)}.")
        yield Finding((*way.path, "port"), "definition.unknown_port", message, hint)
    if (
        way.port is not None
        and way.on is not None
        and (way.on != ("error" if way.port == ERROR else "success"))
    ):
        message = f'The edge starts from the port {way.port} and is taken on "{way.on}"; that never happens together.'
        hint = "Keep one of the two: `port` for an exit, `on` for every exit of that kind."
        yield Finding((*way.path, "on"), "definition.edge_contradiction", message, hint)


def _joins(outline: Outline) -> Iterator[Finding]:
    entries = Counter(each.target for each in outline.ways)
    for vertex in outline.vertices:
        join = vertex.body.get("join")
        if not isinstance(join, dict):
            continue
        mode, count = join.get("mode"), join.get("count")
        entering = entries[vertex.id]
        path = (*vertex.path, "join")
        if mode == "n" and count is None:
            message = 'A join of mode "n" needs a count.'
            hint = f"Write how many of the {entering} edges that lead to it are enough."
            yield Finding(path, "definition.bad_join", message, hint)
        elif mode in ("all", "any") and count is not None:
            message = f'A join of mode "{mode}" has no count.'
            yield Finding(
                (*path, "count"), "definition.bad_join", message, 'Remove it, or write "mode": "n".'
            )
        elif mode == "n" and type(count) is int and count > entering:
            message = f"{vertex.id} waits for {count} edges and would never run: only {_many(entering, 'edge')} to it."
            hint = f"Write {entering}, or add edges." if entering else "Remove the join, or add edges."
            yield Finding((*path, "count"), "definition.bad_join", message, hint)


def _failures(outline: Outline) -> Iterator[Finding]:
    """Compare what nodes say of their failures with the edges that are there for them."""
    caught = {each.source for each in outline.ways if each.fails}
    for vertex in outline.vertices:
        said = vertex.body.get("on_error")
        path = (*vertex.path, "on_error")
        if said == "branch" and vertex.id not in caught:
            message = f"A failure of {vertex.id} is to take a branch, and no edge leaves its port error."
            hint = f'Add an edge {{"from": "{vertex.id}", "on": "error", "to": ...}}.'
            yield Finding(path, "definition.missing_error_edge", message, hint)
        elif said is not None and said != "branch" and vertex.id in caught:
            message = f"An edge leaves the port error of {vertex.id}, so a failure goes there and `on_error` is not asked."
            hint = 'Write "branch", or remove the edge.'
            yield Finding(path, "definition.on_error_unused", message, hint, severity="warning")


def _cycles(outline: Outline) -> Iterator[Finding]:
    if not outline.graph.cyclic:
        return
    edges: dict[tuple[str, str], Way] = {}
    for way in outline.ways:
        edges.setdefault((way.source, way.target), way)
    for cycle in outline.graph.cycles(_CYCLES_SHOWN):
        shown = cycle if len(cycle) <= _PATH_SHOWN else [*cycle[: _PATH_SHOWN - 3], "...", *cycle[-2:]]
        message = f"The edges lead in a circle: {' -> '.join(shown)}."
        hint = "Remove an edge of it, most likely this one: an execution runs each node once."
        yield Finding(edges[cycle[-2], cycle[-1]].path, "definition.cycle", message, hint)


def _unreachable(outline: Outline, guesses: Guesses) -> Iterator[Finding]:
    """Find what no way from the trigger leads to.

    Without an edge from the trigger, every node that no edge leads to starts by itself, so nothing is out of
    reach but what a circle hides; and of that, the circle is the mistake. An edge with a misspelt end counts
    where it was meant.
    """
    starts = {each.target for each in outline.ways if each.source == TRIGGER}
    if not starts:
        return
    graph = outline.graph
    astray = [each for each in outline.ways if each.source not in outline.ids and each.source != TRIGGER]
    meant = {guesses.nearest(each, outline.ids) for each in _lost_targets(outline)}
    reached = graph.reachable({*starts, *graph.cyclic, *(each.target for each in astray), *(meant - {None})})  # type: ignore[arg-type]
    for vertex in outline.ids.values():
        if vertex.id in reached or any(each not in reached for each in graph.predecessors[vertex.id]):
            continue
        message = f"No edge leads to {vertex.id}, so it never runs: executions start where the edges from trigger lead."
        hint = f'Add {{"from": "trigger", "to": "{vertex.id}"}}, or an edge from the node it is to follow.'
        yield Finding(vertex.path, "definition.unreachable_node", message, hint)


def _lost_targets(outline: Outline) -> list[str]:
    return [each.target for each in outline.ways if each.target not in outline.ids and each.target != TRIGGER]


def _many(number: int, word: str) -> str:
    return f"{number} {word} leads" if number == 1 else f"{number} {word}s lead"


def _number(part: Vertex | Way) -> int:
    return int(part.path[len(BODY) + 1]) + 1
