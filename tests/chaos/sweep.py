"""`python3 dev.py sweep --stack sqlite`: every place where the engine may break, broken in every way, one after another.

The places are those that stand in the sources: `failpoint(...)`, and before and after each `@crossing(...)`. A case arms one of
them in a worker that is then sent an execution with effects; two workers that nobody touches are there to end it. The judge
of the chaos run holds what came of it against the reference and against the ledger of effects.

A place that its worker did not come to is no success: it stands in the table as not reached. It ends with 1 if a promise was
broken or an execution did not end.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue

from engine.broker import DOWN
from engine.errors import Unavailable
from engine.failpoints import CROSSINGS
from tests.builders import ROOT, Process, document, edges, is_ready, node, wait_until
from tests.chaos import checker
from tests.chaos.stack import STACKS
from tests.faults.conftest import LEASE, Site

for name in ("engine.broker", "engine.store.database", "engine.outside.egress", "worker.children"):
    import_module(name)  # which names their crossings

LONG = 1.5 * LEASE
"""Seconds that a process sleeps or stands still: longer than its leases last."""
ACTIONS = {"kill": "kill", "stop": "stop", "sleep": f"sleep:{LONG}", "raise": "raise"}
"""To raise after a crossing is what a lost answer is: done, then timed out."""
ELSEWHERE = {
    "answer.before": "tests/faults/test_answers.py",
    "api.publish.before": "tests/faults/test_processes.py",
    "emit.after": "tests/faults/test_signals.py",
    "fire.after": "tests/faults/test_schedules.py",
    "mail.read": "tests/faults/test_mail.py",
    "mail.taken": "tests/faults/test_mail.py",
    "rest.after": "tests/faults/test_signals.py",
    "return.before": "tests/faults/test_calls.py",
}
"""Places that this workload does not come to, and the test that kills a process there."""
TRIES = 3
PATIENCE = 30.0
_TROUBLE: tuple[type[Exception], ...] = (AssertionError, Unavailable, *DOWN)
_PLACE = re.compile(r'failpoint\("([a-z_.]+)"\)')


@dataclass(slots=True)
class Trial:
    """One place, broken in one way, and what came of it."""

    place: str
    action: str
    outcome: str = "not reached"
    seconds: float | None = None
    """From the fault to the end of the execution."""
    executions: list[str] = field(default_factory=list)
    told: str = ""


def places() -> list[str]:
    """Every place there is, in the sources and around the crossings."""
    rooms = [path for room in ("engine", "worker", "api") for path in (ROOT / room).rglob("*.py")]
    marked = {found for path in rooms for found in _PLACE.findall(path.read_text(encoding="utf-8"))}
    around = {f"{name}.{side}" for name in CROSSINGS for side in ("before", "after")}
    return sorted((marked | around) - {"a.place"})


def trials(only: str = "") -> list[Trial]:
    """The cases: each place with each action that it can have."""
    found = []
    for place in places():
        if place in ELSEWHERE or not re.search(only, place):
            continue
        fails = CROSSINGS.get(place.rpartition(".")[0], True)
        found += [Trial(place, each) for each in ACTIONS if each != "raise" or fails]
    return found


class Lane:
    """A thread with a worker of its own, which is broken one case at a time."""

    def __init__(self, site: Site, number: int, todo: SimpleQueue[Trial], workflow: object) -> None:
        self._site = site
        self._queue = f"only-lane-{number}"
        self._rules = site.folder / f"lane-{number}.rules"
        self._number = number
        self._starts = 0
        self._todo = todo
        self._workflow = workflow
        self._victim: Process | None = None
        self.thread = threading.Thread(target=self._run, name=f"lane-{number}", daemon=True)

    def end(self) -> None:
        if self._victim is not None:
            with suppress(ProcessLookupError):
                self._victim.kill()

    def _run(self) -> None:
        while True:
            try:
                trial = self._todo.get_nowait()
            except Empty:
                return
            try:
                self._carry_out(trial)
                print(
                    f"  {trial.outcome:12} {trial.place} = {trial.action}  {trial.seconds or 0:.2f} s",
                    flush=True,
                )
            except _TROUBLE as error:  # told, and the next case is carried out
                trial.outcome, trial.told = "broken", f"{type(error).__name__}: {error}"[:400]

    def _ready(self) -> Process:
        victim = self._victim
        if victim is None or victim.code is not None:
            self._rules.unlink(missing_ok=True)
            self._starts += 1
            more = {
                "CELERIAC_TEST": "1",
                "CELERIAC_FAILPOINTS": f"file:{self._rules}",
            }
            victim = self._victim = self._site.worker(
                f"lane-{self._number}-{self._starts}", self._queue, **more
            )
            wait_until(lambda: is_ready(victim), 60, "a victim")
        return victim

    def _carry_out(self, trial: Trial) -> None:
        fired = self._rules.with_suffix(".fired")
        for _ in range(TRIES):
            victim = self._ready()
            fired.unlink(missing_ok=True)
            execution = self._site.accept_silently(self._workflow)  # type: ignore[arg-type]
            trial.executions.append(execution)
            self._rules.write_text(f"{trial.place}={ACTIONS[trial.action]}@1", encoding="utf-8")
            self._site.send([(execution, 0, "")], self._queue)
            self._site.names[execution] = "swept"
            finished = self._await(execution, victim, fired, trial)
            if trial.action == "stop":
                victim.send(signal.SIGCONT)
            if not finished:
                trial.outcome = "not ended"
                return
            if fired.exists():
                at = fired.stat().st_mtime
                ((end,),) = self._site.client.query(
                    "SELECT finished_at FROM execution WHERE id = ?", execution
                )
                trial.outcome, trial.seconds = "ok", round(max(0.0, end / 1000 - at), 3)
                break
        self._rules.unlink(missing_ok=True)

    def _await(self, execution: str, victim: Process, fired: Path, trial: Trial) -> bool:
        """Wait for an end. Who stands still goes on after a while, as if nothing had been."""
        deadline = time.monotonic() + PATIENCE
        woken = False
        while time.monotonic() < deadline:
            stands = trial.action == "stop" and not woken and fired.exists()
            if stands and time.time() - fired.stat().st_mtime > LONG:
                victim.send(signal.SIGCONT)
                woken = True
            if self._site.client.status(execution) in ("succeeded", "failed", "cancelled"):
                return True
            time.sleep(0.05)
        return False


def sweep(site: Site, cases: Sequence[Trial], lanes: int) -> list[checker.Violation]:
    """Carry the cases out, then judge them all."""
    body = document(
        [
            site.call("first"),
            node("left", "compute", {"seconds": 0.05, "value": 1}, queue="default"),
            node("right", queue="cpu"),
            node("meet", "merge"),
            site.call("last"),
        ],
        edges("first->left->meet->last", "first->right->meet"),
    )
    workflow = site.push(body, "swept")
    todo: SimpleQueue[Trial] = SimpleQueue()
    for each in cases:
        todo.put(each)
    working = [Lane(site, number, todo, workflow) for number in range(lanes)]
    for lane in working:
        lane.thread.start()
    for lane in working:
        lane.thread.join()
    for lane in working:
        lane.end()
    return _judged(site, cases)


def _judged(site: Site, cases: Sequence[Trial]) -> list[checker.Violation]:
    """Hold every execution against what was promised, and tell each case what it broke."""
    chosen = {execution: trial for trial in cases for execution in trial.executions}
    # What a sleeper still holds ends with its lease.
    time.sleep(LEASE + 1)
    found = [each for each in checker.read(site.settings.database_url) if each.id in chosen]
    effects = [each for each in site.sink.effects() if each.execution in chosen]
    violations = checker.check(checker.Evidence(found, site.cases, effects, []))
    for each in violations:
        trial = chosen.get(each.execution or "")
        if trial is not None:
            trial.outcome, trial.told = "violation", f"{each.invariant}: {each.text}"[:400]
    for execution in found:
        trial = chosen[execution.id]
        if trial.outcome == "ok" and execution.status != "succeeded":
            trial.outcome, trial.told = "violation", f"it {execution.status}: {execution.error}"[:400]
    return violations


def table(stack: str, cases: Sequence[Trial]) -> Iterator[str]:
    """What was done, out of how much, and whatever was not well."""
    counts = Counter(each.outcome for each in cases)
    known = {each.place for each in cases}
    yield (
        f"{stack}: {counts['ok']} of {len(cases)} cases ok "
        f"({len(known)} places x {len(ACTIONS)} actions, less what cannot be raised); "
        + ", ".join(f"{count} {name}" for name, count in sorted(counts.items()) if name != "ok")
    )
    for place, where in ELSEWHERE.items():
        yield f"  {place}: killed there in {where}"
    for each in sorted(cases, key=lambda each: (each.outcome, each.place)):
        if each.outcome != "ok":
            yield f"  {each.outcome:12} {each.place} = {each.action}  {each.told}"
    times = sorted(each.seconds for each in cases if each.seconds is not None)
    if times:
        yield f"  ended after the fault: median {times[len(times) // 2]:.2f} s, longest {times[-1]:.2f} s"


def failed(cases: Sequence[Trial]) -> bool:
    """Whether something was broken that had been promised."""
    return any(each.outcome not in ("ok", "not reached") for each in cases)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="sweep", description=__doc__)
    parser.add_argument("--stack", choices=sorted(STACKS), default="sqlite")
    parser.add_argument("--only", default="", help="a pattern of places")
    parser.add_argument("--lanes", type=int, default=3, help="how many workers are broken at once")
    parser.add_argument("--json", type=Path, default=Path("sweep.json"), help="where the cases are written")
    given = parser.parse_args(arguments)
    database, broker = STACKS[given.stack]
    cases = trials(given.only)
    print(f"sweep: {len(cases)} cases on {given.stack}", flush=True)
    with tempfile.TemporaryDirectory(prefix="clrw-", dir="/tmp") as folder, ExitStack() as opened:
        violations = sweep(Site(database, Path(folder), opened, broker), cases, given.lanes)
    for line in table(given.stack, cases):
        print(line)
    written = {"stack": given.stack, "cases": [asdict(each) for each in cases]}
    given.json.write_text(json.dumps(written, indent=1), encoding="utf-8")
    return 1 if violations or failed(cases) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
