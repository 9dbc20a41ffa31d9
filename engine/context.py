"""The engine's side of the node contract: what one call may use."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from celeriac import (
    Call,
    Effect,
    Emit,
    Exit,
    Fail,
    Json,
    Link,
    NodeType,
    OnDecision,
    Respond,
    Route,
    Wait,
)
from celeriac.cache import Cache
from celeriac.passages import Passages
from celeriac.usage import Model, Usage
from engine import inquiries
from engine.cache import Log
from engine.encoding import storable
from engine.outside.scrub import scrub
from engine.programs import validated
from engine.pulse import Pulse
from engine.speech import Speak, Speech
from engine.taint import trusted_fields

if TYPE_CHECKING:
    import httpx2


T = TypeVar("T")


def idempotency_key(execution: str, node: str, item: str, step: str = "") -> str:
    """Return the key of one effect: the same on every try, and on no other effect. No attempt, no fence and no time in it."""
    text = f"{execution}\x1f{node}\x1f{item}\x1f{step}"
    return base64.b32encode(hashlib.sha256(text.encode()).digest()[:20]).decode().lower()


class Surroundings(Protocol):
    """What a call reaches out through; the same for all calls of a process."""

    def client(self) -> httpx2.AsyncClient:
        """Return the guarded HTTP client."""

    async def connect(self, project: str, name: str, kinds: tuple[str, ...]) -> tuple[Link, Collection[str]]:
        """Open a connection of a project; also return the texts that must not appear in any output."""


HEARTBEAT = "@heartbeat"
"""The step under which the journal keeps the details of a node's last heartbeat."""

Beat = Callable[[Json], Awaitable[None]]
"""Keeps the details of a heartbeat."""

StepJournal = Callable[[str, Effect, str, Callable[[str], Awaitable[Json]]], Awaitable[Json]]
"""Runs one memoised sub-step: (name, effect, key, call) to its result."""


class Purse(Protocol):
    """Pays for calls of models, and asks budgets before."""

    async def model(self, name: str) -> Model | None:
        """Return what the deployment has entered of a model."""

    def allow(self, usd: float | None, tokens: int | None) -> None:
        """Limit what it pays for."""

    async def pay(
        self, provider: str, model: str, most: Usage, call: Callable[[], Awaitable[tuple[T, Usage]]]
    ) -> T:
        """Do a call, and note what it used. Raises `Fail` (`budget.*`)."""

    def spared(self, provider: str, model: str) -> None:
        """Note a call that was not made."""


class Inside(Protocol):
    """What a node may do on its way besides its own work."""

    def call(self, name: str, call: Call, seconds: float | None) -> Json:
        """Return what a call has come to, or raise what makes it."""

    def type(self, reference: str) -> NodeType:
        """Return a node type by its name."""

    def mistakes(self, definition: Json) -> list[dict[str, Json]]:
        """Return what is wrong with a definition."""

    def collection(self, name: str) -> Passages:
        """Return a collection of texts."""

    def cache(self, seconds: float, log: Log, secrets: Callable[[], Collection[str]]) -> Cache:
        """Return what nodes of the project keep for so long."""

    async def agreed(self, shown: Json) -> bool:
        """Return whether people have agreed to exactly this."""

    async def keep(self, definition: Json) -> str:
        """Save a definition, and return the name to call it by."""


