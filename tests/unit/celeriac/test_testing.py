from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel

from celeriac import Context, Effect, Emit, Fail, Json, Route, TryAgain, Uncertain, Wait, node
from celeriac.testing import Line, run_node


class Config(BaseModel, extra="forbid"):
    n: int = 0


def declared(result: Any, *, waits: bool = False, ports: tuple[str, ...] = ("out",)) -> Any:
    """A node type that returns or raises `result`."""

    @node("test", waits=waits, ports=ports)
    def run(config: Config, _ctx: Context) -> Any:
        if isinstance(result, Exception):
            raise result
        return result(config) if callable(result) else result

    return run


async def test_json_is_the_output() -> None:
    outcome = await run_node(declared(lambda config: {"n": config.n}), {"n": 3})

    assert (outcome.kind, outcome.value, outcome.ports, outcome.code) == ("output", {"n": 3}, ("out",), None)


async def test_output_is_as_it_will_be_read_back() -> None:
    outcome = await run_node(declared({"a": (1, 2), 3: None}), {})

    assert outcome.value == {"a": [1, 2], "3": None}


async def test_a_coroutine_is_awaited() -> None:
    @node("test", effect=Effect.READ)
    async def run(config: Config, ctx: Context) -> Json:
        return [config.n, ctx.attempt, ctx.item, ctx.idempotency_key, ctx.now().year]

    outcome = await run_node(
        run, {"n": 1}, attempt=2, item="3", idempotency_key="k", now=datetime(2031, 1, 1, tzinfo=UTC)
    )

    assert outcome.value == [1, 2, "3", "k", 2031]


async def test_a_route_is_a_route() -> None:
    outcome = await run_node(declared(Route(("yes",), 5), ports=("yes", "no")), {})

    assert (outcome.kind, outcome.ports, outcome.value) == ("route", ("yes",), 5)


async def test_a_route_through_no_port_of_the_node_is_told_its_ports() -> None:
    outcome = await run_node(declared(Route(("maybe",)), ports=("yes", "no")), {})

    assert (outcome.kind, outcome.code) == ("failed", "node.unknown_port")
    assert outcome.error is not None
    assert "yes, no" in outcome.error.message


async def test_a_wait_is_a_wait() -> None:
    outcome = await run_node(declared(Wait(1234, "later"), waits=True), {})

    assert (outcome.kind, outcome.until, outcome.value) == ("wait", 1234, "later")


async def test_a_wait_has_to_be_declared() -> None:
    assert (await run_node(declared(Wait(1234)), {})).code == "node.wait_undeclared"


@pytest.mark.parametrize(
    ("raised", "kind", "code"),
    [
        (Fail("a.b", "no"), "failed", "a.b"),
        (TryAgain("a.c", "later", 5), "try_again", "a.c"),
        (Uncertain("a.d", "who knows"), "uncertain", "a.d"),
        (ValueError("oops"), "crashed", "node.crashed"),
    ],
)
async def test_an_exception_is_classified(raised: Exception, kind: str, code: str) -> None:
    outcome = await run_node(declared(raised), {})

    assert (outcome.kind, outcome.code, outcome.value) == (kind, code, None)
    assert outcome.error is not None
    assert outcome.error.kinds[0] == type(raised).__name__


async def test_an_error_keeps_its_details_and_the_time_to_wait() -> None:
    outcome = await run_node(declared(TryAgain("a.c", "later", 5, {"x": 1})), {})

    assert outcome.error is not None
    assert (outcome.error.retry_after, outcome.error.details, outcome.error.message) == (5, {"x": 1}, "later")


@pytest.mark.parametrize(
    "value", [b"bytes", {1, 2}, float("nan"), float("inf"), object(), "\ud800", "a\0b", ["\\\0"]]
)
async def test_what_is_no_json_is_refused(value: object) -> None:
    outcome = await run_node(declared(value), {})

    assert (outcome.kind, outcome.code) == ("failed", "node.output_invalid")


async def test_a_backslash_before_a_code_is_no_nul() -> None:
    assert (await run_node(declared("\\u0000"), {})).value == "\\u0000"


async def test_a_config_is_checked_like_a_rendered_one() -> None:
    outcome = await run_node(declared(None), {"n": "many", "m": 1})

    assert (outcome.kind, outcome.code) == ("failed", "node.config_invalid")
    assert outcome.error is not None
    assert [each["field"] for each in outcome.error.details["fields"]] == ["n", "m"]  # type: ignore[union-attr, call-overload, index]


async def test_lines_are_kept() -> None:
    @node("test")
    def run(_config: Config, ctx: Context) -> Json:
        ctx.log("hello", "warning", a=1)
        ctx.log("bye")
        return None

    outcome = await run_node(run, {})

    assert outcome.lines == (Line("warning", "hello", {"a": 1}), Line("info", "bye", {}))


async def test_lines_of_a_node_that_failed_are_kept_too() -> None:
    @node("test")
    def run(_config: Config, ctx: Context) -> Json:
        ctx.log("hello")
        raise Fail("a.b", "no")

    assert len((await run_node(run, {})).lines) == 1


async def test_steps_get_keys_of_their_own_and_are_kept() -> None:
    @node("test", effect=Effect.KEYED)
    async def run(_config: Config, ctx: Context) -> Json:
        async def call(key: str) -> Json:
            return key

        return [await ctx.step("one", Effect.KEYED, call), await ctx.step("two", Effect.KEYED, call)]

    outcome = await run_node(run, {})

    assert outcome.value == ["test-key:one", "test-key:two"]
    assert outcome.steps == {"one": "test-key:one", "two": "test-key:two"}


async def test_a_step_of_the_same_name_is_a_mistake() -> None:
    @node("test", effect=Effect.KEYED)
    async def run(_config: Config, ctx: Context) -> Json:
        async def call(key: str) -> Json:
            return key

        await ctx.step("one", Effect.KEYED, call)
        return await ctx.step("one", Effect.KEYED, call)

    assert (await run_node(run, {})).kind == "crashed"


async def test_a_node_reaches_only_what_the_test_hands_in() -> None:
    @node("test", effect=Effect.READ)
    async def run(config: Config, ctx: Context) -> Json:
        http = ctx.http if config.n == 0 else (await ctx.connect("crm")).http
        return (await http.get("http://api.test")).status_code

    def client(status: int) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _: httpx2.Response(status)))

    assert (await run_node(run, {"n": 0})).code == "egress.no_way_out"
    assert (await run_node(run, {"n": 1})).code == "connection.unknown"
    assert (await run_node(run, {"n": 0}, http=client(201))).value == 201
    assert (await run_node(run, {"n": 1}, connections={"crm": client(202)})).value == 202


async def test_an_event_is_told_whole_and_needs_an_effect() -> None:
    emit = Emit("paid", "7", {"sum": 3})
    outcome = await run_node(replace(declared(emit), effect=Effect.KEYED), {})
    assert (outcome.kind, outcome.value, outcome.emit) == ("emit", {"sum": 3}, emit)
    assert (await run_node(declared(emit), {})).code == "node.emit_undeclared"
