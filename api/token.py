"""The token that whoever uses the API has to show: from the environment, or in a file that only its owner can read."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from engine.errors import Misconfigured
from engine.settings import Settings

FILE = "api.token"
SETTING = "CELERIAC_API_TOKEN"
_SHORTEST = 32


class TokenUnusable(Misconfigured):
    """The API's token protects nothing."""

    code = "api.token_unusable"


def load(settings: Settings) -> str:
    """Return the token; the first to ask makes it. Raises `TokenUnusable`."""
    if settings.api_token:
        return _long_enough(settings.api_token.strip(), SETTING)
    path = settings.data / FILE
    found = _read(path)
    if found is None:
        _make(path)
        found = _read(path)
    return _long_enough(found or "", str(path))


def _long_enough(token: str, place: str) -> str:
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        message = f"The token in {place} is no {_SHORTEST} or more characters without blanks."
        raise TokenUnusable(message, hint=f"Remove {place}: without it, one is made in the data directory.")
    return token


def _read(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}."
        raise TokenUnusable(message, hint="Make it a plain file of this user.") from error
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            message = f"Other users of this machine can read {path}."
            raise TokenUnusable(message, hint=f"Remove it, and a new one is made: rm {path}")
        return file.read(1024).strip()


def _make(path: Path) -> None:
    """Write a new token whole or not at all; of two processes that try at once, both use the first one's."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"clk_{secrets.token_urlsafe(32)}\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
