from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from celeriac import Context, Effect, Json, NodeType, TryAgain, Uncertain, node
from celeriac.testing import Outcome, run_node
from engine.outside.egress import OpenLink
from nodes.ai.ai_agent import ai_agent
from nodes.ai.models.tools import SHOWN
from tests.loopback import Server, always, serving
from tests.models import chat, wants

Link = Callable[[Server], OpenLink]


class Sum(BaseModel, extra="forbid"):
    """Two numbers and a secret."""

    a: int = 0
    b: int = 0


SENT: list[dict[str, Json]] = []


@node("add", effect=Effect.READ)
async def add(config: Sum, _ctx: Context) -> Json:
    """Add."""
    return config.a + config.b


@node("send", effect=Effect.ONCE)
async def send(config: Sum, _ctx: Context) -> Json:
    """Send."""
    SENT.append(config.model_dump())
    return "sent"


@node("lost", effect=Effect.ONCE)
async def lost(config: Sum, _ctx: Context) -> Json:
    """Get lost."""
    raise Uncertain("effect.uncertain", "Lost.")


@node("busy", effect=Effect.READ)
async def busy(config: Sum, _ctx: Context) -> Json:
    """Be busy."""
    raise TryAgain("x.busy", "Busy.")


@node("long", effect=Effect.READ)
async def long(config: Sum, _ctx: Context) -> Json:
    """Say much."""
    return "x" * (SHOWN + 1)


TYPES: dict[str, NodeType] = {each.name: each for each in (add, send, lost, busy, long)}
A: dict[str, Json] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
}


def tool(name: str, **more: Json) -> dict[str, Json]:
    known: dict[str, Json] = {"name": name, "description": f"To {name}.", "parameters": A}
    return known | more


ADD = tool("plus_five", type="add", config={"b": 5})


async def work(link: Link, *answers: bytes, **config: Any) -> tuple[Outcome, list[Any]]:
    """What an agent comes to whose model answers like this, and what the model was asked."""
    kit = {key: config.pop(key) for key in ("answers", "steps") if key in config}
    async with serving(always(*answers)) as server:
        asked: dict[str, Json] = {"model": "gpt-4", "task": "Add.", "tools": [ADD]}
        outcome = await run_node(
            ai_agent, asked | config, connections={"openai": link(server)}, types=TYPES, **kit
        )
        return outcome, [json.loads(each.body) for each in server.asked]


def value(outcome: Outcome) -> Any:
    assert outcome.error is None, outcome.error
    return outcome.value


async def test_an_agent_that_needs_no_tool_just_answers(link: Link) -> None:
    outcome, (body,) = await work(link, chat("Done."))
    assert value(outcome) == {"result": "Done.", "turns": 1, "calls": []}
    assert body["tools"][0]["function"] == {
        "name": "plus_five",
        "description": "To plus_five.",
        "parameters": A,
    }
    assert body["messages"][1] == {"role": "user", "content": "Add."}


async def test_what_a_tool_comes_to_is_told_to_the_model(link: Link) -> None:
    outcome, asked = await work(link, wants(("plus_five", {"a": 2})), chat("Seven."))
    assert value(outcome) == {
        "result": "Seven.",
        "turns": 2,
        "calls": [{"tool": "plus_five", "arguments": {"a": 2}, "ok": True}],
    }
    assert asked[1]["messages"][2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c0", "type": "function", "function": {"name": "plus_five", "arguments": '{"a": 2}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c0", "content": '{"result": 7}'},
    ]


async def test_several_tools_of_one_turn_are_used_one_after_the_other(link: Link) -> None:
    outcome, asked = await work(link, wants(("plus_five", {"a": 1}), ("plus_five", {"a": 2})), chat("Done."))
    assert [each["content"] for each in asked[1]["messages"][3:]] == ['{"result": 6}', '{"result": 7}']
    assert [name for name in outcome.steps if name.endswith("use")] == [
        "turn 1 tool 1 use",
        "turn 1 tool 2 use",
    ]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (("minus", {}), "ai.unknown_tool"),
        (("plus_five", {}), "ai.bad_arguments"),
        (("plus_five", {"a": "x"}), "ai.bad_arguments"),
        (("plus_five", {"a": 1, "b": 7}), "ai.bad_arguments"),
        (("plus_five", [1]), "ai.bad_arguments"),
        (("busy", {"a": 1}), "x.busy"),
    ],
)
async def test_what_the_model_gets_wrong_and_what_fails_is_told_to_it(
    link: Link, call: Any, code: str
) -> None:
    tools = [ADD, tool("busy", type="busy")]
    outcome, asked = await work(link, wants(call), chat("Sorry."), tools=tools)
    assert value(outcome)["calls"][0]["code"] == code
    assert code in asked[1]["messages"][-1]["content"]


async def test_a_long_result_is_cut_off_for_the_model(link: Link) -> None:
    _, asked = await work(link, wants(("long", {"a": 1})), chat("Long."), tools=[tool("long", type="long")])
    text = asked[1]["messages"][-1]["content"]
    assert text.startswith('{"result": "xxx')
    assert f"cut off after {SHOWN}" in text


async def test_a_workflow_can_be_a_tool(link: Link) -> None:
    tools = [tool("order", workflow="orders")]
    answers = {"turn 1 tool 1 call": {"order": 7}}
    outcome, asked = await work(
        link, wants(("order", {"a": 1})), chat("Ordered."), tools=tools, answers=answers
    )
    assert value(outcome)["result"] == "Ordered."
    assert asked[1]["messages"][-1]["content"] == '{"result": {"order": 7}}'


