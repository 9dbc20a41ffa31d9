"""Tokens that we sign and give away: a few fields that nobody else can make, with nothing stored for them."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Sequence
from typing import Any, Final

LONGEST: Final = 1_000
"""Characters that a token may have."""

_MAC_BYTES: Final = 32


class Signer:
    """Makes tokens of one purpose under a key, and reads those that were made under it or an earlier one."""

    def __init__(self, key: bytes, previous: Sequence[bytes] = ()) -> None:
        self._keys = (key, *previous)

    def token(self, *fields: str | int) -> str:
        """Return the token that says these fields, for the path of an address."""
        body = json.dumps(fields, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(_mac(self._keys[0], body) + body).decode().rstrip("=")

    def read(self, token: str) -> list[Any] | None:
        """Return what a token says, or None when it is none of ours."""
        if len(token) > LONGEST:
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not any(hmac.compare_digest(mac, _mac(key, body)) for key in self._keys):
            return None
        fields: list[Any] = json.loads(body)
        return fields


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")
