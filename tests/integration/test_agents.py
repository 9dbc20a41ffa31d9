"""An agent in the heart of the engine, with a model, tools and people, whose worker dies at any moment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from celeriac import Json
from engine.leases import Stop, _Loop
from engine.outside.egress import OpenLink
from tests import vendors
from tests.builders import document, node
from tests.loopback import Asked, Server, answer, serving
from tests.models import Way, chat, wants
from tests.people import asked, decide
from tests.workbench import Workbench


@dataclass
class World:
    """A model that says what is in its script, and a shop that counts."""

    model: Server
    shop: Server
    script: list[bytes]
    hang_at: tuple[str, int] | None = None
    hung: asyncio.Event = field(default_factory=asyncio.Event)
    turns: list[int] = field(default_factory=list)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async def think(request: Asked, writer: asyncio.StreamWriter) -> None:
        turn = sum(each["role"] == "assistant" for each in json.loads(request.body)["messages"])
        made.turns.append(turn)
        if made.hang_at == ("model", len(made.turns)):
            made.hung.set()
            await asyncio.Event().wait()
        writer.write(made.script[turn])

    async def sell(request: Asked, writer: asyncio.StreamWriter) -> None:
        if made.hang_at == (request.method, sum(each.method == request.method for each in made.shop.asked)):
            made.hung.set()
            await asyncio.Event().wait()
        writer.write(answer('{"price": 5}', Content_Type="application/json"))

    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(serving(think))
        shop = await stack.enter_async_context(serving(sell))
        made = World(
            model,
            shop,
            [
                wants(("look", {"query": {"what": "tea"}})),
                wants(("buy", {"body": {"what": "tea"}})),
                chat("Bought tea for 5."),
            ],
        )
        yield made


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path)
    made.leases._loop = _Loop(asyncio.get_running_loop(), 0)
    yield made
    assert made.leases.held() == []
    made.close()


def agent(world: World) -> dict[str, Any]:
    def tool(name: str, method: str, given: str) -> dict[str, Json]:
        return {
            "name": name,
            "description": f"To {name}.",
            "type": "http_request",
            "config": {"url": f"{world.shop.url}/{name}", "method": method},
            "parameters": {"type": "object", "properties": {given: {"type": "object"}}, "required": [given]},
        }

    config = {
        "model": "gpt-4",
        "task": "Buy tea.",
        "tools": [tool("look", "GET", "query"), tool("buy", "POST", "body")],
    }
    return document([node("shopper", "ai_agent", config)], outputs="{{ nodes.shopper.output }}")


class Hands:
    """Workers that can be killed, one after the other."""

    def __init__(self, bench: Workbench, world: World) -> None:
        self.bench = bench
        self.world = world
        self.way = Way(f"{world.model.host}:{world.model.port}")

    async def work(self) -> None:
        """Carry what there is to be done; a worker that hangs is killed, and another takes over."""
        task = asyncio.ensure_future(self.bench.carry(self.bench.executor(around=self.way)))
        hung = asyncio.ensure_future(self.world.hung.wait())
        await asyncio.wait({task, hung}, return_when=asyncio.FIRST_COMPLETED)
        hung.cancel()
        if task.done():
            await task
            return
        self.world.hang_at = None
        self.world.hung.clear()
        for hold in self.bench.leases.held():
            hold.stop = Stop.LOST
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.bench.clock.move(16)
        self.bench.poller().tick()
        await self.work()

    async def end(self) -> None:
        await self.way.egress.aclose()


@pytest.fixture
async def hands(bench: Workbench, world: World) -> AsyncIterator[Hands]:
    made = Hands(bench, world)
    yield made
    await made.end()


async def shopped(bench: Workbench, world: World, hands: Hands, decision: str = "approved") -> str:
    """Let the agent shop, and people decide."""
    name = bench.start(bench.push(agent(world)))
    await hands.work()
    assert bench.status(name) == "waiting"
    assert asked(bench)[1] == "May the agent shopper use buy?"
    decide(bench, decision)
    await hands.work()
    return name


def bought(world: World) -> list[str]:
    return [each.method for each in world.shop.asked]


async def test_an_agent_shops_with_the_consent_of_people(
    bench: Workbench, world: World, hands: Hands
) -> None:
    name = await shopped(bench, world, hands)
    assert bench.status(name) == "succeeded", bench.error(name)
    assert bench.output(name) == {
        "result": "Bought tea for 5.",
        "turns": 3,
        "calls": [
            {"tool": "look", "arguments": {"query": {"what": "tea"}}, "ok": True},
            {"tool": "buy", "arguments": {"body": {"what": "tea"}}, "ok": True},
        ],
    }
    assert (world.turns, bought(world)) == ([0, 1, 2], ["GET", "POST"])
    assert bench.query("SELECT count(*), min(settled) FROM usage") == [(3, 1)]


async def test_what_people_reject_is_not_bought(bench: Workbench, world: World, hands: Hands) -> None:
    world.script[2] = chat("No tea.")
    name = await shopped(bench, world, hands, "rejected")
    output: Any = bench.output(name)
    assert (output["result"], output["calls"][1]["code"], bought(world)) == (
        "No tea.",
        "ai.rejected",
        ["GET"],
    )


@pytest.mark.parametrize(
    ("hang_at", "turns", "requests"),
    [
        (("model", 1), [0, 0, 1, 2], ["GET", "POST"]),
        (("GET", 1), [0, 1, 2], ["GET", "GET", "POST"]),
        (("model", 2), [0, 1, 1, 2], ["GET", "POST"]),
        (("model", 3), [0, 1, 2, 2], ["GET", "POST"]),
    ],
)
async def test_a_worker_that_dies_loses_only_what_it_was_about(
    bench: Workbench,
    world: World,
    hands: Hands,
    hang_at: tuple[str, int],
    turns: list[int],
    requests: list[str],
) -> None:
    world.hang_at = hang_at
    name = await shopped(bench, world, hands)
    assert (bench.status(name), world.turns, bought(world)) == ("succeeded", turns, requests)


async def test_a_purchase_that_a_worker_died_with_is_not_made_again(
    bench: Workbench, world: World, hands: Hands
) -> None:
    world.hang_at = ("POST", 1)
    name = await shopped(bench, world, hands)
    assert bench.segment(name, 0, "status") == ("uncertain",)
    assert bought(world) == ["GET", "POST"]


class WayToTools(Way):
    """The same, with a server of tools behind the name `box`."""

    def __init__(self, model: str, tools: str) -> None:
        super().__init__(model)
        self.tools = tools

    async def connect(
        self, project: str, name: str, kinds: tuple[str, ...] = ()
    ) -> tuple[OpenLink, frozenset[str]]:
        if name == "box":
            return vendors.linked(self.egress, "mcp", {"url": self.tools}), frozenset()
        return await super().connect(project, name, kinds)


@pytest.mark.parametrize("decision", ["approved", "rejected"])
async def test_tools_of_a_server_are_asked_for_once_whoever_dies_and_whatever_it_lists_by_then(
    bench: Workbench, world: World, hands: Hands, decision: str
) -> None:
    lists: list[list[str]] = []
    uses: list[str] = []

    async def serve(request: Asked, writer: asyncio.StreamWriter) -> None:
        said = json.loads(request.body)
        result: dict[str, Json] = {"protocolVersion": "2025-06-18"}
        if said["method"] == "tools/list":
            # It takes its tools away as soon as it has listed them, and offers another one.
            names = ["look", "buy"] if not lists else ["other"]
            lists.append(names)
            result = {"tools": [{"name": each, "inputSchema": {"type": "object"}} for each in names]}
        elif said["method"] == "tools/call":
            uses.append(said["params"]["name"])
            result = {"content": [{"type": "text", "text": "5"}]}
        if "id" not in said:
            return writer.write(answer(status="202 Accepted"))
        body = json.dumps({"jsonrpc": "2.0", "id": said["id"], "result": result})
        return writer.write(answer(body, Content_Type="application/json"))

    world.script = [wants(("box__look", {})), wants(("box__buy", {"what": "tea"})), chat("Done.")]
    world.hang_at = ("model", 2)
    allow: list[Json] = [{"tools": "look", "reads": True}, "buy"]
    config: dict[str, Json] = {
        "model": "gpt-4",
        "task": "Buy tea.",
        "servers": [{"connection": "box", "allow": allow}],
    }
    async with serving(serve) as tools:
        hands.way = WayToTools(f"{world.model.host}:{world.model.port}", f"{tools.url}/mcp")
        name = bench.start(
            bench.push(document([node("shopper", "ai_agent", config)], outputs="{{ nodes.shopper.output }}"))
        )
        await hands.work()
        assert (bench.status(name), asked(bench)[1]) == (
            "waiting",
            "May the agent shopper use box__buy?",
        )
        decide(bench, decision)
        await hands.work()
    assert bench.status(name) == "succeeded", bench.error(name)
    assert (world.turns, lists) == ([0, 1, 1, 2], [["look", "buy"]])
    assert uses == (["look", "buy"] if decision == "approved" else ["look"])
