"""Cutting: from a definition without problems to its plan. Pure, and linear in nodes and edges.

Each region is cut by itself, as a graph with one root and one end; a container stands in it as one node. Regions are
numbered so that a region's segments and those of everything inside it are one range.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from celeriac import Effect, Json, NodeType, TryAgain
from celeriac.contract import retry_to_json
from engine import expressions, nested, parts, taint
from engine.config import braced, with_braces, with_previous
from engine.definition import (
    SCOPE,
    TRIGGER,
    Body,
    Edge,
    Handler,
    Join,
    Node,
    OnError,
    Part,
    RetryPolicy,
    Workflow,
)
from engine.graph import Graph
from engine.plan import (
    BEGIN,
    DEFAULT_QUEUE,
    END,
    ITEM,
    OUTPUT,
    REST,
    Catch,
    Container,
    Exit,
    Plan,
    PlanNode,
    Region,
    RegionKind,
    Segment,
)
from engine.registry import Registry
from engine.taint import Taint


def build(workflow: Workflow, registry: Registry) -> Plan:
    """Cut a workflow that has no problems into segments. Raises `UnknownNodeType`."""
    cut = _Cut(workflow, registry, taint.of_workflow(workflow, registry))
    cut.region(_Graph("whole", "", Body(workflow.nodes, workflow.edges), workflow.outputs))
    return Plan(
        segments=tuple(cut.segments),
        variables=workflow.variables,
        outputs=workflow.outputs,
        timeout=workflow.timeout,
        regions=tuple(cut.regions),
        budget=workflow.budget,
        shared=workflow.shared,
    )


@dataclass(frozen=True, slots=True)
class _Graph:
    """A region to be cut: its name, what is in it, and the template of its result, if its author wrote one."""

    kind: RegionKind
    name: str
    body: Body
    output: Json
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Handlers:
    """What a scope has for the failure of its body, and for its end."""

    undo: tuple[Node, ...] = ()
    catch: tuple[Handler, ...] = ()
    last: Body | None = None

    @classmethod
    def of(cls, node: Node) -> _Handlers:
        """Return those of a scope."""
        return cls(tuple(_undone(node.body)) if node.body else (), node.catch, node.last)


@dataclass(frozen=True, slots=True)
class _Around:
    """The regions around a node, as far as their items can be read: each region with the name its item has there.

    The item of a circle is what its nodes have come to, that of an edge to a join `each` what one of its sources has.
    """

    region: int
    name: str | None
    repeats: bool
    part: Part | None = None


@dataclass(frozen=True, slots=True)
class _Vertex:
    """A node on its way into a segment: what fusing has to know."""

    node: PlanNode
    queue: str | None
    ports: tuple[str, ...]
    join: Join | None
    source: Node | None = None
    apart: bool = False
    """Whether it is alone in its segment, since others ask whether that has begun, or has ended."""


@dataclass(slots=True)
class _Cut:
    """A plan in the making."""

    workflow: Workflow
    registry: Registry
    taint: Taint
    segments: list[Segment] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    around: list[_Around] = field(default_factory=list)
    known: dict[str, None] = field(default_factory=dict)
    """The nodes that a template which chooses one at run time may mean."""
    mentioned: frozenset[str | None] = frozenset()
    """The nodes that something reads, once somebody has asked."""
    inner: dict[str, str] = field(default_factory=dict)
    """By the name of a repeated scope the scope inside the repetition, whose failure its handlers deal with. By the name of a
    node in a part, seen from outside of it, the part."""

    def region(self, graph: _Graph, owner: str = "", parent: int = 0) -> Region:
        """Cut one region, and those inside it behind it. Returns it."""
        number = len(self.regions)
        depth = self.regions[parent].depth + 1 if owner else 0
        first = len(self.segments)
        self.regions.append(Region(number, graph.kind, graph.name, owner, parent, depth, first, 0, False))
        begin, end = (TRIGGER, OUTPUT) if not owner else (f"{graph.name}{BEGIN}", f"{graph.name}{END}")
        body = parts.folded(graph.body)
        repeated = graph.kind == "body" and self.around[-1].repeats
        outer, outer_inner = dict(self.known), dict(self.inner)
        self.known.update(dict.fromkeys(each.id for each in graph.body.nodes))
        for node in body.nodes:
            self.inner.pop(node.id, None)
            self.inner.update(dict.fromkeys(node.part.nodes if node.part else (), node.id))
        edges = _with_implied(body, begin, end)
        branching = {each.source for each in edges if each.on in ("error", "timeout") or each.port == "error"}
        vertices = {begin: _Vertex(_bare(begin, begin if not owner else BEGIN), None, ("out",), None)}
        for node in body.nodes:
            previous = _previous(node, edges, begin, repeated=repeated)
            vertices[node.id] = self._vertex(node, previous, branches=node.id in branching)
        vertices[end] = self._last(graph, end, OUTPUT if not owner else END)
        milestones = {each.id: each.milestone for each in body.nodes if each.milestone is not None}
        for name in {*milestones, *milestones.values()}:
            vertices[name] = replace(vertices[name], apart=True)

        outgoing: dict[str, list[Edge]] = {each: [] for each in vertices}
        entering: dict[str, int] = dict.fromkeys(vertices, 0)
        sources: dict[str, dict[str, None]] = {each: {} for each in vertices}
        for edge in edges:
            outgoing[edge.source].append(edge)
            entering[edge.target] += 1
        arriving: dict[str, int] = {}
        places: dict[Edge, int] = {}
        for edge in edges:
            sources[edge.target][edge.source] = None
            if (join := vertices[edge.target].join) is not None and join.mode == "each":
                places[edge] = arriving.get(edge.target, 0)
                arriving[edge.target] = places[edge] + 1
        certain = _certain(vertices, outgoing, entering, begin)
        runs = _fuse(vertices, outgoing, entering, certain, begin, end)
        numbers = {run[0]: first + index for index, run in enumerate(runs)}
        for run in runs:
            self.segments.append(
                self._segment(
                    number,
                    run,
                    vertices,
                    outgoing[run[-1]],
                    entering[run[0]],
                    numbers,
                    places,
                    tuple(sources[run[0]]),
                )
            )
        self._find_losers(first)
        for name, milestone in milestones.items():
            bound = self.segments[numbers[name]]
            self.segments[bound.id] = replace(bound, milestone=numbers[milestone])
        containers = [
            (index, place, source)
            for index, run in enumerate(runs, first)
            for place, name in enumerate(run)
            if (source := vertices[name].source) is not None
        ]
        for index, place, source in containers:
            self._inside(index, place, source, number)
        self.known, self.inner = outer, outer_inner
        found = replace(
            self.regions[number],
            beyond=len(self.segments),
            chunked=repeated and len(runs) == 1 and self._is_chunked(self.segments[first]),
        )
        self.regions[number] = found
        return found

    def _inside(self, index: int, place: int, node: Node, region: int) -> None:
        """Cut the regions of a container, which stands at a place in a segment already."""
        graph = _body_of(node)
        repeats = node.each is not None or node.loop is not None
        name = node.each.name if node.each is not None else None
        part = None if node.part is None else self._shown(node.part)
        if part is not None:
            graph = replace(graph, kind=part.kind, shown=part.shown)
        self.around.append(_Around(len(self.regions), name, repeats, part))
        outside = dict(self.known)
        body = self.region(graph, node.id, region)
        self.around.pop()
        self.known = outside | dict.fromkeys(each.id for each in graph.body.nodes)
        around = dict(self.inner)
        if node.id.endswith(ITEM):
            self.inner[node.id.removesuffix(ITEM)] = node.id
        handlers = _Handlers() if repeats or part is not None else _Handlers.of(node)
        undo = tuple(
            (each.id, self._region_of("undo", each.compensate.id, Body((each.compensate,), ()), node, region))
            for each in handlers.undo
            if each.compensate is not None
        )
        catch = tuple(
            Catch(
                self._region_of("catch", f"{node.id}@catch{number}", each.body, node, region),
                each.on,
                each.excluding,
            )
            for number, each in enumerate(handlers.catch)
        )
        last = (
            None
            if handlers.last is None
            else self._region_of("finally", f"{node.id}@finally", handlers.last, node, region)
        )
        self.known, self.inner = outside, around
        timeout = node.timeout.total or node.timeout.attempt if node.timeout and node.body else None
        container = Container(body.id, node.each, node.loop, undo, catch, last, timeout, part)
        segment = self.segments[index]
        nodes = list(segment.nodes)
        nodes[place] = replace(nodes[place], container=container)
        self.segments[index] = replace(segment, nodes=tuple(nodes))

    def _region_of(self, kind: RegionKind, name: str, body: Body, owner: Node, region: int) -> int:
        return self.region(_Graph(kind, name, body, _output(body)), owner.id, region).id

    def _vertex(self, node: Node, previous: str | None, *, branches: bool) -> _Vertex:
        if node.type == SCOPE or node.each is not None or node.loop is not None:
            return self._container(node, branches=branches)
        node_type = self.registry.resolve(node.type)
        effect = node.effect or node_type.effect_of(node.config)
        workflow = self.workflow
        queue = node.queue or workflow.queue or (None if _neutral(node_type, effect) else node_type.queue)
        timeout = node.timeout
        config = with_braces(with_previous(nested.named(node), node_type, previous), node_type)
        return _Vertex(
            PlanNode(
                id=node.id,
                type=node_type.key,
                config=config,
                effect=effect,
                process=node_type.process,
                waits=node_type.waits,
                retry=_retry(node.retry or workflow.retry, node_type, effect),
                attempt_timeout=timeout.attempt
                if timeout and timeout.attempt is not None
                else node_type.timeout,
                total_timeout=timeout.total if timeout else None,
                on_error=self._on_error(node, branches=branches),
                on_uncertain=node.on_uncertain,
                branches=branches,
                needs=self._needs([config, _keys(node)]),
                limits=node.limits,
                foreign=effect is Effect.ONCE and self.taint.reads(node.id, config),
                on_foreign=node.on_foreign,
                queue_timeout=timeout.queue if timeout else None,
                heartbeat=timeout.heartbeat if timeout else None,
            ),
            queue,
            node_type.ports_of(node.config),
            node.join,
        )

    def _container(self, node: Node, *, branches: bool) -> _Vertex:
        config = _questions(node)
        limited = node.each is None and node.loop is None
        ports = () if node.part is None else node.part.ports
        bare = _bare(node.id, SCOPE)
        made = replace(
            bare,
            config=config,
            waits=True,
            on_error=self._on_error(node, branches=branches),
            branches=branches,
            needs=self._needs([config, _keys(node)] if limited else config),
            limits=node.limits if limited else None,
        )
        return _Vertex(made, None, ("out", *ports), node.join, node)

    def _on_error(self, node: Node, *, branches: bool) -> OnError:
        return OnError("branch") if branches else node.on_error or self.workflow.on_error or OnError("fail")

    def _last(self, graph: _Graph, name: str, kind: str) -> _Vertex:
        """Return a region's last node: it renders the result, or gathers what the leaves came to."""
        leaves = graph.shown if graph.kind in ("circle", "each") else _leaves(graph.body)
        own = graph.output is not None
        config: dict[str, Json] = {"output": graph.output} if own and kind == END else {}
        needs = self._needs(graph.output) if own else tuple(dict.fromkeys(self._place_of(leaves)))
        if not own and needs != leaves:
            config = {"leaves": [*leaves]}
        return _Vertex(replace(_bare(name, kind), config=config, needs=needs), None, (), None)

    def _segment(
        self,
        region: int,
        run: list[str],
        vertices: Mapping[str, _Vertex],
        leaving: list[Edge],
        entries: int,
        numbers: Mapping[str, int],
        places: Mapping[Edge, int],
        sources: tuple[str, ...],
    ) -> Segment:
        inside = set(run)
        nodes = tuple(vertices[each].node for each in run)
        needs = {name: None for node in nodes for name in node.needs if name not in inside}
        conditions = [expressions.compile_expression(edge.when) for edge in leaving if edge.when is not None]
        for each in conditions:
            needs.update(dict.fromkeys(name for name in self._read_by(each) if name not in inside))
        join = vertices[run[0]].join or Join()
        collects = sources if join.collect is not None else ()
        needs.update(dict.fromkeys(collects))
        read: list[expressions.Template | expressions.Compiled] = [*conditions]
        read += (expressions.compile_value(dict(each.config)) for each in nodes)
        read += (expressions.compile_value(each.limits.keys) for each in nodes if each.limits)
        items, arriving = self._items_read(read)
        if nodes[-1].ends and self.around and self.around[-1].part is not None:
            items |= {self.around[-1].region} if self.around[-1].part.kind == "circle" else set()
        needs.update(dict.fromkeys(self._place_of(arriving)))
        needs.pop(TRIGGER, None)
        return Segment(
            id=numbers[run[0]],
            nodes=nodes,
            queue=next((vertices[each].queue or "" for each in run if vertices[each].queue), DEFAULT_QUEUE),
            exits=tuple(
                Exit(numbers[each.target], each.port, each.on, each.when, places.get(each, 0), each.mark)
                for each in leaving
            ),
            entries=entries,
            join=join,
            needs=tuple(needs),
            region=region,
            reads=tuple(sorted(items)),
            collects=collects,
        )

    def _find_losers(self, first: int) -> None:
        """Give the joins of the region that has just been cut what stops when they start: all whose every way leads there."""
        own = range(first, len(self.segments))
        joins = [each for each in own if self.segments[each].join.cancel_rest]
        entering: dict[int, list[int]] = {}
        for each in own if joins else ():
            for exit_ in self.segments[each].exits:
                entering.setdefault(exit_.target, []).append(each)
        for number in joins:
            others = {each: len(self.segments[each].exits) for each in own}
            doomed: set[int] = set()
            heads = [number]
            while heads:
                for source in entering.get(heads.pop(), ()):
                    others[source] -= 1
                    if others[source] == 0:
                        doomed.add(source)
                        heads.append(source)
            self.segments[number] = replace(self.segments[number], losers=tuple(sorted(doomed)))

    def _items_read(
        self, compiled: Iterable[expressions.Template | expressions.Compiled]
    ) -> tuple[set[int], tuple[str, ...]]:
        """Return the regions around whose item is read, under its own name or as the innermost, and nodes that are items."""
        references = [reference for each in compiled for reference in each.references]
        roots = {each.path[0] for each in references}
        read = {
            str(each.path[1]) if len(each.path) > 1 else None
            for each in references
            if each.path[0] == "nodes"
        }
        found: set[int] = set()
        innermost = True
        sources: tuple[str, ...] = ()
        for each in reversed(self.around):
            if each.part is not None and each.part.kind == "circle":
                if None in read or not read.isdisjoint(each.part.shown):
                    found.add(each.region)
            elif each.part is not None:
                sources = each.part.sources if innermost and "item" in roots else sources
                innermost = False
            elif each.repeats:
                if each.name in roots or (innermost and "item" in roots):
                    found.add(each.region)
                innermost = False
        return found, sources

    def _is_chunked(self, segment: Segment) -> bool:
        """Whether the only segment of a region is so cheap and harmless that one process performs many items of it."""
        return segment.pure and all(
            each.container is None
            and not each.waits
            and not each.branches
            and each.retry.max_attempts == 1
            and each.total_timeout is None
            for each in segment.nodes
        )

    def _needs(self, value: Any) -> tuple[str, ...]:
        """Return the nodes a value's templates read; all of them when one is chosen at run time."""
        return self._read_by(expressions.compile_value(value))

    def _read_by(self, compiled: expressions.Template | expressions.Compiled) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for reference in compiled.references:
            if reference.path[0] == "nodes":
                name = reference.path[1] if len(reference.path) > 1 else None
                found.update(dict.fromkeys([name] if isinstance(name, str) else self.known))
        return tuple(dict.fromkeys(self._place_of(found)))

    def _place_of(self, names: Iterable[str]) -> Iterator[str]:
        """Yield where nodes are found under the names they are read by."""
        return (self.inner.get(each, each) for each in names)

    def _shown(self, part: Part) -> Part:
        """Return a part with those of its nodes that something reads."""
        if not self.mentioned:
            self.mentioned = frozenset(_mentioned(self.workflow, self.registry))
        everything = None in self.mentioned
        return replace(part, shown=tuple(each for each in part.nodes if everything or each in self.mentioned))


