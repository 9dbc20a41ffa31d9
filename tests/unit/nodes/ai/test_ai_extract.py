from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from celeriac import Effect, Json
from celeriac.testing import Outcome, run_node
from engine.outside.egress import OpenLink
from nodes.ai.ai_extract import ai_extract
from tests.loopback import Server, always, serving
from tests.models import chat

Link = Callable[[Server], OpenLink]
INVOICE: dict[str, Json] = {
    "type": "object",
    "properties": {"number": {"type": "string"}, "total": {"type": ["number", "null"]}},
    "required": ["number", "total"],
    "additionalProperties": False,
}


async def extract(link: Link, *answers: bytes, **config: Json) -> tuple[Outcome, list[Any]]:
    """What is extracted when the model answers like this, and what it was asked."""
    async with serving(always(*answers)) as server:
        asked: dict[str, Json] = {"model": "gpt-4", "text": "Invoice 7: 12.50 EUR", "schema": INVOICE}
        outcome = await run_node(ai_extract, asked | config, connections={"openai": link(server)})
        return outcome, [json.loads(each.body) for each in server.asked]


def test_an_extraction_only_reads() -> None:
    assert ai_extract.effect_of({}) is Effect.READ


async def test_what_fits_the_schema_is_the_output(link: Link) -> None:
    outcome, (body,) = await extract(link, chat('{"number": "7", "total": 12.5}'))
    assert outcome.value == {"number": "7", "total": 12.5}
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": INVOICE, "strict": True},
    }
    system, user = body["messages"]
    assert json.dumps(INVOICE) in system["content"]
    assert user == {"role": "user", "content": "Invoice 7: 12.50 EUR"}


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"number": "7", "total": null}\n```',
        'Here it is: {"number": "7", "total": null}. Anything else?',
        'I read [this] as {"number": "7", "total": null}',
        '{broken} {"number": "7", "total": null}',
        '{"example": 1} and then {"number": "7", "total": null}',
    ],
)
async def test_the_wrapping_is_taken_off(link: Link, text: str) -> None:
    outcome, asked = await extract(link, chat(text))
    assert (outcome.value, len(asked)) == ({"number": "7", "total": None}, 1)


async def test_a_misfit_is_told_to_the_model_which_answers_again(link: Link) -> None:
    outcome, asked = await extract(link, chat('{"number": 7}'), chat('{"number": "7", "total": 1}'))
    assert outcome.value == {"number": "7", "total": 1}
    first, complaint = asked[1]["messages"][-2:]
    assert first == {"role": "assistant", "content": '{"number": 7}'}
    assert "number" in complaint["content"]
    assert "total" in complaint["content"]
    assert list(outcome.steps) == ["answer 1", "answer 2"]
    assert len(outcome.paid) == 2


@pytest.mark.parametrize(
    ("text", "misfit"),
    [
        ('{"number": "7"}', "total"),
        ("There is no invoice here.", "no JSON"),
        ('{"number": "7", "total": NaN}', "no JSON"),
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
    ],
)
async def test_what_never_fits_fails_and_nothing_is_made_up(link: Link, text: str, misfit: str) -> None:
    outcome, asked = await extract(link, chat(text), rounds=2)
    assert (outcome.kind, outcome.code, len(asked)) == ("failed", "ai.no_fit", 2)
    assert outcome.error is not None
    assert misfit in str(outcome.error.details["misfits"])


async def test_an_answer_that_is_cut_off_is_no_answer_even_if_it_could_be_read(link: Link) -> None:
    outcome, _ = await extract(link, chat('{"number": "7", "total": 1}', "length"), rounds=1, max_tokens=9)
    assert outcome.code == "ai.no_fit"
    assert outcome.error is not None
    assert "cut off at 9 tokens" in outcome.error.message


async def test_answers_of_rounds_before_a_crash_are_not_paid_again(link: Link) -> None:
    outcome, _ = await extract(link, chat('{"number": 7}'), chat('{"number": "7", "total": 1}'))
    done = {"answer 1": outcome.steps["answer 1"]}
    async with serving(always(chat('{"number": "8", "total": 1}'))) as server:
        config: dict[str, Json] = {"model": "gpt-4", "text": "Invoice 7: 12.50 EUR", "schema": INVOICE}
        again = await run_node(ai_extract, config, connections={"openai": link(server)}, steps=done)
    assert again.value == {"number": "8", "total": 1}
    assert len(server.asked) == 1
    assert len(json.loads(server.asked[0].body)["messages"]) == 4


async def test_a_schema_that_leaves_something_open_is_not_asked_for_strictly(link: Link) -> None:
    _, (body,) = await extract(link, chat("{}"), schema={"type": "object"})
    assert body["response_format"]["json_schema"]["strict"] is False


@pytest.mark.parametrize(
    "schema", [{"type": "nothing"}, {"$ref": "http://127.0.0.1:9/x.json"}, {"$ref": "file:///etc/passwd"}]
)
async def test_what_is_no_schema_or_leads_outside_is_refused_before_anything_is_asked(
    link: Link, schema: dict[str, Json]
) -> None:
    outcome, asked = await extract(link, chat("{}"), schema=schema)
    assert (outcome.code, asked) == ("ai.bad_schema", [])


async def test_patterns_of_a_schema_take_linear_time(link: Link) -> None:
    shape: dict[str, Json] = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}
    outcome, _ = await extract(link, chat(json.dumps({"x": "a" * 50 + "!"})), schema=shape, rounds=1)
    assert outcome.code == "ai.no_fit"


async def test_something_to_look_at_is_needed() -> None:
    outcome = await run_node(ai_extract, {"model": "gpt-4", "schema": {}})
    assert outcome.code == "node.config_invalid"


async def test_a_picture_can_be_looked_at(link: Link) -> None:
    async with serving(always(chat('{"number": "7", "total": 1}'))) as server:
        config: dict[str, Json] = {
            "model": "gpt-4",
            "images": [{"url": "https://example.com/i.png"}],
            "schema": INVOICE,
        }
        outcome = await run_node(ai_extract, config, connections={"openai": link(server)})
    assert outcome.kind == "output"
    assert json.loads(server.asked[0].body)["messages"][1]["content"] == [
        {"type": "image_url", "image_url": {"url": "https://example.com/i.png"}}
    ]
