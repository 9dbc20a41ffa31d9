"""What a node does on its way: calls of workflows, questions to people, work of other node types; in the heart, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from celeriac import Call, Context, Effect, Fail, Json, NodeType, OnDecision, TryAgain, Uncertain, node
from engine.inquiries import NAME
from engine.registry import Registry
from nodes import NODE_TYPES
from tests.builders import document
from tests.builders import node as vertex
from tests.people import asked, decide
from tests.theatre import REGISTRY, STAGE, Stage, Theatre, theatre


class Config(BaseModel, extra="forbid"):
    """What a node is handed."""

    text: Any = None


@node("caller", effect=Effect.KEYED, calls=True)
async def caller(config: Config, ctx: Context) -> Json:
    """Do as the stage says."""
    result = STAGE.play(ctx, config)  # type: ignore[arg-type]  # the stage keeps what it is handed
    found: Json = await result
    return found


KINDS: list[NodeType] = [
    caller,
    *REGISTRY.everything(),
    *(each for each in NODE_TYPES if each.name != "noop"),
]


@pytest.fixture
async def at(tmp_path: Path, stage: Stage) -> Any:
    made = theatre(tmp_path)
    made.registry = made.programs._registry = Registry(KINDS)
    yield made
    assert made.leases.held() == []
    made.close()


INNER = document(
    [vertex("double", "transform", {"expression": "x * 2"})],
    outputs="{{ nodes.double.output }}",
    name="inner",
)
OUTER = document(
    [vertex("a", "caller"), vertex("b", "pure")], [{"from": "a", "to": "b"}], outputs="{{ nodes.a.output }}"
)


async def test_a_node_goes_on_with_what_it_has_called(at: Theatre, stage: Stage) -> None:
    at.push(INNER)

    async def twice(ctx: Context) -> Json:
        one = await ctx.call("one", Call("inner", {"x": 2}))
        two = await ctx.call("two", Call("inner", {"x": one}))
        return [one, two]

    stage.tell("a", twice)
    name = await at.run(OUTER)
    assert (at.status(name), at.output(name)) == ("succeeded", [4, 8])
    assert stage.calls == ["a", "a", "a", "b"]
    assert len(at.query("SELECT id FROM execution WHERE parent_execution = ?", name)) == 2
    assert at.kinds(name).count("step.succeeded") == 2


async def test_steps_before_a_call_are_done_once(at: Theatre, stage: Stage) -> None:
    at.push(INNER)
    done: list[str] = []

    async def mixed(ctx: Context) -> Json:
        async def work(key: str) -> Json:
            done.append(key)
            return len(done)

        first = await ctx.step("first", Effect.ONCE, work)
        called = await ctx.call("called", Call("inner", {"x": 5}))
        return [first, called, await ctx.step("last", Effect.KEYED, work)]

    stage.tell("a", mixed)
    name = await at.run(OUTER)
    assert (at.output(name), len(done), len(set(done))) == ([1, 10, 2], 2, 2)


async def test_a_call_that_fails_is_told_to_the_node(at: Theatre, stage: Stage) -> None:
    at.push(document([vertex("no", "fail", {"code": "x.no", "message": "No."})], name="inner"))

    async def careful(ctx: Context) -> Json:
        try:
            return await ctx.call("one", Call("inner"))
        except Fail as error:
            return [error.code, error.details["error"]["code"]]  # type: ignore[index,call-overload]

    stage.tell("a", careful)
    name = await at.run(OUTER)
    assert at.output(name) == ["workflow.failed_child", "x.no"]


async def test_a_workflow_that_is_not_there_is_told_to_the_node(at: Theatre, stage: Stage) -> None:
    async def careful(ctx: Context) -> Json:
        try:
            return await ctx.call("one", Call("nowhere"))
        except Fail as error:
            return error.code

    stage.tell("a", careful)
    assert at.output(await at.run(OUTER)) == "workflow.unknown"


async def test_a_retry_after_a_call_does_not_call_again(at: Theatre, stage: Stage) -> None:
    at.push(INNER)

    async def stumbles(ctx: Context) -> Json:
        found = await ctx.call("one", Call("inner", {"x": 1}))
        if ctx.attempt == 1:
            raise TryAgain("x.busy", "Not now.")
        return found

    stage.tell("a", stumbles)
    body = document(
        [{**vertex("a", "caller"), "retry": {"max_attempts": 2, "delay": 1, "jitter": 0}}],
        outputs="{{ nodes.a.output }}",
    )
    name = await at.run(body)
    await at.tick(5)
    assert (at.status(name), at.output(name)) == ("succeeded", 2)
    assert len(at.query("SELECT id FROM execution WHERE parent_execution = ?", name)) == 1


async def test_a_call_that_takes_too_long_is_given_up(at: Theatre, stage: Stage) -> None:
    at.push(document([vertex("rest", "wait", {"for": "1h"})], name="slow"))

    async def impatient(ctx: Context) -> Json:
        try:
            return await ctx.call("one", Call("slow"), 60)
        except Fail as error:
            return error.code

    stage.tell("a", impatient)
    name = await at.run(OUTER)
    await at.tick(61)
    assert at.output(name) == "node.timeout"
    await at.tick(5)
    ((child,),) = at.query("SELECT status FROM execution WHERE parent_execution = ?", name)
    assert child == "cancelled"


async def test_a_node_whose_type_does_not_say_so_calls_nothing(at: Theatre, stage: Stage) -> None:
    stage.tell("a", lambda ctx: ctx.call("one", Call("inner")))
    name = await at.run(document([vertex("a", "keyed")]))
    assert at.error(name)["code"] == "node.call_undeclared"


async def test_inside_a_map_each_item_calls_for_itself(at: Theatre, stage: Stage) -> None:
    at.push(INNER)
    stage.tell("a@item", lambda ctx: ctx.call("one", Call("inner", {"x": int(ctx.item)})))
    body = document(
        [{**vertex("a", "caller"), "for_each": {"items": "trigger.payload"}}], outputs="{{ nodes.a.output }}"
    )
    name = await at.run(body, [1, 2, 3])
    assert at.output(name) == [0, 2, 4]


# People


QUESTION = OnDecision("May it?", show={"amount": 5}, users=("ann",))


@pytest.mark.parametrize("decision", ["approved", "rejected"])
async def test_people_are_asked_on_the_way(at: Theatre, stage: Stage, decision: str) -> None:
    async def polite(ctx: Context) -> Json:
        found = await ctx.ask("may", QUESTION)
        assert isinstance(found, dict)
        return [found["decision"], found["by"], found["votes"][0]["principal"]]  # type: ignore[index,call-overload]

    stage.tell("a", polite)
    name = await at.run(OUTER)
    assert (at.status(name), asked(at)[1]) == ("waiting", "May it?")
    decide(at, decision)
    await at.tick(1)
    assert at.output(name) == [decision, "people", "ann"]


async def test_who_does_not_answer_in_time_has_rejected(at: Theatre, stage: Stage) -> None:
    async def polite(ctx: Context) -> Json:
        found = await ctx.ask("may", QUESTION, 60)
        assert isinstance(found, dict)
        return [found["decision"], found["by"]]

    stage.tell("a", polite)
    name = await at.run(OUTER)
    await at.tick(61)
    await at.tick(1)
    assert at.output(name) == ["rejected", "time"]


def test_only_versions_that_may_ask_keep_the_workflow_that_does(at: Theatre) -> None:
    at.push(document([vertex("a", "pure")], name="silent"))
    version = at.push(document([vertex("a", "caller")], name="polite")).version
    hidden = at.query("SELECT name FROM workflow WHERE hidden = 1")
    assert hidden == [(f"{version}{NAME}",)]


# Other node types


async def test_what_another_type_does_is_done_once_under_a_key_of_its_own(at: Theatre, stage: Stage) -> None:
    keys: list[str] = []

    async def inner(ctx: Context) -> Json:
        keys.append(ctx.idempotency_key)
        return "sent"

    async def outer(ctx: Context) -> Json:
        stage.tell("a", inner)
        found = [await ctx.use("send", "once", {"text": "hi"})]
        stage.tell("a", outer)
        if ctx.attempt == 1:
            raise TryAgain("x.busy", "Not now.")
        return found

    stage.tell("a", outer)
    body = document(
        [{**vertex("a", "caller"), "retry": {"max_attempts": 2, "delay": 1, "jitter": 0}}],
        outputs="{{ nodes.a.output }}",
    )
    name = await at.run(body)
    await at.tick(5)
    assert (at.output(name), len(keys)) == (["sent"], 1)
    assert [row for row in at.journal(name, "step", "effect", "status") if row[0]] == [
        ("send", "once", "succeeded")
    ]


@pytest.mark.parametrize(
    ("type_", "config", "code"),
    [
        ("waits", {}, "node.not_usable"),
        ("computes", {}, "node.not_usable"),
        ("caller", {}, "node.not_usable"),
        ("quux", {}, "node.unknown_type"),
        ("http_request", {"url": 5}, "node.config_invalid"),
    ],
)
async def test_what_cannot_be_used_is_told(
    at: Theatre, stage: Stage, type_: str, config: Any, code: str
) -> None:
    stage.tell("a", lambda ctx: ctx.use("it", type_, config))
    assert at.error(await at.run(OUTER))["code"] == code


async def test_an_effect_whose_fate_nobody_knows_puts_the_node_before_a_person(
    at: Theatre, stage: Stage
) -> None:
    async def inner(ctx: Context) -> Json:
        raise Uncertain("effect.uncertain", "Lost.")

    async def outer(ctx: Context) -> Json:
        stage.tell("a", inner)
        return await ctx.use("send", "once", {"text": "hi"})

    stage.tell("a", outer)
    name = await at.run(OUTER)
    assert at.segment(name, 0, "status") == ("uncertain",)
