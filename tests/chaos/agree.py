"""Agreement: random definitions of the whole language are carried out among faults, and held against the reference.

    python3 dev.py agree --definitions 1000 --stack sqlite --seed 7
    python3 dev.py agree --stack sqlite --seed 7 --world 31

A few definitions at a time share a world, in which processes die, messages are lost and doubled, and people decide. Every
world has a number under the seed: what goes wrong there goes wrong again with `--world`, and is made as small as is cheap.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.chaos import checker
from tests.chaos.constructs import RECURSIVE
from tests.chaos.dags import Case, Taste, draw, library
from tests.chaos.reference import folded, graphs
from tests.chaos.society import Forking, Society, Store
from tests.chaos.world import SINK, opened, outlive

TOGETHER = 5
"""Definitions in one world."""

STEPS = 130
"""Small steps of a world for each definition."""

TASTE = Taste(
    sink=SINK,
    nodes=8,
    waits=0.8,
    once=True,
    fatal=0.3,
    regions=0.4,
    rich=0.4,
    handled=False,
    beats=True,
    turns=0.3,
)
CALLED = replace(TASTE, nodes=4, regions=0.2, rich=0.3, limited=False, turns=0.0, library=(RECURSIVE,))
PATIENCE = 60.0
"""Seconds for making a failure smaller."""

SAYS = 15.0
"""Seconds between two words on how far it is."""

Database = Callable[[], AbstractContextManager[Store]]


@dataclass(frozen=True)
class Place:
    """Where worlds are: in a folder, on a file each, or on what is given each time, which is empty."""

    folder: Path
    database: Database = nullcontext


@dataclass(frozen=True, slots=True)
class Cast:
    """The definitions of a world: those that are started, and those that these may call."""

    cases: Mapping[str, Case]
    called: Mapping[str, Case]


def drawn(seed: int, world: int, count: int = TOGETHER) -> Cast:
    """Draw the definitions of a world."""
    rng = random.Random(f"agree {seed} {world}")
    called = library(rng, CALLED, 2)
    taste = replace(TASTE, library=tuple(called))
    return Cast({f"case-{index}": draw(rng, taste, f"case-{index}") for index in range(count)}, called)


def play(
    place: Place,
    seed: int,
    cast: Cast,
    *,
    calm: bool = False,
    judged: Mapping[str, Case] | None = None,
    kind: type[Society] = Society,
) -> tuple[list[checker.Violation], str]:
    """Play one world to its end, or one without faults. Returns what is wrong, and a report of it.

    `judged` are definitions to judge by instead of those that are carried out.
    """
    evidence, ended = live(place, seed, cast, 0 if calm else STEPS * len(cast.cases), kind)
    if judged:
        evidence = replace(evidence, cases={**evidence.cases, **judged})
    found = verdict(evidence, ended=ended)
    return found, checker.report(found, evidence, seed) if found else ""


def live(
    place: Place, seed: int, cast: Cast, steps: int, kind: type[Society] = Society
) -> tuple[checker.Evidence, bool]:
    """Let one world go its way, with faults for so many steps. Returns what is left of it, and whether it came to rest."""
    try:
        with place.database() as store, opened(kind(place.folder, seed, store)) as world:
            for each in cast.called.values():
                world.save(each)
            for name, case in cast.cases.items():
                world.accept(case, f"key-{name}")
            ended = asyncio.run(outlive(world, steps))
            return world.evidence(), ended
    finally:
        for path in place.folder.iterdir():
            path.unlink()


def verdict(evidence: checker.Evidence, *, ended: bool) -> list[checker.Violation]:
    """Return what is wrong in what is left of a world."""
    found = checker.check(evidence)
    return found if found or ended else [checker.Violation("I2", None, "it does not come to rest")]


def number(seed: int, world: int) -> int:
    """The seed of a world."""
    return random.Random(f"world {seed} {world}").randrange(2**32)


def constructs(cast: Cast) -> Counter[str]:
    """Count what the definitions of a world are made of."""
    found: Counter[str] = Counter()
    for case in cast.cases.values():
        found.update(
            f"{each} of executions" for each in {"concurrency", "rate"} & case.document["definition"].keys()
        )
        for graph in graphs(folded(case.document["definition"])):
            for node in graph["nodes"]:
                found[f"a {node['part']['kind']}" if "part" in node else node["type"]] += 1
                found.update(
                    {"for_each", "loop", "catch", "finally", "mutex", "concurrency", "rate"} & node.keys()
                )
                found.update({"compensate", "timeout", "retry", "on_error", "enabled_while"} & node.keys())
                timeout, join = node.get("timeout"), node.get("join")
                found.update(f"timeout.{each}" for each in (timeout if isinstance(timeout, dict) else ()))
                found["collect"] += isinstance(join, dict) and "collect" in join
                found["cancel_rest"] += isinstance(join, dict) and bool(join.get("cancel_rest"))
    return found


def smaller(place: Place, seed: int, cast: Cast, invariants: set[str]) -> tuple[Cast, int]:
    """Make a failure smaller as long as it is cheap: fewer definitions, then fewer nodes. Each may go wrong in another order."""
    deadline = time.monotonic() + PATIENCE

    def shows(candidate: Cast) -> int | None:
        for attempt in (seed, *range(4)):
            if time.monotonic() > deadline:
                return None
            try:
                found, _ = play(place, attempt, candidate)
            except Exception:  # noqa: BLE001  a definition from which too much was taken shows nothing
                return None
            if invariants & {one.invariant for one in found}:
                return int(attempt)
        return None

    for name in cast.cases:
        alone = Cast({name: cast.cases[name]}, cast.called)
        if (found := shows(alone)) is not None:
            cast, seed = alone, found
            break
    again = len(cast.cases) == 1
    while again and time.monotonic() < deadline:
        again = False
        ((name, case),) = cast.cases.items()
        for body in _without_one(case.document["definition"]):
            candidate = Cast(
                {name: replace(case, document={**case.document, "definition": body})}, cast.called
            )
            if (found := shows(candidate)) is not None:
                cast, seed, again = candidate, found, True
                break
    return cast, seed


def _without_one(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a graph without one of its nodes, and with one body inside smaller by one."""
    for index, node in enumerate(body["nodes"]):
        rest = [*body["nodes"][:index], *body["nodes"][index + 1 :]]
        if rest:
            edges = [each for each in body.get("edges", ()) if node["id"] not in (each["from"], each["to"])]
            yield {**body, "nodes": rest, "edges": edges}
    for index, node in enumerate(body["nodes"]):
        for word in (
            "catch",
            "finally",
            "compensate",
            "timeout",
            "mutex",
            "concurrency",
            "rate",
            "join",
            "enabled_while",
        ):
            if word in node:
                made = {name: each for name, each in node.items() if name != word}
                yield {**body, "nodes": [*body["nodes"][:index], made, *body["nodes"][index + 1 :]]}
        if "body" in node:
            for inner in _without_one(node["body"]):
                made = {**node, "body": inner}
                yield {**body, "nodes": [*body["nodes"][:index], made, *body["nodes"][index + 1 :]]}


