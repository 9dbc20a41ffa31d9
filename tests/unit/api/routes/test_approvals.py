from __future__ import annotations

from typing import Any

from tests.builders import node
from tests.unit.api.conftest import Api

FORM = {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer"}}}


async def asking(api: Api, payload: Any = None, **config: Any) -> tuple[str, dict[str, Any]]:
    """An execution that waits for a decision, and the approval as the list shows it."""
    await api.push(node("ask", "approval", {"title": "Pay?", "show": {"order": 7}, **config}))
    name = await api.execute(payload)
    await api.carry(name)
    (found,) = (await api.get("/approvals?status=open")).json()["data"]
    return name, found


async def decide(api: Api, found: dict[str, Any], decision: str = "approve", **more: Any) -> Any:
    body = {"decision": decision, "shown_hash": found["shown_hash"], **more}
    return await api.post(f"/approvals/{found['id']}/decide", body)


async def test_what_is_asked_is_listed_shown_and_decided(api: Api) -> None:
    name, found = await asking(api, description="Of the shop.", approvers={"roles": ["boss"]}, timeout="1d")
    assert (found["title"], found["status"], found["execution"], found["node"]) == (
        "Pay?",
        "open",
        name,
        "ask",
    )
    assert found["approvers"] == {"users": [], "roles": ["boss"]}
    assert isinstance(found["due"], int)
    shown = (await api.get(f"/approvals/{found['id']}")).json()
    assert (shown["description"], shown["show"], shown["votes"]) == ("Of the shop.", {"order": 7}, [])
    body = {"decision": "approve", "shown_hash": shown["shown_hash"], "comment": "Fine."}
    path = f"/approvals/{found['id']}/decide"
    answer = await api.post(path, body, X_Celeriac_Principal="ann", X_Celeriac_Roles="clerk, boss")
    assert (answer.status_code, answer.json()) == (
        200,
        {"id": found["id"], "status": "approved", "decided": True},
    )
    await api.carry(name)
    output = (await api.get(f"/executions/{name}")).json()["output"]["ask"]
    assert (output["name"], output["payload"]["votes"][0]["principal"]) == ("approved", "ann")
    assert (await api.get("/approvals?status=open")).json()["data"] == []
    (listed,) = (await api.get("/approvals")).json()["data"]
    assert listed["status"] == "approved"


async def test_whoever_comes_too_late_learns_who_was_first(api: Api) -> None:
    _, found = await asking(api)
    await api.post(
        f"/approvals/{found['id']}/decide",
        {"decision": "reject", "shown_hash": found["shown_hash"]},
        X_Celeriac_Principal="ann",
    )
    late = await decide(api, found)
    assert (late.status_code, late.json()["code"]) == (409, "approval.closed")
    details = late.json()["details"]
    assert (details["status"], details["votes"][0]["principal"]) == ("rejected", "ann")


async def test_a_voice_short_of_the_quorum_is_counted_once(api: Api) -> None:
    _, found = await asking(api, quorum=2)
    assert (await decide(api, found)).json() == {"id": found["id"], "status": "open", "decided": False}
    again = await decide(api, found)
    assert (again.status_code, again.json()["code"]) == (409, "approval.voted")


async def test_those_who_may_not_decide_are_told_why(api: Api) -> None:
    _, found = await asking(api, approvers={"users": ["ann"]})
    answer = await decide(api, found)
    assert (answer.status_code, answer.json()["code"]) == (403, "approval.not_asked")


async def test_whoever_started_it_is_known_by_name_or_by_having_none(api: Api) -> None:
    await api.push(node("ask", "approval", {"title": "Pay?", "four_eyes": True}))
    answer = await api.post("/workflows/w/execute", {}, X_Celeriac_Principal="ann")
    assert (await api.get(f"/executions/{answer.json()['id']}")).json()["principal"] == "ann"
    await api.carry(answer.json()["id"])
    (found,) = (await api.get("/approvals")).json()["data"]
    path, body = (
        f"/approvals/{found['id']}/decide",
        {"decision": "approve", "shown_hash": found["shown_hash"]},
    )
    own = await api.post(path, body, X_Celeriac_Principal="ann")
    assert (own.status_code, own.json()["code"]) == (403, "approval.four_eyes")
    assert (await api.post(path, body, X_Celeriac_Principal="bob")).status_code == 200


async def test_a_decision_is_about_what_was_shown(api: Api) -> None:
    _, found = await asking(api)
    answer = await decide(api, {**found, "shown_hash": "0" * 64})
    assert (answer.status_code, answer.json()["code"]) == (409, "approval.stale")


async def test_what_the_form_asks_for_is_needed(api: Api) -> None:
    name, found = await asking(api, form=FORM)
    wrong = await decide(api, found, form={"amount": "3"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "approval.form_invalid")
    assert wrong.json()["errors"][0]["pointer"] == "/form/amount"
    assert (await decide(api, found)).status_code == 422
    assert (await decide(api, found, form={"amount": 3, "why": "x" * 17_000})).status_code == 422
    assert (await decide(api, found, form={"amount": 3})).status_code == 200
    await api.carry(name)
    output = (await api.get(f"/executions/{name}")).json()["output"]["ask"]
    assert output["payload"]["votes"][0]["form"] == {"amount": 3}


async def test_what_is_no_decision_changes_nothing(api: Api) -> None:
    _, found = await asking(api)
    shown = found["shown_hash"]
    for body in (
        {},
        {"decision": "approve"},
        {"decision": "perhaps", "shown_hash": shown},
        {"decision": "approve", "shown_hash": 7},
        {"decision": "approve", "shown_hash": shown, "comment": "x" * 4_001},
        {"decision": "approve", "shown_hash": shown, "comment": 7},
        {"decision": "approve", "shown_hash": shown, "form": {}},
    ):
        answer = await api.post(f"/approvals/{found['id']}/decide", body)
        assert answer.status_code == 422, body
    assert (await api.get("/approvals/appr_none")).status_code == 404
    assert (
        await api.post("/approvals/appr_none/decide", {"decision": "approve", "shown_hash": ""})
    ).status_code == 404
    assert (await api.get("/approvals?status=lost")).status_code == 422
    assert api.bench.query("SELECT * FROM approval_vote") == []


async def test_approvals_are_listed_page_by_page(api: Api) -> None:
    await api.push(node("ask", "approval", {"title": "{{ n }}", "show": "x" * 40_000}))
    for number in range(3):
        api.bench.clock.move(1)
        await api.carry(await api.execute({"n": str(number)}))
    first = (await api.get("/approvals?limit=2")).json()
    assert len(first["data"]) == 2
    rest = (await api.get("/approvals", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert {each["title"] for each in first["data"] + rest["data"]} == {"0", "1", "2"}
    assert not rest["has_more"]
    shown = (await api.get(f"/approvals/{rest['data'][0]['id']}")).json()
    assert shown["show"] == "x" * 40_000


async def test_an_inbox_has_what_waits_for_ones_own_voice(api: Api) -> None:
    ann = {"X-Celeriac-Principal": "ann", "X-Celeriac-Roles": "boss"}

    async def inbox(**headers: str) -> list[str]:
        rows = (await api.get("/approvals?mine=true", headers=headers or ann)).json()["data"]
        return sorted(each["title"] for each in rows)

    asked: dict[str, dict[str, Any]] = {
        "anybody": {},
        "her": {"approvers": {"users": ["ann"]}},
        "bosses": {"approvers": {"roles": ["boss"]}, "quorum": 2},
        "others": {"approvers": {"users": ["bob"], "roles": ["clerk"]}},
        "not_hers": {"four_eyes": True},
    }
    for title, config in asked.items():
        await api.push(node("ask", "approval", {"title": title, **config}), name=title)
        started = await api.post(f"/workflows/{title}/execute", {}, X_Celeriac_Principal="ann")
        await api.carry(started.json()["id"])
    assert await inbox() == ["anybody", "bosses", "her"]
    assert await inbox(**{"X-Celeriac-Principal": "bob", "X-Celeriac-Roles": "boss"}) == [
        "anybody",
        "bosses",
        "not_hers",
        "others",
    ]
    found = {each["title"]: each for each in (await api.get("/approvals")).json()["data"]}
    for title in ("her", "bosses"):
        body = {"decision": "approve", "shown_hash": found[title]["shown_hash"]}
        said = await api.http.post(f"/api/v1/approvals/{found[title]['id']}/decide", json=body, headers=ann)
        assert said.status_code == 200, said.text
    assert await inbox() == ["anybody"]
