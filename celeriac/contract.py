"""The node contract: what a node type declares, and what it gets when it is called.

One file that declares one node type is a whole extension. The declaration is the schema: validation, rendering,
documentation and the editor read it, and nothing else has to be registered anywhere.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, WithJsonSchema

from celeriac.cache import Cache
from celeriac.connections import Link
from celeriac.models import model_of
from celeriac.outcomes import Call, Emit, Exit, Json, OnDecision, Respond, Route, TryAgain, Wait
from celeriac.passages import Passages
from celeriac.usage import Model, Usage

if TYPE_CHECKING:
    import httpx2


PaidT = TypeVar("PaidT")


class Effect(enum.StrEnum):
    """What a node type does to the world; it decides what is journaled and what may be repeated after a crash."""

    NONE = "none"
    """Computes only. Runs again freely; shares one journal row with its neighbours."""
    READ = "read"
    """Looks, changes nothing. Its outcome is durable before any later effect starts."""
    KEYED = "keyed"
    """Changes the world under an idempotency key that the receiver honours; repeated with the same key."""
    ONCE = "once"
    """Changes the world and cannot be repeated. Its intent is durable before the call; a lost outcome is *uncertain*."""


@dataclass(frozen=True, slots=True)
class Retry:
    """When and how often a failed attempt is made again. Durations are seconds.

    `on` selects errors by code (`http.timeout`, `http.*`), or by exception class; empty means every error that a node
    declares repeatable with `TryAgain`. `jitter` is the fraction of a delay that is drawn at random (0 to 1).
    """

    max_attempts: int = 1
    on: tuple[type[BaseException] | str, ...] = ()
    excluding: tuple[type[BaseException] | str, ...] = ()
    delay: float = 1.0
    backoff: Literal["constant", "linear", "exponential"] = "exponential"
    factor: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.1
    max_duration: float | None = None
    retry_after: bool = True


class Context(Protocol):
    """What one call of a node may use. There is no other way out of a node: no database, no engine, no environment."""

    @property
    def execution_id(self) -> str:
        """The execution this call belongs to."""

    @property
    def node_id(self) -> str:
        """The node's id in its definition."""

    @property
    def item(self) -> str:
        """The path of the item inside maps and loops; empty outside."""

    @property
    def attempt(self) -> int:
        """The author's attempts so far, this one included, from 1. A crash of the machine does not count."""

    @property
    def idempotency_key(self) -> str:
        """The same text on every try of this call, and on no other call."""

    @property
    def http(self) -> httpx2.AsyncClient:
        """An HTTP client behind the egress guard: no private address, no proxy of the environment, bounded answers."""

    async def connect(self, name: str, *kinds: str) -> Link:
        """Open the connection `name` for this call; it is one of these kinds, if any are named.

        Raises `Fail` (`connection.*`) when it is unknown, unusable or of another kind.
        """

    def log(self, message: str, level: str = "info", **fields: Json) -> None:
        """Write one line to the execution's history."""

    def now(self) -> datetime:
        """The time this call is deemed to happen at (UTC): the same on every replay."""

    @property
    def last_heartbeat(self) -> Json:
        """The details of the last heartbeat that the attempts before this one sent; None without any."""

    def heartbeat(self, details: Json = None) -> Awaitable[None]:
        """Say that the call is alive, and how far it is: `await ctx.heartbeat({"page": 7})`.

        When it returns the details are durable, and the next attempt finds them in `last_heartbeat`, whatever ended this one.
        It costs a commit: once a second is plenty. A plain function in a child process calls it without `await`.
        """

    async def step(self, name: str, effect: Effect, call: Callable[[str], Awaitable[Json]]) -> Json:
        """Do `call(idempotency_key)` at most once per outcome: a later try of the node gets the journaled result.

        `name` is unique within the call. For loops of paid or irreversible calls inside one node.
        """

    async def call(self, name: str, call: Call, seconds: float | None = None) -> Json:
        """Start another workflow as the step `name`, rest until it has ended, and get its result.

        While it runs nothing of this node does: it is called again afterwards, and comes here with all earlier steps in the
        journal. So nothing outside a step may be done twice. After `seconds` it is given up. Raises `Fail` (`workflow.*`).
        The node's type is declared with `calls=True`.
        """

    async def ask(self, name: str, question: OnDecision, seconds: float | None = None) -> Json:
        """Ask people as the step `name`, and rest until they have decided, as `call` does.

        Returns `{decision, by, votes}`; after `seconds` without enough voices the decision is `rejected`, by `time`.
        """

    async def use(
        self, name: str, node_type: str, config: Mapping[str, Json], foreign: Collection[str] = ()
    ) -> Json:
        """Do what a node of another type would do with this config, as the step `name`: with a key of its own, at most once.

        `foreign` are the fields whose values somebody else has chosen, a model say. Raises what it raises; `Fail`
        (`node.not_usable`) for a type that waits or needs a process of its own, (`taint.field`) for a foreign field that decides
        where something goes or in whose name.
        """

    def effect(self, node_type: str, config: Mapping[str, Json]) -> Effect:
        """Return the effect that a node of another type would have with this config. Raises `Fail` (`node.unknown_type`)."""

    def allow(self, usd: float | None, tokens: int | None) -> None:
        """Limit what this node run may spend on models, over all its attempts, before it pays for the first one."""

    def mistakes(self, definition: Json) -> list[dict[str, Json]]:
        """Return what is wrong with a definition, as validation tells it: `{pointer, code, message, hint}`, without warnings."""

    async def agreed(self, shown: Json) -> bool:
        """Whether people have agreed to exactly this in this execution.

        The last approval that showed it, or showed it as one member of what it showed, and that people decided with their
        voices, has approved. What time decided counts for nothing.
        """

    async def keep(self, definition: Json) -> str:
        """Save a definition with the version that is carried out, in no list, and return the name to call it by (`Call`).

        The same one is saved once. It has no mistakes.
        """

    def trusted(self, node_type: str) -> Collection[str]:
        """Return the fields of a node type's config that nothing foreign may choose. Raises `Fail` (`node.unknown_type`)."""

    def collection(self, name: str) -> Passages:
        """Return a collection of texts of the project. Raises `Fail` (`collection.invalid`) for what cannot be its name."""

    def cache(self, seconds: float) -> Cache:
        """Return what nodes of the project keep for later executions: nothing that is older than `seconds`, and for as long.

        It is asked, and something is kept, inside a `step`, so that a later try of the node goes on with what it got. Raises
        `Fail` (`cache.invalid_ttl`) when the deployment keeps nothing for so long.
        """

    def speech(self, name: str, model: str) -> AbstractContextManager[Callable[[str], None]]:
        """Begin to say something whose whole is to come: `with ctx.speech("answer", "gpt-4o") as say: say("Once ")`.

        Whoever follows the execution hears it in pieces, without the credentials of this call, under the `name` of the step it is
        for and the model that speaks. Nothing of it is kept, and any piece may be lost: what counts is the output. A block
        that is left by an exception says that what was said is to be forgotten.
        """

    async def model(self, name: str) -> Model | None:
        """Return what the deployment has entered of the model of this name, if it has."""

    async def pay(
        self, provider: str, model: str, most: Usage, call: Callable[[], Awaitable[tuple[PaidT, Usage]]]
    ) -> PaidT:
        """Do a call of a model that costs money, and note what it used; a budget that has not `most` left is asked before.

        One that raises `Uncertain` may have been paid for, and counts with `most`; one that raises anything else cost
        nothing. It remembers nothing: what is not to be paid twice is done inside a `step`.
        """

    def spared(self, provider: str, model: str) -> None:
        """Note a call of a model that was not made, since its answer was kept (`cache`). It cost nothing; the history says so."""


