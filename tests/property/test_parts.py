"""Random graphs with edges that lead back and with joins `each` come to what the reference finds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from engine.checking import problems
from tests.builders import document
from tests.chaos.reference import interpret
from tests.chaos.reference.parts import leads, only_after
from tests.patterns.pattern import Case
from tests.patterns.test_patterns import Place, play
from tests.workbench import Workbench, built_in

GRAPHS, DISTURBED = 60, 12
_RUNS = 3
"""An edge leads back so many times at most."""


def edge(rng: random.Random, source: str, target: str, *, back: bool) -> dict[str, Any]:
    asked, rest = f"nodes.{source}.output[1]", rng.randint(0, 1)
    if back:
        return {"from": source, "to": target, "when": f"{asked} <= {rng.randint(1, _RUNS)}"}
    if rng.random() < 0.6:
        return {"from": source, "to": target}
    return {"from": source, "to": target, "when": f"{asked} % 2 == {rest}"}


def graph(rng: random.Random, *, circles: bool) -> dict[str, Any]:
    """A graph with edges that lead back, or one with joins `each`. A node comes to its arrival and how often it ran."""
    names = [f"n{number}" for number in range(rng.randint(3, 8))]
    edges: list[dict[str, Any]] = []
    for number, name in enumerate(names[1:], 1):
        many = rng.choice([1, 1, 1, 2] if circles else [1, 1, 2, 3])
        sources = sorted(rng.sample(names[:number], min(number, many)))
        edges += [edge(rng, source, name, back=False) for source in sources]
    each: frozenset[str] = frozenset()
    if circles:
        pairs = {
            tuple(sorted((rng.randrange(len(names)), rng.randrange(len(names)))))
            for _ in range(rng.randint(1, 3))
        }
        edges += [edge(rng, names[b], names[a], back=True) for a, b in sorted(pairs)]
    else:
        each = frozenset(rng.sample(names[1:], min(len(names) - 1, rng.randint(1, 3))))
    arriving = {name for join in each for name in only_after(join, names, edges)}
    nodes = [
        {
            "id": name,
            "type": "transform",
            "config": {"expression": f"[{'index' if name in arriving else 0}, {_own(name, edges)}]"},
            **({"join": "each"} if name in each else {}),
        }
        for name in names
    ]
    body = document(nodes, edges)
    body["definition"]["outputs"] = {name: f"{{{{ nodes.{name}.output | default(none) }}}}" for name in names}
    return body


def _own(name: str, edges: Sequence[dict[str, Any]]) -> str:
    if not leads(name, name, edges):
        return "1"
    return f"(nodes.{name}.output | default([0, 0]))[1] + 1"


def sound(circles: bool) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Yield graphs that may be written, each with its seed and what it comes to."""
    for seed in count():
        body = graph(random.Random(seed), circles=circles)
        wrong = {one.code for one in problems.check(body, built_in()) if one.severity == "error"}
        if not wrong:
            yield seed, body, interpret(body, {}).output
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