class NodeContext:
    """What the engine hands to a node's function."""

    __slots__ = (
        "_around",
        "_beat",
        "_inside",
        "_prefix",
        "_purse",
        "_ready_at",
        "_secrets",
        "_speak",
        "_step",
        "attempt",
        "execution_id",
        "item",
        "last_heartbeat",
        "lines",
        "log_limit",
        "node_id",
        "project",
        "pulse",
    )

    def __init__(
        self,
        execution_id: str,
        node_id: str,
        item: str,
        attempt: int,
        ready_at: int,
        project: str,
        around: Surroundings | None,
        step: StepJournal | None,
        log_limit: int,
        last_heartbeat: Json = None,
        pulse: Pulse | None = None,
        beat: Beat | None = None,
        purse: Purse | None = None,
        inside: Inside | None = None,
        prefix: str = "",
        speak: Speak | None = None,
    ) -> None:
        self.execution_id = execution_id
        self.node_id = node_id
        self.item = item
        self.attempt = attempt
        self.project = project
        self._secrets: list[Collection[str]] = []
        self.lines: list[tuple[str, str, dict[str, Json]]] = []
        self.log_limit = log_limit
        self._ready_at = ready_at
        self._around = around
        self._step = step
        self.last_heartbeat = last_heartbeat
        self.pulse = pulse or Pulse()
        self._beat = beat or _unheard
        self._purse = purse
        self._inside = inside
        self._prefix = prefix
        self._speak = speak

    @property
    def secrets(self) -> frozenset[str]:
        """What must not get into any output: of the connections that were opened, as it is by now."""
        return frozenset().union(*self._secrets)

    @property
    def idempotency_key(self) -> str:
        """The key of this call's own effect."""
        return idempotency_key(self.execution_id, self.node_id, self.item, self._prefix)

    @property
    def http(self) -> httpx2.AsyncClient:
        """The guarded HTTP client."""
        return self._outside().client()

    async def connect(self, name: str, *kinds: str) -> Link:
        """Open a connection for this call."""
        link, secrets = await self._outside().connect(self.project, name, kinds)
        self._secrets.append(secrets)
        return link

    def log(self, message: str, level: str = "info", **fields: Json) -> None:
        """Keep a line for the execution's history; the last line says so when there are too many."""
        if len(self.lines) < self.log_limit:
            self.lines.append(
                (level, str(message), {name: storable(value) for name, value in fields.items()})
            )
        elif len(self.lines) == self.log_limit:
            self.lines.append(("warning", f"More than {self.log_limit} lines; the rest is not kept.", {}))

    def now(self) -> datetime:
        """The time the segment became ready."""
        return datetime.fromtimestamp(self._ready_at / 1000, UTC)

    def heartbeat(self, details: Json = None) -> Awaitable[None]:
        """Say that the call is alive. What is returned is there when the details are durable."""
        self.pulse.beat()
        return self._beat(scrub(details, self.secrets) if self.secrets else details)

    @contextmanager
    def speech(self, name: str, model: str) -> Iterator[Callable[[str], None]]:
        """Begin to say something whose whole is to come. Without anyone to tell it to, nothing is said."""
        if self._speak is None:
            yield lambda _: None
            return
        speech = self._speak(self._named(name), model, lambda: self.secrets)
        whole = False
        try:
            yield speech.say
            whole = True
        finally:
            speech.end(whole=whole)

    async def step(self, name: str, effect: Effect, call: Callable[[str], Awaitable[Json]]) -> Json:
        """Run a memoised sub-step. Its result is journaled, so the credentials of this call are taken out of it first."""
        if self._step is None:
            message = "A node that runs in a child process has no steps."
            raise Fail("node.no_steps", message)
        name = self._named(name)
        key = idempotency_key(self.execution_id, self.node_id, self.item, name)

        async def without_secrets(own_key: str) -> Json:
            return scrub(await call(own_key), self.secrets)

        return await self._step(name, effect, key, without_secrets)

    async def call(self, name: str, call: Call, seconds: float | None = None) -> Json:
        """Start another workflow as a step, and rest until it has ended."""
        return self._calling().call(self._named(name), replace(call, wait=True), seconds)

    async def ask(self, name: str, question: OnDecision, seconds: float | None = None) -> Json:
        """Ask people as a step, and rest until they have decided."""
        return await self.call(name, inquiries.question(question, seconds))

    def effect(self, node_type: str, config: Mapping[str, Json]) -> Effect:
        """Return the effect that a node of another type would have."""
        return self._calling().type(node_type).effect_of(config)

    def mistakes(self, definition: Json) -> list[dict[str, Json]]:
        """Return what is wrong with a definition."""
        return self._calling().mistakes(definition)

    async def agreed(self, shown: Json) -> bool:
        """Return whether people have agreed to exactly this in this execution."""
        return await self._calling().agreed(shown)

    async def keep(self, definition: Json) -> str:
        """Save a definition in no list, and return the name to call it by."""
        return await self._calling().keep(definition)

    def trusted(self, node_type: str) -> Collection[str]:
        """Return the fields of a node type's config that nothing foreign may choose."""
        return trusted_fields(self._calling().type(node_type)).keys()

    def collection(self, name: str) -> Passages:
        """Return a collection of texts of the project."""
        return self._calling().collection(name)

    def cache(self, seconds: float) -> Cache:
        """Return what nodes of the project keep for so long."""
        return self._calling().cache(seconds, self.log, lambda: self.secrets)

    def allow(self, usd: float | None, tokens: int | None) -> None:
        """Limit what this node run may spend on models."""
        self._paying().allow(usd, tokens)

    async def use(
        self, name: str, node_type: str, config: Mapping[str, Json], foreign: Collection[str] = ()
    ) -> Json:
        """Do what a node of another type would do, as a step."""
        found = self._calling().type(node_type)
        if chosen := sorted(set(foreign) & trusted_fields(found).keys()):
            message = f"The field {chosen[0]} of {found.key} decides where something goes or in whose name; nothing foreign may."
            raise Fail("taint.field", message, {"field": chosen[0], "type": found.key})
        if found.waits or found.process or found.calls:
            message = f"The node type {found.key} waits, or needs a process of its own; a workflow around it can be called."
            raise Fail("node.not_usable", message)
        model = validated(self.node_id, found, dict(config))
        inner = NodeContext(
            self.execution_id,
            self.node_id,
            self.item,
            self.attempt,
            self._ready_at,
            self.project,
            self._around,
            self._step,
            self.log_limit,
            pulse=self.pulse,
            purse=self._purse,
            inside=self._inside,
            prefix=self._named(name),
            speak=None if self._speak is None else self._spoken_inside,
        )
        inner.lines = self.lines

        async def run(_: str) -> Json:
            result = found.run(model, inner)
            if isinstance(result, Awaitable):
                async with asyncio.timeout(found.timeout):
                    result = await result
            self._secrets += inner._secrets
            return _value(result, found)

        return await self.step(name, found.effect_of(config), run)

    def _spoken_inside(self, name: str, model: str, secrets: Callable[[], Collection[str]]) -> Speech:
        """Begin a speech of a node that this one uses, whose secrets it has to keep as well."""
        assert self._speak is not None  # noqa: S101  who has nobody to tell does not hand this on
        return self._speak(name, model, lambda: self.secrets.union(secrets()))

    def _named(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _calling(self) -> Inside:
        if self._inside is None:
            message = "A node that is declared without an effect or runs in a child process calls and keeps nothing."
            raise Fail("node.no_steps", message)
        return self._inside

    async def pay(
        self, provider: str, model: str, most: Usage, call: Callable[[], Awaitable[tuple[T, Usage]]]
    ) -> T:
        """Do a call of a model that costs money, and note what it used."""
        return await self._paying().pay(provider, model, most, call)

    def spared(self, provider: str, model: str) -> None:
        """Note a call of a model that was not made, since its answer was kept."""
        self._paying().spared(provider, model)

    async def model(self, name: str) -> Model | None:
        """Return what the deployment has entered of a model."""
        return await self._paying().model(name)

    def _paying(self) -> Purse:
        if self._purse is None:
            message = "A node that is declared without an effect or runs in a child process asks no models."
            raise Fail("node.no_steps", message)
        return self._purse

    def _outside(self) -> Surroundings:
        if self._around is None:
            message = (
                "This node is declared without an effect or runs in a child process, so it has no way out."
            )
            raise Fail("egress.no_way_out", message)
        return self._around


def _value(result: object, node_type: NodeType) -> Json:
    """Return what a used node came to. Raises `Fail` for what only a node of its own may return."""
    if isinstance(result, Route):
        return result.value
    if isinstance(result, (Wait, Call, Emit, Exit, Respond)):
        message = f"The node type {node_type.key} returns {type(result).__name__}, which only a node of its own may."
        raise Fail("node.not_usable", message)
    return result  # type: ignore[return-value]  # what is no JSON is refused when it is journaled


async def _unheard(_: Json) -> None:
    """Keep nothing: a call that is not tried again has nobody to hand details to."""