def _mentioned(workflow: Workflow, registry: Registry) -> Iterator[str | None]:
    """Yield the nodes that something reads, and those that belong to a result; None when one is chosen at run time."""
    yield TRIGGER
    whole = Body(workflow.nodes, workflow.edges, workflow.outputs, workflow.outputs is not None)
    bodies, written = [whole], [whole.output]
    while bodies:
        body = bodies.pop()
        yield from () if body.has_output else _leaves(body)
        written += [body.output, *(braced(each.when) for each in body.edges if each.when is not None)]
        meeting = {node.id for node in body.nodes if node.join is not None and node.join.collect is not None}
        yield from (each.source for each in body.edges if each.target in meeting)
        for node in body.nodes:
            written += [_questions(node), _keys(node)]
            for each in (node, node.compensate):
                if each is not None and each.type != SCOPE:
                    written.append(with_braces(nested.named(each), registry.resolve(each.type)))
            bodies += [each for each in (node.body, node.last) if each is not None]
            bodies += [each.body for each in node.catch]
    for reference in expressions.compile_value(written).references:
        if reference.path[0] == "nodes":
            yield str(reference.path[1]) if len(reference.path) > 1 else None


def _leaves(body: Body) -> tuple[str, ...]:
    """Return the nodes that nothing regular follows but what leads back in a circle."""
    edges = [(each.source, each.target) for each in body.edges]
    names = [each.id for each in body.nodes]
    starts = {each.target for each in body.edges if each.source == TRIGGER}
    back = parts.edges_back((group for _, group in parts.nested(names, edges, (), starts)), edges)
    left = {
        each.source for each in body.edges if _is_regular(each) and (each.source, each.target) not in back
    }
    return tuple(name for name in names if name not in left)


