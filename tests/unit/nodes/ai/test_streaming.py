"""Answers that come in parts, from servers that send them as the vendors document it; and from worse ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from celeriac import Json
from celeriac.testing import DEFAULT_NOW, Outcome, Paid, Said, run_node
from celeriac.usage import Usage
from engine.outside.egress import OpenLink
from nodes.ai.ai_agent import ai_agent
from nodes.ai.ai_call import ai_call
from nodes.ai.models.breaker import FAILURES
from nodes.ai.models.openai import OpenAI
from nodes.ai.models.provider import Letter
from nodes.ai.models.sending import Post
from tests.loopback import Asked, Handler, Server, always, answer, serving
from tests.models import chat, chunk, chunks, events, message_parts, streaming

Link = Callable[[Server], OpenLink]
MODELS = {"openai": "gpt-4", "anthropic": "claude-opus-5-5"}


def at_once(*parts: bytes) -> Handler:
    """Send these parts and hang up."""

    async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(streaming(*parts))
        await writer.drain()
        writer.close()

    return handle


async def call(
    link: Link, handler: Handler, provider: str = "openai", **config: Json
) -> tuple[Outcome, Server]:
    async with serving(handler) as server:
        named: dict[str, Json] = {"model": MODELS[provider], "prompt": "Hello", "stream": True}
        outcome = await run_node(ai_call, named | config, connections={provider: link(server)})
        return outcome, server


async def test_an_answer_of_openai_is_said_as_it_comes_and_is_whole_in_the_end(link: Link) -> None:
    outcome, server = await call(link, at_once(*chunks("A ", "greet", "ing.")))
    assert outcome.value == {"text": "A greeting.", "model": "gpt-4-0613", "finish": "stop", "tool_calls": []}
    (said,) = outcome.said
    assert (said.name, said.model, "".join(said.pieces), said.whole) == (
        "answer",
        "gpt-4",
        "A greeting.",
        True,
    )
    assert outcome.paid == (Paid("127.0.0.1", "gpt-4", Usage(10, 5)),)
    body = json.loads(server.asked[0].body)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


async def test_an_answer_of_anthropic_is_said_as_it_comes_and_is_whole_in_the_end(link: Link) -> None:
    outcome, server = await call(link, at_once(*message_parts("A ", "greet", "ing.")), "anthropic")
    expected = {"text": "A greeting.", "model": "claude-opus-5-5", "finish": "stop", "tool_calls": []}
    assert outcome.value == expected
    (said,) = outcome.said
    assert ("".join(said.pieces), said.whole) == ("A greeting.", True)
    assert outcome.paid == (Paid("127.0.0.1", "claude-opus-5-5", Usage(10, 5)),)
    assert json.loads(server.asked[0].body)["stream"] is True


async def test_words_are_said_before_the_answer_has_ended(link: Link) -> None:
    """The server goes on only when the first words were heard."""
    heard, provider = asyncio.Event(), OpenAI()
    head, *rest = chunks("First. ", "Second.")

    async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(streaming(head, rest[0]))
        await writer.drain()
        await heard.wait()
        writer.write(b"".join(rest[1:]))
        await writer.drain()
        writer.close()

    async with serving(handle) as server:
        post = Post(link(server), provider, 10, DEFAULT_NOW)
        said: list[str] = []

        def say(text: str) -> None:
            said.append(text)
            if text:
                heard.set()

        letter = Letter("chat/completions", {"stream": True})
        reply = await post.send_in_parts(letter, provider.reply, say)
    assert reply.text == "".join(said) == "First. Second."


async def test_without_the_wish_nothing_is_said_and_nothing_is_asked_for_in_parts(link: Link) -> None:
    outcome, server = await call(link, always(chat("Hi")), stream=False)
    assert outcome.said == ()
    assert "stream" not in json.loads(server.asked[0].body)


async def test_tools_that_are_wanted_come_in_parts_as_well(link: Link) -> None:
    def part(place: int, name: str | None, text: str) -> dict[str, Any]:
        head = {} if name is None else {"id": f"c{place}", "type": "function"}
        function = {"arguments": text} | ({} if name is None else {"name": name})
        return chunk({"tool_calls": [{"index": place, **head, "function": function}]})

    bodies = [
        chunk({"role": "assistant", "content": None}),
        part(0, "weather", ""),
        part(0, None, '{"city":'),
        part(1, "time", '{"zone"'),
        part(0, None, ' "Rome"}'),
        part(1, None, ": "),
        chunk({}, "tool_calls"),
        chunk(None, usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}),
    ]
    tools: list[Json] = [{"name": "weather"}, {"name": "time"}]
    outcome, _ = await call(link, at_once(events(*bodies), events("[DONE]")), tools=tools)
    assert isinstance(outcome.value, dict)
    assert outcome.value["finish"] == "tools"
    assert outcome.value["tool_calls"] == [
        {"id": "c0", "name": "weather", "arguments": {"city": "Rome"}},
        {"id": "c1", "name": "time", "arguments": '{"zone": '},
    ]
    assert "".join(outcome.said[0].pieces) == ""


async def test_tools_of_anthropic_come_in_parts_behind_what_is_said(link: Link) -> None:
    def block(place: int, **block: Json) -> dict[str, Any]:
        return {"type": "content_block_start", "index": place, "content_block": block}

    def delta(place: int, **delta: Json) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": place, "delta": delta}

    start, *_ = message_parts()
    *_, stopping, end = message_parts(stop="tool_use")
    between = events(
        block(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="Hm."),
        block(1, type="text", text=""),
        delta(1, type="text_delta", text="I look."),
        block(2, type="tool_use", id="c1", name="weather", input={}),
        delta(2, type="input_json_delta", partial_json=""),
        delta(2, type="input_json_delta", partial_json='{"city": "Pa'),
        delta(2, type="input_json_delta", partial_json='ris"}'),
        block(3, type="tool_use", id="c2", name="weather", input={}),
        {"type": "of_next_year", "index": 9},
    )
    tools: list[Json] = [{"name": "weather"}]
    outcome, _ = await call(link, at_once(start, between, stopping, end), "anthropic", tools=tools)
    assert isinstance(outcome.value, dict)
    assert (outcome.value["text"], outcome.value["finish"]) == ("I look.", "tools")
    assert outcome.value["tool_calls"] == [
        {"id": "c1", "name": "weather", "arguments": {"city": "Paris"}},
        {"id": "c2", "name": "weather", "arguments": {}},
    ]
    assert "".join(outcome.said[0].pieces) == "I look."


async def test_a_refusal_that_comes_in_parts_fails_the_node_and_is_not_said(link: Link) -> None:
    bodies = [chunk({"refusal": "I will "}), chunk({"refusal": "not."}), chunk({}, "stop")]
    outcome, _ = await call(link, at_once(events(*bodies)))
    assert (outcome.kind, outcome.code) == ("failed", "ai.refused")
    assert outcome.error is not None
    assert outcome.error.message.endswith("I will not.")
    assert "".join(outcome.said[0].pieces) == ""


async def test_a_server_that_answers_as_a_whole_after_all_is_understood(link: Link) -> None:
    outcome, _ = await call(link, always(chat("Hi", prompt_tokens=12, completion_tokens=3)))
    assert isinstance(outcome.value, dict)
    assert outcome.value["text"] == "Hi"
    assert outcome.paid[0].usage == Usage(12, 3)


async def test_a_server_that_does_not_say_what_it_used_counts_with_the_most(link: Link) -> None:
    outcome, _ = await call(link, at_once(*chunks("Hi", usage=None)), max_tokens=77)
    assert outcome.kind == "output"
    assert outcome.paid[0].usage.output_tokens == 77


# What breaks


@pytest.mark.parametrize("provider", MODELS)
@pytest.mark.parametrize("kept", [1, 2, 3])
async def test_an_answer_that_breaks_off_is_tried_again_and_is_never_half_an_answer(
    link: Link, provider: str, kept: int
) -> None:
    texts = ("Half ", "an answer")
    whole = chunks(*texts) if provider == "openai" else message_parts(*texts)
    outcome, _ = await call(link, at_once(*whole[:kept]), provider, max_tokens=77)
    assert (outcome.kind, outcome.code, outcome.steps) == ("try_again", "ai.unreachable", {})
    assert [each.whole for each in outcome.said] == [False]
    (paid,) = outcome.paid
    assert paid.usage.output_tokens == 77


async def test_a_connection_that_breaks_in_the_midst_is_tried_again(link: Link) -> None:
    async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
        whole = b"".join(chunks("Half ", "an answer"))
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {len(whole)}\r\n\r\n"
        writer.write(head.encode() + whole[:400])
        await writer.drain()
        writer.close()

    outcome, _ = await call(link, handle)
    assert (outcome.kind, outcome.code, outcome.steps) == ("try_again", "ai.unreachable", {})


async def test_an_answer_that_stands_still_is_given_up_in_time(link: Link) -> None:
    async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(streaming(*chunks("Half ")[:2]))
        await writer.drain()
        await asyncio.Event().wait()

    outcome, _ = await call(link, handle, timeout=0.3)
    assert (outcome.kind, outcome.code) == ("try_again", "ai.timeout")
    assert outcome.said == (Said("answer", "gpt-4", ("", "Half "), whole=False),)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"message": "The server had an error", "type": "server_error"}, "ai.server_error"),
        ({"type": "overloaded_error", "message": "Overloaded"}, "ai.overloaded"),
        ("out of memory", "ai.server_error"),
    ],
)
async def test_a_provider_that_fails_in_the_midst_is_tried_again_and_counts(
    link: Link, error: Json, code: str
) -> None:
    outcome, _ = await call(link, at_once(chunks("Half ")[1], events({"error": error}), events("[DONE]")))
    assert (outcome.kind, outcome.code, len(outcome.paid)) == ("try_again", code, 1)


@pytest.mark.parametrize("provider", MODELS)
@pytest.mark.parametrize(
    "strange",
    ["{", "7", '{"choices": 5, "type": "message_start"}', '{"choices": [5], "type": "content_block_delta"}'],
)
async def test_what_is_no_part_of_an_answer_is_none(link: Link, provider: str, strange: str) -> None:
    outcome, _ = await call(link, at_once(events(strange)), provider)
    assert (outcome.kind, outcome.code) == ("try_again", "ai.invalid_answer")


async def test_a_refusal_costs_nothing_and_is_waited_for_as_long_as_it_says(link: Link) -> None:
    body = json.dumps({"error": {"type": "requests", "message": "slow down"}})
    outcome, _ = await call(link, always(answer(body, "429 Too Many Requests", Retry_After="7")))
    assert (outcome.kind, outcome.code, outcome.paid) == ("try_again", "ai.rate_limited", ())
    assert outcome.error is not None
    assert outcome.error.retry_after == 7.0
    assert [each.pieces for each in outcome.said] == [()]


async def test_a_provider_that_breaks_off_several_times_is_left_alone(link: Link) -> None:
    async with serving(at_once(*chunks("Half ")[:2])) as server:
        config: dict[str, Json] = {"model": "gpt-4", "prompt": "Hello", "stream": True}
        connections = {"openai": link(server)}
        codes = [(await run_node(ai_call, config, connections=connections)).code for _ in range(FAILURES + 1)]
    assert codes == ["ai.unreachable"] * FAILURES + ["ai.resting"]


async def test_the_next_model_begins_anew_and_says_who_it_is(link: Link) -> None:
    async with (
        serving(at_once(*chunks("Half ")[:2])) as first,
        serving(at_once(*message_parts("Whole."))) as second,
    ):
        outcome = await run_node(
            ai_call,
            {"model": "gpt-4", "prompt": "Hello", "stream": True, "fallback": ["claude-opus-5-5"]},
            connections={"openai": link(first), "anthropic": link(second)},
        )
    assert isinstance(outcome.value, dict)
    assert outcome.value["text"] == "Whole."
    assert [(each.model, "".join(each.pieces), each.whole) for each in outcome.said] == [
        ("gpt-4", "Half ", False),
        ("claude-opus-5-5", "Whole.", True),
    ]


async def test_an_answer_in_the_journal_is_not_said_again(link: Link) -> None:
    outcome, _ = await call(link, at_once(*chunks("Hi")))
    config: dict[str, Json] = {"model": "gpt-4", "prompt": "Hello", "stream": True}
    again = await run_node(ai_call, config, steps=outcome.steps)
    assert (again.value, again.paid, again.said) == (outcome.value, (), ())


async def test_who_is_cancelled_hangs_up(link: Link) -> None:
    began, left = asyncio.Event(), asyncio.Event()

    async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(streaming(*chunks("Half ")[:2]))
        await writer.drain()
        began.set()
        try:
            while True:
                writer.write(b": still here\n\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        except OSError:
            left.set()

    async with serving(handle) as server:
        config: dict[str, Json] = {"model": "gpt-4", "prompt": "Hello", "stream": True}
        task = asyncio.ensure_future(run_node(ai_call, config, connections={"openai": link(server)}))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(left.wait(), 10)


async def test_each_turn_of_an_agent_is_said_by_itself(link: Link) -> None:
    wanted = chunk(
        {
            "tool_calls": [
                {"index": 0, "id": "c1", "type": "function", "function": {"name": "no", "arguments": "{}"}}
            ]
        }
    )
    first = streaming(events(chunk({"content": "I look."}), wanted, chunk({}, "tool_calls")))
    second = streaming(*chunks("Nothing."))
    turns = [first, second]

    async def handle(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(turns.pop(0))
        await writer.drain()
        writer.close()

    async with serving(handle) as server:
        config: dict[str, Json] = {"model": "gpt-4", "task": "Look.", "stream": True}
        outcome = await run_node(ai_agent, config, connections={"openai": link(server)})
    assert isinstance(outcome.value, dict)
    assert outcome.value["result"] == "Nothing."
    assert [(each.name, "".join(each.pieces)) for each in outcome.said] == [
        ("turn 1", "I look."),
        ("turn 2", "Nothing."),
    ]
