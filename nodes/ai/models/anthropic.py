"""The API of Anthropic: messages.

Sources: https://platform.claude.com/docs/en/api/messages, .../api/errors, .../api/versioning,
https://platform.claude.com/docs/en/build-with-claude/structured-outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from celeriac.usage import Usage
from nodes.ai.models.plain import is_plain, with_one_kind_each
from nodes.ai.models.provider import (
    Ask,
    Finish,
    Image,
    Letter,
    Message,
    Reply,
    ToolCall,
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
