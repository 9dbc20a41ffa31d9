from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from celeriac.client import Client, Refused, Unreachable

Answer = Callable[[httpx2.Request], httpx2.Response]


def client(answer: Answer) -> Client:
    return Client("http://api.example/", "t0k3n", transport=httpx2.MockTransport(answer))


def recording(body: Any, status: int = 200) -> tuple[list[httpx2.Request], Answer]:
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(status, json=body)

    return asked, answer


async def test_a_request_shows_the_token_and_says_what_it_wants() -> None:
    asked, answer = recording({"id": "exec_x"}, 202)
    async with client(answer) as api:
        assert await api.execute("a/b c", {"x": 1}, key="k", wait=3) == {"id": "exec_x"}
    (request,) = asked
    assert request.url.raw_path == b"/api/v1/workflows/a%2Fb%20c/execute"
    assert request.headers["authorization"] == "Bearer t0k3n"
    assert request.headers["idempotency-key"] == "k"
    assert request.headers["prefer"] == "wait=3"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == {"input": {"x": 1}}


async def test_a_request_without_a_body_declares_none() -> None:
    asked, answer = recording({"id": "exec_x", "paused": True})
    async with client(answer) as api:
        await api.pause("exec_x")
    assert "content-type" not in asked[0].headers


async def test_a_document_is_sent_byte_by_byte_so_that_lines_stay_where_they_are() -> None:
    asked, answer = recording({"id": "wf_x"}, 201)
    async with client(answer) as api:
        await api.push(b'{\n "name": "x"}')
    assert asked[0].content == b'{\n "name": "x"}'


async def test_what_nobody_asked_for_is_left_out_of_the_query() -> None:
    asked, answer = recording({"data": []})
    async with client(answer) as api:
        await api.executions(workflow="w", limit=5)
    assert dict(asked[0].url.params) == {"workflow": "w", "limit": "5"}


async def test_a_refusal_is_raised_with_all_it_says() -> None:
    body = {"code": "a.b", "detail": "no", "hint": "yes", "errors": [{"pointer": "/x"}], "status": 422}
    _, answer = recording(body, 422)
    async with client(answer) as api:
        with pytest.raises(Refused) as refused:
            await api.workflow("w")
    error = refused.value
    assert (error.status, error.to_json()) == (
        422,
        {"code": "a.b", "message": "no", "hint": "yes", "errors": [{"pointer": "/x"}]},
    )


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"code": 7}', b""])
async def test_what_answers_otherwise_is_no_celeriac(content: bytes) -> None:
    async with client(lambda _: httpx2.Response(502, content=content)) as api:
        with pytest.raises(Refused) as refused:
            await api.workflow("w")
    assert refused.value.code == "api.not_celeriac"


async def test_nobody_there_is_told_with_the_address() -> None:
    def away(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    async with client(away) as api:
        with pytest.raises(Unreachable) as refused:
            await api.workflows()
        with pytest.raises(Unreachable):
            [each async for each in api.follow("exec_x")]
    assert refused.value.message == "Nobody answers at http://api.example: refused."


async def test_a_history_is_read_page_by_page() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        after = int(request.url.params["after"])
        found = [{"seq": number} for number in range(after + 1, min(after + 3, 6))]
        return httpx2.Response(200, json={"data": found, "final": True})

    async with client(answer) as api:
        assert [each["seq"] for each in await api.events("exec_x")] == [1, 2, 3, 4, 5]


async def test_a_history_and_a_stream_are_asked_for_by_types() -> None:
    asked: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.params.get("types"))
        if request.headers["accept"] == "text/event-stream":
            return httpx2.Response(200, text="event: end\ndata: {}\n\n")
        return httpx2.Response(200, json={"data": [], "final": True})

    async with client(answer) as api:
        assert await api.events("exec_x", types="node.*") == []
        assert await api.events("exec_x") == []
        assert [each async for each in api.follow("exec_x", types="node.failed")] == []
    assert asked == ["node.*", None, "node.failed"]


async def test_a_stream_yields_events_until_its_end() -> None:
    text = 'retry: 1000\n\nid: 1\nevent: a\ndata: {"seq":1}\n\n: ping\n\nevent: end\ndata: {}\n\n'

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["accept"] == "text/event-stream"
        return httpx2.Response(200, text=text)

    async with client(answer) as api:
        assert [each async for each in api.follow("exec_x", 0)] == [{"seq": 1}]


async def test_a_stream_that_is_refused_says_why() -> None:
    _, answer = recording({"code": "request.not_found", "detail": "There is none."}, 404)
    async with client(answer) as api:
        with pytest.raises(Refused) as refused:
            [each async for each in api.follow("exec_x")]
    assert refused.value.code == "request.not_found"


async def test_what_changes_a_running_execution_is_asked_for_by_node() -> None:
    asked, answer = recording({"id": "exec_y"}, 202)
    async with client(answer) as api:
        await api.fork("exec_x", {"from": ["a"]}, key="k")
        await api.retry("exec_x", from_failure=True)
        await api.skip("exec_x", "a", {"output": 1})
        await api.cancel_node("exec_x", "a", {"item": "3"})
        await api.items("exec_x", "m", {"add": [1]})
    assert [(each.url.path.partition("exec_x")[2], json.loads(each.content)) for each in asked] == [
        ("/fork", {"from": ["a"]}),
        ("/retry", {"from": "failure"}),
        ("/nodes/a/skip", {"output": 1}),
        ("/nodes/a/cancel", {"item": "3"}),
        ("/nodes/m/items", {"add": [1]}),
    ]


async def test_outputs_of_nodes_are_asked_for_when_wanted() -> None:
    asked, answer = recording({"data": [{"node": "a"}]})
    async with client(answer) as api:
        assert await api.nodes("exec_x") == [{"node": "a"}]
        await api.nodes("exec_x", with_output=True)
    assert [dict(each.url.params) for each in asked] == [{}, {"include": "output"}]


async def test_a_decision_says_for_whom_it_is() -> None:
    asked, answer = recording({"status": "approved"})
    async with client(answer) as api:
        await api.decide("appr_x", {"decision": "approve"}, principal="ann", roles="boss")
        await api.decide("appr_x", {"decision": "approve"})
    assert asked[0].url.path == "/api/v1/approvals/appr_x/decide"
    named = [
        (each.headers.get("x-celeriac-principal"), each.headers.get("x-celeriac-roles")) for each in asked
    ]
    assert named == [("ann", "boss"), (None, None)]