def _undone(body: Body) -> Iterator[Node]:
    """Yield the nodes that something undoes, each after all that come before it."""
    nodes = {each.id: each for each in body.nodes}
    for component in reversed(Graph(nodes, ((each.source, each.target) for each in body.edges)).components):
        node = nodes[component[0]]
        if node.compensate is not None:
            yield node


def _keys(node: Node) -> dict[str, Json]:
    return {} if node.limits is None else {**node.limits.keys}


def _output(body: Body) -> Json:
    return body.output if body.has_output else None


def _body_of(node: Node) -> _Graph:
    """Return what a container performs: its body, or, repeated, the node itself.

    What a repeated scope does with the failure of its body concerns one item, and so do its limits: it is a scope inside the
    repetition.
    """
    repeats = node.each is not None or node.loop is not None
    if node.body is None:
        return _Graph("body", node.id, Body((_plain(replace(node, id=f"{node.id}{ITEM}")),), ()), None)
    own = node.catch or node.last or node.limits or any(each.compensate for each in node.body.nodes)
    if repeats and own:
        inner = replace(_plain(node), id=f"{node.id}{ITEM}", compensate=None)
        return _Graph("body", node.id, Body((inner,), ()), None)
    return _Graph("body", node.id, node.body, _output(node.body))


def _plain(node: Node) -> Node:
    """Return a node as it is performed for one item: what it does with its failure is its container's to say."""
    return replace(
        node, each=None, loop=None, join=None, on_error=OnError("fail"), compensate=None, milestone=None
    )


