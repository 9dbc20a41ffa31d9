"""Which answers are kept for later executions, and what comes of one that was; by the nodes alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from celeriac import Json, NodeType
from celeriac.testing import Outcome, Paid, Said, run_node
from celeriac.usage import Usage
from engine.checking import problems
from engine.outside.egress import OpenLink
from engine.registry import Registry
from nodes.ai.ai_call import ai_call
from nodes.ai.ai_classify import ai_classify
from nodes.ai.ai_embed import ai_embed
from nodes.ai.ai_extract import ai_extract
from nodes.ai.models.breaker import FAILURES, Breaker
from tests.builders import document, edges, node
from tests.loopback import Handler, Server, always, answer, serving
from tests.models import chat, chunks, embeddings, streaming, wants

Link = Callable[[Server], OpenLink]
SPARED = Paid("127.0.0.1", "gpt-4", Usage(), cached=True)
NUMBER: dict[str, Json] = {
    "type": "object",
    "properties": {"number": {"type": "integer"}},
    "required": ["number"],
    "additionalProperties": False,
}


class Town:
    """A server of models, and what executions have kept so far."""

    def __init__(self, link: Link, stack: AsyncExitStack) -> None:
        self.link = link
        self.stack = stack
        self.kept: dict[str, Json] = {}
        self.links: dict[str, OpenLink] = {}

    async def at(self, handler: Handler, connection: str = "openai") -> Server:
        """Have a connection lead to a server that answers like this."""
        server = await self.stack.enter_async_context(serving(handler))
        self.links[connection] = self.link(server)
        return server

    async def run(self, node_type: NodeType, own: str | None = None, **config: Json) -> Outcome:
        """Run a node in an execution of its own."""
        given: Mapping[str, Json] = {"model": "gpt-4", "cache": {"ttl": "1h", "key": own}, **config}
        outcome = await run_node(node_type, given, connections=self.links, kept=self.kept)
        self.kept |= outcome.kept
        return outcome


@pytest.fixture
async def town(link: Link) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        yield Town(link, stack)


async def test_an_answer_that_was_kept_is_the_answer_and_costs_nothing(town: Town) -> None:
    server = await town.at(always(chat("Because.")))
    first = await town.run(ai_call, prompt="Why?")
    again = await town.run(ai_call, prompt="Why?")
    assert isinstance(first.value, dict)
    assert (first.value["cached"], again.value) == (False, {**first.value, "cached": True})
    assert (again.paid, again.kept, len(server.asked)) == ((SPARED,), {}, 1)
    assert again.steps["answer"] == {
        "text": "Because.",
        "finish": "stop",
        "model": "gpt-4-0613",
        "calls": [],
        "usage": Usage().to_json(),
        "cached": True,
    }
    (replayed,) = [
        await run_node(ai_call, {"prompt": "Why?", "model": "gpt-4", "cache": {"ttl": 1}}, steps=again.steps)
    ]
    assert (replayed.value, replayed.paid) == (again.value, ())


async def test_uses_of_tools_are_kept_as_they_were(town: Town) -> None:
    server = await town.at(always(wants(("look", {"at": "tea"}))))
    first, again = [await town.run(ai_call, prompt="Look.", tools=[{"name": "look"}]) for _ in range(2)]
    assert isinstance(again.value, dict)
    assert isinstance(first.value, dict)
    assert again.value["tool_calls"] == first.value["tool_calls"] != []
    assert len(server.asked) == 1


async def test_a_kept_answer_is_said_in_one_piece(town: Town) -> None:
    async def handle(_: Any, writer: Any) -> None:
        writer.write(streaming(*chunks("Once ", "upon a time.")))
        await writer.drain()
        writer.close()

    await town.at(handle)
    first, again = [await town.run(ai_call, prompt="Tell.", stream=True) for _ in range(2)]
    assert [len(each.pieces) > 1 for each in first.said] == [True]
    assert again.said == (Said("answer", "gpt-4", ("Once upon a time.",), whole=True),)
    # Whether it was read along does not decide what the answer is.
    assert (await town.run(ai_call, prompt="Tell.")).paid == (SPARED,)


@pytest.mark.parametrize(
    "said",
    [chat("Once upon", "length"), chat(None, refusal="I will not."), answer("{}"), answer("", "500 No")],
)
async def test_what_is_no_whole_answer_is_not_kept(town: Town, said: bytes) -> None:
    await town.at(always(said))
    assert (await town.run(ai_call, prompt="Tell.")).kept == {}


async def test_data_is_kept_that_fits_and_found_by_the_question_it_began_with(town: Town) -> None:
    server = await town.at(always(chat('{"number": "7"}'), chat('{"number": 7}')))
    first = await town.run(ai_extract, text="Seven", schema=NUMBER)
    again = await town.run(ai_extract, text="Seven", schema=NUMBER)
    assert (first.value, again.value) == ({"number": 7}, {"number": 7})
    assert ([*first.steps], [*again.steps]) == (["answer 1", "answer 2"], ["answer 1"])
    assert (again.paid, len(server.asked)) == ((SPARED,), 2)


@pytest.mark.parametrize("said", [chat('{"number": 7}', "length"), chat('{"number": "7"}'), chat("Seven.")])
async def test_data_that_does_not_fit_is_not_kept(town: Town, said: bytes) -> None:
    await town.at(always(said))
    outcome = await town.run(ai_extract, text="Seven", schema=NUMBER, rounds=1)
    assert (outcome.code, outcome.kept) == ("ai.no_fit", {})


async def test_kept_data_that_does_not_fit_any_more_is_asked_for_again(town: Town) -> None:
    server = await town.at(always(chat('{"number": 7}'), chat('{"other": 7}')))
    await town.run(ai_extract, "mine", text="Seven", schema=NUMBER)
    other = json.loads(json.dumps(NUMBER).replace("number", "other"))
    for _ in range(2):
        assert (await town.run(ai_extract, "mine", text="Seven", schema=other)).value == {"other": 7}
    assert len(server.asked) == 2


async def test_a_label_is_kept(town: Town) -> None:
    server = await town.at(always(chat('{"label": "bug"}')))
    for _ in range(2):
        outcome = await town.run(ai_classify, text="It broke.", labels=["bug", "wish"])
        assert outcome.value == {"label": "bug", "labels": ["bug"]}
    assert len(server.asked) == 1


async def test_node_types_with_the_same_key_have_answers_of_their_own(town: Town) -> None:
    server = await town.at(always(chat('{"label": "bug"}'), chat("A bug."), chat('{"number": 1}')))
    await town.run(ai_classify, "mine", text="It broke.", labels=["bug", "wish"])
    await town.run(ai_call, "mine", prompt="What?")
    await town.run(ai_extract, "mine", text="One", schema=NUMBER)
    assert (len(server.asked), len(town.kept)) == (3, 3)


@pytest.mark.parametrize("own", [None, "mine"])
async def test_vectors_are_kept_by_the_batch(
    town: Town, monkeypatch: pytest.MonkeyPatch, own: str | None
) -> None:
    monkeypatch.setattr("nodes.ai.ai_embed.BATCH", 2)
    server = await town.at(always(embeddings([1.0], [2.0]), embeddings([3.0]), embeddings([9.0])))
    first, again = [await town.run(ai_embed, own, input=["a", "b", "c"]) for _ in range(2)]
    assert first.value == again.value == {"vectors": [[1.0], [2.0], [3.0]], "dimensions": 1}
    assert (again.paid, len(server.asked)) == ((SPARED, SPARED), 2)
    # There are as many as there are texts, or they count for nothing.
    town.kept = {key: [*found, [0.0]] for key, found in town.kept.items() if isinstance(found, list)}
    assert (await town.run(ai_embed, own, input="d")).value == {"vectors": [[9.0]], "dimensions": 1}


# Several models, and those that do not answer


async def test_each_model_of_a_fallback_has_answers_of_its_own(town: Town) -> None:
    first = await town.at(always(answer("{}", "503 No"), chat("From the first.")))
    second = await town.at(always(chat("From the second.")), "other")
    others: Json = [{"model": "llama3.2", "connection": "other"}]
    texts = []
    for _ in range(3):
        outcome = await town.run(ai_call, prompt="Why?", fallback=others)
        assert isinstance(outcome.value, dict)
        texts.append(outcome.value["text"])
    assert texts == ["From the second.", "From the first.", "From the first."]
    assert (len(first.asked), len(second.asked)) == (2, 1)


async def test_a_kept_answer_is_there_while_the_provider_is_not(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.ai.models.sending.BREAKER", Breaker())
    server = await town.at(always(chat("Because."), answer("{}", "503 No")))
    await town.run(ai_call, prompt="Why?")
    for _ in range(FAILURES):
        assert (await town.run(ai_call, prompt="Why not?")).kind == "try_again"
    assert (await town.run(ai_call, prompt="Why?")).paid == (SPARED,)
    assert len(server.asked) == FAILURES + 1


async def test_a_connection_that_has_gone_has_no_answers(town: Town) -> None:
    await town.at(always(chat("Because.")))
    await town.run(ai_call, prompt="Why?")
    town.links.clear()
    assert (await town.run(ai_call, prompt="Why?")).code == "connection.unknown"


async def test_what_is_kept_and_no_answer_counts_for_nothing(town: Town) -> None:
    server = await town.at(always(chat("Because.")))
    await town.run(ai_call, prompt="Why?")
    town.kept = dict.fromkeys(town.kept, "from another version")
    assert (await town.run(ai_call, prompt="Why?")).kind == "output"
    assert len(server.asked) == 2


# Configs


@pytest.mark.parametrize(
    ("cache", "place"),
    [
        ({}, ""),
        ({"ttl": 0}, "/ttl"),
        ({"ttl": "0s"}, "/ttl"),
        ({"ttl": "soon"}, "/ttl"),
        ({"ttl": True}, "/ttl"),
        ({"ttl": "1h", "key": ""}, "/key"),
        ({"ttl": "1h", "for": "ever"}, "/for"),
        ("1h", ""),
    ],
)
def test_a_cache_that_is_none_is_refused_with_its_place(cache: Json, place: str) -> None:
    body = document([node("a", "ai_call", {"model": "gpt-4", "prompt": "x", "cache": cache})])
    (problem,) = problems.check(body, Registry.load(["nodes"]))
    assert problem.code == "definition.bad_config"
    assert problem.pointer == f"/definition/nodes/0/config/cache{place}"


def test_nothing_foreign_chooses_which_answer_is_taken() -> None:
    cache = {"ttl": "1h", "key": "{{ nodes.a.output.text }}"}
    body = document(
        [
            node("a", "ai_call", {"model": "gpt-4", "prompt": "x"}),
            node("b", "ai_call", {"model": "gpt-4", "prompt": "y", "cache": cache}),
        ],
        edges("a->b"),
    )
    (problem,) = problems.check(body, Registry.load(["nodes"]))
    assert (problem.code, problem.pointer) == ("taint.field", "/definition/nodes/1/config/cache/key")


async def test_no_time_at_all_fails_before_anything_is_asked(town: Town) -> None:
    server = await town.at(always(chat("Because.")))
    outcome = await town.run(ai_call, prompt="Why?", cache={"ttl": 0.0001})
    assert (outcome.code, server.asked) == ("cache.invalid_ttl", [])
