"""Dead and stuck paths: joins that wait for edges that exclude each other, and edges whose conditions contradict what
holds by then.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import comb
from typing import Final, TypeVar

from celeriac import Json
from engine.checking.chart import START, Chart, Course
from engine.checking.conditions import ABSENT, IMPOSSIBLE, Domain, both, demands, either
from engine.checking.finding import Finding
from engine.checking.mentions import mentions
from engine.config import braced
from engine.expressions import ExpressionError, expression_tree
from engine.expressions.references import Path as Name
from engine.expressions.references import written

_REMEMBERED: Final = 48
"""So many values, and choices of nodes, are kept in mind along a path; of more, the latest."""
_TRIED: Final = 100_000
"""So many edges of a region are looked at, to find out how many can be taken together. Beyond, any of them can."""
_SETS: Final = 70
_CONSTANT: Final = re.compile(r"[\s{}]*(?:not\s+)*(?:[Tt]rue|[Ff]alse)[\s{}]*")

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

Choices = Mapping[int, frozenset[int]]
"""For steps that choose between exclusive ways, those that are left. Steps that may have chosen anything are left out."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is known wherever a path has come to: what is left of values, and where that was last asked."""

    demands: Mapping[Name, Domain] = field(default_factory=dict)
    places: Mapping[Name, str] = field(default_factory=dict)

    def is_there(self, name: Name) -> bool:
        """Whether something was asked on the way that has an answer only if the name has a value."""
        return any(
            path[: len(name)] == name and not domain.holds(ABSENT) for path, domain in self.demands.items()
        )

    def without(self, roots: Iterable[str]) -> Held:
        """Return what holds where some names mean something else."""
        hidden = set(roots)
        if not any(path[:1] and path[0] in hidden for path in self.demands):
            return self
        kept = {path: each for path, each in self.demands.items() if not path or path[0] not in hidden}
        return Held(kept, self.places)


class Readings:
    """The conditions of a definition, each read once, and only when another one asks for the same value.

    What is asked of `changing` nodes, and of items, need not hold any more when it is asked again: they are performed several
    times.
    """

    def __init__(self, charts: Iterable[Chart]) -> None:
        self.changing: set[str] = set()
        self._trees: dict[tuple[str, bool], Mapping[Name, Domain]] = {}
        self._names: dict[str, frozenset[Name]] = {}
        self._asked: Counter[Name] = Counter()
        for chart in charts:
            self.changing |= chart.region.circling | chart.region.arriving.keys()
            for way in chart.region.ways:
                if way.when is not None:
                    self._asked.update(self._read(way.when))
            for courses in chart.courses:
                if len(courses) == 1:
                    continue
                texts = {each for course in courses for each, _ in course.decisions if isinstance(each, str)}
                for text in texts:
                    self._asked.update(self._read(text))

    def of(self, condition: Json, *, holds: bool) -> Mapping[Name, Domain]:
        """Return what is left of values when a condition holds, or does not."""
        if not isinstance(condition, str):
            return {} if condition is holds or not isinstance(condition, bool) else {(): IMPOSSIBLE}
        names = self._read(condition)
        decidable = _CONSTANT.fullmatch(condition) or any(self._asked[each] > 1 for each in names)
        if not decidable and "defined" not in condition:
            return {}
        key = (condition, holds)
        if key not in self._trees:
            tree = expression_tree(condition)
            self._trees[key] = {} if tree is None else demands(tree, holds=holds)
        return self._trees[key]

    def may_change(self, name: Name) -> bool:
        """Whether a value may be another one when it is asked for again."""
        several = bool(self.changing) and name[:1] in (("item",), ("index",))
        return several or (name[:1] == ("nodes",) and len(name) > 1 and name[1] in self.changing)

    def _read(self, text: str) -> frozenset[Name]:
        if text not in self._names:
            try:
                found = mentions(braced(text))
            except ExpressionError:
                found = ()
            self._names[text] = frozenset(
                each.path for each in found if not each.guarded or "defined" in text
            )
        return self._names[text]


@dataclass(frozen=True, slots=True)
class _Clash:
    """What two conditions leave no value of, and where the earlier one stands; nowhere if it is one and the same."""

    name: Name
    earlier: str | None


