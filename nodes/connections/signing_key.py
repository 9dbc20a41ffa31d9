"""A key that signs: shared with whoever is to check."""

from __future__ import annotations

import base64
import binascii
from typing import Literal

from pydantic import BaseModel, Field, SecretStr, model_validator

from celeriac import Link, connection


class SigningKey(BaseModel, extra="forbid"):
    """A key."""

    key: SecretStr = Field(description="The key.", min_length=8)
    encoding: Literal["text", "base64", "hex"] = Field("text", description="As what the key is written.")

    @model_validator(mode="after")
    def _readable(self) -> SigningKey:
        bytes_of(self)
        return self


def bytes_of(fields: SigningKey) -> bytes:
    """Return the key itself. Raises `ValueError`, which does not repeat it."""
    text = fields.key.get_secret_value()
    try:
        if fields.encoding == "base64":
            return base64.b64decode(text, validate=True)
        return bytes.fromhex(text) if fields.encoding == "hex" else text.encode()
    except (binascii.Error, ValueError):
        message = f"the key is not {fields.encoding}"
        raise ValueError(message) from None


@connection("signing_key", hosts=lambda _: [])
async def signing_key(fields: SigningKey, _: Link) -> str:
    """A key that signs, and leads nowhere."""
    return f"A key of {len(bytes_of(fields)) * 8} bits."
