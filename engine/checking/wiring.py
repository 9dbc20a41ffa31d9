"""What is wrong between the nodes: names that lead nowhere, exits nobody has, circles, and what can never
run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final

from engine.checking.finding import Finding, Guesses, did_you_mean, listed
from engine.checking.outline import Outline, Region, Vertex, Way
from engine.checking.source import Path
from engine.definition import TRIGGER
from engine.graph import Graph
from engine.parts import MOST_NESTED, Group

ERROR: Final = "error"
"""The exit every node has besides those of its type."""

OUT: Final = ("out",)
"""The exits of what carries regions, and of the trigger."""

_PATH_SHOWN: Final = 12
_CYCLES_SHOWN: Final = 100


Ports = dict[Vertex, tuple[str, ...] | None]


def wiring(outline: Outline, flawed: Collection[Path], guesses: Guesses) -> Iterator[Finding]:
    """Yield what is wrong with ids, edges, ports, joins and the graphs. The configs at `flawed` do not fit
    their schema.
    """
    ports = {each: _ports(each, flawed) for each in outline.vertices}
    yield from _duplicate_ids(outline)
    yield from _duplicate_ports(ports)
    yield from _undone(outline)
    for region in outline.regions:
        yield from _edges(region, outline, ports, guesses)
        yield from _joins(region)
        yield from _milestones(region, guesses)
        yield from _failures(region)
        yield from _circles(region, ports)
        yield from _parts(region)
        yield from _unreachable(region, ports, guesses)


def _ports(vertex: Vertex, flawed: Collection[Path]) -> tuple[str, ...] | None:
    """Return the exits of a node's type; None where that is unknown, or the config too wrong to tell."""
    if vertex.work.type is None:
        return None
    try:
        return vertex.work.type.ports_of(vertex.work.config)
    except Exception:
        if vertex.path not in flawed:
            raise
        return None


def _duplicate_ids(outline: Outline) -> Iterator[Finding]:
    for vertex in outline.vertices:
        first = outline.ids.get(vertex.id, vertex)
        if first is not vertex:
            place = "" if first.region is vertex.region else f" of {first.region}"
            message = f"The id {vertex.id} is taken: node {_number(first)}{place} has it already."
            yield Finding(
                (*vertex.path, "id"), "definition.duplicate_id", message, "Give one of them another id."
            )


def _duplicate_ports(ports: Ports) -> Iterator[Finding]:
    for vertex, names in ports.items():
        if vertex.region.ids.get(vertex.id) is not vertex:
            continue
        for name, count in Counter((*(names or ()), ERROR)).items():
            if count > 1:
                reason = (
                    "every node has it for failures" if name == ERROR else "two ways out cannot share a name"
                )
                message = f"The node {vertex.id} has the port {name} twice; {reason}."
                path = (*vertex.path, "config")
                yield Finding(path, "definition.duplicate_port", message, "Give one of them another name.")


def _undone(outline: Outline) -> Iterator[Finding]:
    """Find what would be undone after the failure of a scope, and stands in none."""
    for vertex in outline.whole.vertices:
        if "compensate" in vertex.written:
            message = (
                f"The node {vertex.id} stands in no scope, so nothing would ever ask for its `compensate`."
            )
            hint = "Put it into the body of a scope: a failure of that scope undoes what it has done."
            path = (*vertex.path, "compensate")
            yield Finding(path, "definition.compensate_without_scope", message, hint, key=True)


def _edges(region: Region, outline: Outline, ports: Ports, guesses: Guesses) -> Iterator[Finding]:
    seen: dict[tuple[str | None, ...], Way] = {}
    for way in region.ways:
        yield from _ends(way, region, outline, guesses)
        if way.source == way.target and way.source in region.ids and _is_unconditional(way, region, ports):
            message = f"The edge leads from {way.source} back to itself, always."
            hint = (
                "Give it a `when`; or remove it: `retry` repeats a node that fails, `loop` one that succeeds."
            )
            yield Finding(way.path, "definition.self_loop", message, hint)
        port = ERROR if way.on == ERROR else None if way.port == "out" else way.port
        on = None if way.on in ("success", ERROR) else way.on
        first = seen.setdefault((way.source, way.target, port, on, way.when), way)
        if first is not way:
            message = f"The edge {way.source} -> {way.target} stands there already, as edge {_number(first)}."
            yield Finding(way.path, "definition.duplicate_edge", message, "Remove one of the two.")
        yield from _exit(way, region, ports, guesses)


