"""What every node type promises, put to the test: its declaration, its schemas, its effect, its silence about secrets,
and that it can be stopped.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel

from celeriac.connections import secrets_of
from celeriac.contract import EXPRESSION, RENDERED, Effect, NodeType
from celeriac.outcomes import Json, TryAgain
from celeriac.passages import Passages
from celeriac.testing.calls import Answers, Connections, OpenLink, Outcome, run_node

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[_.][a-z0-9]+)*")
_PORT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_TURNS = 50
"""Turns of the event loop in which a node that has asked begins to wait for the answer."""
_PATIENCE = 5.0

_SUCCESS = ("output", "route", "wait", "emit", "exit", "respond", "call")


@dataclass(frozen=True, slots=True)
class World:
    """A config that succeeds (or `fails` with a code, where that is what the node is for), and the world it succeeds in.

    `types` are the node types that it may use on its way, `collections` those it has texts in, `agreed` is what people have
    agreed to before, and `answers` are what its calls and questions come to.

    `effects` counts what the world has seen of the node's effect, for node types that have one. `secrets` must not be in
    anything the node gives back; those of the connections' fields are added.
    """

    config: Mapping[str, Json]
    http: Any = None
    connections: Connections = field(default_factory=dict)
    types: Mapping[str, NodeType] = field(default_factory=dict)
    collections: Mapping[str, Passages] = field(default_factory=dict)
    agreed: Collection[Json] = ()
    answers: Answers = field(default_factory=dict)
    effects: Callable[[], int] | None = None
    secrets: Collection[str] = ()
    fails: str | None = None
    key: str = "conformance"
    """The idempotency key of its calls."""

    async def run(
        self, node_type: NodeType, key: str = "", kept: Mapping[str, Json] | None = None
    ) -> Outcome:
        """Call the node once, with what earlier executions have `kept`."""
        return await run_node(
            node_type,
            self.config,
            http=self.http,
            connections=self.connections,
            types=self.types,
            collections=self.collections,
            agreed=self.agreed,
            answers=self.answers,
            idempotency_key=key or self.key,
            kept=kept,
        )


async def conform(node_type: NodeType, world: World) -> list[str]:
    """Return what a node type does not keep of its promises; nothing is the good answer.

    It is called several times; each effect in `world` happens, and is counted, as often as its class says.
    """
    wrong = [*_declaration(node_type), *_output_schema(node_type)]
    if wrong:
        return wrong
    first = await world.run(node_type)
    if world.fails is not None:
        return [] if first.code == world.fails else [f"run: it fails with {first.code}, not {world.fails}"]
    if first.kind not in _SUCCESS:
        return [f"run: it does not succeed: {first.code}: {first.error and first.error.message}"]
    wrong += _fits(node_type, world.config, first)
    wrong += await _strictness(node_type, world)
    wrong += await _effect(node_type, world, first)
    wrong += _silence(first, _secrets(world))
    if first.kept:
        wrong += await _again(node_type, world, first)
    if inspect.iscoroutinefunction(node_type.run):
        wrong += await _stops(node_type, world)
        wrong += await _lost(node_type, world)
    return wrong


def _declaration(node_type: NodeType) -> list[str]:
    wrong = []
    if not _NAME.fullmatch(node_type.name):
        wrong.append(f"name: {node_type.name!r} is not in lower case with _ or . between words")
    if not node_type.summary.endswith("."):
        wrong.append("summary: the function's docstring is no sentence that says what the node does")
    if node_type.timeout <= 0:
        wrong.append("timeout: it is no time")
    schema = node_type.config_schema()
    if schema.get("additionalProperties") is not False:
        wrong.append('config: unknown fields are let in; declare the model with extra="forbid"')
    for name, each in schema.get("properties", {}).items():
        if not each.get("description"):
            wrong.append(f"config: the field {name} has no description")
    return wrong


def _output_schema(node_type: NodeType) -> list[str]:
    import jsonschema_rs

    if node_type.output is None and node_type.waits:
        return []  # what ends the wait says what it comes to
    if node_type.output is None:
        return ["output: it declares no schema of what it returns"]
    try:
        jsonschema_rs.meta.validate(_plain(node_type.output))
    except (jsonschema_rs.ValidationError, ValueError) as error:
        return [f"output: its schema is none: {error}"]
    return []


def _fits(node_type: NodeType, config: Mapping[str, Json], outcome: Outcome) -> list[str]:
    """Compare what came with what was declared. Waits and calls come to something later, and elsewhere."""
    import jsonschema_rs

    wrong = [
        f"ports: {port!r} is no name of a port"
        for port in node_type.ports_of(config)
        if not _PORT.fullmatch(port)
    ]
    if outcome.kind in ("output", "route") and node_type.output is not None:
        schema = _plain(node_type.output)
        try:
            jsonschema_rs.validate(schema, outcome.value)
        except jsonschema_rs.ValidationError as error:
            wrong.append(f"output: what it returned does not fit its schema: {error.message}")
    return wrong


def _plain(schema: Mapping[str, Json]) -> dict[str, Json]:
    return {name: each for name, each in schema.items() if name not in (EXPRESSION, RENDERED)}


async def _strictness(node_type: NodeType, world: World) -> list[str]:
    odd = replace(world, config={**world.config, "no_such_field": 1})
    outcome = await odd.run(node_type)
    if outcome.code != "node.config_invalid":
        return ["config: an unknown field is not refused"]
    return []


async def _effect(node_type: NodeType, world: World, first: Outcome) -> list[str]:
    effect = node_type.effect_of(world.config)
    if effect is Effect.NONE:
        again = await world.run(node_type)
        if world.http is not None or world.connections:
            return ["effect: it is declared without one, and its world has a way out"]
        return [] if _same(first, again) else ["effect: none is declared, and a second run comes to another"]
    if effect is Effect.READ:
        before = world.effects() if world.effects else 0
        again = await world.run(node_type, "another")
        after = world.effects() if world.effects else 0
        if again.kind not in _SUCCESS:
            return [f"effect: reading a second time does not succeed: {again.code}"]
        return [] if before == after == 0 else ["effect: it is declared to read, and changes the world"]
    if first.kind == "emit":
        return []  # the engine's own effect, which it does once a key
    if world.effects is None:
        return ["effect: its world cannot count what it does; give it `effects`"]
    if world.effects() != 1:
        return [f"effect: one run does it {world.effects()} times"]
    if effect is Effect.ONCE:
        return []
    again = await world.run(node_type)
    if world.effects() != 1:
        return ["effect: it is declared as keyed, and a second run with the same key does it again"]
    return [] if again.kind in _SUCCESS else [f"effect: the second run does not succeed: {again.code}"]


def _same(one: Outcome, other: Outcome) -> bool:
    return (one.kind, one.value, one.ports, one.until) == (other.kind, other.value, other.ports, other.until)


def _secrets(world: World) -> frozenset[str]:
    found = set(world.secrets)
    for each in world.connections.values():
        fields = getattr(each, "fields", None)
        if isinstance(fields, BaseModel):
            found |= secrets_of(fields)
    return frozenset(found)


async def _again(node_type: NodeType, world: World, first: Outcome) -> list[str]:
    """Run it with what the first run has kept, in an execution of its own."""
    again = await world.run(node_type, "later", first.kept)
    if again.kind not in _SUCCESS:
        return [f"cache: with what it has kept it does not succeed: {again.code}"]
    return [*_fits(node_type, world.config, again), *_silence(again, _secrets(world))]


def _silence(outcome: Outcome, secrets: Collection[str]) -> list[str]:
    lines = [[each.message, each.fields] for each in outcome.lines]
    error = None if outcome.error is None else outcome.error.to_json()
    told = json.dumps([outcome.value, lines, error, outcome.steps, outcome.kept], ensure_ascii=False)
    return ["secrets: one is in what it gives back"] if any(each in told for each in secrets) else []


async def _stops(node_type: NodeType, world: World) -> list[str]:
    """Let nobody answer, and see that the node can be stopped while it waits."""
    wrong = []
    with _unanswered(world, _for_ever, hangs_up=False) as (silent, asked):
        running = asyncio.ensure_future(silent.run(node_type))
        await _until(asked, running)
        if not asked.is_set():
            running.cancel()
            await asyncio.wait([running])
            return []  # it asks nobody
        running.cancel()
        await asyncio.wait([running], timeout=_PATIENCE)
        if not running.done():
            wrong.append("cancel: it does not stop when it is told to")
        elif not running.cancelled():
            wrong.append("cancel: it takes being stopped for something else; let CancelledError pass")
    with _unanswered(world, _for_ever, hangs_up=False) as (silent, _):
        try:
            async with asyncio.timeout(0.01):
                await silent.run(node_type)
        except TimeoutError:
            pass
        else:
            wrong.append("timeout: it takes the end of its time for something else")
    return wrong


async def _lost(node_type: NodeType, world: World) -> list[str]:
    """Let every answer get lost, and see what the node makes of it."""
    effect = node_type.effect_of(world.config)
    with _unanswered(world, _broken, hangs_up=True) as (broken, asked):
        outcome = await broken.run(node_type)
        if not asked.is_set():
            return []
    allowed = {"try_again"} if effect is not Effect.ONCE else set()
    if effect is Effect.ONCE:
        # What it did not foresee leaves its effect in doubt, which is where it belongs.
        allowed = (
            {"uncertain", "crashed"} if world.http is not None else {"uncertain", "crashed", "try_again"}
        )
    if outcome.kind not in allowed:
        return [f"effect: {effect} is declared, and a lost answer comes to {outcome.kind} ({outcome.code})"]
    return []


async def _until(asked: asyncio.Event, running: asyncio.Future[Outcome]) -> None:
    """Wait until the node has asked somebody, and for some turns more, or until it has ended."""
    asking = asyncio.ensure_future(asked.wait())
    both: list[asyncio.Future[Any]] = [running, asking]
    await asyncio.wait(both, timeout=_PATIENCE, return_when="FIRST_COMPLETED")
    asking.cancel()
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def _for_ever(_: object) -> Any:
    await asyncio.Event().wait()


async def _broken(request: object) -> Any:
    import httpx2

    raise httpx2.ReadError("The connection was reset.", request=request)  # type: ignore[arg-type]  # it is one


@contextmanager
def _unanswered(
    world: World, answer: Callable[[object], Awaitable[Any]], *, hangs_up: bool
) -> Iterator[tuple[World, asyncio.Event]]:
    """Hand over a world whose HTTP servers answer like this, and whose other servers accept and say nothing, or hang up."""
    import httpx2

    asked = asyncio.Event()
    kept: list[socket.socket] = []

    async def handle(request: httpx2.Request) -> httpx2.Response:
        asked.set()
        response: httpx2.Response = await answer(request)
        return response

    class Mute(OpenLink):
        """Leads to somebody who says nothing."""

        async def dial(self, _: str, __: int) -> socket.socket:
            asked.set()
            with socket.create_server(("127.0.0.1", 0)) as server:
                made = socket.create_connection(server.getsockname())
                other = server.accept()[0]
            made.setblocking(False)
            if hangs_up:
                other.close()
            else:
                kept.append(other)
            return made

        async def addresses(self, host: str, port: int) -> list[str]:
            asked.set()
            if hangs_up:
                raise TryAgain("connection.unreachable", f"{host}:{port} cannot be reached.")
            await _for_ever(None)
            return []

    def client() -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(handle))

    def silenced(link: Any) -> Any:
        return client() if hasattr(link, "request") else Mute(link.kind, link.fields, client())

    connections = {name: silenced(each) for name, each in world.connections.items()}
    try:
        yield (
            replace(world, http=None if world.http is None else client(), connections=connections),
            asked,
        )
    finally:
        for each in kept:
            each.close()
