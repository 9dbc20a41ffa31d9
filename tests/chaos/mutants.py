"""The power of the judge: bugs that are planted in the engine on purpose, each of which has to be seen.

    python3 dev.py chaos --mutants

Nothing of this is in the engine. A bug is planted in the process of a simulated world: a line of a function, or of a
statement, is replaced by another, and the seeds are played until a promise is broken. Worlds in which nothing is planted and
nothing goes wrong are played as well: there the judge has to be silent.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import multiprocessing
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from engine import advance, context, execute, leases, ledger, poller, programs
from engine.store import signals, statements
from engine.store.sql import Batched
from engine.transitions import batch, deciding, starting
from engine.triggers import scheduler
from tests.builders import document, edges, node
from tests.chaos import agree, checker, simulate, unreliable
from tests.chaos.drafts import Case
from tests.chaos.society import Store
from tests.chaos.town import Town
from tests.chaos.world import SINK, Died, at_place

SEEDS = 400
"""Worlds in which a bug may show, at most."""

CALM = 200
"""Worlds without bugs and faults."""

_MOST_SHOWN = 90


class Bench:
    """Replaces parts of the engine until it is left."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def put(self, owner: object, name: str, new: object) -> None:
        """Put something in the place of an attribute, also where it was imported by that name."""
        old = getattr(owner, name)
        self._stack.enter_context(mock.patch.object(owner, name, new))
        if isinstance(owner, ModuleType):
            for module in [each for title, each in sys.modules.items() if title.startswith("engine.")]:
                if module is not owner and module.__dict__.get(name) is old:
                    self._stack.enter_context(mock.patch.object(module, name, new))

    def line(self, owner: object, name: str, *changes: tuple[str, str]) -> None:
        """Write a function anew with some of its text replaced."""
        function = getattr(owner, name)
        text = textwrap.dedent(inspect.getsource(function))
        for old, new in changes:
            assert text.count(old) == 1, f"{name} has not one {old!r}"
            text = text.replace(old, new)
        around = inspect.getmodule(function).__dict__ | {"at_place": at_place, "dataclasses": dataclasses}
        made: dict[str, Any] = {}
        exec(text, around, made)  # noqa: S102  the engine's own text
        self.put(owner, name, made[name])

    def statement(self, owner: ModuleType, name: str, old: str, new: str = "") -> None:
        """Replace a part of a statement's text."""
        found: Batched = getattr(owner, name)
        assert old in found.text, f"{name} has no {old!r}"
        self.put(owner, name, dataclasses.replace(found, text=found.text.replace(old, new)))


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug. In a `calm` world nothing else goes wrong."""

    name: str
    plant: Callable[[Bench], None]
    calm: bool = False


MUTANTS: dict[str, Mutant] = {}


def mutant(name: str, *, calm: bool = False) -> Callable[[Callable[[Bench], None]], None]:
    def add(plant: Callable[[Bench], None]) -> None:
        MUTANTS[name] = Mutant(name, plant, calm)

    return add


@mutant("a commit without a fence")
def _(bench: Bench) -> None:
    fence = " AND segment.epoch = r.epoch AND segment.status = r.held"
    for name, each in list(vars(statements).items()):
        if isinstance(each, Batched) and fence in each.text:
            bench.statement(statements, name, fence)


@mutant("told before it is committed")
def _(bench: Bench) -> None:
    step, apply = ledger.Ledger.step, ledger.Ledger._apply
    told: list[Any] = []

    def kept(self: ledger.Ledger, *arguments: Any) -> list[Any]:
        told[:] = apply(self, *arguments)
        return list(told)

    def hasty(self: ledger.Ledger, work: Sequence[ledger.Work]) -> list[Any]:
        try:
            return step(self, work)
        except Died:
            return list(told) if len(told) == len(work) else [None] * len(work)

    bench.put(ledger.Ledger, "_apply", kept)
    bench.put(ledger.Ledger, "step", hasty)


@mutant("the number of the try in an effect's key")
def _(bench: Bench) -> None:
    def key(self: context.NodeContext) -> str:
        return context.idempotency_key(self.execution_id, self.node_id, self.item, f"{self.attempt}")

    bench.put(context.NodeContext, "idempotency_key", property(key))


@mutant("a join that counts one edge too few")
def _(bench: Bench) -> None:
    bench.line(advance, "_arrive", ("else Arrivals(segment.entries)", "else Arrivals(segment.entries - 1)"))


@mutant("a sweep that does not see an empty lease")
def _(bench: Bench) -> None:
    bench.statement(statements, "CLAIM", "due = r.due", "due = NULL")


@mutant("a lease that is renewed after it was taken")
def _(bench: Bench) -> None:
    fence = " AND segment.epoch = r.epoch AND segment.status = r.held"
    revived = "SET due = r.due, epoch = r.epoch, status = 'running'"
    bench.statement(statements, "RENEW", fence, " AND segment.status IN ('ready', 'running')")
    bench.statement(statements, "RENEW", "SET due = r.due", revived)


@mutant("requests known by what they say")
def _(bench: Bench) -> None:
    bench.line(
        starting,
        "known_keys",
        (
            "return {(p, key): (name, digest) for p, key, name, digest in batch.connection.batch(sql.KNOWN_KEYS, keys)}",
            """return {
                (each.project, each.idempotency_key): tuple(row)
                for each in starts
                for row in batch.connection.run(
                    "SELECT id, request_hash FROM execution WHERE request_hash = ?", (each.request_hash,)
                )
            }""",
        ),
    )


@mutant("a lease by the clock of each machine", calm=True)
def _(bench: Bench) -> None:
    bench.line(
        execute.Executor,
        "_claim",
        ("now + at.settings.timing.lease", "now - 5_000 + at.settings.timing.lease"),
    )
    bench.line(leases.Leases, "renew", ("now = self._clock.now()", "now = self._clock.now() - 5_000"))


@mutant("a slot that is nobody's key")
def _(bench: Bench) -> None:
    arrive = scheduler.arrive

    def unkeyed(at: Any, each: scheduler.Due, now: int) -> Any:
        asked = arrive(at, each, now)
        arrivals = (dataclasses.replace(one, key=at.clock.mint("slot")) for one in asked.arrivals)
        return dataclasses.replace(asked, arrivals=tuple(arrivals))

    bench.put(scheduler, "arrive", unkeyed)
    bench.line(
        poller.Poller,
        "_fire",
        (
            "answers = self._ask([each for each in asked if each is not None])",
            """apart = [each for each in asked if each is not None]
    answers = self._ask([dataclasses.replace(each, move=None) for each in apart])
    at_place("fire.after")
    self._ask([dataclasses.replace(each, arrivals=()) for each in apart])""",
        ),
    )


@mutant("marked as sent for ever")
def _(bench: Bench) -> None:
    bench.line(batch.Batch, "due", ("return now + self.rules.grace, True", "return now + 10**12, True"))


@mutant("a cancel that passes by what runs")
def _(bench: Bench) -> None:
    bench.statement(statements, "STOP", "WHERE ", "WHERE segment.status <> 'running' AND ")


@mutant("the version that is newest")
def _(bench: Bench) -> None:
    get = programs.Programs.get

    def newest(self: programs.Programs, version: str, connection: Any) -> programs.Program:
        ((found,),) = connection.run(
            "SELECT n.id FROM workflow_version v JOIN workflow_version n ON n.workflow_id = v.workflow_id "
            "WHERE v.id = ? ORDER BY n.number DESC LIMIT 1",
            (version,),
        )
        return get(self, found, connection)

    bench.put(programs.Programs, "get", newest)


@mutant("another try at what is in doubt")
def _(bench: Bench) -> None:
    bench.line(
        execute.Executor,
        "_attempt",
        ('past.status == "intent" and node.on_uncertain != "retry"', 'past.status == "nothing"'),
    )


@mutant("a decision that is read, and written later")
def _(bench: Bench) -> None:
    bench.line(deciding, "_said", ('approval.status != "open" or approval.signalled', "False"))
    bench.statement(signals, "CLOSE_APPROVALS", " AND approval.status = 'open'")
    bench.statement(
        signals,
        "WRITE_SIGNALS",
        "DO NOTHING",
        "DO UPDATE SET name = excluded.name, payload = excluded.payload",
    )


@mutant("done before what follows is written")
def _(bench: Bench) -> None:
    waiting: dict[int, list[Any]] = {}
    commit = ledger.Ledger._commit

    def insert(self: Any, statement: Any, rows: Sequence[Any]) -> None:
        if statement is statements.INSERT_SEGMENT:
            waiting.setdefault(id(self), []).append(rows)
        else:
            self._connection.insert(statement, rows)

    def twice(self: ledger.Ledger, work: Sequence[ledger.Work]) -> list[Any]:
        answers = commit(self, work)
        connection: Any = self._connection
        later = waiting.pop(id(connection), [])
        if later:
            at_place("between")
            connection._connection.begin()
            for rows in later:
                connection._connection.insert(statements.INSERT_SEGMENT, rows)
            connection._connection.commit()
        return answers

    bench.put(unreliable._Wire, "insert", insert)
    bench.put(ledger.Ledger, "_commit", twice)


@mutant("a timer that goes off twice")
def _(bench: Bench) -> None:
    guard = "AND segment.status IN ('waiting', 'backing_off') AND segment.due <= r.now"
    bench.statement(statements, "WAKE", guard)
    forward = poller.Poller._forward
    before: dict[int, list[Any]] = {}

    def again(self: poller.Poller, asked: Sequence[Any]) -> int:
        wakes = [each for each in asked if type(each).__name__ == "Wake"]
        late = before.pop(id(self), []) if wakes else []
        before.setdefault(id(self), []).extend(wakes)
        return forward(self, [*asked, *late])

    bench.put(poller.Poller, "_forward", again)


@mutant("a conflict that is swallowed")
def _(bench: Bench) -> None:
    bench.line(unreliable._Wire, "commit", ("raise Busy", "return self._connection.rollback()"))


@mutant("an end while something waits")
def _(bench: Bench) -> None:
    bench.line(batch.Row, "count", ("else ExecutionStatus.WAITING", "else ExecutionStatus.SUCCEEDED"))


@mutant("what is not taken is not passed on")
def _(bench: Bench) -> None:
    bench.line(advance, "advance", ("elif runs is False:", "elif runs is ...:"))


@mutant("an effect before its intent")
def _(bench: Bench) -> None:
    bench.line(
        execute.Executor,
        "_before_effect",
        (
            'run.entries.append(op.Entry(step.node.id, "intent", str(effect), tries=tries, started_at=now))',
            "pass",
        ),
    )


# --- Playing ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """What the judge said of a mutant: in the world of `seed` the first time, or never."""

    name: str
    seed: int | None
    invariants: tuple[str, ...] = ()
    text: str = ""


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Plant a bug while this is open."""
    with ExitStack() as stack:
        MUTANTS[name].plant(Bench(stack))
        yield