Result = Json | Route | Wait | Call | Emit | Exit | Respond
ConfigT = TypeVar("ConfigT", bound=BaseModel)
Inline = Callable[[Any, Context], Result]
Waiting = Callable[[Any, Context], Awaitable[Result]]

EXPRESSION = "x-celeriac-expression"
"""Schema keyword: the field holds one expression, with or without braces, and is handed over evaluated."""

LITERAL = "x-celeriac-literal"
"""Schema keyword: the field is read before anything runs (it names a port, say), so it cannot hold an expression."""

TRUSTED = "x-celeriac-trusted"
"""Schema keyword: the field decides where something goes, in whose name, or what is run; nothing foreign may choose it. With the
value "host", only the part of an address up to its path does."""

PREVIOUS = "x-celeriac-previous"
"""Schema keyword: a field that is left out is what the node before came to, if there is one alone."""

SCHEMA = "x-celeriac-schema"
"""Schema keyword: the field holds a JSON Schema (2020-12). Without expressions in it, validation looks whether it is one."""

RENDERED = "x-celeriac-rendered"
"""Schema keyword of an output: it is what this field of the config comes to."""

Decision = tuple[Json, bool]
"""An expression of a config, and what it has to come to."""

Expr = Annotated[Any, WithJsonSchema({EXPRESSION: True})]
"""Marks a config field whose string is an expression: `condition: Expr`."""


