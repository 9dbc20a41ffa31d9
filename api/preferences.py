"""What a request says beside its body: how long it would wait (RFC 7240), under which key it is the same request, and which state
of things it is about (RFC 9110, section 13).
"""

from __future__ import annotations

import re

from fastapi import Request

from engine.errors import Invalid

LONGEST_WAIT = 60
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", re.IGNORECASE)
LONGEST_TAGS = 1_000
_TAG = re.compile(r'\s*(\*|(?:W/)?"[\x21\x23-\x7e]*")\s*(?:,|$)')
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def wait(request: Request) -> int:
    """Return for how many seconds the client would wait for a result; what cannot be read is no wish."""
    found = _WAIT.search(request.headers.get("prefer", ""))
    return min(int(found[1]), LONGEST_WAIT) if found else 0


def idempotency_key(request: Request) -> str | None:
    """Return the request's `Idempotency-Key`. Raises `Invalid` for one that cannot be kept."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        message = "The Idempotency-Key is no 1 to 255 visible ASCII characters."
        raise Invalid(message, hint="A random UUID is a good one.")
    return key


def tags(request: Request, field: str) -> tuple[str, ...] | None:
    """Return the entity tags of `If-Match` or `If-None-Match`; None without the field. Raises `Invalid`.

    Weak tags are kept as they are, which no strong one equals.
    """
    text = request.headers.get(field)
    if text is None:
        return None
    found, place = [], 0
    while place < len(text) <= LONGEST_TAGS:
        match = _TAG.match(text, place)
        if match is None:
            break
        found.append(match[1])
        place = match.end()
    if not found or place < len(text):
        message = f"{field} is no list of entity tags."
        raise Invalid(message, hint='Send the ETag as it was answered, with its quotes: "5f2b8c1d9e3a7064".')
    return tuple(found)
