from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any

import httpx2
import pytest

from engine.triggers.verification import SCHEMES, Verify, sample
from tests.builders import edge, node
from tests.unit.api.conftest import Api

ECHO = node("a", "transform", {"expression": "[trigger.type, trigger.id, trigger.payload]"})


class Hook:
    """One webhook, as whoever sends to it knows it."""

    def __init__(self, api: Api, issued: dict[str, Any]) -> None:
        self.api = api
        self.issued = issued
        self.url = issued["url"].partition("8321")[2]
        self.verify = Verify.parse(issued["config"].get("verify", "hmac"))

    def headers(self, body: bytes, name: str = "d1", *, secret: str = "") -> dict[str, str]:
        now = self.now()
        return sample(self.verify, secret or self.issued.get("secret", ""), name, body, now)

    def now(self) -> int:
        return int(time.time())

    async def send(
        self, payload: Any = None, name: str = "d1", *, method: str = "POST", kind: str = "application/json", url: str = "",
        secret: str = "", **headers: str
    ) -> httpx2.Response:  # fmt: skip
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        signed = {"Content-Type": kind, **self.headers(body, name, secret=secret), **headers}
        return await self.api.http.request(
            method,
            url or self.url,
            content=body,
            headers={**signed, "Authorization": signed.get("Authorization", "")},
        )


async def hook(api: Api, *nodes: dict[str, Any], ways: Any = (), **config: Any) -> Hook:
    """A workflow with a webhook."""
    trigger = {"type": "webhook", "id": "came", "config": config}
    body = {
        "name": "w",
        "definition": {"nodes": list(nodes) or [ECHO], "edges": list(ways), "trigger": trigger},
    }
    answer = await api.post("/workflows", body)
    assert answer.status_code == 201, answer.text
    (issued,) = answer.json()["webhooks"]
    assert answer.json()["webhook_url"] == issued["url"]
    return Hook(api, issued)


def executions(api: Api) -> int:
    return int(api.bench.query("SELECT count(*) FROM execution")[0][0])


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_request_that_is_verified_starts_an_execution(api: Api, scheme: str) -> None:
    made = await hook(api, verify=scheme)
    answer = await made.send({"id": "evt_1", "event_id": "Ev1"})
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert body["url"] == answer.headers["location"] == f"/api/v1/executions/{body['execution']}"
    await api.carry(body["execution"])
    shown = (await api.get(f"/executions/{body['execution']}")).json()
    assert shown["output"] == {"a": ["webhook", "came", {"id": "evt_1", "event_id": "Ev1"}]}
    assert made.issued.get("secret", "no") not in json.dumps(shown)


@pytest.mark.parametrize("scheme", [each for each in SCHEMES if each != "none"])
async def test_one_that_is_not_starts_nothing_and_is_not_kept(api: Api, scheme: str) -> None:
    made = await hook(api, verify=scheme)
    for secret in ("whsec_" + "A" * 43 + "=", ""):
        headers = made.headers(b"{}", secret=secret) if secret else {}
        answer = await api.http.post(
            made.url, content=b"{}", headers={**headers, "Authorization": headers.get("Authorization", "")}
        )
        assert (answer.status_code, answer.json()["code"]) == (401, "webhook.not_verified")
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert executions(api) == 0
    assert api.bench.query("SELECT * FROM inbox") == []


async def test_the_seed_form_of_a_definition_works_as_it_stands(api: Api) -> None:
    """A named path, no word about verification, and a signature of the body alone with an id beside it."""
    made = await hook(api, node("a", "transform", {"expression": "email.body"}), path="/webhooks/email")
    assert made.url == "/webhooks/email"
    body = json.dumps({"email": {"body": "Hello"}}).encode()
    signature = hmac.new(made.issued["secret"].encode(), body, hashlib.sha256).hexdigest()
    sent = {"X-Webhook-Signature": f"sha256={signature}", "Authorization": ""}
    bare = await api.http.post(made.url, content=body, headers=sent)
    assert bare.status_code == 401
    sent["X-Webhook-Id"] = "delivery-1"
    answers = [await api.http.post(made.url, content=body, headers=sent) for _ in range(3)]
    assert [each.status_code for each in answers] == [202, 202, 202]
    assert [each.json()["duplicate"] for each in answers] == [False, True, True]
    (execution,) = {each.json()["execution"] for each in answers}
    assert executions(api) == 1
    await api.carry(execution)
    assert (await api.get(f"/executions/{execution}")).json()["output"] == {"a": "Hello"}


