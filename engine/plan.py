"""The plan: a definition cut into fused segments and their joins. Pure, and stored with the version.

A segment is a maximal linear run of nodes that one process performs for one message. It ends where something outside
decides what follows: a fan-out, a join, a choice of ports, a condition, a durable wait, another queue.

Two nodes exist in every plan without being written: `trigger`, the only root, whose output is the payload, and
`@output`, the last one, which joins every leaf and renders the execution's result. With them a start writes one row
whatever the graph, and an execution ends when its last segment does, by the same rules as any other segment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from celeriac import Effect, Json, NodeType, TryAgain
from celeriac.contract import retry_to_json
from engine import expressions
from engine.config import with_braces
from engine.definition import TRIGGER, Edge, EdgeKind, Join, Node, OnError, OnUncertain, RetryPolicy, Workflow
from engine.registry import Registry

OUTPUT = "@output"
DEFAULT_QUEUE = "default"


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One node with every rule that holds for it resolved. `type` is `name@version`; times are seconds.

    `needs` are the nodes its config reads, `branches` says that a failure has edges of its own to follow.
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


@dataclass(frozen=True, slots=True)
class Exit:
    """An edge out of a segment's last node."""

    target: int
    port: str | None
    on: EdgeKind
    when: str | None


@dataclass(frozen=True)
class Segment:
    """One unit of dispatch. `entries` counts the edges that lead in; `needs` are the nodes outside that it reads."""

    id: int
    nodes: tuple[PlanNode, ...]
    queue: str
    exits: tuple[Exit, ...]
    entries: int
    join: Join
    needs: tuple[str, ...]

    @cached_property
    def pure(self) -> bool:
        """Whether running it twice is harmless, so that it needs no claim."""
        return all(each.effect is Effect.NONE and not each.process for each in self.nodes)

    @cached_property
    def last(self) -> bool:
        """Whether the execution ends with it."""
        return self.nodes[-1].id == OUTPUT


@dataclass(frozen=True)
class Plan:
    """The compiled version of one definition."""

    segments: tuple[Segment, ...]
    variables: Mapping[str, Json]
    outputs: Json
    timeout: float | None

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

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "segments": [asdict(each) for each in self.segments],
            "variables": dict(self.variables),
            "outputs": self.outputs,
            "timeout": self.timeout,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Plan:
        """Read the stored form."""
        return cls(
            tuple(_segment_from_json(each) for each in body["segments"]),
            body["variables"],
            body["outputs"],
            body["timeout"],
        )


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
                }
            )
            for each in body["nodes"]
        ),
        queue=body["queue"],
        exits=tuple(Exit(**each) for each in body["exits"]),
        entries=body["entries"],
        join=Join(**body["join"]),
        needs=tuple(body["needs"]),
    )


@dataclass(frozen=True, slots=True)
class _Vertex:
    """A node on its way into a segment: what fusing has to know."""

    node: PlanNode
    queue: str | None
    ports: tuple[str, ...]
    join: Join | None


def build(workflow: Workflow, registry: Registry) -> Plan:
    """Cut a workflow that has no problems into segments. Linear in nodes and edges. Raises `UnknownNodeType`."""
    edges = _with_implied(workflow)
    vertices = {TRIGGER: _Vertex(_bare(TRIGGER, ()), None, ("out",), None)}
    branching = {each.source for each in edges if each.on in ("error", "timeout") or each.port == "error"}
    everything = tuple(each.id for each in workflow.nodes)
    for node in workflow.nodes:
        vertices[node.id] = _vertex(node, workflow, registry, everything, branches=node.id in branching)
    left = {each.source for each in workflow.edges if _is_regular(each)}
    leaves = tuple(each.id for each in workflow.nodes if each.id not in left)
    needs = leaves if workflow.outputs is None else _needs(workflow.outputs, everything)
    vertices[OUTPUT] = _Vertex(_bare(OUTPUT, needs), None, (), None)

    outgoing: dict[str, list[Edge]] = {each: [] for each in vertices}
    entering: dict[str, int] = dict.fromkeys(vertices, 0)
    for edge in edges:
        outgoing[edge.source].append(edge)
        entering[edge.target] += 1
    runs = _fuse(vertices, outgoing, entering, _certain(vertices, outgoing, entering))
    number = {run[0]: index for index, run in enumerate(runs)}
    return Plan(
        segments=tuple(
            _segment(index, run, vertices, outgoing[run[-1]], entering[run[0]], number, everything)
            for index, run in enumerate(runs)
        ),
        variables=workflow.variables,
        outputs=workflow.outputs,
        timeout=workflow.timeout,
    )


def _with_implied(workflow: Workflow) -> list[Edge]:
    """Add the edges nobody writes: from the trigger to every root, and from every leaf to the output.

    A node whose every edge leads to a join that may start without it leads to the output too, so that the execution
    does not end before it.
    """
    entered = {each.target for each in workflow.edges}
    left = {each.source for each in workflow.edges if _is_regular(each)}
    implied = [
        Edge(TRIGGER, node.id, None, "success", None) for node in workflow.nodes if node.id not in entered
    ]
    hasty = {node.id for node in workflow.nodes if node.join is not None and node.join.mode != "all"}
    awaited = {each.source for each in workflow.edges if each.target not in hasty}
    final = [
        Edge(node.id, OUTPUT, None, "any", None)
        for node in workflow.nodes
        if node.id not in left or node.id not in awaited
    ]
    if not workflow.nodes:
        final = [Edge(TRIGGER, OUTPUT, None, "any", None)]
    return [*implied, *workflow.edges, *final]


