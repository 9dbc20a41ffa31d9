"""Find texts of a collection by what they mean."""

from __future__ import annotations

from typing import Any, cast

from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Effect, Fail, Json, node
from celeriac.contract import TRUSTED
from celeriac.duration import seconds
from nodes.ai.ai_index import Name
from nodes.ai.models.asking import RETRY, TIMEOUT, Duration, Text
from nodes.ai.models.chain import Chain, vectors
from nodes.ai.models.naming import meant


class Config(BaseModel, extra="forbid"):
    """Where is searched, and for what."""

    collection: Name = Field(
        description="The collection that is searched.", json_schema_extra={TRUSTED: True}
    )
    query: Text = Field(description="What is looked for, in plain words.", min_length=1)
    limit: int = Field(5, description="Passages at most.", ge=1, le=100)
    min_score: float = Field(
        0.0,
        description="How near a passage has to be: 1 says the same, 0 has nothing in common.",
        ge=-1,
        le=1,
    )
    where: dict[str, JsonValue] = Field(
        {}, description="What the data of a passage has to have: each of these, with just this value."
    )
    timeout: Duration = Field(60.0, description="How long the model may take: seconds, or text like 90s.")


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["found"],
    "properties": {
        "found": {
            "type": "array",
            "description": "The nearest first.",
            "items": {
                "type": "object",
                "required": ["id", "part", "text", "data", "score"],
                "properties": {
                    "id": {"type": "string", "description": "The document."},
                    "part": {"type": "integer", "description": "Which part of it, from 0."},
                    "text": {"type": "string"},
                    "data": {"type": "object"},
                    "score": {"type": "number", "description": "How near it is."},
                },
                "additionalProperties": False,
            },
        }
    },
    "additionalProperties": False,
}


@node("ai_search", effect=Effect.READ, foreign=True, retry=RETRY, timeout=TIMEOUT, output=OUTPUT)
async def ai_search(config: Config, ctx: Context) -> Json:
    """Return the passages of a collection that are nearest to what is looked for."""
    collection = ctx.collection(config.collection)
    source = await collection.source()
    if source is None:
        message = f"There is no collection {config.collection}, or nothing was ever put into it."
        raise Fail("collection.unknown", message)
    chain = Chain((await meant(ctx, source.model, source.connection),), seconds(config.timeout))
    (vector,) = await vectors(ctx, chain, [config.query], None, "query")
    found = await collection.nearest(
        cast("list[float]", vector), config.limit, config.min_score, config.where
    )
    passages: list[Any] = [
        {
            "id": each.document,
            "part": each.part,
            "text": each.text,
            "data": dict(each.data),
            "score": round(each.score, 6),
        }
        for each in found
    ]
    return {"found": passages}
