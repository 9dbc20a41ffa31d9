"""What every provider of models can do, in words of our own: the only thing about models that node types know.

A provider is pure: it writes requests and reads answers. Sending them is `sending`'s, with the connection's client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from celeriac import Json
from celeriac.usage import Usage

Finish = Literal["stop", "length", "tools", "refused"]
"""Why a model stopped: it was done, had no more tokens, wants tools to be called, or will not answer."""


Vectors = list[Json]
"""Lists of numbers, one for each text."""


@dataclass(frozen=True, slots=True)
class Image:
    """A picture, by its address (which the provider fetches) or by its bytes in base64."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """Something a model may ask to be done. `parameters` is the JSON Schema of what it has to give."""

    name: str
    description: str
    parameters: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a model wants to be done. `arguments` are as it wrote them, and may be no JSON at all."""

    id: str
    name: str
    arguments: Json

    def to_json(self) -> dict[str, Json]:
        """Return the form that is stored."""
        return {"id": self.id, "name": self.name, "arguments": self.arguments}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: the user's, the assistant's with the tools it calls, or the result of the tool call `answers`."""

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    images: tuple[Image, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    answers: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """What a model is asked. With a `schema` its answer is to be JSON that fits.

    `choose` is `auto`, `required`, `none` or the name of a tool.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    system: str = ""
    temperature: float | None = None
    tools: tuple[Tool, ...] = ()
    choose: str = "auto"
    schema: Mapping[str, Json] | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered, and what that used. `model` is the one that says it was asked; a `cached` answer was kept before."""

    text: str
    finish: Finish
    model: str
    usage: Usage
    calls: tuple[ToolCall, ...] = ()
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """A request to be posted as JSON, below the provider's base address."""

    path: str
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class Unreadable(Exception):
    """An answer is not what the provider documents."""


class Unfinished(Unreadable):
    """An answer that came in parts has broken off before its end."""


class Gathering(Protocol):
    """An answer that comes in parts, and is put together to what it would be as a whole. Both raise `Unreadable`."""

    def take(self, event: Mapping[str, Any]) -> str:
        """Take the next part; return the words in it, which may be none."""

    def body(self) -> Mapping[str, Any]:
        """Return the whole answer, as `Provider.reply` reads it. Raises `Unfinished` when its end has not come."""


class Provider(Protocol):
    """One kind of API. Readers raise `Unreadable`."""

    name: str
    base_url: str
    """Where it is when the connection names no other place."""

    def ask(self, ask: Ask, *, own: bool) -> Letter:
        """Write a question down. `own` says that it goes to the provider itself, and not to a server with the same API."""

    def reply(self, body: Mapping[str, Any]) -> Reply:
        """Read an answer."""

    def in_parts(self, letter: Letter) -> Letter | None:
        """Return the same question, to be answered in parts; None where the parts would be no words for people."""

    def gather(self) -> Gathering:
        """Return what puts the parts of one answer together."""

    def embed(self, model: str, texts: Sequence[str], dimensions: int | None) -> Letter | None:
        """Write a request for vectors down, if the provider has any."""

    def vectors(self, body: Mapping[str, Any]) -> tuple[Vectors, Usage]:
        """Read vectors, in the order of the texts."""

    def spent(self, error: Mapping[str, Any]) -> bool:
        """Whether a refusal means that money or quota is used up, so that waiting some seconds does not help."""


def whole_number(value: object) -> int:
    """Read a count. What is none counts nothing."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
