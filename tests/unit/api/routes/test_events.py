from __future__ import annotations

import pytest

from tests.builders import node
from tests.unit.api.conftest import Api

PAUSE = node("pause", "wait", {"event": {"type": "order.paid", "correlation": "{{ order }}"}})


async def waiting(api: Api, order: str = "7") -> str:
    await api.push(PAUSE)
    name = await api.execute({"order": order})
    await api.carry(name)
    assert (await api.get(f"/executions/{name}")).json()["status"] == "waiting"
    return name


async def test_an_event_ends_the_waits_that_listen_to_it_and_says_how_many(api: Api) -> None:
    name = await waiting(api)
    answer = await api.post("/events", {"type": "order.paid", "correlation": 7, "data": {"sum": 3}})
    assert answer.status_code == 200
    body = answer.json()
    assert body["id"].startswith("evt_")
    assert (body["woken"], body["duplicate"]) == (1, False)
    await api.carry(name)
    found = (await api.get(f"/executions/{name}")).json()
    assert found["output"]["pause"]["payload"] == {"sum": 3}
    history = (await api.get(f"/executions/{name}/events")).json()["data"]
    (signalled,) = [each for each in history if each["type"] == "segment.signalled"]
    assert (signalled["name"], signalled["source"], signalled["by"]) == ("event", "event", "api")


async def test_an_id_is_published_once(api: Api) -> None:
    await waiting(api)
    event = {"type": "order.paid", "correlation": "7", "id": "delivery-1"}
    first, again = [(await api.post("/events", event)).json() for _ in range(2)]
    assert again == {"id": first["id"], "duplicate": True, "woken": 0, "started": []}


async def test_a_cloud_event_is_understood(api: Api) -> None:
    name = await waiting(api)
    event = {
        "specversion": "1.0",
        "type": "order.paid",
        "source": "/shop",
        "subject": "7",
        "id": "1",
        "time": "2031-05-04T09:00:00Z",
        "datacontenttype": "application/json",
        "traceparent": "00-x",
        "data": {"sum": 3},
    }
    answer = await api.http.post(
        "/api/v1/events", json=event, headers={"Content-Type": "application/cloudevents+json"}
    )
    assert (answer.status_code, answer.json()["woken"]) == (200, 1)
    assert (await api.post("/events", event)).json()["duplicate"]
    assert not (await api.post("/events", {**event, "source": "/bank"})).json()["duplicate"]
    await api.carry(name)
    assert (await api.get(f"/executions/{name}")).json()["status"] == "succeeded"


async def test_whoever_acts_is_remembered(api: Api) -> None:
    await api.post("/events", {"type": "t"}, X_Celeriac_Principal="ann@example.com")
    assert api.bench.query("SELECT principal FROM event_log") == [("ann@example.com",)]
    assert (await api.post("/events", {"type": "t"}, X_Celeriac_Principal="a b")).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"type": 7},
        {"type": ""},
        {"type": "a b"},
        {"type": "x" * 201},
        {"type": "t", "correlation": "x" * 401},
        {"type": "t", "correlation": True},
        {"type": "t", "correlation": "a\0b"},
        {"type": "t", "id": {}},
        {"type": "t", "data": "a\0b"},
        {"type": "t", "source": "s"},
        {"specversion": "0.3", "type": "t"},
        {"specversion": "1.0", "type": "t", "data_base64": "AA=="},
    ],
)
async def test_what_is_no_event_publishes_nothing(api: Api, body: object) -> None:
    answer = await api.post("/events", body)
    assert answer.status_code == 422, answer.text
    assert api.bench.query("SELECT * FROM event_log") == []


async def test_a_large_event_lies_in_a_blob_and_too_large_a_one_is_refused(api: Api) -> None:
    name = await waiting(api)
    await api.post("/events", {"type": "order.paid", "correlation": "7", "data": "x" * 40_000})
    await api.carry(name)
    output = (await api.get(f"/executions/{name}")).json()["output"]
    assert output["pause"]["payload"] == "x" * 40_000
    largest = api.settings.limits.input_bytes
    assert (await api.post("/events", {"type": "t", "data": "x" * largest})).status_code == 413


async def test_an_event_starts_workflows_and_says_which(api: Api) -> None:
    trigger = {"type": "event", "id": "paid", "config": {"type": "order.*", "when": "sum > 2"}}
    await api.push(node("a", "transform", {"expression": "sum"}), trigger=trigger)
    event = {
        "specversion": "1.0",
        "type": "order.paid",
        "source": "/shop",
        "subject": "7",
        "id": "1",
        "data": {"sum": 3},
    }
    answers = [(await api.post("/events", event)).json() for _ in range(2)]
    (execution,) = answers[0]["started"]
    assert (answers[1]["duplicate"], answers[1]["started"]) == (True, [])
    await api.carry(execution)
    shown = (await api.get(f"/executions/{execution}")).json()
    assert (shown["output"], shown["trigger"]["event"]["subject"]) == ({"a": 3}, "7")
    (listed,) = (await api.get("/events/triggers")).json()["data"]
    assert (listed["name"], listed["workflow"]["name"]) == ("paid", "w")
    await api.post("/events", {"type": "order.paid", "data": {}})
    found = (await api.get(f"/events/triggers/{listed['id']}/arrivals")).json()["data"]
    assert sorted((each["status"], each["execution"]) for each in found) == [
        ("failed", None),
        ("started", execution),
    ]
    assert (await api.get("/events/triggers/etrg_x/arrivals")).status_code == 404
