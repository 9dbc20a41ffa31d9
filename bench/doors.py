"""What comes in through the door: the API under load, with authentication and limits on, beside a bare FastAPI application.

Each case runs against the API that its users have: requests show an API key, and are counted for it; deliveries are signed,
verified and counted once. The bare application answers on the same machine, in turn with ours, and does nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import signal
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bench import api_driver, figures, processes
from bench.api_driver import CLIENTS, WrongAnswer
from bench.cases import Case
from bench.protocol import PATIENCE, Failed
from bench.shapes import SHAPES
from bench.stacks import _PLAIN, _await_ready, environment, servers
from bench.wire import Wire
from celeriac import Json
from engine.settings import from_environment
from engine.store import schema
from engine.store.database import open_database
from tests.servers import Den

BODY = json.dumps({"order": 4711, "lines": [{"price": 3}] * 5}).encode()
LOAD = 500
"""Requests a second that run while others are asked how long they take."""
SECONDS = 8.0
SOCKETS, STARTS = 1_000, 20
ROWS = 1_000_000

_UNHINDERED = {"CELERIAC_LIMIT_REQUESTS": "10000000", "CELERIAC_LIMIT_ANONYMOUS_REQUESTS": "10000000"}
"""Every request is counted; none is one too many."""


@dataclass
class Door:
    """An API, a worker, and the bare application beside them."""

    url: str
    bare: str
    keeper: str
    api: int
    around: dict[str, str]
    key: str = ""
    hooks: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def shown(self) -> dict[str, str]:
        """What requests show."""
        return {"Authorization": f"Bearer {self.key}"}

    async def furnish(self) -> None:
        """Make a key, and the workflows with their webhooks."""
        wire = await Wire.connect(self.url, Authorization=f"Bearer {self.keeper}")

        async def post(path: str, body: Any) -> Any:
            return json.loads(await wire.ask("POST", f"/api/v1/{path}", json.dumps(body).encode()))

        self.key = (await post("keys", {"name": "bench", "scopes": ["operator"]}))["key"]
        for name, shape, respond in (("accept", "pure_3", "immediately"), ("answer", "pure_3", "last_node")):
            made = SHAPES[shape].document()
            trigger = {"type": "webhook", "config": {"path": f"/{name}", "respond": respond}}
            definition = {**made["definition"], "trigger": trigger}  # type: ignore[dict-item]  # it is an object
            (hook,) = (await post("workflows", {"name": name, "definition": definition}))["webhooks"]
            self.hooks[name] = (urlsplit(hook["url"]).path, hook["secret"])
        wire.close()

    def delivery(self, hook: str, id_: str) -> dict[str, str]:
        """Return the headers of a delivery."""
        stamp = str(int(time.time()))
        told = f"{stamp}.".encode() + BODY
        mark = hmac.digest(self.hooks[hook][1].encode(), told, hashlib.sha256).hex()
        return {"X-Webhook-Signature": f"sha256={mark}", "X-Webhook-Timestamp": stamp, "X-Webhook-Id": id_}

    def unended(self) -> bool:
        """Whether anything that was started has not ended."""
        connection = open_database(from_environment(self.around)).connect()
        try:
            return bool(connection.run("SELECT 1 FROM execution WHERE finished_at IS NULL LIMIT 1"))
        finally:
            connection.close()


@contextmanager
def opened(stack: str) -> Iterator[Door]:
    """Start all that a door needs; everything ends with the block."""
    with ExitStack() as ending:
        found = ending.enter_context(servers(stack))
        den = Den()
        ending.callback(den.clear)
        around = {**environment(den.folder, found), **_UNHINDERED}
        schema.migrate(from_environment(around), time.time_ns() // 1_000_000)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]

        def start(*words: str) -> Any:
            return den.start([sys.executable, "-m", *words], quits_on=signal.SIGTERM, environment=around)

        api = start("celeriac", "api")
        start("celery", "-A", "worker", "worker", *_PLAIN, "-Q", "default,cpu")
        start("bench.bare", str(port))
        _await_ready(api, around)
        url = around[api_driver.URL]
        door = Door(url, f"http://127.0.0.1:{port}", around[api_driver.TOKEN], api.pid, around)
        asyncio.run(door.furnish())
        asyncio.run(_until_it_listens(door.bare))
        yield door


def measure(case: Case, door: Door, stack: str, runs: int) -> dict[str, Json]:
    """Measure a case of the door. Raises `Failed` with what went wrong."""
    load = os.getloadavg()[0]
    try:
        found = [_MEASURES[case.name](door, case, run) for run in range(runs if case.repeats else 1)]
    except (WrongAnswer, OSError, asyncio.IncompleteReadError, TimeoutError, ExceptionGroup) as error:
        message = f"{case.name}: {type(error).__name__}: {error}"
        raise Failed(message) from error
    ours, baseline = ([getattr(each, side) for each in found] for side in ("ours", "bare"))
    more = {name: statistics.median(each.more[name] for each in found) for name in found[0].more}
    return figures.door(case, stack, ours, baseline, more, load=load)


@dataclass
class Figures:
    """What one run came to, in the unit of its case: ours, the bare application's, and what else was seen."""

    ours: float
    bare: float
    more: dict[str, float] = field(default_factory=dict)


