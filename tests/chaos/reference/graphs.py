"""Graphs: in which order nodes can be looked at, when each of them starts, and which ways a node leaves by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Node = Mapping[str, Any]
Edge = Mapping[str, Any]

LIMITS = ("mutex", "concurrency", "rate")
STOPPED = "scope.stopped"
"""The failure that the body of a stopped scope counts as."""
LATE = ("node.timeout", "timeout.queue", "timeout.heartbeat")
"""The failures of what is out of time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a node came to: succeeded, continued (failed, and all goes on), failed, skipped; an instance may have `left`, too.

    `open` is one of the first two. `seq` and `commit` are those of the record, when there is one; what follows may count its
    time from `ready` on, in milliseconds. A `fatal` one is nobody's.
    """

    state: str
    output: Any = None
    code: Any = None
    seq: int = 0
    commit: int = 0
    ready: int = 0
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """An edge that is decided: whether it is taken, whether what it comes from ran, and since when."""

    taken: bool
    ran: bool
    seq: int = 0
    ready: int = 0


class Routed(dict[str, Any]):
    """The output of a node that chose its exits."""

    def __init__(self, ports: tuple[str, ...], value: Mapping[str, Any]) -> None:
        super().__init__(value)
        self.ports = ports


class Shown(Routed):
    """What a part comes to: how each of its nodes is seen from outside. Of that a record keeps what something reads."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return False
        kept = other.get("nodes", other)
        return all(name in self and _is_like(self[name], each) for name, each in kept.items())

    __hash__ = None  # type: ignore[assignment]


def _is_like(shown: Mapping[str, Any], kept: Mapping[str, Any]) -> bool:
    if "output" in kept:
        return bool("output" in shown and shown["output"] == kept["output"])
    return bool(shown.get("error", {}).get("code") == kept.get("error", {}).get("code"))


class Alone:
    """A plain value that leaves by no exit."""

    def __init__(self, value: Any) -> None:
        self.value = value


def in_order(nodes: Sequence[Node], edges: Sequence[Edge]) -> Iterator[tuple[str, Node]]:
    """Yield the nodes, each after all that lead to it, and after its milestone if that can be."""
    left = {each["id"]: each for each in nodes}
    before = {name: {each["from"] for each in edges if each["to"] == name} - {"trigger"} for name in left}
    while left:
        free = [name for name in left if not before[name] & left.keys()]
        past = [name for name in free if milestone_of(left[name]) not in left]
        for name in past or free:
            yield name, left.pop(name)


def milestone_of(node: Node) -> str | None:
    """The node after whose end another does not begin any more."""
    return node["enabled_while"]["not_ended"] if "enabled_while" in node else None


def start_of(node: Node, ways: Sequence[Way | None]) -> tuple[bool | None, int]:
    """Whether a node runs, given the edges that lead to it, and since when. None: that is never decided.

    `all` waits until every edge is decided and needs one that is taken; `any` and `n` start as soon as enough are, and so
    does `each`, which goes on to start. With
    `when: done` an edge counts that comes from a node which ran, taken or not.
    """
    rule = node.get("join", "all")
    mode, more = (rule, {}) if isinstance(rule, str) else (rule.get("mode", "all"), rule)
    counts = [
        each.seq
        for each in ways
        if each is not None and (each.taken or (more.get("when") == "done" and each.ran))
    ]
    needed = more.get("count", 1) if mode == "n" else 1
    if mode != "all" and len(counts) >= needed:
        return True, sorted(counts)[needed - 1]
    if None in ways:
        return None, 0
    last = max(each.seq for each in ways if each is not None)
    if mode != "all":
        return False, last
    return bool(counts), last


def leaves_by(edge: Edge, outcome: Outcome, edges: Sequence[Edge]) -> bool:
    """Whether a node that came to this leaves by an edge, before its condition is looked at.

    A failure takes the edges for it, `timeout` before `error` when time ran out, and every `any` besides.
    """
    on, port = edge.get("on", "success"), edge.get("port")
    if outcome.state == "failed":
        late = any(outcome.code == each for each in LATE)
        if on == "timeout":
            return late
        caught = late and any(each.get("on") == "timeout" and each["from"] == edge["from"] for each in edges)
        return bool(on == "any" or ((on == "error" or port == "error") and not caught))
    if on not in ("success", "any") or port == "error":
        return False
    ports = ports_of(outcome)
    return bool(ports) and (port is None or port in ports)


