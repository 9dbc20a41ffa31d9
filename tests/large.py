"""Large executions, each carried out by the engine's own parts in a process of its own, so that its memory can be told.

`python -m tests.large CASE COUNT` prints what it took: `{"status", "output", "seconds", "peak_mb"}`. Without arguments, as
`python3 dev.py large` calls it, all that is promised is carried out, a line of JSON each. Nothing is sent: what a broker and
other processes would do besides is measured by `dev.py bench`.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.settings import Limits
from tests.builders import ROOT, document, edges, node
from tests.workbench import Workbench

DEEP = Limits().scope_depth
"""Bodies that may be around a node."""

MESSAGE = 32
"""References that one message carries."""

Made = tuple[dict[str, Any], Any]
"""A definition and its payload."""


def items(count: int) -> Made:
    """A map of nodes that have no effect: many items are performed in one go."""
    each = node("m", "transform", {"expression": "item + 1"}, for_each={"items": "xs"})
    last = node("n", "transform", {"expression": "nodes.m.output | length"})
    return document([each, last], edges("m->n")), {"xs": list(range(count))}


def bodies(count: int) -> Made:
    """A map of a body with a choice: each item has rows of its own."""
    inner = {
        "nodes": [
            node("odd", "if", {"condition": "item % 2 == 1"}),
            node("a", "transform", {"expression": "item"}),
            node("b", "transform", {"expression": "item * 2"}),
            node("c", "noop"),
        ],
        "edges": [
            {"from": "odd", "to": "a", "port": "true"},
            {"from": "odd", "to": "b", "port": "false"},
            *edges("a->c", "b->c"),
        ],
    }
    each = {"id": "m", "type": "scope", "body": inner, "for_each": {"items": "xs"}}
    last = node("n", "transform", {"expression": "nodes.m.output | length"})
    return document([each, last], edges("m->n")), {"xs": list(range(count))}


def rounds(count: int) -> Made:
    """A loop."""
    loop = {"while": f"index < {count}", "initial": 0, "max_iterations": count}
    return document([node("n", "transform", {"expression": "item + 1"}, loop=loop)]), {}


def waits(count: int) -> Made:
    """So many waits at once."""
    each = node("m", "wait", {"for": "1h"}, for_each={"items": "xs", "concurrency": count})
    last = node("n", "transform", {"expression": "nodes.m.output | length"})
    return document([each, last], edges("m->n")), {"xs": list(range(count))}


def scopes(count: int) -> Made:
    """So many scopes, as deep inside each other as may be."""
    found: list[dict[str, Any]] = []
    for number in range(-(-count // DEEP)):
        inner = node(f"n{number}", "transform", {"expression": "1"})
        for level in range(min(DEEP, count - number * DEEP)):
            inner = {"id": f"s{number}_{level}", "type": "scope", "body": {"nodes": [inner], "edges": []}}
        found.append(inner)
    names = ", ".join(f"nodes.{each['id']}.output" for each in found)
    last = node("n", "transform", {"expression": f"[{names}] | length"})
    return document([*found, last], edges(*(f"{each['id']}->n" for each in found))), {}


def nested(count: int) -> Made:
    """So many scopes inside each other, where the limit of how deep they may stand allows it: each all of the one around it."""
    inner = node("n", "transform", {"expression": "1"})
    for level in range(count):
        inner = {"id": f"s{level}", "type": "scope", "body": {"nodes": [inner], "edges": []}}
    last = node("n0", "transform", {"expression": f"nodes.{inner['id']}.output"})
    return document([inner, last], edges(f"{inner['id']}->n0"), outputs={"n": "{{ nodes.n0.output }}"}), {}


CASES: dict[str, Callable[[int], Made]] = {
    "items": items,
    "bodies": bodies,
    "rounds": rounds,
    "waits": waits,
    "scopes": scopes,
    "nested": nested,
}

PROMISED = {
    "items": (1_000, 100_000),
    "rounds": (1_000, 10_000),
    "waits": (1_000,),
    "scopes": (500,),
    "nested": (100,),
}
"""What is held to hold: how many, after a smaller count to compare with if size is what matters."""

MOST_MORE = 50.0
"""Megabytes that the larger of two may take more."""

MOST_COST = 2.0
"""How many times as long as in the smaller of two one of the larger may take."""


async def carry_out(bench: Workbench, made: Made) -> dict[str, Any]:
    """Carry one out to its end, letting time pass when nothing else can be done."""
    body, payload = made
    begun = time.perf_counter()
    name = bench.start(bench.push(body), payload)
    executor, poller = bench.executor(), bench.poller()
    most = 0
    while bench.status(name) not in ("succeeded", "failed"):
        while references := bench.outlet.taken():
            for first in range(0, len(references), MESSAGE):
                await executor.perform(references[first : first + MESSAGE])
        waiting = "SELECT count(*) FROM segment WHERE status = 'waiting' AND item <> ''"
        most = max(most, bench.query(waiting)[0][0])
        bench.clock.move(60)
        poller.tick()
    seconds = time.perf_counter() - begun
    output = bench.output(name) or bench.error(name)
    return {
        "status": bench.status(name),
        "output": output["n"] if isinstance(output, dict) and "n" in output else output,
        "seconds": round(seconds, 3),
        "peak_mb": round(peak(), 1),
        "waiting": most,
    }


def peak() -> float:
    """The most memory this process has had, in megabytes. Not that of `ru_maxrss`: it begins with what forked the process."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def measured(case: str, count: int, seconds: float = 300) -> dict[str, Any]:
    """Carry one out in a process of its own, and return what it printed."""
    line = [sys.executable, "-m", "tests.large", case, str(count)]
    done = subprocess.run(
        line, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=seconds
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def promised() -> int:
    """Carry out all that is promised, and print of each what it took and whether it holds. Returns the exit code."""
    whole = True
    for case, counts in PROMISED.items():
        found = [measured(case, count, 900) for count in counts]
        line: dict[str, Any] = {"case": case, "count": counts[-1], **found[-1]}
        holds = found[-1]["status"] == "succeeded"
        if len(found) > 1:
            costs = [each["seconds"] / count for each, count in zip(found, counts, strict=True)]
            line["more_mb"] = round(found[-1]["peak_mb"] - found[0]["peak_mb"], 1)
            line["cost"] = round(costs[-1] / costs[0], 2)
            holds = holds and line["more_mb"] < MOST_MORE and line["cost"] <= MOST_COST
        whole = whole and holds
        print(json.dumps({**line, "holds": holds}), flush=True)
    return 0 if whole else 1


def main(case: str, count: str) -> None:
    with tempfile.TemporaryDirectory(prefix="clrlg-", dir="/tmp") as folder:
        bench = Workbench(Path(folder), limits=Limits(scope_depth=100))
        try:
            print(json.dumps(asyncio.run(carry_out(bench, CASES[case](int(count))))))
        finally:
            bench.close()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        raise SystemExit(promised())
    main(*sys.argv[1:])