def _questions(node: Node) -> dict[str, Json]:
    """Return the expressions that a container is asked by, as a config."""
    if node.each is not None:
        found: dict[str, Json] = {"items": braced(node.each.items)}
        return found if node.each.until is None else {**found, "until": braced(node.each.until)}
    if node.loop is not None:
        return {"condition": braced(node.loop.condition), "initial": node.loop.initial}
    return {}


def _previous(node: Node, edges: Sequence[Edge], begin: str, *, repeated: bool) -> str | None:
    """Return the expression for what comes before a node: the output of the one node there, else the item or the payload."""
    sources = {each.source for each in edges if each.target == node.id}
    if len(sources) != 1:
        return None
    (source,) = sources
    if source != begin:
        return f"nodes.{source}.output"
    if begin == TRIGGER:
        return "trigger.payload"
    return "item" if repeated else None


def _with_implied(body: Body, begin: str, end: str) -> list[Edge]:
    """Add the edges nobody writes: from the root to every node that starts, and from every leaf to the end.

    A node whose every edge leads to a join that may start without it, and does not stop it then, leads to the end too, so
    that the region does not end before it. So does a map that may go on without some of its items, once more for these.
    """
    edges = [replace(each, target=end) if each.target == parts.LEAVE else each for each in body.edges]
    entered = {each.target for each in edges}
    ends = _unawaited(body, edges)
    implied = [Edge(begin, node.id, None, "success", None) for node in body.nodes if node.id not in entered]
    final = [Edge(node.id, end, None, "any", None) for node in body.nodes if node.id in ends]
    final += [
        Edge(node.id, end, REST, "success", None)
        for node in body.nodes
        if node.each is not None and node.each.rest == "finish"
    ]
    if not body.nodes:
        final = [Edge(begin, end, None, "any", None)]
    return [*implied, *edges, *final]


