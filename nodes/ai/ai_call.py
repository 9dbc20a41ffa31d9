"""Ask a model, and go on with its answer.

A call changes nothing but the bill, so it is repeated when its process dies before the answer came; an answer that came is
in the journal at once, and is neither asked nor paid for again.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field, JsonValue, model_validator

from celeriac import Context, Effect, Json, node
from nodes.ai.models.asking import (
    RETRY,
    TIMEOUT,
    Aloud,
    Cached,
    Picture,
    Speaking,
    Text,
    Turn,
    conversation,
    keeping,
)
from nodes.ai.models.chain import answer
from nodes.ai.models.provider import Ask, Message, Tool


class ToolConfig(BaseModel, extra="forbid"):
    """Something the model may ask to be done. This node only hands on that it asks."""

    name: str = Field(description="What the model calls it.", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: Text = Field("", description="What it does, for the model.")
    parameters: dict[str, JsonValue] = Field(
        {"type": "object", "properties": {}}, description="JSON Schema of what it has to be given."
    )


class Config(Speaking):
    """The question."""

    prompt: Text | None = Field(None, description="What to ask.", min_length=1)
    messages: list[Turn] | None = Field(
        None, description="Instead of `prompt`: a whole conversation.", min_length=1, max_length=10_000
    )
    images: list[Picture] = Field([], description="Pictures that go with the prompt.", max_length=100)
    tools: list[ToolConfig] = Field([], description="Tools that the model may ask for.", max_length=128)
    tool_choice: str = Field(
        "auto", description="auto, required, none, or the name of the tool to use.", min_length=1
    )
    stop: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="Texts at which the answer ends.", max_length=4
    )
    stream: Aloud = False
    cache: Cached = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            message = "exactly one of `prompt` and `messages` is needed"
            raise ValueError(message)
        if self.images and self.prompt is None:
            message = "`images` go with a `prompt`; in `messages` each turn has its own"
            raise ValueError(message)
        names = {each.name for each in self.tools}
        if len(names) < len(self.tools):
            message = "two tools have the same name"
            raise ValueError(message)
        if self.tool_choice not in {"auto", "none"} and not (
            self.tool_choice in names or (self.tool_choice == "required" and names)
        ):
            message = f"`tool_choice` is {self.tool_choice!r}, and no tool is called that"
            raise ValueError(message)
        return self


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["text", "model", "finish", "tool_calls"],
    "properties": {
        "text": {"type": "string", "description": "The answer."},
        "model": {"type": "string", "description": "The model that gave it, as it calls itself."},
        "finish": {
            "enum": ["stop", "length", "tools"],
            "description": "stop: it is whole. length: max_tokens cut it off. tools: tools are to be called.",
        },
        "tool_calls": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "name", "arguments"],
                "properties": {
                    "id": {"type": "string"},
                    "name": {"type": "string"},
                    "arguments": {"description": "As the model wrote them: text, if that is no JSON."},
                },
                "additionalProperties": False,
            },
        },
        "cached": {
            "type": "boolean",
            "description": "Whether the answer was kept before. It is there where the node has a `cache`.",
        },
    },
    "additionalProperties": False,
}


@node("ai_call", effect=Effect.READ, foreign=True, retry=RETRY, timeout=TIMEOUT, output=OUTPUT)
async def ai_call(config: Config, ctx: Context) -> Json:
    """Ask a model, and return its answer."""
    said, messages = conversation(config.messages or ())
    if config.prompt is not None:
        messages = (Message("user", config.prompt, tuple(each.image() for each in config.images)),)
    ask = Ask(
        model=config.model,
        messages=messages,
        max_tokens=config.max_tokens,
        system="\n\n".join(filter(None, (config.system, said))),
        temperature=config.temperature,
        tools=tuple(Tool(each.name, each.description, each.parameters) for each in config.tools),
        choose=config.tool_choice,
        stop=tuple(config.stop),
    )
    chain = await config.chain(ctx, keeping(ctx, "ai_call", config.cache))
    reply = await answer(ctx, chain, ask, "answer", aloud=config.stream)
    return {
        "text": reply.text,
        "model": reply.model,
        "finish": reply.finish,
        "tool_calls": [each.to_json() for each in reply.calls],
        **({} if config.cache is None else {"cached": reply.cached}),
    }
