"""What may be missing when it is read: the outputs of nodes that some path goes around, or that may not have ended yet.

A *fact* is that one of some nodes has left something to read. For every step two questions are answered about all facts
at once, a bit for each: can the rest of the region go on from here without bringing it about, and can a path have come
here without. A step that is reached takes one of its courses, whatever led to it, so both answers are exact as long as a
node runs when one edge to it is taken.

Besides, a node that does not wait for all edges runs while others may still be on their way: what is decided for sure by
then is a third bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import and_
from typing import Final

from engine.checking.chart import START, Course
from engine.checking.flow import Flow

Fact = frozenset[tuple[str, str]]
"""Nodes, each with what it is to leave: `output`, `value` or `error`. One of them is enough."""

_FORKS: Final = 64
"""So many edges to joins of several are followed from a fork; of more, no two are thought to be taken together."""
_LEVELS: Final = 10_000


class Presence:
    """Which facts may be missing where, in one region."""

    def __init__(self, flow: Flow, facts: Iterable[Fact]) -> None:
        self._flow = flow
        self._chart = chart = flow.chart
        self._bit: dict[Fact, int] = {fact: 1 << number for number, fact in enumerate(dict.fromkeys(facts))}
        self._left: dict[tuple[str, str], int] = {}
        for fact, bit in self._bit.items():
            for member in fact:
                self._left[member] = self._left.get(member, 0) | bit
        self._counted: dict[int, int] = {}
        self._joins: dict[int, int] = {}
        """The edges to joins of several, a bit for each, and all those of one join."""
        self._nothing = 1 << len(self._bit)
        """A fact that never comes about, so that it can be missing wherever anything goes on at all."""
        used = len(self._bit) + 1
        for step in range(1, len(chart.vertices)):
            if chart.needed(step) > 1:
                lines = [each for each in chart.entering[step] if each in flow.open]
                self._counted.update((line, 1 << used + number) for number, line in enumerate(lines))
                self._joins[step] = (1 << used + len(lines)) - (1 << used)
                used += len(lines)
        self._join_at = {bit.bit_length(): chart.targets[line] for line, bit in self._counted.items()}
        self._all = (1 << used) - 1
        self._without = [0] * len(chart.vertices)
        """From each step: what need not come about from there on, nor by it."""
        for step in reversed(range(len(chart.vertices))):
            for course in chart.courses[step]:
                self._without[step] |= self._avoided(step, course)
        self._missing = [0] * len(chart.vertices)
        self._missing_along: dict[int, int] = {}
        self._decided = [0] * len(chart.vertices)
        self._decided_along: dict[int, int] = {}
        for step in range(len(chart.vertices)):
            self._arrive(step)
            self._leave(step)

    def at(self, name: str, fact: Fact) -> bool:
        """Whether a fact may be missing when a node starts."""
        step, bit = self._chart.step[name], self._bit[fact]
        missing = self._missing[step] & self._without[step]
        late = not self._decided[step] & bit and bool(missing & self._nothing)
        return late or bool(missing & bit)

    def after(self, name: str, fact: Fact, line: int | None = None) -> bool:
        """Whether a fact may be missing when a node has ended well, or in a way that an edge is for."""
        step, bit = self._chart.step[name], self._bit[fact]
        courses = [
            each
            for each in self._chart.courses[step]
            if ("value" in each.leaves if line is None else line in each.edges)
        ]
        late = not (self._decided[step] | self._own(step)) & bit
        wanted = bit | self._nothing if late else bit
        return any(self._missing[step] & ~self._facts(step, each) & wanted for each in courses)

    def at_the_end(self, fact: Fact) -> bool:
        """Whether a fact may be missing when all of the region has ended."""
        bit = self._bit[fact]
        decided = 0
        for step in self._chart.last:
            decided |= self._decided[step] | self._own(step)
        return bool(self._without[START] & (bit if decided & bit else self._nothing))

    def _facts(self, step: int, course: Course) -> int:
        """Return the facts that a course brings about."""
        vertex = self._chart.vertices[step]
        found = 0
        if vertex is not None:
            for each in course.leaves:
                found |= self._left.get((vertex.id, each), 0)
        return found

    def _own(self, step: int) -> int:
        vertex = self._chart.vertices[step]
        if vertex is None:
            return 0
        return (
            self._left.get((vertex.id, "output"), 0)
            | self._left.get((vertex.id, "value"), 0)
            | self._left.get((vertex.id, "error"), 0)
        )

    def _beyond(self, line: int) -> int:
        """Return what need not come about after an edge is taken."""
        counted = self._counted.get(line)
        return self._without[self._chart.targets[line]] if counted is None else self._all & ~counted

    def _certain(self, course: Course) -> list[int]:
        return [each for each in course.taken if each in self._flow.open]

    def _avoided(self, step: int, course: Course) -> int:
        if any(each not in self._flow.open for each in course.taken):
            return 0
        left = self._all & ~self._facts(step, course)
        for line in course.taken:
            left &= self._beyond(line)
        return self._joined(left) if len(course.taken) > 1 else left

    def _joined(self, left: int) -> int:
        """Take away what follows from joins to which enough edges are taken for sure."""
        waiting = self._pending(left)
        fired: set[int] = set()
        while waiting is not None:
            step = next(
                (
                    each
                    for each, lines in waiting.items()
                    if each not in fired and lines.bit_count() >= self._chart.needed(each)
                ),
                None,
            )
            if step is None:
                break
            fired.add(step)
            left = left & self._without[step] | self._joins[step]
            waiting = self._pending(left)
        return left

    def _pending(self, left: int) -> dict[int, int] | None:
        """Return the edges to joins that are taken for sure, by their join."""
        taken = self._all & ~left & -(self._nothing << 1)
        if not taken or taken.bit_count() > _FORKS:
            return None
        found: dict[int, int] = {}
        while taken:
            bit = taken & -taken
            join = self._join_at[bit.bit_length()]
            found[join] = found.get(join, 0) | bit
            taken ^= bit
        return found

    def _left_part(self, line: int) -> int:
        """Return what is decided besides when an edge leads out of what a join `each` repeats: all that this waited for."""
        chart = self._chart
        source, target = chart.vertices[chart.sources[line]], chart.vertices[chart.targets[line]]
        arriving = chart.region.arriving
        join = arriving.get(source.id) if source is not None else None
        if join is None or target is None or arriving.get(target.id) == join:
            return 0
        return _any(self._decided_along[each] for each in chart.entering[chart.step[join]])

    def _arrive(self, step: int) -> None:
        chart = self._chart
        if step == START:
            self._missing[step] = self._all
            return
        entering = chart.entering[step]
        live = [each for each in entering if each in self._flow.open]
        if step not in self._flow.runs:
            for line in entering:
                self._decided[step] |= self._decided_along[line]
            return
        missing = [self._missing_along[each] for each in live]
        decided = [self._decided_along[each] for each in live]
        needed = chart.needed(step)
        sets = self._flow.together(step) if needed > 1 else None
        if sets:
            places = {line: place for place, line in enumerate(live)}
            several = [[places[each] for each in lines] for lines in sets]
            self._missing[step] = _any(_all(missing[each] for each in one) for one in several)
            early = _all(_any(decided[each] for each in one) for one in several)
        else:
            self._missing[step] = _at_least(needed, missing)
            early = _at_least(len(live) - needed + 1, decided)
        self._decided[step] = (
            early if chart.is_early(step) else _any(self._decided_along[each] for each in entering)
        )

    def _leave(self, step: int) -> None:
        chart = self._chart
        decided = self._decided[step] | self._own(step)
        for line in chart.leaving[step]:
            self._decided_along[line] = decided | self._left_part(line)
            self._missing_along[line] = 0
        for course in chart.courses[step]:
            if any(each not in self._flow.open for each in course.taken):
                continue
            missing = self._missing[step] & ~self._facts(step, course)
            beyond = [self._beyond(each) for each in course.taken]
            before = [*accumulate(beyond, and_, initial=self._all)]
            after = [*accumulate(reversed(beyond), and_, initial=self._all)][::-1]
            for place, line in enumerate(course.taken):
                self._missing_along[line] |= missing & self._joined(before[place] & after[place + 1])
            besides = missing & self._joined(before[-1]) if course.open else 0
            for line in course.open:
                if line in self._flow.open:
                    self._missing_along[line] |= besides


def _any(several: Iterable[int]) -> int:
    found = 0
    for each in several:
        found |= each
    return found


def _all(several: Iterable[int]) -> int:
    found = -1
    for each in several:
        found &= each
    return found


def _at_least(count: int, several: Sequence[int]) -> int:
    """Return the bits that stand in so many of several numbers; in all of them, if that takes too long to count."""
    if count <= 1:
        return _any(several)
    if count >= len(several) or count * len(several) > _LEVELS:
        return _all(several)
    levels = [-1] + [0] * count
    for each in several:
        for level in range(count, 0, -1):
            levels[level] |= levels[level - 1] & each
    return levels[count]
