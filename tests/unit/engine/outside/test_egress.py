from __future__ import annotations

import asyncio
import gzip
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpcore2
import httpx2
import pytest

from celeriac import Carried, Fail
from engine.outside.addresses import Limits, Policy
from engine.outside.credentials import Binding, Credential
from engine.outside.egress import Egress, target_of
from tests.certificates import certificate_for
from tests.loop_time import Move, movable
from tests.loopback import Asked, Handler, always, answer, serving

LOOPBACK = Policy.parse("127.0.0.0/8")


class Names:
    """A resolver whose answers are given beforehand; the last one is repeated."""

    def __init__(self, **hosts: list[list[str]]) -> None:
        self.hosts = {name.replace("_", "."): list(answers) for name, answers in hosts.items()}
        self.questions: list[str] = []

    async def __call__(self, host: str, _: int) -> Sequence[str]:
        self.questions.append(host)
        answers = self.hosts.get(host, [])
        if not answers:
            raise OSError(f"no such host: {host}")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    guard = Egress(LOOPBACK)
    yield guard
    await guard.aclose()


async def refusal_of(guard: Egress, url: str, method: str = "GET", **more: Any) -> Fail:
    with pytest.raises(Fail) as caught:
        await guard.client().request(method, url, **more)
    await guard.aclose()
    return caught.value


def limited(**limits: Any) -> Egress:
    return Egress(Policy(LOOPBACK.allow, Limits(**limits)))


def moved(location: str, status: str = "302 Found") -> bytes:
    return answer(b"elsewhere", status, Location=location)


# Addresses