def _unawaited(body: Body, edges: Sequence[Edge]) -> set[str]:
    """Return the nodes that the end of a region has to wait for: no other node waits for them, or is sure to stop them."""
    left = {each.source for each in edges if _is_regular(each)}
    outgoing: dict[str, list[str]] = {node.id: [] for node in body.nodes}
    for edge in edges:
        if edge.source in outgoing:
            outgoing[edge.source].append(edge.target)
    joins = {
        node.id: node.join for node in body.nodes if node.join is not None and node.join.mode in ("any", "n")
    }
    stopping = [name for name, join in joins.items() if join.cancel_rest]
    found = {node.id for node in body.nodes if node.id not in left}
    while True:
        trailing = {node.id for node in body.nodes if node.each is not None and node.each.rest == "finish"}
        stopped = {name: _doomed(outgoing, name, found | trailing) for name in stopping}
        more = {
            name
            for name, targets in outgoing.items()
            if name not in found and not any(_waits(each, name, joins, stopped) for each in targets)
        }
        if not more:
            return found
        found |= more


def _waits(name: str, source: str, joins: Mapping[str, Join], stopped: Mapping[str, set[str]]) -> bool:
    """Whether a node waits for one that leads to it, or is sure to stop it: and nothing stops the node and not the other."""
    patient = name not in joins or source in stopped.get(name, ())
    return patient and all(source in doomed for doomed in stopped.values() if name in doomed)


