"""The engine on a throw-away database, for one definition: the parts of a process without its threads and its broker.

The ledger is stepped where others would hand it work, what would be sent is performed at once, and a poller looks whenever
a timer is due, to which the clock has jumped by then. Each performance begins with the same bytes in the database.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast

from celeriac import Json
from engine import admission, catalog, queries
from engine.dispatch import Room
from engine.execute import Executor
from engine.leases import Hold, Leases, Stop
from engine.ledger import Ledger
from engine.operations import Sendable
from engine.performance import Services
from engine.plan import Plan
from engine.poller import Poller
from engine.programs import Programs
from engine.registry import Registry
from engine.rehearsal import tables
from engine.rehearsal.cast import Cast, Part, Understudies, Walls, written
from engine.rehearsal.clock import START, HandClock
from engine.rehearsal.loop import perform
from engine.rehearsal.mocks import Mocks
from engine.settings import Limits, Settings, Timing
from engine.snapshots import Reference
from engine.states import EXECUTION_FINAL, ExecutionStatus
from engine.store.database import Connection
from engine.store.memory import MemoryDatabase
from engine.timeline import NodeRun, SegmentState
from engine.transitions import Rules

T = TypeVar("T")

OWNER: Final = "rehearsal:1:1"
"""A process of another host: nobody here can know it to be dead."""
_AGES = 100 * 365 * 86_400_000
"""Milliseconds in which nothing is lost: there is nobody else to take work over."""
_TIMING = Timing(lease=_AGES, grace=_AGES)
_ROOMY = 1_000_000
_SECRET = b"rehearsal" * 4
REFUSED: Final = "refused"
"""The status of an execution that was not accepted."""

_DUE = (
    "SELECT min(at) FROM (SELECT min(due) AS at FROM segment WHERE status IN ('waiting', 'backing_off') UNION ALL "
    "SELECT min(due) FROM segment WHERE status = 'ready' AND due <= ready_at UNION ALL "
    "SELECT min(deadline) FROM execution WHERE finished_at IS NULL)"
)
"""When there is something for the poller to do. What was never sent is due when it became ready."""


@dataclass(frozen=True, slots=True)
class Performance:
    """What an execution came to. `passed` is how long that took, in milliseconds of its own clock.

    `answer` is what it answered whoever would wait for it, None if nothing.
    """

    status: str
    output: Json
    error: Mapping[str, Any] | None
    part: Part
    nodes: tuple[NodeRun, ...]
    segments: tuple[SegmentState, ...]
    passed: int
    answer: Json = None

    @property
    def path(self) -> list[str]:
        """The nodes that ran, in the order in which they began; a container before what is inside it."""
        plan, found = self.part.plan, dict[str, None]()
        for call in self.part.calls:
            name = call.node if call.node in plan.nodes else f"{call.node}@item"
            around = []
            while owner := plan.region_of(name).owner:
                around.append(written(owner))
                name = owner
            found.update(dict.fromkeys([*reversed(around), call.node]))
        begun = (each for each in self.nodes if each.started_at is not None and each.node.container)
        found.update(dict.fromkeys(written(each.node.id) for each in begun))
        return list(found)


class Stage:
    """Where a definition is performed. Not thread safe: one performance at a time."""

    def __init__(
        self,
        document: Mapping[str, Any],
        registry: Registry,
        *,
        limits: Limits | None = None,
        players: Callable[[Registry], Cast] = Cast,
        programs: Callable[[Registry], Programs] = Programs,
    ) -> None:
        self._settings = Settings(
            "sqlite:///:memory:", "memory://", Path(), limits=limits or Limits(), timing=_TIMING
        )
        self.cast = players(registry)
        self._programs = programs(self.cast.registry)
        self._database = tables.make()
        clock = HandClock()
        ledger = Ledger(self._database, self._rules(), OWNER, clock)
        (pushed,) = ledger.step([catalog.push(document, registry, clock)])
        if isinstance(pushed, BaseException):
            raise pushed
        connection = self._database.connection
        self._active = catalog.active(connection, pushed.workflow)
        self.plan: Plan = self._programs.plan(pushed.version, connection)
        self._empty = MemoryDatabase().connection
        connection.copy_to(self._empty)

    def __enter__(self) -> Self:
        """Hand it over."""
        return self

    def __exit__(self, *_: object) -> None:
        """Throw the database away."""
        self._database.connection.end()
        self._empty.end()

    def perform(self, payload: Json, mocks: Mocks, start: int = START) -> Performance:
        """Perform the definition once, from nothing, until it ends or waits for what does not come by itself."""
        self._empty.copy_to(self._database.connection)
        part = Part(self.plan, mocks)
        self.cast.begin(part)
        clock = HandClock(start)
        process = _Process(self._settings, self._database, self._rules(), self._programs, clock)
        return perform(clock, process.run(self._active, payload, part))

    def _rules(self) -> Rules:
        return Rules(self._programs.plan, _AGES, Room(_ROOMY))


class _Grip(Leases):
    """Claims without a heartbeat: nothing lapses here. Who is to stop is told in the same loop."""

    def tell(self) -> None:
        """Tell the holders that are to stop."""
        self._look_for_cancels()

    def _stop(self, hold: Hold, why: Stop) -> None:
        self._stop_here(hold, why)


class _Process:
    """The parts of one process; ledger, reader, dispatcher and broker to the others."""

    def __init__(
        self,
        settings: Settings,
        database: MemoryDatabase,
        rules: Rules,
        programs: Programs,
        clock: HandClock,
    ) -> None:
        self.settings, self.clock = settings, clock
        self._ledger = Ledger(database, rules, OWNER, clock, pause=clock.move)
        self._connection = database.connection
        self._changed = asyncio.Event()
        self._carriers: set[asyncio.Task[None]] = set()
        at = cast("Any", self)
        self._leases = _Grip(at, at, clock, settings.timing)
        self._executor = Executor(
            Services(
                at,
                at,
                programs,
                self._leases,
                clock,
                settings,
                self,
                Understudies(),
                Walls(),
                OWNER,
                _SECRET,
            )
        )
        self._room = rules.room

    async def run(self, active: catalog.Active, payload: Json, part: Part) -> Performance:
        """Start an execution, and carry it as far as it goes."""
        try:
            operation = admission.operation(cast("Any", self), admission.Request(active, payload))
        except admission.InputInvalid as error:
            return Performance(REFUSED, None, error.to_json(), part, (), (), 0)
        started = await self.submit(operation)
        queues = sorted({each.queue for each in part.plan.segments})
        poller = Poller(
            self.settings, self.clock, self, self.ask, self, cast("Room", self._room), self.send_all, queues
        )
        if started.send:
            self.send_all([(active.queue, (started.execution, 0, ""))])
        await self._go_on(started.execution, poller)
        return self._seen(started.execution, part)

    async def _go_on(self, execution: str, poller: Poller) -> None:
        """Look whenever something has changed or a timer is due, until nothing is left that comes by itself."""
        looked_at: tuple[int | None, int] | None = None
        while True:
            self._changed.clear()
            self._leases.tell()
            ended = ExecutionStatus(queries.is_there(self._connection, execution)) in EXECUTION_FINAL
            due = None if ended else self._connection.run(_DUE)[0][0]
            pause: float | None = None
            if due is not None and looked_at != (due, self.clock.now()):
                pause = max(0, due - self.clock.now()) / 1000
            if pause is None and not self._carriers:
                return
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                looked_at = (due, self.clock.now())
                poller.tick()

    def _seen(self, execution: str, part: Part) -> Performance:
        body = queries.execution(self._connection, execution)
        rows = self._connection.run(
            "SELECT segment, item, status, head, exits, due FROM segment WHERE execution_id = ?", (execution,)
        )
        error = body.get("error")
        doubt = self._connection.run(
            "SELECT reason FROM segment WHERE execution_id = ? AND status IN ('uncertain', 'quarantined')",
            (execution,),
        )
        if error is None and doubt:
            error = json.loads(doubt[0][0] or "null")
        return Performance(
            str(body["status"]),
            body.get("output"),
            error if isinstance(error, dict) else None,
            part,
            tuple(queries.nodes(self._connection, execution)),
            tuple(SegmentState(*row) for row in rows),
            taken if isinstance(taken := body.get("duration_ms"), int) else self.clock.passed,
            body.get("answer"),
        )

    # What the executor and the leases ask of a ledger and a reader.

    async def submit(self, work: Any) -> Any:
        """Do it now; others have their turn before the answer."""
        (answer,) = self._ledger.step([work])
        self._changed.set()
        await asyncio.sleep(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Return what is true now."""
        return query(self._connection)

    def ask(self, query: Callable[[Connection], T]) -> T:
        """Return what is true now."""
        return query(self._connection)

    # What the executor and the poller ask of a dispatcher.

    def send(self, execution: str, ready: Sequence[Sendable]) -> None:
        """Perform what became ready."""
        self.send_all((queue, (execution, segment, item)) for segment, item, queue in ready)

    def send_all(self, references: Iterable[tuple[str, Reference]]) -> None:
        """Perform what is referred to."""
        for _, reference in references:
            task = asyncio.get_running_loop().create_task(self._executor.perform([reference]))
            self._carriers.add(task)
            task.add_done_callback(self._carried)

    def _carried(self, task: asyncio.Task[None]) -> None:
        self._carriers.discard(task)
        self._changed.set()

    def finished(self, execution: str, reply_to: str | None) -> None:
        """Tell nobody: the row says it."""

    # What the poller asks of a ledger and a broker.

    def ask_each(self, work: Sequence[Any]) -> list[Any]:
        """Do each of them now."""
        self._changed.set()
        return self._ledger.step(work) if work else []

    def lengths(self, queues: Sequence[str]) -> dict[str, int]:
        """Return that nothing waits anywhere."""
        return dict.fromkeys(queues, 0)

    def emptied(self) -> bool:
        """Return that nothing was ever lost."""
        return False

    def close(self) -> None:
        """There is no broker to leave."""
