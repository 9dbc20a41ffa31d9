from __future__ import annotations

import asyncio
from typing import Any, cast

import httpx2
import pytest

from api.guard import Guard


class Inside:
    """An application that says how much it was given."""

    def __init__(self) -> None:
        self.reached = 0

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        self.reached += 1
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(size).encode()})


def guarded(**more: Any) -> tuple[Inside, httpx2.AsyncClient]:
    inside = Inside()
    guard = Guard(cast("Any", inside), hosts=["api.example.com"], largest=100)
    transport = httpx2.ASGITransport(guard)
    return inside, httpx2.AsyncClient(transport=transport, base_url="http://localhost:8321", headers=more)


async def asked(path: str = "/x", method: str = "GET", content: Any = None, **headers: str) -> Any:
    """What a request is answered with, and whether it came through."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    inside, http = guarded()
    async with http:
        answer = await http.request(method, path, content=content, headers=named)
    return answer.status_code, inside.reached, answer


async def test_who_is_broken_off_by_the_end_of_the_process_is_told_to_ask_again() -> None:
    async def broken_off(*_: Any) -> None:
        raise asyncio.CancelledError

    guard = Guard(cast("Any", broken_off), hosts=[], largest=100)
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(guard), base_url="http://localhost:8321"
    ) as http:
        answer = await http.get("/x")
    assert (answer.status_code, answer.json()["code"]) == (503, "service.unavailable")
    assert answer.headers["Retry-After"] == "1"


async def test_who_is_broken_off_in_the_midst_of_his_answer_gets_no_second_one() -> None:
    async def broken_off(_: Any, receive: Any, send: Any) -> None:
        del receive
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise asyncio.CancelledError

    guard = Guard(cast("Any", broken_off), hosts=[], largest=100)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "path": "/x",
        "method": "GET",
        "headers": [(b"host", b"localhost")],
        "query_string": b"",
    }
    with pytest.raises(asyncio.CancelledError):
        await guard(scope, cast("Any", None), send)
    assert [each["type"] for each in sent] == ["http.response.start"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:8321", "api.example.com"])
async def test_our_own_names_are_served(host: str) -> None:
    assert (await asked(Host=host))[:2] == (200, 1)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::2]"]
)
async def test_a_name_that_someone_else_pointed_here_is_not(host: str) -> None:
    status, reached, answer = await asked(Host=host)
    assert (status, reached, answer.json()["code"]) == (421, 0, "request.host_refused")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
async def test_a_page_of_another_site_is_refused_even_with_the_token(headers: dict[str, str]) -> None:
    status, reached, answer = await asked(**headers)
    assert (status, reached, answer.json()["code"]) == (403, 0, "request.cross_origin")


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://localhost:8321"}, {"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}],
)
async def test_a_page_of_our_own_is_not(headers: dict[str, str]) -> None:
    assert (await asked(**headers))[:2] == (200, 1)


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/merge-patch+json"]
)
async def test_a_body_is_json(kind: str) -> None:
    assert (await asked(method="POST", content=b"{}", Content_Type=kind))[:2] == (200, 1)


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json"]
)
async def test_a_body_that_a_form_can_send_is_not(kind: str) -> None:
    status, reached, answer = await asked(method="POST", content=b"{}", Content_Type=kind)
    assert (status, reached, answer.json()["code"]) == (415, 0, "request.not_json")


async def test_without_a_body_nothing_has_to_be_declared() -> None:
    assert (await asked(method="POST"))[:2] == (200, 1)


async def test_a_body_may_be_as_large_as_the_limit_and_no_larger() -> None:
    json: dict[str, str] = {"Content_Type": "application/json"}
    assert (await asked(method="POST", content=b"x" * 100, **json))[:2] == (200, 1)
    status, reached, answer = await asked(method="POST", content=b"x" * 101, **json)
    assert (status, reached, answer.json()["code"]) == (413, 0, "limit.too_large")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/schemas/workflow/v1.json"])
async def test_what_probes_ask_needs_no_host_of_ours(path: str) -> None:
    assert (await asked(path, Host="10.0.0.7"))[:2] == (200, 1)


@pytest.mark.parametrize("path", ["/healthz/", "/healthz/../api", "//healthz", "/HEALTHZ", "/api/v1/healthz"])
async def test_only_the_very_path_needs_none(path: str) -> None:
    assert (await asked(path, Host="10.0.0.7"))[:2] == (421, 0)


async def test_and_only_for_reading() -> None:
    assert (await asked("/healthz", method="POST", Host="10.0.0.7"))[:2] == (421, 0)


@pytest.mark.parametrize("path", ["/x/%00", "/x?a=%00", "/x?a=b%00c&d"])
async def test_an_address_that_no_database_could_look_for_is_refused(path: str) -> None:
    status, reached, answer = await asked(path)
    assert (status, reached, answer.json()["code"]) == (422, 0, "request.invalid")


async def test_every_answer_bears_the_headers_that_protect_it_and_an_id() -> None:
    given: list[dict[str, str]] = [{}, {"Host": "evil.example"}]
    for headers in given:
        _, _, answer = await asked(**headers)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert len(answer.headers["x-request-id"]) == 16


async def test_the_id_of_a_request_is_its_senders_if_it_is_one() -> None:
    assert (await asked(X_Request_ID="trace-7"))[2].headers["x-request-id"] == "trace-7"
    assert (await asked(X_Request_ID="a b\x01"))[2].headers["x-request-id"] != "a b\x01"