async def test_what_the_deployment_allows_is_reached(egress: Egress) -> None:
    async with serving(always(answer("hello"))) as server:
        response = await egress.client().get(f"{server.url}/path?q=1")

    assert (response.status_code, response.text) == (200, "hello")
    assert [(each.method, each.target, each.headers["host"]) for each in server.asked] == [
        ("GET", "/path?q=1", f"127.0.0.1:{server.port}")
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"])  # noqa: S104  a way to say loopback
async def test_loopback_is_refused_by_default_and_sees_no_connection(host: str) -> None:
    async with serving(always(answer())) as server:
        error = await refusal_of(Egress(Policy()), f"http://{host}:{server.port}/")

    assert (error.code, server.connections) == ("egress.refused", 0)
    assert "CELERIAC_EGRESS_ALLOW" in error.message
    assert error.details["port"] == server.port


async def test_a_name_is_refused_when_only_one_of_its_addresses_is_inner() -> None:
    names = Names(mixed_test=[["93.184.216.34", "127.0.0.1"]])
    async with serving(always(answer())) as server:
        error = await refusal_of(Egress(Policy(), resolve=names), f"http://mixed.test:{server.port}/")

    assert (error.code, error.details["host"], server.connections) == ("egress.refused", "mixed.test", 0)


async def test_a_name_is_resolved_once_and_the_judged_address_is_connected_to() -> None:
    names = Names(rebinding_test=[["127.0.0.2"], ["127.0.0.1"]])
    guard = Egress(Policy.parse("127.0.0.2"), resolve=names)
    async with (
        serving(always(answer("good")), "127.0.0.2") as good,
        serving(always(answer("bad")), "127.0.0.1", good.port) as bad,
    ):
        first = await guard.client().post(f"http://rebinding.test:{good.port}/")
        second = await refusal_of(guard, f"http://rebinding.test:{good.port}/", "POST")

    assert (first.text, second.code) == ("good", "egress.refused")
    assert (len(names.questions), good.connections, bad.connections) == (2, 1, 0)
    assert good.asked[0].headers["host"] == f"rebinding.test:{good.port}"


async def test_an_idle_connection_is_used_again_without_asking_for_the_name(egress: Egress) -> None:
    names = Names(good_test=[["127.0.0.1"], ["10.0.0.1"]])
    guard = Egress(LOOPBACK, resolve=names)
    async with serving(always(answer("good"))) as server:
        for _ in range(3):
            await guard.client().get(f"http://good.test:{server.port}/")
        await guard.aclose()

    assert (len(names.questions), server.connections) == (1, 1)


async def test_a_peer_that_is_not_the_judged_address_is_refused_and_left() -> None:
    class Elsewhere(httpcore2.AsyncNetworkStream):
        closed = False

        def get_extra_info(self, info: str) -> Any:
            return {"server_addr": ("10.1.2.3", 80)}[info]

        async def aclose(self) -> None:
            self.closed = True

    stream = Elsewhere()

    class Dialler(httpcore2.AsyncNetworkBackend):
        async def connect_tcp(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
            return stream

    guard = Egress(LOOPBACK)
    guard._backend._dialler = Dialler()  # type: ignore[assignment]

    error = await refusal_of(guard, "http://127.0.0.1:8080/")

    assert (error.code, stream.closed) == ("egress.refused", True)


async def test_the_next_address_of_a_name_is_tried_when_one_does_not_answer() -> None:
    names = Names(two_test=[["127.0.0.2", "127.0.0.1"]])
    guard = Egress(LOOPBACK, resolve=names)
    async with serving(always(answer("here"))) as server:
        response = await guard.client().get(f"http://two.test:{server.port}/")
        await guard.aclose()

    assert response.text == "here"


@pytest.mark.parametrize("names", [Names(), Names(none_test=[[]])])
async def test_a_name_without_an_address_is_a_connection_error(names: Names) -> None:
    guard = Egress(LOOPBACK, resolve=names)

    with pytest.raises(httpx2.ConnectError):
        await guard.client().get("http://none.test/")


async def test_a_proxy_of_the_environment_is_not_asked(
    egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(always(answer("proxy"))) as proxy, serving(always(answer("direct"))) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        response = await egress.client().get(server.url)

    assert (response.text, proxy.connections) == ("direct", 0)


async def test_local_sockets_are_not_connected_to() -> None:
    with pytest.raises(Fail) as caught:
        await Egress(LOOPBACK)._backend.connect_unix_socket("/run/some.sock")

    assert caught.value.code == "egress.refused"


# URLs

HOSTS = [
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "127.1",
    "127.0.1",
    "0",
    "1.2.3",
    "127.0.0.1.",
    "localhost.",
    "a..b",
    "[::1%25lo]",
    "[::ffff:127.0.0.1%251]",
    "a%00b",
    "a%2eb",
    "a%20b",
    "127.0.0.1%2f",
    "a\\b",
    "a`b",
    "a{b}",
    "a|b",
    'a"b',
    "a,b",
    "-",
]
SHAPES = [
    "{scheme}://{host}/",
    "{scheme}://{host}",
    "{scheme}://{host}:8080/x",
    "{scheme}://{host}/?next=http://ok.example/",
    "{scheme}://{host}/#@ok.example",
    "{scheme}://ok.example@{host}/",
    "{scheme}://ok.example:pw@{host}/",
    "{scheme}://ok.example%40@{host}/",
    "{scheme}://ok.example\\@{host}/",
]
OTHERS = [
    "",
    "/path",
    "//127.0.0.1/",
    "127.0.0.1",
    "127.0.0.1:80",
    "http:",
    "http:/",
    "http://",
    "http:///127.0.0.1/",
    "http:127.0.0.1",
    "http:\\\\127.0.0.1\\",
    "http:/\\127.0.0.1/",
    "http://:80/",
    "http://ok.example:0/",
    "http://ok.example:65536/",
    "http://ok.example:-1/",
    "http://ok.example:99999999999/",
    "http://ok.example/a\\..\\b",
    "http://@ok.example@127.0.0.1/",
    "http://a:b@127.0.0.1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://[::1/",
    "http://[127.0.0.1]/",
    "http://[::1]x/",
    "http://ok.example\t/",
    "http://ok.example\r\nHost: x/",
    "http://ok.example\x00/",
    "http://0177.0.0.1/",
    "http://127.0.0.01/",
    "http://1.2.3.256/",
]
SCHEMES = ["http", "https", "HTTP", "hTTps"]
WRONG_SCHEMES = [
    "ftp",
    "file",
    "gopher",
    "ws",
    "wss",
    "unix",
    "data",
    "dict",
    "ldap",
    "jar",
    "http+unix",
    "x",
]


def crooked_urls() -> list[str]:
    urls = [
        shape.format(scheme=scheme, host=host) for scheme in SCHEMES for shape in SHAPES for host in HOSTS
    ]
    urls += [f"{scheme}://ok.example/" for scheme in WRONG_SCHEMES]
    urls += [
        f"{scheme}://{user}@{host}/"
        for scheme in SCHEMES
        for user in ("a", "a:b", ":b")
        for host in ("ok.example", "8.8.8.8", "[2606:4700::1111]")
    ]
    return urls + OTHERS


def verdict(url: str) -> str:
    try:
        target_of(httpx2.URL(url))
    except Fail as error:
        return error.code
    except httpx2.InvalidURL:
        return "egress.invalid_url"
    return "passes"


def test_no_crooked_url_has_a_target() -> None:
    assert len(crooked_urls()) >= 500
    assert [url for url in crooked_urls() if verdict(url) != "egress.invalid_url"] == []


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port"),
    [
        ("http://ok.example", "http", "ok.example", 80),
        ("HTTPS://OK.Example/A", "https", "ok.example", 443),
        ("https://ok.example:8443/", "https", "ok.example", 8443),
        ("http://8.8.8.8/", "http", "8.8.8.8", 80),
        ("http://[2606:4700::1111]:81/", "http", "2606:4700::1111", 81),
        ("http://中国.icom.museum/", "http", "xn--fiqs8s.icom.museum", 80),
        ("http://127。0。0。1/", "http", "127.0.0.1", 80),
        ("http://ok.example/%5C?a=%5C", "http", "ok.example", 80),
    ],
)
def test_a_straight_url_has_one_target(url: str, scheme: str, host: str, port: int) -> None:
    target = target_of(httpx2.URL(url))

    assert (target.scheme, target.host, target.port) == (scheme, host, port)


async def test_a_message_about_a_url_holds_none_of_its_secrets() -> None:
    error = await refusal_of(Egress(Policy()), "http://me:hunter2@ok.example/?key=topsecret#frag")

    assert "hunter2" not in error.message
    assert "topsecret" not in error.message


async def test_websockets_are_no_way_out(egress: Egress) -> None:
    error = await refusal_of(egress, "ws://127.0.0.1:80/")

    assert error.code == "egress.invalid_url"


# Requests


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "GET /x HTTP/1.1", "GE T"])
async def test_methods_that_change_what_the_request_means_are_refused(egress: Egress, method: str) -> None:
    error = await refusal_of(egress, "http://127.0.0.1:80/", method)

    assert error.code == "egress.invalid_method"


