"""Use a tool of a server that speaks the Model Context Protocol.

What a tool does to the world only its author knows, so it counts as something that cannot be repeated, unless the config
says that it reads, or may be repeated. What a server says of its own tools is not relied upon.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, JsonValue, StrictBool

from celeriac import Context, Effect, Fail, Json, Retry, TryAgain, node
from celeriac.contract import TRUSTED
from celeriac.duration import seconds
from nodes.ai.models.asking import Duration
from nodes.mcp.session import KINDS, session


class Config(BaseModel, extra="forbid"):
    """Which tool, and what it is given."""

    tool: str = Field(
        description="The tool's name.", min_length=1, max_length=200, json_schema_extra={TRUSTED: True}
    )
    arguments: dict[str, JsonValue] = Field({}, description="What it is given.")
    reads: StrictBool = Field(default=False, description="Whether it only looks, and changes nothing.")
    idempotent: StrictBool = Field(
        default=False, description="Whether it may be used again with the same arguments."
    )
    timeout: Duration = Field(60.0, description="How long it may take: seconds, or text like 90s.")
    connection: str = Field(
        "mcp", description="The connection to the server, of the kind mcp or mcp_program."
    )


def effect(config: Mapping[str, Json]) -> Effect:
    """Return what the config says of the tool; a template in it says nothing."""
    if config.get("reads") is True:
        return Effect.READ
    return Effect.KEYED if config.get("idempotent") is True else Effect.ONCE


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["text", "data", "content"],
    "properties": {
        "text": {"type": "string", "description": "What it says, as text."},
        "data": {"description": "What it came to as JSON, if it says that; else null."},
        "content": {"type": "array", "description": "All that it came to, as the protocol has it."},
    },
    "additionalProperties": False,
}


@node(
    "mcp_call",
    effect=effect,
    retry=Retry(3, delay=1.0, on=(TryAgain,)),
    timeout=920.0,
    output=OUTPUT,
)
async def mcp_call(config: Config, ctx: Context) -> Json:
    """Use a tool of a server of tools (Model Context Protocol)."""
    link = await ctx.connect(config.connection, *KINDS)
    doing = effect(config.model_dump())
    async with session(link, ctx.now(), seconds(config.timeout)) as made:
        params: dict[str, Json] = {
            "name": config.tool,
            "arguments": config.arguments,
            "_meta": {"celeriac/idempotency-key": ctx.idempotency_key},
        }
        result = await made.ask("tools/call", params, doing)
    content = result.get("content")
    parts: list[Any] = content if isinstance(content, list) else []
    text = "\n".join(
        str(each["text"]) for each in parts if isinstance(each, dict) and isinstance(each.get("text"), str)
    )
    if result.get("isError") is True:
        raise Fail("mcp.tool_failed", f"The tool {config.tool} failed: {text[:1000]}")
    return {"text": text, "data": result.get("structuredContent"), "content": parts}
