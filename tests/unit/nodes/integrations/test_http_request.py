from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from celeriac import Carried, Effect, Json, TryAgain
from celeriac.testing import Outcome, run_node
from engine.outside.addresses import Policy
from engine.outside.credentials import Binding, Credential
from engine.outside.egress import Egress
from nodes.integrations.http_request import Config, http_request
from tests.loop_time import movable
from tests.loopback import Asked, Handler, always, answer, serving

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    guard = Egress(Policy.parse("127.0.0.0/8"))
    yield guard
    await guard.aclose()


def client(answered: Callable[[httpx2.Request], httpx2.Response]) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.MockTransport(answered))


async def outcome_of(
    status: int = 200,
    content: bytes | str = b"",
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    **config: Json,
) -> Outcome:
    """What a request comes to that is answered like this."""
    response = httpx2.Response(status, content=content, headers=headers)
    return await run_node(
        http_request, {"url": "http://api.test/x?key=1", **config}, http=client(lambda _: response), now=NOW
    )


async def sent(**config: Json) -> httpx2.Request:
    """The request that a config makes."""
    seen: list[httpx2.Request] = []

    def answered(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200)

    outcome = await run_node(http_request, {"url": "http://api.test/x", **config}, http=client(answered))
    assert outcome.kind == "output"
    return seen[0]


# The effect


@pytest.mark.parametrize(
    ("config", "effect"),
    [
        ({}, Effect.READ),
        ({"method": "GET"}, Effect.READ),
        ({"method": "HEAD"}, Effect.READ),
        ({"method": "OPTIONS"}, Effect.READ),
        ({"method": "GET", "idempotent": True}, Effect.READ),
        ({"method": "GET", "idempotent": None}, Effect.READ),
        ({"method": "GET", "idempotent": False}, Effect.ONCE),
        ({"method": "GET", "idempotent": "{{ vars.x }}"}, Effect.ONCE),
        ({"method": "POST"}, Effect.ONCE),
        ({"method": "PATCH"}, Effect.ONCE),
        ({"method": "POST", "idempotent": True}, Effect.KEYED),
        ({"method": "PATCH", "idempotent": True}, Effect.KEYED),
        ({"method": "POST", "idempotent": False}, Effect.ONCE),
        ({"method": "POST", "idempotent": "{{ true }}"}, Effect.ONCE),
        ({"method": "PUT"}, Effect.KEYED),
        ({"method": "DELETE"}, Effect.KEYED),
        ({"method": "PUT", "idempotent": False}, Effect.ONCE),
        ({"method": "{{ vars.method }}"}, Effect.ONCE),
        ({"method": "{{ vars.method }}", "idempotent": True}, Effect.KEYED),
    ],
)
def test_the_effect_follows_from_the_written_config(config: dict[str, Json], effect: Effect) -> None:
    assert http_request.effect_of(config) is effect


def test_only_what_the_node_calls_repeatable_is_repeated_by_default() -> None:
    retry = http_request.retry

    assert (retry.max_attempts, retry.delay, retry.on) == (3, 1.0, (TryAgain,))


# The request


async def test_json_is_sent_as_json() -> None:
    request = await sent(method="POST", body={"a": [1, "ü", None]})

    assert json.loads(request.content) == {"a": [1, "ü", None]}
    assert request.headers["content-type"] == "application/json"


async def test_text_is_sent_as_it_is() -> None:
    request = await sent(method="POST", body="a=b&c=ü", headers={"Content-Type": "application/x-custom"})

    assert (request.content, request.headers["content-type"]) == ("a=b&c=ü".encode(), "application/x-custom")


@pytest.mark.parametrize(("body", "content"), [(False, b"false"), (0, b"0"), ([], b"[]"), ("", b"")])
async def test_a_body_that_is_false_is_still_a_body(body: Json, content: bytes) -> None:
    assert (await sent(method="POST", body=body)).content == content


async def test_without_a_body_nothing_is_said_about_one() -> None:
    assert "content-type" not in (await sent()).headers