async def test_a_secret_is_shown_once_and_stored_as_no_text(api: Api) -> None:
    made = await hook(api)
    workflow, address = made.url.removeprefix("/webhooks/").split("/")
    assert workflow == (await api.get("/workflows/w")).json()["id"]
    assert len(address) >= 32
    again = await api.post(
        "/workflows",
        {
            "name": "w",
            "definition": {"nodes": [ECHO, node("b")], "trigger": {"type": "webhook", "id": "came"}},
        },
    )
    assert "webhooks" not in again.json()
    rows = str(api.bench.query("SELECT * FROM endpoint"))
    for secret in (address, made.issued["secret"]):
        assert secret not in rows
        assert secret not in (await api.get("/webhooks")).text
    assert (await made.send()).status_code == 202


async def test_an_address_is_found_by_the_whole_of_it_only(api: Api) -> None:
    made = await hook(api, verify="none")
    workflow, address = made.url.removeprefix("/webhooks/").split("/")
    for url in (
        f"/webhooks/{workflow}",
        f"/webhooks/{workflow}/",
        f"/webhooks/{workflow}/{address[:-1]}",
        f"/webhooks/{workflow}/{address}/",
        f"/webhooks/{workflow}/{address}/x",
        f"/webhooks/wf_x/{address}",
        f"/webhooks/{address}",
        "/webhooks/",
        "/webhooks/nowhere",
        "/webhooks/%01/%ff",
        "/webhooks//",
        "/webhooks/" + "/".join("abcdefghijkl"),
    ):
        answer = await api.http.post(url, json={})
        assert (answer.status_code, answer.json()["code"]) == (404, "webhook.no_such_address"), url
    assert executions(api) == 0


async def test_paths_have_parameters_and_the_one_that_says_most_is_meant(api: Api) -> None:
    trigger = {"type": "webhook", "id": "b", "config": {"path": "/orders/new", "verify": "github"}}
    other = await api.post("/workflows", {"name": "x", "definition": {"nodes": [ECHO], "trigger": trigger}})
    expression = "[trigger.parameters, trigger.query, trigger.method, key]"
    made = await hook(
        api,
        node("a", "transform", {"expression": expression}),
        path="/orders/{order}",
        method=["PUT", "PATCH"],
    )
    answer = await made.send({"key": 1}, method="PATCH", url="/webhooks/orders/4711?x=1&y=2&x=3")
    assert answer.status_code == 202, answer.text
    await api.carry(answer.json()["execution"])
    shown = (await api.get(f"/executions/{answer.json()['execution']}")).json()
    assert shown["output"] == {"a": [{"order": "4711"}, {"x": ["1", "3"], "y": "2"}, "PATCH", 1]}
    wrong = await made.send({"key": 1}, method="POST", url="/webhooks/orders/4711")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "PUT, PATCH")
    new = Hook(api, other.json()["webhooks"][0])
    assert (await new.send({}, url="/webhooks/orders/new")).status_code == 202


async def test_a_path_is_taken_once(api: Api) -> None:
    await hook(api, path="/orders/{order}")
    trigger = {"type": "webhook", "config": {"path": "/webhooks/orders/{number}"}}
    other = await api.post("/workflows", {"name": "x", "definition": {"nodes": [ECHO], "trigger": trigger}})
    assert (other.status_code, other.json()["code"]) == (409, "webhook.path_taken")
    assert (await api.get("/workflows/x")).status_code == 404
    await api.push(ECHO)  # gives the path up
    again = await api.post("/workflows", {"name": "x", "definition": {"nodes": [ECHO], "trigger": trigger}})
    assert again.status_code == 201


