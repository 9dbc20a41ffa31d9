"""Random graphs with edges that lead back and with joins `each` come to what somebody comes to who follows the arrows by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from engine.checking import problems
from tests.builders import document
from tests.patterns.pattern import Case
from tests.patterns.test_patterns import Place, play
from tests.workbench import Workbench, built_in

GRAPHS, DISTURBED = 60, 12
_RUNS = 3
"""An edge leads back so many times at most."""


@dataclass(frozen=True, slots=True)
class Arrow:
    """An edge that is taken when its source has run a certain number of times."""

    source: str
    target: str
    when: Callable[[int], bool]
    text: str | None


@dataclass
class Hand:
    """Follows the arrows. `values` is what each node has come to as seen from where the hand is, `runs` how often it ran."""

    arrows: Sequence[Arrow]
    each: frozenset[str]
    reads: bool
    runs: dict[str, int] = field(default_factory=dict)

    def follow(
        self, nodes: Sequence[str], arrows: Sequence[Arrow], values: dict[str, Any], index: int
    ) -> set[Arrow]:
        """Perform a graph once, from the nodes that nothing in it leads to. Returns the arrows that lead out and are taken."""
        taken: set[Arrow] = set()
        decided: set[Arrow] = set()
        left = [*nodes]
        while left:
            unit = next(each for each in self._units(left, arrows) if self._is_free(each, arrows, decided))
            entering = [each for each in arrows if each.target == unit[0] and each.source not in unit]
            live = [each for each in entering if each in taken]
            reached = bool(live) or not entering
            if reached:
                taken |= self._perform(unit, arrows, values, index, entering, taken)
            decided |= {each for each in arrows if each.source in unit}
            left = [each for each in left if each not in unit]
        return {each for each in taken if each.target not in nodes}

    def _units(self, left: Sequence[str], arrows: Sequence[Arrow]) -> Iterator[list[str]]:
        """Yield what is performed as one: circles, what only a join `each` leads to, single nodes; the first node first."""
        for name in left:
            circle = [
                each
                for each in left
                if self._leads(name, each, left, arrows) and self._leads(each, name, left, arrows)
            ]
            if circle:
                inside = set(circle)
                entries = [
                    each
                    for each in circle
                    if any(arrow.target == each and arrow.source not in inside for arrow in arrows)
                ]
                first = (entries or circle)[0]
                if name == first:
                    yield [first, *(each for each in circle if each != first)]
            elif name in self.each:
                yield self._only_after(name, left, arrows)
            else:
                yield [name]

    @staticmethod
    def _leads(a: str, b: str, inside: Sequence[str], arrows: Sequence[Arrow]) -> bool:
        seen: set[str] = set()
        heads = [a]
        while heads:
            here = heads.pop()
            for arrow in arrows:
                if arrow.source == here and arrow.target in inside and arrow.target not in seen:
                    seen.add(arrow.target)
                    heads.append(arrow.target)
        return b in seen

    @staticmethod
    def _only_after(name: str, left: Sequence[str], arrows: Sequence[Arrow]) -> list[str]:
        found = [name]
        for each in left:
            sources = {arrow.source for arrow in arrows if arrow.target == each}
            if each != name and sources and sources <= set(found):
                found.append(each)
        return found

    @staticmethod
    def _is_free(unit: Sequence[str], arrows: Sequence[Arrow], decided: set[Arrow]) -> bool:
        return all(each in decided for each in arrows if each.target in unit and each.source not in unit)

    def _perform(
        self,
        unit: list[str],
        arrows: Sequence[Arrow],
        values: dict[str, Any],
        index: int,
        entering: Sequence[Arrow],
        taken: set[Arrow],
    ) -> set[Arrow]:
        first = unit[0]
        inner = [each for each in arrows if each.source in unit]
        if first in self.each:
            self.each -= {first}
            found: set[Arrow] = set()
            lists: dict[str, list[Any]] = {}
            arrived = [at for at, each in enumerate(entering) if each in taken] if entering else [0]
            for at in arrived:
                seen = dict(values)
                for name in unit:
                    seen.pop(name, None)
                found |= self.follow(unit, inner, seen, at)
                for name in unit:
                    lists.setdefault(name, []).append(seen.get(name))
            values |= {name: each for name, each in lists.items() if any(one is not None for one in each)}
            self.each |= {first}
            return found
        if any(each.target == first for each in inner):
            turned = [replace(each, target=f"@{first}") if each.target == first else each for each in inner]
            out: set[Arrow] = set()
            while True:
                left = self.follow(unit, turned, values, index)
                out |= {each for each in left if each.target != f"@{first}"}
                if all(each.target != f"@{first}" for each in left):
                    return out
        self.runs[first] = self.runs.get(first, 0) + 1
        values[first] = [index, self.runs[first]] if self.reads else [index, 1]
        return {each for each in inner if each.when(values[first][1])}


def arrow(rng: random.Random, source: str, target: str, *, back: bool) -> Arrow:
    asked, rest = f"nodes.{source}.output[1]", rng.randint(0, 1)
    if back:
        most = rng.randint(1, _RUNS)
        return Arrow(source, target, lambda n: n <= most, f"{asked} <= {most}")
    if rng.random() < 0.6:
        return Arrow(source, target, lambda _: True, None)
    return Arrow(source, target, lambda n: n % 2 == rest, f"{asked} % 2 == {rest}")


def graph(
    rng: random.Random, *, circles: bool
) -> tuple[dict[str, Any], list[str], list[Arrow], frozenset[str]]:
    """A graph with edges that lead back, or one with joins `each`."""
    names = [f"n{number}" for number in range(rng.randint(3, 8))]
    arrows: list[Arrow] = []
    for number, name in enumerate(names[1:], 1):
        many = rng.choice([1, 1, 1, 2] if circles else [1, 1, 2, 3])
        sources = sorted(rng.sample(names[:number], min(number, many)))
        arrows += [arrow(rng, source, name, back=False) for source in sources]
    each: frozenset[str] = frozenset()
    if circles:
        pairs = {
            tuple(sorted((rng.randrange(len(names)), rng.randrange(len(names)))))
            for _ in range(rng.randint(1, 3))
        }
        arrows += [arrow(rng, names[b], names[a], back=True) for a, b in sorted(pairs)]
    else:
        each = frozenset(rng.sample(names[1:], min(len(names) - 1, rng.randint(1, 3))))
    index = {name: "index" if name in _arriving(names, arrows, each) else "0" for name in names}
    nodes = [
        {
            "id": name,
            "type": "transform",
            "config": {"expression": f"[{index[name]}, {_own(name, names, arrows)}]"},
            **({"join": "each"} if name in each else {}),
        }
        for name in names
    ]
    edges = [
        {"from": one.source, "to": one.target, **({"when": one.text} if one.text else {})} for one in arrows
    ]
    body = document(nodes, edges)
    body["definition"]["outputs"] = {name: f"{{{{ nodes.{name}.output | default(none) }}}}" for name in names}
    return body, names, arrows, each


def _own(name: str, names: Sequence[str], arrows: Sequence[Arrow]) -> str:
    if not Hand._leads(name, name, names, arrows):
        return "1"
    return f"(nodes.{name}.output | default([0, 0]))[1] + 1"


def _arriving(names: Sequence[str], arrows: Sequence[Arrow], each: frozenset[str]) -> set[str]:
    return {name for join in each for name in Hand._only_after(join, names, arrows)}


def sound(circles: bool) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Yield graphs that may be written, each with its seed and what it comes to."""
    for seed in count():
        body, names, arrows, each = graph(random.Random(seed), circles=circles)
        wrong = {one.code for one in problems.check(body, built_in()) if one.severity == "error"}
        if not wrong:
            values: dict[str, Any] = {}
            Hand(arrows, each, reads=circles).follow(names, arrows, values, 0)
            yield seed, body, {name: values.get(name) for name in names}
        assert wrong <= {"definition.circle_entries", "definition.duplicate_edge"}, seed


@pytest.mark.parametrize("circles", [True, False], ids=["circles", "each"])
def test_a_graph_with_parts_comes_to_what_the_arrows_say(tmp_path: Path, *, circles: bool) -> None:
    bench = Workbench(tmp_path)
    try:
        for seed, body, expected in islice(sound(circles), GRAPHS):
            execution = bench.start(bench.push(body), {})
            asyncio.run(bench.carry())
            assert bench.status(execution) == "succeeded", (seed, bench.error(execution))
            assert bench.output(execution) == expected, seed
    finally:
        bench.close()


@pytest.mark.parametrize("circles", [True, False], ids=["circles", "each"])
def test_it_does_so_whatever_dies_and_whoever_comes_late(tmp_path: Path, *, circles: bool) -> None:
    place, case = Place(tmp_path), Case.parse({"input": {}, "traces": []})
    for seed, body, expected in islice(sound(circles), DISTURBED):
        histories, left = play(place, seed, body, [case])
        assert [(each.status, each.output) for each in histories if each] == [("succeeded", expected)], seed
        assert left == []