async def _until_it_listens(url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            (await Wire.connect(url)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            return


async def _crowd(
    url: str, clients: int, count: int, ask: Callable[[Wire, int], Awaitable[object]], **headers: str
) -> tuple[float, list[float]]:
    """Let clients each ask again when they are answered. Returns the seconds, and the milliseconds of each answer."""
    wires = [await Wire.connect(url, **headers) for _ in range(clients)]
    numbers, latencies = iter(range(count)), list[float]()

    async def work(wire: Wire) -> None:
        for number in numbers:
            begun = time.perf_counter()
            await ask(wire, number)
            latencies.append((time.perf_counter() - begun) * 1000)

    begun = time.perf_counter()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for each in wires:
            group.create_task(work(each))
    seconds = time.perf_counter() - begun
    for each in wires:
        each.close()
    return seconds, latencies


def _bare(wire: Wire, _number: int) -> Awaitable[bytes]:
    return wire.ask("POST", "/webhooks/bare", BODY)


def _deliveries(door: Door, hook: str, clients: int, count: int, run: str) -> tuple[float, list[float]]:
    path = door.hooks[hook][0]

    async def deliver(wire: Wire, number: int) -> None:
        answer = json.loads(await wire.ask("POST", path, BODY, **door.delivery(hook, f"{run}-{number}")))
        if hook == "answer" and [*answer.values()] != [{"x": 2}]:
            message = f"The answer was {answer}."
            raise WrongAnswer(message)

    return asyncio.run(_crowd(door.url, clients, count, deliver))


def _accepted(door: Door, case: Case, run: int) -> Figures:
    seconds, latencies = _deliveries(door, "accept", CLIENTS, case.executions, f"a{run}")
    ended = time.perf_counter()
    while door.unended():
        time.sleep(0.01)
    late = time.perf_counter() - ended
    bare, _ = asyncio.run(_crowd(door.bare, CLIENTS, case.executions, _bare))
    more = {"p99_ms": figures.percentile(latencies, 0.99), "all_ended_after_s": late}
    return Figures(case.executions / seconds, case.executions / bare, more)


def _answered(door: Door, case: Case, run: int) -> Figures:
    _deliveries(door, "answer", CLIENTS, 50, f"w{run}")
    seconds, latencies = _deliveries(door, "answer", CLIENTS, case.executions, f"s{run}")
    bare, _ = asyncio.run(_crowd(door.bare, CLIENTS, case.executions, _bare))
    more = {"p50_ms": statistics.median(latencies), "p99_ms": figures.percentile(latencies, 0.99)}
    return Figures(case.executions / seconds, case.executions / bare, more)


def _answered_alone(door: Door, case: Case, run: int) -> Figures:
    _, latencies = _deliveries(door, "answer", 1, case.executions, f"i{run}")
    _, bare = asyncio.run(_crowd(door.bare, 1, case.executions, _bare))
    more = {"p99_ms": figures.percentile(latencies, 0.99)}
    return Figures(statistics.median(latencies), statistics.median(bare), more)


async def _paced(
    url: str, seconds: float, ask: Callable[[Wire, int], Awaitable[object]], **headers: str
) -> int:
    """Ask `LOAD` times a second, whenever the time has come and a client is free. Returns how often it was."""
    waiting: asyncio.Queue[int] = asyncio.Queue()
    done = 0

    async def work() -> None:
        nonlocal done
        wire = await Wire.connect(url, **headers)
        while (number := await waiting.get()) >= 0:
            await ask(wire, number)
            done += 1
        wire.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS * 2):
            group.create_task(work())
        begun = time.perf_counter()
        for number in range(int(seconds * LOAD)):
            await asyncio.sleep(max(0.0, begun + number / LOAD - time.perf_counter()))
            waiting.put_nowait(number)
        for _ in range(CLIENTS * 2):
            waiting.put_nowait(-1)
    return done


async def _probed(url: str, seconds: float, paths: list[str], **headers: str) -> list[float]:
    """Ask for some paths in turn, 50 times a second. Returns the milliseconds of each answer, counted from when it was due."""
    wire = await Wire.connect(url, **headers)
    latencies = []
    begun = time.perf_counter()
    for number in range(int(seconds * 50)):
        due = begun + number / 50
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await wire.ask("GET", paths[number % len(paths)])
        latencies.append((time.perf_counter() - due) * 1000)
    wire.close()
    return latencies


def _under_load(door: Door, run: int, paths: list[str]) -> Figures:
    path = door.hooks["accept"][0]

    async def deliver(wire: Wire, number: int) -> None:
        name = f"l{run}-{time.monotonic_ns()}-{number}"
        await wire.ask("POST", path, BODY, **door.delivery("accept", name))

    async def both(
        url: str, ask: Callable[[Wire, int], Awaitable[object]], paths: list[str]
    ) -> tuple[list[float], float]:
        begun = time.perf_counter()
        loading = asyncio.create_task(_paced(url, SECONDS, ask))
        found = await _probed(url, SECONDS, paths, **door.shown)
        done = await loading
        return found, done / (time.perf_counter() - begun)

    ours, rate = asyncio.run(both(door.url, deliver, paths))
    bare, _ = asyncio.run(both(door.bare, _bare, ["/bare"]))
    more = {"p50_ms": statistics.median(ours), "load_per_second": rate}
    return Figures(figures.percentile(ours, 0.99), figures.percentile(bare, 0.99), more)


def _health(door: Door, _case: Case, run: int) -> Figures:
    return _under_load(door, run, ["/healthz"])


def _reads(door: Door, _case: Case, run: int) -> Figures:
    _deliveries(door, "accept", CLIENTS, 200, f"r{run}-{time.monotonic_ns()}")

    async def one() -> str:
        wire = await Wire.connect(door.url, **door.shown)
        found = json.loads(await wire.ask("GET", "/api/v1/executions?limit=1"))["data"][0]["id"]
        wire.close()
        return str(found)

    name = asyncio.run(one())
    paths = ["executions?limit=50", f"executions/{name}", f"executions/{name}/nodes", "workflows?limit=50"]
    return _under_load(door, run, [f"/api/v1/{each}" for each in paths])


def _sockets(door: Door, _case: Case, _run: int) -> Figures:
    before = sum(processes.megabytes([door.api]).values())
    seen, expected, peak, late = asyncio.run(_listen(door))
    more = {
        "sockets": SOCKETS,
        "events_each": expected,
        "received_share": seen,
        "memory_before_mb": before,
        "late_s": late,
    }
    return Figures(peak, before, more)


async def _events_of_one(door: Door) -> int:
    """Return how many events an execution has."""
    wire = await Wire.connect(door.url, **door.shown)
    headers = door.delivery("accept", f"one-{time.monotonic_ns()}")
    name = json.loads(await wire.ask("POST", door.hooks["accept"][0], BODY, **headers))["execution"]
    await wire.ask("GET", f"/api/v1/executions/{name}", Prefer="wait=10")
    found = json.loads(await wire.ask("GET", f"/api/v1/executions/{name}/events"))
    wire.close()
    if not found["final"]:
        message = f"{name} has not ended."
        raise WrongAnswer(message)
    return len(found["data"])


async def _listen(door: Door) -> tuple[float, int, float, float]:
    """Let many follow the project while executions run. Returns the share of events that came, how many each had to hear,
    the API's megabytes at most, and the seconds until the last one had all of them.
    """
    each_tells = await _events_of_one(door)
    wires = [await Wire.connect(door.url, **door.shown) for _ in range(SOCKETS)]
    for each in wires:
        await each.upgrade("/api/v1/ws")
        if b'"ready"' not in await each.hear():
            message = "No WebSocket."
            raise WrongAnswer(message)
        each.say({"type": "subscribe", "topic": "project"})
        if b'"subscribed"' not in await each.hear():
            message = "No subscription."
            raise WrongAnswer(message)
    total = round(SECONDS * STARTS)
    heard, wanted = [0] * SOCKETS, total * each_tells

    async def follow(at: int) -> None:
        while heard[at] < wanted:
            heard[at] += (await wires[at].hear()).count(b'"seq"')

    path, starting = door.hooks["accept"][0], await Wire.connect(door.url)
    following = [asyncio.create_task(follow(at)) for at in range(SOCKETS)]
    peak, begun = 0.0, time.perf_counter()
    for number in range(total):
        await asyncio.sleep(max(0.0, begun + number / STARTS - time.perf_counter()))
        await starting.ask("POST", path, BODY, **door.delivery("accept", f"ws-{begun}-{number}"))
        if number % STARTS == 0:
            peak = max(peak, sum(processes.megabytes([door.api]).values()))
    ended = time.perf_counter()
    await asyncio.wait(following, timeout=PATIENCE)
    late = time.perf_counter() - ended
    for task in following:
        task.cancel()
    outcomes = await asyncio.gather(*following, return_exceptions=True)
    for wire in (*wires, starting):
        wire.close()
    failures = [each for each in outcomes if isinstance(each, Exception)]
    if failures:
        raise failures[0]
    return sum(heard) / (wanted * SOCKETS), wanted, peak, late


def _page(door: Door, case: Case, run: int) -> Figures:
    if run == 0:
        _fill(door)

    async def ask(wire: Wire, _number: int) -> None:
        found = json.loads(await wire.ask("GET", "/api/v1/executions?limit=50"))
        if len(found["data"]) != 50:
            message = f"A page of {len(found['data'])}."
            raise WrongAnswer(message)

    _, latencies = asyncio.run(_crowd(door.url, 1, case.executions, ask, **door.shown))
    _, bare = asyncio.run(_crowd(door.bare, 1, case.executions, _bare))
    return Figures(
        statistics.median(latencies), statistics.median(bare), {"p99_ms": figures.percentile(latencies, 0.99)}
    )


def _fill(door: Door) -> None:
    """Copy an execution until there are a million."""
    _deliveries(door, "accept", 1, 1, f"f{time.monotonic_ns()}")
    while door.unended():
        time.sleep(0.01)
    connection = open_database(from_environment(door.around)).connect()
    try:
        rows = connection.run(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'execution'"
        )
        kept = ", ".join(name for (name,) in rows if name not in ("id", "idempotency_key", "request_hash"))
        copied = f"SELECT 'exec_00' || lpad(n::text, 24, '0'), {kept}"
        connection.begin()
        connection.run(
            f"INSERT INTO execution (id, {kept}) {copied} "  # noqa: S608
            "FROM (SELECT * FROM execution ORDER BY id LIMIT 1) e, generate_series(1, CAST(? AS integer)) n",
            (ROWS,),
        )
        connection.commit()
        connection.run("ANALYZE execution")
    finally:
        connection.close()


_MEASURES: dict[str, Callable[[Door, Case, int], Figures]] = {
    "door-accept": _accepted,
    "door-answer": _answered,
    "door-answer-idle": _answered_alone,
    "door-health": _health,
    "door-reads": _reads,
    "door-sockets": _sockets,
    "door-page": _page,
}
