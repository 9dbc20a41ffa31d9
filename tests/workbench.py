"""The engine's core on one SQLite file, under the hand of a test: its clock is moved, its ledger stepped, nothing is sent.

No thread, no broker and no sleep, so that what a test sees follows from what it did.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from celeriac import Json
from engine import admission, catalog
from engine.callbacks import Callbacks
from engine.dispatch import Room
from engine.execute import Executor
from engine.ids import encode
from engine.leases import Leases
from engine.ledger import Ledger, _resolve
from engine.operations import Sendable
from engine.performance import Services
from engine.poller import Poller
from engine.programs import Programs
from engine.registry import Registry
from engine.settings import DEFAULT_PROJECT, Limits, Settings, Timing
from engine.snapshots import Reference
from engine.store import schema
from engine.store.database import Connection, SqliteConnection, SqliteDatabase, open_database
from engine.transitions import Rules

T = TypeVar("T")

NOW = 1_900_000_000_000
OWNER = "elsewhere:1:1"
"""A process of another host: nobody here can know it to be dead."""


class HandClock:
    """A clock that stands still until it is moved. Its randomness is a count."""

    def __init__(self) -> None:
        self.ms = NOW
        self.passed = 1_000_000
        """Milliseconds of the machine's monotonic clock."""
        self._drawn = 0

    def now(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.passed / 1000

    def entropy(self, count: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_128(str(self._drawn).encode()).digest(count)

    def mint(self, prefix: str) -> str:
        return encode(prefix, self.ms, self.entropy(10))

    def sync(self, now: int, asked: float | None = None) -> None:
        """The hand moves this clock, and no database does."""

    def move(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)
        self.passed += round(seconds * 1000)

    def leap(self, seconds: float) -> None:
        """Set it: no time passes."""
        self.ms += round(seconds * 1000)


class QuickDatabase(SqliteDatabase):
    """A file that need not survive the power failing."""

    def connect(self) -> SqliteConnection:
        made = super().connect()
        made.run("PRAGMA synchronous=OFF")
        return made


@functools.cache
def migrated() -> bytes:
    """An empty database at the newest schema. Migrating takes a third of a second, copying nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "celeriac.db"
        schema.migrate(Settings(f"sqlite:///{path}", "memory://", Path(folder)), NOW)
        return path.read_bytes()


@functools.cache
def built_in() -> Registry:
    return Registry.load(["nodes"])


@dataclass
class Outlet:
    """What would have been sent."""

    sent: list[tuple[str, Reference]] = field(default_factory=list)
    ended: list[tuple[str, str | None]] = field(default_factory=list)

    def send(self, execution: str, ready: Sequence[Sendable]) -> None:
        self.sent.extend((queue, (execution, segment, item)) for segment, item, queue in ready)

    def send_all(self, references: Iterable[tuple[str, Reference]]) -> None:
        self.sent.extend(references)

    def finished(self, execution: str, reply_to: str | None) -> None:
        self.ended.append((execution, reply_to))

    def taken(self) -> list[Reference]:
        """Take everything that was sent, as a worker of all queues would."""
        found = [reference for _, reference in self.sent]
        self.sent.clear()
        return found


@dataclass
class Gauge:
    """A broker as the poller sees it. `down` is raised instead of any answer."""

    waiting: dict[str, int] = field(default_factory=dict)
    flushed: bool = False
    down: Exception | None = None
    closed: int = 0

    def lengths(self, queues: Sequence[str]) -> dict[str, int]:
        if self.down is not None:
            raise self.down
        return {each: self.waiting.get(each, 0) for each in queues}

    def emptied(self) -> bool:
        if self.down is not None:
            raise self.down
        was, self.flushed = self.flushed, False
        return was

    def close(self) -> None:
        self.closed += 1


class Workbench:
    """One process of the engine, as far as it has no threads. Without a `store` it has a file of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        registry: Registry | None = None,
        window: int = 64,
        limits: Limits | None = None,
        timing: Timing | None = None,
        store: Settings | None = None,
    ) -> None:
        path = folder / "celeriac.db"
        if store is None:
            path.write_bytes(migrated())
        self.settings = store or Settings(
            f"sqlite:///{path}", "memory://", folder, limits=limits or Limits(), timing=timing or Timing()
        )
        self.clock = HandClock()
        self.registry = registry or built_in()
        self.programs = Programs(self.registry)
        self.room = Room(window)
        self.database = QuickDatabase(path)
        if store is not None:
            self.database = cast("QuickDatabase", open_database(store))
        self.rules = Rules(self.programs.plan, self.settings.timing.grace, self.room)
        self.ledger = Ledger(self.database, self.rules, OWNER, self.clock, pause=self.clock.move)
        self.connection = self.database.connect()
        self.callbacks = Callbacks(b"c" * 32, self.settings.public_base)
        self.outlet = Outlet()
        self.gauge = Gauge()
        self.leases = Leases(cast("Any", self), cast("Any", self), self.clock, self.settings.timing)

    def close(self) -> None:
        self.ledger.close()
        self.connection.close()

    # The ledger, as coroutines and as threads ask it.

    def step(self, *work: Any) -> list[Any]:
        """Do work in one transaction; answers and exceptions as they come."""
        return self.ledger.step(work)

    def ask_all(self, work: Sequence[Any], patience: float = 0) -> list[Any]:
        answers = self.ledger.step(work) if work else []
        for each in answers:
            if isinstance(each, BaseException):
                raise each
        return answers

    def ask_each(self, work: Sequence[Any], patience: float = 0) -> list[Any]:
        return self.ledger.step(work) if work else []

    def ask(self, work: Any) -> Any:
        """Do one piece of work; raise what befell it. A function of a connection may also be a query."""
        return self.ask_all([work])[0]

    def submit(self, work: Any) -> asyncio.Future[Any]:
        """Do one piece of work now; its answer comes in the next turn of the loop, as others go on."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        loop.call_soon(_resolve, [(future, self.ledger.step([work])[0])])
        return future

    # The reader.

    async def read(self, query: Callable[[Connection], T]) -> T:
        """What is true now, told in the next turn of the loop, when it may be so no more."""
        found = query(self.connection)
        await asyncio.sleep(0)
        return found

    def look(self, query: Callable[[Connection], T]) -> T:
        return query(self.connection)

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.run(sql, parameters)

    # What people and triggers do.

    def push(self, document: Mapping[str, Any], project: str = DEFAULT_PROJECT) -> catalog.Active:
        pushed = self.ask(catalog.push(document, self.registry, self.clock, project))
        return catalog.active(self.connection, pushed.workflow, project)

    def start(self, active: catalog.Active, payload: Json = None, **more: Any) -> str:
        """Accept one execution and send it."""
        operation = admission.operation(cast("Any", self), admission.Request(active, payload, **more))
        started = self.ask(operation)
        if started.send:
            self.outlet.sent.append((active.queue, (started.execution, 0, "")))
        return str(started.execution)

    # What a worker and a poller do.

    def executor(self, children: Any = None, around: Any = None, owner: str = OWNER) -> Executor:
        at = cast("Any", self)
        return Executor(
            Services(
                at,
                at,
                self.programs,
                self.leases,
                self.clock,
                self.settings,
                self.outlet,
                children,
                around,
                owner,
                b"k" * 32,
                self.callbacks,
            )
        )

    async def carry(self, executor: Executor | None = None) -> None:
        """Perform everything that was sent, and what follows from it, until nothing more is."""
        executor = executor or self.executor()
        while references := self.outlet.taken():
            await executor.perform(references)

    def poller(self, queues: Sequence[str] | None = ("default", "cpu")) -> Poller:
        return Poller(
            self.settings,
            self.clock,
            self,
            self.look,
            self.gauge,
            self.room,
            self.outlet.send_all,
            queues,
        )

    # What has become of it.

    def status(self, execution: str) -> str:
        return str(self.query("SELECT status FROM execution WHERE id = ?", execution)[0][0])

    def segments(self, execution: str) -> dict[int, str]:
        rows = self.query("SELECT segment, status FROM segment WHERE execution_id = ? ORDER BY 1", execution)
        return dict(cast("list[tuple[int, str]]", rows))

    def segment(self, execution: str, number: int = 0, *columns: str) -> tuple[Any, ...]:
        """Some columns of one segment's row."""
        names = ", ".join(columns)
        return self.query(
            f"SELECT {names} FROM segment WHERE execution_id = ? AND segment = ?", execution, number
        )[0]

    def output(self, execution: str) -> Json:
        """The execution's result, wherever it is stored."""
        return cast(
            "Json",
            _loaded(
                self.query(
                    "SELECT coalesce(e.output, b.body) FROM execution e LEFT JOIN blob b ON b.hash = e.output_blob "
                    "WHERE e.id = ?",
                    execution,
                )
            ),
        )

    def answer(self, execution: str) -> Any:
        """What the execution has answered, wherever it is stored."""
        return _loaded(
            self.query(
                "SELECT coalesce(e.answer, b.body) FROM execution e LEFT JOIN blob b ON b.hash = e.answer_blob "
                "WHERE e.id = ?",
                execution,
            )
        )

    def error(self, execution: str) -> Any:
        return _loaded(self.query("SELECT error FROM execution WHERE id = ?", execution))

    def events(self, execution: str) -> list[list[Any]]:
        """Every event in order: `[type, node or segment, at, more]`."""
        rows = self.query("SELECT body FROM event WHERE execution_id = ? ORDER BY seq", execution)
        return [each for (body,) in rows for each in json.loads(body)]

    def kinds(self, execution: str) -> list[str]:
        return [each[0] for each in self.events(execution)]

    def journal(self, execution: str, *columns: str) -> list[tuple[Any, ...]]:
        names = ", ".join(columns)
        return self.query(
            f"SELECT {names} FROM journal WHERE execution_id = ? ORDER BY node, step", execution
        )


def _loaded(rows: list[tuple[Any, ...]]) -> Any:
    return None if rows[0][0] is None else json.loads(rows[0][0])
