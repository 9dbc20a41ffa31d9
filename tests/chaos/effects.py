"""`python -m tests.chaos --nodes`: each node type with an effect is done by a real worker that is killed at the worst moments,
and by another one after it. Prints what became of the effect: done once, or uncertain, which a person decides. Nothing else may.

The three moments: before the request of the effect leaves; after the other side has done it and before its answer is there;
after the answer and before anything of it is durable. The worlds are those of the conformance suite.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import pytest
from pydantic import SecretStr

from celeriac import Effect, Json
from celeriac.testing import World
from engine.declared.models import values_of
from engine.registry import Registry
from tests import servers
from tests.builders import Client, Process, celery_worker, environment, is_ready, prepared
from tests.conformance.worlds import WORLDS, Make, Town
from tests.loopback import Handler, Server, serving
from tests.mariadb import Mariadb, no_mariadb

BEFORE_REQUEST, BEFORE_ANSWER, BEFORE_COMMIT = "before the request", "before its answer", "before the commit"
KILLS: Final = (BEFORE_REQUEST, BEFORE_ANSWER, BEFORE_COMMIT)
_FAILPOINTS = {BEFORE_REQUEST: "effect.before=kill", BEFORE_COMMIT: "effect.after=kill"}
ONCE, UNCERTAIN = "done once", "uncertain"
ALLOWED: Final = {Effect.KEYED: {ONCE}, Effect.ONCE: {ONCE, UNCERTAIN}}
_LONGEST = 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """A node type with an effect, in one of its worlds."""

    type: str
    make: Make
    label: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a case at one moment."""

    name: str
    effect: Effect
    kill: str
    outcome: str

    @property
    def is_good(self) -> bool:
        """Whether that is what its effect promises."""
        return self.outcome in ALLOWED[self.effect]


@dataclass(slots=True)
class Toll:
    """A port that leads to a server. When the server has done the effect, `done` is called, and what it says comes to nobody."""

    port: int
    server: asyncio.Server
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@asynccontextmanager
async def toll(port: int, is_done: Callable[[], bool], done: Callable[[], None]) -> AsyncIterator[Toll]:
    """A way to a port of this machine for the block."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, out: bool) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(65536):
                if not out and is_done():
                    done()
                    break
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(pump(reader, back, out=True), pump(there, writer, out=False))

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.tasks.add(asyncio.ensure_future(converse(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    made = Toll(server.sockets[0].getsockname()[1], server)
    try:
        yield made
    finally:
        server.close()
        for each in made.tasks:
            each.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)


class Fixtures:
    """The servers that worlds ask pytest for, outside of it."""

    def __init__(self, stack: AsyncExitStack, postgres: servers.Postgres, mariadb: Mariadb | None) -> None:
        self._stack = stack
        self._shared = {"postgres": postgres, "mariadb": mariadb}

    def getfixturevalue(self, name: str) -> Any:
        """Return a server: databases are shared, a Valkey is the world's own."""
        if name == "valkey":
            made = servers.start_valkey()
            self._stack.callback(made.stop)
            return made
        if (found := self._shared.get(name)) is None:
            pytest.skip(no_mariadb() or f"there is no {name}")
        return found


class ServingTown(Town):
    """A town whose servers are those of the suite."""

    async def serve(self, handler: Handler) -> Server:
        """Start a server."""
        return await self.stack.enter_async_context(serving(handler))


class Grounds:
    """An installation without workers: broker, database, and who accepts."""

    def __init__(
        self, folder: Path, broker: str, postgres: servers.Postgres, mariadb: Mariadb | None
    ) -> None:
        self.folder = folder
        self.around = environment(folder, broker)
        settings = prepared(self.around)
        self.client = Client(settings)
        self.registry = Registry.load(["nodes"])
        self.postgres = postgres
        self.mariadb = mariadb
        self.making = asyncio.Lock()
        self._count = 0

    def number(self) -> int:
        """A number that nothing else here has."""
        self._count += 1
        return self._count

    def worker(self, queue: str, name: str, **more: str) -> Process:
        """Start a worker of one queue."""
        return celery_worker({**self.around, **more}, self.folder / f"{name}.log", queue, name)


