from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.conftest import Api


async def put(api: Api, name: str, body: Any) -> Any:
    return await api.http.put(f"/api/v1/variables/{name}", json=body)


async def test_variables_are_set_listed_and_removed(api: Api) -> None:
    assert (await put(api, "limit", {"value": 10})).status_code == 201
    assert (await put(api, "limit", {"value": {"a": [None]}})).status_code == 200
    (found,) = (await api.get("/variables")).json()["data"]
    assert (found["name"], found["value"]) == ("limit", {"a": [None]})
    assert (await api.http.delete("/api/v1/variables/limit")).status_code == 204
    gone = await api.http.delete("/api/v1/variables/limit")
    assert (gone.status_code, gone.json()["code"]) == (404, "variable.unknown")


@pytest.mark.parametrize(
    ("name", "body"),
    [("a-b", {"value": 1}), ("1a", {"value": 1}), ("x" * 65, {"value": 1}), ("a", {}), ("a", [])],
)
async def test_what_is_no_variable_is_refused(api: Api, name: str, body: Any) -> None:
    assert (await put(api, name, body)).status_code == 422


async def test_what_cannot_be_stored_is_no_value(api: Api) -> None:
    assert (await put(api, "a", {"value": "x\0"})).status_code == 422
