from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, get_args

import pytest
from pydantic import SecretStr

from celeriac import Effect, Json
from celeriac.testing import OpenLink, Outcome, run_node
from nodes.connections.redis import Redis, redis
from nodes.integrations.redis_command import COMMANDS, Reading, Repeatable, Single, redis_command
from tests import servers
from tests.forwarding import Forwarding, forwarding


@pytest.fixture
async def way(valkey: servers.Valkey) -> AsyncIterator[Forwarding]:
    kwargs: dict[str, Any] = valkey.client.connection_pool.connection_kwargs
    path, port = str(kwargs.get("path") or kwargs.get("host")), int(kwargs.get("port", 6379))
    async with forwarding(path, port) as made:
        yield made


@pytest.fixture(autouse=True)
def empty(valkey: servers.Valkey) -> Iterator[None]:
    valkey.flush()
    yield
    valkey.flush()


async def run(
    way: Forwarding, command: str, *arguments: Json, timeout: float = 10.0, **fields: Any
) -> Outcome:
    given = {"host": "127.0.0.1", "port": way.port, "tls": "none", **fields}
    link = OpenLink("redis", Redis(**given))
    config: dict[str, Json] = {"command": command, "arguments": [*arguments], "timeout": timeout}
    return await run_node(redis_command, config, connections={"redis": link})


async def value(way: Forwarding, command: str, *arguments: Json) -> Json:
    found = (await run(way, command, *arguments)).value
    assert isinstance(found, dict)
    return found["value"]


async def test_a_certificate_that_is_none_is_named(way: Forwarding) -> None:
    outcome = await run(way, "GET", "a", tls="verify", ca="no certificate")
    assert (outcome.kind, outcome.code) == ("failed", "connection.certificate_invalid")


async def test_what_is_told_is_found_again(way: Forwarding) -> None:
    assert await value(way, "SET", "a", "zoë\r\n") == "OK"
    assert await value(way, "GET", "a") == "zoë\r\n"
    assert await value(way, "GET", "nothing") is None
    assert await value(way, "HSET", "h", "x", 1, "y", 2.5) == 2
    assert await value(way, "HGETALL", "h") == {"x": "1", "y": "2.5"}
    assert await value(way, "RPUSH", "l", "a", "b") == 2
    assert await value(way, "LRANGE", "l", 0, -1) == ["a", "b"]
    assert await value(way, "SADD", "s", "b", "a") == 2
    members = await value(way, "SMEMBERS", "s")
    assert isinstance(members, list)
    assert sorted(map(str, members)) == ["a", "b"]
    assert await value(way, "INCR", "n") == 1


async def test_bytes_that_are_no_text_are_told_as_bytes(way: Forwarding, valkey: servers.Valkey) -> None:
    valkey.client.set("b", b"\xff\x00")
    assert await value(way, "GET", "b") == {"base64": "/wA=", "media_type": None, "size": 2}


async def test_the_database_is_the_one_of_the_connection(way: Forwarding) -> None:
    await run(way, "SET", "a", 1, database=3)
    assert await value(way, "GET", "a") is None
    assert (await run(way, "GET", "a", database=3)).value == {"value": "1"}


@pytest.mark.parametrize(
    "command",
    ["EVAL", "FLUSHALL", "CONFIG", "KEYS", "SUBSCRIBE", "BLPOP", "DEBUG", "get", "{{ vars.x }}", "SCRIPT"],
)
async def test_nothing_else_is_sent(way: Forwarding, command: str) -> None:
    assert (await run(way, command)).code == "node.config_invalid"
    assert bytes(way.seen) == b""


async def test_an_argument_stays_one(way: Forwarding) -> None:
    await run(way, "SET", "a", "x\r\nFLUSHALL\r\n")
    assert await value(way, "GET", "a") == "x\r\nFLUSHALL\r\n"


async def test_what_the_server_refuses_is_told(way: Forwarding) -> None:
    await run(way, "SET", "a", "text")
    outcome = await run(way, "INCR", "a")
    assert (outcome.kind, outcome.code) == ("failed", "redis.failed")
    assert outcome.error is not None
    assert "not an integer" in outcome.error.message


