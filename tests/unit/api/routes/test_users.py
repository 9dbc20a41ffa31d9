from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.conftest import Api
from tests.unit.api.people import PASSWORD, user


async def test_users_are_made_listed_and_shown(api: Api) -> None:
    made = await api.post("/users", {"name": " Ann@Example.com", "password": PASSWORD})
    body = made.json()
    assert (made.status_code, body["name"], body["owns"], body["has_password"]) == (
        201,
        "ann@example.com",
        False,
        True,
    )
    assert "invitation" not in body
    await api.post("/users", {"name": "bob"})
    page = (await api.get("/users?limit=1")).json()
    assert [each["name"] for each in page["data"]] == ["ann@example.com"]
    page = (await api.get(f"/users?limit=1&cursor={page['next_cursor']}")).json()
    assert ([each["name"] for each in page["data"]], page["has_more"]) == (["bob"], False)
    for reference in (body["id"], "ANN@example.com"):
        assert (await api.get(f"/users/{reference}")).json() == body
    again = await api.post("/users", {"name": "bob"})
    assert (again.status_code, again.json()["code"]) == (409, "user.exists")
    assert "argon2" not in page.__str__()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": 7},
        {"name": ""},
        {"name": "a b"},
        {"name": "ann/ci"},
        {"name": "x" * 201},
        {"name": "api"},
        {"name": "Keeper"},
        {"name": "bob", "owns": "yes"},
        {"name": "bob", "password": "short"},
        {"name": "bob", "password": 7},
        {"name": "bob", "role": "admin"},
    ],
)
async def test_what_is_no_user_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert (await api.post("/users", body)).status_code == 422
    assert api.bench.query("SELECT 1 FROM account") == []


async def test_a_user_is_let_in_no_more_and_again(api: Api) -> None:
    ann = await user(api, "ann")
    changed = await api.http.patch("/api/v1/users/ann", json={"active": False})
    assert changed.json()["active"] is False
    assert (await ann.get("/auth/me")).status_code == 401
    await api.http.patch("/api/v1/users/ann", json={"active": True})
    assert (await ann.get("/auth/me")).status_code == 401
    assert (await api.http.patch("/api/v1/users/eve", json={"active": True})).status_code == 404
    assert (await api.http.patch("/api/v1/users/ann", json={"active": 1})).status_code == 422


async def test_an_owner_of_the_installation_may_what_the_keeper_may(api: Api) -> None:
    ann = await user(api, "ann", owns=True)
    assert (await ann.post("/users", {"name": "bob"})).status_code == 201
    assert (await ann.post("/projects", {"name": "shop"})).status_code == 201
    assert [each["name"] for each in (await ann.get("/projects")).json()["data"]] == ["default", "shop"]
    last = await ann.ask("PATCH", "/users/ann", {"owns": False})
    assert (last.status_code, last.json()["code"]) == (409, "user.last_owner")