def _doomed(outgoing: Mapping[str, list[str]], join: str, ends: set[str]) -> set[str]:
    """Return the nodes all of whose ways lead to a join."""
    entering: dict[str, list[str]] = {}
    for name, targets in outgoing.items():
        for each in targets:
            entering.setdefault(each, []).append(name)
    open_ways = {name: len(targets) + (name in ends) for name, targets in outgoing.items()}
    found: set[str] = set()
    heads = [join]
    while heads:
        for source in entering.get(heads.pop(), ()):
            open_ways[source] -= 1
            if open_ways[source] == 0:
                found.add(source)
                heads.append(source)
    return found


def _is_regular(edge: Edge) -> bool:
    """Whether an edge may be taken after a success, so that its source is no leaf."""
    return edge.on in ("success", "any") and edge.port != "error"


def _certain(
    vertices: Mapping[str, _Vertex],
    outgoing: Mapping[str, list[Edge]],
    entering: Mapping[str, int],
    begin: str,
) -> set[str]:
    """Return the nodes that run in every instance that nothing ends early: those no choice can skip."""
    found: set[str] = set()
    undecided = dict(entering)
    taken = dict.fromkeys(vertices, 0)
    following = deque([begin])
    while following:
        name = following.popleft()
        vertex = vertices[name]
        join = vertex.join or Join()
        if name == begin or taken[name] >= (join.count if join.mode == "n" else 1):
            found.add(name)
        for edge in outgoing[name]:
            undecided[edge.target] -= 1
            taken[edge.target] += name in found and _unconditional(vertex, edge)
            if undecided[edge.target] == 0:
                following.append(edge.target)
    return found


