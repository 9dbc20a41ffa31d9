"""Simulation: the engine's own parts in worlds where a seed decides everything that happens, thousands of them.

    python3 dev.py simulate --seeds 5000 --seed 0
    python3 dev.py simulate --seeds 1 --seed 4711

A seed draws the definitions, what befalls their executions, and in which order. What is left of a world has a hash: the
same seed leaves the same, on every machine. A seed that breaks a promise is told with the command that plays it again.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import agree, checker
from tests.chaos.town import Town
from tests.kept import KeptDatabase

TOGETHER = 2
"""Definitions in one world."""

STEPS = 250
"""Small steps of a world before it is healed."""

PROCESSES = 2
AT_ONCE = 10
"""Seeds that a process plays before it tells of them."""

TOLD = 20
"""As many seeds are told one by one; of more only those that go wrong."""

MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one seed. `report` is empty when every promise was kept."""

    seed: int
    digest: str
    report: str
    executions: int
    events: int
    faults: Counter[str]


def simulate(place: agree.Place, seed: int, together: int = TOGETHER, steps: int = STEPS) -> Outcome:
    """Play one seed."""
    evidence, ended = agree.live(place, seed, agree.drawn(seed, 0, together), steps, Town)
    found = agree.verdict(evidence, ended=ended)
    return Outcome(
        seed,
        digest(evidence),
        checker.report(found, evidence, seed) if found else "",
        len(evidence.executions),
        sum(each.seq for each in evidence.executions),
        Counter(each.text.split()[0] for each in evidence.faults),
    )


def digest(evidence: checker.Evidence) -> str:
    """Return a hash of all that is left: rows and events of executions, effects, what was asked and what went wrong."""
    left = hashlib.sha256()
    for each in evidence.executions:
        fields = (each.id, each.status, each.output, each.error, each.segments, each.journal, each.ranges)
        left.update(repr(fields).encode())
    left.update(repr((evidence.effects, evidence.ops, evidence.faults)).encode())
    return left.hexdigest()[:16]


def all_of(seeds: Sequence[int], processes: int = PROCESSES) -> Iterator[Outcome]:
    """Play seeds on several processes. Yields in their order."""
    blocks = [seeds[at : at + AT_ONCE] for at in range(0, len(seeds), AT_ONCE)]
    if len(blocks) < 2 or processes == 1:
        for block in blocks:
            yield from _play(block)
        return
    with multiprocessing.get_context("spawn").Pool(processes, _hold_back) as pool:
        for outcomes in pool.imap(_play, blocks):
            yield from outcomes


def _hold_back() -> None:
    """Look for cycles of garbage seldom: what a world leaves is little, and what was imported is there for good."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _play(seeds: Sequence[int]) -> list[Outcome]:
    with memory() as place:
        return [simulate(place, each) for each in seeds]


@contextmanager
def memory() -> Iterator[agree.Place]:
    """Make a place that is in memory, where the system has room there, with one file for all its worlds."""
    root = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="clrs-", dir=root) as folder:
        (worlds := Path(folder) / "worlds").mkdir()
        with closing(KeptDatabase(Path(folder) / "kept.db")) as kept:
            yield agree.Place(worlds, kept.once)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many worlds")
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="that share them")
    given = parser.parse_args(arguments)
    print(f"simulate: {given.seeds} seeds from {given.seed} on", flush=True)
    wrong: list[int] = []
    faults: Counter[str] = Counter()
    executions = events = 0
    every = hashlib.sha256()
    begun = said = time.monotonic()
    for count, each in enumerate(all_of(range(given.seed, given.seed + given.seeds), given.processes), 1):
        every.update(each.digest.encode())
        executions += each.executions
        events += each.events
        faults += each.faults
        if given.seeds <= TOLD:
            print(f"  seed {each.seed}: {each.digest}", flush=True)
        if each.report:
            wrong.append(each.seed)
            again = f"python3 dev.py simulate --seeds 1 --seed {each.seed}"
            print(f"\nseed {each.seed} goes wrong; again: {again}\n{each.report}", flush=True)
        if time.monotonic() - said > agree.SAYS:
            said = time.monotonic()
            print(f"  {count} seeds, {len(wrong)} wrong", flush=True)
    seconds = time.monotonic() - begun
    print(f"executions {executions}  events {events}  faults {dict(faults.most_common())}")
    print(f"hash of all {every.hexdigest()[:16]}")
    print(
        f"{given.seeds} seeds, {len(wrong)} wrong, {seconds:.0f} s, {1000 * seconds / given.seeds:.0f} ms a seed"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