async def test_a_host_header_of_its_own_is_refused(egress: Egress) -> None:
    error = await refusal_of(egress, "http://127.0.0.1:80/", headers={"Host": "inner.example"})

    assert error.code == "egress.invalid_header"


async def test_extensions_cannot_bend_the_request(egress: Egress) -> None:
    async with serving(always(answer("fine"))) as server:
        response = await egress.client().get(
            server.url, extensions={"target": b"/elsewhere", "sni_hostname": "other.example"}
        )

    assert (response.text, server.asked[0].target) == ("fine", "/")


async def test_what_cannot_be_repeated_gets_a_fresh_connection_each_time(egress: Egress) -> None:
    async with serving(always(answer())) as server:
        for _ in range(3):
            await egress.client().post(server.url)
        fresh = server.connections
        for _ in range(3):
            await egress.client().post(server.url, headers={"Idempotency-Key": "k"})
            await egress.client().get(server.url)

    assert (fresh, server.connections) == (3, 4)


async def test_clients_share_connections_and_no_cookies(egress: Egress) -> None:
    async with serving(always(answer(Set_Cookie="session=1; Path=/"))) as server:
        client = egress.client()
        await client.get(server.url)
        await client.get(server.url)
        await client.aclose()
        await egress.client().get(server.url)

    assert [each.headers.get("cookie") for each in server.asked] == [None, "session=1", None]
    assert server.connections == 1