class Flow:
    """What can happen along the paths of one region, found in one walk in the order of its steps.

    `open` are the edges that can be taken, `runs` the steps that can be reached.
    """

    def __init__(self, chart: Chart, readings: Readings, at_start: Held) -> None:
        self.chart = chart
        self.open: set[int] = set()
        self.runs: set[int] = set()
        self.findings: list[Finding] = []
        self._readings = readings
        self._tried = 0
        self._told: set[int] = set()
        """The edges that can never be taken, and of which that was said."""
        self._held: dict[int, Held] = {START: at_start}
        self._chosen: dict[int, Choices] = {START: {}}
        self._along: dict[int, tuple[Held, Choices]] = {}
        for step in range(len(chart.vertices)):
            if step == START or self._arrives(step):
                self.runs.add(step)
                self._leave(step)

    def held(self, name: str) -> Held:
        """Return what holds where a node runs."""
        return self._held.get(self.chart.step[name], Held())

    def together(self, step: int) -> list[tuple[int, ...]] | None:
        """Return the sets of edges that are just enough for a join to run; None when there are too many to tell."""
        live = [each for each in self.chart.entering[step] if each in self.open]
        needed = self.chart.needed(step)
        if comb(len(live), needed) > _SETS:
            return None
        return [each for each in combinations(live, needed) if self._most(each) == needed]

    def _arrives(self, step: int) -> bool:
        live = [each for each in self.chart.entering[step] if each in self.open]
        needed = self.chart.needed(step)
        most = self._most(live) if needed > 1 else len(live)
        if most < needed or not live:
            self._tell_dead(step, needed, most)
            return False
        self._held[step] = _any_held([self._along[each][0] for each in live])
        self._chosen[step] = _any_chosen([self._along[each][1] for each in live])
        return True

    def _tell_dead(self, step: int, needed: int, most: int) -> None:
        """Report a step that never runs, if it is the first on its path and nothing was said of its edges."""
        vertex = self.chart.vertices[step]
        entering = self.chart.entering[step]
        closed = [each for each in entering if each not in self.open]
        sources = {self.chart.sources[each] for each in closed}
        if vertex is None or not self._told.isdisjoint(closed) or not sources <= self.runs:
            return
        if len(closed) < len(entering):
            message = f"{vertex.id} waits for {needed} edges and never runs: no more than {most} of them are ever taken."
            hint = f"Write {most}, or let it wait for edges that do not exclude each other."
            finding = Finding((*vertex.path, "join", "count"), "flow.never_runs", message, hint)
        else:
            names = " and ".join(sorted(map(self._name, sources)))
            message = (
                f"{vertex.id} never runs: the edges to it are for a success of {names}, which always fails."
            )
            hint = 'Let them start from its failure: "on": "error".'
            finding = Finding(vertex.path, "flow.never_runs", message, hint)
        self.findings.append(replace(finding, severity="warning"))

    def _name(self, step: int) -> str:
        vertex = self.chart.vertices[step]
        return "trigger" if vertex is None else vertex.id

    def _leave(self, step: int) -> None:
        """Follow the edges out of a step, each along every course that takes it."""
        courses = self.chart.courses[step]
        if len(courses) == 1 and not courses[0].open and not courses[0].decisions:
            self.open.update(courses[0].taken)
            self._along.update(dict.fromkeys(courses[0].taken, (self._held[step], self._chosen[step])))
            return
        groups = _groups(courses)
        decided = [self._decided(step, each) for each in courses]
        through: dict[int, list[int]] = {}
        for number, course in enumerate(courses):
            for line in course.edges:
                through.setdefault(line, []).append(number)
        for line, numbers in through.items():
            held: list[Held] = []
            left: set[int] = set()
            for number in numbers:
                found = self._asked(line, decided[number])
                if isinstance(found, Held):
                    held.append(found)
                    left.add(groups[number])
                elif number == numbers[-1] and not held:
                    self._tell_closed(line, found, of_edge=isinstance(decided[number], Held))
            if held:
                chosen = self._chosen[step]
                vertex = self.chart.vertices[step]
                changes = vertex is not None and vertex.id in self._readings.changing
                if len(left) < len(set(groups)) and not changes:
                    chosen = _latest({**chosen, step: frozenset(left)})
                self.open.add(line)
                self._along[line] = _any_held(held), chosen

    def _decided(self, step: int, course: Course) -> Held | _Clash:
        """Return what holds when a step takes a course."""
        held: Held | _Clash = self._held[step]
        for condition, outcome in course.decisions:
            if isinstance(held, Held):
                demanded = self._readings.of(condition, holds=outcome)
                held = self._meet(held, demanded, f"the config of {self._name(step)}")
        return held

    def _asked(self, line: int, held: Held | _Clash) -> Held | _Clash:
        """Return what holds when the condition of an edge does too."""
        way = self.chart.ways[line]
        if way is None or way.when is None or isinstance(held, _Clash):
            return held
        demanded = self._readings.of(way.when, holds=True)
        return self._meet(held, demanded, f"the edge {way.source} -> {way.target}")

    def _meet(self, held: Held, demanded: Mapping[Name, Domain], place: str) -> Held | _Clash:
        """Return what holds when a condition at a place does too."""
        met = _meet(held, demanded, place)
        if not isinstance(met, _Clash) or met.earlier is None or not self._readings.may_change(met.name):
            return met
        kept = {name: each for name, each in held.demands.items() if not self._readings.may_change(name)}
        return _meet(Held(kept, held.places), demanded, place)

    def _tell_closed(self, line: int, clash: _Clash, *, of_edge: bool) -> None:
        way = self.chart.ways[line]
        if way is None:
            return
        self._told.add(line)
        edge = f"The edge {way.source} -> {way.target}"
        asks = "its condition asks" if of_edge else f"the config of {way.source} asks for it"
        if not clash.name:
            reason = "its condition is never true" if of_edge else f"the config of {way.source} is constant"
            message = f"{edge} is never taken: {reason}."
            hint = "Remove the edge, or correct what decides on it."
        elif clash.earlier is None:
            message = f"{edge} is never taken: no value of `{written(clash.name)}` is all that {asks}."
            hint = "Correct the comparisons, or write `or` between them."
        else:
            message = (
                f"{edge} is never taken: what {asks} of `{written(clash.name)}` contradicts {clash.earlier}."
            )
            hint = "Correct one of the two, or remove the edge."
        path = (*way.path, "when") if of_edge else way.path
        self.findings.append(Finding(path, "flow.contradiction", message, hint, severity="warning"))

    def _most(self, lines: Iterable[int]) -> int:
        """Return how many edges can be taken together, or more than that when it would take too long to find out."""
        return self._compatible([self._along[each][1] for each in lines], 0)

    def _compatible(self, several: list[Choices], depth: int) -> int:
        self._tried += len(several)
        if self._tried > _TRIED or depth > _REMEMBERED:
            return len(several)
        seen = Counter(step for each in several for step in each)
        step, times = max(seen.items(), key=lambda each: each[1], default=(START, 0))
        if times < 2:
            return len(several)
        ways = frozenset[int]().union(*(each[step] for each in several if step in each))
        return max(
            self._compatible(
                [_but(each, step) for each in several if step not in each or way in each[step]], depth + 1
            )
            for way in ways
        )