async def test_two_webhooks_of_one_workflow_may_exchange_their_paths(api: Api) -> None:
    async def push(first: str, second: str) -> httpx2.Response:
        triggers = [
            {"type": "webhook", "id": name, "config": {"path": path}}
            for name, path in (("a", first), ("b", second))
        ]
        return await api.post(
            "/workflows", {"name": "w", "definition": {"nodes": [ECHO], "triggers": triggers}}
        )

    assert (await push("/x", "/y")).status_code == 201
    assert (await push("/y", "/x")).status_code == 200
    assert (await push("/x", "/x")).json()["code"] == "webhook.path_taken"


async def test_a_named_path_is_never_open(api: Api) -> None:
    trigger = {"type": "webhook", "config": {"path": "/x", "verify": "none"}}
    answer = await api.post("/workflows", {"name": "w", "definition": {"nodes": [ECHO], "trigger": trigger}})
    assert answer.status_code == 422
    assert "has to be verified" in answer.text or "have to be verified" in answer.text


async def test_a_delivery_counts_once_whatever_it_says_the_second_time(api: Api) -> None:
    made = await hook(api)
    first = await made.send({"a": 1})
    again = await made.send({"a": 2})
    other = await made.send({"a": 1}, name="d2")
    assert first.json()["execution"] == again.json()["execution"] != other.json()["execution"]
    assert executions(api) == 2


async def test_a_form_a_query_and_lines_are_payloads_too(api: Api) -> None:
    made = await hook(api, verify="none", method="ANY")

    async def payload(answer: httpx2.Response) -> Any:
        assert answer.status_code == 202, answer.text
        name = answer.json()["execution"]
        return (await api.get(f"/executions/{name}?include=input")).json()["input"]

    form = await made.send(b"a=1&b=%C3%A4&a=2&c=", "1", kind="application/x-www-form-urlencoded")
    assert await payload(form) == {"a": ["1", "2"], "b": "ä", "c": ""}
    query = await api.http.get(f"{made.url}?x=1&y=")
    assert await payload(query) == {"x": "1", "y": ""}
    assert await payload(await made.send(b"[1]", "2", kind="application/problem+json; charset=utf-8")) == [1]
    assert await payload(await made.send(b"[2]", "3", kind="")) == [2]
    assert await payload(await api.http.delete(made.url)) == {}


async def test_each_line_starts_an_execution_and_the_delivery_counts_once(api: Api) -> None:
    made = await hook(api)
    body = b'{"n": 1}\n\n{"n": 2}\r\n{"n": 3}'
    answer = await made.send(body, kind="application/x-ndjson")
    assert answer.status_code == 202, answer.text
    assert len(set(answer.json()["executions"])) == 3
    again = await made.send(body, kind="application/x-ndjson")
    assert again.json()["duplicate"] is True
    assert executions(api) == 3
    bad = await made.send(b'{"n": 1}\n{', "d2", kind="application/x-ndjson")
    assert (bad.status_code, bad.json()["detail"][:7]) == (422, "Line 2:")
    many = await made.send(b"1\n" * 1_001, "d3", kind="application/x-ndjson")
    assert many.status_code == 413
    none = await made.send(b"\n\n", "d4", kind="application/x-ndjson")
    assert none.status_code == 422
    assert executions(api) == 3


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b'{"a": 1, "a": 2}', "application/json", 422),
        (b"[NaN]", "application/json", 422),
        (b'"\\u0000"', "application/json", 422),
        (b'"\\ud800"', "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b"\xff", "application/json", 422),
        (b"1" * 10_000, "application/json", 422),
        (b"a=%ff", "application/x-www-form-urlencoded", 422),
        (b"a=%00", "application/x-www-form-urlencoded", 422),
        (b"\xff=1", "application/x-www-form-urlencoded", 422),
        (b"&".join([b"a=1"] * 1_001), "application/x-www-form-urlencoded", 422),
        (b"x", "multipart/form-data; boundary=x", 415),
        (b"x", "text/plain", 415),
        (b"x", "\xff", 415),
        (b" " * (5 * 1024 * 1024 + 1), "application/json", 413),
    ],
)
async def test_bad_input_is_refused_and_never_an_error_of_ours(
    api: Api, body: bytes, kind: str, status: int
) -> None:
    made = await hook(api, verify="none")
    answer = await api.http.post(made.url, content=body, headers={b"Content-Type": kind.encode("latin-1")})
    assert answer.status_code == status, answer.text
    assert executions(api) == 0