async def test_closing_leaves_no_connection_and_does_no_harm(egress: Egress) -> None:
    async with serving(always(answer("again"))) as server:
        await egress.client().get(server.url)
        await egress.aclose()
        await egress.aclose()
        response = await egress.client().get(server.url)

    assert (response.text, server.connections) == ("again", 2)


# Redirects


async def test_redirects_are_followed_up_to_the_limit(egress: Egress) -> None:
    async with serving(always(*[moved("/next")] * 5, answer("end"))) as server:
        response = await egress.client().get(f"{server.url}/start")

    assert (response.text, len(response.history), str(response.url)) == ("end", 5, f"{server.url}/next")


async def test_one_redirect_more_is_refused(egress: Egress) -> None:
    async with serving(always(*[moved("/next")] * 6, answer("end"))) as server:
        error = await refusal_of(egress, f"{server.url}/start")

    assert (error.code, len(server.asked)) == ("egress.redirects", 6)


async def test_redirects_are_left_alone_when_the_caller_says_so(egress: Egress) -> None:
    async with serving(always(moved("/next"))) as server:
        response = await egress.client().get(server.url, follow_redirects=False)

    assert (response.status_code, len(server.asked)) == (302, 1)


INNER = [
    "http://{inner}/",
    "//{inner}/",
    "http://2130706433:{port}/",
    "http://0x7f.1:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://x@{inner}/",
    "http:\\\\{inner}\\",
    "ftp://{inner}/",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("location", INNER)
@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_redirect_to_an_inner_address_reaches_nothing(
    location: str, status: str, method: str
) -> None:
    guard = Egress(Policy.parse("127.0.0.2"))
    async with serving(always(answer("canary")), "127.0.0.1") as canary:
        target = location.format(inner=f"127.0.0.1:{canary.port}", port=canary.port)
        async with serving(always(moved(target, status)), "127.0.0.2") as outer:
            error = await refusal_of(guard, outer.url, method)

    assert error.code in ("egress.refused", "egress.invalid_url")
    assert canary.connections == 0


@pytest.mark.parametrize("location", ["http://[", "http://a:b/", "http://\x7f/", "http://ex\xe4mple\x80/"])
async def test_a_redirect_to_no_url_is_refused(egress: Egress, location: str) -> None:
    async with serving(always(moved(location))) as server:
        error = await refusal_of(egress, server.url)

    assert error.code == "egress.invalid_url"


async def test_keys_of_one_origin_do_not_go_to_another(egress: Egress) -> None:
    headers = {
        "Authorization": "Bearer x",
        "Cookie": "a=b",
        "X-Api-Key": "k",
        "Accept": "text/plain",
        "Idempotency-Key": "i",
    }
    async with serving(always(answer("end"))) as other, serving(always(moved(f"{other.url}/"))) as server:
        await egress.client().get(server.url, headers=headers)

    seen = other.asked[0].headers
    assert sorted(seen) == [
        "accept",
        "accept-encoding",
        "connection",
        "host",
        "idempotency-key",
        "user-agent",
    ]
    assert (seen["accept"], seen["host"]) == ("text/plain", f"127.0.0.1:{other.port}")


async def test_keys_stay_within_their_origin(egress: Egress) -> None:
    async with serving(always(moved("/next"), answer("end"))) as server:
        await egress.client().get(server.url, headers={"Authorization": "Bearer x", "X-Api-Key": "k"})

    assert [(each.headers["authorization"], each.headers["x-api-key"]) for each in server.asked] == [
        ("Bearer x", "k")
    ] * 2


@pytest.mark.parametrize(
    ("status", "method", "body"), [("307 Temporary", "POST", b'{"a":1}'), ("303 See Other", "GET", b"")]
)
async def test_the_body_follows_only_where_the_method_does(
    egress: Egress, status: str, method: str, body: bytes
) -> None:
    async with serving(always(moved("/next", status), answer("end"))) as server:
        await egress.client().post(server.url, json={"a": 1})

    last = server.asked[-1]
    assert (last.method, last.body, "content-type" in last.headers) == (method, body, method == "POST")


async def test_https_does_not_redirect_to_http(tmp_path: Path) -> None:
    serves, trusts = certificate_for("secure.test", tmp_path)
    guard = Egress(LOOPBACK, resolve=Names(secure_test=[["127.0.0.1"]]), tls=trusts)
    async with (
        serving(always(answer("plain"))) as plain,
        serving(always(moved(plain.url)), tls=serves) as server,
    ):
        error = await refusal_of(guard, f"https://secure.test:{server.port}/")

    assert (error.code, plain.connections) == ("egress.downgrade", 0)


async def test_tls_is_spoken_with_the_name_and_not_with_the_address(tmp_path: Path) -> None:
    serves, trusts = certificate_for("secure.test", tmp_path)
    asked_for: list[str] = []
    serves.sni_callback = lambda _, name, __: asked_for.append(str(name))
    guard = Egress(
        LOOPBACK, resolve=Names(secure_test=[["127.0.0.1"]], other_test=[["127.0.0.1"]]), tls=trusts
    )
    async with serving(always(answer("private")), tls=serves) as server:
        response = await guard.client().get(f"https://secure.test:{server.port}/")
        with pytest.raises(httpx2.ConnectError):
            await guard.client().get(f"https://other.test:{server.port}/")
        await guard.aclose()

    assert (response.text, asked_for) == ("private", ["secure.test", "other.test"])


def test_the_systems_certificates_are_used_by_default() -> None:
    assert Egress(Policy())._tls.verify_mode == ssl.CERT_REQUIRED


# Credentials


def bearer(*hosts: str) -> Credential:
    return Credential(
        "crm",
        tuple(Binding.parse(each) for each in hosts),
        carried=Carried({"Authorization": "Bearer s3cret"}),
    )


async def test_a_credential_goes_to_its_host(egress: Egress, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(always(answer("in"))) as server:
        link = egress.link(bearer(f"127.0.0.1:{server.port}"))
        response = await link.http.get(server.url, headers={"authorization": "Bearer mine"})

    assert server.asked[0].headers["authorization"] == "Bearer s3cret"
    assert response.request.headers["authorization"] == "Bearer mine"
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(link)


async def test_a_credential_in_the_query_shows_only_on_the_wire(
    egress: Egress, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(always(answer("in"))) as server:
        hosts = (Binding.parse(f"127.0.0.1:{server.port}"),)
        client = egress.client(
            credential=Credential("maps", hosts, carried=Carried(query={"key": "a&b s3cret"}))
        )
        response = await client.get(f"{server.url}/p?q=%20x")
        await client.get(f"{server.url}/p")

    assert [each.target for each in server.asked] == ["/p?q=%20x&key=a%26b%20s3cret", "/p?key=a%26b%20s3cret"]
    assert "s3cret" not in caplog.text + str(response.url)


async def test_a_credential_is_not_sent_to_a_host_it_is_not_bound_to(egress: Egress) -> None:
    async with serving(always(answer())) as server:
        with pytest.raises(Fail) as caught:
            await egress.client(credential=bearer("api.example.com")).get(server.url)

    assert (caught.value.code, server.connections) == ("connection.host_not_bound", 0)
    assert "api.example.com" in caught.value.message
    assert "s3cret" not in str(caught.value.details) + caught.value.message


async def test_a_redirect_elsewhere_is_followed_without_the_credential(egress: Egress) -> None:
    async with serving(always(answer("file"))) as store, serving(always(moved(f"{store.url}/f"))) as api:
        response = await egress.client(credential=bearer(f"127.0.0.1:{api.port}")).get(api.url)

    assert (response.text, api.asked[0].headers["authorization"]) == ("file", "Bearer s3cret")
    assert "authorization" not in store.asked[0].headers


# Answers


async def test_a_body_that_is_announced_as_too_large_is_not_read() -> None:
    async with serving(always(answer(b"x", Content_Length="101"))) as server:
        error = await refusal_of(limited(body_bytes=100), server.url)

    assert error.code == "egress.body_too_large"


async def test_a_head_may_announce_what_it_does_not_bring() -> None:
    guard = limited(body_bytes=100)
    async with serving(always(answer(b"", Content_Length="5000", Content_Encoding="br"))) as server:
        response = await guard.client().head(server.url)
        await guard.aclose()

    assert (response.headers["content-length"], response.content) == ("5000", b"")


async def test_a_body_without_end_is_cut_off_at_the_limit() -> None:
    async def endless(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    async with serving(endless) as server:
        error = await refusal_of(limited(body_bytes=100_000), server.url)

    assert error.code == "egress.body_too_large"


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "identity, gzip"])
async def test_compressed_answers_come_unpacked(egress: Egress, coding: str) -> None:
    async with serving(always(answer(gzip.compress(b"text"), Content_Encoding=coding))) as server:
        response = await egress.client().get(server.url)

    assert (response.text, server.asked[0].headers["accept-encoding"]) == ("text", "gzip, deflate")
    assert "content-encoding" not in response.headers
    assert "content-length" not in response.headers


async def test_a_bomb_is_refused(egress: Egress) -> None:
    async with serving(always(answer(gzip.compress(bytes(1 << 23)), Content_Encoding="gzip"))) as server:
        error = await refusal_of(egress, server.url)

    assert error.code == "egress.expansion"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "deflate, gzip", "x-gzip"])