def _ends(way: Way, region: Region, outline: Outline, guesses: Guesses) -> Iterator[Finding]:
    """Check that both ends are there, and in the region where the edge stands."""
    elsewhere = {
        each: outline.ids[each].region
        for each in (way.source, way.target)
        if each not in region.ids and each in outline.ids
    }
    if way.source in elsewhere and elsewhere[way.source] is elsewhere.get(way.target):
        message = f"The edge {way.source} -> {way.target} stands in {region}, and its nodes in {elsewhere[way.source]}."
        hint = "Move it to the edges beside its nodes."
        yield Finding(way.path, "definition.edge_between_scopes", message, hint)
        return
    for key, name in (("from", way.source), ("to", way.target)):
        path = (*way.path, key)
        if name in elsewhere:
            verb = "start from" if key == "from" else "lead to"
            message = f"An edge in {region} cannot {verb} {name}, which stands in {elsewhere[name]}."
            yield Finding(
                path, "definition.edge_between_scopes", message, _detour(key, elsewhere[name], region)
            )
        elif name == TRIGGER:
            yield from _at_trigger(path, region)
        elif name not in region.ids:
            yield _lost(path, name, region, guesses)


def _at_trigger(path: Path, region: Region) -> Iterator[Finding]:
    if path[-1] == "to":
        message = "No edge leads to trigger: it is where executions start."
        yield Finding(path, "definition.edge_to_trigger", message, "Let the edge end at a node.")
    elif region.around is not None:
        message = f"No edge leads from trigger into {region}."
        hint = "Remove it: in a body, the nodes that no edge leads to start at once."
        yield Finding(path, "definition.unknown_edge_end", message, hint)


def _lost(path: Path, name: str, region: Region, guesses: Guesses) -> Finding:
    if path[-1] == "from":
        message = f"The edge starts from {name}, and there is no such node."
        known = region.sources
        otherwise = f"An edge starts from {listed(known)}."
    else:
        message = f"The edge leads to {name}, and there is no such node."
        known = [*region.ids]
        otherwise = f"There are {listed(known)}."
    hint = did_you_mean(guesses.nearest(name, known), otherwise)
    return Finding(path, "definition.unknown_edge_end", message, hint)


def _detour(key: str, there: Region, here: Region) -> str:
    """Say which nodes to connect instead of those that stand in two regions."""
    within = there.inside(here)
    if within is not None and key == "from":
        return f"Let it start from {within.id}, which ends when all inside has."
    if within is not None:
        return f"Let it lead to {within.id}: inside, the nodes that no edge leads to start first."
    beyond = here.inside(there)
    if beyond is not None:
        return f"Nothing leaves a body: connect {beyond.id}, which holds it."
    return "Connect the nodes that hold the two bodies."


def _exit(way: Way, region: Region, ports: Ports, guesses: Guesses) -> Iterator[Finding]:
    """Check the exit an edge starts from, and that `port` and `on` say the same."""
    vertex = region.ids.get(way.source)
    own = ports[vertex] if vertex is not None else OUT if way.source == TRIGGER else None
    exits = OUT if vertex is not None and vertex.is_container else own
    if way.source == TRIGGER and way.fails:
        key = "port" if way.port == ERROR else "on"
        message = "The trigger has no port error: what fails before the start starts nothing."
        yield Finding((*way.path, key), "definition.unknown_port", message, f"Remove `{key}`.")
    elif way.port is not None and exits is not None and way.port not in (*exits, ERROR):
        message = f"{way.source} has no port {way.port}."
        known = [*exits, ERROR]
        hint = did_you_mean(guesses.nearest(way.port, known), f"Its ports are {listed(known)}.")
        if way.port in (own or ()):
            message = f"{way.source} is repeated as a whole, and has no port {way.port}."
            hint = "Put it into a scope with what follows its exits, and let the scope be repeated."
        yield Finding((*way.path, "port"), "definition.unknown_port", message, hint)
    if (
        way.port is not None
        and way.on is not None
        and (way.on != ("error" if way.port == ERROR else "success"))
    ):
        message = f'The edge starts from the port {way.port} and is taken on "{way.on}"; that never happens together.'
        hint = "Keep one of the two: `port` for an exit, `on` for every exit of that kind."
        yield Finding((*way.path, "on"), "definition.edge_contradiction", message, hint)


