from __future__ import annotations

import base64
from typing import Any

import pytest

from engine import operations as op
from engine.callbacks import PATH, Address, Callbacks
from engine.settings import from_environment
from engine.signed import LONGEST
from tests.builders import document, edges, node
from tests.workbench import NOW, Workbench

ADDRESS = Address("exec_1", "pause", "3.2", "callback")
CALLBACKS = Callbacks(b"k" * 32, "https://x.example/")


def token_of(url: str) -> str:
    return url.partition(PATH)[2]


def test_an_address_is_read_as_it_was_made() -> None:
    url = CALLBACKS.url(ADDRESS)
    assert url.startswith("https://x.example/api/v1/callbacks/")
    assert CALLBACKS.read(token_of(url)) == ADDRESS


def test_what_was_not_made_here_names_nothing() -> None:
    token = CALLBACKS.token(ADDRESS)
    others = [Callbacks(b"o" * 32, "").token(ADDRESS), "", "x", "é", "a b", token[:-2], "A" * (LONGEST + 1)]
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    for place in range(len(raw)):
        changed = raw.copy()
        changed[place] ^= 1
        others.append(base64.urlsafe_b64encode(changed).decode().rstrip("="))
    assert [each for each in others if CALLBACKS.read(each) is not None] == []


@pytest.mark.parametrize(
    ("environment", "base"),
    [
        ({}, "http://127.0.0.1:8321"),
        ({"CELERIAC_API_HOST": "::", "CELERIAC_API_PORT": "80"}, "http://[::1]:80"),
        ({"CELERIAC_API_HOST": "::1"}, "http://[::1]:8321"),
        ({"CELERIAC_PUBLIC_URL": "https://w.example/celeriac"}, "https://w.example/celeriac"),
    ],
)
def test_addresses_begin_where_the_api_is_reached(environment: dict[str, str], base: str) -> None:
    settings = from_environment(environment)
    assert Callbacks.of([b"s" * 32], settings).url(ADDRESS).startswith(f"{base}/api/v1/callbacks/")


def given_away(bench: Workbench, execution: str) -> Any:
    """What the node `tell` came to, which is journaled."""
    events = [each for each in bench.events(execution) if each[0] == "node.log"]
    return [each[3]["message"] for each in events]


def telling(expression: str, **more: Any) -> dict[str, Any]:
    return node("tell", "log", {"message": f"{{{{ {expression} }}}}"}, **more)


async def run(bench: Workbench, body: dict[str, Any]) -> str:
    name = bench.start(bench.push(body))
    await bench.carry()
    return name


PAUSE = node("pause", "wait", {"callback": True})


async def test_a_node_before_a_wait_gives_its_address_away(bench: Workbench) -> None:
    name = await run(bench, document([telling("callback_url('pause')"), PAUSE], edges("tell->pause")))
    (url,) = given_away(bench, name)
    assert bench.callbacks.read(token_of(url)) == Address(name, "pause", "", "callback")


async def test_inside_a_map_every_item_has_its_own_and_one_of_outside_is_the_same_for_all(
    bench: Workbench,
) -> None:
    inner = {
        "nodes": [
            telling("callback_url('each_waits') ~ ' ' ~ callback_url('pause')"),
            {**PAUSE, "id": "each_waits"},
        ]
    }
    inner["edges"] = edges("tell->each_waits")
    body = document(
        [{"id": "each", "type": "scope", "for_each": {"items": "[1, 2]"}, "body": inner}, PAUSE],
    )
    name = await run(bench, body)
    pairs = [text.split() for text in given_away(bench, name)]
    own = [bench.callbacks.read(token_of(first)) for first, _ in pairs]
    assert own == [Address(name, "each_waits", str(item), "callback") for item in (0, 1)]
    assert {token_of(second) for _, second in pairs} == {
        bench.callbacks.token(Address(name, "pause", "", "callback"))
    }


async def test_of_a_wait_with_branches_one_is_named(bench: Workbench) -> None:
    branches = {"any_of": [{"name": "yes", "callback": True}, {"name": "no", "callback": True}]}
    nodes = [telling("callback_url('pause', 'no')"), node("pause", "wait", branches)]
    name = await run(bench, document(nodes, edges("tell->pause")))
    (url,) = given_away(bench, name)
    assert bench.callbacks.read(token_of(url)) == Address(name, "pause", "", "no")


@pytest.mark.parametrize(
    "expression",
    ["callback_url('pause', 'nothing')", "callback_url('pau' ~ 'se2')", "callback_url('te' ~ 'll')"],
)
async def test_the_address_of_what_waits_for_no_call_fails_its_node(
    bench: Workbench, expression: str
) -> None:
    name = await run(bench, document([telling(expression), PAUSE], edges("tell->pause")))
    assert bench.error(name)["code"] == "expression.value"


async def test_the_address_of_another_body_fails_its_node(bench: Workbench) -> None:
    inner = {"nodes": [PAUSE], "edges": []}
    body = document(
        [telling("callback_url('pau' ~ 'se')"), {"id": "in", "type": "scope", "body": inner}],
        edges("tell->in"),
    )
    name = await run(bench, body)
    assert "another body" in bench.error(name)["message"]


async def test_an_address_that_is_called_ends_the_wait(bench: Workbench) -> None:
    name = await run(bench, document([telling("callback_url('pause')"), PAUSE], edges("tell->pause")))
    answer = bench.ask(op.Signal(name, 0, "", "callback", "callback", NOW, op.Payload("[1]")))
    bench.outlet.send(name, answer.ready)
    await bench.carry()
    assert bench.output(name)["pause"]["payload"] == [1]  # type: ignore[index,call-overload]
