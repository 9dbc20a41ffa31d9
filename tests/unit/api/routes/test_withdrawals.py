from __future__ import annotations

from typing import Any

import pytest

from tests.builders import edges, node
from tests.unit.api.conftest import Api

LONG = node("b", "wait", {"for": "1h"})


async def resting(api: Api) -> str:
    await api.push(
        node("a"), LONG, node("c", "set", {"values": {"x": "{{ nodes.b.output }}"}}), edges=edges("a->b->c")
    )
    name = await api.execute()
    ((api.bench.clock.ms,),) = api.bench.query("SELECT created_at FROM execution")
    await api.carry(name)
    assert (await api.get(f"/executions/{name}")).json()["status"] == "waiting"
    return name


async def test_a_node_is_skipped_with_the_output_a_person_gives(api: Api) -> None:
    name = await resting(api)
    answer = await api.post(f"/executions/{name}/nodes/b/skip", {"output": 7, "reason": "too long"})
    assert (answer.status_code, answer.json()) == (200, {"execution": name, "node": "b", "status": "skipped"})
    await api.carry(name)
    body = (await api.get(f"/executions/{name}")).json()
    assert (body["status"], body["output"]) == ("succeeded", {"c": {"x": 7}})
    events = (await api.get(f"/executions/{name}/events")).json()["data"]
    (told,) = [each for each in events if each["type"] == "node.skipped"]
    assert (told["by"], told["reason"]) == ("api", "too long")


async def test_a_node_is_cancelled_and_fails_with_the_reason(api: Api) -> None:
    name = await resting(api)
    answer = await api.post(f"/executions/{name}/nodes/b/cancel", {"reason": "a mistake"})
    assert answer.json()["status"] == "cancelled"
    await api.carry(name)
    body = (await api.get(f"/executions/{name}")).json()
    assert (body["status"], body["error"]["code"], body["error"]["message"]) == (
        "failed",
        "node.cancelled",
        "a mistake",
    )


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("b/skip", {"output": "x" * 40_000}, 422, "request.invalid"),
        ("b/skip", {"item": "3"}, 422, "node.wrong_item"),
        ("b/skip", {"item": 3}, 422, "request.invalid"),
        ("b/cancel", {"output": 3}, 422, "request.invalid"),
        ("a/skip", {}, 409, "node.over"),
        ("c/cancel", {}, 409, "node.not_active"),
        ("zzz/skip", {}, 404, "request.not_found"),
    ],
)
async def test_what_cannot_be_withdrawn_is_refused_with_a_code(
    api: Api, path: str, body: Any, status: int, code: str
) -> None:
    name = await resting(api)
    answer = await api.post(f"/executions/{name}/nodes/{path}", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json().get("hint") or code == "request.invalid"


async def test_nothing_of_what_has_ended_is_withdrawn(api: Api) -> None:
    name = await resting(api)
    await api.post(f"/executions/{name}/cancel")
    answer = await api.post(f"/executions/{name}/nodes/b/skip")
    assert (answer.status_code, answer.json()["code"]) == (409, "request.conflict")
    assert (await api.post("/executions/exec_x/nodes/b/skip")).status_code == 404


async def mapping(api: Api) -> str:
    each = {"items": "[1, 2, 3]", "concurrency": 2, "on_item_error": "null"}
    await api.push(node("m", "wait", {"for": "1h"}, for_each=each), outputs="{{ nodes.m.output | length }}")
    name = await api.execute()
    ((api.bench.clock.ms,),) = api.bench.query("SELECT created_at FROM execution")
    await api.carry(name)
    return name


async def test_the_items_of_a_map_are_changed_while_it_runs(api: Api) -> None:
    name = await mapping(api)
    added = await api.post(f"/executions/{name}/nodes/m/items", {"add": [4, 5], "cancel": [0, 2]})
    assert added.json() == {"execution": name, "node": "m", "count": 5, "cancelled": [0, 2]}
    completed = await api.post(f"/executions/{name}/nodes/m/items", {"complete": True})
    assert completed.status_code == 200
    number = api.bench.query("SELECT segment FROM segment WHERE fan IS NOT NULL")[0][0]
    api.bench.outlet.sent.append(("default", (name, number, "")))
    await api.bench.carry()
    assert (await api.get(f"/executions/{name}")).json()["status"] == "succeeded"


async def test_cancelling_all_items_cancels_the_map(api: Api) -> None:
    name = await mapping(api)
    answer = await api.post(f"/executions/{name}/nodes/m/items", {"cancel": "all"})
    assert answer.json()["status"] == "cancelled"
    await api.carry(name)
    assert (await api.get(f"/executions/{name}")).json()["error"]["code"] == "node.cancelled"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"add": 1}, 422, "request.invalid"),
        ({"cancel": ["a"]}, 422, "request.invalid"),
        ({"cancel": [True]}, 422, "request.invalid"),
        ({"complete": 1}, 422, "request.invalid"),
        ({"cancel": [9]}, 409, "map.no_such_item"),
        ({"add": [0] * 100_000}, 409, "map.too_many_items"),
        ({"item": "0", "complete": True}, 409, "map.not_running"),
    ],
)
async def test_a_change_of_items_that_cannot_be_made_is_refused(
    api: Api, body: Any, status: int, code: str
) -> None:
    name = await mapping(api)
    answer = await api.post(f"/executions/{name}/nodes/m/items", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
