from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import pytest

from celeriac import Carried, Fail, TryAgain
from engine.outside.addresses import Policy
from engine.outside.credentials import Binding, Credential
from engine.outside.dialling import Dialling
from engine.outside.egress import Egress, OpenLink
from tests.loopback import always, answer, serving


def link(egress: Egress, *hosts: str) -> OpenLink:
    return egress.link(Credential("db", tuple(map(Binding.parse, hosts)), Carried()), "postgresql", {"a": 1})


async def test_a_bound_host_that_is_allowed_is_connected_to() -> None:
    async with serving(always(answer("hi"))) as server:
        opened = link(Egress(Policy.parse("127.0.0.1")), f"127.0.0.1:{server.port}")
        made = await opened.dial("127.0.0.1", server.port)
        assert made.getpeername() == ("127.0.0.1", server.port)
        assert made.gettimeout() == 0
        made.close()
        assert await opened.addresses("127.0.0.1", server.port) == ["127.0.0.1"]
    assert (opened.kind, opened.fields) == ("postgresql", {"a": 1})


@pytest.mark.parametrize(
    ("hosts", "allow", "code"),
    [
        (["127.0.0.1"], "127.0.0.1", "connection.host_not_bound"),  # a port must be named
        (["127.0.0.1:1"], "127.0.0.1", "connection.host_not_bound"),
        (["db.example.com:5432"], "127.0.0.1", "connection.host_not_bound"),
        (["127.0.0.1:5432"], "", "egress.refused"),
        (["127.0.0.1:5432"], "127.0.0.1:5433", "egress.refused"),
    ],
)
async def test_nothing_else_is_connected_to(hosts: list[str], allow: str, code: str) -> None:
    opened = link(Egress(Policy.parse(allow)), *hosts)
    for attempt in (opened.dial("127.0.0.1", 5432), opened.addresses("127.0.0.1", 5432)):
        with pytest.raises(Fail) as caught:
            await attempt
        assert caught.value.code == code


async def test_a_name_is_judged_by_every_address_it_has_and_asked_for_once() -> None:
    asked: list[str] = []

    async def resolve(host: str, _: int) -> Sequence[str]:
        asked.append(host)
        return ["93.184.216.34", "10.0.0.1"]

    with pytest.raises(Fail) as caught:
        await Dialling(Policy(), resolve).connect("db.example.com", 5432)
    assert (caught.value.code, asked) == ("egress.refused", ["db.example.com"])


@pytest.mark.parametrize("found", [OSError("no such name"), []])
async def test_a_name_that_leads_nowhere_may_be_tried_again(found: OSError | list[str]) -> None:
    async def resolve(_: str, __: int) -> Sequence[str]:
        if isinstance(found, OSError):
            raise found
        return found

    with pytest.raises(TryAgain) as caught:
        await Dialling(Policy(), resolve).connect("db.example.com", 5432)
    assert caught.value.code == "connection.unreachable"


async def test_the_second_address_is_tried_when_the_first_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        async def resolve(_: str, __: int) -> Sequence[str]:
            return ["127.0.0.2", "127.0.0.1"]

        made = await Dialling(Policy.parse("127.0.0.0/8"), resolve).connect("db.example.com", port)
        assert made.getpeername() == ("127.0.0.1", port)
        made.close()


async def test_a_port_that_nobody_listens_at_may_be_tried_again_and_a_cancelled_dial_leaves_no_socket() -> (
    None
):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    dialling = Dialling(Policy.parse("127.0.0.1"))
    with pytest.raises(TryAgain, match=f"127.0.0.1:{port} cannot be reached"):
        await dialling.connect("127.0.0.1", port)
    waiting = asyncio.create_task(dialling.connect("127.0.0.1", port))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