async def test_codings_that_were_not_asked_for_are_refused(egress: Egress, coding: str) -> None:
    async with serving(always(answer(b"x", Content_Encoding=coding))) as server:
        error = await refusal_of(egress, server.url)

    assert error.code == "egress.encoding"


async def test_a_damaged_body_is_a_decoding_error(egress: Egress) -> None:
    async with serving(always(answer(b"no gzip", Content_Encoding="gzip"))) as server:
        with pytest.raises(httpx2.DecodingError):
            await egress.client().get(server.url)


@pytest.mark.parametrize("size", [70_000, 200_000])
async def test_headers_over_the_limit_are_refused(egress: Egress, size: int) -> None:
    async with serving(always(answer(X_Large="x" * size))) as server:
        error = await refusal_of(egress, server.url)

    assert error.code == "egress.headers_too_large"


async def test_an_upgraded_connection_is_not_handed_out(egress: Egress) -> None:
    switching = answer(status="101 Switching Protocols", Upgrade="x", Connection="upgrade")
    async with serving(always(switching)) as server:
        response = await egress.client().get(server.url, headers={"Upgrade": "x", "Connection": "upgrade"})

    assert "network_stream" not in response.extensions


async def test_an_answer_can_be_streamed(egress: Egress) -> None:
    async with (
        serving(always(answer("a" * 100_000))) as server,
        egress.client().stream("GET", server.url) as response,
    ):
        size = sum([len(piece) async for piece in response.aiter_bytes()])

    assert size == 100_000