def _but(choices: Choices, step: int) -> Choices:
    return {key: each for key, each in choices.items() if key != step} if step in choices else choices


def _meet(held: Held, demanded: Mapping[Name, Domain], place: str) -> Held | _Clash:
    """Return what holds when a condition at a place does too."""
    if not demanded:
        return held
    met = both(held.demands, demanded)
    for name in demanded:
        if met[name].is_empty:
            return _Clash(name, None if demanded[name].is_empty else held.places.get(name))
    places = {**held.places, **dict.fromkeys(demanded, place)}
    return Held(_latest(met), {name: places[name] for name in met if name in places})


def _any_held(several: Sequence[Held]) -> Held:
    """Return what holds after one of several, and nobody knows which."""
    first = several[0]
    if all(each is first for each in several):
        return first
    found = either([each.demands for each in several])
    return Held(found, {name: first.places[name] for name in found if name in first.places})


def _any_chosen(several: Sequence[Choices]) -> Choices:
    first = several[0]
    if all(each is first for each in several):
        return first
    found = dict(first)
    for other in several[1:]:
        found = {step: ways | other[step] for step, ways in found.items() if step in other}
    return found


def _latest(known: dict[_Key, _Value]) -> dict[_Key, _Value]:
    """Forget the oldest of too many things that are known: what is forgotten is thought to be possible."""
    for key in [*known][: max(0, len(known) - _REMEMBERED)]:
        del known[key]
    return known


def _groups(courses: Sequence[Course]) -> list[int]:
    """Number the courses of a node so that two with the same number may be taken at once, and others never are.

    A failure and a success exclude each other; so do two ports when an expression would have to be true for one and
    false for the other.
    """
    groups: list[int] = []
    decided = [{str(condition): outcome for condition, outcome in each.decisions} for each in courses]
    for number, course in enumerate(courses):
        alike = (
            groups[each]
            for each in range(number)
            if "error" not in course.leaves | courses[each].leaves
            and all(
                decided[each].get(asked, outcome) is outcome for asked, outcome in decided[number].items()
            )
        )
        groups.append(next(alike, number))
    return groups
