"""`python -m tests.chaos --minutes 2 --stack sqlite --seed 1`: break a whole installation under load, then judge it.

With `--mutants` the judge is put to the test instead. With `--nodes` the worst moments of each node type's effect are gone
through instead, one by one.

It ends with 0 when nothing that was promised is broken, with 1 when something is, and tells what. `CELERIAC_TEST` and
`CELERIAC_BUG` are handed to the processes: with a planted bug it has to end with 1.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from tests.builders import BRISK
from tests.chaos import checker
from tests.chaos.drafts import Taste
from tests.chaos.load import Load
from tests.chaos.nemesis import OUTAGE, WAYS, Nemesis
from tests.chaos.recovery import spread
from tests.chaos.stack import STACKS, Stack

LEASE = int(BRISK["LEASE"]) / 1000
STILL = 3 * LEASE + 10
"""Seconds without any progress after which what is not finished never will be."""
LONGEST = 180.0
DEFINITIONS = 40
_PROGRESS = "SELECT count(*), sum(CASE WHEN finished_at IS NULL THEN 1 ELSE 0 END), coalesce(sum(seq), 0) FROM execution"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long to break things")
    parser.add_argument("--stack", choices=sorted(STACKS), default="sqlite")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats the same draws")
    parser.add_argument("--open", type=int, default=60, help="executions under way at once, at most")
    parser.add_argument("--json", type=Path, default=Path("chaos.json"), help="where the figures are written")
    parser.add_argument(
        "--keep", action="store_true", help="keep the logs and a SQLite database of a good run, too"
    )
    parser.add_argument(
        "--only", nargs="*", choices=WAYS, default=(), help="break it in these ways and no other"
    )
    parser.add_argument(
        "--outage",
        type=float,
        default=OUTAGE,
        help="seconds that the broker is away for, once it is silenced",
    )
    parser.add_argument(
        "--nodes",
        action="store_true",
        help="instead: kill a worker at the worst moments of each node type that has an effect, and print a table",
    )
    parser.add_argument(
        "--mutants",
        action="store_true",
        help="instead: plant known bugs in simulated worlds, one by one, and print which check saw each of them",
    )
    parser.add_argument(
        "--recovery",
        type=int,
        metavar="N",
        help="instead: measure how soon work is taken up again after a death, N deaths of each kind",
    )
    parser.add_argument(
        "--commits",
        type=int,
        metavar="N",
        help="instead: kill a process that writes into a SQLite file, N times, each at a random moment",
    )
    given = parser.parse_args(arguments)
    if given.commits:
        from tests.chaos import commits

        return commits.main(given.commits, given.seed)
    if given.recovery:
        from tests.chaos import recovery

        return recovery.main(given.stack, given.recovery, given.json)
    if given.mutants:
        from tests.chaos import mutants

        return mutants.main()
    if given.nodes:
        from tests.chaos import effects

        return effects.main()
    planted = {name: os.environ[name] for name in ("CELERIAC_TEST", "CELERIAC_BUG") if name in os.environ}
    print(f"chaos: {given.minutes:g} min on {given.stack}, seed {given.seed} {planted or ''}", flush=True)
    stack = Stack(given.stack, planted, traps=not given.only or "kill" in given.only)
    good = False
    try:
        good = run(stack, given)
    finally:
        stack.close()
        if good and not given.keep:
            stack.forget()
        else:
            print(f"logs and files: {stack.folder}")
    return 0 if good else 1


def run(stack: Stack, given: argparse.Namespace) -> bool:
    """Break, heal, settle, judge. Returns whether all promises were kept."""
    minutes, seed, open_limit = given.minutes, given.seed, given.open
    stack.wait_ready()
    load = Load(
        stack,
        seed,
        Taste(
            sink=stack.sink.url,
            nodes=12,
            waits=0.8,
            delay=0.3,
            computes=True,
            fatal=0.3,
            once=True,
            regions=0.2,
            rich=0.2,
            keys=20,
            handled=False,
        ),
        open_limit,
    )
    load.prepare(DEFINITIONS)
    nemesis = Nemesis(stack, load, seed, LEASE, given.only or WAYS, given.outage)
    load.begin()
    nemesis.begin()
    end = time.monotonic() + minutes * 60
    told = time.monotonic()
    while time.monotonic() < end:
        time.sleep(0.25)
        started, unfinished, _ = progress(stack)
        load.tell_open(unfinished)
        if time.monotonic() - told > 15:
            told = time.monotonic()
            print(
                f"  {started} executions, {unfinished} under way, {broken(nemesis.faults)} faults",
                flush=True,
            )
    nemesis.end()
    stack.heal()
    load.end()
    settled, aside = settle(stack, load)
    queued = drained(stack)
    evidence = checker.Evidence(
        checker.read(stack.settings.database_url),
        load.cases,
        stack.sink.effects(),
        load.ops,
        nemesis.faults,
        queued,
        frozenset(load.cancels),
    )
    violations = checker.check(evidence)
    summary(evidence, nemesis, settled, len(violations))
    found = figures(evidence, nemesis, load.replies, settled, violations)
    given.json.write_text(json.dumps({**_run(given), **found}, indent=1), encoding="utf-8")
    share = found["accepted"]
    print(f"API: {share:.2%} of the requests that reached it were accepted; {found['replies']}")
    for kind, times in found["recovery_s"].items():
        print(f"  work goes on after {kind}: {times}")
    print(f"put aside after more than {checker.LOSSES} losses, and run again by an operator: {aside}")
    for name, member in stack.members.items():
        print(f"  {name} ended by itself: {dict(Counter(member.codes))}")
    for text, count in sorted(stack.said().items(), key=lambda each: -each[1])[:12]:
        print(f"  in the logs, {count} times: {text}")
    if violations:
        print(checker.report(violations, evidence, seed))
    return not violations


def progress(stack: Stack) -> tuple[int, int, int]:
    """How many executions there are, how many have not ended, and a number that grows with every event."""
    url = stack.settings.database_url
    try:
        if stack.settings.sqlite:
            raw = sqlite3.connect(f"file:{stack.settings.sqlite_path}?mode=ro", uri=True, timeout=5)
            try:
                row = raw.execute(_PROGRESS).fetchone()
            finally:
                raw.close()
        else:
            with psycopg.connect(url, connect_timeout=5) as connection:
                row = connection.execute(_PROGRESS).fetchone()
    except (sqlite3.OperationalError, psycopg.OperationalError):
        return 0, 0, 0
    return (row[0], row[1] or 0, row[2]) if row else (0, 0, 0)


def settle(stack: Stack, load: Load) -> tuple[float, int]:
    """Wait until everything has ended, or nothing moves any more, with an operator who looks after what was put aside.

    Returns the seconds it took, and how much had been put aside.
    """
    begun = moved = looked = time.monotonic()
    aside = load.look_after()
    seen = (-1, -1, -1)
    while time.monotonic() - moved < STILL and time.monotonic() - begun < LONGEST:
        found = progress(stack)
        if found[0] and found[1] == 0:
            break
        if found != seen:
            seen, moved = found, time.monotonic()
        if time.monotonic() - looked > LEASE:
            aside += load.look_after()
            looked = time.monotonic()
        time.sleep(0.1)
    return time.monotonic() - begun, aside


def drained(stack: Stack) -> int:
    """Wait until the queues are empty; return what stays."""
    deadline = time.monotonic() + 10
    while (left := stack.queued()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _run(given: argparse.Namespace) -> dict[str, Any]:
    return {"stack": given.stack, "seed": given.seed, "minutes": given.minutes}


def figures(
    evidence: checker.Evidence,
    nemesis: Nemesis,
    replies: Mapping[str, int],
    settled: float,
    violations: Sequence[checker.Violation],
) -> dict[str, Any]:
    """What a machine may read of a run."""
    return {
        "faults": dict(nemesis.counts),
        "faults_total": broken(nemesis.faults),
        "executions": len(evidence.executions),
        "states": dict(Counter(each.status for each in evidence.executions)),
        "effects_applied": sum(each.applied for each in evidence.effects),
        "settled_s": round(settled, 2),
        "accepted": accepted(replies),
        "replies": dict(replies),
        "recovery_s": {
            "a child's death": spread(taken_up(evidence, "killed a child of")),
            "a worker's death": spread(taken_up(evidence, "killed worker-")),
        },
        "violations": [[each.invariant, each.execution, each.text] for each in violations],
    }


def broken(faults: Sequence[checker.Fault]) -> int:
    """How much was broken. That something goes on again is told in the same timeline, and is no fault."""
    return sum(not each.text.startswith(("woke", "thawed")) for each in faults)


def accepted(replies: Mapping[str, int]) -> float:
    """The share that was accepted of the requests for which an API was there; one that was killed takes its own with it."""
    there = sum(count for came, count in replies.items() if came != "ConnectError")
    return round((replies.get("200", 0) + replies.get("202", 0)) / max(1, there), 5)


def taken_up(evidence: checker.Evidence, fault: str) -> list[float]:
    """Seconds from each fault of a kind to the next event of those executions that had events before, and none meanwhile.

    Only executions that were under way and had written something in the last second before the fault count, for of the
    others nobody knows whether they were touched; so this bounds recovery from above, waits that were meant to be included.
    """
    found = []
    moments = [each.at for each in evidence.faults if each.text.startswith(fault)]
    for execution in evidence.executions:
        written = sorted(each.at for each in execution.ranges)
        for moment in moments:
            at = bisect.bisect_right(written, moment)
            if 0 < at < len(written) and written[at - 1] >= moment - 1000:
                found.append((written[at] - moment) / 1000)
    return found


def summary(evidence: checker.Evidence, nemesis: Nemesis, settled: float, violations: int) -> None:
    """Tell what has been done and what came of it."""
    states = Counter(each.status for each in evidence.executions)
    ops = Counter(each.outcome for each in evidence.ops)
    applied = sum(each.applied for each in evidence.effects)
    counts = nemesis.counts
    print(
        f"kills {counts['killed']}  stalls {counts['stalled']}  flushes {counts['flushed']}  "
        f"reordered {counts['reordered']}  late {counts['repeated']}  doubled {counts['doubled']}  cuts {counts['cut']}"
    )
    print(f"requests {sum(ops.values())}: {dict(ops)}")
    print(f"executions {len(evidence.executions)}: {dict(states)}, settled in {settled:.1f} s")
    print(f"effects: {len(evidence.effects)} requests, {applied} applied")
    print(f"violations {violations}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
