"""What our providers write and read, against the vendors' own types: nothing is missing, and nothing they do not know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from nodes.ai.models.anthropic import Anthropic
from nodes.ai.models.openai import OpenAI
from nodes.ai.models.provider import Ask, Image, Message, Tool, ToolCall
from nodes.http.events import Events
from tests.models import chunks, message_parts

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"total": {"type": "number"}},
    "required": ["total"],
    "additionalProperties": False,
}
WEATHER = Tool(
    "weather", "Tells the weather.", {"type": "object", "properties": {"city": {"type": "string"}}}
)
CALL = ToolCall("call_1", "weather", {"city": "Paris"})
HELLO = Message("user", "Hello")

ASKS = {
    "a prompt": Ask("m", (HELLO,), 100),
    "a system prompt": Ask("m", (HELLO,), 100, system="Be short."),
    "chance and an end": Ask("m", (HELLO,), 100, temperature=0.5, stop=("END",)),
    "pictures": Ask(
        "m",
        (
            Message(
                "user",
                "What is this?",
                (Image(url="https://example.com/x.png"), Image(data="aGk=", media_type="image/png")),
            ),
        ),
        100,
    ),
    "tools": Ask("m", (HELLO,), 100, tools=(WEATHER,)),
    "a tool that has to be used": Ask("m", (HELLO,), 100, tools=(WEATHER,), choose="required"),
    "this tool": Ask("m", (HELLO,), 100, tools=(WEATHER,), choose="weather"),
    "no tool": Ask("m", (HELLO,), 100, tools=(WEATHER,), choose="none"),
    "results of tools": Ask(
        "m",
        (
            HELLO,
            Message("assistant", "", calls=(CALL, ToolCall("call_2", "weather", {"city": "Rome"}))),
            Message("tool", "sunny", answers="call_1"),
            Message("tool", "rainy", answers="call_2"),
        ),
        100,
        tools=(WEATHER,),
    ),
    "a schema": Ask("m", (HELLO,), 100, schema=SCHEMA),
    "an open schema": Ask("m", (HELLO,), 100, schema={"type": "object"}),
}


def written(value: Any) -> Any:
    """A value that was held against a type, its lazy parts gone through."""
    if isinstance(value, Mapping):
        return {key: written(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [written(each) for each in value]
    return value


@pytest.fixture(scope="module")
def openai_asks() -> TypeAdapter[Any]:
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    return TypeAdapter(CompletionCreateParamsNonStreaming)


@pytest.fixture(scope="module")
def anthropic_asks() -> TypeAdapter[Any]:
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    return TypeAdapter(MessageCreateParamsNonStreaming)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_questions_are_what_openai_takes(ask: Ask, own: bool, openai_asks: TypeAdapter[Any]) -> None:
    letter = OpenAI().ask(ask, own=own)
    assert letter.path == "chat/completions"
    assert written(openai_asks.validate_python(letter.body)) == letter.body


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_questions_are_what_anthropic_takes(ask: Ask, anthropic_asks: TypeAdapter[Any]) -> None:
    letter = Anthropic().ask(ask, own=True)
    body = dict(letter.body)
    if ask.temperature is not None:  # of the version before, which is asked for then
        assert letter.headers == {"anthropic-version": "2023-06-01"}
        assert body.pop("temperature") == ask.temperature
    else:
        assert letter.headers == {"anthropic-version": "2026-10-21"}
    assert letter.path == "messages"
    assert written(anthropic_asks.validate_python(body)) == body


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_questions_in_parts_are_what_both_take(ask: Ask) -> None:
    from anthropic.types.message_create_params import MessageCreateParamsStreaming
    from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

    ask = replace(ask, temperature=None)
    for provider, theirs in (
        (OpenAI(), CompletionCreateParamsStreaming),
        (Anthropic(), MessageCreateParamsStreaming),
    ):
        letter = provider.in_parts(provider.ask(ask, own=True))
        assert letter is not None
        assert letter.body["stream"] is True
        assert written(TypeAdapter(theirs).validate_python(letter.body)) == letter.body


def test_what_our_servers_send_in_parts_is_what_the_vendors_send() -> None:
    from anthropic.types import RawMessageStreamEvent
    from openai.types.chat import ChatCompletionChunk

    reader, read = Events(), TypeAdapter(RawMessageStreamEvent)
    for text in reader.feed(b"".join(chunks("a", "b"))):
        if text != "[DONE]":
            ChatCompletionChunk.model_validate_json(text)
    found = [json.loads(text) for text in reader.feed(b"".join(message_parts("a", "b")))]
    assert len(found) == 8
    for event in found:
        if event["type"] != "ping":  # which their package passes over before it looks
            read.validate_python(event)


def test_anthropic_is_told_a_schema_only_when_it_is_plain() -> None:
    assert "output_config" in Anthropic().ask(ASKS["a schema"], own=True).body
    assert "output_config" not in Anthropic().ask(ASKS["an open schema"], own=True).body


def test_requests_for_vectors_are_what_openai_takes() -> None:
    from openai.types.embedding_create_params import EmbeddingCreateParams

    letter = OpenAI().embed("m", ["a", "b"], 256)
    assert letter is not None
    assert written(TypeAdapter(EmbeddingCreateParams).validate_python(letter.body)) == letter.body


def test_anthropic_has_no_vectors() -> None:
    assert Anthropic().embed("m", ["a"], None) is None


def openai_reply(message: dict[str, Any], finish: str, **usage: Any) -> dict[str, Any]:
    from openai.types.chat import ChatCompletion

    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", **message},
                "finish_reason": finish,
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, **usage},
    }
    ChatCompletion.model_validate(body)
    return body


def anthropic_reply(content: list[dict[str, Any]], stop: str, **usage: Any) -> dict[str, Any]:
    from anthropic.types import Message as Theirs

    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5, **usage},
    }
    Theirs.model_validate(body)
    return body


@pytest.mark.parametrize(
    ("message", "finish", "text", "calls", "ours"),
    [
        ({"content": "Hi"}, "stop", "Hi", (), "stop"),
        ({"content": "Hi"}, "length", "Hi", (), "length"),
        ({"content": None, "refusal": "No."}, "stop", "No.", (), "refused"),
        ({"content": None}, "content_filter", "", (), "refused"),
        (
            {
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
                    }
                ],
            },
            "tool_calls",
            "",
            (CALL,),
            "tools",
        ),
        (
            {
                "content": "",
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{city"}}
                ],
            },
            "tool_calls",
            "",
            (ToolCall("c", "weather", "{city"),),
            "tools",
        ),
    ],
)
def test_answers_of_openai_are_read(
    message: dict[str, Any], finish: str, text: str, calls: tuple[ToolCall, ...], ours: str
) -> None:
    body = openai_reply(message, finish, prompt_tokens_details={"cached_tokens": 4})
    reply = OpenAI().reply(body)
    assert (reply.text, reply.calls, reply.finish, reply.model) == (text, calls, ours, "gpt-4o-2024-08-06")
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cached) == (10, 5, 4)


@pytest.mark.parametrize(
    ("content", "stop", "text", "calls", "ours"),
    [
        ([{"type": "text", "text": "Hi"}], "end_turn", "Hi", (), "stop"),
        ([{"type": "text", "text": "Hi"}], "stop_sequence", "Hi", (), "stop"),
        ([{"type": "text", "text": "H"}, {"type": "text", "text": "i"}], "max_tokens", "Hi", (), "length"),
        ([], "refusal", "", (), "refused"),
        ([], "model_context_window_exceeded", "", (), "length"),
        (
            [
                {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}},
            ],
            "tool_use",
            "",
            (CALL,),
            "tools",
        ),
    ],
)
def test_answers_of_anthropic_are_read(
    content: list[dict[str, Any]], stop: str, text: str, calls: tuple[ToolCall, ...], ours: str
) -> None:
    body = anthropic_reply(content, stop, cache_read_input_tokens=100, cache_creation_input_tokens=20)
    reply = Anthropic().reply(body)
    assert (reply.text, reply.calls, reply.finish, reply.model) == (text, calls, ours, "claude-opus-5-5")
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cached) == (130, 5, 100)


def test_vectors_of_openai_come_in_the_order_of_the_texts() -> None:
    from openai.types import CreateEmbeddingResponse

    body = {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [
            {"object": "embedding", "index": 1, "embedding": [3.0, 4.0]},
            {"object": "embedding", "index": 0, "embedding": [1, 2]},
        ],
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
    CreateEmbeddingResponse.model_validate(body)
    found, usage = OpenAI().vectors(body)
    assert found == [[1.0, 2.0], [3.0, 4.0]]
    assert (usage.input_tokens, usage.output_tokens) == (7, 0)


def test_every_reason_to_stop_that_the_vendors_know_means_something() -> None:
    from typing import get_args

    from anthropic.types import StopReason
    from openai.types.chat.chat_completion import Choice

    theirs = set(get_args(Choice.model_fields["finish_reason"].annotation))
    assert theirs == {"stop", "length", "tool_calls", "content_filter", "function_call"}
    assert set(get_args(StopReason)) == {
        "end_turn",
        "max_tokens",
        "stop_sequence",
        "tool_use",
        "pause_turn",
        "refusal",
        "model_context_window_exceeded",
    }
