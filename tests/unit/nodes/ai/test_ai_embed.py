from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from celeriac import Json
from celeriac.testing import Paid, run_node
from celeriac.usage import Usage
from engine.outside.egress import OpenLink
from nodes.ai.ai_embed import BATCH, ai_embed
from tests.loopback import Asked, Server, always, serving
from tests.models import embeddings

Link = Callable[[Server], OpenLink]
MODEL = "text-embedding-3-small"


async def test_each_text_becomes_a_vector(link: Link) -> None:
    async with serving(always(embeddings([1.0, 2.0], [3.0, 4.0]))) as server:
        outcome = await run_node(
            ai_embed,
            {"model": MODEL, "input": ["a", "b"], "dimensions": 2},
            connections={"openai": link(server)},
        )
    assert outcome.value == {"vectors": [[1.0, 2.0], [3.0, 4.0]], "dimensions": 2}
    assert outcome.paid == (Paid("127.0.0.1", MODEL, Usage(7)),)
    assert server.asked[0].target == "/v1/embeddings"
    assert json.loads(server.asked[0].body) == {
        "model": MODEL,
        "input": ["a", "b"],
        "encoding_format": "float",
        "dimensions": 2,
    }


async def test_one_text_needs_no_list(link: Link) -> None:
    async with serving(always(embeddings([1.0]))) as server:
        outcome = await run_node(
            ai_embed, {"model": MODEL, "input": "a"}, connections={"openai": link(server)}
        )
    assert outcome.value == {"vectors": [[1.0]], "dimensions": 1}


async def test_no_text_is_asked_for_nothing() -> None:
    outcome = await run_node(ai_embed, {"model": MODEL, "input": []})
    assert outcome.value == {"vectors": [], "dimensions": 0}


@pytest.mark.parametrize(("count", "requests"), [(BATCH, 1), (BATCH + 1, 2)])
async def test_many_texts_are_asked_for_in_batches_each_paid_for_once(
    link: Link, count: int, requests: int
) -> None:
    async def handle(asked: Asked, writer: object) -> None:
        size = len(json.loads(asked.body)["input"])
        writer.write(embeddings(*([0.5],) * size))  # type: ignore[attr-defined]

    async with serving(handle) as server:
        texts: list[Json] = [f"text {number}" for number in range(count)]
        outcome = await run_node(
            ai_embed, {"model": MODEL, "input": texts}, connections={"openai": link(server)}
        )
    assert isinstance(outcome.value, dict)
    assert len(outcome.value["vectors"]) == count  # type: ignore[arg-type]
    assert len(server.asked) == len(outcome.steps) == requests


async def test_an_answer_with_too_few_vectors_is_none(link: Link) -> None:
    async with serving(always(embeddings([1.0]))) as server:
        outcome = await run_node(
            ai_embed, {"model": MODEL, "input": ["a", "b"]}, connections={"openai": link(server)}
        )
    assert (outcome.kind, outcome.code) == ("try_again", "ai.invalid_answer")


async def test_a_provider_without_vectors_is_told(link: Link) -> None:
    outcome = await run_node(ai_embed, {"model": "claude-opus-5-5", "input": "a"})
    assert outcome.code == "ai.unsupported"
