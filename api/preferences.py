"""What a request says beside its body: how long it would wait (RFC 7240), and under which key it is the same request."""

from __future__ import annotations

import re

from fastapi import Request

from engine.errors import Invalid

LONGEST_WAIT = 60
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", re.IGNORECASE)
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
