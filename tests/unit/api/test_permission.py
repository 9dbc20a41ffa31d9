"""Who a request is from, which project it means, and how often it may ask."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api import token
from api.main import create_app
from tests.unit.api.conftest import Api
from tests.unit.api.people import Person, furnished, member, project, user
from tests.workbench import Workbench


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer wrong", "Basic {}", "Bearer {}x", "{}", "Bearer " + "x" * 9999]
)
async def test_what_proves_nothing_is_refused_with_the_way_to_prove_it(api: Api, shown: str) -> None:
    headers = {"Authorization": shown.format(api.token)}
    for path in ("/api/v1/workflows", "/api/v1/nowhere", "/api/v1/openapi.json", "/"):
        answer = await api.http.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "request.unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_keeper_acts_for_others_and_nobody_else_does(api: Api) -> None:
    await api.push({"id": "a", "type": "noop"})
    answer = await api.post("/workflows/w/execute", {}, X_Celeriac_Principal="ann@example.com")
    shown = (await api.get(f"/executions/{answer.json()['id']}")).json()
    assert shown["principal"] == "ann@example.com"
    wrong: list[dict[str, str]] = [{"X_Celeriac_Principal": "a b"}, {"X_Celeriac_Roles": "a/b"}]
    for headers in wrong:
        assert (await api.post("/workflows/w/execute", {}, **headers)).status_code == 422
    bob = await user(api, "bob", owns=True)
    refused = await bob.ask("GET", "/workflows", X_Celeriac_Principal="ann@example.com")
    assert (refused.status_code, refused.json()["code"]) == (403, "auth.acting")


async def test_rows_remember_users_and_whose_key_it_was(api: Api) -> None:
    await api.push({"id": "a", "type": "noop"})
    bob = await user(api, "bob")
    await member(api, "default", "bob", "admin")
    made = (await bob.post("/keys", {"name": "ci", "scopes": ["execution:start", "execution:read"]})).json()
    program = Person(api, made["key"])
    for person, name in ((bob, "bob"), (program, "bob/ci")):
        started = (await person.post("/workflows/w/execute", {})).json()
        shown = (await person.get(f"/executions/{started['id']}")).json()
        assert shown["principal"] == name


async def test_a_request_means_the_project_it_names_or_the_only_one(api: Api) -> None:
    shop, other = await furnished(api, "shop"), await project(api, "other")
    ann = await user(api, "ann")
    nothing = await ann.get("/workflows")
    assert (nothing.status_code, nothing.json()["code"]) == (403, "project.none")
    await member(api, "shop", "ann", "viewer")
    assert [each["name"] for each in (await ann.get("/workflows")).json()["data"]] == ["pay"]
    await member(api, other, "ann", "viewer")
    several = await ann.get("/workflows")
    assert (several.status_code, several.json()["code"]) == (422, "project.unnamed")
    assert "other, shop" in several.json()["hint"]
    for path, named in (
        ("/workflows", "shop"),
        ("/workflows", shop.id),
        (f"/workflows?project_id={shop.id}", None),
    ):
        assert len((await ann.get(path, named)).json()["data"]) == 1
    assert (await ann.get("/workflows", other)).json()["data"] == []
    await member(api, "default", "ann", "viewer")
    assert (await ann.get("/workflows")).json()["data"] == []


async def test_the_keeper_means_the_default_project_and_may_name_any(api: Api) -> None:
    shop = await furnished(api, "shop")
    keeper = Person(api, api.token)
    assert (await keeper.get("/workflows")).json()["data"] == []
    assert len((await keeper.get("/workflows", "shop")).json()["data"]) == 1
    for named in ("nope", "x" * 300, "a\0b"):
        answer = await keeper.get("/workflows", named)
        assert (answer.status_code, answer.json()["code"]) == (404, "project.unknown")
    assert (await keeper.get(f"/executions/{shop.things['execution']}")).status_code == 404
    assert (await keeper.get(f"/executions/{shop.things['execution']}", shop.id)).status_code == 200


async def test_a_change_of_roles_holds_from_the_next_request_on(api: Api) -> None:
    ann = await user(api, "ann")
    await member(api, "default", "ann", "viewer")
    assert (await ann.post("/events", {"type": "a"})).status_code == 403
    await member(api, "default", "ann", "operator")
    assert (await ann.post("/events", {"type": "a"})).status_code == 200
    await api.http.delete("/api/v1/projects/default/members/ann")
    assert (await ann.post("/events", {"type": "a"})).json()["code"] == "project.none"


async def test_a_refused_change_is_in_the_audit_and_a_refused_look_is_not(api: Api) -> None:
    ann = await user(api, "ann")
    await member(api, "default", "ann", "viewer")
    await ann.post("/events", {"type": "a"})
    await ann.get("/keys")
    (row,) = (await api.get("/audit?action=access:refuse")).json()["data"]
    assert (row["name"], row["outcome"], row["subject"]) == ("ann", "refused", "/api/v1/events")
    assert row["details"] == {"permission": "event:publish"}
    api.guard.app.state.celeriac.refusals.limit = 3
    for _ in range(5):
        assert (await ann.post("/events", {"type": "a"})).status_code == 403
    assert len((await api.get("/audit?action=access:refuse")).json()["data"]) == 3


async def test_a_known_token_costs_no_look_at_the_database(api: Api) -> None:
    ann = await user(api, "ann")
    await ann.get("/auth/me")
    reader = api.guard.app.state.celeriac.runtime.reader
    looked: list[Any] = []
    real = reader.read

    def noticed(query: Any) -> Any:
        looked.append(query)
        return real(query)

    try:
        reader.read = noticed
        for person in (ann, Person(api, api.token)):
            assert (await person.get("/auth/me")).status_code == 200
    finally:
        reader.read = real
    assert looked == []


@pytest.fixture
async def limited(tmp_path: Path) -> Any:
    """An installation that permits few requests, and its keeper."""
    bench = Workbench(tmp_path)
    limits = dataclasses.replace(bench.settings.limits, requests=4, anonymous_requests=3, logins=1)
    settings = dataclasses.replace(bench.settings, limits=limits, proxies=1)
    guard = create_app(settings, serves=False)
    transport = httpx2.ASGITransport(guard, raise_app_exceptions=False)
    shown = token.load(settings)
    async with (
        guard.app.router.lifespan_context(guard.app),
        httpx2.AsyncClient(
            transport=transport, base_url="http://localhost", headers={"Authorization": f"Bearer {shown}"}
        ) as http,
    ):
        yield Api(http, bench, settings, shown, guard, guard.app.state.celeriac)
    bench.close()


async def test_every_answer_tells_how_the_caller_stands_and_too_many_are_refused(limited: Api) -> None:
    ann = await user(limited, "ann")
    answers = [await ann.get("/auth/me") for _ in range(5)]
    assert [each.status_code for each in answers] == [200, 200, 200, 200, 429]
    assert [each.headers["x-ratelimit-remaining"] for each in answers] == ["3", "2", "1", "0", "0"]
    first, last = answers[0].headers, answers[4].headers
    assert first["x-ratelimit-limit"] == "4"
    assert first["ratelimit-policy"] == '"default";q=4;w=60'
    assert first["ratelimit"] == '"default";r=3;t=15'
    assert int(first["x-ratelimit-reset"]) > 1_900_000_000 - 200_000_000
    assert 1 <= int(last["retry-after"]) <= 16
    assert answers[4].json()["code"] == "limit.rate"
    bob = await user(limited, "bob")
    assert (await bob.get("/auth/me")).status_code == 200
    assert "x-ratelimit-limit" not in (await limited.get("/auth/me")).headers


async def test_whoever_is_wrong_too_often_is_not_looked_up_for_a_while(limited: Api) -> None:
    stranger = Person(limited, "cla_" + "x" * 43)

    async def ask(where: str) -> int:
        return (await stranger.ask("GET", "/workflows", X_Forwarded_For=f"6.6.6.6, {where}")).status_code

    assert [await ask("1.1.1.1") for _ in range(4)] == [401, 401, 401, 429]
    assert await ask("2.2.2.2") == 401
    healthy = await limited.http.get("/healthz", headers={"X-Forwarded-For": "1.1.1.1"})
    assert healthy.status_code == 200