UNSAFE = Case(
    document(
        [
            node(
                name,
                "http_request",
                {
                    "method": "POST",
                    "url": f"{SINK}/effect?node={name}&script=ok",
                    "body": {"execution": "{{ execution.id }}", "node": name, "value": 1},
                },
                on_uncertain="fail",
                on_error="continue",
            )
            for name in ("u1", "u2", "u3", "u4")
        ],
        edges("u1->u2", "u2->u3", "u3->u4"),
        "unsafe",
    ),
    {},
    {},
)
"""Effects that cannot be repeated, and nothing else."""


class Harsh(Town):
    """A town where everything goes wrong more often."""

    def __init__(self, folder: Path, seed: int, store: Store = None) -> None:
        super().__init__(folder, seed, store)
        self.fragile, self.doubtful = 0.03, 0.1
        for each in self.actors:
            each.fragile = self.fragile
        self.accept(UNSAFE, "key-unsafe")

    def weights(self) -> dict[Callable[[], None], float]:
        more = {
            self._beat: 6,
            self._put_to_sleep: 1,
            self._oversleep: 8,
            self._ask_again: 2,
            self._jump: 0.5,
            self._kill: 1,
            self._decide: 3,
        }
        return {**super().weights(), **more, self._decide_late: 3}


def look(name: str, seeds: Sequence[int] = range(SEEDS)) -> Seen:
    """Play worlds with a bug until the judge sees it, in one where it sees nothing without the bug."""
    logging.disable(logging.CRITICAL)
    try:
        with simulate.memory() as place:
            quiet = MUTANTS[name].calm
            for seed in seeds:
                with planted(name):
                    found = violations(place, seed, calm=quiet)
                if found and not violations(place, seed, calm=quiet):
                    counts = Counter(each.invariant for each in found)
                    return Seen(name, seed, tuple(sorted(counts)), found[0].text)
    finally:
        logging.disable(logging.NOTSET)
    return Seen(name, None)


