from __future__ import annotations

from typing import Any

import pytest

from api.routes.keys import LONGEST_DAYS
from tests.unit.api.conftest import Api
from tests.unit.api.people import Person, member, project, user


async def test_a_key_is_shown_once_and_opens_its_project_alone(api: Api) -> None:
    shop = await project(api, "shop")
    keeper = Person(api, api.token)
    answer = await keeper.post("/keys", {"name": "ci", "scopes": ["workflow:read"]}, shop)
    made = answer.json()
    assert (answer.status_code, made["key"][:10], made["created_by"]) == (201, made["hint"], None)
    program = Person(api, made["key"])
    assert (await program.get("/workflows")).status_code == 200
    assert (await program.get("/workflows", "shop")).status_code == 200
    assert (await program.get("/workflows", "default")).json()["code"] == "project.unknown"
    assert (await program.get("/executions")).json()["code"] == "request.forbidden"
    assert (await program.get("/users")).json()["code"] == "request.forbidden"
    shown = await keeper.get(f"/keys/{made['id']}", shop)
    listed = await keeper.get("/keys", shop)
    for each in (shown, listed):
        assert made["key"] not in each.text
    assert made["key"] not in str(api.bench.query("SELECT * FROM api_key"))
    assert (await keeper.get(f"/keys/{made['id']}")).json()["code"] == "api_key.unknown"


async def test_when_a_key_was_used_is_known(api: Api) -> None:
    made = (await api.post("/keys", {"name": "ci", "scopes": ["viewer"]})).json()
    assert made["used_at"] is None
    await Person(api, made["key"]).get("/workflows")
    found = made
    while found["used_at"] is None:  # it is written behind the answer
        found = (await api.get(f"/keys/{made['id']}")).json()
    assert found["used_at"] >= made["created_at"]


async def test_a_revoked_key_opens_nothing_from_then_on(api: Api) -> None:
    made = (await api.post("/keys", {"name": "ci", "scopes": ["viewer"]})).json()
    program = Person(api, made["key"])
    assert (await program.get("/workflows")).status_code == 200
    revoked = (await api.http.delete(f"/api/v1/keys/{made['id']}")).json()
    assert (await program.get("/workflows")).status_code == 401
    again = (await api.http.delete(f"/api/v1/keys/{made['id']}")).json()
    assert again == revoked
    assert revoked["revoked_at"] is not None


async def test_a_key_ends_at_its_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = (await api.post("/keys", {"name": "ci", "scopes": ["viewer"], "expires_in_days": 1})).json()
    assert made["expires_at"] == made["created_at"] + 86_400_000
    program = Person(api, made["key"])
    assert (await program.get("/workflows")).status_code == 200
    clock = api.guard.app.state.celeriac.directory._clock
    real = clock.now()

    class Later:
        def __init__(self, now: int) -> None:
            self._now = now

        def now(self) -> int:
            return self._now

    directory = api.guard.app.state.celeriac.directory
    monkeypatch.setattr(directory, "_clock", Later(made["expires_at"] - 1))
    assert (await program.get("/workflows")).status_code == 200
    monkeypatch.setattr(directory, "_clock", Later(made["expires_at"]))
    assert (await program.get("/workflows")).status_code == 401
    assert real < made["expires_at"]


async def test_nobody_gives_a_key_what_is_not_ones_own(api: Api) -> None:
    ann = await user(api, "ann")
    await member(api, "default", "ann", "admin")
    refused = await ann.post("/keys", {"name": "ci", "scopes": ["workflow:read", "approval:decide"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "api_key.too_much")
    assert refused.json()["details"] == {"permission": "approval:decide"}
    assert (await ann.post("/keys", {"name": "ci", "scopes": ["owner"]})).json()["code"] == "api_key.too_much"
    made = (await ann.post("/keys", {"name": "ci", "scopes": ["admin"]})).json()
    child = await Person(api, made["key"]).post("/keys", {"name": "more", "scopes": ["viewer"]})
    assert (child.status_code, child.json()["code"]) == (403, "api_key.of_key")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "ci"},
        {"name": "ci", "scopes": []},
        {"name": "ci", "scopes": "viewer"},
        {"name": "ci", "scopes": ["workflow:raed"]},
        {"name": "ci", "scopes": ["installation:users"]},
        {"name": "ci", "scopes": [7]},
        {"name": "a/b", "scopes": ["viewer"]},
        {"name": "", "scopes": ["viewer"]},
        {"name": "ci", "scopes": ["viewer"], "expires_in_days": 0},
        {"name": "ci", "scopes": ["viewer"], "expires_in_days": LONGEST_DAYS + 1},
        {"name": "ci", "scopes": ["viewer"], "expires_in_days": True},
    ],
)
async def test_what_is_no_key_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert (await api.post("/keys", body)).status_code == 422
    assert api.bench.query("SELECT 1 FROM api_key") == []


async def test_a_misspelt_scope_is_answered_with_the_right_one(api: Api) -> None:
    answer = await api.post("/keys", {"name": "ci", "scopes": ["workflow:raed"]})
    assert answer.json()["hint"] == "Did you mean workflow:read?"
    longest = await api.post("/keys", {"name": "ci", "scopes": ["viewer"], "expires_in_days": LONGEST_DAYS})
    assert longest.status_code == 201
