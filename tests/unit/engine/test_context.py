from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from celeriac import Context, Effect, Fail, Json, NodeType, node
from engine.context import NodeContext, idempotency_key
from engine.settings import Limits
from engine.speech import Speech


class Nothing(BaseModel, extra="forbid"):
    """No config."""


class Around:
    """A way out that hands over what it is asked for."""

    def client(self) -> Any:
        return "client"

    async def connect(self, project: str, name: str, kinds: tuple[str, ...]) -> Any:
        return f"{project}/{name}", frozenset({f"secret of {name}"})


def context(**more: Any) -> NodeContext:
    given: dict[str, Any] = {
        "execution_id": "exec_1",
        "node_id": "n",
        "item": "3",
        "attempt": 2,
        "ready_at": 1_700_000_000_123,
        "project": "proj",
        "around": Around(),
        "step": None,
        "log_limit": 2,
    }
    return NodeContext(**{**given, **more})


def test_a_key_is_the_same_on_every_try_and_no_other_effect_has_it() -> None:
    assert context().idempotency_key == context(attempt=9, ready_at=5).idempotency_key
    keys = {
        idempotency_key(*each)
        for each in [
            ("e", "n", "", ""),
            ("e", "n", "1", ""),
            ("e", "n", "", "1"),
            ("e", "m", "", ""),
            ("f", "n", "", ""),
        ]
    }
    assert len(keys) == 5
    assert all(re.fullmatch(r"[a-z2-7]{32}", each) for each in keys)


def test_the_time_is_when_the_segment_became_ready() -> None:
    assert context().now() == datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)


def test_lines_are_kept_up_to_a_limit_and_the_last_one_says_so() -> None:
    made = context()
    for index in range(5):
        made.log(f"line {index}", "debug", k=index)
    assert made.lines == [
        ("debug", "line 0", {"k": 0}),
        ("debug", "line 1", {"k": 1}),
        ("warning", "More than 2 lines; the rest is not kept.", {}),
    ]


async def test_a_connection_is_opened_for_the_project_and_its_secrets_are_remembered() -> None:
    made = context()
    assert await made.connect("crm") == "proj/crm"  # type: ignore[comparison-overlap]  # a stand-in
    await made.connect("mail")
    assert made.secrets == {"secret of crm", "secret of mail"}
    assert made.http == "client"  # type: ignore[comparison-overlap]  # a stand-in


async def test_a_node_without_a_way_out_is_told_why() -> None:
    made = context(around=None)
    with pytest.raises(Fail) as caught:
        _ = made.http
    assert caught.value.code == "egress.no_way_out"
    with pytest.raises(Fail, match="no way out"):
        await made.connect("crm")


async def test_a_step_is_done_under_a_key_of_its_own() -> None:
    asked: list[Any] = []

    async def journal(name: str, effect: Effect, key: str, call: Any) -> Json:
        asked.append((name, effect, key))
        result: Json = await call(key)
        return result

    async def call(key: str) -> Json:
        return f"called with {key}"

    key = idempotency_key("exec_1", "n", "3", "pay")
    assert await context(step=journal).step("pay", Effect.ONCE, call) == f"called with {key}"
    assert asked == [("pay", Effect.ONCE, key)]


async def test_what_a_step_returns_is_kept_without_the_secrets_it_was_given() -> None:
    kept: list[Json] = []

    async def journal(name: str, effect: Effect, key: str, call: Any) -> Json:
        kept.append(await call(key))
        return kept[-1]

    made = context(step=journal)
    await made.connect("crm")

    async def call(_: str) -> Json:
        return {"echo": "Bearer secret of crm"}

    assert await made.step("ask", Effect.READ, call) == {"echo": "Bearer ***"}
    assert kept == [{"echo": "Bearer ***"}]


async def test_a_node_in_a_child_process_has_no_steps() -> None:
    async def call(_: str) -> Json:
        raise AssertionError

    with pytest.raises(Fail) as caught:
        await context().step("pay", Effect.ONCE, call)
    assert caught.value.code == "node.no_steps"


def test_a_node_in_a_child_process_keeps_nothing() -> None:
    for ask in (lambda: context().cache(60), lambda: context().spared("openai", "gpt-4")):
        with pytest.raises(Fail) as caught:
            ask()
        assert caught.value.code == "node.no_steps"


async def test_what_is_said_is_told_without_the_secrets_of_what_was_opened() -> None:
    told: list[tuple[str, str, str, str]] = []

    def speak(step: str, model: str, secrets: Callable[[], Collection[str]]) -> Speech:
        return Speech(lambda text, _, state: told.append((step, model, text, state)), secrets, Limits())

    made = context(speak=speak)
    with made.speech("answer", "gpt-4o") as say:
        await made.connect("crm")
        say("the secret of")
        say(" crm")
    with pytest.raises(ValueError, match="broke"), made.speech("answer", "gpt-4o") as say:
        raise ValueError("broke")
    assert told == [("answer", "gpt-4o", "the ***", "whole"), ("answer", "gpt-4o", "", "broken")]


async def test_without_anyone_to_tell_nothing_is_said() -> None:
    with context().speech("answer", "gpt-4o") as say:
        say("Once")


async def test_a_node_that_another_uses_keeps_the_secrets_of_both() -> None:
    told: list[tuple[str, str]] = []

    def speak(step: str, _: str, secrets: Callable[[], Collection[str]]) -> Speech:
        return Speech(lambda text, *_: told.append((step, text)), secrets, Limits())

    @node("teller", effect=Effect.READ)
    async def teller(config: Nothing, ctx: Context) -> Json:
        """Tell all that is known."""
        await ctx.connect("mail")
        with ctx.speech("all", "gpt-4o") as say:
            say("secret of crm, secret of mail, secret of nobody")
        return None

    class Types:
        def type(self, _: str) -> NodeType:
            return teller

    async def journal(_: str, __: Effect, key: str, call: Callable[[str], Awaitable[Json]]) -> Json:
        return await call(key)

    made = context(speak=speak, step=journal, inside=Types())
    await made.connect("crm")
    await made.use("tool 1", "teller", {})
    assert told == [("tool 1/all", "***, ***, secret of nobody")]