def violations(place: agree.Place, seed: int, *, calm: bool) -> list[checker.Violation]:
    """Return what is wrong in one world."""
    steps, kind = (0, Town) if calm else (simulate.STEPS, Harsh)
    evidence, ended = agree.live(place, seed, agree.drawn(seed, 0, simulate.TOGETHER), steps, kind)
    return agree.verdict(evidence, ended=ended)


def calm(seeds: Sequence[int]) -> list[str]:
    """Play worlds in which nothing goes wrong. Returns what the judge said nevertheless."""
    with simulate.memory() as place:
        return [f"seed {seed}: {one}" for seed in seeds for one in violations(place, seed, calm=True)]


def main(names: Sequence[str] = ()) -> int:
    """Look for every mutant, and at calm worlds. Returns 0 when all were seen, and nothing else."""
    chosen = names or list(MUTANTS)
    with multiprocessing.get_context("spawn").Pool(simulate.PROCESSES) as pool:
        seen = []
        for one in pool.imap(look, chosen):
            seen.append(one)
            how = "NOT SEEN" if one.seed is None else f"seed {one.seed:<3} {' '.join(one.invariants)}"
            print(f"  {one.name:<44} {how}: {one.text[:_MOST_SHOWN]}", flush=True)
        blocks = [range(at, at + 10) for at in range(0, 0 if names else CALM, 10)]
        alarms = [one for some in pool.imap(calm, blocks) for one in some]
    caught = sum(each.seed is not None for each in seen)
    print(f"{caught}/{len(chosen)} caught")
    print(f"{10 * len(blocks)} worlds without faults, {len(alarms)} alarms")
    for each in alarms[:10]:
        print(f"  {each}")
    return 0 if caught == len(chosen) and not alarms else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
