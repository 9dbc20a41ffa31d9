from __future__ import annotations

from typing import Any

from tests.builders import document, node
from tests.unit.api.conftest import Api


async def test_a_definition_is_saved_under_its_name_as_versions(api: Api) -> None:
    first = await api.post("/workflows", document([node("a")]))
    assert first.status_code == 201
    body = first.json()
    assert first.headers["location"] == f"/api/v1/workflows/{body['id']}"
    assert (body["name"], body["version"]["number"], body["created"], body["changed"]) == ("w", 1, True, True)
    same = await api.post("/workflows", document([node("a")]))
    assert (same.status_code, same.json()["created"], same.json()["changed"]) == (200, False, False)
    other = await api.post("/workflows", document([node("b")]))
    assert (other.status_code, other.json()["version"]["number"], other.json()["changed"]) == (200, 2, True)
    versions = (await api.get("/workflows/w/versions")).json()["data"]
    assert [(each["number"], each["active"]) for each in versions] == [(2, True), (1, False)]


async def test_a_definition_with_warnings_is_saved_and_they_are_told(api: Api) -> None:
    saved = await api.post("/workflows", document([node("a")], variables={"v": 1}))
    assert (saved.status_code, saved.json()["changed"]) == (201, True)
    assert [(each["code"], each["severity"]) for each in saved.json()["warnings"]] == [
        ("flow.unused_variable", "warning")
    ]


async def test_every_mistake_comes_in_one_answer_with_its_place(api: Api) -> None:
    text = '{"name": "w",\n "definition": {"nodes": [\n  {"id": "a", "type": "nop"},\n  {"id": "a", "type": "noop"}]}}'
    headers = {"Content-Type": "application/json"}
    answer = await api.http.post("/api/v1/workflows", content=text, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "definition.invalid")
    errors = answer.json()["errors"]
    assert [(each["line"], each["code"], each["pointer"]) for each in errors] == [
        (3, "definition.unknown_node_type", "/definition/nodes/0/type"),
        (4, "definition.duplicate_id", "/definition/nodes/1/id"),
    ]
    assert errors[0]["hint"] == "Did you mean noop?"
    assert (await api.get("/workflows")).json()["data"] == []


