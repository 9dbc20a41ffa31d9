from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest

from tests.loopback import always, answer, serving
from tests.unit.api.conftest import Api

BEARER = {"name": "crm", "kind": "bearer", "hosts": ["api.example.com"], "values": {"token": "s3cr3t-t0k3n"}}


async def test_a_stored_secret_never_comes_back(api: Api) -> None:
    added = await api.post("/connections", BEARER)
    listed = await api.get("/connections")
    assert (added.status_code, listed.json()["data"][0]["name"]) == (201, "crm")
    for each in (added, listed):
        assert "s3cr3t" not in each.text
    stored = api.bench.query("SELECT * FROM connection")
    assert "s3cr3t" not in str(stored)


async def test_a_name_is_only_replaced_when_that_is_said(api: Api) -> None:
    await api.post("/connections", BEARER)
    assert (await api.post("/connections", BEARER)).status_code == 409
    assert (await api.post("/connections", {**BEARER, "replace": True})).status_code == 201


async def test_a_removed_connection_is_gone(api: Api) -> None:
    await api.post("/connections", BEARER)
    assert (await api.http.delete("/api/v1/connections/crm")).status_code == 204
    assert (await api.get("/connections")).json()["data"] == []
    assert (await api.http.delete("/api/v1/connections/crm")).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "magic"},
        {"hosts": []},
        {"hosts": "api.example.com"},
        {"hosts": ["not a host"]},
        {"values": {}},
        {"values": {"token": "line\nbreak"}},
        {"values": "s3cr3t-t0k3n"},
        {"name": ""},
        {"name": None},
        {"more": 1},
    ],
)
async def test_what_is_wrong_is_told_without_the_secret(api: Api, change: dict[str, Any]) -> None:
    answer = await api.post("/connections", {**BEARER, **change})
    assert answer.status_code == 422
    assert "s3cr3t" not in answer.text
    assert (await api.get("/connections")).json()["data"] == []


async def test_the_kinds_tell_their_fields_and_which_are_secrets(api: Api) -> None:
    kinds = {each["kind"]: each for each in (await api.get("/connection-kinds")).json()["data"]}
    assert kinds["bearer"]["secrets"] == ["token"]
    assert kinds["bearer"]["asks_for_hosts"] is True
    assert (kinds["smtp"]["secrets"], kinds["smtp"]["asks_for_hosts"]) == (["password"], False)
    assert kinds["slack"]["fields"]["required"] == ["token"]


async def test_a_kind_that_knows_its_hosts_takes_none(api: Api) -> None:
    body = {"name": "mail", "kind": "smtp", "values": {"host": "Mail.example.com", "port": 25}}
    added = await api.post("/connections", body)
    assert (added.status_code, added.json()["hosts"]) == (201, ["mail.example.com:25"])
    refused = await api.post("/connections", {**body, "hosts": ["evil.test"], "replace": True})
    assert (refused.status_code, refused.json()["code"]) == (422, "connection.invalid")


@pytest.mark.parametrize(("answered", "ok", "code"), [(200, True, None), (401, False, "connection.refused")])
async def test_a_connection_is_tried_and_what_came_of_it_is_remembered(
    api: Api, monkeypatch: pytest.MonkeyPatch, answered: int, ok: bool, code: str | None
) -> None:
    async with serving(always(answer(status=f"{answered} Said"))) as server:
        host = f"127.0.0.1:{server.port}"
        values = {"token": "s3cr3t-t0k3n", "probe": f"{server.url}/me"}
        await api.post("/connections", {"name": "crm", "kind": "bearer", "hosts": [host], "values": values})
        monkeypatch.setattr(
            api.state, "settings", dataclasses.replace(api.settings, egress_allow="127.0.0.1")
        )
        found = (await api.post("/connections/crm/test")).json()
    assert (found["ok"], found.get("code")) == (ok, code)
    assert server.asked[0].headers["authorization"] == "Bearer s3cr3t-t0k3n"
    (listed,) = (await api.get("/connections")).json()["data"]
    assert listed["status"] == ("working" if ok else "failing")
    assert listed["tested_at"] is not None
    assert (listed["failure"] is None) is ok


async def test_what_cannot_be_tried_says_why_and_an_unknown_one_is_not_found(api: Api) -> None:
    await api.post("/connections", BEARER)
    found = (await api.post("/connections/crm/test")).json()
    assert (found["ok"], found["code"]) == (False, "connection.no_test")
    assert (await api.post("/connections/crn/test")).status_code == 404


async def test_connections_are_resealed_under_the_first_key(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.post("/connections", BEARER)
    old = (api.settings.data / "secret.key").read_text().strip()
    new = base64.b64encode(bytes(range(50, 82))).decode()
    before = api.bench.query("SELECT sealed FROM connection")

    def now_with(*keys: str) -> None:
        monkeypatch.setattr(api.state, "_sealing", None)
        monkeypatch.setattr(
            api.state, "settings", dataclasses.replace(api.settings, secret_key=",".join(keys))
        )

    now_with(new, old)
    assert (await api.post("/connections/reseal")).json() == {"resealed": 1, "closed": []}
    assert (await api.post("/connections/reseal")).json() == {"resealed": 0, "closed": []}
    assert api.bench.query("SELECT sealed FROM connection") != before
    now_with(new)
    assert (await api.post("/connections/crm/test")).json()["code"] == "connection.no_test"  # it opens
    now_with(base64.b64encode(bytes(range(90, 122))).decode())
    assert (await api.post("/connections/reseal")).json() == {"resealed": 0, "closed": ["crm"]}


async def test_one_connection_is_shown_without_its_secrets(api: Api) -> None:
    values = {"token": "s3cr3t-t0k3n"}
    await api.post(
        "/connections", {"name": "crm", "kind": "bearer", "hosts": ["api.example.com"], "values": values}
    )
    shown = await api.get("/connections/crm")
    assert (shown.status_code, shown.json()["kind"]) == (200, "bearer")
    assert "s3cr3t" not in shown.text
    assert (await api.get("/connections/nope")).status_code == 404
