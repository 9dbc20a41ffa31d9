"""The DAGs that are measured, each as a definition of ours; `canvases` makes the same of Celery's parts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from celeriac import Json

Node = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Chain:
    """`length` nodes in a row, each adding one to what the one before returned. `effect`: each is a journaled effect."""

    name: str
    length: int
    effect: bool = False

    def document(self) -> dict[str, Json]:
        """Return the definition."""
        kind = "bench_effect" if self.effect else "set"
        nodes = [_node(f"n{at}", kind, self._config(at)) for at in range(self.length)]
        return _in_a_row(self.name, nodes)

    def result(self) -> Json:
        """Return what an execution comes to."""
        return self.length - 1

    def _config(self, at: int) -> Node:
        value: Json = f"{{{{ nodes.n{at - 1}.output.x + 1 }}}}" if at else 0
        return {"x": value} if self.effect else {"values": {"x": value}}


@dataclass(frozen=True, slots=True)
class Fan:
    """One node, then `width` side by side, then one that waits for all of them."""

    name: str
    width: int

    def document(self) -> dict[str, Json]:
        """Return the definition."""
        middle = [_node(f"b{at}", "set", {"values": {"x": at}}) for at in range(self.width)]
        names = [each["id"] for each in middle]
        edges: list[Json] = [{"from": "a", "to": each} for each in names]
        edges += [{"from": each, "to": "z"} for each in names]
        return _document(self.name, [_node("a", "noop", {}), *middle, _node("z", "merge", {})], edges)

    def result(self) -> Json:
        """Return what an execution comes to: nothing, it only has to get there."""
        return None


@dataclass(frozen=True, slots=True)
class Fibonacci:
    """`times` nodes in a row that each compute the Fibonacci number `n`; in a child process when that takes long."""

    name: str
    times: int
    n: int
    child: bool

    def document(self) -> dict[str, Json]:
        """Return the definition."""
        kind = "bench_fibonacci_in_child" if self.child else "bench_fibonacci"
        return _in_a_row(self.name, [_node(f"n{at}", kind, {"n": self.n}) for at in range(self.times)])

    def result(self) -> Json:
        """Return what an execution comes to."""
        before, number = 0, 1
        for _ in range(self.n):
            before, number = number, before + number
        return before


Shape = Chain | Fan | Fibonacci

SHAPES: dict[str, Shape] = {
    each.name: each
    for each in (
        Chain("pure_3", 3),
        Chain("pure_10", 10),
        Chain("effects_10", 10, effect=True),
        Fan("fan_50", 50),
        Fan("fan_1000", 1000),
        Fibonacci("fibonacci_10", times=40, n=10, child=False),
        Fibonacci("fibonacci_33", times=10, n=33, child=True),
    )
}


def fibonacci(n: int) -> int:
    """Return a Fibonacci number, the slow way: what all sides compute."""
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def _node(name: str, kind: str, config: Node) -> Node:
    return {"id": name, "type": kind, "config": config}


def _in_a_row(name: str, nodes: list[Node]) -> dict[str, Json]:
    edges: list[Json] = [{"from": before["id"], "to": after["id"]} for before, after in pairwise(nodes)]
    return _document(name, nodes, edges)


def _document(name: str, nodes: list[Node], edges: list[Json]) -> dict[str, Json]:
    return {"name": name, "definition": {"nodes": list(nodes), "edges": edges}}
