"""Workflows that are changed, with and without saying what was seen; deleted and restored."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from engine import retention
from tests.builders import document, node
from tests.unit.api.conftest import Api

DAY = 86_400_000


async def send(
    api: Api, method: str, path: str, body: Any = None, match: str | None = None
) -> httpx2.Response:
    headers = {} if match is None else {"If-Match": match}
    more = {} if body is None else {"json": body}
    return await api.http.request(method, f"/api/v1{path}", headers=headers, **more)


async def tag(api: Api, name: str = "w") -> str:
    answer = await api.get(f"/workflows/{name}")
    assert answer.headers["etag"] == answer.json()["etag"]
    return str(answer.headers["etag"])


async def test_an_etag_is_another_one_as_soon_as_anything_is(api: Api) -> None:
    await api.push(node("a"))
    seen = [await tag(api)]
    for change in (
        api.post("/workflows/w/disable"),
        api.push(node("b")),
        send(api, "PUT", "/workflows/w/aliases/stable", {"version": 1}),
        send(api, "PUT", "/workflows/w/aliases/stable", {"version": 2}),
        send(api, "PATCH", "/workflows/w", {"description": "Better."}),
        send(api, "PATCH", "/workflows/w", {"name": "v"}),
    ):
        await change
        seen.append(await tag(api, "v" if len(seen) == 6 else "w"))
    assert len(set(seen)) == 7


async def test_who_has_it_already_is_sent_nothing(api: Api) -> None:
    await api.push(node("a"))
    seen = await tag(api)
    answer = await api.get("/workflows/w", headers={"If-None-Match": f'"x", {seen}'})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", seen)
    assert (await api.get("/workflows/w", headers={"If-None-Match": "*"})).status_code == 304
    assert (await api.get("/workflows/w", headers={"If-None-Match": '"x"'})).status_code == 200


async def test_what_is_replaced_has_to_be_named(api: Api) -> None:
    await api.push(node("a"))
    unsaid = await send(api, "PUT", "/workflows/w", document([node("b")]))
    assert (unsaid.status_code, unsaid.json()["code"]) == (428, "request.precondition_required")
    stale = await send(api, "PUT", "/workflows/w", document([node("b")]), '"x"')
    assert (stale.status_code, stale.json()["code"]) == (412, "workflow.changed")
    assert stale.json()["details"]["etag"] == await tag(api)
    done = await send(api, "PUT", "/workflows/w", document([node("b")]), await tag(api))
    assert (done.status_code, done.json()["version"]["number"]) == (200, 2)
    assert done.headers["etag"] == await tag(api)
    anything = await send(api, "PUT", "/workflows/w", document([node("c")]), "*")
    assert anything.json()["version"]["number"] == 3
    weak = await send(api, "PUT", "/workflows/w", document([node("d")]), f"W/{await tag(api)}")
    assert weak.status_code == 412
    broken = await send(api, "PUT", "/workflows/w", document([node("d")]), "x")
    assert (broken.status_code, broken.json()["code"]) == (422, "request.invalid")
    assert (await send(api, "PUT", "/workflows/nope", document([node("d")]), "*")).status_code == 404


async def test_a_patch_changes_what_it_names_and_nothing_else(api: Api) -> None:
    await api.push(node("a"), variables={"limit": 1}, outputs="{{ vars.limit }}")
    answer = await send(api, "PATCH", "/workflows/w", {"definition": {"variables": {"limit": 2}}})
    assert (answer.status_code, answer.json()["version"]["number"]) == (200, 2)
    shown = (await api.get("/workflows/w")).json()
    assert shown["document"]["definition"]["variables"] == {"limit": 2}
    assert shown["document"]["definition"]["nodes"] == [node("a")]
    only = await send(api, "PATCH", "/workflows/w", {"description": "Counts.", "enabled": False})
    assert only.json()["changed"] is False
    shown = (await api.get("/workflows/w")).json()
    assert (shown["description"], shown["enabled"], shown["version"]["number"]) == ("Counts.", False, 2)
    assert shown["document"]["description"] == "Counts."
    await send(api, "PATCH", "/workflows/w", {"description": None, "enabled": None})
    shown = (await api.get("/workflows/w")).json()
    assert (shown["description"], shown["enabled"]) == ("", True)


async def test_a_patch_that_makes_a_mistake_saves_nothing(api: Api) -> None:
    await api.push(node("a"))
    answer = await send(api, "PATCH", "/workflows/w", {"definition": {"nodes": [{"id": "a", "type": "x"}]}})
    assert (answer.status_code, answer.json()["code"]) == (422, "definition.invalid")
    bodies: list[Any] = [[], 7, "x"]
    for body in bodies:
        assert (await send(api, "PATCH", "/workflows/w", body)).json()["code"] == "request.invalid"
    stale = await send(api, "PATCH", "/workflows/w", {"enabled": False}, '"x"')
    assert stale.status_code == 412
    assert (await api.get("/workflows/w")).json()["version"]["number"] == 1


async def test_a_patch_that_names_no_etag_is_applied_to_what_somebody_quicker_has_made(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api import definitions

    await api.push(node("a"))
    plain, quicker = definitions.current, [node("b"), node("c")]

    async def current(request: Any, ref: str) -> Any:
        found = await plain(request, ref)
        if quicker:
            await api.push(quicker.pop())
        return found

    monkeypatch.setattr(definitions, "current", current)
    answer = await send(api, "PATCH", "/workflows/w", {"description": "Mine."})
    assert answer.status_code == 200
    shown = (await api.get("/workflows/w")).json()
    assert (shown["description"], shown["document"]["definition"]["nodes"]) == ("Mine.", [node("b")])


async def test_a_workflow_is_renamed_unless_another_has_the_name(api: Api) -> None:
    await api.push(node("a"))
    await api.push(node("a"), name="other")
    name = (await api.get("/workflows/w")).json()["id"]
    taken = await send(api, "PATCH", "/workflows/w", {"name": "other"})
    assert (taken.status_code, taken.json()["code"]) == (409, "workflow.name_taken")
    assert (await send(api, "PATCH", "/workflows/w", {"name": "new"})).status_code == 200
    assert (await api.get("/workflows/new")).json()["id"] == name
    assert (await api.get("/workflows/w")).status_code == 404


async def test_what_is_only_kept_starts_nothing_before_it_is_published(api: Api) -> None:
    await api.push(node("a"))
    kept = await api.post("/workflows?publish=false", document([node("b")]))
    assert (kept.json()["version"]["number"], kept.json()["active"]) == (2, False)
    assert (await api.get("/workflows/w")).json()["version"]["number"] == 1
    published = await api.post("/workflows/w/versions/2/publish")
    assert (published.json()["version"]["number"], published.json()["before"]) == (2, 1)
    first = await api.post("/workflows?publish=false", document([node("a")], name="draft"))
    assert (first.status_code, first.json()["active"]) == (201, True)
    assert (await api.get("/workflows/draft")).json()["enabled"] is False
    assert (await api.post("/workflows/draft/execute", {})).status_code == 409


async def test_versions_are_rolled_back_to_and_named(api: Api) -> None:
    for name in "abc":
        await api.push(node(name))
    named = await send(api, "PUT", "/workflows/w/aliases/stable", {"version": 1})
    assert (named.status_code, named.json()["aliases"]) == (200, {"stable": 1})
    back = await api.post("/workflows/w/rollback")
    assert (back.json()["version"]["number"], back.json()["before"]) == (2, 3)
    back = await api.post("/workflows/w/rollback", {"to": "stable"})
    assert back.json()["version"]["number"] == 1
    assert (await api.post("/workflows/w/rollback")).json()["code"] == "request.invalid"
    stale = await api.http.post("/api/v1/workflows/w/rollback", json={"to": 3}, headers={"If-Match": '"x"'})
    assert stale.status_code == 412
    for wanted, status in ((9, 404), ("nope", 404), ("!", 422), (0, 422), (1.5, 422), (True, 422)):
        assert (await api.post("/workflows/w/rollback", {"to": wanted})).status_code == status, wanted
    assert (await send(api, "PUT", "/workflows/w/aliases/x", {"version": 9})).status_code == 404
    assert (await send(api, "PUT", "/workflows/w/aliases/9", {"version": 1})).status_code == 422
    gone = await send(api, "DELETE", "/workflows/w/aliases/stable")
    assert gone.json()["aliases"] == {}
    again = await send(api, "DELETE", "/workflows/w/aliases/stable")
    assert (again.status_code, again.json()["code"]) == (404, "workflow.alias_unknown")


async def test_an_execution_is_started_on_a_version_or_an_alias(api: Api) -> None:
    await api.push(node("a"))
    await api.push(node("b"))
    await send(api, "PUT", "/workflows/w/aliases/stable", {"version": 1})
    for wanted, number in (("stable", 1), (1, 1), (None, 2)):
        body = {} if wanted is None else {"version": wanted}
        name = (await api.post("/workflows/w/execute", body)).json()["id"]
        shown = (await api.get(f"/executions/{name}")).json()
        assert shown["version"]["number"] == number, wanted
    for unknown in ("nope", 9):
        assert (await api.post("/workflows/w/execute", {"version": unknown})).status_code == 404


async def test_a_workflow_has_as_many_aliases_as_it_may(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import releases

    monkeypatch.setattr(releases, "MOST_ALIASES", 2)
    await api.push(node("a"))
    for name in ("a", "b", "a"):
        assert (await send(api, "PUT", f"/workflows/w/aliases/{name}", {"version": 1})).status_code == 200
    refused = await send(api, "PUT", "/workflows/w/aliases/c", {"version": 1})
    assert (refused.status_code, refused.json()["code"]) == (409, "workflow.too_many_aliases")


async def test_a_deleted_workflow_is_seen_by_nobody_and_its_name_is_free(api: Api) -> None:
    await api.push(node("a"))
    name = (await api.get("/workflows/w")).json()["id"]
    running = await api.execute()
    stale = await send(api, "DELETE", "/workflows/w", match='"x"')
    assert stale.status_code == 412
    assert (await send(api, "DELETE", "/workflows/w", match=await tag(api))).status_code == 204
    for path in ("/workflows/w", f"/workflows/{name}", f"/workflows/{name}/versions"):
        assert (await api.get(path)).status_code == 404
    assert (await api.post(f"/workflows/{name}/execute", {})).status_code == 404
    assert (await api.get("/workflows")).json()["data"] == []
    (listed,) = (await api.get("/workflows?deleted=true")).json()["data"]
    assert (listed["id"], listed["enabled"], listed["name"]) == (name, False, f"w (deleted, {name})")
    assert listed["deleted_at"]
    await api.carry(running)
    assert (await api.get(f"/executions/{running}")).json()["status"] == "succeeded"
    await api.push(node("b"))
    taken = await api.post(f"/workflows/{name}/restore")
    assert (taken.status_code, taken.json()["code"]) == (409, "workflow.name_taken")
    await send(api, "DELETE", "/workflows/w")
    back = (await api.post(f"/workflows/{name}/restore")).json()
    assert (back["name"], back["enabled"], back["document"]["definition"]["nodes"]) == (
        "w",
        False,
        [node("a")],
    )
    again = await api.post(f"/workflows/{name}/restore")
    assert again.status_code == 404


async def test_the_triggers_of_a_deleted_workflow_rest_until_it_is_restored(api: Api) -> None:
    webhook = {"type": "webhook", "config": {"path": "/paid", "verify": "github"}}
    await api.push(node("a"), trigger=webhook)
    made = await api.post("/schedules", {"workflow": "w", "name": "hourly", "config": {"every": "1h"}})
    schedule, name = made.json()["id"], (await api.get("/workflows/w")).json()["id"]
    assert (await api.http.post("/webhooks/paid", json={})).status_code == 401
    await send(api, "DELETE", "/workflows/w")
    assert (await api.http.post("/webhooks/paid", json={})).status_code == 404
    assert (await api.get(f"/schedules/{schedule}")).status_code == 404
    assert api.bench.query("SELECT due FROM schedule") == [(None,)]
    await api.push(node("b"), name="other", trigger=webhook)
    taken = await api.post(f"/workflows/{name}/restore")
    assert (taken.status_code, taken.json()["code"]) == (409, "webhook.path_taken")
    await send(api, "DELETE", "/workflows/other")
    assert (await api.post(f"/workflows/{name}/restore")).status_code == 200
    shown = (await api.get(f"/schedules/{schedule}")).json()
    assert (shown["status"], shown["next_due"] is not None) == ("disabled", True)
    await api.post("/workflows/w/enable")
    assert (await api.http.post("/webhooks/paid", json={})).status_code == 401


async def test_a_deleted_workflow_goes_with_the_last_of_its_executions(api: Api) -> None:
    inner = {"type": "workflow", "id": "call", "config": {"definition": {"nodes": [node("x")]}}}
    await api.push(inner, trigger={"type": "event", "config": {"type": "due"}})
    await api.push(node("a"), name="stays")
    name = await api.execute()
    await send(api, "PUT", "/workflows/w/aliases/stable", {"version": 1})
    await send(api, "DELETE", "/workflows/w")
    now = api.bench.clock.now()

    def purged() -> int:
        return retention.purge(api.bench.database, now + DAY, now + DAY).workflows

    assert purged() == 0
    await api.carry(name)
    assert purged() == 1
    assert [each[0] for each in api.bench.query("SELECT name FROM workflow")] == ["stays"]
    assert api.bench.query("SELECT count(*) FROM workflow_version") == [(1,)]
    for table in ("workflow_alias", "event_trigger"):
        assert api.bench.query(f"SELECT count(*) FROM {table}") == [(0,)]


async def test_a_list_is_narrowed_down_sorted_and_read_in_pages(api: Api) -> None:
    for name in ("order_a", "order_b", "parcel", "order_c"):
        await api.push(node("n"), name=name)
    await api.post("/workflows/order_b/disable")

    async def names(**query: Any) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            page = (
                await api.get("/workflows", params={**query, **({"cursor": cursor} if cursor else {})})
            ).json()
            found += [each["name"] for each in page["data"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    assert await names(filter="name:starts:order", limit=2) == ["order_a", "order_b", "order_c"]
    assert await names(filter=["name:starts:order", "enabled:true"], sort="name:desc", limit=1) == [
        "order_c",
        "order_a",
    ]
    assert await names(sort="enabled", limit=1) == [
        "order_b",
        *await names(filter="enabled:true", sort="enabled"),
    ]
    assert await names(sort="created_at:desc", limit=3) == [
        *reversed(await names(sort="created_at", limit=1))
    ]
    for query in ({"filter": "x:1"}, {"sort": "x"}, {"filter": "enabled:maybe"}):
        refused = await api.get("/workflows", params=query)
        assert (refused.status_code, refused.json()["code"]) == (422, "request.invalid")
    first = (await api.get("/workflows", params={"limit": 1})).json()["next_cursor"]
    other = await api.get("/workflows", params={"limit": 1, "cursor": first, "sort": "name:desc"})
    assert other.status_code == 422


async def test_versions_come_in_pages(api: Api) -> None:
    for name in "abc":
        await api.push(node(name))
    first = (await api.get("/workflows/w/versions", params={"limit": 2})).json()
    second = (await api.get("/workflows/w/versions", params={"cursor": first["next_cursor"]})).json()
    assert [each["number"] for each in (*first["data"], *second["data"])] == [3, 2, 1]
    shown = (await api.get("/workflows/w/versions/1")).json()
    assert (shown["number"], shown["active"], shown["document"]) == (1, False, document([node("a")]))
    assert (await api.get("/workflows/w/versions/9")).status_code == 404