@pytest.mark.parametrize(
    "query", ["a=%ff", "a=%00", "&" * 2_000 + "a=1", "x=" + "y" * 9_000, "%", "a=1&a=2;b"]
)
async def test_odd_queries_are_no_error_of_ours(api: Api, query: str) -> None:
    made = await hook(api, verify="none")
    answer = await api.http.post(f"{made.url}?{query}", json={})
    assert answer.status_code in (202, 422), answer.text


async def test_a_payload_that_does_not_fit_is_told_where_and_may_come_again(api: Api) -> None:
    inputs = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    trigger = {"type": "webhook", "id": "came", "config": {"verify": "none"}}
    answer = await api.post(
        "/workflows", {"name": "w", "definition": {"nodes": [ECHO], "inputs": inputs, "trigger": trigger}}
    )
    made = Hook(api, answer.json()["webhooks"][0])
    refused = await made.send({"n": "x"})
    assert (refused.status_code, refused.json()["code"]) == (422, "input.invalid")
    assert refused.json()["errors"][0]["pointer"] == "/n"
    lines = await made.send(b'{"n": 1}\n{"n": "x"}', "d2", kind="application/x-ndjson")
    assert (lines.status_code, lines.json()["details"]["line"]) == (422, 2)
    (listed,) = [
        each
        for each in (await api.get(f"/webhooks/{made.issued['id']}/deliveries")).json()["data"]
        if each["delivery"] == "d1"
    ]
    assert (listed["status"], listed["detail"]["code"]) == ("failed", "input.invalid")
    assert (await made.send({"n": 1})).status_code == 202
    assert executions(api) == 1


async def test_a_limit_refuses_and_the_delivery_may_come_again(api: Api) -> None:
    trigger = {"type": "webhook", "id": "came", "config": {"verify": "none"}}
    limit = {"key": "k", "limit": 1, "strategy": "reject"}
    answer = await api.post(
        "/workflows", {"name": "w", "definition": {"nodes": [ECHO], "concurrency": limit, "trigger": trigger}}
    )
    made = Hook(api, answer.json()["webhooks"][0])
    first = (await made.send({}, "d1")).json()["execution"]
    refused = await made.send({}, "d2")
    assert (refused.status_code, refused.json()["code"]) == (409, "limit.rejected")
    await api.carry(first)
    assert (await made.send({}, "d2")).status_code == 202


async def test_what_the_workflow_comes_to_is_the_answer(api: Api) -> None:
    made = await hook(api, verify="none", respond="last_node", deadline="5s")

    async def carrying() -> None:
        while not executions(api):
            await asyncio.sleep(0.01)
        ((name,),) = api.bench.query("SELECT id FROM execution")
        await api.carry(name)

    work = asyncio.create_task(carrying())
    answer = await made.send({"n": 1})
    await work
    assert (answer.status_code, answer.json()) == (200, {"a": ["webhook", "came", {"n": 1}]})
    again = await made.send({"n": 1})
    assert (again.status_code, again.json()) == (200, answer.json())


async def test_whoever_waits_too_long_learns_where_the_execution_is(api: Api) -> None:
    made = await hook(api, verify="none", respond="last_node", deadline="50ms")
    answer = await made.send({})
    assert (answer.status_code, answer.json()["url"]) == (202, answer.headers["location"])