async def test_parameters_join_those_of_the_url() -> None:
    request = await sent(
        url="http://api.test/x?a=1", query={"b": "ü &", "c": [1, 2], "d": None, "e": True, "f": 1.5}
    )

    assert str(request.url) == "http://api.test/x?a=1&b=%C3%BC+%26&c=1&c=2&e=true&f=1.5"


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"method": "POST", "idempotent": True}, "test-key"),
        ({"method": "PUT"}, "test-key"),
        ({"method": "POST"}, None),
        ({"method": "GET"}, None),
        ({"method": "POST", "idempotent": True, "headers": {"idempotency-key": "mine"}}, "mine"),
    ],
)
async def test_a_repeatable_effect_carries_its_key(config: dict[str, Json], key: str | None) -> None:
    assert (await sent(**config)).headers.get("idempotency-key") == key


@pytest.mark.parametrize(("given", "seconds"), [(2, 2.0), ("1m30s", 90.0), ("250ms", 0.25)])
async def test_the_timeout_bounds_the_call(given: Json, seconds: float) -> None:
    assert (await sent(timeout=given)).extensions["timeout"]["read"] == seconds


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"url": ""},
        {"url": "http://a", "method": "BREW"},
        {"url": "http://a", "methd": "GET"},
        {"url": "http://a", "timeout": 0},
        {"url": "http://a", "timeout": "0s"},
        {"url": "http://a", "timeout": "soon"},
        {"url": "http://a", "timeout": True},
        {"url": "http://a", "headers": {"Host": "b"}},
        {"url": "http://a", "headers": {"content-length": "1"}},
        {"url": "http://a", "headers": {"Transfer-Encoding": "chunked"}},
        {"url": "http://a", "headers": {"A": 1}},
        {"url": "http://a", "query": {"a": {"b": 1}}},
        {"url": "http://a", "idempotent": "yes"},
        {"url": "http://a", "idempotent": 1},
        {"url": "http://a", "expect": []},
        {"url": "http://a", "expect": [99]},
        {"url": "http://a", "expect": ["2XX"]},
    ],
)
async def test_a_config_that_makes_no_request_is_refused(config: dict[str, Json]) -> None:
    outcome = await run_node(http_request, config, http=client(lambda _: httpx2.Response(200)))

    assert outcome.code == "node.config_invalid"


@pytest.mark.parametrize(
    "config",
    [
        {"url": "http://a:b/"},
        {"url": "http://①②⑦.⓪.⓪.①/"},
        {"url": "http://a/\n"},
        {"url": "http://a/", "headers": {"A": "ü\ud800"}},
    ],
)
async def test_a_request_that_cannot_be_built_fails_at_once(config: dict[str, Json], egress: Egress) -> None:
    outcome = await run_node(http_request, config, http=egress.client())

    assert (outcome.kind, outcome.code) == ("failed", "http.invalid_request")


@pytest.mark.parametrize("headers", [{"A": "b\r\nX: y"}, {"A b": "c"}, {"A": "\x00"}])
async def test_headers_cannot_smuggle_others(headers: dict[str, Json], egress: Egress) -> None:
    async with serving(always(answer())) as server:
        outcome = await run_node(
            http_request, {"url": server.url, "method": "POST", "headers": headers}, http=egress.client()
        )

    assert (outcome.kind, outcome.code, server.asked) == ("failed", "http.invalid_request", [])


def test_the_config_describes_every_field() -> None:
    properties = Config.model_json_schema()["properties"]

    assert [name for name, each in properties.items() if not each.get("description")] == []


# The answer


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "APPLICATION/Problem+JSON", "text/json"]
)
async def test_declared_json_is_read(kind: str) -> None:
    outcome = await outcome_of(200, '{"a": [1, 2.5, null, "ü"]}', {"Content-Type": kind})

    assert outcome.value == {
        "status": 200,
        "headers": {"content-type": kind, "content-length": "27"},
        "body": {"a": [1, 2.5, None, "ü"]},
    }


