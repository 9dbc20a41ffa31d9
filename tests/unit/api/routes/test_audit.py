from __future__ import annotations

from typing import Any

import pytest

from engine.access import audit
from tests.builders import node
from tests.unit.api.conftest import Api
from tests.unit.api.people import furnished, member, user


async def test_what_a_person_does_is_in_the_audit_with_who_and_whence(api: Api) -> None:
    ann = await user(api, "ann")
    await member(api, "default", "ann", "operator")
    await api.push(node("a", "wait", {"for": "1h"}))
    name = (await ann.post("/workflows/w/execute", {})).json()["id"]
    answer = await ann.post(f"/executions/{name}/pause")
    await ann.post(f"/executions/{name}/resume")
    await ann.post(f"/executions/{name}/cancel", {"reason": "Enough."})
    rows = (await api.get("/audit?actor=ann")).json()["data"]
    assert [(each["action"], each["subject"], each["outcome"]) for each in rows] == [
        ("execution:cancel", name, "done"),
        ("execution:resume", name, "done"),
        ("execution:pause", name, "done"),
    ]
    assert rows[0]["details"] == {"reason": "Enough.", "force": False}
    assert (rows[2]["request_id"], rows[2]["address"]) == (answer.headers["x-request-id"], "127.0.0.1")
    pushed = (await api.get("/audit?action=workflow:push")).json()["data"][0]
    assert (pushed["name"], pushed["details"]["version"]) == ("api", 1)


async def test_what_changes_nothing_is_not_in_it(api: Api) -> None:
    assert (await api.post("/executions/exec_x/pause")).status_code == 404
    assert (await api.http.delete("/api/v1/connections/crm")).status_code == 404
    assert (await api.post("/workflows", {"name": "w"})).status_code == 422
    assert (await api.get("/audit")).json()["data"] == []


async def test_whom_the_keeper_acts_for_is_told(api: Api) -> None:
    await api.push(node("a"))
    await api.post("/workflows/w/disable", None, X_Celeriac_Principal="bob")
    (row,) = (await api.get("/audit?action=workflow:disable")).json()["data"]
    assert (row["actor"], row["name"]) == ("keeper", "bob")


async def test_a_project_sees_its_own_part_and_the_owners_of_the_installation_all_of_it(api: Api) -> None:
    ours, _ = await furnished(api, "ours"), await furnished(api, "theirs")
    ann = await user(api, "ann")
    await member(api, "ours", "ann", "admin")
    seen = (await ann.get("/audit?limit=200")).json()["data"]
    assert {each["project"] for each in seen} == {ours.id}
    assert (await ann.get("/audit/installation")).json()["code"] == "request.forbidden"
    whole = (await api.get("/audit/installation?limit=200")).json()["data"]
    assert [each["seq"] for each in whole] == list(range(len(whole), 0, -1))
    assert len({each["project"] for each in whole}) == 3
    page = (await api.get("/audit/installation?limit=3")).json()
    after = (await api.get(f"/audit/installation?limit=3&cursor={page['next_cursor']}")).json()
    assert [each["seq"] for each in page["data"] + after["data"]] == [each["seq"] for each in whole[:6]]
    key = api.guard.app.state.celeriac.key("audit")
    verdict = audit.verify(api.bench.connection, key)
    assert (verdict.count, verdict.broken) == (len(whole), None)


async def test_no_secret_is_ever_in_it(api: Api) -> None:
    await furnished(api, "ours")
    made = (await api.post("/keys", {"name": "ci", "scopes": ["viewer"]})).json()
    invited = (await api.post("/users", {"name": "bob"})).json()["invitation"]["token"]
    whole = str(api.bench.query("SELECT * FROM audit"))
    for each in (made["key"], invited, "s3cr3t-t0k3n", api.token):
        assert each not in whole


@pytest.mark.parametrize("query", ["actor=%00", "action=%00", "cursor=x", "limit=0", "actor=" + "x" * 201])
async def test_what_cannot_be_looked_for_is_refused(api: Api, query: str) -> None:
    answer: Any = await api.get(f"/audit?{query}")
    assert answer.status_code == 422


async def test_a_path_is_told_as_it_was_whatever_is_in_it(api: Api) -> None:
    ann = await user(api, "ann")
    await member(api, "default", "ann", "viewer")
    assert (await ann.ask("DELETE", "/keys/a%0Ab%F0%9F%98%80%FF")).status_code == 403
    (row,) = (await api.get("/audit?action=access:refuse")).json()["data"]
    assert row["subject"] == "/api/v1/keys/a\nb\N{GRINNING FACE}\N{REPLACEMENT CHARACTER}"