async def test_what_is_no_json_is_a_mistake_like_any_other(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    for content in (b"", b"{", b"[]", b"\xff"):
        answer = await api.http.post("/api/v1/workflows", content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "definition.invalid"), content
        assert answer.json()["errors"]


async def test_validating_saves_nothing(api: Api) -> None:
    good = await api.post("/workflows/validate", document([node("a")]))
    assert good.json() == {"valid": True, "problems": []}
    bad = await api.post("/workflows/validate", {"name": 7})
    assert (bad.status_code, bad.json()["valid"]) == (200, False)
    assert (await api.get("/workflows")).json()["data"] == []


async def test_a_workflow_is_shown_by_name_and_by_id(api: Api) -> None:
    await api.push(node("a"), name="a name")
    shown = (await api.get("/workflows/a%20name")).json()
    assert shown["document"] == document([node("a")], name="a name")
    assert (await api.get(f"/workflows/{shown['id']}")).json() == shown


async def test_a_list_comes_in_pages(api: Api) -> None:
    for name in "abc":
        await api.push(node("n"), name=name)
    first = (await api.get("/workflows", params={"limit": 2})).json()
    assert ([each["name"] for each in first["data"]], first["has_more"]) == (["a", "b"], True)
    second = (await api.get("/workflows", params={"cursor": first["next_cursor"]})).json()
    assert ([each["name"] for each in second["data"]], second["next_cursor"]) == (["c"], None)
    refused = await api.get("/workflows", params={"cursor": "x"})
    assert (refused.status_code, refused.json()["code"]) == (422, "request.invalid")


async def test_versions_are_compared(api: Api) -> None:
    await api.push(node("a"))
    refused = await api.get("/workflows/w/diff")
    assert (refused.status_code, refused.json()["code"]) == (422, "request.invalid")
    await api.push(node("a"), node("b"))
    found = (await api.get("/workflows/w/diff")).json()
    assert (found["from"], found["to"]) == (1, 2)
    assert [(each["op"], each["pointer"]) for each in found["changes"]] == [("added", "/definition/nodes/b")]
    back = (await api.get("/workflows/w/diff", params={"from": 2, "to": 1})).json()
    assert [each["op"] for each in back["changes"]] == ["removed"]


async def test_a_disabled_workflow_does_not_start_until_it_is_enabled(api: Api) -> None:
    await api.push(node("a"))
    assert (await api.post("/workflows/w/disable")).json()["enabled"] is False
    refused = await api.post("/workflows/w/execute", {})
    assert (refused.status_code, refused.json()["hint"]) == (409, "Enable it: celeriac workflows enable w")
    assert (await api.post("/workflows/w/enable")).json()["enabled"] is True
    assert (await api.post("/workflows/w/execute", {})).status_code == 202


async def test_an_accepted_execution_says_where_it_is(api: Api) -> None:
    await api.push(node("a"))
    answer = await api.post("/workflows/w/execute")
    name = answer.json()["id"]
    assert (answer.status_code, answer.json()["status"]) == (202, "created")
    assert answer.headers["location"] == f"/api/v1/executions/{name}"
    assert (await api.get(f"/executions/{name}", params={"include": "input"})).json()["input"] == {}


async def test_an_input_that_does_not_fit_starts_nothing(api: Api) -> None:
    await api.push(
        node("a"), inputs={"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}}
    )
    answer = await api.post("/workflows/w/execute", {"input": {"x": "seven"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "input.invalid")
    assert answer.json()["errors"][0]["pointer"] == "/input/x"
    assert (await api.get("/executions")).json()["data"] == []


async def test_a_body_that_is_not_understood_starts_nothing(api: Api) -> None:
    await api.push(node("a"))
    bodies: list[Any] = [{"imput": {}}, [1], "x"]
    for body in bodies:
        answer = await api.post("/workflows/w/execute", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "request.invalid")
    assert (await api.get("/executions")).json()["data"] == []


async def test_the_same_request_twice_starts_once(api: Api) -> None:
    await api.push(node("a"))
    first = await api.post("/workflows/w/execute", {"input": {"x": 1}}, Idempotency_Key="k")
    again = await api.post("/workflows/w/execute", {"input": {"x": 1}}, Idempotency_Key="k")
    assert (first.json()["id"], again.status_code) == (again.json()["id"], 202)
    other = await api.post("/workflows/w/execute", {"input": {"x": 2}}, Idempotency_Key="k")
    assert (other.status_code, other.json()["code"]) == (422, "request.idempotency_key_reused")
    assert len((await api.get("/executions")).json()["data"]) == 1


async def test_who_waits_too_short_gets_what_there_is(api: Api) -> None:
    await api.push(node("a"))
    answer = await api.post("/workflows/w/execute", {}, Prefer="wait=1")
    assert (answer.status_code, answer.json()["status"]) == (202, "created")
    assert answer.headers["preference-applied"] == "wait=1"


async def test_a_call_of_a_workflow_that_is_not_there_is_a_warning(api: Api) -> None:
    body = document([node("ask", "workflow", {"workflow": "other"})])
    place = {
        "pointer": "/definition/nodes/0/config/workflow",
        "code": "workflow.unknown",
        "severity": "warning",
    }
    checked = (await api.post("/workflows/validate", body)).json()
    assert checked["valid"]
    assert [{key: each[key] for key in place} for each in checked["problems"]] == [place]
    pushed = await api.post("/workflows", body)
    assert (pushed.status_code, pushed.json()["warnings"]) == (201, checked["problems"])
    await api.post("/workflows", document([node("a")], name="other"))
    assert (await api.post("/workflows", body)).json()["warnings"] == []
