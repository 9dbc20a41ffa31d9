"""The API of Anthropic: messages.

Sources: https://platform.claude.com/docs/en/api/messages, .../api/errors, .../api/versioning,
https://platform.claude.com/docs/en/build-with-claude/structured-outputs, .../build-with-claude/streaming.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from celeriac import Json
from celeriac.usage import Usage
from nodes.ai.models.plain import is_plain, with_one_kind_each
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

_VERSION = "2026-10-21"
_WITH_TEMPERATURE = "2023-06-01"
"""The newer version of the API has no `temperature` any more."""

_FINISHES: dict[str, Finish] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tools",
    "refusal": "refused",
}
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_SPENT = frozenset(
    {
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_spend_limit_reached",
    }
)


class Anthropic:
    """Messages. It has no embeddings."""

    name = "anthropic"
    base_url = "https://api.anthropic.com/v1/"

    def ask(self, ask: Ask, *, own: bool) -> Letter:  # noqa: ARG002  one API, wherever it is
        """Write a message down."""
        body: dict[str, Any] = {
            "model": ask.model,
            "max_tokens": ask.max_tokens,
            "messages": _turns(ask.messages),
        }
        if ask.system:
            body["system"] = ask.system
        if ask.temperature is not None:
            body["temperature"] = ask.temperature
        if ask.stop:
            body["stop_sequences"] = list(ask.stop)
        if ask.tools:
            body["tools"] = [
                {
                    "name": each.name,
                    "description": each.description,
                    "input_schema": {"type": "object", **each.parameters},
                }
                for each in ask.tools
            ]
            kind = _CHOICES.get(ask.choose, "tool")
            body["tool_choice"] = {"type": kind} | ({"name": ask.choose} if kind == "tool" else {})
        if ask.schema is not None and is_plain(
            dict(ask.schema)
        ):  # an answer of another shape is only checked
            shape = with_one_kind_each(dict(ask.schema))
            body["output_config"] = {"format": {"type": "json_schema", "schema": shape}}
        version = _VERSION if ask.temperature is None else _WITH_TEMPERATURE
        return Letter("messages", body, {"anthropic-version": version})

    def reply(self, body: Mapping[str, Any]) -> Reply:
        """Read a message."""
        try:
            blocks = body["content"]
            text = "".join(each["text"] for each in blocks if each["type"] == "text")
            calls = tuple(
                ToolCall(str(each["id"]), str(each["name"]), each["input"])
                for each in blocks
                if each["type"] == "tool_use"
            )
            finish = _FINISHES.get(body["stop_reason"], "stop")
        except (KeyError, TypeError) as error:
            raise Unreadable(f"it has no {error}") from error
        return Reply(
            text,
            finish,
            str(body.get("model", "")),
            _usage(body.get("usage")),
            calls,
        )

    def in_parts(self, letter: Letter) -> Letter | None:
        """Return the same question, to be answered as a stream of events."""
        return replace(letter, body={**letter.body, "stream": True})

    def gather(self) -> Gathering:
        """Return what puts the events of one message together."""
        return _Parts()

    def embed(self, model: str, texts: Sequence[str], dimensions: int | None) -> Letter | None:  # noqa: ARG002  there are none
        """Return that there are no vectors to be had."""
        return None

    def vectors(self, body: Mapping[str, Any]) -> tuple[Vectors, Usage]:  # noqa: ARG002  there are none
        """There are none to be read."""
        raise Unreadable("it has no vectors")

    def spent(self, error: Mapping[str, Any]) -> bool:
        """Whether the kind of error is the one about money, or its code is."""
        details = error.get("details")
        code = details.get("error_code") if isinstance(details, Mapping) else None
        return error.get("type") == "billing_error" or code in _SPENT


class _Parts:
    """The events of one message: it begins, has blocks that grow, says why it stops and what it used, and ends."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._written: dict[int, str] = {}
        self._ended = False

    def take(self, event: Mapping[str, Any]) -> str:
        """Take an event. Kinds that nobody knows may come at any time, and are passed over."""
        try:
            match event["type"]:
                case "message_start":
                    self._message = {**event["message"]}
                case "content_block_start":
                    self._blocks[int(event["index"])] = {**event["content_block"]}
                case "content_block_delta":
                    return self._grown(int(event["index"]), event["delta"])
                case "message_delta":
                    self._message |= event["delta"]
                    used = event.get("usage") or {}
                    told = {name: each for name, each in used.items() if each is not None}
                    self._message["usage"] = {**(self._message.get("usage") or {}), **told}
                case "message_stop":
                    self._ended = True
        except (KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"an event of it has no {error}") from error
        return ""

    def body(self) -> Mapping[str, Any]:
        """Return the message. Without the event that ends it it has broken off."""
        if not self._ended:
            raise Unfinished
        for place, text in self._written.items():
            self._blocks[place]["input"] = _input(text)
        return {**self._message, "content": [self._blocks[place] for place in sorted(self._blocks)]}

    def _grown(self, place: int, delta: Mapping[str, Any]) -> str:
        if delta["type"] == "input_json_delta":
            self._written[place] = self._written.get(place, "") + delta["partial_json"]
        if delta["type"] != "text_delta":
            return ""
        self._blocks[place]["text"] = self._blocks[place].get("text", "") + delta["text"]
        return str(delta["text"])


def _input(text: str) -> Json:
    """Return what a tool is to be given: text that should be JSON, and is handed on as text when it is none."""
    try:
        found: Json = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
    return found


def _turns(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the conversation. Results of tools that were called together have to come back in one turn."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        content = _content(message)
        if turns and turns[-1]["role"] == role and message.role == "tool":
            turns[-1]["content"].extend(content)
        else:
            turns.append({"role": role, "content": content})
    return turns


def _content(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.answers, "content": message.text}]
    content: list[dict[str, Any]] = [{"type": "image", "source": _source(each)} for each in message.images]
    if message.text:
        content.append({"type": "text", "text": message.text})
    content += [
        {
            "type": "tool_use",
            "id": each.id,
            "name": each.name,
            # What is no object is a mistake of the model's, and the API takes objects only.
            "input": each.arguments if isinstance(each.arguments, dict) else {},
        }
        for each in message.calls
    ]
    return content


def _source(image: Image) -> dict[str, Any]:
    if image.url is not None:
        return {"type": "url", "url": image.url}
    return {"type": "base64", "media_type": image.media_type, "data": image.data}


def _usage(body: object) -> Usage:
    if not isinstance(body, Mapping):
        return Usage()
    cached = whole_number(body.get("cache_read_input_tokens"))
    written = whole_number(body.get("cache_creation_input_tokens"))
    return Usage(
        whole_number(body.get("input_tokens")) + cached + written,
        whole_number(body.get("output_tokens")),
        cached,
    )
