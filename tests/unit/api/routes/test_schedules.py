from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from celeriac.duration import rfc3339
from tests.builders import node
from tests.unit.api.conftest import Api

HOUR = 3_600_000


def trigger(**config: Any) -> dict[str, Any]:
    return {"type": "schedule", "id": "nightly", "config": config}


async def made(api: Api, **config: Any) -> dict[str, Any]:
    """A workflow, and a schedule that was made for it."""
    await api.push(node("a"))
    body = {"workflow": "w", "name": "nightly", "config": config or {"cron": "0 3 * * *"}}
    answer = await api.post("/schedules", body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/v1/schedules/{found['id']}"
    return found


async def test_a_schedule_of_a_definition_is_there_as_soon_as_that_is_saved(api: Api) -> None:
    await api.push(node("a"), trigger=trigger(cron="30 2 * * *", timezone="Europe/Berlin"))
    (found,) = (await api.get("/schedules")).json()["data"]
    assert (found["name"], found["origin"], found["status"]) == ("nightly", "definition", "active")
    assert found["workflow"]["name"] == "w"
    (following,) = (await api.get(f"/schedules/{found['id']}/preview?count=1")).json()["data"]
    assert following["slot"] == found["next_slot"]
    assert "T02:30:00+0" in following["local"]
    again = await api.http.put(f"/api/v1/schedules/{found['id']}", json={"config": {"every": 60}})
    assert (again.status_code, again.json()["code"]) == (409, "schedule.of_definition")
    assert (await api.http.delete(f"/api/v1/schedules/{found['id']}")).status_code == 409


async def test_a_new_version_changes_its_schedules_and_keeps_the_rest_of_them(api: Api) -> None:
    await api.push(node("a"), trigger=trigger(cron="30 2 * * *"))
    (before,) = (await api.get("/schedules")).json()["data"]
    await api.post(f"/schedules/{before['id']}/pause", {"reason": "holidays"})
    await api.push(node("a"), node("b"), trigger=trigger(cron="30 2 * * *"))
    (same,) = (await api.get("/schedules")).json()["data"]
    assert (same["id"], same["status"], same["reason"]) == (before["id"], "paused", "holidays")
    await api.push(node("a"), trigger=trigger(cron="30 4 * * *"))
    (changed,) = (await api.get("/schedules")).json()["data"]
    assert (changed["id"], changed["status"], changed["next_slot"]) == (before["id"], "paused", None)
    resumed = (await api.post(f"/schedules/{before['id']}/resume")).json()
    assert "T04:30" in rfc3339(resumed["next_slot"])
    await api.push(node("a"))
    assert (await api.get("/schedules")).json()["data"] == []


async def test_a_schedule_is_made_shown_changed_and_removed(api: Api) -> None:
    found = await made(api)
    path = f"/schedules/{found['id']}"
    assert (await api.get(path)).json() == found
    assert (await api.get("/schedules?workflow=w")).json()["data"] == [found]
    assert (await api.get("/schedules?workflow=x")).json()["data"] == []
    changed = (await api.http.put(f"/api/v1{path}", json={"config": {"every": "1h"}})).json()
    assert changed["config"] == {"every": "1h"}
    assert changed["next_slot"] % HOUR == 0
    twice = await api.post("/schedules", {"workflow": "w", "name": "nightly", "config": {"every": 5}})
    assert (twice.status_code, twice.json()["code"]) == (409, "schedule.name_taken")
    assert (await api.http.delete(f"/api/v1{path}")).status_code == 204
    gone = await api.get(path)
    assert (gone.status_code, gone.json()["code"]) == (404, "schedule.unknown")


async def test_lists_come_in_parts(api: Api) -> None:
    await api.push(node("a"))
    for number in range(5):
        await api.post("/schedules", {"workflow": "w", "name": f"s{number}", "config": {"every": 60}})
    first = (await api.get("/schedules?limit=3")).json()
    rest = (await api.get(f"/schedules?limit=3&cursor={first['next_cursor']}")).json()
    names = [each["name"] for each in (*first["data"], *rest["data"])]
    assert sorted(names) == ["s0", "s1", "s2", "s3", "s4"]
    assert rest["has_more"] is False


@pytest.mark.parametrize(
    ("config", "pointers"),
    [
        ({}, [""]),
        (None, [""]),
        ({"cron": "0 3 * * *", "every": 5}, [""]),
        ({"cron": "0 3 * *"}, ["/cron"]),
        ({"cron": "0 0 30 2 *"}, ["/cron"]),
        ({"cron": "R 3 * * *"}, ["/cron"]),
        ({"every": 0.5}, ["/every"]),
        ({"every": "often"}, ["/every"]),
        ({"every": 1e300}, ["/every"]),
        ({"every": "3661d"}, ["/every"]),
        ({"every": 1e18, "offset": 1e300}, ["/every", "/offset"]),
        ({"every": "1h", "start": "9999-12-31T23:59:59Z"}, ["/start"]),
        ({"every": "1h", "payload": "\0"}, [""]),
        ({"every": "1h", "offset": "1h"}, ["/offset"]),
        ({"every": "1h", "jitter": "25h"}, ["/jitter"]),
        ({"every": "1h", "timezone": "Europe/Atlantis"}, ["/timezone"]),
        ({"every": "1h", "start": "2031-05-04T09:00:00"}, ["/start"]),
        ({"every": "1h", "start": "2031-05-04T09:00:00Z", "end": "2031-05-04T09:00:00Z"}, ["/end"]),
        ({"every": "1h", "exclude": ["12-25", "christmas", "2031-02-30"]}, ["/exclude/1", "/exclude/2"]),
        ({"every": "1h", "overlap": "both"}, ["/overlap"]),
        ({"every": "1h", "misfire": {"policy": "all", "max": 0}}, ["/misfire"]),
        ({"every": "1h", "often": True}, [""]),
    ],
)
async def test_every_mistake_of_a_config_is_told_with_its_place(
    api: Api, config: Any, pointers: list[str]
) -> None:
    answer = await api.post("/schedules/preview", {"config": config})
    assert (answer.status_code, answer.json()["code"]) == (422, "schedule.invalid")
    assert list(dict.fromkeys(each["pointer"] for each in answer.json()["errors"])) == pointers


async def test_a_preview_shows_both_offsets_and_needs_no_schedule(api: Api) -> None:
    config = {"cron": "30 2 * * *", "timezone": "America/New_York", "exclude": ["2026-03-09"]}
    answer = await api.post("/schedules/preview?count=3&after=2026-03-07T00:00:00Z", {"config": config})
    assert [each["local"] for each in answer.json()["data"]] == [
        "2026-03-07T02:30:00-05:00",
        "2026-03-08T03:00:00-04:00",
        "2026-03-10T02:30:00-04:00",
    ]
    bad = await api.post("/schedules/preview?after=yesterday", {"config": config})
    assert bad.status_code == 422


async def test_a_paused_schedule_starts_nothing_and_makes_up_for_nothing(api: Api) -> None:
    found = await made(api, every=60)
    paused = (await api.post(f"/schedules/{found['id']}/pause", {"reason": "quiet"})).json()
    assert (paused["status"], paused["reason"], paused["next_due"]) == ("paused", "quiet", None)
    api.bench.clock.move(600)
    api.bench.poller().tick()
    assert api.bench.query("SELECT * FROM execution") == []
    resumed = (await api.post(f"/schedules/{found['id']}/resume")).json()
    assert resumed["status"] == "active"
    assert resumed["next_slot"] > datetime.now(UTC).timestamp() * 1000


async def test_a_schedule_is_run_at_once_with_its_payload_or_another(api: Api) -> None:
    found = await made(api, every="1h", payload={"kind": "night"}, overlap="allow")
    path = f"/schedules/{found['id']}/run"
    first = await api.post(path, None, Idempotency_Key="k")
    assert first.status_code == 202
    assert (await api.post(path, None, Idempotency_Key="k")).json() == {
        "execution": first.json()["execution"],
        "new": False,
    }
    shown = (await api.get(f"/executions/{first.json()['execution']}?include=input")).json()
    assert shown["input"] == {"kind": "night"}
    assert shown["trigger"] == {"type": "schedule", "id": "nightly", "schedule": found["id"]}
    other = (await api.post(path, {"payload": [1]})).json()["execution"]
    assert (await api.get(f"/executions/{other}?include=input")).json()["input"] == [1]


async def test_running_minds_what_is_under_way(api: Api) -> None:
    found = await made(api, every="1h")
    path = f"/schedules/{found['id']}/run"
    assert (await api.post(path)).status_code == 202
    refused = await api.post(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "limit.rejected")


async def test_past_slots_are_filled_in_once(api: Api) -> None:
    found = await made(api, cron="0 * * * *")
    path = f"/schedules/{found['id']}/backfill"
    wish = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-01T05:00:00Z", "overlap": "allow"}
    dry = (await api.post(path, {**wish, "dry": True})).json()
    assert dry["count"] == 5
    assert api.bench.query("SELECT * FROM execution") == []
    done = (await api.post(path, wish)).json()
    assert (done["count"], done["started"], len(done["executions"])) == (5, 5, 5)
    again = (await api.post(path, {**wish, "to": "2026-03-01T07:00:00Z"})).json()
    assert (again["known"], again["started"]) == (5, 2)
    slots = (await api.get(f"/schedules/{found['id']}/slots")).json()["data"]
    assert len(slots) == 7
    assert {each["status"] for each in slots} == {"started"}
    shown = (await api.get(f"/executions/{done['executions'][0]}")).json()
    assert shown["trigger"]["scheduled_at"] == "2026-03-01T00:00:00.000Z"


async def test_a_backfill_waits_for_what_it_has_under_way_unless_told_otherwise(api: Api) -> None:
    found = await made(api, cron="0 * * * *")
    path = f"/schedules/{found['id']}/backfill"
    wish = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-01T04:00:00Z"}
    done = (await api.post(path, {**wish, "overlap": "skip"})).json()
    assert (done["started"], done["refused"]) == (1, 3)
    # What was left out has started nothing, and may be asked for again.
    more = (await api.post(path, wish)).json()
    assert (more["known"], more["started"]) == (1, 3)
    states = api.bench.query("SELECT count(*) FROM segment WHERE status = 'waiting'")
    assert states == [(3,)]


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"from": "2026-03-01T00:00:00Z"},
        {"from": "2026-03-01T00:00:00", "to": "2026-03-02T00:00:00Z"},
        {"from": "2026-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"},
        {"from": "2026-03-02T00:00:00Z", "to": "2099-03-01T00:00:00Z"},
        {"from": "2020-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"},
        {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z", "overlap": "x"},
        {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z", "dry": 1},
    ],
)
async def test_a_backfill_that_cannot_be_is_refused(api: Api, wish: dict[str, Any]) -> None:
    found = await made(api, cron="0 * * * *")
    answer = await api.post(f"/schedules/{found['id']}/backfill", wish)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/schedules/sched_x", None),
        ("PUT", "/schedules/sched_x", {"config": {"every": 60}}),
        ("DELETE", "/schedules/sched_x", None),
        ("POST", "/schedules/sched_x/pause", {}),
        ("POST", "/schedules/sched_x/resume", None),
        ("POST", "/schedules/sched_x/run", None),
        ("POST", "/schedules/sched_x/backfill", {}),
        ("GET", "/schedules/sched_x/preview", None),
        ("GET", "/schedules/sched_x/slots", None),
    ],
)
async def test_what_is_not_there_is_not_found(api: Api, method: str, path: str, body: Any) -> None:
    answer = await api.http.request(method, f"/api/v1{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "schedule.unknown")


async def test_a_schedule_needs_a_workflow_and_a_name(api: Api) -> None:
    config = {"every": 60}
    unknown = await api.post("/schedules", {"workflow": "x", "name": "a", "config": config})
    assert unknown.status_code == 404
    for body in ({"name": "a"}, {"workflow": "w"}, {"workflow": "w", "name": "a b"}, {"workflow": 1}):
        assert (await api.post("/schedules", {**body, "config": config})).status_code == 422


async def test_a_disabled_workflow_is_not_run(api: Api) -> None:
    found = await made(api, every=60)
    await api.post("/workflows/w/disable")
    assert (await api.get(f"/schedules/{found['id']}")).json()["status"] == "disabled"
    assert (await api.post(f"/schedules/{found['id']}/run")).status_code == 409
