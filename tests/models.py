"""Providers of models in tests: their answers, as they document them, and the way to servers that give them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.outside.addresses import Policy
from engine.outside.credentials import Binding, Credential
from engine.outside.egress import Egress, OpenLink
from nodes.connections.openai import Models
from tests.loopback import answer


def chat(
    text: str | None,
    finish: str = "stop",
    *,
    prompt_tokens: int = 10,
    completion_tokens: int = 5,
    **message: Any,
) -> bytes:
    """A chat completion of OpenAI's API."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-4-0613",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish,
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }
    return answer(json.dumps(body), Content_Type="application/json")


def wants(*calls: tuple[str, Any]) -> bytes:
    """A chat completion that asks for tools."""
    asked = [
        {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for number, (name, given) in enumerate(calls)
    ]
    return chat(None, "tool_calls", tool_calls=asked)


def message(content: list[dict[str, Any]], stop: str = "end_turn") -> bytes:
    """A message of Anthropic's API."""
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }
    return answer(json.dumps(body), Content_Type="application/json")


def events(*bodies: Mapping[str, Any] | str, named: bool = False) -> bytes:
    """Server-Sent Events: each body as one, and a text as it is. Anthropic's have names besides."""
    lines = [
        (f"event: {each['type']}\n" if named and isinstance(each, Mapping) else "")
        + f"data: {each if isinstance(each, str) else json.dumps(each)}\n\n"
        for each in bodies
    ]
    return "".join(lines).encode()


def streaming(*parts: bytes) -> bytes:
    """The head of an answer that is a stream without a length, and these parts of it."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + b"".join(
        parts
    )


def chunk(delta: Mapping[str, Any] | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of a chat completion of OpenAI's API; without a delta the last one, which says what was used."""
    choices = [] if delta is None else [{"index": 0, "delta": dict(delta), "finish_reason": finish}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "gpt-4-0613",
        "choices": choices,
        **more,
    }


def chunks(*texts: str, finish: str = "stop", usage: tuple[int, int] | None = (10, 5)) -> list[bytes]:
    """A whole chat completion in chunks, one for each text, and those around them."""
    bodies = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": each}) for each in texts)]
    bodies.append(chunk({}, finish))
    if usage is not None:
        given, made = usage
        used = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
        bodies.append(chunk(None, usage=used))
    return [*(events(each) for each in bodies), events("[DONE]")]


def message_parts(*texts: str, stop: str = "end_turn") -> list[bytes]:
    """A whole message of Anthropic's API in events, one for each text, and those around them."""
    start: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }
    bodies: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": each}}
            for each in texts
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]
    return [events(each, named=True) for each in bodies]


def embeddings(*vectors: list[float]) -> bytes:
    """Embeddings of OpenAI's API."""
    body = {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": at, "embedding": each} for at, each in enumerate(vectors)],
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
    return answer(json.dumps(body), Content_Type="application/json")


class Way:
    """A way out that has a connection of each name to one server."""

    def __init__(self, host: str) -> None:
        self.egress = Egress(Policy.parse("127.0.0.0/8"))
        self.credential = Credential("models", (Binding.parse(host),))
        self.fields = Models(base_url=f"http://{host}/v1")

    def client(self) -> Any:
        return self.egress.client()

    async def connect(
        self, project: str, name: str, kinds: tuple[str, ...] = ()
    ) -> tuple[OpenLink, frozenset[str]]:
        return self.egress.link(self.credential, name, self.fields), frozenset()


WORDS = ("refund", "money", "parcel", "late", "password", "login")


def meaning(text: str) -> list[float]:
    """A vector that says which of a few words are in a text."""
    return [0.01 + text.lower().count(word) for word in WORDS]