def _is_regular(edge: Edge) -> bool:
    """Whether an edge may be taken after a success, so that its source is no leaf."""
    return edge.on in ("success", "any") and edge.port != "error"


def _certain(
    vertices: Mapping[str, _Vertex], outgoing: Mapping[str, list[Edge]], entering: Mapping[str, int]
) -> set[str]:
    """Return the nodes that run in every execution that nothing ends early: those no choice can skip."""
    found: set[str] = set()
    undecided = dict(entering)
    taken = dict.fromkeys(vertices, 0)
    following = deque([TRIGGER])
    while following:
        name = following.popleft()
        vertex = vertices[name]
        join = vertex.join or Join()
        if name == TRIGGER or taken[name] >= (join.count if join.mode == "n" else 1):
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
) -> list[list[str]]:
    """Return the linear runs in the order their first node is met, breadth first from the trigger.

    The output joins a run only when that run is certain: it ends every execution, so it may not be skipped with others.
    """
    runs: list[list[str]] = []
    met = {TRIGGER}
    heads = deque([TRIGGER])
    while heads:
        run = [heads.popleft()]
        queue = vertices[run[0]].queue
        while (following := _fusible(vertices, outgoing[run[-1]], entering, queue)) is not None:
            if following == OUTPUT and run[0] not in certain:
                break
            run.append(following)
            queue = queue or vertices[following].queue
        runs.append(run)
        for edge in outgoing[run[-1]]:
            if edge.target not in met:
                met.add(edge.target)
                heads.append(edge.target)
    return runs


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
        and (edge.on == "success" or edge.target == OUTPUT)
        and edge.port in (None, "out")
        and source.ports == ("out",)
    )
    same_queue = queue is None or target.queue is None or queue == target.queue
    alone = entering[edge.target] == 1 and target.join is None
    return edge.target if unconditional and same_queue and alone and not source.node.waits else None


def _segment(
    index: int,
    run: list[str],
    vertices: Mapping[str, _Vertex],
    leaving: list[Edge],
    entries: int,
    number: Mapping[str, int],
    everything: tuple[str, ...],
) -> Segment:
    inside = set(run)
    nodes = tuple(vertices[each].node for each in run)
    needs = {name: None for node in nodes for name in node.needs if name not in inside}
    for edge in leaving:
        if edge.when is not None:
            found = _template_needs(expressions.compile_expression(edge.when), everything)
            needs.update(dict.fromkeys(name for name in found if name not in inside))
    needs.pop(TRIGGER, None)
    return Segment(
        id=index,
        nodes=nodes,
        queue=next((vertices[each].queue or "" for each in run if vertices[each].queue), DEFAULT_QUEUE),
        exits=tuple(Exit(number[each.target], each.port, each.on, each.when) for each in leaving),
        entries=entries,
        join=vertices[run[0]].join or Join(),
        needs=tuple(needs),
    )


def _bare(name: str, needs: tuple[str, ...]) -> PlanNode:
    return PlanNode(
        id=name,
        type=name,
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
        needs=needs,
    )


def _vertex(
    node: Node, workflow: Workflow, registry: Registry, everything: tuple[str, ...], *, branches: bool
) -> _Vertex:
    node_type = registry.resolve(node.type)
    effect = node.effect or node_type.effect_of(node.config)
    queue = node.queue or workflow.queue or (None if _neutral(node_type, effect) else node_type.queue)
    timeout = node.timeout
    config = with_braces(node.config, node_type)
    return _Vertex(
        PlanNode(
            id=node.id,
            type=node_type.key,
            config=config,
            effect=effect,
            process=node_type.process,
            waits=node_type.waits,
            retry=_retry(node.retry or workflow.retry, node_type, effect),
            attempt_timeout=timeout.attempt if timeout and timeout.attempt is not None else node_type.timeout,
            total_timeout=timeout.total if timeout else None,
            on_error=OnError("branch") if branches else node.on_error or workflow.on_error or OnError("fail"),
            on_uncertain=node.on_uncertain,
            branches=branches,
            needs=_needs(config, everything),
        ),
        queue,
        node_type.ports_of(node.config),
        node.join,
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


def _needs(value: Any, everything: Iterable[str]) -> tuple[str, ...]:
    """Return the nodes a value's templates read; all of them when one is chosen at run time."""
    return _template_needs(expressions.compile_value(value), everything)


def _template_needs(
    compiled: expressions.Template | expressions.Compiled, everything: Iterable[str]
) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for reference in compiled.references:
        if reference.path[0] == "nodes":
            name = reference.path[1] if len(reference.path) > 1 else None
            found.update(dict.fromkeys([name] if isinstance(name, str) else everything))
    return tuple(found)
