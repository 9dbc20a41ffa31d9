"""The API of OpenAI, which vLLM, Ollama, llama.cpp, LM Studio and many others speak as well.

Sources: https://developers.openai.com/api/reference/resources/chat (chat completions and their chunks), .../embeddings,
https://developers.openai.com/api/docs/guides/error-codes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from celeriac import Json
from celeriac.usage import Usage
from nodes.ai.models.plain import is_plain
from nodes.ai.models.provider import (
    Ask,
    Finish,
    Gathering,
    Image,
    Letter,
    Message,
    Reply,
    ToolCall,
    Unfinished,
    Unreadable,
    Vectors,
    whole_number,
)

_FINISHES: dict[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tools",
    "content_filter": "refused",
}
_SPENT = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
    }
)


class OpenAI:
    """Chat completions and embeddings."""

    name = "openai"
    base_url = "https://api.openai.com/v1/"

    def ask(self, ask: Ask, *, own: bool) -> Letter:
        """Write a chat completion down."""
        body: dict[str, Any] = {
            "model": ask.model,
            "messages": [*_system(ask.system), *map(_message, ask.messages)],
            # The vendor has renamed it, and other servers know the old name only.
            "max_completion_tokens" if own else "max_tokens": ask.max_tokens,
        }
        if ask.temperature is not None:
            body["temperature"] = ask.temperature
        if ask.stop:
            body["stop"] = list(ask.stop)
        if ask.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": each.name,
                        "description": each.description,
                        "parameters": dict(each.parameters),
                    },
                }
                for each in ask.tools
            ]
            body["tool_choice"] = (
                ask.choose
                if ask.choose in ("auto", "required", "none")
                else {"type": "function", "function": {"name": ask.choose}}
            )
        if ask.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "answer",
                    "schema": dict(ask.schema),
                    # Strict mode takes plain schemas only; an answer in the shape of any other is only checked.
                    "strict": is_plain(dict(ask.schema)),
                },
            }
        return Letter("chat/completions", body)

    def reply(self, body: Mapping[str, Any]) -> Reply:
        """Read a chat completion."""
        try:
            choice = body["choices"][0]
            message = choice["message"]
            calls = tuple(
                ToolCall(str(each["id"]), str(each["function"]["name"]), _arguments(each["function"]))
                for each in message.get("tool_calls") or ()
            )
            refusal = message.get("refusal")
            finish = "refused" if refusal else _FINISHES.get(choice["finish_reason"], "stop")
            text = refusal or message.get("content") or ""
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise Unreadable(f"it has no {error}") from error
        if not isinstance(text, str):
            raise Unreadable("its content is no text")
        return Reply(
            text,
            "tools" if calls else finish,
            str(body.get("model", "")),
            _usage(body.get("usage")),
            calls,
        )

    def in_parts(self, letter: Letter) -> Letter | None:
        """Return the same question, to be answered in chunks, the last of which says what was used."""
        return replace(
            letter, body={**letter.body, "stream": True, "stream_options": {"include_usage": True}}
        )

    def gather(self) -> Gathering:
        """Return what puts the chunks of one chat completion together."""
        return _Chunks()

    def embed(self, model: str, texts: Sequence[str], dimensions: int | None) -> Letter | None:
        """Write a request for embeddings down."""
        body: dict[str, Any] = {"model": model, "input": list(texts), "encoding_format": "float"}
        if dimensions is not None:
            body["dimensions"] = dimensions
        return Letter("embeddings", body)

    def vectors(self, body: Mapping[str, Any]) -> tuple[Vectors, Usage]:
        """Read embeddings."""
        try:
            rows = sorted(body["data"], key=lambda each: each["index"])
            found: Vectors = [[float(number) for number in each["embedding"]] for each in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"it has no {error}") from error
        return found, _usage(body.get("usage"))

    def spent(self, error: Mapping[str, Any]) -> bool:
        """Whether the code is one of those about money."""
        return bool(_SPENT & {str(error.get("code")), str(error.get("type"))})


class _Chunks:
    """The chunks of one chat completion. Calls of tools come in parts as well, by their place among the others."""

    def __init__(self) -> None:
        self._model = ""
        self._words: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish: object = None
        self._usage: object = None

    def take(self, event: Mapping[str, Any]) -> str:
        """Take a chunk; the last one has no choice, and says what was used."""
        try:
            self._model = str(event.get("model") or self._model)
            self._usage = event.get("usage") or self._usage
            for choice in event["choices"][:1]:
                self._finish = choice.get("finish_reason") or self._finish
                delta = choice.get("delta") or {}
                for each in delta.get("tool_calls") or ():
                    self._called(each)
                self._refusal.append(delta.get("refusal") or "")
                self._words.append(delta.get("content") or "")
                return str(self._words[-1])
        except (KeyError, TypeError, AttributeError) as error:
            raise Unreadable(f"a chunk of it has no {error}") from error
        return ""

    def body(self) -> Mapping[str, Any]:
        """Return the chat completion. Without a reason why it stopped it has broken off."""
        if self._finish is None:
            raise Unfinished
        message: dict[str, Any] = {
            "content": "".join(self._words),
            "refusal": "".join(self._refusal),
            "tool_calls": [self._calls[place] for place in sorted(self._calls)],
        }
        choice = {"message": message, "finish_reason": self._finish}
        return {"model": self._model, "choices": [choice], "usage": self._usage}

    def _called(self, part: Mapping[str, Any]) -> None:
        made = self._calls.setdefault(
            int(part["index"]), {"id": "", "function": {"name": "", "arguments": ""}}
        )
        made["id"] = part.get("id") or made["id"]
        told, function = part.get("function") or {}, made["function"]
        function["name"] = told.get("name") or function["name"]
        function["arguments"] += told.get("arguments") or ""


def _system(text: str) -> list[dict[str, Any]]:
    return [{"role": "system", "content": text}] if text else []


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.answers, "content": message.text}
    if message.role == "assistant":
        body: dict[str, Any] = {"role": "assistant", "content": message.text or None}
        if message.calls:
            body["tool_calls"] = [
                {
                    "id": each.id,
                    "type": "function",
                    "function": {"name": each.name, "arguments": json.dumps(each.arguments)},
                }
                for each in message.calls
            ]
        return body
    if not message.images:
        return {"role": "user", "content": message.text}
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": _address(each)}} for each in message.images
    ]
    if message.text:
        parts.append({"type": "text", "text": message.text})
    return {"role": "user", "content": parts}


def _address(image: Image) -> str:
    return image.url or f"data:{image.media_type};base64,{image.data}"


def _arguments(function: Mapping[str, Any]) -> Json:
    """Return the arguments of a call: text that should be JSON, and is handed on as text when it is none."""
    text = function.get("arguments") or "{}"
    try:
        found: Json = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return str(text)
    return found


def _usage(body: object) -> Usage:
    if not isinstance(body, Mapping):
        return Usage()
    details = body.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    return Usage(
        whole_number(body.get("prompt_tokens")),
        whole_number(body.get("completion_tokens")),
        whole_number(cached),
    )