@pytest.mark.parametrize("content", ["{", "NaN", '{"a": Infinity}', "[" * 100_000, "1" * 5000, b"\xff"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_json_that_is_none_fails_with_its_beginning(content: str | bytes, method: str) -> None:
    outcome = await outcome_of(200, content, {"Content-Type": "application/json"}, method=method)

    assert (outcome.kind, outcome.code) == ("failed", "http.invalid_body")
    assert outcome.error is not None
    assert outcome.error.details["status"] == 200
    assert len(str(outcome.error.details["body"])) <= 500


@pytest.mark.parametrize(
    ("kind", "content", "body"),
    [
        ("text/plain", "grün".encode(), "grün"),
        ("text/html; charset=iso-8859-1", "grün".encode("latin-1"), "grün"),
        ("text/plain; charset=shift_jis", "日本".encode("shift_jis"), "日本"),
        ("application/xml", b"<a/>", "<a/>"),
        ("image/svg+xml", b"<svg/>", "<svg/>"),
        ("application/x-ndjson", b"1\n2", "1\n2"),
        ("application/x-unknown; charset=utf-8", b"text", "text"),
        ("", b"text", "text"),
    ],
)
async def test_text_is_read_in_its_charset(kind: str, content: bytes, body: str) -> None:
    outcome = await outcome_of(200, content, {"Content-Type": kind} if kind else {})

    assert isinstance(outcome.value, dict)
    assert outcome.value["body"] == body


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("image/png", b"\x89PNG"),
        ("text/plain", b"\xff\xfe\xfd"),
        ("text/plain", b"a\0b"),
        ("text/plain; charset=nonsense", b"a"),
        ("text/plain; charset=punycode", b"a"),
        ("text/plain; charset=hex", b"61"),
        ("", b"\xff"),
    ],
)
async def test_bytes_come_as_base64_and_say_so(kind: str, content: bytes) -> None:
    outcome = await outcome_of(200, content, {"Content-Type": kind} if kind else {})

    assert isinstance(outcome.value, dict)
    assert outcome.value["body"] == {
        "base64": base64.b64encode(content).decode(),
        "media_type": kind.partition(";")[0] or None,
        "size": len(content),
    }


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "image/png"])
async def test_an_empty_body_is_null(kind: str) -> None:
    outcome = await outcome_of(204, b"", {"Content-Type": kind})

    assert isinstance(outcome.value, dict)
    assert outcome.value["body"] is None


async def test_headers_are_by_lower_case_name_and_cookies_a_list() -> None:
    headers = [
        ("X-One", "1"),
        ("X-Many", "a"),
        ("x-many", "b"),
        ("Set-Cookie", "a=1, b"),
        ("Set-Cookie", "c=2"),
    ]
    outcome = await outcome_of(200, b"", headers)

    assert isinstance(outcome.value, dict)
    assert outcome.value["headers"] == {
        "x-one": "1",
        "x-many": "a, b",
        "set-cookie": ["a=1, b", "c=2"],
    }


# Statuses


@pytest.mark.parametrize("status", [200, 201, 204, 304])
async def test_success_is_the_default_for_2xx_and_3xx(status: int) -> None:
    outcome = await outcome_of(status)

    assert outcome.kind == "output"


@pytest.mark.parametrize(
    ("status", "method", "kind", "code"),
    [
        (400, "GET", "failed", "http.client_error"),
        (404, "POST", "failed", "http.client_error"),
        (499, "GET", "failed", "http.client_error"),
        (408, "GET", "try_again", "http.timeout"),
        (425, "GET", "try_again", "http.unavailable"),
        (429, "GET", "try_again", "http.rate_limited"),
        (500, "GET", "try_again", "http.server_error"),
        (502, "PUT", "try_again", "http.server_error"),
        (503, "DELETE", "try_again", "http.unavailable"),
        (599, "GET", "try_again", "http.server_error"),
        (408, "POST", "try_again", "http.timeout"),
        (425, "POST", "try_again", "http.unavailable"),
        (429, "POST", "try_again", "http.rate_limited"),
        (503, "POST", "try_again", "http.unavailable"),
        (500, "POST", "failed", "http.server_error"),
        (501, "PATCH", "failed", "http.server_error"),
        (502, "POST", "uncertain", "effect.uncertain"),
        (504, "POST", "uncertain", "effect.uncertain"),
    ],
)
async def test_a_status_comes_to_what_it_says_about_the_work(
    status: int, method: str, kind: str, code: str
) -> None:
    outcome = await outcome_of(status, "because", method=method)

    assert (outcome.kind, outcome.code) == (kind, code)
    assert outcome.error is not None
    assert outcome.error.details == {"status": status, "body": "because"}
    assert str(status) in outcome.error.message
    assert "key=1" not in outcome.error.message


