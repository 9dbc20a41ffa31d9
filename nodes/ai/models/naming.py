"""Which provider a model is of, and which connection leads there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from celeriac import Context, Fail
from nodes.ai.models.anthropic import Anthropic
from nodes.ai.models.local import Local
from nodes.ai.models.openai import OpenAI
from nodes.ai.models.provider import Provider

DEFAULT = "default"
"""Stands for the model that the project takes by default."""

PROVIDERS: dict[str, Provider] = {each.name: each for each in (OpenAI(), Anthropic(), Local())}

_VENDORS = (
    (re.compile(r"claude"), "anthropic"),
    (re.compile(r"gpt-|chatgpt-|o\d|text-embedding-|ft:"), "openai"),
    (re.compile(r"local\Z"), "local"),
)
"""Whose models have names that begin like this."""


@dataclass(frozen=True, slots=True)
class Meant:
    """One model: what the author calls it, what its provider does, and the connection to reach it by."""

    name: str
    provider: Provider
    model: str
    connection: str


async def meant(ctx: Context, name: str, connection: str | None = None) -> Meant:
    """Return the model of this name: one that the deployment has entered, or else as `guessed`.

    Raises `Fail` (`ai.no_default`) when it is `default`, and the project has none.
    """
    known = await ctx.model(name)
    if known is None and name == DEFAULT:
        message = "The node names no model, and the project has no default_model among its settings. Name one, or set it."
        raise Fail("ai.no_default", message)
    if known is None or known.provider is None:
        return guessed(name if known is None else known.model, connection)
    provider = PROVIDERS[known.provider]
    return Meant(known.id, provider, known.model, connection or known.connection or provider.name)


def guessed(name: str, connection: str | None = None) -> Meant:
    """Return the model of this name: `gpt-4`, `anthropic/claude-...`, or any name where a connection is given.

    A name without a provider that begins like none of theirs is taken for one of a server that speaks OpenAI's API.
    Raises `Fail` (`ai.unknown_model`) when nothing says where it is to be found.
    """
    head, slash, rest = name.partition("/")
    if slash and rest and head in PROVIDERS:
        return Meant(rest, PROVIDERS[head], rest, connection or head)
    vendor = next((vendor for pattern, vendor in _VENDORS if pattern.match(name)), None)
    if vendor is None and connection is None:
        raise Fail(
            "ai.unknown_model",
            f"Nobody knows which provider has the model {name!r}. Write provider/model, with one of the providers "
            f"{', '.join(PROVIDERS)}; or name the connection of the server that has it; or enter it: celeriac models add.",
            {"model": name},
        )
    provider = PROVIDERS[vendor or "openai"]
    return Meant(name, provider, name, connection or provider.name)
