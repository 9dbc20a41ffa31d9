from __future__ import annotations

import asyncio

import pytest

from api import topics
from tests.builders import edges, node
from tests.unit.api.conftest import Api


async def test_executions_are_listed_latest_first_and_filtered(api: Api) -> None:
    await api.push(node("a"))
    await api.push(node("a"), name="other")
    first, second, third = await api.execute(), await api.execute(workflow="other"), await api.execute()
    await api.carry(first)
    page = (await api.get("/executions", params={"limit": 2})).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == ([third, second], True)
    rest = (await api.get("/executions", params={"cursor": page["next_cursor"]})).json()
    assert [each["id"] for each in rest["data"]] == [first]
    done = (await api.get("/executions", params={"workflow": "w", "status": "succeeded"})).json()
    assert [each["id"] for each in done["data"]] == [first]
    assert (await api.get("/executions", params={"workflow": "nope"})).status_code == 404


async def test_an_execution_shows_its_result_and_its_nodes(api: Api) -> None:
    await api.push(node("a", "set", {"values": {"x": "{{ y }}"}}), node("b"), edges=edges("a->b"))
    name = await api.execute({"y": 7})
    await api.carry(name)
    body = (await api.get(f"/executions/{name}")).json()
    assert (body["status"], body["output"]) == ("succeeded", {"b": None})
    nodes = (await api.get(f"/executions/{name}/nodes")).json()["data"]
    assert [(each["node"], each["status"]) for each in nodes] == [("a", "succeeded"), ("b", "succeeded")]


async def test_nodes_show_what_they_came_to_when_asked(api: Api) -> None:
    await api.push(node("a", "set", {"values": {"x": "{{ y }}"}}), node("b"), edges=edges("a->b"))
    name = await api.execute({"y": 7})
    await api.carry(name)
    shown = (await api.get(f"/executions/{name}/nodes", params={"include": "output"})).json()["data"]
    assert [each["output"] for each in shown] == [{"x": 7}, None]
    assert (await api.get(f"/executions/{name}/nodes", params={"include": "input"})).status_code == 422


async def test_what_has_ended_is_answered_at_once_to_who_would_wait(api: Api) -> None:
    await api.push(node("a"))
    name = await api.execute()
    asking = asyncio.create_task(api.get(f"/executions/{name}", headers={"Prefer": "wait=20"}))
    await api.carry(name)
    assert (await asking).json()["status"] == "succeeded"


async def test_history_comes_as_a_list_and_as_a_stream(api: Api) -> None:
    await api.push(node("a"))
    name = await api.execute()
    await api.carry(name)
    whole = (await api.get(f"/executions/{name}/events")).json()
    assert ([each["seq"] for each in whole["data"]], whole["final"]) == ([1, 2, 3], True)
    rest = (await api.get(f"/executions/{name}/events", params={"after": 2})).json()
    assert [each["type"] for each in rest["data"]] == ["execution.succeeded"]
    live = {"Accept": "text/event-stream"}
    stream = await api.get(f"/executions/{name}/events", headers={**live, "Last-Event-ID": "2"})
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert [line for line in stream.text.split("\n") if line.startswith("id")] == ["id: 3"]
    over = await api.get(f"/executions/{name}/events", headers={**live, "Last-Event-ID": "3"})
    assert over.status_code == 204


async def test_a_history_is_of_the_types_one_asks_for(api: Api) -> None:
    await api.push(node("a"))
    name = await api.execute()
    await api.carry(name)

    async def told(**more: str | int) -> tuple[list[str], bool]:
        body = (await api.get(f"/executions/{name}/events", params=more)).json()
        return [each["type"] for each in body["data"]], body["final"]

    assert await told(types="node.*") == (["node.succeeded"], True)
    assert await told(types="execution.*,node.failed") == (["execution.created", "execution.succeeded"], True)
    assert await told(types="execution.*", limit=1) == (["execution.created"], False)
    assert await told(types="execution.*", limit=1, after=1) == (["execution.succeeded"], True)
    assert await told(types="nothing.*") == ([], True)
    refused = await api.get(f"/executions/{name}/events", params={"types": "x" * 101})
    assert refused.status_code == 422
    headers = {"Accept": "text/event-stream"}
    live = await api.get(f"/executions/{name}/events", params={"types": "execution.*"}, headers=headers)
    assert [line for line in live.text.split("\n") if line.startswith("id")] == ["id: 1", "id: 3"]


async def test_a_long_history_is_read_in_parts(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "_AT_ONCE", 2)
    await api.push(*[node(each) for each in "abcdefg"], edges=edges("a->b->c->d->e->f->g"))
    name = await api.execute()
    await api.carry(name)
    whole = (await api.get(f"/executions/{name}/events")).json()
    assert [each["seq"] for each in whole["data"]] == list(range(1, 10))
    assert whole["final"]
    few = (await api.get(f"/executions/{name}/events", params={"types": "execution.*"})).json()
    assert [each["seq"] for each in few["data"]] == [1, 9]


async def test_a_cancelled_execution_ends_and_takes_no_second_wish(api: Api) -> None:
    await api.push(node("a"))
    name = await api.execute()
    answer = await api.post(f"/executions/{name}/cancel", {"reason": "a mistake"})
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    body = (await api.get(f"/executions/{name}")).json()
    assert (body["status"], body["cancel_reason"]) == ("cancelled", "a mistake")
    assert (await api.post(f"/executions/{name}/cancel")).json()["status"] == "cancelled"
    assert (await api.post(f"/executions/{name}/cancel", {"reason": 7})).status_code == 422


