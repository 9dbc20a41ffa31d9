"""`python3 dev.py sweep --stack sqlite`: every place where the engine may break, broken in every way, one after another.

The places are those that stand in the sources: `failpoint(...)`, and before and after each `@crossing(...)`. A rehearsal notes
which of them each kind of process (`scenes.py`) comes to while it starts and while it works; each of these is then broken in
each way, at one of the moments at which it was come to. Whoever dies is started again, as by a supervisor. Then the judge
of the chaos run holds what came of it against the reference and against the ledger of effects.

It ends with 1 if a promise was broken, if work did not end, if a case did not come to its place, or if there is a place that no
process comes to.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from functools import reduce
from importlib import import_module
from operator import and_
from pathlib import Path
from queue import Empty, SimpleQueue

from engine.broker import DOWN
from engine.errors import Unavailable
from engine.failpoints import CROSSINGS
from tests.builders import ROOT, Process, wait_until
from tests.chaos import checker
from tests.chaos.scenes import SCENES, Scene, Work
from tests.chaos.stack import STACKS
from tests.faults.conftest import LEASE, Site

for name in ("engine.broker", "engine.store.database", "engine.outside.egress", "worker.children"):
    import_module(name)  # which names their crossings

LONG = 1.5 * LEASE
"""Seconds that a process sleeps or stands still: longer than its leases last."""
ACTIONS = {"kill": "kill", "stop": "stop", "sleep": f"sleep:{LONG}", "raise": "raise"}
"""To raise after a crossing is what a lost answer is: done, then timed out."""
ABSENT = {"postgresql": frozenset({"database.backup.before", "database.backup.after"})}
"""Places that are not there with a database, which brings tools of its own for that."""
UNREACHED = frozenset(
    {
        "broker.hear.after",
        "broker.overhear.after",  # both return only when their process ends
    }
)
"""Places that no scene comes to, and need not."""
OF_NODES = frozenset({"effect.before", "effect.after"})
"""Places whose errors are a node's own, and fail it."""
LANES = {"worker": 2}
"""How many processes of a kind are broken at the same time, if not one."""
REHEARSALS = 3
TRIES = 3
LINGER = 1.5
"""Seconds in which a process comes to what it does only now and then."""
_TROUBLE: tuple[type[Exception], ...] = (AssertionError, Unavailable, *DOWN)
_PLACE = re.compile(r'failpoint\("([a-z_.]+)"\)')


@dataclass(slots=True)
class Trial:
    """One place, broken in one way, and what came of it."""

    scene: str
    place: str
    action: str
    hit: int = 1
    """The how manieth time that the place is come to."""
    boots: bool = False
    """Whether it is broken while the process starts or does its first work, since it comes there at no other time."""
    outcome: str = "not reached"
    seconds: float | None = None
    """From the fault to the end of the work."""
    executions: list[str] = field(default_factory=list)
    told: str = ""

    @property
    def title(self) -> str:
        """What is broken, in a few words."""
        return f"{self.scene}: {self.place} = {self.action}" + (" at first" if self.boots else "")


def places() -> set[str]:
    """Every place there is, in the sources and around the crossings."""
    rooms = [path for room in ("engine", "worker", "api") for path in (ROOT / room).rglob("*.py")]
    marked = {found for path in rooms for found in _PLACE.findall(path.read_text(encoding="utf-8"))}
    around = {f"{name}.{side}" for name in CROSSINGS for side in ("before", "after")}
    return (marked | around) - {"a.place"}


@dataclass(frozen=True, slots=True)
class Ways:
    """Which places a process comes to, and how often: until its first work is done, and in every later piece of work."""

    starting: Mapping[str, int]
    working: Mapping[str, int]

    def trials(self, scene: str, rng: random.Random) -> list[Trial]:
        """The cases: each place with each action that it can have."""
        found = []
        for place in sorted(self.starting.keys() | self.working.keys()):
            fails = CROSSINGS.get(place.rpartition(".")[0], True)
            for action in ACTIONS:
                hit = rng.randint(1, self.working.get(place, 1))
                if action != "raise" or (fails and place not in OF_NODES):
                    found.append(Trial(scene, place, action, hit, boots=place not in self.working))
        return found