def _unconditional(source: _Vertex, edge: Edge) -> bool:
    """Whether an edge is taken whenever its source runs and the execution goes on."""
    survives = edge.on == "any" or (edge.on == "success" and not source.node.branches)
    return survives and edge.when is None and edge.port in (None, "out") and source.ports == ("out",)


def _fuse(
    vertices: Mapping[str, _Vertex],
    outgoing: Mapping[str, list[Edge]],
    entering: Mapping[str, int],
    certain: set[str],
    begin: str,
    end: str,
) -> list[list[str]]:
    """Return the linear runs in the order their first node is met, breadth first from the root.

    The last node joins a run only when that run is certain: every instance ends with it, so it may not be skipped with
    others.
    """
    runs: list[list[str]] = []
    met = {begin}
    heads = deque([begin])
    while heads:
        run = [heads.popleft()]
        queue = vertices[run[0]].queue
        busy = False
        while (following := _fusible(vertices, outgoing[run[-1]], entering, queue)) is not None:
            busy = busy or _takes_time(vertices[run[-1]].node)
            late = busy and vertices[following].node.waits and vertices[following].source is None
            if late or (following == end and run[0] not in certain):
                break
            run.append(following)
            queue = queue or vertices[following].queue
        runs.append(run)
        for edge in outgoing[run[-1]]:
            if edge.target not in met:
                met.add(edge.target)
                heads.append(edge.target)
    return runs


def _takes_time(node: PlanNode) -> bool:
    """Whether time passes in a node, so that what rests after it has to count from its end: from a segment of its own."""
    return node.effect is not Effect.NONE or node.process


def _fusible(
    vertices: Mapping[str, _Vertex], leaving: list[Edge], entering: Mapping[str, int], queue: str | None
) -> str | None:
    """Return the node that goes on in the same run, if the only edge out is unconditional and the only edge in."""
    if len(leaving) != 1:
        return None
    edge = leaving[0]
    source, target = vertices[edge.source], vertices[edge.target]
    unconditional = (
        edge.when is None
        and (edge.on == "success" or target.node.ends)
        and edge.port in (None, "out")
        and source.ports == ("out",)
    )
    same_queue = queue is None or target.queue is None or queue == target.queue
    alone = entering[edge.target] == 1 and target.join is None
    apart = any(
        each.apart or each.node.limits or each.node.queue_timeout is not None for each in (source, target)
    )
    # Whether an edge that leads out of a part is taken is asked for, and only exits are written down.
    goes_on = (
        unconditional and same_queue and alone and not source.node.waits and not apart and edge.mark is None
    )
    return edge.target if goes_on else None


def _bare(name: str, kind: str) -> PlanNode:
    return PlanNode(
        id=name,
        type=kind,
        config={},
        effect=Effect.NONE,
        process=False,
        waits=False,
        retry=RetryPolicy(),
        attempt_timeout=0.0,
        total_timeout=None,
        on_error=OnError("fail"),
        on_uncertain="ask",
        branches=False,
        needs=(),
    )


def _retry(given: RetryPolicy | None, node_type: NodeType, effect: Effect) -> RetryPolicy:
    """Return the author's policy or the node type's own. What must not be repeated is repeated only when the node says so."""
    if given is None:
        return RetryPolicy.parse(retry_to_json(node_type.retry))
    if effect is Effect.ONCE and not given.on:
        return replace(given, on=(TryAgain.__name__,))
    return given


def _neutral(node_type: NodeType, effect: Effect) -> bool:
    """Whether a node of this type runs wherever its neighbours run."""
    return effect is Effect.NONE and not node_type.process and node_type.queue == DEFAULT_QUEUE
