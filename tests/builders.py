"""Small builders that several suites share: definitions, settings, worker processes, a client inside the test."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from celeriac import Json
from engine import admission, catalog, runtime
from engine.clock import SystemClock
from engine.outside import connection_rows, secret_key
from engine.outside.connections import make_connection
from engine.outside.sealing import SealingKeys
from engine.settings import DEFAULT_PROJECT, Settings, from_environment
from engine.store import schema
from tests.chaos import sink

T = TypeVar("T")
ROOT = Path(__file__).parent.parent

BRISK = {"LEASE": "2000", "HEARTBEAT": "500", "POLL": "100", "GRACE": "500", "CANARY": "100"}
"""Repair as fast as two cores bear it, so that a test of a crash takes seconds."""


def node(
    name: str, type_: str = "noop", config: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """One node of a definition."""
    return {"id": name, "type": type_, **({"config": dict(config)} if config else {}), **more}


def edge(source: str, target: str, **more: Any) -> dict[str, Any]:
    """One edge of a definition."""
    return {"from": source, "to": target, **more}


def edges(*ways: str) -> list[dict[str, Any]]:
    """Plain edges, each written `a->b->c`."""
    found = []
    for way in ways:
        names = [each.strip() for each in way.split("->")]
        found += [edge(source, target) for source, target in pairwise(names)]
    return found


def document(
    nodes: Sequence[Mapping[str, Any]], ways: Sequence[Mapping[str, Any]] = (), name: str = "w", **more: Any
) -> dict[str, Any]:
    """A whole definition."""
    return {"name": name, "definition": {"nodes": list(nodes), "edges": list(ways), **more}}


def environment(data: Path, broker: str, database: str | None = None, **more: str) -> dict[str, str]:
    """The environment of an installation under test, apart from that of the machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CELERIAC_")}
    return {
        **kept,
        "CELERIAC_DATA": str(data),
        "BROKER_URL": broker,
        "DATABASE_URL": database or f"sqlite:///{data / 'celeriac.db'}",
        "CELERIAC_NODES": "nodes,tests.nodes",
        "CELERIAC_EGRESS_ALLOW": "127.0.0.1",
        "CELERIAC_SECRET_KEY": "WntK5rKulCecID+vmPQ/ldne2441FpIvwOnKrEb/+T0=",
        "PYTHONPATH": str(ROOT),
        **{f"CELERIAC_TIMING_{name}": value for name, value in BRISK.items()},
        **more,
    }


def prepared(around: Mapping[str, str]) -> Settings:
    """The settings of an environment, with the database migrated."""
    settings = from_environment(around)
    schema.migrate(settings, SystemClock().now())
    return settings


def state_of(pid: int) -> str:
    """Return what a process does: `R` runs, `T` is stopped (proc_pid_stat(5)). Raises `OSError` when it is gone."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def wait_until(
    true: Callable[[], bool], seconds: float = 20.0, what: str = "what the test waits for"
) -> None:
    """Look until it holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)


GUARD = 'read -r _; while read -r pid; do kill -s KILL "$pid"; done < "$1"; rm -f "$1"'
"""Waits for the end of its input, which comes when its parent dies in whatever way, and ends what that one started."""


@cache
def _guarded() -> tuple[Path, set[int]]:
    """The file of the processes that must not outlive this one."""
    number, name = tempfile.mkstemp(prefix="clrp-", dir="/tmp")
    os.close(number)
    guard = subprocess.Popen(
        ["/bin/sh", "-c", GUARD, "guard", name], stdin=subprocess.PIPE, start_new_session=True
    )
    atexit.register(guard.communicate)
    return Path(name), set()


def _guard(pid: int, *, runs: bool) -> None:
    path, pids = _guarded()
    pids.add(pid) if runs else pids.discard(pid)
    path.write_text("".join(f"{each}\n" for each in pids), encoding="utf-8")


