from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from api.main import create_app
from tests.unit.api.conftest import Api
from tests.unit.api.people import PASSWORD, Person, user
from tests.workbench import Workbench

BASE = "https://flows.example.com"


async def login(api: Api, name: str = "ann@example.com", password: str = PASSWORD, **more: Any) -> Any:
    return await api.http.post(
        "/api/v1/auth/login", json={"name": name, "password": password, **more}, headers={"Authorization": ""}
    )


async def test_a_login_gives_tokens_that_open(api: Api) -> None:
    await user(api, "ann@example.com")
    answer = await login(api, " Ann@Example.com ")
    body = answer.json()
    assert answer.status_code == 200
    assert (body["token_type"], body["expires_in"], body["user"]["name"]) == (
        "Bearer",
        600,
        "ann@example.com",
    )
    assert "set-cookie" not in answer.headers
    me = (await Person(api, body["access_token"]).get("/auth/me")).json()
    assert (me["name"], me["kind"], me["owns"], me["projects"]) == ("ann@example.com", "user", False, [])


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann@example.com", "wrong"),
        ("bob@example.com", PASSWORD),
        ("ann@example.com", ""),
        ("ann@example.com", PASSWORD + " "),
    ],
)
async def test_whoever_does_not_know_both_gets_the_same_answer(api: Api, name: str, password: str) -> None:
    await user(api, "ann@example.com")
    answer = await login(api, name, password)
    body = answer.json()
    assert (answer.status_code, body["code"]) == (401, "auth.failed")
    assert body["detail"] == "Name and password do not belong together."


async def test_whoever_is_not_active_does_not_get_in_and_is_not_told_why(api: Api) -> None:
    ann = await user(api, "ann@example.com")
    await api.http.patch("/api/v1/users/ann@example.com", json={"active": False})
    assert (await ann.get("/auth/me")).status_code == 401
    answer = await login(api)
    assert (answer.status_code, answer.json()["code"]) == (401, "auth.failed")