async def test_a_cancelled_execution_says_what_it_will_be_and_force_ends_it_at_once(api: Api) -> None:
    body = {"nodes": [node("rest", "wait", {"for": "1h"})]}
    last = {"nodes": [node("slowly", "wait", {"for": "1h"})]}
    await api.push({"id": "s", "type": "scope", "body": body, "finally": last})
    name = await api.execute()
    await api.carry(name)
    asked = await api.post(f"/executions/{name}/cancel")
    assert (asked.status_code, asked.json()["status"]) == (202, "running")
    shown = (await api.get(f"/executions/{name}")).json()
    assert (shown["ends_as"], shown["deadline"] > shown["cancel_requested_at"]) == ("cancelled", True)
    assert (await api.post(f"/executions/{name}/cancel", {"force": 1})).status_code == 422
    forced = await api.post(f"/executions/{name}/cancel", {"force": True})
    assert (forced.status_code, forced.json()["status"]) == (200, "cancelled")
    assert "ends_as" not in (await api.get(f"/executions/{name}")).json()


async def test_a_held_execution_waits_until_it_may_go_on(api: Api) -> None:
    await api.push(node("a"))
    name = await api.execute()
    assert (await api.post(f"/executions/{name}/pause")).json()["paused"] is True
    await api.carry(name)
    assert (await api.get(f"/executions/{name}")).json()["status"] == "created"
    assert (await api.post(f"/executions/{name}/resume")).json()["paused"] is False
    await api.carry(name)
    assert (await api.get(f"/executions/{name}")).json()["status"] == "succeeded"
    refused = await api.post(f"/executions/{name}/pause")
    assert (refused.status_code, refused.json()["code"]) == (409, "request.conflict")


async def test_a_repetition_is_a_new_execution_of_the_same_version_and_input(api: Api) -> None:
    inputs = {"type": "object", "properties": {"y": {"type": "integer"}}}
    await api.push(node("a", "set", {"values": {"x": "{{ y }}"}}), inputs=inputs)
    name = await api.execute({"y": 7})
    assert (await api.post(f"/executions/{name}/retry")).status_code == 409
    await api.carry(name)
    await api.push(node("another"))
    again = (await api.post(f"/executions/{name}/retry")).json()["id"]
    await api.carry(again)
    body = (await api.get(f"/executions/{again}", params={"include": "input"})).json()
    assert (body["base"], body["input"], body["output"]) == (name, {"y": 7}, {"a": {"x": 7}})
    assert (body["version"]["number"], body["trigger"]["type"]) == (1, "retry")


async def test_an_execution_that_is_not_there_is_told_everywhere(api: Api) -> None:
    for path in ("", "/events", "/nodes"):
        assert (await api.get(f"/executions/exec_x{path}")).json()["code"] == "request.not_found"
    for path in ("/cancel", "/pause", "/resume", "/retry"):
        assert (await api.post(f"/executions/exec_x{path}")).json()["code"] == "request.not_found"


async def test_one_run_of_a_node_is_shown_with_what_it_read_and_came_to(api: Api) -> None:
    await api.push(
        node("a", "set", {"values": {"x": "{{ y }}"}}),
        node("b", "set", {"values": {"z": "{{ nodes.a.output.x }}"}}),
        edges=edges("a->b"),
    )
    name = await api.execute({"y": 7})
    await api.carry(name)
    found = (await api.get(f"/executions/{name}/nodes/b")).json()
    assert (found["status"], found["output"], found["reads"]) == ("succeeded", {"z": 7}, {"a": {"x": 7}})
    assert found["config"] == {"values": {"z": "{{ nodes.a.output.x }}"}}
    assert [each["type"] for each in found["events"]] == ["node.succeeded"]
    for path in ("nodes/nope", "nodes/b?item=3"):
        missing = await api.get(f"/executions/{name}/{path}")
        assert (missing.status_code, missing.json()["code"]) == (404, "request.not_found")


async def test_an_item_of_a_map_is_shown_by_itself(api: Api) -> None:
    each = {"items": "[5, 6]"}
    await api.push(node("m", "set", {"values": {"x": "{{ item }}"}}, for_each=each))
    name = await api.execute()
    await api.carry(name)
    shown = (await api.get(f"/executions/{name}/nodes")).json()["data"]
    items = [row for row in shown if row.get("item") == "1"]
    assert items
    found = (await api.get(f"/executions/{name}/nodes/{items[0]['node']}?item=1")).json()
    assert (found["item"], found["status"]) == ("1", "succeeded")


async def test_why_it_does_not_go_on_is_told(api: Api) -> None:
    await api.push(node("rest", "wait", {"for": "1h"}))
    name = await api.execute()
    ((api.bench.clock.ms,),) = api.bench.query("SELECT created_at FROM execution")
    await api.carry(name)
    found = (await api.get(f"/executions/{name}/why")).json()
    assert (found["id"], [each["kind"] for each in found["waits"]]) == (name, ["timer"])
    assert (await api.get("/executions/exec_x/why")).status_code == 404
