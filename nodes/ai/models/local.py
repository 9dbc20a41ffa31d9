"""The models of this machine. They speak the API of OpenAI, and know no tools; these are put to them as a choice.

`celeriac models install` puts them there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from celeriac import Json
from nodes.ai.models.openai import OpenAI
from nodes.ai.models.provider import Ask, Letter, Message, Reply, Tool, ToolCall

_ORDER = (
    "You can use these tools:\n{tools}\n"
    'To use one, answer with JSON like {{"tool": "name", "arguments": {{...}}}}. '
    'When you know the answer, give it as {{"answer": "..."}}.'
)


class Local(OpenAI):
    """Chat and vectors of this machine."""

    name = "local"
    base_url = "http://local/v1/"

    def ask(self, ask: Ask, *, own: bool) -> Letter:  # noqa: ARG002  there is only one
        """Write a chat completion down. With tools its answer can be nothing but a call of one of them, or words."""
        ask = replace(ask, messages=tuple(map(_told, ask.messages)))
        if not ask.tools or ask.choose == "none":
            return super().ask(replace(ask, tools=()), own=False)
        listed = "\n".join(f"- {each.name}: {each.description}" for each in ask.tools)
        system = "\n\n".join(filter(None, (ask.system, _ORDER.format(tools=listed))))
        schema: dict[str, Json] = {"anyOf": list(_choices(ask))}
        return super().ask(
            replace(ask, system=system, schema=schema, tools=()),
            own=False,
        )

    def in_parts(self, letter: Letter) -> Letter | None:
        """Return the same question, to be answered in chunks, unless its answer is a choice written as JSON."""
        return None if "response_format" in letter.body else super().in_parts(letter)

    def reply(self, body: Mapping[str, Any]) -> Reply:
        """Read a chat completion, and a call of a tool out of its text."""
        reply = super().reply(body)
        try:
            found = json.loads(reply.text)
        except ValueError:
            return reply
        match found:
            case {"tool": str(name), "arguments": dict(arguments)} if len(found) == 2:
                call = ToolCall(f"call_{body.get('id', '1')}", name, arguments)
                return replace(reply, text="", finish="tools", calls=(call,))
            case {"answer": str(text)} if len(found) == 1:
                return replace(reply, text=text)
        return reply


def _choices(ask: Ask) -> list[Json]:
    wanted = [each for each in ask.tools if ask.choose in ("auto", "required", each.name)]
    choices: list[Json] = [_call_of(each) for each in wanted]
    if ask.choose == "auto":
        choices.append(_object({"answer": {"type": "string"}}))
    return choices


def _call_of(tool: Tool) -> Json:
    return _object({"tool": {"const": tool.name}, "arguments": dict(tool.parameters)})


def _object(properties: dict[str, Json]) -> Json:
    names: list[Json] = list(properties)
    return {
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": False,
    }


def _told(message: Message) -> Message:
    """Return a turn in words: what was called, and what came of it."""
    if message.role == "tool":
        return Message("user", f"The tool came to: {message.text}")
    if message.calls:
        said = [json.dumps({"tool": each.name, "arguments": each.arguments}) for each in message.calls]
        return Message("assistant", "\n".join(filter(None, (message.text, *said))))
    return message