async def test_a_keyed_post_is_repeated_after_a_server_error() -> None:
    assert (await outcome_of(500, method="POST", idempotent=True)).kind == "try_again"


async def test_a_read_that_must_not_be_repeated_is_not() -> None:
    assert (await outcome_of(500, method="GET", idempotent=False)).kind == "failed"


@pytest.mark.parametrize(
    ("expect", "status", "kind", "code"),
    [
        ([404], 404, "output", None),
        (["4xx"], 418, "output", None),
        ([200, "5xx"], 503, "output", None),
        ([200], 200, "output", None),
        ([200], 201, "failed", "http.unexpected_status"),
        (["2xx"], 304, "failed", "http.unexpected_status"),
        ([200], 404, "failed", "http.client_error"),
        ([200], 503, "try_again", "http.unavailable"),
    ],
)
async def test_an_author_says_what_success_is(
    expect: list[Json], status: int, kind: str, code: str | None
) -> None:
    outcome = await outcome_of(status, expect=expect)

    assert (outcome.kind, outcome.code) == (kind, code)


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "Tue, 01 Jan 2030 00:01:00 GMT"}, 60.0),
        ({"Retry-After": "Tue, 01 Jan 2030 00:01:00 GMT", "Date": "Tue, 01 Jan 2030 00:00:30 GMT"}, 30.0),
        ({"Retry-After": "Mon, 31 Dec 2029 23:00:00 GMT"}, 0.0),
        ({"Retry-After": "Tue, 01 Jan 2030 00:00:09 -0000"}, 9.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "²"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
    ],
)
async def test_the_time_a_server_asks_for_is_handed_on(headers: dict[str, str], after: float | None) -> None:
    response = httpx2.Response(429, headers=httpx2.Headers(headers, encoding="utf-8"))
    outcome = await run_node(
        http_request, {"url": "http://api.test"}, http=client(lambda _: response), now=NOW
    )

    assert outcome.error is not None
    assert outcome.error.retry_after == after


async def test_the_body_of_an_error_is_cut_short() -> None:
    outcome = await outcome_of(400, "ü" * 5000 + "\0")

    assert outcome.error is not None
    assert outcome.error.details["body"] == "ü" * 500


# Calls without an answer

READ, KEYED, ONCE = {"method": "GET"}, {"method": "POST", "idempotent": True}, {"method": "POST"}


