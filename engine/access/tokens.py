"""Tokens: random, shown once, and kept as hashes, so that nobody who reads the database can use one.

A prefix says what a token is for, to people, and to scanners that look for secrets where none should be. All have 256 bits
from the system's generator, so that a plain hash is enough to keep them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

ACCESS: Final = "cla"
REFRESH: Final = "clr"
KEY: Final = "clk"
INVITATION: Final = "cli"

BYTES: Final = 32
LONGEST: Final = 256
"""Characters of anything that may be a token; more is looked at by nobody."""

_SESSION = re.compile(r"clr_(sess_[0-9a-z]{26})_[A-Za-z0-9_-]{43}")


def make(prefix: str, random: bytes) -> str:
    """Return a token of random bytes."""
    return f"{prefix}_{_text(random)}"


def refresh(session: str, random: bytes) -> str:
    """Return a token that renews a session, and names it."""
    return make(f"{REFRESH}_{session}", random)


def session_of(token: str) -> str | None:
    """Return the session that a refresh token names; None for what has not its form."""
    found = _SESSION.fullmatch(token) if len(token) <= LONGEST else None
    return None if found is None else found[1]


def derived(key: bytes, purpose: str, token: str) -> bytes:
    """Return random bytes that follow from a token for whoever has the key, and for nobody else."""
    return hmac.digest(key, f"{purpose}\x1f{token}".encode(), "sha256")


def digest(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
