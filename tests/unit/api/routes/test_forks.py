from __future__ import annotations

from typing import Any

import pytest

from tests.builders import edges, node
from tests.unit.api.conftest import Api

FAILING = (
    node("a", "set", {"values": {"x": "{{ y }}"}}),
    node("b", "fail", {"message": "no", "code": "x.no"}),
)


async def failed(api: Api) -> str:
    await api.push(*FAILING, node("c"), edges=edges("a->b->c"))
    name = await api.execute({"y": 7})
    await api.carry(name)
    assert (await api.get(f"/executions/{name}")).json()["status"] == "failed"
    return name


async def test_what_would_be_kept_is_told_and_nothing_is_started(api: Api) -> None:
    name = await failed(api)
    answer = await api.post(f"/executions/{name}/fork", {"from": "failure", "dry": True})
    assert answer.status_code == 200
    told = answer.json()
    assert (told["base"], told["version"]["number"]) == (name, 1)
    assert [(each["node"], each["verdict"], each["outcome"]) for each in told["nodes"]] == [
        ("a", "kept", "succeeded"),
        ("b", "again", "failed"),
        ("c", "again", None),
    ]
    assert len((await api.get("/executions")).json()["data"]) == 1


async def test_a_fork_of_a_corrected_version_ends_well(api: Api) -> None:
    name = await failed(api)
    await api.push(FAILING[0], node("b"), node("c"), edges=edges("a->b->c"))
    answer = await api.post(f"/executions/{name}/fork", {"from": "failure", "version": "latest"})
    assert answer.status_code == 202
    made = answer.json()["id"]
    await api.carry(made)
    body = (await api.get(f"/executions/{made}")).json()
    assert (body["status"], body["base"], body["trigger"]["type"]) == ("succeeded", name, "fork")
    nodes = (await api.get(f"/executions/{made}/nodes")).json()["data"]
    assert [(each["node"], each.get("kept", False)) for each in nodes if each["node"] == "a"] == [("a", True)]


async def test_a_retry_from_the_failure_is_the_same_fork(api: Api) -> None:
    name = await failed(api)
    made = (await api.post(f"/executions/{name}/retry", {"from": "failure"})).json()["id"]
    await api.carry(made)
    kept = [
        each
        for each in (await api.get(f"/executions/{made}/events")).json()["data"]
        if each["type"] == "node.kept"
    ]
    assert [each["node"] for each in kept] == ["a"]
    assert (await api.get(f"/executions/{made}")).json()["status"] == "failed"
    assert (await api.post(f"/executions/{name}/retry", {"from": "b"})).status_code == 422


async def test_a_key_starts_a_fork_once_and_no_other(api: Api) -> None:
    name = await failed(api)
    first = await api.post(f"/executions/{name}/fork", {"from": "failure"}, Idempotency_Key="k")
    again = await api.post(f"/executions/{name}/fork", {"from": "failure"}, Idempotency_Key="k")
    assert first.json()["id"] == again.json()["id"]
    other = await api.post(f"/executions/{name}/fork", {"from": ["a"]}, Idempotency_Key="k")
    assert other.json()["code"] == "request.idempotency_key_reused"


async def test_outputs_and_a_payload_are_given(api: Api) -> None:
    name = await failed(api)
    edits = {"nodes": {"b": {"output": 3}}, "input": {"y": 8}}
    made = (await api.post(f"/executions/{name}/fork", {"edits": edits})).json()["id"]
    await api.carry(made)
    body = (await api.get(f"/executions/{made}", params={"include": "input"})).json()
    assert (body["status"], body["input"]) == ("succeeded", {"y": 8})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"from": "b"}, 422, "request.invalid"),
        ({"from": ["zzz"]}, 422, "fork.unknown_node"),
        ({"version": True}, 422, "request.invalid"),
        ({"version": 9}, 404, "request.not_found"),
        ({"edits": 1}, 422, "request.invalid"),
        ({"edits": {"nodes": 1}}, 422, "request.invalid"),
        ({"edits": {"nodes": {"a": {}}}}, 422, "request.invalid"),
        ({"dry": 1}, 422, "request.invalid"),
        ({"form": []}, 422, "request.invalid"),
    ],
)
async def test_a_wish_that_means_nothing_is_refused(api: Api, body: Any, status: int, code: str) -> None:
    name = await failed(api)
    answer = await api.post(f"/executions/{name}/fork", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await api.post("/executions/exec_x/fork", {})).status_code == 404


async def test_what_did_not_fail_is_not_retried_from_its_failure(api: Api) -> None:
    await api.push(node("a"))
    name = await api.execute()
    await api.carry(name)
    answer = await api.post(f"/executions/{name}/fork", {"from": "failure"})
    assert (answer.status_code, answer.json()["code"]) == (409, "fork.nothing_failed")
