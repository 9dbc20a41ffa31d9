"""The shape of a graph: cycles, what can be reached, what comes before what. Pure, iterative and linear.

A recursive walk would end at Python's recursion limit on a chain of a thousand nodes; every walk here keeps
its own stack. What comes before what is kept as one bit a node, so that ten thousand nodes cost megabytes and
milliseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Circle:
    """Nodes that all lead to each other, in the order they were written, and those of them at which it is entered."""

    nodes: tuple[str, ...]
    entries: tuple[str, ...]


class Graph:
    """Nodes and the edges between them, by name. Edges with an end that is no node are left out."""

    def __init__(self, nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> None:
        self.nodes = tuple(dict.fromkeys(nodes))
        self.successors: dict[str, list[str]] = {each: [] for each in self.nodes}
        self.predecessors: dict[str, list[str]] = {each: [] for each in self.nodes}
        for source, target in edges:
            if source in self.successors and target in self.successors:
                self.successors[source].append(target)
                self.predecessors[target].append(source)

    def reachable(self, starts: Iterable[str]) -> set[str]:
        """Return the nodes that can be reached from `starts`, these included."""
        return _reached(starts, self.successors)

    def leading_to(self, ends: Iterable[str]) -> set[str]:
        """Return the nodes from which one of `ends` can be reached, these included."""
        return _reached(ends, self.predecessors)

    def precedes(self, first: str, second: str) -> bool:
        """Whether a way leads from `first` to `second`. Nodes of one cycle precede each other, and
        themselves.
        """
        return bool(self._ancestors[self._component[second]] >> self._bit[first] & 1)

    def cycles(self, limit: int = 100) -> list[list[str]]:
        """Return at most `limit` cycles, each as its path with the first node again at the end.

        One cycle for every edge that has to go before the graph is free of them. Each starts at the node of it that
        was written first, so that the last step of its path is most likely the edge that should not be there.
        """
        found: list[list[str]] = []
        for back in self._leading_back():
            if len(found) == limit:
                break
            found.append(back)
        return found

    @cached_property
    def components(self) -> list[list[str]]:
        """The strongly connected components, each after all those it leads to (Tarjan 1972)."""
        index: dict[str, int] = {}
        low: dict[str, int] = {}
        stack: list[str] = []
        on_stack: set[str] = set()
        found: list[list[str]] = []
        for root in self.nodes:
            if root in index:
                continue
            index[root] = low[root] = len(index)
            stack.append(root)
            on_stack.add(root)
            walk = [(root, iter(self.successors[root]))]
            while walk:
                node, following = walk[-1]
                for target in following:
                    if target not in index:
                        index[target] = low[target] = len(index)
                        stack.append(target)
                        on_stack.add(target)
                        walk.append((target, iter(self.successors[target])))
                        break
                    if target in on_stack:
                        low[node] = min(low[node], index[target])
                else:
                    walk.pop()
                    if walk:
                        parent = walk[-1][0]
                        low[parent] = min(low[parent], low[node])
                    if low[node] == index[node]:
                        component: list[str] = []
                        while not component or component[-1] != node:
                            component.append(stack.pop())
                        on_stack.difference_update(component)
                        found.append(component)
        return found

    @cached_property
    def cyclic(self) -> set[str]:
        """The nodes that lie on a cycle."""
        return {
            node
            for component in self.components
            for node in component
            if len(component) > 1 or node in self.successors[node]
        }

    def circles(self, starts: Collection[str] = ()) -> list[Circle]:
        """Return the strongly connected parts. One that nothing leads into is entered at the node that was written first.

        `starts` are entered from outside of the graph.
        """
        found: list[Circle] = []
        for component in self.components:
            if component[0] in self.cyclic:
                nodes = tuple(sorted(component, key=self._bit.__getitem__))
                inside = set(nodes)
                entries = tuple(
                    each for each in nodes if each in starts or not inside.issuperset(self.predecessors[each])
                )
                found.append(Circle(nodes, entries or nodes[:1]))
        return found

    def only_after(self, first: str, starts: Collection[str] = ()) -> list[str]:
        """Return a node and all that only it leads to. The graph has no circles; `starts` are reached from elsewhere, too."""
        undecided: dict[str, int] = {}
        found = [first]
        for node in found:
            for target in self.successors[node]:
                undecided[target] = undecided.get(target, len(self.predecessors[target])) - 1
                if undecided[target] == 0 and target not in starts:
                    found.append(target)
        return found

    @cached_property
    def _bit(self) -> dict[str, int]:
        return {node: position for position, node in enumerate(self.nodes)}

    @cached_property
    def _component(self) -> dict[str, int]:
        return {node: number for number, component in enumerate(self.components) for node in component}

    @cached_property
    def _ancestors(self) -> list[int]:
        """For each component the nodes before it, as bits."""
        before = [0] * len(self.components)
        inside = [sum(1 << self._bit[node] for node in component) for component in self.components]
        for number in reversed(range(len(self.components))):
            if self.components[number][0] in self.cyclic:
                before[number] |= inside[number]
            with_own = before[number] | inside[number]
            for node in self.components[number]:
                for target in self.successors[node]:
                    following = self._component[target]
                    if following != number:
                        before[following] |= with_own
        return before

    def _leading_back(self) -> Iterator[list[str]]:
        """Walk the cyclic part depth first; an edge to a node of the path walked so far closes a cycle."""
        done: set[str] = set()
        position: dict[str, int] = {}
        path: list[str] = []
        for entry in self.nodes:
            if entry not in self.cyclic or entry in done:
                continue
            position[entry] = 0
            path.append(entry)
            walk = [iter(self.successors[entry])]
            while walk:
                for target in walk[-1]:
                    if target in position:
                        yield [*path[position[target] :], target]
                    elif target in self.cyclic and target not in done:
                        position[target] = len(path)
                        path.append(target)
                        walk.append(iter(self.successors[target]))
                        break
                else:
                    walk.pop()
                    left = path.pop()
                    del position[left]
                    done.add(left)


def _reached(starts: Iterable[str], following: Mapping[str, list[str]]) -> set[str]:
    found = {each for each in starts if each in following}
    waiting = list(found)
    while waiting:
        fresh = [each for each in following[waiting.pop()] if each not in found]
        found.update(fresh)
        waiting.extend(fresh)
    return found
