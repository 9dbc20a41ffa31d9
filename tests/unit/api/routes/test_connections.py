from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.conftest import Api

BEARER = {"name": "crm", "kind": "bearer", "hosts": ["api.example.com"], "values": {"token": "s3cr3t-t0k3n"}}


async def test_a_stored_secret_never_comes_back(api: Api) -> None:
    added = await api.post("/connections", BEARER)
    listed = await api.get("/connections")
    assert (added.status_code, listed.json()["data"][0]["name"]) == (201, "crm")
    for answer in (added, listed):
        assert "s3cr3t" not in answer.text
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