class Lane:
    """A process that is broken one case at a time."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.site = scene.site
        self._rules = self.site.folder / f"{scene.lane}.rules"
        self._fired = self._rules.with_suffix(".fired")
        self._victim: Process | None = None
        self._woken = False

    def rehearse(self) -> Ways:
        """Let the process start and work, and see where it comes along."""
        self._start()  # once before, since a scene may bring its workflows to the first of all
        self._await_ready()
        self.end()
        self._arm("*=note")
        self._start()
        self._await_ready()
        starting = self._noted()
        found: list[Counter[str]] = []
        for number in range(0 if self.scene.is_short else REHEARSALS + 1):
            self._fired.unlink(missing_ok=True)
            work = self.scene.work()
            try:
                wait_until(work.step, self.scene.patience, f"the rehearsal of the {self.scene.name}")
            except AssertionError as error:
                raise AssertionError(f"{error}; {work.state()}") from None
            time.sleep(0.3)  # what comes after the end
            if number == 0:
                starting |= self._noted()
            else:
                found.append(self._noted())
        self.end()
        return Ways(starting, reduce(and_, found, found[0]) if found else Counter())

    def _noted(self) -> Counter[str]:
        """How often each place was come to, by the process that came there most often."""
        lines = Counter(self._fired.read_text(encoding="utf-8").splitlines() if self._fired.exists() else ())
        found: Counter[str] = Counter()
        for line, count in lines.items():
            found |= Counter({line.split()[0]: count})
        return found

    def carry_out(self, trial: Trial) -> None:
        """Break what the case says, and see to it that the work comes to its end."""
        hits = (trial.hit, *(1,) * (TRIES - 1))
        try:
            for hit in hits:
                if self._once(trial, hit):
                    break
        except _TROUBLE as error:  # told, and the next case is carried out
            trial.outcome, trial.told = "broken", f"{type(error).__name__}: {error}"[:600]
            self.end()

    def _once(self, trial: Trial, hit: int) -> bool:
        """Try once. Returns whether the case is over, which it is not if its place was not come to."""
        short = self.scene.is_short or trial.boots
        if short:
            self.end()
        elif self._victim is None or self._victim.code is not None:
            self._start()
        if not short:
            self._await_ready()
        trial.hit = hit
        self._arm(f"{trial.place}={ACTIONS[trial.action]}@{hit}")
        if short:
            self._start()
        self._woken = False
        work = self.scene.work()
        done = self._see_through(work, trial)
        if done and not self._comes_there():
            # What it does now and then may have hit it only now: let it show that it still works.
            trial.executions += work.executions
            work = self.scene.work()
            done = self._see_through(work, trial)
        trial.executions += work.executions
        fired = self._fired.exists()
        at = self._fired.stat().st_mtime if fired else 0.0
        if trial.action == "stop":
            self._wake()
        self._rules.unlink(missing_ok=True)
        if not done:
            trial.outcome, trial.told = "not ended", work.state()
            self.end()
            return True
        if (wrong := work.wrong()) != "":
            trial.outcome, trial.told = "violation", wrong
            return True
        if fired and trial.action == "kill":
            self._bury()
        if fired:
            trial.outcome, trial.seconds = "ok", round(max(0.0, time.time() - at), 3)
        return fired

    def _bury(self) -> None:
        """Wait for the death of a process that has killed itself when its work was done."""
        victim = self._victim
        if victim is not None and self._fired.read_text(encoding="utf-8").split()[1] == str(victim.pid):
            wait_until(lambda: victim.code is not None, 5, "a death")

    def _comes_there(self) -> bool:
        """Whether the work led to the place. If not, wait for a while whether something else does, and return False then."""
        if self._fired.exists():
            return True
        deadline = time.monotonic() + LINGER
        while not self._fired.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return False

    def _see_through(self, work: Work, trial: Trial) -> bool:
        """Wait until all is done. Whoever died is started again; whoever stands still goes on after a while."""
        deadline = time.monotonic() + self.scene.patience
        while time.monotonic() < deadline:
            self._tend(trial)
            if work.step() and (not self.scene.is_short or self._ready()):
                return True
            time.sleep(0.05)
        return False

    def _tend(self, trial: Trial) -> None:
        victim = self._victim
        assert victim is not None
        fired = self._fired.exists()
        if victim.code is not None and not (self.scene.is_short and victim.code == 0):
            if not fired:
                raise AssertionError(f"it ended with {victim.code}, and nobody had broken it")
            self._rules.unlink(missing_ok=True)
            self._start()
        elif trial.action == "stop" and fired and not self._woken:
            self._woken = time.time() - self._fired.stat().st_mtime > LONG
            if self._woken:
                self._wake()

    def _wake(self) -> None:
        if self._victim is not None:
            for pid in (self._victim.pid, *self._victim.children()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _ready(self) -> bool:
        assert self._victim is not None
        return self.scene.is_ready(self._victim)

    def _await_ready(self) -> None:
        """Wait until it takes work. The last case may have killed it a moment ago, when its work was done already."""
        if self._victim is not None and self._victim.code is not None and self._fired.exists():
            self._start()
        wait_until(self._ready, 60, f"the {self.scene.name} that is to be broken")

    def _arm(self, rules: str) -> None:
        self._fired.unlink(missing_ok=True)
        # In one go: who reads half of a rule would not know it.
        draft = self._rules.with_suffix(".draft")
        draft.write_text(rules, encoding="utf-8")
        draft.rename(self._rules)

    def _start(self) -> None:
        more = {"CELERIAC_TEST": "1", "CELERIAC_FAILPOINTS": f"file:{self._rules}"}
        self._victim = self.scene.start(**more)

    def end(self) -> None:
        """End the process, however it is."""
        self._rules.unlink(missing_ok=True)
        if self._victim is not None and self._victim.code is None:
            self._wake()
            self._victim.kill()
        self._victim = None


class Sweep:
    """The installations that a sweep needs, made when they are first asked for, and the lanes in them."""

    def __init__(self, stack: str, folder: Path, opened: ExitStack, *, only: Sequence[str] = ()) -> None:
        self.dialect, self._broker = STACKS[stack]
        self._folder = folder
        self._opened = opened
        self._sites: dict[str, Site] = {}
        chosen = [each for each in SCENES.values() if each.name in only or not only]
        if self.dialect != "sqlite":
            chosen = [each for each in chosen if each.name != "backup"]
        self.lanes = [
            Lane(scene(self._site(scene), number))
            for scene in chosen
            for number in range(LANES.get(scene.name, 1))
        ]
        for lane in self.lanes:
            opened.callback(lane.end)

    def _site(self, scene: type[Scene]) -> Site:
        key = repr((scene.survivors, scene.around))
        if key not in self._sites:
            folder = self._folder / f"site-{len(self._sites)}"
            folder.mkdir()
            self._sites[key] = Site(
                self.dialect, folder, self._opened, self._broker, scene.survivors, None, **scene.around
            )
        return self._sites[key]

    def rehearse(self) -> dict[str, Ways]:
        """Find out which places each kind of process comes to."""
        found: dict[str, Ways] = {}
        for lane in self.lanes:
            if lane.scene.name not in found:
                found[lane.scene.name] = lane.rehearse()
        return found


def carry_out(lanes: Sequence[Lane], cases: Sequence[Trial]) -> list[checker.Violation]:
    """Carry the cases out, then judge them all."""
    todo: dict[str, SimpleQueue[Trial]] = {name: SimpleQueue() for name in SCENES}
    for each in cases:
        todo[each.scene].put(each)
    threads = [
        threading.Thread(target=_run, args=(lane, todo[lane.scene.name]), name=lane.scene.lane, daemon=True)
        for lane in lanes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lane in lanes:
        lane.end()
    time.sleep(LEASE + 1)  # What a sleeper still holds ends with its lease.
    sites = {id(lane.site): lane.site for lane in lanes}
    return [each for site in sites.values() for each in _judged(site, cases)]


def _run(lane: Lane, todo: SimpleQueue[Trial]) -> None:
    while True:
        try:
            trial = todo.get_nowait()
        except Empty:
            return
        lane.carry_out(trial)
        print(f"  {trial.outcome:12} {trial.title}  {trial.seconds or 0:.2f} s  {trial.told}", flush=True)


def _judged(site: Site, cases: Sequence[Trial]) -> list[checker.Violation]:
    """Hold every execution against what was promised, and tell each case what it broke."""
    chosen = {execution: trial for trial in cases for execution in trial.executions}
    found = [each for each in checker.read(site.settings.database_url) if each.id in chosen]
    effects = [each for each in site.sink.effects() if each.execution in chosen]
    ops = [checker.Op(str(each.key), "ok", each.id, 0) for each in found if each.key and each.caller is None]
    violations = checker.check(checker.Evidence(found, site.cases, effects, ops))
    for each in violations:
        trial = chosen.get(each.execution or "")
        if trial is not None:
            trial.outcome, trial.told = "violation", f"{each.invariant}: {each.text}"[:400]
    for execution in found:
        trial = chosen[execution.id]
        if trial.outcome == "ok" and execution.status != "succeeded":
            trial.outcome, trial.told = "violation", f"it {execution.status}: {execution.error}"[:400]
    return violations


def uncovered(dialect: str, ways: Mapping[str, Ways]) -> set[str]:
    """The places that no process comes to."""
    reached = {place for each in ways.values() for place in (*each.starting, *each.working)}
    return places() - reached - UNREACHED - ABSENT.get(dialect, frozenset())


def table(stack: str, cases: Sequence[Trial]) -> Iterator[str]:
    """What was done, out of how much, and whatever was not well."""
    counts = Counter(each.outcome for each in cases)
    yield f"{stack}: {counts['ok']} of {len(cases)} cases ok" + "".join(
        f", {count} {name}" for name, count in sorted(counts.items()) if name != "ok"
    )
    for scene in SCENES:
        its = [each for each in cases if each.scene == scene]
        if its:
            good = sum(each.outcome == "ok" for each in its)
            found = len({each.place for each in its})
            times = sorted(each.seconds for each in its if each.seconds is not None) or [0.0]
            yield (
                f"  {scene:7} {good} of {len(its)}: {found} places x {len(ACTIONS)} actions, less what cannot be raised; "
                f"ended after the fault: median {times[len(times) // 2]:.2f} s, longest {times[-1]:.2f} s"
            )
    for each in sorted(cases, key=lambda each: (each.outcome, each.title)):
        if each.outcome != "ok":
            yield f"  {each.outcome:12} {each.title}  {each.told}"


def failed(cases: Sequence[Trial]) -> bool:
    """Whether something was broken that had been promised, or was not even tried."""
    return any(each.outcome != "ok" for each in cases)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="sweep", description=__doc__)
    parser.add_argument("--stack", choices=sorted(STACKS), default="sqlite")
    parser.add_argument("--only", default="", help="a pattern of places")
    parser.add_argument(
        "--scenes", nargs="*", default=(), choices=sorted(SCENES), help="only these processes"
    )
    parser.add_argument("--seed", type=int, default=1, help="repeats the same moments")
    parser.add_argument("--json", type=Path, default=Path("sweep.json"), help="where the cases are written")
    given = parser.parse_args(arguments)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="clrw-", dir="/tmp") as folder, ExitStack() as opened:
        sweep = Sweep(given.stack, Path(folder), opened, only=given.scenes)
        ways = sweep.rehearse()
        rng = random.Random(given.seed)
        cases = [
            each
            for scene, found in ways.items()
            for each in found.trials(scene, rng)
            if re.search(given.only, each.place)
        ]
        missing = set() if given.scenes else uncovered(sweep.dialect, ways)
        print(f"sweep: {len(cases)} cases on {given.stack}", flush=True)
        violations = carry_out(sweep.lanes, cases)
    for line in table(given.stack, cases):
        print(line)
    for place in sorted(missing):
        print(f"  nobody comes to {place}")
    print(f"{time.monotonic() - begun:.0f} s")
    written = {
        "stack": given.stack,
        "seed": given.seed,
        "uncovered": sorted(missing),
        "cases": [asdict(each) for each in cases],
    }
    given.json.write_text(json.dumps(written, indent=1), encoding="utf-8")
    return 1 if violations or missing or failed(cases) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