class Process:
    """A process of ours in a session of its own, with its words in a file. It does not outlive us."""

    def __init__(self, line: Sequence[str], around: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, *line],
                env=dict(around),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        _guard(self._process.pid, runs=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs."""
        code = self._process.poll()
        if code is not None:
            _guard(self.pid, runs=False)
        return code

    def children(self) -> list[int]:
        """The processes it started that still run."""
        try:
            text = Path(f"/proc/{self.pid}/task").iterdir()
            return [int(pid) for task in text for pid in (task / "children").read_text().split()]
        except OSError:
            return []

    def send(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._process.kill()
        self._process.wait(10)
        _guard(self.pid, runs=False)

    def end(self, seconds: float = 15.0) -> int:
        """Ask it to stop; return its exit code."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        _guard(self.pid, runs=False)
        return code

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def celery_worker(
    around: Mapping[str, str], log: Path, queues: str = "default,cpu", name: str = "w"
) -> Process:
    """Start `celery -A worker worker`, as an operator would. It is ready when `is_ready` says so."""
    line = ["-m", "celery", "-A", "worker", "worker", "--loglevel=INFO", "-Q", queues, "-n", f"{name}@%h"]
    return Process([*line, "--without-mingle", "--without-gossip", "--without-heartbeat"], around, log)


def is_ready(worker: Process) -> bool:
    """Whether a worker takes messages. One that ended instead fails the test with its last words."""
    if worker.code is not None:
        raise AssertionError(f"the worker ended with {worker.code}:\n{worker.said()[-2000:]}")
    return " ready." in worker.said()


class Client:
    """A process of the engine inside the test: it accepts, and looks. Everything may be called from the test's thread."""

    def __init__(self, settings: Settings, *, poll: bool = True) -> None:
        self.runtime = runtime.assemble(settings, poll=poll)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="client", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self.runtime.close()

    def do(self, work: Coroutine[Any, Any, T], seconds: float = 30.0) -> T:
        """Run a coroutine to its end."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(seconds)

    def push(self, body: Mapping[str, Any]) -> catalog.Active:
        """Save a definition; return what starting it needs."""
        at = self.runtime
        pushed = at.ledger.ask(catalog.push(body, at.registry, at.clock))
        return at.reader.ask(lambda connection: catalog.active(connection, pushed.workflow))

    def keep(self, name: str, kind: str, values: Mapping[str, Json]) -> None:
        """Store a connection."""
        at = self.runtime
        found = secret_key.load(at.settings.secret_key, at.settings.data, make=False, random_bytes=bytes)
        sealed = make_connection(
            connection_id=at.clock.mint("conn"),
            project_id=DEFAULT_PROJECT,
            name=name,
            kind=kind,
            hosts=[],
            values=values,
            kinds=at.registry.connections,
            keys=SealingKeys.of(*found),
            now=at.clock.now(),
            random_bytes=at.clock.entropy,
        )
        at.ledger.ask(connection_rows.save(sealed, replace=False))

    def start(self, active: catalog.Active, payload: Json = None, key: str | None = None) -> str:
        """Start one execution and send it."""
        return self.start_all([admission.Request(active, payload, idempotency_key=key)])[0].execution

    def start_all(self, requests: Sequence[admission.Request]) -> list[admission.Accepted]:
        return self.do(admission.accept_all(self.runtime, requests))

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.runtime.reader.ask(lambda connection: connection.run(sql, parameters))

    def status(self, execution: str) -> str:
        found: str = self.query("SELECT status FROM execution WHERE id = ?", execution)[0][0]
        return found

    def unfinished(self) -> int:
        found: int = self.query("SELECT count(*) FROM execution WHERE finished_at IS NULL")[0][0]
        return found

    def finished(self, execution: str, seconds: float = 20.0) -> str:
        """Wait for the end of an execution; return its status."""
        wait_until(
            lambda: bool(
                self.query("SELECT 1 FROM execution WHERE id = ? AND finished_at IS NOT NULL", execution)
            ),
            seconds,
            f"the end of {execution}, which is {self.status(execution)}",
        )
        return self.status(execution)

    def all_finished(self, seconds: float = 30.0) -> None:
        try:
            wait_until(lambda: self.unfinished() == 0, seconds, "the end of every execution")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.unfinished_rows()}") from None

    def unfinished_rows(self) -> str:
        """What there is of executions that have not ended, for whoever looks for the reason."""
        rows = self.query(
            "SELECT e.id, e.status, e.open, s.segment, s.status, s.epoch, s.deliveries, s.head, s.pending, s.due, s.owner "
            "FROM execution e JOIN segment s ON s.execution_id = e.id WHERE e.finished_at IS NULL "
            "AND s.status NOT IN ('done', 'skipped') ORDER BY e.id, s.segment LIMIT 40"
        )
        return "\n".join(map(str, rows))


class SinkProcess(Process):
    """The ledger of effects, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sink.db"
        super().__init__(["-m", "tests.chaos.sink", str(self.path)], os.environ, folder / "sink.log")
        wait_until(lambda: self.said().strip().isdecimal(), 20, "the sink's port")
        self.url = f"http://127.0.0.1:{self.said().strip()}"

    def effects(self) -> list[sink.Effect]:
        return sink.read(self.path)