@pytest.mark.parametrize(
    ("config", "effect"),
    [
        ({"command": "GET", "arguments": ["a"]}, Effect.READ),
        ({"command": "SET", "arguments": ["a", "b"]}, Effect.KEYED),
        ({"command": "SET", "arguments": ["a", "b", "EX", 5]}, Effect.KEYED),
        ({"command": "SET", "arguments": ["a", "b", "nx"]}, Effect.ONCE),
        ({"command": "SET", "arguments": ["a", "b", "{{ vars.x }}"]}, Effect.ONCE),
        ({"command": "SET", "arguments": ["a", "{{ vars.x }}"]}, Effect.KEYED),
        ({"command": "SET", "arguments": "{{ vars.x }}"}, Effect.ONCE),
        ({"command": "ZADD", "arguments": ["a", "INCR", 1, "m"]}, Effect.KEYED),
        ({"command": "ZADD", "arguments": ["a", "XX", "INCR", 1, "m"]}, Effect.ONCE),
        ({"command": "EXPIRE", "arguments": ["a", 5, "NX"]}, Effect.ONCE),
        ({"command": "DEL", "arguments": ["a"]}, Effect.KEYED),
        ({"command": "INCR", "arguments": ["a"]}, Effect.ONCE),
        ({"command": "PUBLISH", "arguments": ["a", "b"]}, Effect.ONCE),
    ],
)
def test_the_effect_follows_from_the_written_config(config: dict[str, Json], effect: Effect) -> None:
    assert redis_command.effect_of(config) is effect


def test_each_command_has_one_effect() -> None:
    assert len(set(COMMANDS)) == len(COMMANDS)
    classes = (get_args(Reading), get_args(Repeatable), get_args(Single))
    assert [list(each) for each in classes] == [sorted(each) for each in classes]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("command", "kind"), [("GET", "try_again"), ("SET", "try_again"), ("INCRBY", "uncertain")]
)
async def test_a_lost_answer_is_in_doubt_unless_the_command_may_be_repeated(
    way: Forwarding, command: str, kind: str, after: bool
) -> None:
    way.cut_at, way.after = command.encode(), after
    arguments: list[Json] = ["n"] if command == "GET" else ["n", 5]
    assert (await run(way, command, *arguments)).kind == kind
    way.cut_at, way.mute = None, False
    if command == "INCRBY":
        assert await value(way, "GET", "n") == ("5" if after else None)


async def test_a_wrong_password_is_told_and_nobody_there_may_be_tried_again(
    way: Forwarding, valkey: servers.Valkey
) -> None:
    client: Any = valkey.client
    client.execute_command("ACL", "SETUSER", "ada", "on", ">s3cr3t-p4ss", "~*", "+@all")
    try:
        signed_in: dict[str, Any] = {"username": "ada", "password": SecretStr("s3cr3t-p4ss")}
        assert (await run(way, "SET", "a", 1, **signed_in)).kind == "output"
        wrong = await run(way, "SET", "a", 1, username="ada", password=SecretStr("wr0ng-p4ss"))
        assert (wrong.kind, wrong.code) == ("failed", "connection.refused")
        assert "wr0ng" not in str(wrong.error)
        link = OpenLink("redis", Redis(host="127.0.0.1", port=way.port, tls="none", **signed_in))
        assert await redis.test(link.fields, link) == f"127.0.0.1 is {valkey.version}."
    finally:
        client.execute_command("ACL", "DELUSER", "ada")
    encrypted = await run(way, "GET", "a", timeout=0.2, tls="verify")
    assert (encrypted.kind, encrypted.code) == ("try_again", "connection.unreachable")


@pytest.mark.parametrize("turns", [*range(12), 50])
async def test_a_command_stops_whenever_it_is_cancelled(way: Forwarding, turns: int) -> None:
    way.mute = True
    running = asyncio.ensure_future(run(way, "GET", "a"))
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_server_that_says_nothing_is_not_waited_for_for_ever(way: Forwarding) -> None:
    way.mute = True
    assert (await run(way, "GET", "a", timeout=0.05)).code == "redis.again"
    assert (await run(way, "INCR", "a", timeout=0.05)).kind == "uncertain"
    assert (await run(way, "INCR", "a", timeout=0.05, database=2)).kind == "try_again"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"?\r\n",
        b"$5\r\nab",
        b"$99999999999\r\n",
        b"*1\r\n" * 20,
        b":x\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
async def test_what_is_not_the_protocol_breaks_the_conversation_and_nothing_else(said: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        link = OpenLink("redis", Redis(host="127.0.0.1", port=server.sockets[0].getsockname()[1], tls="none"))
        config: dict[str, Json] = {"command": "GET", "arguments": ["a"]}
        outcome = await run_node(redis_command, config, connections={"redis": link})
    assert (outcome.kind, outcome.code) == ("try_again", "redis.again")
