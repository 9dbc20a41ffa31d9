"""Write an object of a store. Written again, it is the same object: so this may be repeated."""

from __future__ import annotations

import re

from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Effect, Fail, Json, Retry, TryAgain, files, node
from celeriac.contract import PREVIOUS, TRUSTED
from nodes.objects.store import ask

_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")


class Config(BaseModel, extra="forbid"):
    """Which object, and what is in it."""

    key: str = Field(description="The object's name.", min_length=1, max_length=1024)
    content: JsonValue = Field(
        None,
        description="What is in it: text, {base64, media_type} as nodes hand files on, or JSON. Left out, it is what the node "
        "before came to.",
        json_schema_extra={PREVIOUS: True},
    )
    media_type: str | None = Field(None, description="What it is; else what the content says.")
    metadata: dict[str, str] = Field({}, description="What is stored beside it.")
    if_absent: bool = Field(
        default=False, description="Whether an object that is there already is to be left as it is."
    )
    bucket: str | None = Field(
        None,
        description="The bucket; else the connection's.",
        min_length=1,
        json_schema_extra={TRUSTED: True},
    )
    connection: str = Field("s3", description="The connection to the store, of the kind s3.")


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["etag", "size"],
    "properties": {
        "etag": {"type": "string", "description": "Another text when the content is another."},
        "size": {"type": "integer", "description": "In bytes."},
    },
    "additionalProperties": False,
}


@node("s3_put", effect=Effect.KEYED, retry=Retry(3, delay=1.0, on=(TryAgain,)), timeout=150.0, output=OUTPUT)
async def s3_put(config: Config, ctx: Context) -> Json:
    """Write an object of an object store."""
    link = await ctx.connect(config.connection, "s3")
    content, media_type = files.content_of(config.content)
    headers = {"Content-Type": config.media_type or media_type}
    for name, value in config.metadata.items():
        if not _NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
            raise Fail("object.invalid", f"{name!r} cannot be stored beside an object: it takes plain ASCII.")
        headers[f"x-amz-meta-{name}"] = value
    if config.if_absent:
        headers["If-None-Match"] = "*"
    response = await ask(
        link, "PUT", config.bucket, config.key, headers=headers, content=content, effect=Effect.KEYED
    )
    return {"etag": response.headers.get("etag", "").strip('"'), "size": len(content)}
