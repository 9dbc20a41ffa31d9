"""Answers of providers of models, as they document them."""

from __future__ import annotations

import json
from typing import Any

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


def embeddings(*vectors: list[float]) -> bytes:
    """Embeddings of OpenAI's API."""
    body = {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": at, "embedding": each} for at, each in enumerate(vectors)],
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
    return answer(json.dumps(body), Content_Type="application/json")