# Errors and time


async def test_a_closed_port_is_a_connect_error(egress: Egress) -> None:
    async with serving(always(answer())) as server:
        pass

    with pytest.raises(httpx2.ConnectError):
        await egress.client().get(server.url)


async def test_an_answer_that_breaks_off_is_a_transport_error(egress: Egress) -> None:
    async def hang_up(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with serving(hang_up) as server:
        with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)) as caught:
            await egress.client().get(server.url)

    assert caught.value.request.url == f"{server.url}"


def stalling(move: Move, *parts: bytes, forever: bytes = b"") -> Handler:
    """Give these parts of an answer, and then nothing, or the last part again each second."""

    async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(parts))
        while True:
            writer.write(forever)
            await writer.drain()
            move(1)
            await asyncio.sleep(0)

    return handle


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
STALLS = [((), b""), ((HEAD,), b"x"), ((HEAD, b"half"), b""), ((b"HTTP/1.1 200 OK\r\n",), b"X: y\r\n")]


@pytest.mark.parametrize(("parts", "forever"), STALLS)
async def test_a_call_ends_at_its_timeout_however_the_server_plays_for_time(
    egress: Egress, monkeypatch: pytest.MonkeyPatch, parts: tuple[bytes, ...], forever: bytes
) -> None:
    move = movable(monkeypatch)
    async with serving(stalling(move, *parts, forever=forever)) as server:
        with pytest.raises(httpx2.ReadTimeout):
            await egress.client().get(server.url, timeout=60)


