"""Worlds for the node types that ask models: a server that speaks as OpenAI's does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from celeriac import Json
from celeriac.testing import OpenLink, World
from engine.matrix import Matrices
from engine.passages import Shelf
from engine.settings import DEFAULT_PROJECT
from nodes.connections.openai import Models
from nodes.integrations.http_request import http_request
from tests.builders import Client, environment, prepared
from tests.loopback import Asked, Server, answer
from tests.models import chat, embeddings, meaning, wants

if TYPE_CHECKING:
    from tests.conformance.worlds import Make, Town

KEY = "s3cr3t-k3y-0f-the-m0del"


def asking(*answers: bytes, **config: Json) -> Make:
    """A world whose model gives these answers, turn after turn."""

    async def make(town: Town) -> World:
        return World({"model": "gpt-4", **config}, connections={"openai": await _model(town, answers)})

    return make


def texts(*words: str, **config: Json) -> Make:
    """A world with a collection that has these texts, and a model that turns texts into vectors."""

    async def make(town: Town) -> World:
        folder = Path(town.stack.enter_context(TemporaryDirectory()))
        client = await asyncio.to_thread(
            lambda: Client(prepared(environment(folder, "memory://")), poll=False)
        )
        town.stack.callback(client.close)
        at = client.runtime
        shelf = Shelf(at.ledger, at.reader, at.clock, Matrices(), DEFAULT_PROJECT, "faq")
        link = await _model(town, ())
        if words:
            from celeriac.passages import Passage, Source

            source = Source("openai/words")
            await shelf.put(source, [Passage(each, 0, each, {}, meaning(each)) for each in words])
        return World(
            {"collection": "faq", **config},
            connections={"openai": link},
            collections={"faq": shelf},
            effects=lambda: client.query("SELECT count(*) FROM passage")[0][0] - len(words),
        )

    return make


async def agent(town: Town) -> World:
    """A model that buys something once, and a shop that does each key once."""

    async def sell(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer('{"ok": true}', Content_Type="application/json"))

    shop = await town.serve(sell)
    buy: dict[str, Json] = {
        "name": "buy",
        "description": "Buys one thing.",
        "type": "http_request",
        "config": {"url": shop.url, "method": "POST", "idempotent": True},
        "parameters": {"type": "object", "properties": {"body": {}}, "required": ["body"]},
    }
    link = await _model(town, [wants(("buy", {"body": "tea"})), chat("Bought.")])
    return World(
        {"model": "gpt-4", "task": "Buy tea.", "tools": [buy]},
        http=await town.client(),
        connections={"openai": link},
        types={"http_request": http_request},
        effects=_keys(shop),
    )


async def drafting(town: Town) -> World:
    """A model that drafts a playbook of one step."""
    step = {"action": "look", "params": {}, "why": "To know."}
    actions: dict[str, Json] = {
        "look": {"type": "http_request", "description": "Looks.", "fixed": {"url": "https://a.example"}}
    }
    return World(
        {"model": "gpt-4", "task": "Look.", "actions": actions},
        connections={"openai": await _model(town, [chat(json.dumps({"steps": [step]}))])},
        types={"http_request": http_request},
    )


async def running(_: Town) -> World:
    """A playbook of one step that people have agreed to, and what counts the executions of it."""
    started: set[str] = set()

    def start(key: str) -> Json:
        started.add(key)
        return {"step_1": None}

    steps: Json = [{"order": 1, "action": "http_request", "params": {"url": "https://a.example"}}]
    playbook: dict[str, Json] = {"name": "Look", "definition": {"steps": steps}}
    actions: Json = [{"type": "http_request", "fixed": {"url": "https://a.example"}}]
    return World(
        {"playbook": playbook, "actions": actions},
        types={"http_request": http_request},
        agreed=[playbook],
        answers={"run": start},
        effects=lambda: len(started),
    )


async def _model(town: Town, answers: Sequence[bytes]) -> OpenLink:
    async def think(asked: Asked, writer: asyncio.StreamWriter) -> None:
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        body = json.loads(asked.body)
        if asked.target.endswith("/embeddings"):
            writer.write(embeddings(*map(meaning, body["input"])))
        else:
            writer.write(answers[sum(each["role"] == "assistant" for each in body["messages"])])

    server = await town.serve(think)
    client = await town.client()
    client.headers["Authorization"] = f"Bearer {KEY}"
    fields = Models.model_validate({"api_key": KEY, "base_url": f"{server.url}/v1"})
    return OpenLink("openai", fields, client)


def _keys(server: Server) -> Callable[[], int]:
    return lambda: len({each.headers["idempotency-key"] for each in server.asked})
