from __future__ import annotations

from typing import Any

import pytest

from engine.settings import DEFAULT_PROJECT
from tests.builders import node
from tests.unit.api.conftest import Api
from tests.unit.api.routes.test_addresses import ECHO, Hook, executions, hook


async def made(api: Api, **config: Any) -> Hook:
    """A webhook that was made over the API."""
    await api.push(ECHO)
    answer = await api.post("/webhooks", {"workflow": "w", "name": "more", "config": config})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/api/v1/webhooks/{answer.json()['id']}"
    return Hook(api, answer.json())


async def test_a_webhook_is_made_used_shown_and_removed(api: Api) -> None:
    about = await made(api)
    assert (await about.send({"n": 1})).status_code == 202
    (found,) = (await api.get("/webhooks?workflow=w")).json()["data"]
    assert found == (await api.get(f"/webhooks/{found['id']}")).json()
    assert (found["url"], found["origin"], found["kind"]) == (None, "api", "webhook")
    assert {"secret", "sealed", "address"} & found.keys() == set()
    assert (await api.get("/webhooks?workflow=x")).json()["data"] == []
    assert (await api.http.delete(f"/api/v1/webhooks/{found['id']}")).status_code == 204
    assert (await about.send({"n": 1})).status_code == 404
    gone = await api.get(f"/webhooks/{found['id']}")
    assert (gone.status_code, gone.json()["code"]) == (404, "webhook.unknown")


