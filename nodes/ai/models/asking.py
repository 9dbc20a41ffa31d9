"""What every node that asks a model has in its config, and what of it goes into the question."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, JsonValue, StrictBool, model_validator

from celeriac import Context, Retry, TryAgain
from celeriac.contract import TRUSTED
from celeriac.duration import PATTERN, seconds
from nodes.ai.models.chain import Chain
from nodes.ai.models.keeping import Keeping
from nodes.ai.models.naming import DEFAULT, meant
from nodes.ai.models.provider import Image, Message, ToolCall

RETRY = Retry(4, delay=2.0, on=(TryAgain,))
TIMEOUT = 900.0
"""Seconds for one attempt of a node, which may ask several times."""

FALLBACKS = 8


def _positive(value: float | str) -> float | str:
    if not 0 < seconds(value) <= TIMEOUT:
        message = f"a timeout is longer than nothing, and at most {TIMEOUT:g} s"
        raise ValueError(message)
    return value


def _as_text(value: Any) -> Any:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


Text = Annotated[str, BeforeValidator(_as_text)]
"""Text; what an expression comes to that is none is written as JSON."""

Duration = Annotated[
    Annotated[float, Field(gt=0, strict=True)] | Annotated[str, Field(pattern=PATTERN)],
    AfterValidator(_positive),
]


def _some_time(value: float | str) -> float | str:
    if not seconds(value):
        message = "an answer is kept for longer than nothing"
        raise ValueError(message)
    return value


class Caching(BaseModel, extra="forbid"):
    """How long an answer is kept, and for whom."""

    ttl: Annotated[
        Annotated[float, Field(gt=0, strict=True)] | Annotated[str, Field(pattern=PATTERN)],
        AfterValidator(_some_time),
    ] = Field(description="How old an answer may be: seconds, or text like 12h.")
    key: Text | None = Field(
        None,
        description="What takes the place of the question: the same key has the same answer. Default: all that is asked.",
        min_length=1,
    )


class Fallback(BaseModel, extra="forbid"):
    """A model to be asked when those before it do not answer."""

    model: str = Field(description="Its name.", min_length=1)
    connection: str | None = Field(None, description="The connection of the server that has it.")


class Picture(BaseModel, extra="forbid"):
    """A picture to be looked at."""

    url: str | None = Field(None, description="Where it is; the provider fetches it.", min_length=1)
    base64: str | None = Field(None, description="Or its bytes, in base64.", min_length=1)
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"] | None = Field(
        None, description="Of which kind the bytes are."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.url is None) == (self.base64 is None):
            message = "exactly one of `url` and `base64` is needed"
            raise ValueError(message)
        if (self.media_type is None) != (self.base64 is None):
            message = "`base64` needs a `media_type`, and `url` has none"
            raise ValueError(message)
        return self

    def image(self) -> Image:
        """Return it as providers take it."""
        return Image(self.url, self.base64, self.media_type)


class Called(BaseModel, extra="forbid"):
    """A tool that the assistant has called."""

    id: str = Field(description="The id of the call, which its result refers to.", min_length=1)
    name: str = Field(description="Which tool.", min_length=1)
    arguments: JsonValue = Field({}, description="What it was called with.")


class Turn(BaseModel, extra="forbid"):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"] = Field(
        description="Who speaks; `tool` brings a result."
    )
    content: Text = Field("", description="What is said.")
    images: list[Picture] = Field([], description="Pictures, in a turn of the user.", max_length=100)
    tool_calls: list[Called] = Field([], description="The tools that the assistant called.", max_length=128)
    tool_call_id: str | None = Field(None, description="The call that a turn of `tool` is the result of.")

    @model_validator(mode="after")
    def _of_its_role(self) -> Self:
        if (self.tool_call_id is None) == (self.role == "tool"):
            message = "`tool_call_id` belongs to a turn of `tool`, which needs it"
            raise ValueError(message)
        if (self.images and self.role != "user") or (self.tool_calls and self.role != "assistant"):
            message = "`images` belong to a turn of `user`, `tool_calls` to one of `assistant`"
            raise ValueError(message)
        return self


class Asking(BaseModel, extra="forbid"):
    """Which models are asked, and how."""

    model: str = Field(
        description="Which model: a name like gpt-4o, or provider/name with the provider openai, anthropic or local.",
        min_length=1,
        json_schema_extra={TRUSTED: True},
    )
    connection: str | None = Field(
        None,
        description="The connection that leads to it. Default: the one named like its provider.",
    )
    timeout: Duration = Field(120.0, description="How long one model may take: seconds, or text like 90s.")

    async def chain(self, ctx: Context, kept: Keeping | None = None) -> Chain:
        """Return the models in their order. Raises `Fail` (`ai.unknown_model`)."""
        return Chain((await meant(ctx, self.model, self.connection),), seconds(self.timeout), kept)


class Speaking(Asking):
    """The same for models that answer with text; the project may have one that is asked by default."""

    model: str = Field(
        DEFAULT,
        description=f"{Asking.model_fields['model'].description} Default: the project's `default_model`.",
        min_length=1,
        json_schema_extra={TRUSTED: True},
    )
    fallback: list[str | Fallback] = Field(
        [],
        description="Models to ask in its place when it does not answer, in order.",
        max_length=FALLBACKS,
        json_schema_extra={TRUSTED: True},
    )
    system: Text = Field("", description="What the model is to be, and to keep to.")
    temperature: float | None = Field(
        None, description="How much chance is in the answer, from 0; some models take none.", ge=0, le=2
    )
    max_tokens: int = Field(
        1024,
        description="How long the answer may be. It is also what a budget counts on before.",
        ge=1,
        le=1_000_000,
    )

    async def chain(self, ctx: Context, kept: Keeping | None = None) -> Chain:
        """Return the models in their order. Raises `Fail` (`ai.unknown_model`)."""
        first = await super().chain(ctx, kept)
        others = [
            await (meant(ctx, each) if isinstance(each, str) else meant(ctx, each.model, each.connection))
            for each in self.fallback
        ]
        return Chain((*first.models, *others), first.timeout, kept)


Aloud = Annotated[
    StrictBool,
    Field(
        description="Whether whoever follows the execution reads the answer while it is being written. Default: no.",
    ),
]


Cached = Annotated[
    Caching | None,
    Field(
        description="Whether the answer is kept, and an earlier one taken if there is one. Default: neither.",
        json_schema_extra={TRUSTED: True},
    ),
]


def keeping(ctx: Context, kind: str, caching: Caching | None) -> Keeping | None:
    """Return where answers to questions of a kind are kept, if they are. Raises `Fail` (`cache.invalid_ttl`)."""
    return None if caching is None else Keeping(ctx.cache(seconds(caching.ttl)), kind, caching.key)


def conversation(turns: Iterable[Turn]) -> tuple[str, tuple[Message, ...]]:
    """Return what turns of `system` say, and all the others."""
    system: list[str] = []
    messages: list[Message] = []
    for turn in turns:
        if turn.role == "system":
            system.append(turn.content)
            continue
        calls = tuple(ToolCall(each.id, each.name, each.arguments) for each in turn.tool_calls)
        images = tuple(each.image() for each in turn.images)
        messages.append(Message(turn.role, turn.content, images, calls, turn.tool_call_id))
    return "\n\n".join(system), tuple(messages)
