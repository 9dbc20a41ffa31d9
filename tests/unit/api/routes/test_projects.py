from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.conftest import Api
from tests.unit.api.people import Person, furnished, member, project, user


async def test_a_project_is_made_shown_changed_and_deleted(api: Api) -> None:
    made = await api.post(
        "/projects", {"name": "Shop", "description": "Orders.", "settings": {"default_model": "gpt-4"}}
    )
    body = made.json()
    assert made.status_code == 201
    assert made.headers["location"] == f"/api/v1/projects/{body['id']}"
    assert body["settings"] == {"default_model": "gpt-4", "budget_limit": None}
    for reference in (body["id"], "Shop"):
        assert (await api.get(f"/projects/{reference}")).json() == body
    change = {"name": "Store", "settings": {"budget_limit": 1000}}
    changed = (await api.http.patch("/api/v1/projects/Shop", json=change)).json()
    assert (changed["name"], changed["description"]) == ("Store", "Orders.")
    assert changed["settings"] == {"default_model": "gpt-4", "budget_limit": 1000}
    assert (await api.get("/projects/Shop")).status_code == 404
    assert (await api.http.delete("/api/v1/projects/Store")).status_code == 204
    assert (await api.get("/projects/Store")).status_code == 404
    kept = await api.http.delete("/api/v1/projects/default")
    assert (kept.status_code, kept.json()["code"]) == (409, "project.kept")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": " a"},
        {"name": "x" * 101},
        {"name": "proj_x"},
        {"name": "a/b"},
        {"name": "a", "description": 7},
        {"name": "a", "description": "x" * 4001},
        {"name": "a", "description": "\0"},
        {"name": "a", "settings": []},
        {"name": "a", "settings": {"colour": 1}},
        {"name": "a", "settings": {"default_model": "a b"}},
        {"name": "a", "settings": {"budget_limit": -1}},
        {"name": "a", "settings": {"budget_limit": True}},
        {"name": "a", "settings": {"budget_limit": "1"}},
        {"name": "a", "owner": 7},
    ],
)
async def test_what_is_no_project_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert (await api.post("/projects", body)).status_code == 422
    assert len(api.bench.query("SELECT 1 FROM project")) == 1


async def test_a_project_is_made_with_its_owner_or_not_at_all(api: Api) -> None:
    ann = await user(api, "ann")
    assert (await api.post("/projects", {"name": "a", "owner": "eve"})).json()["code"] == "user.unknown"
    assert len(api.bench.query("SELECT 1 FROM project")) == 1
    await api.post("/projects", {"name": "a", "owner": "ann"})
    (listed,) = (await ann.get("/projects")).json()["data"]
    (there,) = (await ann.get("/auth/me")).json()["projects"]
    assert (listed["name"], there["roles"]) == ("a", ["approver", "owner"])


async def test_in_a_deleted_project_nothing_starts(api: Api) -> None:
    shop = await furnished(api, "shop")
    ann = await user(api, "ann")
    await member(api, "shop", "ann", "owner")
    assert (await ann.ask("DELETE", "/projects/shop")).status_code == 204
    assert (await ann.get("/workflows", "shop")).json()["code"] == "project.unknown"
    assert (await ann.get("/workflows")).json()["code"] == "project.none"
    keeper = Person(api, api.token)
    assert (await keeper.get("/workflows", shop.id)).json()["code"] == "project.unknown"
    assert api.bench.query("SELECT enabled FROM workflow") == [(0,)]


async def test_figures_tell_what_is_in_a_project(api: Api) -> None:
    shop = await furnished(api, "shop")
    found = (await api.get(f"/projects/{shop.id}/stats")).json()
    assert found == {
        "workflows": 1,
        "members": 0,
        "open_approvals": 1,
        "executions": {"waiting": 1},
        "executions_counted": 1,
    }


async def test_members_are_let_in_and_out(api: Api) -> None:
    shop = await project(api, "shop")
    await user(api, "ann")
    await member(api, shop, "ann", "approver", "viewer", groups=("finance",))
    (found,) = (await api.get("/projects/shop/members")).json()["data"]
    assert (found["user"]["name"], found["roles"], found["groups"]) == (
        "ann",
        ["viewer", "approver"],
        ["finance"],
    )
    path = "/api/v1/projects/shop/members"
    assert (await api.http.put(f"{path}/eve", json={"roles": ["viewer"]})).json()["code"] == "user.unknown"
    wrong: list[dict[str, Any]] = [
        {},
        {"roles": []},
        {"roles": ["veiwer"]},
        {"roles": "viewer"},
        {"roles": ["viewer"], "groups": ["a b"]},
        {"roles": ["viewer"], "groups": ["a"] * 51},
    ]
    for body in wrong:
        assert (await api.http.put(f"{path}/ann", json=body)).status_code == 422
    hint = (await api.http.put(f"{path}/ann", json={"roles": ["veiwer"]})).json()["hint"]
    assert hint == "Did you mean viewer?"
    assert (await api.http.delete(f"{path}/ann")).status_code == 204
    assert (await api.http.delete(f"{path}/ann")).json()["code"] == "member.unknown"


async def test_an_admin_makes_no_owner(api: Api) -> None:
    await project(api, "shop")
    ann, _ = await user(api, "ann"), await user(api, "bob")
    await member(api, "shop", "ann", "admin")
    refused = await ann.ask("PUT", "/projects/shop/members/ann", {"roles": ["owner"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "member.owners_only")
    assert (await ann.ask("PUT", "/projects/shop/members/bob", {"roles": ["editor"]})).status_code == 200


async def test_approvals_know_members_by_role_and_group_and_count_a_program_as_its_maker(api: Api) -> None:
    ann, bob = await user(api, "ann"), await user(api, "bob")
    await member(api, "default", "ann", "admin", "approver", groups=("finance",))
    await member(api, "default", "bob", "approver")
    ask = {"title": "Pay?", "approvers": {"roles": ["finance"]}, "four_eyes": True}
    await api.push({"id": "ask", "type": "approval", "config": ask})
    key = (await ann.post("/keys", {"name": "ci", "scopes": ["execution:start"]})).json()["key"]
    started = (await Person(api, key).post("/workflows/w/execute", {})).json()["id"]
    await api.carry(started)
    (found,) = (await ann.get("/approvals")).json()["data"]
    said = {"decision": "approve", "shown_hash": found["shown_hash"]}
    path = f"/approvals/{found['id']}/decide"
    assert (await bob.post(path, said)).json()["code"] == "approval.not_asked"
    assert (await ann.post(path, said)).json()["code"] == "approval.four_eyes"
    await member(api, "default", "bob", "approver", groups=("finance",))
    assert (await bob.post(path, said)).json()["status"] == "approved"
    rows = (await api.get("/audit?action=approval:decide")).json()["data"]
    assert [(each["name"], each["outcome"], each["details"]["counted"]) for each in rows] == [
        ("bob", "done", "decided"),
        ("ann", "failed", "four_eyes"),
        ("bob", "failed", "not_asked"),
    ]
