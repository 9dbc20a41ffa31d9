"""What an execution may answer a caller with, apart from the body: which status and which header fields (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

Header = Literal[
    "Cache-Control",
    "Content-Language",
    "ETag",
    "Expires",
    "Last-Modified",
    "Link",
    "Location",
    "Retry-After",
    "Vary",
    "X-Correlation-Id",
    "X-Request-Id",
]
"""Fields that say something about the answer. Others speak for the server (cookies, framing, what a proxy does with the
answer), and a definition is not the server.
"""

HEADERS: Final[frozenset[str]] = frozenset(get_args(Header))
LONGEST: Final = 1000
"""The characters of a field's value at most."""

FIRST, LAST = 200, 599
"""The statuses that are answers; those below are said while one is being made."""

_FIELD = re.compile(r"[\x20-\x7e]*")


def flaw(status: object, headers: Mapping[str, object]) -> str | None:
    """Return what keeps a status and header fields from being an answer, as a sentence; None when nothing does."""
    if not isinstance(status, int) or isinstance(status, bool) or not FIRST <= status <= LAST:
        return f"The status of an answer is a whole number from {FIRST} to {LAST}."
    for name, value in headers.items():
        if name not in HEADERS:
            return (
                f"An answer cannot have the header field {name!r}; it can have {', '.join(sorted(HEADERS))}."
            )
        if not isinstance(value, str) or len(value) > LONGEST or not _FIELD.fullmatch(value):
            return (
                f"The header field {name} is text in ASCII, on one line, of {LONGEST:,} characters at most."
            )
    return None