async def test_a_timeout_of_the_callers_own_body_is_left_as_it_is(egress: Egress) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        raise TimeoutError("mine")

    async with serving(always(answer())) as server:
        with pytest.raises(TimeoutError, match="mine"):
            await egress.client().put(server.url, content=body())


async def test_redirects_share_one_timeout(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    move = movable(monkeypatch)

    async def slowly(_: Asked, writer: asyncio.StreamWriter) -> None:
        move(20)
        writer.write(moved("/again"))

    async with serving(slowly) as server:
        with pytest.raises(httpx2.ReadTimeout):
            await egress.client().get(server.url, timeout=50)

    assert len(server.asked) == 3


async def test_the_policys_time_holds_when_the_caller_names_none(
    egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = movable(monkeypatch)
    async with serving(stalling(move)) as server:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(httpx2.ReadTimeout):
            await egress.client().get(server.url, timeout=None)

    assert 30 <= asyncio.get_running_loop().time() - begun < 60


@pytest.mark.parametrize(
    "limits", [{"connect_seconds": 9.0}, {"total_seconds": 9.0, "connect_seconds": 99.0}]
)
async def test_a_name_that_is_not_resolved_in_time_is_a_connect_timeout(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, float]
) -> None:
    move = movable(monkeypatch)

    async def never(_: str, __: int) -> Sequence[str]:
        asyncio.get_running_loop().call_soon(move, 10)
        await asyncio.Event().wait()
        return []

    guard = Egress(Policy(LOOPBACK.allow, Limits(**limits)), resolve=never)  # type: ignore[arg-type]

    with pytest.raises(httpx2.ConnectTimeout):
        await guard.client().get("http://slow.test/")


async def test_the_body_of_a_stream_is_under_the_timeout_too(
    egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = movable(monkeypatch)
    async with serving(stalling(move, HEAD, forever=b"x")) as server:
        with pytest.raises(httpx2.ReadTimeout):
            async with egress.client().stream("GET", server.url) as response:
                await response.aread()


async def test_a_cancelled_call_leaves_the_others_alone(egress: Egress) -> None:
    async def handle(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.target == "/slow":
            await asyncio.Event().wait()
        writer.write(answer("fine"))

    async with serving(handle) as server:
        slow = asyncio.ensure_future(egress.client().get(f"{server.url}/slow"))
        await server.seen.wait()
        slow.cancel()
        response = await egress.client().get(f"{server.url}/fast")

    assert (slow.cancelled(), response.text) == (True, "fine")