async def hang_up(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def break_off(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()


async def talk_nonsense(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SMTP ready\r\n\r\n")
    writer.close()


LOST = [hang_up, break_off, talk_nonsense, always(answer(b"no gzip", Content_Encoding="gzip"))]


@pytest.mark.parametrize("config", [READ, KEYED])
@pytest.mark.parametrize("handler", LOST)
async def test_a_lost_answer_to_what_may_be_repeated_is_tried_again(
    egress: Egress, handler: Handler, config: dict[str, Json]
) -> None:
    async with serving(handler) as server:
        outcome = await run_node(http_request, {"url": server.url, **config}, http=egress.client())

    assert (outcome.kind, outcome.code) == ("try_again", "http.unreachable")


@pytest.mark.parametrize(
    ("config", "kind", "code"),
    [
        (READ, "try_again", "http.timeout"),
        (KEYED, "try_again", "http.timeout"),
        (ONCE, "uncertain", "effect.uncertain"),
    ],
)
async def test_an_answer_that_does_not_come_in_time_is_lost(
    egress: Egress, monkeypatch: pytest.MonkeyPatch, config: dict[str, Json], kind: str, code: str
) -> None:
    move = movable(monkeypatch)

    async def say_nothing(_: Asked, __: asyncio.StreamWriter) -> None:
        while True:
            move(10)
            await asyncio.sleep(0)

    async with serving(say_nothing) as server:
        outcome = await run_node(
            http_request, {"url": server.url, "timeout": "1m", **config}, http=egress.client()
        )

    assert (outcome.kind, outcome.code) == (kind, code)


@pytest.mark.parametrize("handler", LOST)
async def test_a_lost_answer_to_what_must_not_be_repeated_is_uncertain(
    egress: Egress, handler: Handler
) -> None:
    async with serving(handler) as server:
        outcome = await run_node(http_request, {"url": f"{server.url}/x?key=1", **ONCE}, http=egress.client())

    assert (outcome.kind, outcome.code, len(server.asked)) == ("uncertain", "effect.uncertain", 1)
    assert outcome.error is not None
    assert "key=1" not in outcome.error.message


@pytest.mark.parametrize("config", [READ, KEYED, ONCE])
async def test_a_refused_connection_has_done_nothing_and_is_tried_again(
    egress: Egress, config: dict[str, Json]
) -> None:
    async with serving(always(answer())) as server:
        pass

    outcome = await run_node(http_request, {"url": server.url, **config}, http=egress.client())

    assert (outcome.kind, outcome.code) == ("try_again", "http.unreachable")


async def test_a_connection_that_does_not_come_about_in_time_has_done_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    move = movable(monkeypatch)

    async def never(_: str, __: int) -> list[str]:
        asyncio.get_running_loop().call_soon(move, 60)
        await asyncio.Event().wait()
        return []

    guard = Egress(Policy(), resolve=never)
    outcome = await run_node(http_request, {"url": "http://slow.test", **ONCE}, http=guard.client())

    assert (outcome.kind, outcome.code) == ("try_again", "http.timeout")


@pytest.mark.parametrize(
    ("status", "kind"),
    [("303 See Other", "uncertain"), ("302 Found", "uncertain"), ("307 Temporary", "try_again")],
)
async def test_after_a_redirect_the_first_request_may_have_been_carried_out(
    egress: Egress, status: str, kind: str
) -> None:
    async with serving(always(answer())) as gone:
        pass
    async with serving(always(answer(b"", status, Location=gone.url))) as server:
        outcome = await run_node(http_request, {"url": server.url, **ONCE}, http=egress.client())

    assert outcome.kind == kind


async def test_what_the_guard_refuses_fails_with_its_own_code() -> None:
    outcome = await run_node(http_request, {"url": "http://127.0.0.1:9/"}, http=Egress(Policy()).client())

    assert (outcome.kind, outcome.code) == ("failed", "egress.refused")


# Connections


async def test_a_connection_brings_its_credential(egress: Egress) -> None:
    async with serving(always(answer('{"in": true}', Content_Type="application/json"))) as server:
        hosts = (Binding.parse(f"127.0.0.1:{server.port}"),)
        credential = Credential("crm", hosts, carried=Carried({"Authorization": "Bearer s3cret"}))
        outcome = await run_node(
            http_request,
            {"url": server.url, "connection": "crm"},
            connections={"crm": egress.client(credential=credential)},
        )

    assert server.asked[0].headers["authorization"] == "Bearer s3cret"
    assert isinstance(outcome.value, dict)
    assert outcome.value["body"] == {"in": True}


async def test_an_unknown_connection_fails() -> None:
    outcome = await run_node(http_request, {"url": "http://api.test", "connection": "crm"})

    assert (outcome.kind, outcome.code) == ("failed", "connection.unknown")


# Bodies of other kinds


async def test_a_form_and_a_form_with_files_and_a_file_are_sent_as_such() -> None:
    form = await sent(method="POST", form={"a": "x y", "b": {"c": [1, True]}, "d": None})
    assert form.headers["content-type"] == "application/x-www-form-urlencoded"
    assert form.content == b"a=x+y&b%5Bc%5D%5B0%5D=1&b%5Bc%5D%5B1%5D=true"

    picture: Json = {"base64": "AAE=", "media_type": "image/png", "name": 'a"b.png'}
    files = await sent(method="POST", fields={"title": "Zoë", "files": [picture, "text"], "none": None})
    kind, _, boundary = files.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    parts = files.content.split(f"--{boundary}".encode())
    assert (len(parts), parts[-1]) == (5, b"--\r\n")
    assert b'name="title"\r\n\r\nZo\xc3\xab' in parts[1]
    assert (
        b'Content-Type: image/png\r\nContent-Disposition: form-data; name="files"; filename="a%22b.png"'
        in parts[2]
    )
    assert parts[2].endswith(b"\r\n\r\n\x00\x01\r\n")

    file = await sent(method="PUT", file=picture)
    assert (file.headers["content-type"], file.content) == ("image/png", b"\0\1")
    named = await sent(method="PUT", file="a,b", headers={"Content-Type": "text/csv"})
    assert (named.headers["content-type"], named.content) == ("text/csv", b"a,b")


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"body": 1, "form": {}}, "node.config_invalid"),
        ({"method": "POST", "pages": {"by": "link"}}, "node.config_invalid"),
        ({"body": 1, "pages": {"by": "link"}}, "node.config_invalid"),
        ({"pages": {"by": "cursor"}}, "node.config_invalid"),
        ({"pages": {"by": "number"}}, "node.config_invalid"),
        ({"pages": {"by": "link", "items": "a b"}}, "node.config_invalid"),
        ({"method": "POST", "file": {"base64": "?"}}, "file.invalid"),
        ({"method": "POST", "file": {"base64": "", "media_type": "a\r\nX: y"}}, "file.invalid"),
    ],
)
async def test_what_does_not_go_together_is_refused(config: dict[str, Any], code: str) -> None:
    outcome = await outcome_of(**config)
    assert (outcome.kind, outcome.code) == ("failed", code)


