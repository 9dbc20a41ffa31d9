"""The real models of this machine, asked as workflows ask them. What they say is theirs; its shape is ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import starmap
from pathlib import Path
from typing import Any

import httpx2
import pytest

from celeriac import Json, NodeType
from celeriac.testing import Outcome, run_node
from engine.matrix import Matrices
from engine.passages import Shelf
from engine.settings import DEFAULT_PROJECT
from nodes.ai.ai_agent import ai_agent
from nodes.ai.ai_call import ai_call
from nodes.ai.ai_classify import ai_classify
from nodes.ai.ai_embed import ai_embed
from nodes.ai.ai_extract import ai_extract
from nodes.ai.ai_index import ai_index
from nodes.ai.ai_search import ai_search
from nodes.flow.log import log
from tests.builders import Client, document, environment, node, prepared
from worker.local_models import LocalModels

pytestmark = pytest.mark.timeout(360)  # the first one may install them


@pytest.fixture
async def local(models_folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    models = LocalModels(models_folder)
    yield models.link().http
    await models.end()


async def ask(node_type: NodeType, local: httpx2.AsyncClient, **config: Json) -> Outcome:
    return await run_node(node_type, config, connections={"local": local})


def value(outcome: Outcome) -> Any:
    assert outcome.error is None, outcome.error
    return outcome.value


async def test_a_question_is_answered_in_words(local: httpx2.AsyncClient) -> None:
    outcome = await ask(ai_call, local, model="local", prompt="Say hello.", max_tokens=30, temperature=0)
    found = value(outcome)
    assert found["text"].strip()
    assert found["finish"] in ("stop", "length")
    assert found["model"] == "smollm2-135m-instruct"
    (paid,) = outcome.paid
    assert paid.provider == "local"
    assert 0 < paid.usage.output_tokens <= 30


async def test_an_answer_is_said_while_it_is_being_written(local: httpx2.AsyncClient) -> None:
    asked: dict[str, Json] = {"model": "local", "prompt": "Say hello.", "max_tokens": 30, "temperature": 0}
    whole, outcome = await ask(ai_call, local, **asked), await ask(ai_call, local, **asked, stream=True)
    assert value(outcome) == value(whole)
    (said,) = outcome.said
    assert "".join(said.pieces) == value(whole)["text"]
    assert len(said.pieces) > 3
    assert [each.usage.tokens for each in outcome.paid] == [each.usage.tokens for each in whole.paid]


async def test_a_question_in_parts_that_is_too_long_is_refused(local: httpx2.AsyncClient) -> None:
    config: dict[str, Json] = {"prompt": "word " * 9000, "max_tokens": 10, "stream": True}
    assert (await ask(ai_call, local, model="local", **config)).code == "ai.invalid_request"


async def test_a_choice_of_tools_is_not_said(local: httpx2.AsyncClient) -> None:
    tools: list[Json] = [
        {"name": "weather", "description": "Tells the weather.", "parameters": {"type": "object"}}
    ]
    outcome = await ask(
        ai_call, local, model="local", prompt="Weather?", tools=tools, max_tokens=60, stream=True
    )
    assert outcome.error is None
    assert outcome.said == ()


async def test_a_question_that_is_too_long_is_refused(local: httpx2.AsyncClient) -> None:
    outcome = await ask(ai_call, local, model="local", prompt="word " * 9000, max_tokens=10)
    assert outcome.code == "ai.invalid_request"


async def test_data_has_the_shape_of_its_schema(local: httpx2.AsyncClient) -> None:
    schema: dict[str, Json] = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": ["integer", "null"]}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    text = "Ada Lovelace is 36 years old."
    outcome = await ask(
        ai_extract, local, model="local", text=text, schema=schema, max_tokens=100, temperature=0
    )
    found = value(outcome)
    assert set(found) == {"name", "age"}
    assert isinstance(found["name"], str)


@pytest.mark.parametrize("multiple", [False, True])
async def test_a_label_is_one_of_those_given(local: httpx2.AsyncClient, multiple: bool) -> None:
    outcome = await ask(
        ai_classify,
        local,
        model="local",
        text="The printer is on fire!",
        labels=["bug", "wish", "praise"],
        multiple=multiple,
        temperature=0,
        rounds=10,
    )
    found = value(outcome)
    assert set(found["labels"]) <= {"bug", "wish", "praise"}


async def test_a_tool_that_has_to_be_used_is_asked_for_with_what_it_takes(local: httpx2.AsyncClient) -> None:
    tools: list[Json] = [
        {
            "name": "weather",
            "description": "Tells the weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 20}},
                "required": ["city"],
                "additionalProperties": False,
            },
        }
    ]
    outcome = await ask(
        ai_call,
        local,
        model="local",
        prompt="What is the weather in Paris?",
        tools=tools,
        tool_choice="weather",
        max_tokens=100,
        temperature=0,
    )
    (call,) = value(outcome)["tool_calls"]
    assert call["name"] == "weather"
    assert isinstance(call["arguments"]["city"], str)


async def test_vectors_are_those_that_the_model_is_known_for(local: httpx2.AsyncClient) -> None:
    texts: list[Json] = [
        "That is a happy person",
        "That is a happy dog",
        "That is a very happy person",
        "Today is a sunny day",
    ]
    found = value(await ask(ai_embed, local, model="local/minilm", input=texts))
    assert found["dimensions"] == 384
    first, *others = found["vectors"]
    assert [likeness(first, each) for each in others] == pytest.approx(
        [0.6945773, 0.9429150, 0.2568760], abs=1e-4
    )
    assert likeness(first, first) == pytest.approx(1, abs=1e-5)


def likeness(one: list[float], other: list[float]) -> float:
    return sum(starmap(float.__mul__, zip(one, other, strict=True)))


async def test_a_text_of_any_length_becomes_one_vector(local: httpx2.AsyncClient) -> None:
    found = value(await ask(ai_embed, local, model="local/minilm", input=["word " * 1000, "x"]))
    assert [len(each) for each in found["vectors"]] == [384, 384]


async def test_texts_are_found_by_what_they_mean(local: httpx2.AsyncClient, tmp_path: Path) -> None:
    client = Client(prepared(environment(tmp_path, "memory://")), poll=False)
    at = client.runtime
    kept = {"faq": Shelf(at.ledger, at.reader, at.clock, Matrices(), DEFAULT_PROJECT, "faq")}
    links = {"local": local}
    texts = ("How do I get my money back?", "Where is my parcel?", "I cannot sign in any more.")
    documents: list[Json] = [{"id": each, "text": each} for each in texts]
    put: dict[str, Json] = {"model": "local/minilm", "collection": "faq", "documents": documents}
    assert value(await run_node(ai_index, put, connections=links, collections=kept))["embedded"] == 3
    for query, nearest in (("refund", texts[0]), ("delivery is late", texts[1]), ("lost password", texts[2])):
        find: dict[str, Json] = {"collection": "faq", "query": query, "limit": 1}
        (found,) = value(await run_node(ai_search, find, connections=links, collections=kept))["found"]
        assert found["id"] == nearest
    client.close()


async def test_an_agent_works_with_a_tool(local: httpx2.AsyncClient) -> None:
    tool: dict[str, Json] = {
        "name": "note",
        "description": "Writes a note.",
        "type": "log",
        "parameters": {
            "type": "object",
            "properties": {"message": {"type": "string"}},
            "required": ["message"],
        },
    }
    config: dict[str, Json] = {
        "model": "local",
        "task": "Write a note that says hello. Then say that you are done.",
        "tools": [tool],
        "limits": {"turns": 4, "calls": 4},
        "max_tokens": 80,
        "temperature": 0,
    }
    outcome = await run_node(ai_agent, config, connections={"local": local}, types={"log": log})
    # A model this small may go on writing notes; what it does has the shape of an agent's work in any case.
    if outcome.code == "ai.limit_reached":
        assert outcome.error is not None
        calls: Any = outcome.error.details["calls"]
    else:
        calls = value(outcome)["calls"]
        assert value(outcome)["result"].strip()
    assert {each["tool"] for each in calls} <= {"note"}
    assert all(isinstance(each["arguments"], dict) for each in calls if each["ok"])
    assert all(each.provider == "local" for each in outcome.paid)


def test_a_workflow_asks_them_without_a_key_and_without_a_network(
    models_folder: Path, tmp_path: Path
) -> None:
    config = {"model": "local", "text": "I love it!", "labels": ["good", "bad"], "temperature": 0}
    body = document([node("mood", "ai_classify", config)], outputs="{{ nodes.mood.output.label }}")
    file = tmp_path / "mood.json"
    file.write_text(json.dumps(body), encoding="utf-8")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("celeriac")), "run", str(file), "--json"],
        env={**os.environ, "CELERIAC_DATA": str(tmp_path / "data"), "CELERIAC_MODELS": str(models_folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] in ("good", "bad")
