from __future__ import annotations

from typing import Any

import pytest

from tests.builders import node
from tests.unit.api.conftest import Api

URL = "https://example.com/hooks"
COLUMNS = {"id", "url", "types", "workflow_id", "description", "enabled", "reason", "failing_since"}


async def added(api: Api, **more: Any) -> Any:
    answer = await api.post("/subscriptions", {"url": URL, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def patched(api: Api, name: str, **changes: Any) -> Any:
    return await api.http.patch(f"/api/v1/subscriptions/{name}", json=changes)


async def test_a_secret_is_shown_once(api: Api) -> None:
    made = await added(api)
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made.keys() >= COLUMNS
    shown = await api.get(f"/subscriptions/{made['id']}")
    listed = await api.get("/subscriptions")
    assert shown.json() == made
    assert listed.json() == {"data": [made]}
    for answer in (shown, listed):
        assert secret not in answer.text
    stored = api.bench.query("SELECT * FROM hook")
    assert secret not in repr(stored)
    rotated = (await api.post(f"/subscriptions/{made['id']}/rotate")).json()
    assert rotated["secret"] not in (secret, None)


async def test_it_is_changed_in_parts(api: Api) -> None:
    await api.push(node("a"))
    name = (await added(api))["id"]
    changed = (
        await patched(api, name, types=["node.failed"], workflow="w", description="d", enabled=False)
    ).json()
    assert (changed["types"], changed["description"], changed["enabled"]) == (["node.failed"], "d", False)
    assert changed["workflow_id"].startswith("wf_")
    again = (await patched(api, name, workflow=None, enabled=True)).json()
    assert (again["workflow_id"], again["enabled"], again["description"]) == (None, True, "d")


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"url": 7},
        {"url": "ftp://example.com"},
        {"url": "https://user:pw@example.com"},
        {"url": "https://example.com:0/"},
        {"url": "https://" + "x" * 2000},
        {"url": URL, "types": []},
        {"url": URL, "types": [7]},
        {"url": URL, "types": ["Node Failed"]},
        {"url": URL, "workflow": 7},
        {"url": URL, "description": "x" * 1001},
        {"url": URL, "enabled": True},
        {"url": URL, "secret": "mine"},
    ],
)
async def test_what_makes_no_subscription_is_refused_and_nothing_is_kept(
    api: Api, wish: dict[str, Any]
) -> None:
    answer = await api.post("/subscriptions", wish)
    assert answer.status_code == 422, answer.text
    assert (await api.get("/subscriptions")).json() == {"data": []}


async def test_there_may_be_as_many_as_the_limit_and_no_more(api: Api) -> None:
    most = api.settings.limits.subscriptions
    for _ in range(most):
        await added(api)
    answer = await api.post("/subscriptions", {"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (413, "limit.too_large")


async def test_a_test_is_a_delivery_that_is_not_made_twice_at_a_time(api: Api) -> None:
    name = (await added(api))["id"]
    made = await api.post(f"/subscriptions/{name}/test")
    assert made.status_code == 202
    page = (await api.get(f"/subscriptions/{name}/deliveries")).json()
    assert [(each["type"], each["status"]) for each in page["data"]] == [("webhook.test", "pending")]
    again = await api.post(f"/subscriptions/{name}/deliveries/{made.json()['id']}/redeliver")
    assert (again.status_code, again.json()["code"]) == (409, "request.conflict")


async def test_deliveries_come_in_pages(api: Api) -> None:
    name = (await added(api))["id"]
    made = [(await api.post(f"/subscriptions/{name}/test")).json()["id"] for _ in range(5)]
    found: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.get(f"/subscriptions/{name}/deliveries", params=query)).json()
        found += [each["id"] for each in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(found) == sorted(made)


async def test_what_is_removed_is_gone_with_its_deliveries(api: Api) -> None:
    name = (await added(api))["id"]
    await api.post(f"/subscriptions/{name}/test")
    assert (await api.http.delete(f"/api/v1/subscriptions/{name}")).status_code == 204
    assert api.bench.query("SELECT count(*) FROM hook_delivery") == [(0,)]
    for path in ("", "/deliveries"):
        assert (await api.get(f"/subscriptions/{name}{path}")).status_code == 404
    for path in ("/test", "/rotate", "/deliveries/msg_x/redeliver"):
        assert (await api.post(f"/subscriptions/{name}{path}")).status_code == 404