async def test_an_unknown_name_costs_a_look_at_a_password_too(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await user(api, "ann@example.com")
    looked: list[str] = []
    hasher = api.guard.app.state.celeriac.passwords._made()
    real = hasher.verify_and_update

    def noticed(given: str, stored: str) -> Any:
        looked.append(stored[:20])
        return real(given, stored)

    monkeypatch.setattr(hasher, "verify_and_update", noticed)
    for name in ("ann@example.com", "bob@example.com"):
        await login(api, name, "wrong wrong wrong")
    assert len(looked) == 2
    assert looked[0] == looked[1]  # the same costs stand in front of both


async def test_a_login_may_be_tried_five_times_a_minute_for_one_name_from_one_place(api: Api) -> None:
    await user(api, "ann@example.com")
    tried = [await login(api, password="wrong") for _ in range(4)]  # one was the user's own
    assert {each.status_code for each in tried} == {401}
    answer = await login(api)
    assert (answer.status_code, answer.json()["code"]) == (429, "limit.rate")
    assert 1 <= int(answer.headers["retry-after"]) == answer.json()["retry_after"] <= 13
    assert (await login(api, "bob@example.com")).status_code == 401


async def test_a_failed_login_is_remembered_without_what_may_be_a_password(api: Api) -> None:
    await login(api, "ann@example.com")
    await login(api, "hunter2 is my password")
    rows = (await api.get("/audit/installation?action=session:open")).json()["data"]
    assert [each["outcome"] for each in rows] == ["failed", "failed"]
    assert rows[1]["subject"] == "ann@example.com"
    assert rows[0]["subject"].startswith("sha256:")
    assert PASSWORD not in str(api.bench.query("SELECT * FROM audit"))


async def test_a_session_is_renewed_and_the_token_before_is_of_no_use(api: Api) -> None:
    await user(api, "ann@example.com")
    first = (await login(api)).json()
    second = (await api.post("/auth/refresh", {"refresh_token": first["refresh_token"]})).json()
    assert (await Person(api, first["access_token"]).get("/auth/me")).status_code == 401
    assert (await Person(api, second["access_token"]).get("/auth/me")).status_code == 200
    again = (await api.post("/auth/refresh", {"refresh_token": first["refresh_token"]})).json()
    assert (again["access_token"], again["refresh_token"]) == (
        second["access_token"],
        second["refresh_token"],
    )


async def test_a_stolen_token_ends_the_session_and_the_audit_says_so(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.access.sessions.GRACE_MS", -1)
    await user(api, "ann@example.com")
    first = (await login(api)).json()
    second = (await api.post("/auth/refresh", {"refresh_token": first["refresh_token"]})).json()
    stolen = await api.post("/auth/refresh", {"refresh_token": first["refresh_token"]})
    assert (stolen.status_code, stolen.json()["code"]) == (401, "auth.session_over")
    assert (await Person(api, second["access_token"]).get("/auth/me")).status_code == 401
    assert (await api.post("/auth/refresh", {"refresh_token": second["refresh_token"]})).status_code == 401
    (row,) = (await api.get("/audit/installation?action=session:reuse")).json()["data"]
    assert (row["outcome"], row["details"]["user"]) == ("refused", first["user_id"])


@pytest.mark.parametrize(
    "body", [{}, {"refresh_token": 7}, {"refresh_token": "clr_x"}, {"refresh_token": "x" * 5000}]
)
async def test_what_renews_nothing_is_refused(api: Api, body: Any) -> None:
    answer = await api.post("/auth/refresh", body)
    assert (answer.status_code, answer.json()["code"]) == (401, "auth.session_over")


async def test_a_session_that_is_ended_is_over_at_once(api: Api) -> None:
    ann = await user(api, "ann@example.com")
    other = Person(api, (await login(api)).json()["access_token"])
    found = (await ann.get("/auth/sessions")).json()["data"]
    assert [each["current"] for each in found] == [False, True]
    assert (await ann.ask("DELETE", f"/auth/sessions/{found[0]['id']}")).status_code == 204
    assert (await other.get("/auth/me")).status_code == 401
    assert (await ann.ask("DELETE", f"/auth/sessions/{found[0]['id']}")).status_code == 404
    assert (await ann.post("/auth/logout")).status_code == 204
    assert (await ann.get("/auth/me")).status_code == 401


async def test_nobody_ends_the_session_of_another(api: Api) -> None:
    ann, bob = await user(api, "ann@example.com"), await user(api, "bob@example.com")
    (session,) = (await ann.get("/auth/sessions")).json()["data"]
    assert (await bob.ask("DELETE", f"/auth/sessions/{session['id']}")).status_code == 404
    assert (await ann.get("/auth/me")).status_code == 200


async def test_a_new_password_ends_all_other_sessions(api: Api) -> None:
    ann = await user(api, "ann@example.com")
    other = Person(api, (await login(api)).json()["access_token"])
    new = "another horse, another battery"
    wrong = await ann.post("/auth/change-password", {"current": "no", "new": new})
    assert wrong.status_code == 422
    weak = await ann.post("/auth/change-password", {"current": PASSWORD, "new": "short"})
    assert weak.json()["code"] == "password.weak"
    assert (await ann.post("/auth/change-password", {"current": PASSWORD, "new": new})).status_code == 200
    assert (await other.get("/auth/me")).status_code == 401
    assert (await ann.get("/auth/me")).status_code == 200


async def test_keys_and_the_keeper_have_no_session(api: Api) -> None:
    for method, path in (("POST", "logout"), ("GET", "sessions"), ("GET", "csrf-token")):
        answer = await api.http.request(method, f"/api/v1/auth/{path}")
        assert (answer.status_code, answer.json()["code"]) == (409, "auth.no_session")
    me = (await api.get("/auth/me")).json()
    assert (me["id"], me["name"], me["owns"]) == ("keeper", "api", True)


async def test_the_first_user_is_invited_and_no_second(api: Api) -> None:
    invited = (await api.post("/users/invite-first")).json()
    body = {"token": invited["token"], "password": PASSWORD}
    nameless = await api.post("/auth/accept", body)
    assert nameless.status_code == 422
    answer = await api.post("/auth/accept", {**body, "name": "Ann"})
    assert (answer.status_code, answer.json()["user"]["name"]) == (200, "ann")
    assert (await Person(api, answer.json()["access_token"]).get("/auth/me")).json()["owns"] is True
    again = await api.post("/auth/accept", {**body, "name": "eve"})
    assert (again.status_code, again.json()["code"]) == (403, "invitation.unusable")
    late = await api.post("/users/invite-first")
    assert (late.status_code, late.json()["code"]) == (409, "user.not_the_first")


async def test_an_invited_user_sets_a_password_and_is_in(api: Api) -> None:
    made = (await api.post("/users", {"name": "ann@example.com"})).json()
    assert made["has_password"] is False
    assert (await login(api, password="")).status_code == 401
    token = made["invitation"]["token"]
    answer = await api.post("/auth/accept", {"token": token, "password": PASSWORD})
    assert answer.status_code == 200
    assert (await login(api)).status_code == 200
    assert (await api.post("/auth/accept", {"token": token, "password": PASSWORD})).status_code == 403
    new = (await api.post("/users/ann@example.com/invite")).json()["token"]
    assert new != token
    assert token not in str(api.bench.query("SELECT * FROM invitation"))


@pytest_asyncio.fixture
async def browser(tmp_path: Path) -> Any:
    """A browser, as far as cookies go, at an installation behind TLS; and the keeper's client beside it."""
    import dataclasses

    from api import token

    bench = Workbench(tmp_path)
    settings = dataclasses.replace(bench.settings, public_url=BASE)
    guard = create_app(settings, serves=False)
    transport = httpx2.ASGITransport(guard, raise_app_exceptions=False)
    async with (
        guard.app.router.lifespan_context(guard.app),
        httpx2.AsyncClient(transport=transport, base_url=BASE) as http,
    ):
        shown = {"Authorization": f"Bearer {token.load(settings)}"}
        body = {"name": "ann", "password": PASSWORD}
        await http.post("/api/v1/users", json={**body, "owns": True}, headers=shown)
        yield http
    bench.close()


async def test_a_browser_gets_cookies_that_scripts_cannot_read_and_no_token(
    browser: httpx2.AsyncClient,
) -> None:
    answer = await browser.post(
        "/api/v1/auth/login", json={"name": "ann", "password": PASSWORD, "cookie": True}
    )
    assert answer.status_code == 200
    assert {"access_token", "refresh_token"} & set(answer.json()) == set()
    access, refresh = answer.headers.get_list("set-cookie")
    assert access.startswith("__Host-celeriac_access=cla_")
    assert {"HttpOnly", "Path=/", "SameSite=lax", "Secure"} <= set(access.split("; "))
    assert refresh.startswith("__Secure-celeriac_refresh=clr_")
    assert {"HttpOnly", "Path=/api/v1/auth/refresh", "SameSite=strict", "Secure"} <= set(refresh.split("; "))


async def test_what_a_cookie_changes_needs_the_sessions_own_second_token(browser: httpx2.AsyncClient) -> None:
    signed_in = await browser.post(
        "/api/v1/auth/login", json={"name": "ann", "password": PASSWORD, "cookie": True}
    )
    csrf = signed_in.json()["csrf_token"]
    assert (await browser.get("/api/v1/auth/csrf-token")).json() == {"csrf_token": csrf}
    assert (await browser.get("/api/v1/workflows")).status_code == 200
    event = {"type": "order.paid"}
    for shown in ({}, {"X-CSRF-TOKEN": ""}, {"X-CSRF-TOKEN": csrf[:-1]}, {"X-CSRF-TOKEN": "é"}):
        raw = [(name.encode(), value.encode()) for name, value in shown.items()]
        refused = await browser.post("/api/v1/events", json=event, headers=raw)
        assert (refused.status_code, refused.json()["code"]) == (403, "auth.csrf")
    assert (
        await browser.post("/api/v1/events", json=event, headers={"X-CSRF-TOKEN": csrf})
    ).status_code == 200
    other = await browser.post(
        "/api/v1/auth/login", json={"name": "ann", "password": PASSWORD, "cookie": True}
    )
    assert other.json()["csrf_token"] != csrf
    stale = await browser.post("/api/v1/events", json=event, headers={"X-CSRF-TOKEN": csrf})
    assert stale.status_code == 403


async def test_a_browser_renews_with_its_cookie_and_leaves_with_none(browser: httpx2.AsyncClient) -> None:
    signed_in = await browser.post(
        "/api/v1/auth/login", json={"name": "ann", "password": PASSWORD, "cookie": True}
    )
    before = dict(browser.cookies)
    assert (await browser.post("/api/v1/auth/refresh", json={})).status_code == 403
    shown = {"X-CSRF-TOKEN": signed_in.json()["csrf_token"]}
    renewed = await browser.post("/api/v1/auth/refresh", json={}, headers=shown)
    assert (renewed.status_code, "access_token" in renewed.json()) == (200, False)
    after = dict(browser.cookies)
    assert all(after[name] != before[name] for name in before)
    assert (await browser.post("/api/v1/auth/logout", headers=shown)).status_code == 204
    assert dict(browser.cookies) == {}
    assert (await browser.get("/api/v1/workflows")).status_code == 401
