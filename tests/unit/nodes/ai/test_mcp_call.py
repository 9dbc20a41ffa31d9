"""Tools of a real server of the Model Context Protocol, and what others may answer in its place."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from celeriac import Effect, Fail, Json
from celeriac.testing import Outcome, run_node
from engine.outside.egress import Egress, OpenLink
from nodes.ai.ai_agent import ai_agent
from nodes.ai.mcp_call import effect, mcp_call
from nodes.connections.mcp import mcp as kind
from tests import vendors
from tests.loopback import always, answer, serving
from tests.models import chat, wants
from tests.toolbox import TOKEN, Toolbox, toolbox


@pytest.fixture(scope="module", params=["stream", "plain"])
def box(request: pytest.FixtureRequest) -> Iterator[Toolbox]:
    with toolbox(plain=request.param == "plain") as made:
        yield made


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    made = vendors.loopback_egress()
    yield made
    await made.aclose()


def link_to(egress: Egress, url: str, token: str = TOKEN) -> OpenLink:
    return vendors.linked(egress, "mcp", {"url": url, "token": token})


async def run(link: OpenLink, tool: str, arguments: dict[str, Json] | None = None, **config: Any) -> Outcome:
    given = {"tool": tool, "arguments": arguments or {}, **config}
    outcome = await run_node(mcp_call, given, connections={"mcp": link})
    assert TOKEN not in str(outcome)
    return outcome


async def test_a_tool_is_used_and_what_it_came_to_is_told(box: Toolbox, egress: Egress) -> None:
    found: Any = (await run(link_to(egress, box.url), "add", {"a": 2, "b": 40}, reads=True)).value
    assert (found["text"], found["data"]) == ("42", {"result": 42})
    assert found["content"][0]["type"] == "text"


async def test_a_tool_that_fails_and_one_that_is_none_fail_the_node(box: Toolbox, egress: Egress) -> None:
    link = link_to(egress, box.url)
    failed = await run(link, "fail")
    assert (failed.kind, failed.code) == ("failed", "mcp.tool_failed")
    assert failed.error is not None
    assert "Error executing tool fail" in failed.error.message
    assert (await run(link, "nothing")).kind == "failed"
    assert (await run(link, "add", {"a": "x"})).kind == "failed"


async def test_the_server_is_tested_and_a_wrong_token_is_refused(box: Toolbox, egress: Egress) -> None:
    link = link_to(egress, box.url)
    assert await kind.test(link.fields, link) == "toolbox has 4 tools: add, file, search, fail."
    wrong = link_to(egress, box.url, "wrong")
    with pytest.raises(Fail) as caught:
        await kind.test(wrong.fields, wrong)
    assert caught.value.code == "http.client_error"


def test_the_effect_is_the_authors_to_say() -> None:
    said: list[dict[str, Json]] = [{}, {"reads": True}, {"idempotent": True}, {"reads": "{{ x }}"}]
    assert [effect(each) for each in said] == [Effect.ONCE, Effect.READ, Effect.KEYED, Effect.ONCE]


STARTED = answer(
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


@pytest.mark.parametrize(
    ("said", "config", "outcome"),
    [
        (answer("", Content_Type="text/event-stream"), {}, "uncertain"),
        (answer("", Content_Type="text/event-stream"), {"reads": True}, "try_again"),
        (answer("data: {}\n\ndata: [1]\n\ndata: x\n\n", Content_Type="text/event-stream"), {}, "uncertain"),
        (answer("[" * 100_000, Content_Type="application/json"), {}, "uncertain"),
        (answer('{"id": 2, "result": 7}', Content_Type="application/json"), {}, "failed"),
        (
            answer('{"id": 2, "error": {"code": -1, "message": "no"}}', Content_Type="application/json"),
            {},
            "failed",
        ),
        (answer('{"id": 2, "result": {"content": 7}}', Content_Type="application/json"), {}, "output"),
        (answer("", status="503 Busy", Retry_After="7"), {}, "try_again"),
        (answer("", status="404 Gone"), {}, "failed"),
    ],
)
async def test_whatever_a_server_answers_comes_to_something(
    said: bytes, config: dict[str, Any], outcome: str, egress: Egress
) -> None:
    async with serving(always(STARTED, NOTED, said)) as server:
        assert (await run(link_to(egress, server.url), "x", **config)).kind == outcome


async def test_what_stands_in_a_stream_before_the_answer_is_passed_over(egress: Egress) -> None:
    said = (
        ': hello\nevent: message\ndata: {"jsonrpc": "2.0", "method": "notifications/progress"}\n\n'
        'data: {"id": 2, "method": "sampling/createMessage"}\n\n'
        'data: {"jsonrpc": "2.0",\ndata: "id": 2, "result": {"content": [{"type": "text", "text": "yes"}]}}\n\n'
    )
    async with serving(always(STARTED, NOTED, answer(said, Content_Type="text/event-stream"))) as server:
        found: Any = (await run(link_to(egress, server.url), "x")).value
        assert found["text"] == "yes"


async def test_an_agent_uses_tools_of_a_server(box: Toolbox, egress: Egress) -> None:
    script = [wants(("file", {"arguments": {"text": "hello"}})), chat("Filed.")]
    before = len(box.filed)
    tool: dict[str, Json] = {
        "name": "file",
        "description": "Files a text.",
        "type": "mcp_call",
        "config": {"tool": "file", "idempotent": True},
        "parameters": {
            "type": "object",
            "required": ["arguments"],
            "properties": {"arguments": {"type": "object"}},
        },
    }
    async with serving(always(*script)) as model:
        asked = vendors.linked(egress, "openai", {"api_key": "sk-nobody", "base_url": f"{model.url}/v1"})
        outcome = await run_node(
            ai_agent,
            {"model": "gpt-4o", "task": "File hello.", "tools": [tool]},
            connections={"openai": asked, "mcp": link_to(egress, box.url)},
            types={"mcp_call": mcp_call},
        )
    assert outcome.error is None, outcome.error
    assert box.filed[before:] == ["hello"]
