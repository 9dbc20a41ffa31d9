"""Publish an event."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Effect, Emit, Json, node

TYPE = r"^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,199}$"
"""What the type of an event may look like."""

LONGEST_CORRELATION = 400

Correlation = Annotated[str, Field(max_length=LONGEST_CORRELATION)] | Annotated[int, Field(strict=True)]


class Config(BaseModel, extra="forbid"):
    """What to publish."""

    event: str = Field(description="The type of the event, like `order.paid`.", pattern=TYPE)
    correlation: Correlation = Field(
        "", description="What it is about, like the number of an order: a wait hears it that names the same."
    )
    data: JsonValue = Field(None, description="What it says.")


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "string", "description": "The event's id."}},
    "additionalProperties": False,
}


@node("emit", effect=Effect.KEYED, output=OUTPUT)
async def emit(config: Config, _ctx: Context) -> Emit:
    """Publish an event, which ends the waits that listen to it. However often it is tried, it is published once."""
    return Emit(config.event, str(config.correlation), config.data)
