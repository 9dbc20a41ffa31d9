"""`python -m tests.chaos.sweep --stack sqlite`: break a process at every place in every way, one at a time, and judge it.

Each case is a process of its own with one armed place, which gets one execution for itself (a worker, by a queue that only
it serves; an API or a poller, by a workflow that only it starts). Once it has broken, whoever is dead comes back unarmed,
whoever is stopped goes on after its lease is over, and everything has to end as if nothing had been. A place that was never
reached is a failure too: it proves nothing.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from engine.failpoints import PLACES
from tests.builders import Process, document, edges, is_ready, node, wait_until
from tests.chaos import checker
from tests.faults.site import LEASE, Site

ACTIONS: Final = ("kill", "stop", "raise", "sleep:3")
"""What may befall a process at a place. To raise after a place is to lose the word of what was done there; to stop is to
go on when others have taken over."""

WORKER: Final = {
    "claim.before": 1,
    "claim.after": 1,
    "effect.before": 1,
    "effect.after": 1,
    "settle.before": 1,
    "settle.fenced": 1,
    "answer.before": 1,
    "dispatch.before": 1,
    "rest.after": 1,
    "emit.after": 1,
    "return.before": 1,
    "publish.before": 1,
    "publish.after": 1,
    "commit.before": 3,
    "commit.after": 3,
    "database.connect": 2,
    "database.begin": 4,
    "database.statement": 25,
    "broker.before": 2,
    "broker.after": 2,
    "network.dial": 1,
}
"""The places that a worker comes to, and at which of its visits it breaks."""

ACCEPTING: Final = {"api.publish.before": 1}
"""The places of who accepts executions."""

FIRING: Final = {"fire.after": 2}
"""The places of who fires schedules."""

ELSEWHERE: Final = {
    "arrive.after": "tests/acceptance/test_killed_api.py kills the API among deliveries",
    "publish.accepted": "tests/faults/test_signals.py kills who publishes",
    "backfill.after": "tests/integration/test_schedules.py",
    "mail.read": "tests/faults/test_mail.py kills workers at the mail",
    "mail.taken": "tests/faults/test_mail.py kills workers at the mail",
}
"""Places that are broken by tests of their own and not by the sweep."""

STACKS: Final = {
    "sqlite": ("sqlite", "valkey"),
    "postgresql": ("postgresql", "valkey"),
    "postgresql+rabbitmq": ("postgresql", "rabbitmq"),
}
IDLE: Final = {"CELERIAC_TIMING_POLL": "3600000", "CELERIAC_TIMING_CANARY": "3600000"}
"""Who is to break repairs nothing, so that its visits are those of its own execution."""
AT_ONCE: Final = 10
PATIENCE: Final = 12.0


@dataclass
class Trial:
    """One place, one way to break, and what came of it."""

    place: str
    action: str
    hit: int
    log: Path
    process: Process | None = None
    broke: bool = False
    faults: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.place}-{self.action.partition(':')[0]}".replace(".", "-")

    @property
    def queue(self) -> str:
        return f"only-{self.name}"

    @property
    def around(self) -> dict[str, str]:
        """What arms the process."""
        return {
            "CELERIAC_TEST": "1",
            "CELERIAC_FAILPOINTS": f"{self.place}={self.action}@{self.hit}",
            "CELERIAC_FAILPOINTS_LOG": str(self.log),
        }

    def has_broken(self) -> bool:
        """Whether the place was reached."""
        with suppress(FileNotFoundError):
            return self.place in self.log.read_text(encoding="utf-8")
        return False


def trials(folder: Path, places: dict[str, int], chosen: Sequence[str]) -> list[Trial]:
    """Every place in every way."""
    return [
        Trial(place, action, hit, folder / f"{place}-{action}.fired".replace(":", "-"))
        for place, hit in places.items()
        if not chosen or place in chosen
        for action in ACTIONS
    ]


def definition(site: Site, trial: Trial) -> dict[str, Any]:
    """A workflow that comes to every place of a worker, in one queue."""
    called = document([node("inside", "set", {"values": {"k": 3}})])["definition"]
    nodes = [
        site.call("first"),
        node("pause", "wait", {"for": 0.05}),
        node("shout", "emit", {"event": "sweep.reached"}),
        node("ask", "workflow", {"definition": called}),
        node("say", "respond", {"body": 1}),
        site.call("last"),
    ]
    ways = edges("first->pause->shout->ask->say->last")
    return document([{**each, "queue": trial.queue} for each in nodes], ways)


class Sweep:
    """One installation, and everything that is broken in it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.executions: dict[str, Trial] = {}

    def workers(self, some: Sequence[Trial]) -> None:
        """Break a few workers at once, each in its own way."""
        site = self.site
        for trial in some:
            trial.process = site.worker(trial.name, trial.queue, **IDLE, **trial.around)
        for trial in some:
            self._guarded(trial, self._begin)
        for trial in some:
            self._guarded(trial, self._broken)
        heir = site.worker(f"heir-{some[0].name}", ",".join(each.queue for each in some))
        try:
            wait_until(lambda: is_ready(heir), 60, "who comes back")
            self._end(some)
        finally:
            heir.end()
            for trial in some:
                _gone(trial.process)

    def accepting(self, trial: Trial) -> None:
        """Break a process that accepts an execution; ask again with the same key."""
        active = self.site.push(
            document([self.site.call("first"), node("after")], edges("first->after")), trial.name
        )
        line = ["-m", "tests.faults.accept", trial.name, trial.name]
        trial.process = Process(
            line, {**self.site.around, **trial.around}, self.site.folder / f"{trial.name}.log"
        )
        self._guarded(trial, self._broken)
        if trial.action == "stop":
            time.sleep(LEASE * 1.5)
            trial.process.send(signal.SIGCONT)
        execution = self.site.start(active, key=trial.name)
        self.executions[execution] = trial
        wait_until(partial(self._is_over, trial), PATIENCE, "the end of who accepts")
        self._guarded(trial, lambda _: self.site.ended([execution], PATIENCE))

    def firing(self, trial: Trial) -> None:
        """Break a poller that fires a schedule; every slot of it is started once, whoever starts it."""
        from engine.triggers import schedules

        site, at = self.site, self.site.client.runtime
        active = site.push(document([node("a")]), trial.name)
        line = ["-m", "celeriac", "poller"]
        around = {**site.around, **trial.around}
        trial.process = Process(line, around, site.folder / f"{trial.name}.log")
        name = f"sched_{trial.name}"
        every = {"every": 1, "overlap": "allow", "misfire": {"policy": "all", "max": 1000}}
        at.ledger.ask(schedules.add(name, active.workflow, trial.name, every, at.clock.now()))
        self._guarded(trial, self._broken)
        time.sleep(LEASE * 1.5)
        trial.process.send(signal.SIGCONT)
        time.sleep(1)
        at.ledger.ask(schedules.pause(name, "the sweep is over", at.clock.now()))
        started = site.client.query("SELECT id FROM execution WHERE workflow_name = ?", trial.name)
        self.executions |= {execution: trial for (execution,) in started}
        ((first, last, count),) = site.client.query(
            "SELECT min(CAST(key AS BIGINT)), max(CAST(key AS BIGINT)), count(*) FROM inbox WHERE source = ?",
            name,
        )
        if count != (last - first) // 1000 + 1 or count != len(started):
            trial.faults.append(f"{count} slots from {first} to {last}, and {len(started)} executions")
        _gone(trial.process)

    def judge(self) -> None:
        """Hold everything that ran against the reference; each fault goes to its trial."""
        site = self.site
        found = checker.read(site.settings.database_url)
        known = {each.id for each in found}
        if lost := set(self.executions) - known:
            raise AssertionError(f"not there any more: {lost}")
        ops = [
            checker.Op(str(each.key), "ok", each.id, 0) for each in found if each.key and each.caller is None
        ]
        evidence = checker.Evidence(found, site.cases, site.sink.effects(), ops)
        callers = {each.id: each.caller[0] if each.caller else each.id for each in found}
        for each in checker.check(evidence):
            trial = self.executions.get(callers.get(each.execution or "", ""))
            text = f"{each.invariant} {each.node or ''} {each.text}"
            if trial is None:
                raise AssertionError(f"{each.execution}: {text}")
            trial.faults.append(text)

    def _begin(self, trial: Trial) -> None:
        process = trial.process
        assert process is not None
        wait_until(
            lambda: trial.has_broken() or process.code is not None or is_ready(process), 60, "a worker"
        )
        active = self.site.push(definition(self.site, trial), trial.name)
        execution = self.site.accept_silently(active)
        self.executions[execution] = trial
        self.site.send([(execution, 0, "")], trial.queue)

    def _broken(self, trial: Trial) -> None:
        wait_until(trial.has_broken, PATIENCE, "the break")
        trial.broke = True

    def _end(self, some: Sequence[Trial]) -> None:
        time.sleep(LEASE * 1.2)
        for trial in some:
            if trial.process is not None:
                trial.process.send(signal.SIGCONT)
        for execution, trial in list(self.executions.items()):
            if trial in some:
                self._guarded(trial, lambda _, execution=execution: self.site.ended([execution], PATIENCE))

    def _guarded(self, trial: Trial, step: Any) -> None:
        try:
            step(trial)
        except AssertionError as error:
            trial.faults.append(str(error).splitlines()[0])

    @staticmethod
    def _is_over(trial: Trial) -> bool:
        return trial.process is not None and trial.process.code is not None


