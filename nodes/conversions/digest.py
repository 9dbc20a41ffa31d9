"""A digest of a text or a file."""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Json, files, node
from celeriac.contract import PREVIOUS

Algorithm = Literal["sha256", "sha384", "sha512", "sha3_256", "blake2b", "sha1", "md5"]
Encoding = Literal["hex", "base64", "base64url"]


class Config(BaseModel, extra="forbid"):
    """What to digest, and how."""

    value: JsonValue = Field(
        None,
        description="Text, {base64}, or JSON, which is digested in the one form that has its keys in order. Left out, it is what "
        "the node before came to.",
        json_schema_extra={PREVIOUS: True},
    )
    algorithm: Algorithm = Field("sha256", description="How. sha1 and md5 protect nothing any more.")
    encoding: Encoding = Field("hex", description="As what it is written.")


@node("hash", output={"type": "string"})
def digest(config: Config, _ctx: Context) -> Json:
    """Return the digest of a value."""
    made = hashlib.new(config.algorithm, content_of(config.value), usedforsecurity=False)
    return written(made.digest(), config.encoding)


def content_of(value: Json) -> bytes:
    """Return what is digested of a value: text and files as they are, JSON without spaces and with its keys in order."""
    import json

    if isinstance(value, dict) and isinstance(value.get("base64"), str):
        return files.content_of(value)[0]
    if isinstance(value, str):
        return value.encode()
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    ).encode()


def written(data: bytes, encoding: Encoding) -> str:
    """Return bytes as text."""
    if encoding == "hex":
        return data.hex()
    if encoding == "base64":
        return base64.b64encode(data).decode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
