"""Turn texts into vectors, so that what means something similar lies close together."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from celeriac import Context, Effect, Json, node
from nodes.ai.models.asking import RETRY, TIMEOUT, Asking, Cached, Text, keeping
from nodes.ai.models.chain import vectors
from nodes.ai.models.provider import Vectors

BATCH = 256
"""Texts in one request."""

_Text = Annotated[Text, Field(min_length=1)]


class Config(Asking):
    """The texts."""

    input: Annotated[str, Field(min_length=1)] | list[_Text] = Field(
        description="A text, or a list of them.", max_length=100_000
    )
    dimensions: int | None = Field(
        None, description="How long the vectors are to be, for models that let one choose.", ge=1, le=65_536
    )
    cache: Cached = None


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["vectors", "dimensions"],
    "properties": {
        "vectors": {
            "type": "array",
            "description": "One for each text, in their order.",
            "items": {"type": "array", "items": {"type": "number"}},
        },
        "dimensions": {"type": "integer", "description": "How long each vector is; 0 when there are none."},
    },
    "additionalProperties": False,
}


@node("ai_embed", effect=Effect.READ, retry=RETRY, timeout=TIMEOUT, output=OUTPUT)
async def ai_embed(config: Config, ctx: Context) -> Json:
    """Return a vector for each text."""
    texts = [config.input] if isinstance(config.input, str) else config.input
    chain = await config.chain(ctx, keeping(ctx, "ai_embed", config.cache))
    found: Vectors = []
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        found += await vectors(ctx, chain, batch, config.dimensions, f"vectors from {start}")
    lengths = {len(each) for each in found if isinstance(each, list)}
    return {"vectors": found, "dimensions": max(lengths, default=0)}