def _joins(region: Region) -> Iterator[Finding]:
    entries = Counter(each.target for each in region.ways if (each.source, each.target) not in region.back)
    for vertex in region.vertices:
        join = vertex.written.get("join")
        if not isinstance(join, dict):
            continue
        mode, count = join.get("mode"), join.get("count")
        entering = entries[vertex.id]
        path = (*vertex.path, "join")
        if vertex.collects and not entering:
            message = f"No edge leads to {vertex.id}, so there is nothing to collect."
            hint = "Remove `collect`, or add the edges whose outputs it is to have."
            yield Finding((*path, "collect"), "definition.bad_join", message, hint, key=True)
        if mode == "n" and count is None:
            message = 'A join of mode "n" needs a count.'
            hint = f"Write how many of the {entering} edges that lead to it are enough."
            yield Finding(path, "definition.bad_join", message, hint)
        elif mode == "each" and (
            key := next((each for each in ("cancel_rest", "when") if each in join), None)
        ):
            message = (
                f'`{key}` says nothing of a join of mode "each": it starts for every edge that is taken.'
            )
            yield Finding((*path, key), "definition.bad_join", message, "Remove it.", key=True)
        elif mode in ("all", "any", "each") and count is not None:
            message = f'A join of mode "{mode}" has no count.'
            yield Finding(
                (*path, "count"), "definition.bad_join", message, 'Remove it, or write "mode": "n".'
            )
        elif mode == "n" and type(count) is int and count > entering:
            message = f"{vertex.id} waits for {count} edges and would never run: only {_many(entering, 'edge')} to it."
            hint = f"Write {entering}, or add edges." if entering else "Remove the join, or add edges."
            yield Finding((*path, "count"), "definition.bad_join", message, hint)


def _milestones(region: Region, guesses: Guesses) -> Iterator[Finding]:
    """Check that what a node is enabled with stands beside it, and can end before or after it begins."""
    for vertex in region.vertices:
        said = vertex.written.get("enabled_while")
        name = said.get("not_ended") if isinstance(said, dict) else None
        if not isinstance(name, str):
            continue
        path = (*vertex.path, "enabled_while", "not_ended")
        if name not in region.ids:
            message = f"{vertex.id} is enabled with {name}, and there is no such node in {region}."
            hint = did_you_mean(guesses.nearest(name, region.ids), "Name a node that stands beside it.")
            yield Finding(path, "definition.bad_milestone", message, hint)
        elif name == vertex.id or region.graph.precedes(name, vertex.id):
            message = f"{vertex.id} would never run: {name} has ended before it can begin."
            hint = "Name a node that runs beside it, not before it."
            yield Finding(path, "definition.bad_milestone", message, hint)
        elif region.graph.precedes(vertex.id, name):
            message = f"{name} comes after {vertex.id}, so it has never ended when that begins."
            hint = "Remove `enabled_while`, or name a node that runs beside it."
            yield Finding(path, "definition.bad_milestone", message, hint)
        elif region.is_apart(name, vertex.id) or region.is_apart(vertex.id, name):
            message = f"{vertex.id} and {name} are not repeated together, so nobody knows which run of {name} is meant."
            hint = "Name a node that stands in the same circle, or behind the same join `each`."
            yield Finding(path, "definition.bad_milestone", message, hint)


def _failures(region: Region) -> Iterator[Finding]:
    """Compare what nodes say of their failures with the edges that are there for them."""
    caught = {each.source for each in region.ways if each.fails}
    for vertex in region.vertices:
        said = vertex.written.get("on_error")
        path = (*vertex.path, "on_error")
        if said == "branch" and vertex.id not in caught:
            message = f"A failure of {vertex.id} is to take a branch, and no edge leaves its port error."
            hint = f'Add an edge {{"from": "{vertex.id}", "on": "error", "to": ...}}.'
            yield Finding(path, "definition.missing_error_edge", message, hint)
        elif said is not None and said != "branch" and vertex.id in caught:
            message = f"An edge leaves the port error of {vertex.id}, so a failure goes there and `on_error` is not asked."
            hint = 'Write "branch", or remove the edge.'
            yield Finding(path, "definition.on_error_unused", message, hint, severity="warning")


def _is_unconditional(way: Way, region: Region, ports: Ports) -> bool:
    """Whether an edge is taken whenever its source succeeds."""
    vertex = region.ids[way.source]
    own = OUT if vertex.is_container else ports[vertex]
    return way.when is None and not way.fails and (way.port is None or own == OUT)


def _circles(region: Region, ports: Ports) -> Iterator[Finding]:
    """Find circles that nothing ends, that have several entries, or that stand too deep inside each other."""
    edges: dict[tuple[str, str], Way] = {}
    for way in region.ways:
        edges.setdefault((way.source, way.target), way)
    endless = Graph(region.ids, _always(region, ports)) if region.graph.cyclic else None
    for cycle in endless.cycles(_CYCLES_SHOWN) if endless is not None else ():
        shown = cycle if len(cycle) <= _PATH_SHOWN else [*cycle[: _PATH_SHOWN - 3], "...", *cycle[-2:]]
        message = f"The edges lead in a circle that nothing ends: {' -> '.join(shown)}."
        hint = "Give an edge of it a `when` or a port, most likely this one, so that the others lead out; or remove it."
        yield Finding(edges[cycle[-2], cycle[-1]].path, "definition.cycle", message, hint)
    for depth, group in region.parts:
        inside = set(group.nodes)
        if len(group.entries) > 1 and (endless is None or endless.cyclic.isdisjoint(inside)):
            yield _several_entries(group, region)
        if depth > MOST_NESTED:
            message = f"Circles and joins `each` are nested more than {MOST_NESTED} deep, at {group.first}."
            path = region.ids[group.first].path
            yield Finding(
                path, "definition.scopes_too_deep", message, "Write scopes, or call another workflow."
            )