async def test_one_of_a_definition_is_changed_there(api: Api) -> None:
    about = await hook(api, path="/orders")
    shown = (await api.get(f"/webhooks/{about.issued['id']}")).json()
    assert shown["url"].endswith("/webhooks/orders")
    answer = await api.http.delete(f"/api/v1/webhooks/{shown['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "webhook.of_definition")


async def test_a_pushed_change_keeps_the_secrets_and_makes_those_that_lack(api: Api) -> None:
    about = await hook(api, verify="none")
    trigger = {"type": "webhook", "id": "came", "config": {"verify": "github"}}
    pushed = await api.post("/workflows", {"name": "w", "definition": {"nodes": [ECHO], "trigger": trigger}})
    (issued,) = pushed.json()["webhooks"]
    assert issued["id"] == about.issued["id"]
    assert (issued["url"], "secret" in issued) == (None, True)
    changed = Hook(api, {**issued, "url": about.issued["url"]})
    assert (await changed.send({})).status_code == 202


async def test_a_rotated_secret_leaves_the_old_one_for_a_while(api: Api) -> None:
    about = await hook(api, path="/orders")
    old = about.issued["secret"]
    rotated = (await api.post(f"/webhooks/{about.issued['id']}/rotate")).json()
    assert rotated["secret"] != old
    assert (await about.send({}, "1", secret=rotated["secret"])).status_code == 202
    assert (await about.send({}, "2", secret=old)).status_code == 202
    again = (await api.post(f"/webhooks/{about.issued['id']}/rotate", {"keep": 0})).json()
    assert (await about.send({}, "3", secret=again["secret"])).status_code == 202
    assert (await about.send({}, "4", secret=rotated["secret"])).status_code == 401
    assert (await about.send({}, "5", secret=old)).status_code == 401


async def test_a_secret_of_the_senders_is_taken_and_the_address_stays(api: Api) -> None:
    about = await hook(api, verify="stripe")
    answer = await api.post(f"/webhooks/{about.issued['id']}/rotate", {"secret": "whsec_from_the_dashboard"})
    assert (answer.json()["secret"], answer.json()["url"]) == ("whsec_from_the_dashboard", None)
    assert (await about.send({"id": "evt_1"}, secret="whsec_from_the_dashboard")).status_code == 202
    for body in (
        {"secret": "short"},
        {"secret": 7},
        {"keep": "31d"},
        {"keep": True},
        {"keep": "x"},
        {"x": 1},
    ):
        assert (await api.post(f"/webhooks/{about.issued['id']}/rotate", body)).status_code == 422


async def test_a_rotated_address_is_another_one_at_once(api: Api) -> None:
    about = await hook(api, verify="none")
    rotated = (await api.post(f"/webhooks/{about.issued['id']}/rotate")).json()
    assert (await about.send({})).status_code == 404
    assert (await Hook(api, rotated).send({})).status_code == 202
    assert "secret" not in rotated


async def test_a_disabled_webhook_is_as_if_it_were_not_there(api: Api) -> None:
    about = await hook(api)
    assert (await api.post(f"/webhooks/{about.issued['id']}/disable")).json()["enabled"] is False
    assert (await about.send({})).status_code == 404
    assert (await api.post(f"/webhooks/{about.issued['id']}/enable")).json()["enabled"] is True
    assert (await about.send({})).status_code == 202


async def test_deliveries_are_listed_with_what_became_of_them(api: Api) -> None:
    about = await hook(api)
    sent = [await about.send({"n": number}, f"d{number}") for number in range(3)]
    await about.send(b"{", "bad")
    found = (await api.get(f"/webhooks/{about.issued['id']}/deliveries?limit=2")).json()["data"]
    assert [each["delivery"] for each in found] == ["d2", "d1"]
    assert found[0]["execution"] == sent[2].json()["execution"]
    assert found[0]["status"] == "started"


@pytest.mark.parametrize("verify", ["hmac", "standard", "slack", "basic", "none"])
async def test_a_test_goes_the_whole_way(api: Api, verify: str) -> None:
    about = await hook(api, verify=verify)
    answer = await api.post(f"/webhooks/{about.issued['id']}/test", {"payload": {"n": 1}})
    assert answer.status_code == 202, answer.text
    shown = (await api.get(f"/executions/{answer.json()['execution']}?include=input")).json()
    assert (shown["input"], shown["trigger"]["test"]) == ({"n": 1}, True)


async def test_a_test_names_the_parameters_of_the_path(api: Api) -> None:
    about = await hook(
        api, node("a", "transform", {"expression": "trigger.parameters.order"}), path="/orders/{order}"
    )
    path = f"/webhooks/{about.issued['id']}/test"
    answer = await api.post(path, {"parameters": {"order": "7"}})
    await api.carry(answer.json()["execution"])
    assert (await api.get(f"/executions/{answer.json()['execution']}")).json()["output"] == {"a": "7"}
    for parameters in (None, {}, {"order": 7}, {"order": "7", "x": "y"}, "x"):
        assert (await api.post(path, {"parameters": parameters})).status_code == 422
    assert executions(api) == 1


async def test_without_a_secret_nothing_is_tested_or_accepted(api: Api) -> None:
    about = await hook(api)
    api.bench.connection.run("UPDATE endpoint SET sealed = NULL")
    answer = await api.post(f"/webhooks/{about.issued['id']}/test", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "webhook.no_secret")
    assert (await about.send({})).status_code == 401
    rotated = (await api.post(f"/webhooks/{about.issued['id']}/rotate")).json()
    assert (await Hook(api, rotated).send({})).status_code == 202


@pytest.mark.parametrize(
    ("config", "pointers"),
    [
        ({"path": "x"}, ["/path"]),
        ({"path": "/wf_1"}, ["/path"]),
        ({"path": "/{a}"}, ["/path"]),
        ({"path": "/x", "verify": "none"}, ["/verify"]),
        ({"path": "/x", "verify": {"scheme": "none"}}, ["/verify/scheme"]),
        ({"verify": "magic"}, ["/verify"]),
        ({"verify": {"scheme": "hmac", "tolerance": "2d"}}, ["/verify/tolerance"]),
        ({"verify": {"scheme": "api_key", "header": "X Key"}}, ["/verify/header"]),
        ({"verify": {"scheme": "hmac", "delivery_id": "a:b"}}, ["/verify/delivery_id"]),
        ({"verify": {"scheme": "basic", "username": "a:b"}}, ["/verify"]),
        ({"deadline": "2m"}, ["/deadline"]),
        ({"deadline": 0}, ["/deadline"]),
        ({"method": "FETCH"}, ["/method"]),
        ({"method": []}, ["/method"]),
        ({"respond": "later"}, ["/respond"]),
        ({"x": 1}, [""]),
        ([], [""]),
    ],
)
async def test_every_mistake_of_a_config_is_told_with_its_place(
    api: Api, config: Any, pointers: list[str]
) -> None:
    await api.push(ECHO)
    answer = await api.post("/webhooks", {"workflow": "w", "name": "a", "config": config})
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook.invalid")
    assert list(dict.fromkeys(each["pointer"] for each in answer.json()["errors"])) == pointers


async def test_a_webhook_needs_a_workflow_and_a_name_of_its_own(api: Api) -> None:
    await made(api)
    twice = await api.post("/webhooks", {"workflow": "w", "name": "more"})
    assert (twice.status_code, twice.json()["code"]) == (409, "webhook.name_taken")
    assert (await api.post("/webhooks", {"workflow": "x", "name": "a"})).status_code == 404
    for body in ({"name": "a"}, {"workflow": "w"}, {"workflow": "w", "name": "a b"}):
        assert (await api.post("/webhooks", body)).status_code == 422
    trigger = {"type": "webhook", "id": "more"}
    pushed = await api.post("/workflows", {"name": "w", "definition": {"nodes": [ECHO], "trigger": trigger}})
    assert (pushed.status_code, pushed.json()["code"]) == (409, "webhook.name_taken")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/rotate"),
        ("POST", "/enable"),
        ("POST", "/disable"),
        ("GET", "/deliveries"),
        ("POST", "/test"),
    ],
)
async def test_what_is_not_there_is_not_found(api: Api, method: str, path: str) -> None:
    answer = await api.http.request(method, f"/api/v1/webhooks/hook_x{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "webhook.unknown")


async def test_a_row_that_was_moved_to_another_webhook_does_not_open(api: Api) -> None:
    about = await hook(api)
    api.bench.connection.run(
        "INSERT INTO endpoint (id, project_id, workflow_id, name, origin, kind, config, sealed, created_at, updated_at) "
        "SELECT 'hook_stolen', ?, workflow_id, 'stolen', 'api', 'webhook', '{\"path\": \"/stolen\"}', sealed, 0, 0 FROM endpoint",
        (DEFAULT_PROJECT,),
    )
    api.bench.connection.run("UPDATE endpoint SET shape = 'stolen' WHERE id = 'hook_stolen'")
    answer = await about.send({}, url="/webhooks/stolen")
    assert (answer.status_code, answer.json()["code"]) == (503, "service.unavailable")
    assert executions(api) == 0
    rotated = (await api.post("/webhooks/hook_stolen/rotate")).json()
    assert (await about.send({}, url="/webhooks/stolen", secret=rotated["secret"])).status_code == 202