# Pages


class Library:
    """A server with seven books, told two at a time, in each of the ways that servers have."""

    def __init__(self) -> None:
        self.asked: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        query = dict(request.url.params)
        start = int(query.get("page", 1)) * 2 - 2 if "page" in query else int(query.get("cursor", 0))
        books = list(range(7))[start : start + 2]
        following = start + 2 if start + 2 < 7 else None
        way = request.url.path.removeprefix("/")
        headers = {}
        if way == "link" and following:
            headers["Link"] = f'</link?cursor={following}>; rel="next"'
        if way == "elsewhere":
            headers["Link"] = '<http://evil.test/link>; rel="next"'
        if way == "address":
            address = f"http://api.test/address?cursor={following}" if following else None
            return httpx2.Response(200, json={"data": {"books": books}, "meta": {"next": address}})
        if way == "cursor":
            return httpx2.Response(200, json={"data": {"books": books}, "meta": {"next": following}})
        return httpx2.Response(200, json=books, headers=headers)


async def listed(way: str, **pages: Json) -> tuple[Outcome, Library]:
    library = Library()
    config: dict[str, Json] = {"url": f"http://api.test/{way}", "headers": {"X-A": "b"}, "pages": {**pages}}
    return await run_node(http_request, config, http=client(library)), library


@pytest.mark.parametrize(
    ("way", "pages"),
    [
        ("link", {"by": "link"}),
        ("address", {"by": "cursor", "items": "data.books", "cursor": "meta.next"}),
        ("cursor", {"by": "cursor", "items": "data.books", "cursor": "meta.next", "parameter": "cursor"}),
        ("number", {"by": "number", "parameter": "page"}),
    ],
)
async def test_all_pages_are_asked_for_in_each_way(way: str, pages: dict[str, Json]) -> None:
    outcome, library = await listed(way, **pages)
    value = outcome.value
    assert isinstance(value, dict)
    assert (value["body"], value["more"]) == ([0, 1, 2, 3, 4, 5, 6], False)
    assert {each.headers["x-a"] for each in library.asked} == {"b"}
    some, library = await listed(way, most=3, **pages)
    value = some.value
    assert isinstance(value, dict)
    assert (value["body"], value["more"], len(library.asked)) == ([0, 1, 2], True, 2)


async def test_the_next_page_is_not_fetched_from_elsewhere() -> None:
    outcome, library = await listed("elsewhere", by="link")
    assert (outcome.code, len(library.asked)) == ("http.invalid_body", 1)


async def test_a_page_without_a_list_is_told() -> None:
    outcome, _ = await listed("cursor", by="cursor", items="data", cursor="meta.next")
    assert outcome.code == "http.invalid_body"
    outcome, _ = await listed("cursor", by="cursor", items="data.0.x", cursor="meta.next")
    assert outcome.code == "http.invalid_body"