def ports_of(outcome: Outcome) -> tuple[str, ...]:
    """The exits a success leaves by."""
    if outcome.state == "succeeded" and isinstance(outcome.output, Routed):
        return outcome.output.ports
    return () if isinstance(outcome.output, Alone) else ("out",)


def is_regular(edge: Edge) -> bool:
    """Whether an edge may be taken after a success."""
    return edge.get("on", "success") in ("success", "any") and edge.get("port") != "error"


def results(body: Mapping[str, Any]) -> list[str]:
    """The nodes whose outputs are the default result: those that nothing follows, also where they are in a part."""
    return body["leaves"] if "leaves" in body else leaves(body)


def leaves(body: Mapping[str, Any]) -> list[str]:
    """The nodes that nothing follows."""
    left = {each["from"] for each in body.get("edges", ()) if is_regular(each)}
    return [each["id"] for each in body["nodes"] if each["id"] not in left]


def handles_failure(node: str, edges: Sequence[Edge]) -> bool:
    """Whether a failure of the node has edges of its own to follow."""
    return any(
        each["from"] == node and (each.get("on") in ("error", "timeout") or each.get("port") == "error")
        for each in edges
    )


def cancels_rest(node: Node) -> bool:
    """Whether a join stops what could only have led to it."""
    rule = node.get("join")
    return isinstance(rule, Mapping) and bool(rule.get("cancel_rest"))


def losers(body: Mapping[str, Any], join: str) -> set[str]:
    """What could only have led to a join: all whose every way leads there.

    What the end of the graph itself waits for leads there, too: a node that nothing else waits for, since it leads to joins
    only that may start without it and do not stop it, or to what is stopped when it is not.
    """
    return _doomed(body, join, _ends(body))


def _ends(body: Mapping[str, Any]) -> set[str]:
    nodes = {each["id"]: each for each in body["nodes"]}
    hasty = {name for name, each in nodes.items() if _is_hasty(each)}
    stopping = {name for name in hasty if cancels_rest(nodes[name])}
    found = set(leaves(body)) | {name for name, each in nodes.items() if _trails(each)}
    while True:
        stopped = {name: _doomed(body, name, found) for name in stopping}
        ways = {
            name: [each["to"] for each in body.get("edges", ()) if each["from"] == name] for name in nodes
        }
        more = {
            name
            for name in nodes.keys() - found
            if not any(
                (each not in hasty or name in stopped.get(each, ()))
                and all(name in some for some in stopped.values() if each in some)
                for each in ways[name]
            )
        }
        if not more:
            return found
        found |= more


def _doomed(body: Mapping[str, Any], join: str, ends: set[str]) -> set[str]:
    doomed: set[str] = set()
    while True:
        found = {
            each["id"]
            for each in body["nodes"]
            if each["id"] not in ends | doomed | {join}
            and all(
                one["to"] in doomed | {join} for one in body.get("edges", ()) if one["from"] == each["id"]
            )
        }
        if not found:
            return doomed
        doomed |= found


def owes(node: Node) -> bool:
    """Whether a scope has something to do in its end, also when it is stopped."""
    if node["type"] != "scope" or {"for_each", "loop"} & node.keys():
        return False
    return "finally" in node or any("compensate" in each for each in node["body"]["nodes"])


def bodies(node: Node) -> Iterator[Mapping[str, Any]]:
    """Yield the graphs inside a node."""
    yield from (node[name] for name in ("body", "finally") if name in node)
    yield from (each["body"] for each in node.get("catch", ()))


def _is_hasty(node: Node) -> bool:
    rule = node.get("join", "all")
    return (rule if isinstance(rule, str) else rule.get("mode", "all")) not in ("all", "each")


def _trails(node: Node) -> bool:
    return bool(node.get("for_each", {}).get("rest") == "finish")


def graphs(graph: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a graph and all inside of it."""
    yield graph
    for node in graph["nodes"]:
        for each in bodies(node):
            yield from graphs(each)


def repeated(node: Node) -> Mapping[str, Any]:
    """The body that a repetition performs. What a scope does with a failure concerns one item: a scope inside."""
    body = node.get("body")
    own = {"catch", "finally", *LIMITS} & node.keys()
    if body and not own and not any("compensate" in each for each in body["nodes"]):
        return body  # type: ignore[no-any-return]
    left_out = {"for_each", "loop", "join", "on_error", "compensate", "enabled_while"}
    inner = {name: value for name, value in node.items() if name not in left_out}
    return {"nodes": [{**inner, "id": f"{node['id']}@item", "on_error": "fail"}], "edges": []}
