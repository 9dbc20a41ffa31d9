"""Read an object of a store: text and JSON as they are, anything else in base64."""

from __future__ import annotations

from pydantic import BaseModel, Field

from celeriac import Context, Effect, Json, Retry, TryAgain, exchange, node
from celeriac.contract import TRUSTED
from nodes.objects.store import ask


class Config(BaseModel, extra="forbid"):
    """Which object."""

    key: str = Field(description="The object's name.", min_length=1, max_length=1024)
    bucket: str | None = Field(
        None,
        description="The bucket; else the connection's.",
        min_length=1,
        json_schema_extra={TRUSTED: True},
    )
    connection: str = Field("s3", description="The connection to the store, of the kind s3.")


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["content", "media_type", "size", "etag", "modified", "metadata"],
    "properties": {
        "content": {"description": "Text or JSON as it is, else {base64, media_type, size}."},
        "media_type": {"type": ["string", "null"]},
        "size": {"type": "integer", "description": "In bytes."},
        "etag": {"type": "string", "description": "Another text when the content is another."},
        "modified": {"type": "string"},
        "metadata": {"type": "object", "description": "What was stored beside it."},
    },
    "additionalProperties": False,
}


@node("s3_get", effect=Effect.READ, retry=Retry(3, delay=1.0, on=(TryAgain,)), timeout=150.0, output=OUTPUT)
async def s3_get(config: Config, ctx: Context) -> Json:
    """Read an object of an object store."""
    link = await ctx.connect(config.connection, "s3")
    response = await ask(link, "GET", config.bucket, config.key)
    own = {name: str(value) for name, value in response.headers.items()}
    metadata: dict[str, Json] = {
        name.removeprefix("x-amz-meta-"): value
        for name, value in own.items()
        if name.startswith("x-amz-meta-")
    }
    return {
        "content": exchange.body_of(response),
        "media_type": own.get("content-type"),
        "size": len(response.content),
        "etag": own.get("etag", "").strip('"'),
        "modified": own.get("last-modified", ""),
        "metadata": metadata,
    }
