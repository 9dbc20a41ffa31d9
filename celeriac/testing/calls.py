"""One call of one node, and what it came to, in the engine's own words."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from inspect import isawaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from celeriac.answers import flaw
from celeriac.cache import Cache
from celeriac.connections import Link, Program
from celeriac.contract import TRUSTED, Effect, NodeType
from celeriac.outcomes import (
    Call,
    Emit,
    Exit,
    Fail,
    Json,
    NodeError,
    OnDecision,
    Respond,
    Route,
    TryAgain,
    Uncertain,
    Wait,
)
from celeriac.passages import Passages
from celeriac.usage import Model, Usage

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

Kind = Literal[
    "output",
    "route",
    "wait",
    "emit",
    "exit",
    "respond",
    "call",
    "failed",
    "try_again",
    "uncertain",
    "crashed",
]

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

Connections = Mapping[str, "httpx2.AsyncClient | Link"]
"""What a node may connect to, by name."""

Answers = Mapping[str, "Json | Exception | Callable[[str], Json]"]
"""What calls and questions come to, by the names of their steps: a value, an error, or a function of the step's key."""

DEFAULT_NOW = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """One line that the node logged."""

    level: str
    message: str
    fields: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Paid:
    """One call of a model, and what it used: of a call whose answer got lost, the most that it may have."""

    provider: str
    model: str
    usage: Usage
    cached: bool = False
    """Whether nothing was paid, since the answer was kept before."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the node has said on its way to a whole, piece by piece. `whole` is false where it was to be forgotten."""

    name: str
    model: str
    pieces: tuple[str, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one call came to.

    - `output`, `route`, `wait`, `emit`, `exit`, `respond` succeeded: `value`, and `ports`, or `until` (milliseconds since the
      epoch) and the whole `wait`, or the event in `emit`, or the `scope` that ends; of an answer `value` is all of it.
    - `call` wants another workflow to be started: the `call` itself, and as `value` what that starts with.
    - `failed`, `try_again`, `uncertain`, `crashed` did not: `error`, which may bear `retry_after` (seconds).

    `steps` are the results of the sub-steps that were done, by name; `paid` are the calls of models, `heartbeats` the
    details that were sent, `said` is what was said before it was whole, `kept` what was kept for later executions, by key.
    """

    kind: Kind
    value: Json = None
    ports: tuple[str, ...] = ("out",)
    until: int | None = None
    call: Call | None = None
    wait: Wait | None = None
    emit: Emit | None = None
    error: NodeError | None = None
    lines: tuple[Line, ...] = ()
    steps: dict[str, Json] = field(default_factory=dict)
    scope: str | None = None
    paid: tuple[Paid, ...] = ()
    heartbeats: tuple[Json, ...] = ()
    said: tuple[Said, ...] = ()
    kept: dict[str, Json] = field(default_factory=dict)

    @property
    def code(self) -> str | None:
        """The error's code, if there is an error."""
        return None if self.error is None else self.error.code


async def run_node(
    node_type: NodeType,
    config: Mapping[str, Json],
    *,
    http: httpx2.AsyncClient | None = None,
    connections: Connections | None = None,
    now: datetime = DEFAULT_NOW,
    idempotency_key: str = "test-key",
    attempt: int = 1,
    item: str = "",
    steps: Mapping[str, Json] | None = None,
    models: Mapping[str, Model] | None = None,
    answers: Answers | None = None,
    types: Mapping[str, NodeType] | None = None,
    collections: Mapping[str, Passages] | None = None,
    last_heartbeat: Json = None,
    agreed: Collection[Json] = (),
    kept: Mapping[str, Json] | None = None,
) -> Outcome:
    """Call a node once with a rendered config, and return what the call came to. Raises nothing for a node's
    failure.

    `connections` are clients, or whole links, by the names that the node may connect to. `steps` are in the journal already:
    the node gets these results, as it does when it is called again after a crash. `models` are those that a deployment has
    entered.
    `answers` are what calls and questions come to, by the names of these steps; `types` are the node types that it may use,
    `collections` those it has texts in; `agreed` is what people have agreed to before, `kept` what
    earlier executions have kept, by key.
    """
    context = _Context(
        http,
        connections or {},
        now,
        idempotency_key,
        attempt,
        item,
        done=steps or {},
        models=models or {},
        answers=answers or {},
        types=types or {},
        collections=collections or {},
        last_heartbeat=last_heartbeat,
        agreed=agreed,
        cached=kept or {},
    )
    try:
        model = _validated(node_type, config)
        result: object = node_type.run(model, context)
        if isawaitable(result):
            result = await result
        outcome = _accepted(result, node_type, config)
    except Exception as error:  # noqa: BLE001  whatever a node raises is that node's outcome
        outcome = _failed(error)
    return replace(
        outcome,
        lines=tuple(context.lines),
        steps=context.steps,
        paid=tuple(context.paid),
        heartbeats=tuple(context.heartbeats),
        said=tuple(context.said),
        kept=context.kept,
    )


@dataclass(slots=True)
class OpenLink:
    """An opened connection in a test: its fields are what the test says, and it dials whatever it is told to."""

    kind: str = ""
    fields: Any = None
    http: Any = None

    def file(self, name: str) -> Path:
        """Return the path itself."""
        return Path(name)

    async def dial(self, host: str, port: int) -> socket.socket:
        """Return a connected, non-blocking socket."""
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(made, (host, port))
        except OSError as error:
            made.close()
            raise TryAgain("connection.unreachable", f"{host}:{port} cannot be reached.") from error
        except BaseException:
            made.close()
            raise
        return made

    async def addresses(self, host: str, _: int) -> list[str]:
        """Return the host itself."""
        return [host]

    def program(self, name: str, values: Mapping[str, str]) -> AbstractAsyncContextManager[Program]:
        """Refuse: a test hands in a link of its own for that."""
        message = f"The node starts the program {name}. Hand a link to run_node whose `program` gives one."
        raise Fail("program.unknown", message, {"program": name, "values": list(values)})


class _Context:
    """The context of one call in a test."""

    def __init__(
        self,
        http: httpx2.AsyncClient | None,
        connections: Connections,
        now: datetime,
        idempotency_key: str,
        attempt: int,
        item: str,
        *,
        done: Mapping[str, Json],
        models: Mapping[str, Model],
        answers: Answers,
        types: Mapping[str, NodeType],
        collections: Mapping[str, Passages],
        last_heartbeat: Json,
        agreed: Collection[Json],
        cached: Mapping[str, Json],
    ) -> None:
        self.execution_id = "exec_test"
        self.node_id = "node"
        self.item = item
        self.attempt = attempt
        self.idempotency_key = idempotency_key
        self.last_heartbeat = last_heartbeat
        self.lines: list[Line] = []
        self.heartbeats: list[Json] = []
        self.steps: dict[str, Json] = {}
        self.paid: list[Paid] = []
        self.said: list[Said] = []
        self._done = done
        self._models = models
        self._answers = answers
        self._types = types
        self._collections = collections
        self._agreed = [json.dumps(each, sort_keys=True) for each in agreed]
        self.kept: dict[str, Json] = {}
        self._cached = cached
        self.asked: dict[str, str] = {}
        self.allowed: tuple[float | None, int | None] | None = None
        self._http = http
        self._connections = connections
        self._now = now

    @property
    def http(self) -> httpx2.AsyncClient:
        if self._http is None:
            raise Fail("egress.no_way_out", "The node asks for ctx.http. Hand a client to run_node: http=...")
        return self._http

    async def connect(self, name: str, *kinds: str) -> Link:
        if name not in self._connections:
            raise Fail(
                "connection.unknown",
                f"There is no connection {name!r}. Hand it to run_node: connections={{{name!r}: client}}.",
                {"connection": name},
            )
        found = self._connections[name]
        link: Link = OpenLink(http=found) if hasattr(found, "request") else found
        if kinds and link.kind and link.kind not in kinds:
            message = (
                f"The connection {name!r} is of the kind {link.kind}; the node takes {' or '.join(kinds)}."
            )
            raise Fail("connection.wrong_kind", message, {"connection": name})
        return link

    def log(self, message: str, level: str = "info", **fields: Json) -> None:
        self.lines.append(Line(level, message, fields))

    def now(self) -> datetime:
        return self._now

    def heartbeat(self, details: Json = None) -> Awaitable[None]:
        self.heartbeats.append(_json(details))
        return _at_once()

    async def step(self, name: str, _: Effect, call: Callable[[str], Awaitable[Json]]) -> Json:
        if name in self.steps:
            message = f"The step {name!r} was done already; a step's name is unique within a call."
            raise ValueError(message)
        done = name in self._done
        self.steps[name] = self._done[name] if done else _json(await call(f"{self.idempotency_key}:{name}"))
        return self.steps[name]

    async def call(self, name: str, call: Call, _: float | None = None) -> Json:
        self.asked[name] = call.workflow
        return self._answer(name)

    async def ask(self, name: str, question: OnDecision, _: float | None = None) -> Json:
        self.asked[name] = question.title
        return self._answer(name)

    def _answer(self, name: str) -> Json:
        if name not in self._answers:
            message = f"The node calls or asks as the step {name!r}. Say what comes of it: answers={{{name!r}: ...}}."
            raise Fail("workflow.unknown", message)
        found = self._answers[name]
        if isinstance(found, Exception):
            raise found
        return found(f"{self.idempotency_key}:{name}") if callable(found) else found

    def effect(self, node_type: str, config: Mapping[str, Json]) -> Effect:
        return self._type(node_type).effect_of(config)

    def mistakes(self, _: Json) -> list[dict[str, Json]]:
        """A test has no validation: what a node hands over counts as good."""
        return []

    async def agreed(self, shown: Json) -> bool:
        return json.dumps(shown, sort_keys=True) in self._agreed

    async def keep(self, _: Json) -> str:
        """A test saves nothing; what a call of it comes to stands among the answers."""
        return "@@kept"

    def trusted(self, node_type: str) -> Collection[str]:
        properties = self._type(node_type).config_schema().get("properties", {})
        return {name for name, each in properties.items() if TRUSTED in each or name == "connection"}

    def collection(self, name: str) -> Passages:
        if name not in self._collections:
            message = f"The node has texts in {name}. Hand a collection in: collections={{{name!r}: ...}}."
            raise Fail("collection.invalid", message)
        return self._collections[name]

    def cache(self, seconds: float) -> Cache:
        if seconds < 0.001:
            raise Fail("cache.invalid_ttl", f"The cache keeps nothing for {seconds:g} s: 1 ms is the least.")
        return _Cache(self._cached, self.kept, self.log)

    def allow(self, usd: float | None, tokens: int | None) -> None:
        self.allowed = (usd, tokens)

    def _type(self, node_type: str) -> NodeType:
        if node_type not in self._types:
            message = f"The node uses {node_type}. Hand it to run_node: types={{{node_type!r}: ...}}."
            raise Fail("node.unknown_type", message)
        return self._types[node_type]

    async def use(
        self, name: str, node_type: str, config: Mapping[str, Json], _: Collection[str] = ()
    ) -> Json:
        found = self._type(node_type)
        model = _validated(found, config)

        async def run(_: str) -> Json:
            result: Any = found.run(model, self)
            result = await result if isawaitable(result) else result
            return _json(result.value if isinstance(result, Route) else result)

        return await self.step(name, found.effect_of(config), run)

    @contextmanager
    def speech(self, name: str, model: str) -> Iterator[Callable[[str], None]]:
        pieces: list[str] = []
        whole = False
        try:
            yield pieces.append
            whole = True
        finally:
            self.said.append(Said(name, model, tuple(pieces), whole))

    async def model(self, name: str) -> Model | None:
        return self._models.get(name)

    async def pay(
        self, provider: str, model: str, most: Usage, call: Callable[[], Awaitable[tuple[T, Usage]]]
    ) -> T:
        try:
            found, used = await call()
        except Uncertain:
            self.paid.append(Paid(provider, model, most))
            raise
        self.paid.append(Paid(provider, model, used))
        return found

    def spared(self, provider: str, model: str) -> None:
        self.paid.append(Paid(provider, model, Usage(), cached=True))


@dataclass(frozen=True, slots=True)
class _Cache:
    """What earlier executions have kept, and what this call does. No time passes in a test, and there is room for all."""

    before: Mapping[str, Json]
    kept: dict[str, Json]
    log: Callable[..., None]

    async def recall(self, key: str) -> Json:
        return self.kept.get(key, self.before.get(key))

    async def keep(self, key: str, value: Json) -> bool:
        try:
            self.kept[key] = _json(value)
        except Fail as error:
            self.log(f"This is not kept in the cache: {error.message}", "warning", code=error.code)
            return False
        return True


async def _at_once() -> None:
    """Have nothing to wait for."""


def _validated(node_type: NodeType, config: Mapping[str, Json]) -> BaseModel:
    try:
        return node_type.config.model_validate(dict(config))
    except ValidationError as error:
        fields: list[Json] = [
            {"field": ".".join(map(str, each["loc"])), "message": each["msg"]}
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "config"
        message = f"The config is not what {node_type.name} takes: {place}: {first['msg']}."
        raise Fail("node.config_invalid", message, {"fields": fields}) from None


def _accepted(result: object, node_type: NodeType, config: Mapping[str, Json]) -> Outcome:
    """Return what a returned value comes to. Raises for what a node may not return."""
    if isinstance(result, Route):
        known = node_type.ports_of(config)
        stray = [port for port in result.ports if port not in known]
        if stray:
            message = (
                f"The node leaves through {', '.join(stray)}; its ports are {', '.join(known) or 'none'}."
            )
            raise Fail("node.unknown_port", message)
        return Outcome("route", _json(result.value), result.ports)
    if isinstance(result, Wait):
        if not node_type.waits:
            raise Fail("node.wait_undeclared", "The node returns Wait; declare it with waits=True.")
        return Outcome("wait", _json(result.value), until=result.until, wait=result)
    if isinstance(result, Emit):
        if node_type.effect_of(config) is Effect.NONE:
            raise Fail("node.emit_undeclared", "The node returns Emit; declare its effect: Effect.KEYED.")
        return Outcome("emit", _json(result.data), emit=result)
    if isinstance(result, Exit):
        if not node_type.waits:
            raise Fail("node.wait_undeclared", "The node returns Exit; declare it with waits=True.")
        return Outcome("exit", _json(result.value), scope=result.scope)
    if isinstance(result, Respond):
        if not node_type.waits:
            raise Fail("node.wait_undeclared", "The node returns Respond; declare it with waits=True.")
        if (reason := flaw(result.status, result.headers)) is not None:
            raise Fail("node.answer_invalid", reason)
        return Outcome("respond", _json(result.to_json()))
    if isinstance(result, Call):
        if not node_type.waits:
            raise Fail("node.wait_undeclared", "The node returns Call; declare it with waits=True.")
        return Outcome("call", _json(result.input), call=result)
    return Outcome("output", _json(result))


def _failed(error: Exception) -> Outcome:
    kinds = tuple(
        each.__name__ for each in type(error).__mro__ if issubclass(each, Exception) and each is not Exception
    )
    if isinstance(error, TryAgain):
        return Outcome(
            "try_again", error=NodeError(error.code, error.message, error.details, kinds, error.after)
        )
    if isinstance(error, Fail):
        return Outcome("failed", error=NodeError(error.code, error.message, error.details, kinds))
    if isinstance(error, Uncertain):
        return Outcome("uncertain", error=NodeError(error.code, error.message, error.details, kinds))
    return Outcome("crashed", error=NodeError("node.crashed", f"{type(error).__name__}: {error}", {}, kinds))


def _json(value: Any) -> Json:
    """Return the value as it is after storing. Raises `Fail` (`node.output_invalid`) for what is no JSON."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Fail("node.output_invalid", f"The output is not JSON: {error}.") from error
    if _NUL.search(text):
        raise Fail(
            "node.output_invalid", "The output holds the character NUL, which cannot be stored as text."
        )
    stored: Json = json.loads(text)
    return stored
