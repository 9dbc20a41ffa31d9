"""What can come of each node of a region, and which edges are taken then: the ground on which paths are followed.

A course is one way for a node to end: through one of its ports, or with a failure that something takes over. A
failure that nothing takes over is none: it ends the region, and nobody reads what did not happen by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from celeriac import Json
from celeriac.contract import Decision
from engine.checking.outline import Outline, Region, Vertex, Way
from engine.checking.source import Path
from engine.checking.wiring import OUT
from engine.definition import TRIGGER, Join
from engine.graph import Graph

START: Final = 0
"""The first step of every chart, before all nodes: what starts the region."""

NEVER: Final[dict[str, Json]] = {"not": {}}
"""The schema of what does not come about: a type with this output always fails."""

_OUTPUT: Final = frozenset(("output",))
_DONE: Final = frozenset(("output", "value"))
_FAILED: Final = frozenset(("error",))
_ONE: Final[Sequence[tuple[str | None, tuple[Decision, ...]]]] = tuple((each, ()) for each in OUT)
_ALL: Final = Join()


@dataclass(frozen=True, slots=True)
class Course:
    """One way for a node to end. The edges `taken` are taken then, each of those `open` if its condition holds.

    It `leaves` for others to read an `output`, a `value` (an output that is not just the null of a failure), an `error`.
    `decisions` are the expressions of its config that make it take this course.
    """

    taken: tuple[int, ...]
    open: tuple[int, ...]
    leaves: frozenset[str]
    decisions: tuple[Decision, ...] = ()

    @property
    def edges(self) -> Iterator[int]:
        """All edges that can be taken."""
        yield from self.taken
        yield from self.open


class Chart:
    """The nodes of a sound region as steps, each after those before it; step 0 is the start.

    Of a circle it shows the first round: what may be missing or happen in that may do so in every run.
    """

    def __init__(self, region: Region, outline: Outline) -> None:
        self.region = region
        self._fallback = outline.body.get("on_error", "fail")
        graph = region.graph
        if region.back:
            ways = ((each.source, each.target) for each in region.ways)
            graph = Graph(region.ids, (each for each in ways if each not in region.back))
        order = [name for component in reversed(graph.components) for name in component]
        self.vertices: list[Vertex | None] = [None, *(region.ids[name] for name in order)]
        self.step = {name: number for number, name in enumerate(order, start=1)}
        self.ways: list[Way | None] = []
        """The edges, by number. What starts without an edge being written has one that is none."""
        self.sources: list[int] = []
        self.targets: list[int] = []
        self.entering: list[list[int]] = [[] for _ in self.vertices]
        self.leaving: list[list[int]] = [[] for _ in self.vertices]
        self._caught: set[int] = set()
        self._asking: set[int] = set()
        self._connect()
        self.joins = [_ALL if each is None else join_of(each) for each in self.vertices]
        self.courses = [self._courses(each) for each in range(len(self.vertices))]

    def needed(self, step: int) -> int:
        """Return how many edges have to be taken for a step to run."""
        join, entering = self.joins[step], len(self.entering[step])
        return join.count if join.mode == "n" and entering > 1 else min(entering, 1)

    def is_early(self, step: int) -> bool:
        """Whether a step may run before all edges to it are decided."""
        return self.joins[step].mode != "all" and len(self.entering[step]) > 1

    @cached_property
    def number(self) -> dict[Path, int]:
        """The written edges by their place."""
        return {way.path: number for number, way in enumerate(self.ways) if way is not None}

    @cached_property
    def last(self) -> list[int]:
        """The steps that the end of the region waits for."""
        awaited: set[int] = set()
        left: set[int] = set()
        for way, source, target in zip(self.ways, self.sources, self.targets, strict=True):
            if way is not None and not way.fails:
                left.add(source)
            if self.joins[target].mode == "all":
                awaited.add(source)
        return [each for each in range(1, len(self.vertices)) if each not in left or each not in awaited]

    def softens(self, step: int) -> bool:
        """Whether the output of a step is null when it fails, and all goes on."""
        return step not in self._caught and self._on_error(step) == "continue"

    def handles(self, step: int) -> bool:
        """Whether something takes over when a step fails."""
        return step in self._caught or self._on_error(step) != "fail"

    def _connect(self) -> None:
        """Take in the edges, and those from the start to what no other leads to, if none is written from there."""
        step = {TRIGGER: START, **self.step}
        for way in self.region.ways:
            source = step[way.source]
            if (way.source, way.target) not in self.region.back:
                self._line(source, step[way.target], way)
            if way.fails:
                self._caught.add(source)
            if way.when is not None:
                self._asking.add(source)
        if not self.leaving[START]:
            for each in self.step.values():
                if not self.entering[each]:
                    self._line(START, each, None)

    def _line(self, source: int, target: int, way: Way | None) -> None:
        number = len(self.ways)
        self.ways.append(way)
        self.sources.append(source)
        self.targets.append(target)
        self.entering[target].append(number)
        self.leaving[source].append(number)

    def _on_error(self, step: int) -> object:
        vertex = self.vertices[step]
        return "fail" if vertex is None else vertex.written.get("on_error", self._fallback)

    def _courses(self, step: int) -> list[Course]:
        vertex = self.vertices[step]
        leaving = self.leaving[step]
        if vertex is None:
            return [self._course(leaving, frozenset())]
        exits = _exits(vertex)
        skipped = [self._course([], frozenset())] if "enabled_while" in vertex.written else []
        if exits is _ONE and not self.handles(step) and step not in self._asking and not skipped:
            return [Course(tuple(leaving), (), _DONE)]
        ways = {each: way for each in leaving if (way := self.ways[each]) is not None}
        ends = [number for number, way in ways.items() if not way.fails]
        found: list[Course] = skipped
        for port, decisions in exits:
            through = [each for each in ends if port is not None and ways[each].port in (None, port)]
            found.append(self._course(through, _DONE, decisions))
        if step in self._caught:
            always = [number for number in ends if ways[number].on == "any"]
            late = [number for number, way in ways.items() if way.on == "timeout"]
            other = [number for number, way in ways.items() if way.fails and number not in late]
            found.append(self._course([*always, *other], _FAILED))
            if late:
                found.append(self._course([*always, *late], _FAILED))
        elif self.handles(step):
            through = [each for each in ends if ways[each].port in (None, "out")]
            found.append(self._course(through, _FAILED | (_OUTPUT if self.softens(step) else _DONE)))
        return found

    def _course(
        self, lines: Sequence[int], leaves: frozenset[str], decisions: tuple[Decision, ...] = ()
    ) -> Course:
        asked = {each for each in lines if (way := self.ways[each]) is not None and way.when is not None}
        taken = tuple(each for each in lines if each not in asked)
        return Course(taken, tuple(sorted(asked)), leaves, decisions)


def is_straight(region: Region, outline: Outline) -> bool:
    """Whether every node of a region runs, in every run that nothing ends early: there is nothing to be charted."""
    if outline.body.get("on_error", "fail") != "fail" or region.back:
        return False
    return all(way.when is None and not way.fails for way in region.ways) and all(
        each.written.keys().isdisjoint(("join", "on_error", "enabled_while")) and _exits(each) is _ONE
        for each in region.vertices
    )


def join_of(vertex: Vertex) -> Join:
    """Return what a node waits for."""
    return Join.parse(vertex.written["join"]) if "join" in vertex.written else _ALL


def _exits(vertex: Vertex) -> Sequence[tuple[str | None, tuple[Decision, ...]]]:
    """Return the ports through which a success can leave, with what is decided then; None for none of them."""
    work = vertex.work
    if vertex.is_container or work.type is None:
        return _ONE
    if work.type.output == NEVER:
        return ()
    if work.type.decides is not None:
        return [*work.type.decides(work.config).items()]
    ports = work.type.ports_of(work.config)
    return _ONE if ports == OUT else [(each, ()) for each in ports]
