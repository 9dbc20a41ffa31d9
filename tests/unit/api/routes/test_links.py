"""Links to approvals: whoever has one decides as the person it was made for, once, as long as that person may."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from engine.links import LONGEST_LIFE
from engine.settings import DEFAULT_PROJECT
from tests.unit.api.conftest import Api
from tests.unit.api.people import PASSWORD, member, user
from tests.unit.api.routes.test_approvals import asking

ANN = "ann@example.com"


async def linked(api: Api, who: str = ANN, **more: Any) -> tuple[str, dict[str, Any], str]:
    """An execution that waits for a decision, the approval, and the path of a link to it."""
    name, found = await asking(api, approvers={"users": [ANN]})
    made = await api.post("/users", {"name": who, "password": PASSWORD})
    assert made.status_code in (201, 409)
    await member(api, DEFAULT_PROJECT, who, "approver")
    answer = await api.post(f"/approvals/{found['id']}/links", {"user": who, **more})
    assert answer.status_code == 201, answer.text
    return name, found, "/api/v1/approval-links/" + answer.json()["url"].rpartition("/")[2]


async def anonymous(api: Api, method: str, path: str, body: object = None) -> httpx2.Response:
    return await api.http.request(method, path, headers={"Authorization": ""}, json=body)


async def test_whoever_has_a_link_decides_as_its_person_and_once(api: Api) -> None:
    name, found, path = await linked(api)
    await anonymous(api, "GET", path)  # looking decides nothing
    shown = await anonymous(api, "GET", path)
    assert (shown.status_code, shown.json()["status"], shown.json()["votes"]) == (200, "open", [])
    said = {"decision": "approve", "shown_hash": shown.json()["shown_hash"]}
    answer = await anonymous(api, "POST", f"{path}/decide", said)
    assert (answer.status_code, answer.json()["status"]) == (200, "approved")
    again = await anonymous(api, "POST", f"{path}/decide", said)
    assert (again.status_code, again.json()["code"]) == (409, "approval.closed")
    await api.carry(name)
    output = (await api.get(f"/executions/{name}")).json()["output"]["ask"]
    assert [each["principal"] for each in output["payload"]["votes"]] == [ANN]
    told = (await api.get("/audit")).json()["data"]
    noted = {each["action"]: each["name"] for each in told if each["subject"] == found["id"]}
    assert (noted["approval:decide"], set(noted)) == (ANN, {"approval:decide", "approval:link"})


async def test_a_link_permits_no_more_than_its_person(api: Api) -> None:
    _, found, path = await linked(api, "bob@example.com")
    said = {"decision": "approve", "shown_hash": found["shown_hash"]}
    answer = await anonymous(api, "POST", f"{path}/decide", said)
    assert (answer.status_code, answer.json()["code"]) == (403, "approval.not_asked")


async def test_a_link_ends_with_its_time_and_with_its_persons_role(api: Api) -> None:
    _, _, path = await linked(api, expires_in=60)
    assert (await anonymous(api, "GET", path)).status_code == 200
    await member(api, DEFAULT_PROJECT, ANN, "viewer")
    gone = [await anonymous(api, "GET", path)]
    await member(api, DEFAULT_PROJECT, ANN, "approver")
    assert (await anonymous(api, "GET", path)).status_code == 200
    clock = api.state.runtime.clock
    now = clock.now()
    clock.now = lambda: now + 60_000  # type: ignore[method-assign]
    gone += [await anonymous(api, "GET", path), await anonymous(api, "GET", f"{path}x")]
    gone += [await anonymous(api, "POST", f"{path}/decide", {})]
    assert {(each.status_code, each.json()["code"]) for each in gone} == {(404, "approval.link_unknown")}


@pytest.mark.parametrize("seconds", [0, -1, LONGEST_LIFE + 1, True, "60"])
async def test_how_long_a_link_is_good_for_has_its_limits(api: Api, seconds: object) -> None:
    _, found, _ = await linked(api, expires_in=LONGEST_LIFE)
    answer = await api.post(f"/approvals/{found['id']}/links", {"user": ANN, "expires_in": seconds})
    assert (answer.status_code, answer.json()["code"]) == (422, "request.invalid")


async def test_links_are_made_for_members_who_may_decide_and_by_whoever_manages_them(api: Api) -> None:
    _, found, _ = await linked(api)
    await user(api, "eve@example.com")
    path = f"/approvals/{found['id']}/links"
    answers = [await api.post(path, {"user": each}) for each in ("eve@example.com", "nobody@example.com", 7)]
    assert [each.json()["code"] for each in answers] == [
        "approval.no_approver",
        "user.unknown",
        "request.invalid",
    ]
    ann = await api.post("/auth/login", {"name": ANN, "password": PASSWORD})
    headers = {"Authorization": f"Bearer {ann.json()['access_token']}"}
    refused = await api.http.post(f"/api/v1{path}", json={"user": ANN}, headers=headers)
    assert refused.status_code == 403
