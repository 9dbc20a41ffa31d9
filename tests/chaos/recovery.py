"""`python -m tests.chaos --recovery 60`: how long work stands still when whoever performs it dies.

One execution at a time is performed by one of three workers; a child of it is killed, or the worker itself, or the worker
stands still, which is what a machine looks like that is gone: nobody can see that it is dead, and its lease has to lapse.
The time is from the death to the next claim of the work, as its own history tells.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from engine import catalog
from tests.builders import Process, document, edges, is_ready, node, state_of, wait_until
from tests.chaos.stack import STACKS
from tests.faults.conftest import LEASE, Site

CHILD, WORKER, STILL = "a child's death", "a worker's death", "a worker that stands still"
BOUNDS = {CHILD: 1.5, WORKER: LEASE + 2, STILL: LEASE + 2}
"""Seconds within which 99 of 100 are taken up again."""
_CLAIMS = "SELECT body FROM event WHERE execution_id = ? ORDER BY seq"


def spread(times: Sequence[float]) -> dict[str, float]:
    """A distribution in a few numbers."""
    ordered = sorted(times)
    last = len(ordered) - 1
    if not ordered:
        return {"count": 0}
    shares = {f"p{share}": ordered[round(last * share / 100)] for share in (50, 90, 99)}
    return {"count": len(ordered), **shares, "max": ordered[-1]}


class Ward:
    """An installation in which one execution after another loses whoever performs it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        long = node("long", "compute", {"seconds": 0.8, "value": "{{ k }}"})
        self._active: catalog.Active = site.push(
            document([long, node("after")], edges("long->after")), "recovery"
        )
        self._count = 0
        site.client.finished(site.start(self._active), 30)

    def lose(self, kind: str) -> float:
        """Have an execution lose its performer; return the seconds until it is taken up again.

        A child that is only starting looks as busy as one at work: where its death cost nothing, another one is tried.
        """
        while (seconds := self._lose(kind)) is None:
            pass
        return max(0.0, round(seconds, 3))

    def _lose(self, kind: str) -> float | None:
        execution = self._site.start(self._active)
        worker = self._performer(execution)
        child = self._busy(worker)
        before = len(self._claims(execution))
        if kind == CHILD:
            os.kill(child, signal.SIGKILL)
        elif kind == WORKER:
            worker.kill()
        else:
            for pid in (worker.pid, *worker.children()):
                os.kill(pid, signal.SIGSTOP)
        died = time.time()
        wait_until(
            lambda: (
                len(self._claims(execution)) > before or self._site.client.status(execution) == "succeeded"
            ),
            LEASE + 30,
            "somebody who takes it up",
        )
        claims = self._claims(execution)[before:]
        seconds = claims[0] / 1000 - died if claims else None
        if kind == STILL:
            for pid in (worker.pid, *worker.children()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        assert self._site.client.finished(execution, 30) == "succeeded"
        if kind == WORKER:
            self._replace(worker)
        return seconds

    def _claims(self, execution: str) -> list[int]:
        """When the first segment was claimed, each time."""
        rows = self._site.client.query(_CLAIMS, execution)
        return [
            body[2]
            for (text,) in rows
            for body in json.loads(text)
            if body[0] == "segment.claimed" and body[1] == 0
        ]

    def _performer(self, execution: str) -> Process:
        claimed = "SELECT owner FROM segment WHERE execution_id = ? AND segment = 0 AND status = 'running'"
        wait_until(lambda: bool(self._site.client.query(claimed, execution)), 20, "a claim")
        ((owner,),) = self._site.client.query(claimed, execution)
        return next(each for each in self._site.workers if f":{each.pid}:" in owner)

    @staticmethod
    def _busy(worker: Process) -> int:
        """The child of a worker that computes."""
        found: list[int] = []

        def looks() -> bool:
            found[:] = [pid for pid in worker.children() if _runs(pid)]
            return bool(found)

        wait_until(looks, 20, "a child at work")
        return found[0]

    def _replace(self, worker: Process) -> None:
        self._count += 1
        made = self._site.worker(f"heir-{self._count}")
        self._site.workers[self._site.workers.index(worker)] = made
        wait_until(lambda: is_ready(made), 60, "another worker")


def _runs(pid: int) -> bool:
    """Whether a process uses the processor."""
    try:
        return state_of(pid) == "R"
    except OSError:
        return False


def measure(site: Site, count: int, tell: Callable[[str], None]) -> dict[str, list[float]]:
    """Go through so many deaths of each kind."""
    ward = Ward(site)
    found: dict[str, list[float]] = {}
    for kind in (CHILD, WORKER, STILL):
        found[kind] = [ward.lose(kind) for _ in range(count)]
        tell(f"  {kind}: {spread(found[kind])}, the bound is {BOUNDS[kind]:g} s")
    return found


def kept(found: Mapping[str, Sequence[float]]) -> bool:
    """Whether all bounds hold."""
    return all(spread(times)["p99"] <= BOUNDS[kind] for kind, times in found.items())


def main(stack: str, count: int, report: Path) -> int:
    """Measure, print and write down; return the exit code."""
    database, broker = STACKS[stack]
    print(f"recovery: {count} deaths of each kind on {stack}, leases of {LEASE:g} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="clrv-", dir="/tmp") as folder, ExitStack() as opened:
        site = Site(database, Path(folder), opened, broker, survivors=3)
        found = measure(site, count, lambda line: print(line, flush=True))
    figures = {
        "stack": stack,
        "lease_s": LEASE,
        "recovery_s": {kind: spread(each) for kind, each in found.items()},
    }
    report.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0 if kept(found) else 1
