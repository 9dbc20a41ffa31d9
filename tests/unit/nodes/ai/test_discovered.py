"""Tools that a server lists: which of them an agent gets, under which names, and what strangers can do with what they say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from celeriac import Fail, Json
from celeriac.testing import Outcome, run_node
from engine.outside.egress import Egress, OpenLink
from nodes.ai.ai_agent import ai_agent
from nodes.ai.mcp_call import mcp_call
from nodes.ai.models.discovered import (
    DESCRIBED,
    DISCOVERED,
    ORDER,
    SCHEMA_BYTES,
    SCHEMAS_BYTES,
    Discovered,
    ServerOfTools,
    accepted,
    plain,
)
from nodes.mcp.session import MOST_LISTED, MOST_PAGES, MOST_TOOLS
from tests import vendors
from tests.loopback import Server, always, answer, serving
from tests.models import chat, wants
from tests.toolbox import TOKEN, Toolbox, toolbox

Link = Callable[[Server], OpenLink]
LIST = "tools of tickets"
APPROVED: Json = {"decision": "approved", "by": "people", "votes": []}


@pytest.fixture(scope="module")
def box() -> Iterator[Toolbox]:
    with toolbox() as made:
        yield made


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    made = vendors.loopback_egress()
    yield made
    await made.aclose()


async def work(
    link: Link, tools: OpenLink, servers: list[Json], *answers: bytes, **more: Any
) -> tuple[Outcome, list[Any]]:
    """What an agent comes to that has these servers, and what its model was asked."""
    kit = {key: more.pop(key) for key in ("answers", "steps") if key in more}
    async with serving(always(*answers)) as model:
        config: dict[str, Json] = {"model": "gpt-4", "task": "Work.", "servers": servers, **more}
        outcome = await run_node(
            ai_agent,
            config,
            connections={"openai": link(model), "tickets": tools, "others": tools},
            types={"mcp_call": mcp_call},
            **kit,
        )
        return outcome, [json.loads(each.body) for each in model.asked]


def value(outcome: Outcome) -> Any:
    assert outcome.error is None, outcome.error
    return outcome.value


def to(box: Toolbox, egress: Egress) -> OpenLink:
    return vendors.linked(egress, "mcp", {"url": box.url, "token": TOKEN})


def offered(body: Any) -> list[str]:
    return [each["function"]["name"] for each in body.get("tools", [])]


def tickets(*allow: Json, **more: Json) -> dict[str, Json]:
    return {"connection": "tickets", "allow": list(allow), **more}


# Which tools


@pytest.mark.parametrize(
    ("allow", "names"),
    [
        ([], []),
        (["search"], ["tickets__search"]),
        (["s*", "f?le"], ["tickets__file", "tickets__search"]),
        (["*"], ["tickets__add", "tickets__file", "tickets__search", "tickets__fail"]),
        (["nothing"], []),
        (["Search"], []),
    ],
)
async def test_the_model_gets_what_the_author_allows_and_nothing_else(
    box: Toolbox, egress: Egress, link: Link, allow: list[Json], names: list[str]
) -> None:
    outcome, (body,) = await work(link, to(box, egress), [tickets(*allow)], chat("Done."))
    assert value(outcome)["result"] == "Done."
    assert offered(body) == names
    assert (ORDER in body["messages"][0]["content"]) == bool(names)
    assert (LIST in outcome.steps) == bool(allow)


async def test_a_tool_is_used_with_what_the_model_gives_and_only_reads_if_the_author_says_so(
    box: Toolbox, egress: Egress, link: Link
) -> None:
    outcome, asked = await work(
        link,
        to(box, egress),
        [tickets({"tools": "add", "reads": True})],
        wants(("tickets__add", {"a": 2, "b": 40})),
        chat("42."),
    )
    assert value(outcome)["calls"] == [{"tool": "tickets__add", "arguments": {"a": 2, "b": 40}, "ok": True}]
    assert json.loads(asked[1]["messages"][-1]["content"])["result"]["data"] == {"result": 42}
    assert "turn 1 tool 1 approval" not in outcome.steps


@pytest.mark.parametrize(
    ("rule", "asks"),
    [
        ("file", True),
        ({"tools": "file", "idempotent": True}, False),
        ({"tools": "file", "reads": True}, False),
        ({"tools": "file", "approval": False}, False),
        ({"tools": "file", "reads": True, "approval": True}, True),
        ({"tools": "file", "approval": {"approvers": {"users": ["ann"]}, "timeout": "1h"}}, True),
    ],
)
async def test_people_are_asked_before_what_may_not_be_repeated_and_where_it_is_wished(
    box: Toolbox, egress: Egress, link: Link, rule: Json, asks: bool
) -> None:
    before = len(box.filed)
    script = (wants(("tickets__file", {"text": "hello"})), chat("Done."))
    outcome, _ = await work(link, to(box, egress), [tickets(rule)], *script)
    # There is nobody here to be asked, which is told.
    assert (value(outcome)["calls"][0].get("code") == "workflow.unknown") == asks
    assert len(box.filed) - before == (0 if asks else 1)
    answers = {"turn 1 tool 1 approval": APPROVED}
    outcome, _ = await work(link, to(box, egress), [tickets(rule)], *script, answers=answers)
    assert value(outcome)["calls"][0]["ok"] is True


async def test_the_first_rule_that_fits_counts(box: Toolbox, egress: Egress, link: Link) -> None:
    rules: list[Json] = [{"tools": "fi*", "reads": True}, {"tools": "file", "approval": True}]
    outcome, _ = await work(
        link, to(box, egress), [tickets(*rules)], wants(("tickets__file", {"text": "x"})), chat("Done.")
    )
    assert value(outcome)["calls"][0]["ok"] is True


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (("tickets__fail", {}), "ai.unknown_tool"),
        (("search", {"query": "x"}), "ai.unknown_tool"),
        (("tickets__search", {}), "ai.bad_arguments"),
        (("tickets__search", {"query": 7}), "ai.bad_arguments"),
        (("tickets__search", "x"), "ai.bad_arguments"),
    ],
)
async def test_what_is_not_allowed_or_does_not_fit_is_told_to_the_model_and_not_done(
    box: Toolbox, egress: Egress, link: Link, call: Any, code: str
) -> None:
    outcome, _ = await work(
        link, to(box, egress), [tickets({"tools": "search", "reads": True})], wants(call), chat("Oh.")
    )
    assert value(outcome)["calls"][0]["code"] == code


# Once


async def test_the_list_is_asked_for_once_and_a_later_try_has_the_same_one(
    box: Toolbox, egress: Egress, link: Link
) -> None:
    kept: Json = [{"tool": "old", "said": "Was here.", "parameters": {"type": "object"}}]
    outcome, (body,) = await work(link, to(box, egress), [tickets("*")], chat("Done."), steps={LIST: kept})
    assert offered(body) == ["tickets__old"]
    assert outcome.steps[LIST] == kept


async def test_what_is_kept_of_a_tool_is_what_the_model_sees(
    box: Toolbox, egress: Egress, link: Link
) -> None:
    outcome, (body,) = await work(link, to(box, egress), [tickets("file")], chat("Done."))
    lists: Any = outcome.steps[LIST]
    (kept,) = lists
    assert kept == {
        "tool": "file",
        "said": "File a text.",
        "parameters": body["tools"][0]["function"]["parameters"],
    }
    assert (
        body["tools"][0]["function"]["description"] == "Of the server tickets. In its own words: File a text."
    )


# Names


async def test_tools_of_the_same_name_on_two_servers_are_two(
    box: Toolbox, egress: Egress, link: Link
) -> None:
    servers: list[Json] = [tickets("add"), {"connection": "others", "name": "o", "allow": ["add"]}]
    _, (body,) = await work(link, to(box, egress), servers, chat("Done."))
    assert offered(body) == ["tickets__add", "o__add"]


@pytest.mark.parametrize(
    "config",
    [
        {"servers": [tickets("a"), tickets("b")]},
        {"servers": [tickets("a"), {"connection": "others", "name": "tickets"}]},
        {"servers": [{"connection": "my__tickets"}]},
        {"servers": [{"connection": "tickets_"}]},
        {"servers": [{"connection": "t" * 25}]},
        {"servers": [tickets("a[b]")]},
        {"servers": [tickets({"tools": "a", "effect": "read"})]},
        {"servers": [tickets("a")], "tools": [{"name": "tickets__a", "description": "x", "workflow": "w"}]},
        {"servers": [tickets("a")] * 17},
    ],
)
async def test_names_that_could_mean_two_things_are_refused_before_anything_is_asked(
    config: dict[str, Json],
) -> None:
    outcome = await run_node(ai_agent, {"model": "gpt-4", "task": "Work."} | config)
    assert outcome.code == "node.config_invalid"


def listed(*names: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"name": each, "inputSchema": {"type": "object"}, **more} for each in names]


def names(*tools: str) -> list[str]:
    server = ServerOfTools(connection="t", allow=["*"])
    return [
        Discovered(server, server.rule(each["tool"]), each["tool"], "", {}).name  # type: ignore[arg-type]  # all are allowed
        for each in accepted(server, listed(*tools))
    ]


def test_names_that_providers_do_not_take_are_written_so_that_they_do() -> None:
    found = names("a", "db.query", "db/query", "db_query", "x" * 128, "x" * 127)
    assert found[0::3] == ["t__a", "t__db_query"]
    assert len(set(found)) == 6
    assert all(len(each) <= 64 and set(each).isdisjoint("./") for each in found)


# What strangers say


@pytest.mark.parametrize(
    ("tools", "code"),
    [
        (listed("a", "a"), "mcp.tool_invalid"),
        (listed("a b"), "mcp.tool_invalid"),
        (listed(""), "mcp.tool_invalid"),
        (listed("a" * 129), "mcp.tool_invalid"),
        (listed("a\u200b"), "mcp.tool_invalid"),
        (listed("a", inputSchema=None), "mcp.tool_invalid"),
        (listed("a", inputSchema={"type": "array"}), "mcp.tool_invalid"),
        (listed("a", inputSchema={"type": "object", "$ref": "#"}), "mcp.tool_invalid"),
        (listed("a", inputSchema={"type": "object", "minProperties": "x"}), "mcp.tool_invalid"),
        (listed("a", inputSchema={"type": "object", "title": "x" * SCHEMA_BYTES}), "mcp.tool_invalid"),
        (
            listed(*"abcdefghijk", inputSchema={"type": "object", "default": "x" * (SCHEMAS_BYTES // 10)}),
            "mcp.tools_too_large",
        ),
    ],
)
def test_what_cannot_be_given_to_a_model_is_refused_with_its_place(
    tools: list[dict[str, Any]], code: str
) -> None:
    with pytest.raises(Fail) as caught:
        list(accepted(ServerOfTools(connection="tickets", allow=["*"]), tools))
    assert caught.value.code == code
    assert caught.value.details["server"] == "tickets"
    assert "`allow`" in caught.value.message
    # Nobody has to do with what is not allowed.
    assert list(accepted(ServerOfTools(connection="tickets", allow=["other"]), tools)) == []


def test_what_has_no_name_is_no_tool() -> None:
    assert list(accepted(ServerOfTools(connection="tickets", allow=["*"]), [{}, {"name": 7}])) == []


def test_what_hides_in_a_description_is_taken_out_and_what_is_long_cut_off() -> None:
    hidden = "".join(chr(0xE0000 + ord(each)) for each in "obey")
    assert plain(f"Finds\u202e tick\u200bets.{hidden}\x1b[8m\ufe0f\nOf all.") == "Finds tickets.[8m\nOf all."
    assert plain("x" * 100_000) == "x" * DESCRIBED + "... (cut off)"
    assert plain(None) == plain(7) == ""
    (kept,) = accepted(
        ServerOfTools(connection="t", allow=["*"]),
        listed(
            "a",
            inputSchema={
                "type": "object",
                "description": hidden,
                "properties": {
                    "description": {"type": "string", "description": f"Words{hidden}.", "enum": ["\u200b"]}
                },
                "$schema": "http://json-schema.org/draft-07/schema#",
            },
        ),
    )
    assert kept["parameters"] == {
        "type": "object",
        "description": "",
        "properties": {"description": {"type": "string", "description": "Words.", "enum": ["\u200b"]}},
    }


START = answer(
    json.dumps(
        {
            "jsonrpc": "2.0",
            "id": 1,
            "result": {"protocolVersion": "2025-06-18", "serverInfo": {"name": "odd"}},
        }
    ),
    Content_Type="application/json",
)
NOTED = answer(status="202 Accepted")


def page(number: int, tools: Any, cursor: str | None = None) -> bytes:
    result: dict[str, Json] = {"tools": tools, **({} if cursor is None else {"nextCursor": cursor})}
    return answer(
        json.dumps({"jsonrpc": "2.0", "id": number, "result": result}), Content_Type="application/json"
    )


async def asked_of(
    egress: Egress, link: Link, *pages: bytes, allow: str = "*"
) -> tuple[Outcome, list[Any], Server]:
    async with serving(always(START, NOTED, *pages)) as server:
        tools = vendors.linked(egress, "mcp", {"url": server.url, "token": TOKEN})
        outcome, bodies = await work(link, tools, [tickets(allow)], chat("Done."))
        return outcome, bodies, server


async def test_all_pages_are_asked_for(egress: Egress, link: Link) -> None:
    pages = [page(2, listed("a", "b"), "next"), page(3, listed("c"), "last"), page(4, [])]
    outcome, (body,), server = await asked_of(egress, link, *pages)
    assert value(outcome)["result"] == "Done."
    assert offered(body) == ["tickets__a", "tickets__b", "tickets__c"]
    params = [json.loads(each.body)["params"] for each in server.asked[2:]]
    assert params == [{}, {"cursor": "next"}, {"cursor": "last"}]


async def test_annotations_of_a_server_lower_no_effect(egress: Egress, link: Link) -> None:
    hints = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True}
    outcome, _, _ = await asked_of(egress, link, page(2, listed("a", annotations=hints)))
    assert outcome.steps[LIST] == [{"tool": "a", "said": "", "parameters": {"type": "object"}}]
    rule = ServerOfTools(connection="t", allow=["*"]).rule("a")
    assert rule is not None
    assert (rule.reads, rule.idempotent, rule.approval) == (False, False, None)


@pytest.mark.parametrize(
    ("pages", "allow", "code"),
    [
        ([page(2, listed(*(f"t{each}" for each in range(DISCOVERED + 1))))], "*", "mcp.too_many_tools"),
        ([page(2, listed(*(f"t{each}" for each in range(DISCOVERED + 1))))], "t1", None),
        ([page(2, listed(*(f"t{each}" for each in range(MOST_TOOLS + 1))))], "t1", "mcp.too_many_tools"),
        ([page(2, listed("a", description="x" * (MOST_LISTED - 1_000)))], "a", None),
        (
            [page(each, listed(f"t{each}"), "on") for each in range(2, MOST_PAGES + 3)],
            "t2",
            "mcp.too_many_tools",
        ),
        (
            [page(each, listed(f"t{each}", description="x" * (MOST_LISTED // 2)), "on") for each in (2, 3)],
            "t2",
            "mcp.too_many_tools",
        ),
        ([page(2, 7)], "*", "mcp.invalid"),
    ],
)
async def test_a_list_without_measure_is_refused(
    egress: Egress, link: Link, pages: list[bytes], allow: str, code: str | None
) -> None:
    outcome, bodies, _ = await asked_of(egress, link, *pages, allow=allow)
    assert outcome.code == code
    assert len(bodies) == (1 if code is None else 0)
