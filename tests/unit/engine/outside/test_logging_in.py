"""Credentials that the service hands out: kept as long as they last, renewed when they are refused, exchanged for all."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qsl

import pytest

from celeriac import Fail, Json, TryAgain
from engine.context import NodeContext
from engine.outside import connection_rows
from engine.outside.connections import make_connection
from engine.outside.sealing import SealingKeys
from engine.outside.surroundings import Outside
from engine.settings import DEFAULT_PROJECT
from nodes import CONNECTION_TYPES
from tests.loopback import Asked, Server, answer, serving
from tests.workbench import NOW, Workbench

KEYS = SealingKeys.of(b"k" * 32)
KINDS = {each.name: each for each in CONNECTION_TYPES}


@dataclass
class Desk:
    """Hands out tokens and answers to the latest. A refresh token may be used once when it `rotates`."""

    rotates: bool = False
    lives: int = 3600
    tokens: int = 0
    refresh: str = "r3fr3sh-0"
    asked: list[dict[str, str]] = field(default_factory=list)
    authorised: list[str] = field(default_factory=list)
    down: bool = False
    refuses: bool = False

    async def handle(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        def say(status: int, body: Json) -> None:
            writer.write(answer(json.dumps(body), status=f"{status} Said", Content_Type="application/json"))

        if asked.target == "/token":
            form = dict(parse_qsl(asked.body.decode()))
            self.asked.append(form)
            self.authorised.append(asked.headers.get("authorization", ""))
            if self.down:
                say(503, None)
            elif form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh:
                say(400, {"error": "invalid_grant"})
            else:
                self.tokens += 1
                given: dict[str, Json] = {"access_token": f"acc3ss-{self.tokens}", "expires_in": self.lives}
                if self.rotates:
                    self.refresh = f"r3fr3sh-{self.tokens}"
                    given["refresh_token"] = self.refresh
                say(200, given)
        elif not self.refuses and asked.headers.get("authorization") == f"Bearer acc3ss-{self.tokens}":
            say(200, {"seen": asked.headers["authorization"]})
        else:
            say(401, None)


@pytest.fixture
async def desk() -> Desk:
    return Desk()


@pytest.fixture
async def server(desk: Desk) -> AsyncIterator[Server]:
    async with serving(desk.handle) as made:
        yield made


def process(bench: Workbench) -> Outside:
    settings = dataclasses.replace(bench.settings, egress_allow="127.0.0.1")
    at = cast("Any", bench)
    return Outside(settings, at, at, bench.clock, KINDS, KEYS)


@pytest.fixture
async def outside(bench: Workbench) -> AsyncIterator[Outside]:
    made = process(bench)
    yield made
    await made.end()


def store(bench: Workbench, server: Server, **values: Json) -> None:
    given: dict[str, Json] = {
        "token_url": f"{server.url}/token",
        "client_id": "celeriac",
        "client_secret": "cl13nt-s3cr3t",
        **values,
    }
    sealed = make_connection(
        connection_id="conn_1",
        project_id=DEFAULT_PROJECT,
        name="crm",
        kind="oauth2",
        hosts=[f"127.0.0.1:{server.port}"],
        values=given,
        kinds=KINDS,
        keys=KEYS,
        now=NOW,
        random_bytes=lambda count: b"r" * count,
    )
    bench.ask(connection_rows.save(sealed, replace=True))


REFRESH: dict[str, Json] = {"grant": "refresh_token", "refresh_token": "r3fr3sh-0"}


async def ask(outside: Outside, server: Server) -> int:
    link, _ = await outside.connect(DEFAULT_PROJECT, "crm")
    return (await link.http.get(f"{server.url}/me")).status_code


async def test_one_token_serves_many_calls_until_it_ends(
    bench: Workbench, outside: Outside, desk: Desk, server: Server
) -> None:
    store(bench, server, scope="read write", audience="crm")
    assert [await ask(outside, server) for _ in range(3)] == [200, 200, 200]
    assert desk.asked == [{"grant_type": "client_credentials", "scope": "read write", "audience": "crm"}]
    assert desk.authorised == ["Basic Y2VsZXJpYWM6Y2wxM250LXMzY3IzdA=="]
    bench.clock.move(3539)
    assert (await ask(outside, server), desk.tokens) == (200, 1)
    bench.clock.move(1)
    assert (await ask(outside, server), desk.tokens) == (200, 2)


async def test_the_clients_secret_may_go_into_the_body(
    bench: Workbench, outside: Outside, desk: Desk, server: Server
) -> None:
    store(bench, server, send="body")
    await ask(outside, server)
    assert desk.asked[0]["client_secret"] == "cl13nt-s3cr3t"
    assert desk.authorised == [""]


async def test_calls_at_once_share_one_login(
    bench: Workbench, outside: Outside, desk: Desk, server: Server
) -> None:
    store(bench, server)
    assert await asyncio.gather(*(ask(outside, server) for _ in range(5))) == [200] * 5
    assert desk.tokens == 1


async def test_a_token_that_was_withdrawn_is_renewed_within_the_call_and_stays_a_secret(
    bench: Workbench, outside: Outside, desk: Desk, server: Server
) -> None:
    store(bench, server)
    context = NodeContext("e", "n", "", 1, NOW, DEFAULT_PROJECT, outside, None, 10)
    link = await context.connect("crm", "oauth2")
    desk.tokens += 1  # as if somebody had withdrawn the first one
    answered = await link.http.get(f"{server.url}/me")
    assert (answered.status_code, answered.json()) == (200, {"seen": "Bearer acc3ss-3"})
    assert {"acc3ss-1", "acc3ss-3", "cl13nt-s3cr3t"} <= context.secrets


async def test_a_service_that_refuses_every_token_is_believed_after_one_more(
    bench: Workbench, outside: Outside, desk: Desk, server: Server
) -> None:
    store(bench, server)
    link, _ = await outside.connect(DEFAULT_PROJECT, "crm")
    desk.refuses = True
    assert (await link.http.get(f"{server.url}/me")).status_code == 401
    assert desk.tokens == 2


async def test_a_refresh_token_that_may_be_used_once_is_exchanged_for_every_process(
    bench: Workbench, outside: Outside, desk: Desk, server: Server
) -> None:
    desk.rotates = True
    store(bench, server, **REFRESH)
    assert await ask(outside, server) == 200
    stored = bench.query("SELECT sealed FROM connection")
    other = process(bench)  # reads what the first has stored
    assert (await ask(other, server), desk.refresh) == (200, "r3fr3sh-2")
    assert bench.query("SELECT sealed FROM connection") != stored
    await other.end()


async def test_who_comes_with_an_outdated_refresh_token_takes_the_one_that_was_stored_since(
    bench: Workbench, outside: Outside, desk: Desk, server: Server
) -> None:
    desk.rotates = True
    store(bench, server, **REFRESH)
    other = process(bench)
    late = await other._find(DEFAULT_PROJECT, "crm")  # read before the exchange
    assert await ask(outside, server) == 200
    link = await other._open(late)
    assert (await link.http.get(f"{server.url}/me")).status_code == 200
    assert [each["refresh_token"] for each in desk.asked] == ["r3fr3sh-0", "r3fr3sh-0", "r3fr3sh-1"]
    await other.end()


@pytest.mark.parametrize(
    ("down", "kind", "code"), [(False, Fail, "connection.refused"), (True, TryAgain, "http.unavailable")]
)
async def test_a_login_that_fails_is_the_calls_failure_without_its_secrets(
    bench: Workbench,
    outside: Outside,
    desk: Desk,
    server: Server,
    down: bool,
    kind: type[Exception],
    code: str,
) -> None:
    desk.down = down
    store(bench, server, grant="refresh_token", refresh_token="wr0ng-r3fr3sh")
    with pytest.raises(kind) as caught:
        await outside.connect(DEFAULT_PROJECT, "crm")
    assert cast("Any", caught.value).code == code
    assert "wr0ng" not in cast("Any", caught.value).message
    found = await outside.test(DEFAULT_PROJECT, "crm")
    assert (found["ok"], found["code"]) == (False, code)


async def test_a_good_login_passes_the_test(bench: Workbench, outside: Outside, server: Server) -> None:
    store(bench, server)
    assert (await outside.test(DEFAULT_PROJECT, "crm"))["message"] == "A token was handed out."
    store(bench, server, probe=f"{server.url}/me")
    assert (await outside.test(DEFAULT_PROJECT, "crm"))["message"] == "It was answered 200."
