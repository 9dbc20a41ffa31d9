"""Identifiers: a type prefix and a UUIDv7 in Crockford's base32, so that they sort by birth.

Source: RFC 9562 (UUIDv7); Crockford base32 (no I, L, O, U).
"""

from __future__ import annotations

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def encode(prefix: str, now: int, entropy: bytes) -> str:
    """Return an id born at `now` (milliseconds) from 10 bytes of entropy: `prefix_` and 26 characters."""
    random = int.from_bytes(entropy[:10], "big")
    number = (
        (now & 0xFFFFFFFFFFFF) << 80
        | 0x7 << 76
        | (random >> 68) << 64
        | 0b10 << 62
        | (random & (1 << 62) - 1)
    )
    text = []
    for _ in range(26):
        text.append(_ALPHABET[number & 31])
        number >>= 5
    return f"{prefix}_{''.join(reversed(text))}"
