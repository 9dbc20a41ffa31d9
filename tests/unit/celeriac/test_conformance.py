"""The suite for node types finds what breaks each promise."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel, Field, SecretStr

from celeriac import Context, Effect, Fail, Json, NodeType, TryAgain, Uncertain, node
from celeriac.testing import OpenLink, World, conform

ANY: dict[str, Json] = {"type": ["integer", "string", "null"]}
NUMBERS = itertools.count()


class Config(BaseModel, extra="forbid"):
    """A config."""

    value: int = Field(1, description="A number.")


class Loose(BaseModel):
    """A config that lets everything in."""

    value: int = 1


class Fields(BaseModel):
    """What a connection has."""

    token: SecretStr = SecretStr("s3cr3t-t0k3n")


class Counter:
    """A server that counts what it is told, each key once."""

    def __init__(self, *, honest: bool = True) -> None:
        self.seen: list[str] = []
        self._honest = honest

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        key = request.headers.get("idempotency-key", "")
        if not self._honest or not key or key not in self.seen:
            self.seen.append(key)
        return httpx2.Response(200, text=str(len(self.seen)))

    def count(self) -> int:
        return len(self.seen)


def world(server: Counter | None = None, config: dict[str, Json] | None = None) -> World:
    if server is None:
        return World(config or {})
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(server))
    return World(config or {}, http=http, effects=server.count)


async def ask(ctx: Context, **headers: str) -> str:
    return (await ctx.http.post("http://x.test/", headers=headers)).text


@node("good_none", output=ANY)
def good_none(config: Config, _: Context) -> Json:
    """Return the number."""
    return config.value


@node("good_keyed", effect=Effect.KEYED, output=ANY)
async def good_keyed(_: Config, ctx: Context) -> Json:
    """Tell the server once."""
    try:
        return await ask(ctx, **{"Idempotency-Key": ctx.idempotency_key})
    except httpx2.TransportError as error:
        raise TryAgain("x.lost", "The answer got lost.") from error


@node("good_once", effect=Effect.ONCE, output=ANY)
async def good_once(_: Config, ctx: Context) -> Json:
    """Tell the server."""
    try:
        return await ask(ctx)
    except httpx2.TransportError as error:
        raise Uncertain("x.uncertain", "The answer got lost.") from error


async def test_a_good_node_type_keeps_everything() -> None:
    assert await conform(good_none, world()) == []
    assert await conform(good_keyed, world(Counter())) == []
    assert await conform(good_once, world(Counter())) == []


def declared(name: str = "bad", run: Callable[..., Any] | None = None, **more: Any) -> NodeType:
    def fine(config: Config, _: Context) -> Json:
        """Return the number."""
        return config.value

    return node(name, **{"output": ANY, **more})(run or fine)


def loose(config: Loose, _: Context) -> Json:
    """Return the number."""
    return config.value


def speechless(config: Config, _: Context) -> Json:
    return config.value


def unsteady(_: Config, __: Context) -> Json:
    """Return another number each time."""
    return next(NUMBERS)


def listing(_: Config, __: Context) -> Json:
    """Return a list."""
    return []


def failing(_: Config, __: Context) -> Json:
    """Fail."""
    raise Fail("x.no", "No.")


@pytest.mark.parametrize(
    ("node_type", "wrong"),
    [
        (declared("Bad Name"), ["name: 'Bad Name' is not in lower case with _ or . between words"]),
        (declared(timeout=0), ["timeout: it is no time"]),
        (declared(output=None), ["output: it declares no schema of what it returns"]),
        (declared(ports=("a b",)), ["ports: 'a b' is no name of a port"]),
        (declared(run=unsteady), ["effect: none is declared, and a second run comes to another"]),
        (declared(run=failing), ["run: it does not succeed: x.no: No."]),
        (
            declared(run=speechless),
            ["summary: the function's docstring is no sentence that says what the node does"],
        ),
        (
            declared(run=loose),
            [
                'config: unknown fields are let in; declare the model with extra="forbid"',
                "config: the field value has no description",
            ],
        ),
    ],
)
async def test_a_bad_declaration_is_told(node_type: NodeType, wrong: list[str]) -> None:
    assert await conform(node_type, world()) == wrong


@pytest.mark.parametrize(
    ("node_type", "beginning"),
    [
        (declared(output={"type": 5}), "output: its schema is none"),
        (declared(run=listing), "output: what it returned does not fit its schema"),
    ],
)
async def test_a_bad_output_is_told(node_type: NodeType, beginning: str) -> None:
    (told,) = await conform(node_type, world())
    assert told.startswith(beginning)


async def test_an_effect_that_is_done_twice_for_one_key_is_found() -> None:
    told = await conform(good_keyed, world(Counter(honest=False)))
    assert told == ["effect: it is declared as keyed, and a second run with the same key does it again"]


async def test_an_effect_under_the_name_of_reading_is_found() -> None:
    reading = declared(run=good_keyed.run, effect=Effect.READ)
    assert await conform(reading, world(Counter())) == [
        "effect: it is declared to read, and changes the world"
    ]


async def test_a_world_has_to_count_and_a_pure_node_has_no_way_out() -> None:
    uncounted = World({}, http=httpx2.AsyncClient(transport=httpx2.MockTransport(Counter())))
    assert await conform(good_keyed, uncounted) == [
        "effect: its world cannot count what it does; give it `effects`"
    ]
    assert await conform(good_none, world(Counter())) == [
        "effect: it is declared without one, and its world has a way out"
    ]


async def test_two_effects_in_one_run_are_found() -> None:
    async def twice(_: Config, ctx: Context) -> Json:
        """Tell the server, and again."""
        await ask(ctx)
        return await ask(ctx)

    assert "effect: one run does it 2 times" in await conform(
        declared(run=twice, effect=Effect.ONCE), world(Counter())
    )


async def test_a_lost_answer_that_is_taken_for_a_failure_is_found() -> None:
    async def hasty(_: Config, ctx: Context) -> Json:
        """Tell the server."""
        try:
            return await ask(ctx)
        except httpx2.TransportError as error:
            raise TryAgain("x.lost", "Once more.") from error

    assert await conform(declared(run=hasty, effect=Effect.ONCE), world(Counter())) == [
        "effect: once is declared, and a lost answer comes to try_again (x.lost)"
    ]


async def test_a_secret_in_what_comes_back_is_found() -> None:
    async def echo(_: Config, ctx: Context) -> Json:
        """Tell the token."""
        link = await ctx.connect("crm")
        await link.http.get("http://x.test/")
        ctx.log("Connected.", token=link.fields.token.get_secret_value())
        return "ok"

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(Counter()))
    somewhere = World({}, connections={"crm": OpenLink("bearer", Fields(), http)})
    told = await conform(declared(run=echo, effect=Effect.READ), somewhere)
    assert "secrets: one is in what it gives back" in told


@pytest.mark.parametrize("stubborn", [True, False])
async def test_a_node_that_does_not_stop_is_found(stubborn: bool) -> None:
    async def deaf(_: Config, ctx: Context) -> Json:
        """Go on whatever is said."""
        try:
            return await ask(ctx)
        except asyncio.CancelledError:
            if stubborn:
                return "never mind"
            raise Fail("x.cancelled", "It was cancelled.") from None
        except httpx2.TransportError as error:
            raise Uncertain("x.uncertain", "The answer got lost.") from error

    assert await conform(declared(run=deaf, effect=Effect.ONCE), world(Counter())) == [
        "cancel: it takes being stopped for something else; let CancelledError pass",
        "timeout: it takes the end of its time for something else",
    ]


async def test_a_node_that_is_for_failing_is_held_to_its_code() -> None:
    assert await conform(declared(run=failing), World({}, fails="x.no")) == []
    assert await conform(declared(run=failing), World({}, fails="x.yes")) == [
        "run: it fails with x.no, not x.yes"
    ]
