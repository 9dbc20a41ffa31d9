"""Write a line to the execution's history."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Json, node


class Config(BaseModel, extra="forbid"):
    """What to write."""

    message: JsonValue = Field(description="The line; anything that is not text is written as JSON.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much it matters.")


@node("log", output={"type": "null"})
def log(config: Config, ctx: Context) -> Json:
    """Write one line to the execution's history and return null."""
    message = config.message
    ctx.log(message if isinstance(message, str) else json.dumps(message, ensure_ascii=False), config.level)
    return None