# Approval


APPROVED: Json = {"decision": "approved", "by": "people", "votes": []}
REJECTED: Json = {"decision": "rejected", "by": "people", "votes": [{"comment": "Too dear."}]}


@pytest.mark.parametrize(
    ("type_", "approval", "asks"),
    [
        ("add", None, False),
        ("add", True, True),
        ("add", {"approvers": {"users": ["ann"]}, "timeout": "1h"}, True),
        ("send", None, True),
        ("send", False, False),
    ],
)
async def test_people_are_asked_where_it_is_wished_or_cannot_be_undone(
    link: Link, type_: str, approval: Json, asks: bool
) -> None:
    tools = [tool("it", type=type_, approval=approval)]
    outcome, _ = await work(link, wants(("it", {"a": 1})), chat("Done."), tools=tools)
    assert (
        value(outcome)["calls"][0].get("code") == "workflow.unknown"
    ) == asks  # there is nobody here to be asked
    answers = {"turn 1 tool 1 approval": APPROVED}
    outcome, _ = await work(link, wants(("it", {"a": 1})), chat("Done."), tools=tools, answers=answers)
    assert value(outcome)["calls"][0]["ok"] is True


async def test_a_call_that_people_reject_is_not_made_and_the_model_is_told_why(link: Link) -> None:
    SENT.clear()
    answers = {"turn 1 tool 1 approval": REJECTED}
    outcome, asked = await work(
        link, wants(("send", {"a": 1})), chat("A pity."), tools=[tool("send", type="send")], answers=answers
    )
    assert value(outcome)["calls"][0]["code"] == "ai.rejected"
    assert "Too dear." in asked[1]["messages"][-1]["content"]
    assert SENT == []


# Limits


@pytest.mark.parametrize(
    ("limits", "limit"),
    [({"turns": 2}, "turns"), ({"calls": 1}, "calls"), ({"calls": 0}, "calls"), ({"time": "1ms"}, "time")],
)
async def test_at_a_limit_the_work_ends(link: Link, limits: Json, limit: str) -> None:
    outcome, _ = await work(link, wants(("plus_five", {"a": 1})), limits=limits)
    assert outcome.code == "ai.limit_reached"
    assert outcome.error is not None
    assert outcome.error.details["limit"] == limit


async def test_a_limit_is_not_reached_by_what_it_allows(link: Link) -> None:
    outcome, _ = await work(
        link, wants(("plus_five", {"a": 1})), chat("Done."), limits={"turns": 2, "calls": 1, "time": "1h"}
    )
    assert value(outcome)["turns"] == 2


# Once


async def test_what_was_paid_for_and_done_before_a_crash_is_not_again(link: Link) -> None:
    SENT.clear()
    tools = [tool("send", type="send", approval=False)]
    outcome, _ = await work(link, wants(("send", {"a": 1})), chat("Done."), tools=tools)
    assert value(outcome)["result"] == "Done."
    for count in range(len(outcome.steps) + 1):
        done = dict(list(outcome.steps.items())[:count])
        if count == len(outcome.steps):
            again, asked = await work(link, chat("Never asked."), tools=tools, steps=outcome.steps)
            assert (again.value, asked, again.paid) == (outcome.value, [], ())
        assert set(done) <= set(outcome.steps)
    assert len(SENT) == 1


async def test_an_effect_of_unknown_fate_ends_the_work(link: Link) -> None:
    outcome, asked = await work(
        link, wants(("lost", {"a": 1})), chat("Never."), tools=[tool("lost", type="lost", approval=False)]
    )
    assert (outcome.kind, outcome.code, len(asked)) == ("uncertain", "effect.uncertain", 1)


# The result


async def test_a_result_of_a_shape_is_asked_for_in_the_end(link: Link) -> None:
    schema: dict[str, Json] = {
        "type": "object",
        "properties": {"sum": {"type": "integer"}},
        "required": ["sum"],
        "additionalProperties": False,
    }
    outcome, asked = await work(
        link, wants(("plus_five", {"a": 2})), chat("Seven."), chat('{"sum": 7}'), schema=schema
    )
    assert value(outcome)["result"] == {"sum": 7}
    assert asked[2]["tool_choice"] == "none"
    assert asked[2]["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize(
    "config",
    [
        {"tools": [ADD, ADD]},
        {"tools": [{**ADD, "workflow": "x"}]},
        {"tools": [{"name": "x", "description": "x"}]},
        {"tools": [{"name": "x", "description": "x", "workflow": "w", "config": {"a": 1}}]},
        {"tools": [tool("x", type="add", config={"a": 1})]},
        {"limits": {"turns": 0}},
        {"limits": {"turns": 101}},
        {"task": ""},
    ],
)
async def test_a_config_that_fits_not_together_is_refused(config: dict[str, Json]) -> None:
    outcome = await run_node(ai_agent, {"model": "gpt-4", "task": "Add."} | config)
    assert outcome.code == "node.config_invalid"


async def test_a_tool_that_is_not_installed_is_told(link: Link) -> None:
    outcome, _ = await work(link, wants(("x", {"a": 1})), chat("Oh."), tools=[tool("x", type="quux")])
    assert value(outcome)["calls"][0]["code"] == "node.unknown_type"
