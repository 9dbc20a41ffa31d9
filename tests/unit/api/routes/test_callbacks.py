from __future__ import annotations

import httpx2

from api.routes.callbacks import LARGEST
from engine.callbacks import Address, Callbacks
from engine.outside import secret_key
from tests.builders import node
from tests.unit.api.conftest import Api

PAUSE = node("pause", "wait", {"callback": True})


async def waiting(api: Api) -> tuple[str, str]:
    """An execution that waits for a call, and the path to call."""
    await api.push(PAUSE)
    name = await api.execute()
    await api.carry(name)
    return name, path_of(api, name)


def path_of(api: Api, execution: str, where: str = "pause") -> str:
    secret = secret_key.load("", api.settings.data, make=True, random_bytes=lambda n: bytes(range(n)))
    token = Callbacks.of(secret, api.settings).token(Address(execution, where, "", "callback"))
    return f"/api/v1/callbacks/{token}"


async def call(api: Api, path: str, **more: object) -> httpx2.Response:
    """Call as somebody who has the address and nothing else."""
    return await api.http.post(path, headers={"Authorization": ""}, **more)  # type: ignore[arg-type]


async def test_whoever_has_the_address_ends_the_wait_once(api: Api) -> None:
    name, path = await waiting(api)
    answer = await call(api, path, json={"paid": True})
    assert (answer.status_code, answer.json()) == (202, {"accepted": True})
    again = await call(api, path, json={})
    assert (again.status_code, again.json()["code"]) == (409, "callback.used")
    await api.carry(name)
    output = (await api.get(f"/executions/{name}")).json()["output"]
    assert (output["pause"]["name"], output["pause"]["payload"]) == ("callback", {"paid": True})
    assert (await call(api, path)).status_code == 409


async def test_a_call_needs_no_body(api: Api) -> None:
    name, path = await waiting(api)
    assert (await call(api, path)).status_code == 202
    await api.carry(name)
    assert (await api.get(f"/executions/{name}")).json()["output"]["pause"]["payload"] is None


async def test_what_is_wrong_is_answered_alike_whatever_it_is(api: Api) -> None:
    name, path = await waiting(api)
    wrong = [f"{path}x", "/api/v1/callbacks/x", path_of(api, "exec_none"), path_of(api, name, "other")]
    answers = [await call(api, each) for each in wrong]
    assert [each.status_code for each in answers] == [404] * 4
    told = [{key: each.json()[key] for key in ("code", "detail")} for each in answers]
    assert told == [{"code": "callback.unknown", "detail": "There is no such address."}] * 4


async def test_the_door_is_open_for_calls_only(api: Api) -> None:
    _, path = await waiting(api)
    bare = {"Authorization": ""}
    assert (await api.http.get(path, headers=bare)).status_code == 401
    assert (await api.http.post("/api/v1/callbacks", headers=bare)).status_code == 401
    assert (await api.http.post("/api/v1/events", headers=bare, json={"type": "t"})).status_code == 401
    assert (await api.http.post(path, headers={**bare, "Host": "evil.example"})).status_code == 421
    assert (await api.http.post(path, headers={**bare, "Origin": "https://evil.example"})).status_code == 403


async def test_a_body_that_cannot_be_kept_leaves_the_address_as_it_was(api: Api) -> None:
    _, path = await waiting(api)
    assert (await _raw(api, path, b"{")).status_code == 422
    assert (await _raw(api, path, b'"a\\u0000b"')).status_code == 422
    assert (await _raw(api, path, b'"' + b"x" * LARGEST + b'"')).status_code == 413
    assert (await call(api, path, json=1)).status_code == 202


async def _raw(api: Api, path: str, content: bytes) -> httpx2.Response:
    headers = {"Authorization": "", "Content-Type": "application/json"}
    return await api.http.post(path, content=content, headers=headers)


async def test_a_call_before_the_wait_is_kept_for_it(api: Api) -> None:
    await api.push(node("rest", "wait", {"for": 60}), PAUSE, edges=[{"from": "rest", "to": "pause"}])
    name = await api.execute()
    await api.carry(name)
    assert (await call(api, path_of(api, name), json="early")).status_code == 202
    assert (await call(api, path_of(api, name), json="late")).status_code == 409


async def test_a_call_of_a_cancelled_execution_comes_too_late(api: Api) -> None:
    name, path = await waiting(api)
    await api.post(f"/executions/{name}/cancel")
    assert (await call(api, path)).status_code == 409