async def test_what_a_node_responds_is_the_answer_while_the_rest_goes_on(api: Api) -> None:
    said = {"status": 409, "headers": {"Retry-After": "60"}, "body": {"sold": "{{ n }}"}}
    nodes = (node("say", "respond", said), node("later", "wait", {"for": "1d"}))
    made = await hook(api, *nodes, ways=[edge("say", "later")], verify="none", respond="respond_node")

    work = asyncio.create_task(made.send({"n": 1}))
    while not executions(api):
        await asyncio.sleep(0.01)
    ((name,),) = api.bench.query("SELECT id FROM execution")
    await api.carry(name)
    for answer in (await work, await made.send({"n": 1})):
        assert (answer.status_code, answer.json()) == (409, {"sold": 1})
        assert answer.headers["retry-after"] == "60"
    assert executions(api) == 1
    assert (await api.get(f"/executions/{name}")).json()["status"] == "waiting"


async def test_an_answer_without_content_has_none(api: Api) -> None:
    made = await hook(
        api, node("say", "respond", {"status": 204, "body": {"a": 1}}), verify="none", respond="respond_node"
    )
    work = asyncio.create_task(made.send({}))
    while not executions(api):
        await asyncio.sleep(0.01)
    ((name,),) = api.bench.query("SELECT id FROM execution")
    await api.carry(name)
    answer = await work
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-length" not in answer.headers


async def test_where_no_node_responds_the_end_is_the_answer(api: Api) -> None:
    made = await hook(api, verify="none", respond="respond_node")
    work = asyncio.create_task(made.send({"n": 1}))
    while not executions(api):
        await asyncio.sleep(0.01)
    ((name,),) = api.bench.query("SELECT id FROM execution")
    await api.carry(name)
    assert ((await work).status_code, (await work).json()) == (200, {"a": ["webhook", "came", {"n": 1}]})


async def test_an_execution_that_fails_is_no_error_of_ours(api: Api) -> None:
    made = await hook(
        api, node("a", "fail", {"code": "my.code", "message": "private"}), verify="none", respond="last_node"
    )
    work = asyncio.create_task(made.send({}))
    while not executions(api):
        await asyncio.sleep(0.01)
    ((name,),) = api.bench.query("SELECT id FROM execution")
    await api.carry(name)
    answer = await work
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook.execution_failed")
    assert (answer.json()["error"], answer.json()["execution"]) == ("my.code", name)
    assert "private" not in answer.text


async def test_headers_are_remembered_but_for_what_proves_something(api: Api) -> None:
    made = await hook(
        api,
        node("a", "transform", {"expression": "trigger.headers"}),
        verify={"scheme": "api_key", "header": "X-My-Key"},
    )
    answer = await made.send({}, Cookie="c=1", **{"X-Kind": "order", "Authorization": "Bearer abc"})
    await api.carry(answer.json()["execution"])
    found = (await api.get(f"/executions/{answer.json()['execution']}")).json()["output"]["a"]
    assert found["x-kind"] == "order"
    assert not {"x-my-key", "cookie", "authorization", "host", "content-length"} & found.keys()


async def test_slack_finds_that_somebody_is_there(api: Api) -> None:
    made = await hook(api, verify="slack")
    answer = await made.send({"type": "url_verification", "challenge": "abc"})
    assert (answer.status_code, answer.text) == (200, "abc")
    assert answer.headers["content-type"].startswith("text/plain")
    assert executions(api) == 0


async def test_a_disabled_workflow_takes_nothing_in(api: Api) -> None:
    made = await hook(api)
    await api.post("/workflows/w/disable")
    assert (await made.send({})).status_code == 409
    assert api.bench.query("SELECT * FROM inbox") == []


async def test_answers_bear_the_headers_of_the_guard_and_no_script(api: Api) -> None:
    made = await hook(api, verify="none")
    answer = await made.send({})
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