def _always(region: Region, ports: Ports) -> Iterator[tuple[str, str]]:
    for way in region.ways:
        if way.source in region.ids and way.source != way.target and _is_unconditional(way, region, ports):
            yield way.source, way.target


def _several_entries(group: Group, region: Region) -> Finding:
    """Say that nobody knows where a circle begins, and how to write what was meant."""
    first, second, *_ = group.entries
    inside = set(group.nodes)
    way = next(each for each in region.ways if each.target == second and each.source not in inside)
    shown = [*group.nodes[:_PATH_SHOWN], *(["..."] if len(group.nodes) > _PATH_SHOWN else [])]
    message = (
        f"The circle of {', '.join(shown)} is entered at {first} and at {second}, so it has no beginning."
    )
    hint = (
        f"Let the edge from {way.source} lead to {first}, and let {first} decide where to go on; "
        f'or put the nodes into a scope with "loop": {{"while": ...}}.'
    )
    return Finding(way.path, "definition.circle_entries", message, hint)


def _parts(region: Region) -> Iterator[Finding]:
    """Find what is written about circles and joins `each`, and means nothing there."""
    for way in region.ways:
        if way.bounds and (way.source, way.target) not in region.back:
            message = f"The edge {way.source} -> {way.target} does not lead back in a circle, so nothing goes round by it."
            hint = "Remove `max_iterations`; `loop` has one of its own."
            yield Finding((*way.path, "max_iterations"), "definition.not_in_circle", message, hint, key=True)
    for vertex in region.vertices:
        repeated = vertex.id in region.circling or vertex.id in region.arriving
        if repeated and "compensate" in vertex.written:
            kind = "a circle" if vertex.id in region.circling else "what a join `each` repeats"
            message = f"The node {vertex.id} stands in {kind}: which of its runs `compensate` undoes is open."
            hint = "Put it into a scope of its own there, with what has to succeed together with it."
            yield Finding(
                (*vertex.path, "compensate"), "definition.compensate_repeated", message, hint, key=True
            )


def _unreachable(region: Region, ports: Ports, guesses: Guesses) -> Iterator[Finding]:
    """Find what no way from the trigger leads to.

    Without an edge from the trigger, and in a body, every node that no edge leads to starts by itself, so nothing is out of
    reach but what a circle hides that nothing ends; and of that, the circle is the mistake. An edge with a misspelt end counts
    where it was meant.
    """
    starts = {each.target for each in region.ways if each.source == TRIGGER}
    if region.around is not None or not starts:
        return
    graph = region.graph
    astray = [each for each in region.ways if each.source not in region.ids and each.source != TRIGGER]
    meant = {guesses.nearest(each, region.ids) for each in _lost_targets(region)}
    endless = Graph(region.ids, _always(region, ports)).cyclic if graph.cyclic else ()
    reached = graph.reachable({*starts, *endless, *(each.target for each in astray), *(meant - {None})})  # type: ignore[arg-type]
    entered = {name: group.first for depth, group in region.parts if depth == 1 for name in group.nodes}
    for vertex in region.ids.values():
        before = [each for each in graph.predecessors[vertex.id] if (each, vertex.id) not in region.back]
        hidden = any(each not in reached for each in before)
        if vertex.id in reached or hidden or entered.get(vertex.id, vertex.id) != vertex.id:
            continue
        message = f"No edge leads to {vertex.id}, so it never runs: executions start where the edges from trigger lead."
        if vertex.id in entered:
            message = f"No way leads to the circle of {vertex.id}: executions start where the edges from trigger lead."
        hint = f'Add {{"from": "trigger", "to": "{vertex.id}"}}, or an edge from the node it is to follow.'
        yield Finding(vertex.path, "definition.unreachable_node", message, hint)


def _lost_targets(region: Region) -> list[str]:
    return [each.target for each in region.ways if each.target not in region.ids and each.target != TRIGGER]


def _many(number: int, word: str) -> str:
    return f"{number} {word} leads" if number == 1 else f"{number} {word}s lead"


def _number(part: Vertex | Way) -> int:
    return int(part.path[-1]) + 1