def _gone(process: Process | None) -> None:
    if process is not None and process.code is None:
        process.send(signal.SIGCONT)
        process.kill()


def swept(stack: str, chosen: Sequence[str] = ()) -> list[Trial]:
    """Go through all of it on one stack."""
    dialect, broker = STACKS[stack]
    with tempfile.TemporaryDirectory(prefix="clrs-") as name, ExitStack() as opened:
        folder = Path(name)
        sweep = Sweep(Site(dialect, folder, opened, broker))
        by_worker, accepting, firing = (
            trials(folder, places, chosen) for places in (WORKER, ACCEPTING, FIRING)
        )
        every = [*by_worker, *accepting, *firing]
        for some in _batched(by_worker, AT_ONCE):
            sweep.workers(some)
            print(f"  {stack}: {sum(each.broke for each in every)} of {len(every)}", flush=True)
        for trial in accepting:
            sweep.accepting(trial)
        for trial in firing:
            sweep.firing(trial)
        sweep.judge()
        return every


def _batched(trials: Sequence[Trial], size: int) -> Iterator[Sequence[Trial]]:
    for start in range(0, len(trials), size):
        yield trials[start : start + size]


def report(stack: str, found: Sequence[Trial]) -> bool:
    """Print what came of it. Returns whether all was well."""
    places = dict.fromkeys(each.place for each in found)
    print(f"\n{stack}\n{'place':<22}" + "".join(f"{each.partition(':')[0]:>10}" for each in ACTIONS))
    for place in places:
        row = {
            each.action: "ok" if each.broke and not each.faults else "WRONG"
            for each in found
            if each.place == place
        }
        print(f"{place:<22}" + "".join(f"{row[each]:>10}" for each in ACTIONS))
    for each in found:
        if not each.broke or each.faults:
            print(f"{each.place} {each.action}: {'; '.join(each.faults) or 'never reached'}")
    good = sum(each.broke and not each.faults for each in found)
    print(f"{stack}: {good} of {len(found)} ({len(places)} places x {len(ACTIONS)} actions)")
    return good == len(found)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="sweep", description=__doc__)
    parser.add_argument("--stack", choices=[*STACKS, "all"], default="all")
    parser.add_argument(
        "--place", action="append", default=[], choices=sorted(PLACES), help="only here; repeatable"
    )
    given = parser.parse_args(arguments)
    stacks = list(STACKS) if given.stack == "all" else [given.stack]
    begun = time.monotonic()
    good = Counter(report(each, swept(each, given.place)) for each in stacks)
    for place, why in ELSEWHERE.items():
        print(f"not swept: {place}: {why}")
    print(f"swept {len(stacks)} stacks in {time.monotonic() - begun:.0f} s")
    return 0 if not good[False] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