@dataclass(frozen=True, slots=True, eq=False)
class NodeType:
    """One registered kind of work, `name@version`. Made by `@node`; a published one keeps its meaning for ever.

    It is equal to itself only, so that what was computed of it (a schema, say) can be kept under it.
    """

    name: str
    version: int
    summary: str
    config: type[BaseModel]
    run: Inline | Waiting
    effect: Effect | Callable[[Mapping[str, Json]], Effect]
    ports: tuple[str, ...] | Callable[[Mapping[str, Json]], tuple[str, ...]]
    queue: str
    process: bool
    waits: bool
    calls: bool
    foreign: bool
    retry: Retry
    timeout: float
    output: dict[str, Json] | None
    decides: Callable[[Mapping[str, Any]], Mapping[str | None, tuple[Decision, ...]]] | None

    @property
    def key(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    def effect_of(self, config: Mapping[str, Json]) -> Effect:
        """Return the effect a node with this (unrendered) config has. A template in a deciding field counts as the worst."""
        return self.effect if isinstance(self.effect, Effect) else self.effect(config)

    def ports_of(self, config: Mapping[str, Json]) -> tuple[str, ...]:
        """Return the exits a node with this config has, without `error`, which every node has."""
        return self.ports if isinstance(self.ports, tuple) else self.ports(config)

    def config_schema(self) -> dict[str, Any]:
        """Return the JSON Schema 2020-12 of the config, as the model declares it."""
        return self.config.model_json_schema()


def node(
    name: str,
    *,
    version: int = 1,
    effect: Effect | Callable[[Mapping[str, Json]], Effect] = Effect.NONE,
    ports: tuple[str, ...] | Callable[[Mapping[str, Json]], tuple[str, ...]] = ("out",),
    queue: str = "default",
    process: bool = False,
    waits: bool = False,
    calls: bool = False,
    foreign: bool = False,
    retry: Retry | None = None,
    timeout: float = 300.0,
    output: dict[str, Json] | None = None,
    decides: Callable[[Mapping[str, Any]], Mapping[str | None, tuple[Decision, ...]]] | None = None,
) -> Callable[[Inline | Waiting], NodeType]:
    """Declare a node type from its function `run(config, ctx)`, whose first parameter is annotated with its config model.

    - A plain `def` is called in place: for work of microseconds, without waiting. With `process=True` it runs in a
      child process that can be killed: for work that computes.
    - An `async def` is awaited among thousands of others: for work that waits.
    - `waits` says that it may return `Wait`, `Call`, `Exit` or `Respond`; such a node ends its segment.
    - `calls` says that it may call workflows or ask people on its way (`Context.call`, `Context.ask`).
    - `foreign` says that its output is what a stranger may have written, such as the words of a model: nothing that is
      computed of it may choose where something goes, in whose name, or what is run.
    - `timeout` is in seconds, for one attempt.
    - `output` is the JSON Schema of what it returns; validation compares with it what later nodes read.
    - `decides` says, from the config as it is written, what the expressions in it have to come to for each port to be
      taken; None stands for no port at all. With it validation finds what can never run.
    """

    def declare(run: Inline | Waiting) -> NodeType:
        return NodeType(
            name=name,
            version=version,
            summary=(run.__doc__ or "").strip(),
            config=model_of(run),
            run=run,
            effect=effect,
            ports=ports,
            queue=queue,
            process=process,
            waits=waits,
            calls=calls,
            foreign=foreign,
            retry=retry or Retry(),
            timeout=timeout,
            output=output,
            decides=decides,
        )

    return declare


def retry_names(selectors: tuple[type[BaseException] | str, ...]) -> tuple[str, ...]:
    """Return retry selectors as text: a class by its name, a code as it is."""
    return tuple(each if isinstance(each, str) else each.__name__ for each in selectors)


def retry_to_json(retry: Retry) -> dict[str, Json]:
    """Return a node type's own policy in the words of the definition language."""
    body: dict[str, Json] = {
        each.name: getattr(retry, each.name)
        for each in dataclasses.fields(retry)
        if each.name not in ("on", "excluding")
    }
    body["on"] = list(retry_names(retry.on)) or [TryAgain.__name__]
    body["except"] = list(retry_names(retry.excluding))
    return body
