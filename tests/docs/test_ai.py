"""The page about models: what it shows is accepted, can be planned, and runs against servers that speak as providers do."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Json
from celeriac.passages import Passage, Source
from engine import cutting, models, passages
from engine.checking import problems
from engine.definition import Workflow
from engine.leases import _Loop
from engine.registry import Registry
from engine.settings import DEFAULT_PROJECT
from tests.loopback import Asked, answer, serving
from tests.models import Way, chat, chunks, embeddings, streaming, wants
from tests.office import office
from tests.toolbox import TOKEN, toolbox
from tests.workbench import Workbench

PAGE = (Path(__file__).parents[2] / "docs" / "ai.md").read_text(encoding="utf-8")
REGISTRY = Registry.load(["nodes"])
EXAMPLES = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_example_of_the_page_is_accepted_and_can_be_planned() -> None:
    assert len(EXAMPLES) == 14
    for text in EXAMPLES:
        assert problems.check_text(text, REGISTRY) == (json.loads(text), [])
        cutting.build(Workflow.parse(json.loads(text)), REGISTRY)


def test_every_node_that_asks_models_has_its_part() -> None:
    types = {each.name for each in REGISTRY if each.name.startswith("ai_")}
    assert types == set(re.findall(r"^## (ai_\w+)$", PAGE, re.MULTILINE))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path)
    made.leases._loop = _Loop(asyncio.get_running_loop(), 0)
    yield made
    made.close()


ANSWERS: dict[str, tuple[Any, str | list[bytes] | None, Any]] = {
    "Shopper": (
        {"what": "tea"},
        [wants(("price", {"query": {"what": "tea"}})), chat("Tea costs 4.50; nobody wants it.")],
        "Tea costs 4.50; nobody wants it.",
    ),
    "Summary": ({"email": {"body": "Hello"}}, "A greeting.", "A greeting."),
    "Invoice": (
        {"text": "Invoice 7: 12.50"},
        'Gladly: {"number": "7", "total": 12.5}',
        {"number": "7", "total": 12.5},
    ),
    "Triage": ({"text": "It is broken!"}, '{"label": "bug"}', "bug"),
    "Explain": ({"term": "ledger"}, "A book of entries.", {"text": "A book of entries.", "cached": False}),
    "Story": (
        {"of": "a hare"},
        [streaming(*chunks("Once ", "upon ", "a time."))],
        "Once upon a time.",
    ),
    "Thrifty": ({"question": "Why?"}, "Because.", "Because."),
    "Keep the manual": (
        {"pages": [{"id": "tea", "text": "Pour it."}, {"id": "milk", "text": "Cool it."}]},
        None,
        {"put": {"documents": 2, "passages": 2, "embedded": 2, "removed": 0}},
    ),
    "Ask the manual": (
        {"question": "What of tea?"},
        [embeddings([0.5, 0.1]), chat("You pour it.")],
        {"answer": "You pour it.", "from": ["tea"]},
    ),
    "Vectors": ({"texts": ["a", "b"]}, None, {"vectors": {"vectors": [[0.5], [0.25]], "dimensions": 1}}),
}


async def test_the_example_with_a_server_of_tools_runs_with_a_real_one(tmp_path: Path) -> None:
    (text,) = [each for each in EXAMPLES if '"mcp_call"' in each]
    with toolbox() as box:
        box.filed = ["A late parcel", "A lost key"]
        async with office(tmp_path) as at:
            at.keep("tickets", "mcp", {"url": box.url, "token": TOKEN})
            execution = await at.finish(json.loads(text), {"words": "late"})
            assert at.bench.output(execution) == {"result": ["A late parcel"]}


async def test_the_example_with_tools_that_a_server_lists_runs_with_a_real_one(tmp_path: Path) -> None:
    (text,) = [each for each in EXAMPLES if '"servers"' in each]
    script = iter([wants(("tickets__search", {"query": "late"})), chat("One is late.")])
    offered: list[str] = []

    async def handle(asked: Asked, writer: asyncio.StreamWriter) -> None:
        offered[:] = [each["function"]["name"] for each in json.loads(asked.body)["tools"]]
        writer.write(next(script))

    with toolbox() as box:
        box.filed = ["A late parcel", "A lost key"]
        async with serving(handle) as model, office(tmp_path) as at:
            at.keep("tickets", "mcp", {"url": box.url, "token": TOKEN})
            at.keep("openai", "openai", {"api_key": "sk-nobody", "base_url": f"{model.url}/v1"})
            execution = await at.finish(json.loads(text), {"question": "What is late?"})
            assert at.bench.output(execution) == "One is late."
    assert offered == ["tickets__file", "tickets__search"]


@pytest.mark.parametrize(
    "text",
    [
        each
        for each in EXAMPLES
        if not any(word in each for word in ('"mcp_call"', '"ai_playbook"', '"servers"'))
    ],
    ids=lambda each: str(json.loads(each)["name"]),
)
async def test_every_example_of_the_page_runs(bench: Workbench, text: str) -> None:
    document = json.loads(text)
    payload, said, expected = ANSWERS[document["name"]]

    turns = iter(said if isinstance(said, list) else [chat(said)] if said else [embeddings([0.5], [0.25])])

    async def handle(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(next(turns) if asked.method == "POST" else answer("4.50"))
        if b'"stream": true' in asked.body:
            await writer.drain()
            writer.close()

    price: dict[str, Json] = {
        "provider": "openai",
        "input_cost_per_1k_tokens": 0.001,
        "output_cost_per_1k_tokens": 0.002,
    }
    for model in ("gpt-4o", "gpt-4o-mini"):
        bench.ask(models.save(model, price, 0)[1])
    manual = [
        Passage("tea", 0, "Pour it.", {"language": "en"}, [0.5, 0.1]),
        Passage("tee", 0, "Aufgießen.", {"language": "de"}, [0.5, 0.1]),
    ]
    if document["name"] == "Ask the manual":
        rows = [passages.stored(each) for each in manual]
        place, source = (DEFAULT_PROJECT, "manual"), Source("text-embedding-3-small")
        bench.ask(lambda connection: passages.put(connection, place, source, rows, 0))
    async with serving(handle) as server:
        way = Way(f"{server.host}:{server.port}")
        document = json.loads(text.replace("https://shop.example.com", server.url))
        name = bench.start(bench.push(document), payload)
        await bench.carry(bench.executor(around=way))
        assert (bench.status(name), bench.output(name)) == ("succeeded", expected)
        assert "node.paid" in bench.kinds(name)
        if '"cache"' in text:
            asked = len(server.asked)
            name = bench.start(bench.push(document), payload)
            await bench.carry(bench.executor(around=way))
            assert (bench.output(name), len(server.asked)) == ({**expected, "cached": True}, asked)
        await way.egress.aclose()