OWN: Final = frozenset({"emit", "playbook_run"})
"""Their effect is a row of the engine's own, in the transaction of the node's end, or of its call: there is no moment between
the two. What the steps of a playbook do, they do as nodes of another execution."""


def cases(registry: Registry) -> list[Case]:
    """Return each node type that may have an effect outside, in each of its worlds."""
    return [
        Case(name, make)
        for name, makes in sorted(WORLDS.items())
        if registry.get(name).effect not in (Effect.NONE, Effect.READ) and name not in OWN
        for make in makes
    ]


async def endure(grounds: Grounds, case: Case, kill: str) -> Row | None:
    """Have a worker do the node and die at that moment, and another one after it; None for a world that is not for this."""
    async with AsyncExitStack() as stack:
        fixtures = Fixtures(stack, grounds.postgres, grounds.mariadb)
        try:
            async with grounds.making:  # a world may migrate a database, one at a time
                world = await case.make(ServingTown(stack, cast("Any", fixtures)))
        except pytest.skip.Exception:
            return None
        node_type = grounds.registry.get(case.type)
        effect = node_type.effect_of(world.config)
        if effect not in ALLOWED or world.fails or any(each.kind == "sqlite" for each in _links(world)):
            return None  # a file answers no requests: nothing comes between its change and its answer
        number = grounds.number()
        queue = f"lane{number}"
        config = {**world.config, **({"collection": queue} if case.type == "ai_index" else {})}
        count = _counter(grounds, case, world, queue)
        before = count()
        victim = grounds.worker(queue, f"victim{number}", **_armed(kill))
        stack.callback(_end, victim)

        def is_due() -> bool:
            return kill == BEFORE_ANSWER and victim.code is None and count() > before

        config = await _stored(grounds, stack, world, config, queue, is_due, victim.kill)
        await _until(lambda: is_ready(victim), "the worker")
        active = grounds.client.push(
            {
                "name": queue,
                "definition": {
                    "nodes": [{"id": "it", "type": case.type, "config": config, "queue": queue}],
                    "queue": queue,
                },
            }
        )
        execution = await asyncio.to_thread(grounds.client.start, active)
        if kill == BEFORE_ANSWER and case.type == "ai_index":
            await _until(lambda: count() > before, "the texts")
            victim.kill()
        await _until(lambda: victim.code is not None, f"the death of the worker at {case.type}")
        heir = grounds.worker(queue, f"heir{number}")
        stack.callback(_end, heir)
        outcome = await _outcome(grounds, execution, lambda: count() - before)
        return Row(f"{case.type}{_label(case, world)}", effect, kill, outcome)


def _armed(kill: str) -> dict[str, str]:
    rule = _FAILPOINTS.get(kill)
    return {"CELERIAC_TEST": "1", "CELERIAC_FAILPOINTS": rule} if rule else {}


def _end(process: Process) -> None:
    if process.code is None:
        process.kill()


def _links(world: World) -> list[Any]:
    found: Any = world.connections
    return list(found.values())


def _counter(grounds: Grounds, case: Case, world: World, collection: str) -> Callable[[], int]:
    if case.type == "ai_index":  # its effect is on the engine's own database
        sql = "SELECT count(*) FROM passage WHERE collection = ?"
        return lambda: int(grounds.client.query(sql, collection)[0][0])
    assert world.effects is not None
    return world.effects


async def _stored(
    grounds: Grounds,
    stack: AsyncExitStack,
    world: World,
    config: dict[str, Json],
    queue: str,
    is_done: Callable[[], bool],
    done: Callable[[], None],
) -> dict[str, Json]:
    """Store a world's connections, with a toll on the way to each server; return the config that leads there."""
    ways: dict[int, int] = {}

    async def led(value: Any) -> Any:
        text = json.dumps(value)
        for port in {
            *map(int, re.findall(r"127\.0\.0\.1:(\d+)", text)),
            *map(int, re.findall(r'"port": (\d+)', text)),
        }:
            if port not in ways:
                ways[port] = (await stack.enter_async_context(toll(port, is_done, done))).port
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{ways[port]}")
            text = text.replace(f'"port": {port}', f'"port": {ways[port]}')
        return json.loads(text)

    named: Any = world.connections
    defaults = grounds.registry
    renamed = {}
    for name, link in named.items():
        values = {key: _plain(each) for key, each in values_of(link.fields).items() if each is not None}
        renamed[name] = f"{name}_{queue}"
        kind = link.kind if link.kind in defaults.connections else name
        grounds.client.keep(renamed[name], kind, await led(values))
    config = {**config, **({"connection": renamed[next(iter(renamed))]} if renamed else {})}
    found: dict[str, Json] = await led(config)
    return found


