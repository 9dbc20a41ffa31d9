"""The engine's own parts in a world without threads, sockets and time, where a seed decides everything that happens.

Several processes (each an executor, a ledger, leases and a poller of its own) share one database file, one clock and one
broker that loses, repeats and reorders. The world takes one small step after another: it commits what one of them has
handed in, reads for another, lets a call reach the sink or its answer come back, delivers a message, lets a poller look, a
heart beat, time pass, a process die, or sleep through its lease. Then everything is healed and has to come to its end.

One seed is one interleaving: a seed that breaks a promise breaks it again.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast
from unittest import mock

from pydantic import BaseModel, JsonValue

from celeriac import Context, Effect, Fail, Json, Retry, TryAgain, Uncertain, node
from engine import admission, catalog, execute, identity, leases, ledger, performance, poller, transitions
from engine import operations as op
from engine.dispatch import Room
from engine.execute import Executor
from engine.leases import Leases
from engine.ledger import Ledger
from engine.operations import Sendable
from engine.performance import Services
from engine.poller import Poller
from engine.programs import Programs
from engine.registry import Registry
from engine.settings import Limits, Settings, Timing
from engine.snapshots import Reference
from engine.store.database import Connection, Database
from engine.transitions import ending
from nodes import NODE_TYPES
from nodes.integrations.http_request import effect as effect_of_call
from tests.chaos import checker
from tests.chaos.clocks import ProcessClock, Telling
from tests.chaos.drafts import Case
from tests.chaos.reference.record import SLACK
from tests.chaos.sink import BROKEN_OFF, Book, Reply, Request
from tests.chaos.unreliable import Fate, Unreliable
from tests.workbench import HandClock, QuickDatabase, migrated

TIMING = Timing(lease=2_000, heartbeat=500, poll=100, grace=500, canary=100, loop_lag=3_600_000)
QUEUES = ("default", "cpu")
SINK = "http://sink"
LEAPING = 0.25
"""The part of the worlds in which somebody sets the clock: in these, times prove little."""

LEAPS = (-600, -10, 10, 600)
"""Seconds by which it is set."""

PATIENCE = 3_000
"""Tenths of a second in which a healed world has to come to rest. Items that stand in line for a rate take their time."""

NEVER = 10**15
"""Until then sleeps whom only the seed wakes."""


FATES: Sequence[Fate] = ("busy", "gone before", "gone after", "gone after")
"""What may befall a commit."""


class Died(BaseException):
    """A process was killed at this very place."""


@dataclass(eq=False)
class Actor:
    """One process. What it has asked of ledger and reader waits here until the world carries it out."""

    name: str
    ledger: Ledger
    connection: Connection
    rng: random.Random
    fragile: float
    dead: bool = False
    asleep_until: int = 0
    """By the machine's monotonic clock, in milliseconds."""
    work: list[tuple[Any, asyncio.Future[Any]]] = field(default_factory=list)
    reads: list[tuple[Callable[[Connection], Any], asyncio.Future[Any]]] = field(default_factory=list)
    executor: Executor = field(init=False)
    leases: Leases = field(init=False)
    poller: Poller = field(init=False)

    def submit(self, work: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.work.append((work, future))
        return future

    def read(self, query: Callable[[Connection], Any]) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.reads.append((query, future))
        return future

    def ask_each(self, work: Sequence[Any]) -> list[Any]:
        return self.ledger.step(work) if work else []

    def ask_all(self, work: Sequence[Any]) -> list[Any]:
        answers = self.ask_each(work)
        for each in answers:
            if isinstance(each, BaseException):
                raise each
        return answers

    def ask(self, query: Callable[[Connection], Any]) -> Any:
        """What a reader is asked from a thread."""
        return query(self.connection)

    def place(self, name: str) -> None:
        """A place where it may die."""
        if not self.dead and self.rng.random() < self.fragile:
            self.dead = True
            raise Died(name)


ACTOR: ContextVar[Actor | None] = ContextVar("actor", default=None)
"""Whose step is being done; nobody's while there are no faults."""


def at_place(name: str) -> None:
    """What the engine's failpoints come to in this world."""
    actor = ACTOR.get()
    if actor is not None:
        actor.place(name)


@dataclass(eq=False)
class Call:
    """A request on its way to the sink, or its answer on the way back."""

    caller: Actor
    request: Request
    answer: asyncio.Future[Reply]
    reply: Reply | None = None


class Wire(BaseModel, extra="allow"):
    """The config of a call, as far as the sink needs it."""

    url: str
    body: JsonValue = None
    idempotent: bool | None = None


class Children:
    """Child processes that die now and then."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def call(
        self, step: Any, config: Json, context: Any, timeout: float, began: Callable[[], None]
    ) -> Any:
        began()
        if self._rng.random() < 0.02:
            raise performance.ChildDied("It was killed.")
        result = step.type.run(step.type.config.model_validate(config), context)
        return await result if isinstance(result, Awaitable) else result


def settings_for(database_url: str, folder: Path) -> Settings:
    """The settings of a world: repair is quick, and no delivery is one too many."""
    return Settings(database_url, "memory://", folder, timing=TIMING, limits=Limits(deliveries=50))


class World:
    """Everything there is. `run` breaks it for a while; `heal` lets it come to its end."""

    def __init__(self, folder: Path, seed: int, processes: int = 2, fragile: float = 0.004) -> None:
        self.rng = random.Random(seed)
        self.fragile = fragile
        self.doubtful = 0.02 if fragile else 0.0
        self.settings, self.database = self._storage(folder)
        self.clock = HandClock()
        self.registry = Registry(
            [
                *(each for each in NODE_TYPES if each.name != "http_request"),
                _call_type(self),
                beat,
                *self._types(),
            ]
        )
        self.programs = Programs(self.registry)
        self.messages: list[Reference] = []
        self.calls: list[Call] = []
        self.sink = Book(Path(":memory:"))
        self.flushed = False
        self.faults: list[checker.Fault] = []
        self.cases: dict[str, Case] = {}
        self.workflows: dict[str, str] = {}
        self.ops: list[checker.Op] = []
        self.cancels: set[str] = set()
        self._last = ""
        self._latest = 0
        self.leaps = random.Random(f"leaps {seed}").random() < LEAPING
        self.slack = SLACK
        """Milliseconds by which times of this world may be wrong."""
        self._born = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._graves: list[Actor] = []
        self.actors = [self._actor() for _ in range(processes)]

    def close(self) -> None:
        for each in self.actors:
            each.ledger.close()
            each.connection.close()
        self.sink.close()

    # What the parts of a process see of the world.

    def send(self, execution: str, ready: Sequence[Sendable]) -> None:
        self.messages += [(execution, segment, item) for segment, item, _ in ready]

    def send_all(self, references: Iterable[tuple[str, Reference]]) -> None:
        self.messages += [reference for _, reference in references]

    def finished(self, execution: str, reply_to: str | None) -> None:
        """Nobody waits."""

    def lengths(self, queues: Sequence[str]) -> dict[str, int]:
        return {each: len(self.messages) for each in queues}

    def emptied(self) -> bool:
        was, self.flushed = self.flushed, False
        return was

    async def reach(self, request: Request) -> Reply:
        """Send a request to the sink and wait for its answer."""
        actor = ACTOR.get()
        assert actor is not None
        call = Call(actor, request, asyncio.get_running_loop().create_future())
        self.calls.append(call)
        return await call.answer

    # What happens.

    def accept(self, case: Case, key: str) -> None:
        """Push a definition and start it."""
        self.save(case)
        self.submit(case, key, lambda operation: self.actors[0].ask_all([operation]))

    def submit(self, case: Case, key: str, ask: Callable[[op.Operation], list[Any]]) -> None:
        """Start a definition that is known. A limit of its own may refuse it, or have another execution stand for it."""
        connection, workflow = self.actors[0].connection, self.workflows[case.document["name"]]
        request = admission.Request(catalog.active(connection, workflow), case.payload, idempotency_key=key)
        self.ask_to_start(request, key, ask)

    def ask_to_start(
        self, request: admission.Request, key: str, ask: Callable[[op.Operation], list[Any]]
    ) -> None:
        """Ask for an execution, and note what was answered."""
        at = cast("Any", Accepting(self.settings, self.clock))
        now = self.clock.now()
        (started,) = ask(admission.operation(at, request))
        if started is None:
            self.ops.append(checker.Op(key, "info", None, now))
            return
        stands = started.refused is None and started.new
        outcome: checker.Outcome = "ok" if stands else "fail" if started.refused is not None else "info"
        self.ops.append(checker.Op(key, outcome, started.execution if stands else None, now))
        if started.send:
            self.messages.append((started.execution, 0, ""))
        self.messages += [(started.execution, segment, item) for segment, item, _ in started.ready]
        for name in started.outdone:
            self.cancels.add(name)
            ask(op.Cancel(name, self.clock.now(), "Others are newer."))

    def weights(self) -> dict[Callable[[], None], float]:
        """What may happen, and how often beside the others."""
        return {
            self._deliver: 10,
            self._commit: 12,
            self._look: 12,
            self._carry_call: 8,
            self._tick: 3,
            self._beat: 2,
            self._pass_time: 6,
            self._jump: 0.1,
            self._leap: 0.2 if self.leaps else 0.0,
            self._repeat: 2,
            self._lose_message: 0.5,
            self._flush: 0.2,
            self._kill: 0.3,
            self._put_to_sleep: 0.4,
            self._oversleep: 0.4,
            self._wake: 1,
            self._renew_the_dead: 2,
            self._cancel: 0.5,
            self._hold: 0.3,
        }

    def save(self, case: Case) -> str:
        """Save a definition. Returns the id of its workflow."""
        self.cases[case.document["name"]] = case
        (pushed,) = self.actors[0].ask_all([catalog.push(case.document, self.registry, self.clock)])
        self.workflows[case.document["name"]] = str(pushed.workflow)
        return str(pushed.workflow)

    async def run(self, steps: int) -> None:
        """Do steps that the seed draws, faults among them."""
        deeds = self.weights()
        for _ in range(steps):
            self._rouse()
            deed = self.rng.choices(list(deeds), list(deeds.values()))[0]
            deed()
            ACTOR.set(None)
            await _settle()

    async def heal(self) -> bool:
        """Let everything go on without faults. Returns whether all executions ended."""
        self.fragile = self.doubtful = 0.0
        for each in self.actors:
            each.fragile = 0.0
            each.asleep_until = 0
        self._renew_the_dead(always=True)
        # Else timers that were set in the time that is undone would be waited for.
        right = max(0, self._latest - self.clock.now())
        self.clock.leap(right / 1000)
        self.slack += right
        for accepted in self._known():
            self._ask(op.Pause(accepted, self.clock.now(), resume=True))
        for number in range(PATIENCE):
            for deed in (self._deliver, self._look, self._commit, self._carry_call) * 4:
                deed()
                ACTOR.set(None)
                await _settle()
            for actor in self.actors:
                actor.leases.renew()
            self.actors[number % len(self.actors)].poller.tick()
            await _settle()
            self.clock.move(0.1)
            if not self._unfinished() and not self._under_way():
                return True
        return False

    def goes_on(self) -> bool:
        """Begin something else after all has ended. Returns whether there is anything."""
        return False

    def evidence(self) -> checker.Evidence:
        executions = checker.read(self.settings.database_url)
        return checker.Evidence(
            executions,
            self.cases,
            self.sink.effects(),
            self.ops,
            self.faults,
            0,
            frozenset(self.cancels),
            self.slack,
        )

    def _storage(self, folder: Path) -> tuple[Settings, Database]:
        """Where everything is kept: one file, unless a world knows better."""
        path = folder / "world.db"
        path.write_bytes(migrated())
        return settings_for(f"sqlite:///{path}", folder), QuickDatabase(path)

    def _types(self) -> Sequence[Any]:
        """Node types that only this world has."""
        return ()

    def _unfinished(self) -> int:
        """Executions that have not ended, and segments that somebody still holds: of a dead one the lease has to lapse."""
        connection = self.actors[0].connection
        rows = connection.run(
            "SELECT (SELECT count(*) FROM execution WHERE finished_at IS NULL), "
            "(SELECT count(*) FROM segment WHERE status = 'running')"
        )
        return sum(rows[0])

    def _under_way(self) -> bool:
        return bool(self.messages or self.calls or any(each.work or each.reads for each in self.actors))

    def _actor(self) -> Actor:
        self._born += 1
        name = f"elsewhere:{self._born}:1"
        rules = transitions.Rules(self.programs.plan, TIMING.grace, Room(64))
        rng = random.Random(self.rng.random())
        database = Unreliable(self.database, lambda: self._fate(rng))
        clock = ProcessClock(self.clock)
        writer = Ledger(database, rules, name, clock, pause=self.clock.move)
        connection = Telling(self.database.connect(), self.clock)
        actor = Actor(name, writer, connection, rng, self.fragile)
        face = cast("Any", actor)
        world = cast("Any", self)
        actor.leases = Leases(face, face, clock, TIMING)
        children = cast("Any", Children(rng))
        actor.executor = Executor(
            Services(
                face,
                face,
                self.programs,
                actor.leases,
                clock,
                self.settings,
                world,
                children,
                world,
                name,
                b"k" * 32,
            )
        )
        actor.poller = Poller(self.settings, clock, face, actor.ask, world, Room(64), self.send_all, QUEUES)
        return actor

    def _fate(self, rng: random.Random) -> Fate:
        """Decide what happens to a commit. Not so when nobody's step is done: what a test asks for itself is carried out."""
        if not self.doubtful or ACTOR.get() is None or rng.random() >= self.doubtful:
            return "kept"
        fate = rng.choice(FATES)
        self._note(f"commit {fate}")
        return fate

    def _awake(self) -> list[Actor]:
        now = self.clock.passed
        return [each for each in self.actors if not each.dead and each.asleep_until <= now]

    def _some(self, having: str = "") -> Actor | None:
        found = [each for each in self._awake() if not having or getattr(each, having)]
        return self.rng.choice(found) if found else None

    def _deliver(self) -> None:
        """Hand a few messages to a process; any, for order is nothing to rely on."""
        actor = self._some()
        if actor is None or not self.messages:
            return
        if actor.leases._loop is None:
            # What `begin` does besides starting its thread: holders are told to stop in this loop.
            actor.leases._loop = leases._Loop(asyncio.get_running_loop(), self.clock.monotonic())
        taken = [
            self.messages.pop(self.rng.randrange(len(self.messages)))
            for _ in range(min(len(self.messages), self.rng.randint(1, 3)))
        ]
        self._tasks.append(asyncio.get_running_loop().create_task(self._perform(actor, taken)))

    @staticmethod
    async def _perform(actor: Actor, references: Sequence[Reference]) -> None:
        ACTOR.set(actor)
        try:
            await actor.executor.perform(references)
        except Died:
            return

    def _commit(self) -> None:
        """One process's ledger takes some of what waits for it, in their order, and does it in one transaction."""
        actor = self._some("work")
        if actor is None:
            return
        count = self.rng.randint(1, len(actor.work))
        batch, actor.work = actor.work[:count], actor.work[count:]
        ACTOR.set(actor)
        try:
            answers = actor.ledger.step([work for work, _ in batch])
        except Died:
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            _answer(future, answer)

    def _look(self) -> None:
        actor = self._some("reads")
        if actor is not None:
            query, future = actor.reads.pop(self.rng.randrange(len(actor.reads)))
            try:
                answer = query(actor.connection)
            except Exception as error:  # noqa: BLE001  it is for whoever asked
                answer = error
            _answer(future, answer)

    def _carry_call(self) -> None:
        """Let a call reach the sink, or an answer its caller: a caller that died meanwhile does not hear it."""
        if not self.calls:
            return
        call = self.calls.pop(self.rng.randrange(len(self.calls)))
        if call.reply is None:
            (call.reply,) = self.sink.write([call.request], self.clock.now())
            self.calls.append(call)
        elif not call.caller.dead:
            _answer(call.answer, call.reply)

    def _tick(self) -> None:
        actor = self._some()
        if actor is not None:
            ACTOR.set(actor)
            try:
                actor.poller.tick()
            except Died:
                return

    def _beat(self) -> None:
        actor = self._some()
        if actor is not None:
            ACTOR.set(actor)
            try:
                if self.rng.random() < 0.5:
                    actor.leases.renew()
                else:
                    actor.leases._look_for_cancels()
            except Died:
                return

    def _pass_time(self) -> None:
        self.clock.move(self.rng.choice((0.01, 0.05, 0.1, 0.3)))

    def _jump(self) -> None:
        """The clock is set forward, or the machine slept: time has passed in which nobody did anything."""
        self.clock.move(self.rng.choice((3, 10, 60)))
        self._note("jumped forward in time")

    def _leap(self) -> None:
        """Somebody sets the database's clock: each process learns of it at its own next look, and no time has passed."""
        self._latest = max(self._latest, self.clock.now())
        by = self.rng.choice(LEAPS)
        self.clock.leap(by)
        self.slack += abs(by) * 1000
        self._note(f"set the clock by {by} s")

    def _repeat(self) -> None:
        """Refer to some segment of some execution, as late or doubled messages do."""
        connection = self.actors[0].connection
        rows = connection.run("SELECT execution_id, segment, item FROM segment")
        self.messages += self.rng.choices(rows, k=self.rng.randint(1, 4))

    def _lose_message(self) -> None:
        if self.messages:
            self.messages.pop(self.rng.randrange(len(self.messages)))

    def _flush(self) -> None:
        self.messages.clear()
        self.flushed = True
        self._note("flushed the broker")

    def _kill(self) -> None:
        actor = self._some()
        if actor is not None:
            actor.dead = True
            self._note(f"killed {actor.name}")

    def _put_to_sleep(self) -> None:
        actor = self._some()
        if actor is not None:
            actor.asleep_until = self.clock.passed + self.rng.randint(500, 5_000)
            self._note(f"sleeps: {actor.name}, for {actor.asleep_until - self.clock.passed} ms")

    def _oversleep(self) -> None:
        """A process that holds something stands still for longer than its lease, while the others live on."""
        awake = self._awake()
        holders = [each for each in awake if each.leases.held()]
        if not holders or len(awake) < 2:
            return
        actor = self.rng.choice(holders)
        actor.asleep_until = NEVER
        self._note(f"oversleeps: {actor.name}")
        for _ in range(TIMING.lease // TIMING.heartbeat + 1):
            self.clock.move(TIMING.heartbeat / 1000)
            for each in self._awake():
                each.leases.renew()
        for each in self._awake():
            each.poller.tick()

    def _rouse(self) -> None:
        """Where nobody is awake, let time pass until somebody is: else most of a world's steps would come to nothing."""
        if self._awake():
            return
        alive = [each.asleep_until for each in self.actors if not each.dead]
        if not alive:
            self._renew_the_dead(always=True)
        elif min(alive) == NEVER:
            self._wake()
        else:
            self.clock.move((min(alive) - self.clock.passed) / 1000)

    def _wake(self) -> None:
        """Who has overslept goes on. Its heart beats first: what it held may be another's by now."""
        found = [each for each in self.actors if not each.dead and each.asleep_until == NEVER]
        if found:
            actor = self.rng.choice(found)
            actor.asleep_until = 0
            actor.leases.renew()

    def _cancel(self) -> None:
        """Somebody asks an execution to stop."""
        execution = self._any()
        self.cancels.add(execution)
        self._ask(op.Cancel(execution, self.clock.now(), "no longer needed"))

    def _hold(self) -> None:
        """Somebody holds an execution, or lets one go on."""
        resume = self.rng.random() < 0.5
        (ready,) = self._ask(op.Pause(self._any(), self.clock.now(), resume=resume))
        self.messages += [(self._last, segment, item) for segment, item, _ in ready or ()]

    def _any(self) -> str:
        self._last = self.rng.choice(self._known())
        return self._last

    def _known(self) -> list[str]:
        """The executions that clients know of and that are there: whether one is lost is for the judge to say."""
        there = {name for (name,) in self.actors[0].connection.run("SELECT id FROM execution")}
        return [each.execution for each in self.ops if each.execution is not None and each.execution in there]

    def _ask(self, operation: ledger.Work) -> list[Any]:
        """Ask through some process's ledger, which may die over it."""
        actor = self._some()
        if actor is None:
            return [None]
        ACTOR.set(actor)
        try:
            return actor.ask_all([operation])
        except Died:
            return [None]

    def _renew_the_dead(self, *, always: bool = False) -> None:
        """Start a process in the place of one that died."""
        for index, each in enumerate(self.actors):
            if each.dead and (always or self.rng.random() < 0.5):
                each.ledger.close()
                each.connection.close()
                self._graves.append(each)
                self.actors[index] = self._actor()

    def _note(self, text: str) -> None:
        self.faults.append(checker.Fault(self.clock.now(), text))

    def is_dead(self, name: str) -> bool:
        return all(each.name != name or each.dead for each in self.actors)


@dataclass(frozen=True)
class Accepting:
    settings: Settings
    clock: HandClock


def _answer(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)


async def _settle() -> None:
    """Let every coroutine go on until it waits for the world again, or has had many turns."""
    ready = cast("Any", asyncio.get_running_loop())._ready
    for _ in range(12):
        await asyncio.sleep(0)
        if not ready:
            return


def _call_type(world: World) -> Any:
    @node("http_request", effect=effect_of_call, retry=Retry(3, delay=1.0, on=(TryAgain,)))
    async def http_request(config: Wire, ctx: Context) -> Json:
        """Call the sink of this world."""
        at_place("call")
        body = json.dumps(config.body).encode()
        key = ctx.idempotency_key if config.idempotent else None
        reply = await world.reach(Request("POST", config.url, key, body))
        if reply.status == BROKEN_OFF and key is None:
            raise Uncertain("effect.uncertain", "No answer.")
        if reply.status == BROKEN_OFF:
            raise TryAgain("http.unreachable", "No answer.")
        if reply.status == 200:
            headers: dict[str, Json] = {
                "content-type": "application/json",
                "content-length": str(len(reply.text)),
            }
            return {"status": 200, "headers": headers, "body": json.loads(reply.text)}
        codes = {429: "http.rate_limited", 500: "http.server_error"}
        if reply.status in codes:
            raise TryAgain(codes[reply.status], "Not now.")
        raise Fail("http.client_error", "Never.")

    return http_request


class Beats(BaseModel):
    """How far to count."""

    count: int


@node("beat", effect=Effect.KEYED)
async def beat(config: Beats, ctx: Context) -> Json:
    """Count, and say after each number how far it is; go on from what was said last."""
    last = ctx.last_heartbeat
    first = last if isinstance(last, int) else 0
    for number in range(first, config.count):
        at_place("beat")
        await ctx.heartbeat(number + 1)
    return {"from": first, "count": config.count}


W = TypeVar("W", bound=World)


@contextmanager
def opened(world: W) -> Iterator[W]:
    """A world in whose places processes die, until it is closed."""
    with ExitStack() as stack:
        stack.callback(world.close)
        stack.enter_context(mock.patch.object(identity, "is_dead", world.is_dead))
        for module in (execute, ledger, ending, poller):
            stack.enter_context(mock.patch.object(module, "failpoint", at_place))
        yield world


def play(folder: Path, seed: int, cases: Mapping[str, Case], steps: int = 400, **more: Any) -> list[str]:
    """Run one seed to its end. Returns what is wrong, as texts; nothing when all is well."""
    with opened(World(folder, seed, **more)) as world:
        ended = asyncio.run(_play(world, cases, steps))
        evidence = world.evidence()
        violations = checker.check(evidence)
        if violations:
            return [checker.report(violations, evidence, seed)]
        return [] if ended else [f"it does not come to rest with seed {seed}"]


async def _play(world: World, cases: Mapping[str, Case], steps: int) -> bool:
    for name, case in cases.items():
        world.accept(case, f"key-{name}")
    return await outlive(world, steps)


async def outlive(world: World, steps: int) -> bool:
    """Break a world for some steps and heal it. Returns whether everything in it ended."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_hear)
    loop.time = world.clock.monotonic  # type: ignore[method-assign]  # so that calls run out of this world's time
    await world.run(steps)
    ended = await world.heal()
    if steps and ended and world.goes_on():
        await world.run(steps // 4)
        ended = await world.heal()
    while left := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in left:
            task.cancel()
        await _settle()
    return ended


def _hear(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leave the deaths of tasks alone; everything else is a mistake."""
    if not isinstance(context.get("exception"), Died):
        loop.default_exception_handler(context)
