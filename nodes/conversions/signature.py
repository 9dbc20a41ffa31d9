"""A keyed digest (RFC 2104): whoever has the key too can see that nobody has changed the text."""

from __future__ import annotations

import hmac as digests
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Effect, Json, node
from celeriac.contract import PREVIOUS
from nodes.connections.signing_key import bytes_of
from nodes.conversions.digest import Encoding, content_of, written


class Config(BaseModel, extra="forbid"):
    """What to sign, and with which key."""

    value: JsonValue = Field(
        None,
        description="Text, {base64}, or JSON, which is signed in the one form that has its keys in order. Left out, it is what "
        "the node before came to.",
        json_schema_extra={PREVIOUS: True},
    )
    connection: str = Field(description="The connection that holds the key, of the kind signing_key.")
    algorithm: Literal["sha256", "sha384", "sha512", "sha1"] = Field("sha256", description="How.")
    encoding: Encoding = Field("hex", description="As what it is written.")
    prefix: str = Field("", description="What stands in front, like sha256=.")


@node("hmac", effect=Effect.READ, output={"type": "string"})
async def signature(config: Config, ctx: Context) -> Json:
    """Sign a value with a key."""
    link = await ctx.connect(config.connection, "signing_key")
    made = digests.digest(bytes_of(link.fields), content_of(config.value), config.algorithm)
    return config.prefix + written(made, config.encoding)