def _plain(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _label(case: Case, world: World) -> str:
    """Return what tells a world from the others of its type."""
    words = [str(world.config[key]) for key in ("method", "command") if key in world.config]
    words += [each.kind for each in _links(world) if case.type.startswith("sql_")]
    words += [key for key in ("idempotent", "remember") if key in world.config]
    return f" ({', '.join(words)})" if words else ""


async def _outcome(grounds: Grounds, execution: str, effects: Callable[[], int]) -> str:
    """Wait until the execution has ended or rests uncertain; return what became of the effect."""
    sql = (
        "SELECT e.status, (SELECT count(*) FROM segment s WHERE s.execution_id = e.id AND s.status = 'uncertain') "
        "FROM execution e WHERE e.id = ?"
    )
    status, uncertain = "", 0

    def settled() -> bool:
        nonlocal status, uncertain
        ((status, uncertain),) = grounds.client.query(sql, execution)
        return bool(uncertain) or status in ("succeeded", "failed", "cancelled", "timed_out")

    await _until(settled, f"the end of {execution}")
    done = effects()
    if uncertain:
        return UNCERTAIN if done <= 1 else f"uncertain, and done {done} times"
    return ONCE if (status, done) == ("succeeded", 1) else f"{status}, and done {done} times"


async def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _LONGEST
    while not true():
        if time.monotonic() > deadline:
            message = f"not within {_LONGEST:g} s: {what}"
            raise AssertionError(message)
        await asyncio.sleep(0.005)


@contextmanager
def grounds() -> Iterator[Grounds]:
    """An installation for the block."""
    with tempfile.TemporaryDirectory(prefix="clre-", dir="/tmp") as folder:
        broker, postgres = servers.start_valkey(), servers.start_postgres()
        mariadb = Mariadb() if no_mariadb() is None else None
        try:
            made = Grounds(Path(folder), broker.url, postgres, mariadb)
            try:
                yield made
            finally:
                made.client.close()
        finally:
            for each in (broker, postgres, mariadb):
                if each is not None:
                    each.stop()


async def endure_all(
    at: Grounds, chosen: Iterable[Case], lanes: int, tell: Callable[[Row], None]
) -> list[Row]:
    """Put each case through each kill, some side by side."""
    slots = asyncio.Semaphore(lanes)
    rows: list[Row] = []

    async def one(case: Case, kill: str) -> None:
        async with slots:
            if (row := await endure(at, case, kill)) is not None:
                rows.append(row)
                tell(row)

    async with asyncio.TaskGroup() as group:
        for case in chosen:
            for kill in KILLS:
                group.create_task(one(case, kill))
    return rows


def table(rows: Iterable[Row]) -> str:
    """Return the outcomes, a line for each node type and a column for each moment."""
    by_name: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_name.setdefault(row.name, {})[row.kill] = row
    lines = [["node type", "effect", *(f"killed {each}" for each in KILLS)]]
    for name in sorted(by_name):
        found = by_name[name]
        cells = [
            "-" if kill not in found else found[kill].outcome + ("" if found[kill].is_good else "  <- WRONG")
            for kill in KILLS
        ]
        lines.append([name, str(next(iter(found.values())).effect), *cells])
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def main(lanes: int = 3) -> int:
    """Put everything through it; print the table, and return the exit code."""
    began = time.monotonic()
    with grounds() as at:

        def tell(row: Row) -> None:
            print(f"  {row.name}, killed {row.kill}: {row.outcome}", flush=True)

        rows = asyncio.run(endure_all(at, cases(at.registry), lanes, tell))
    wrong = [each for each in rows if not each.is_good]
    print(table(rows))
    print(
        f"{len(rows)} deaths in {time.monotonic() - began:.0f} s; done once or uncertain: all but {len(wrong)}"
    )
    return 1 if wrong else 0