@contextmanager
def stack(name: str) -> Iterator[Place]:
    """Make a place on a stack."""
    from tests import servers
    from tests.builders import prepared

    with tempfile.TemporaryDirectory(prefix="clrag-", dir="/tmp") as folder:
        (inner := Path(folder) / "worlds").mkdir()
        if name == "sqlite":
            yield Place(inner)
            return
        server = servers.start_postgres()
        try:
            around = {"CELERIAC_DATA": folder, "BROKER_URL": "memory://"}
            template = server.template(
                "agree", lambda url: _prepare(prepared, {**around, "DATABASE_URL": url})
            )
            yield Place(inner, lambda: server.database(template))
        finally:
            server.stop()


def _prepare(prepared: Callable[[Mapping[str, str]], Any], around: Mapping[str, str]) -> None:
    prepared(around)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="agree", description=__doc__)
    parser.add_argument("--definitions", type=int, default=1000, help="how many definitions to carry out")
    parser.add_argument("--stack", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats the same draws")
    parser.add_argument("--world", type=int, help="only this one of the worlds")
    parser.add_argument("--forks", action="store_true", help="fork some of them after their end")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first that goes wrong")
    given = parser.parse_args(arguments)
    worlds = range(-(-given.definitions // TOGETHER)) if given.world is None else [given.world]
    print(f"agree: {len(worlds) * TOGETHER} definitions on {given.stack}, seed {given.seed}", flush=True)
    counts: Counter[str] = Counter()
    wrong = 0
    begun = said = time.monotonic()
    with stack(given.stack) as place:
        for world in worlds:
            cast, seed = drawn(given.seed, world), number(given.seed, world)
            counts += constructs(cast)
            if time.monotonic() - said > SAYS:
                said = time.monotonic()
                print(f"  world {world}, {wrong} wrong", flush=True)
            found, report = play(place, seed, cast, kind=Forking if given.forks else Society)
            if found:
                wrong += 1
                again = f"python3 dev.py agree --stack {given.stack} --seed {given.seed} --world {world}"
                print(f"\nworld {world} goes wrong; again: {again}\n{report}", flush=True)
                if given.keep_going:
                    continue
                _tell_smaller(place, seed, cast, {each.invariant for each in found})
                break
    print(f"made of {dict(counts.most_common())}")
    print(f"{len(worlds)} worlds, {wrong} wrong, {time.monotonic() - begun:.0f} s")
    return 1 if wrong else 0


def _tell_smaller(place: Place, seed: int, cast: Cast, invariants: set[str]) -> None:
    import json

    small, seed = smaller(place, seed, cast, invariants)
    _, report = play(place, seed, small)
    print(f"\nmade smaller, in the world {seed}:\n{report}")
    for case in small.cases.values():
        print(
            json.dumps(
                {"definition": case.document["definition"], "input": case.payload, "answers": case.answers}
            )
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
