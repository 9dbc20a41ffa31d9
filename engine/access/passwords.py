"""Passwords: argon2id (RFC 9106) in threads of its own, so that hashing never holds the event loop, and never all memory."""

from __future__ import annotations

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from engine.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pwdlib import PasswordHash

SHORTEST: Final = 12
LONGEST: Final = 1_024
DISTINCT: Final = 5
"""Characters of a password, and how many different ones at least."""

THREADS: Final = 2
WAITING: Final = 64
"""Passwords that are looked at together, and that may wait; one more is told to come back."""

_MEMORY_KIB, _ROUNDS, _LANES = 19_456, 2, 1
"""What OWASP recommends at least; a stored hash names its own, and is renewed at a login when these have grown."""

_COMMON = ("password", "passwort", "qwerty", "letmein", "celeriac", "123456789", "abcdefgh", "iloveyou")


class PasswordWeak(Invalid):
    """The password is too easy to guess."""

    code = "password.weak"


def check(password: object, name: str) -> str:
    """Return a password that may be set, in its normal form. Raises `PasswordWeak`, which never says the password."""
    hint = (
        f"Take {SHORTEST} characters or more; several words that have nothing to do with each other are good."
    )
    if not isinstance(password, str) or not SHORTEST <= len(password) <= LONGEST:
        message = f"A password has {SHORTEST} to {LONGEST:,} characters."
        raise PasswordWeak(message, hint=hint)
    folded = password.casefold()
    if len(set(folded)) < DISTINCT:
        raise PasswordWeak("The password repeats a few characters.", hint=hint)
    stem = name.partition("@")[0].casefold()
    if len(stem) > 3 and stem in folded:
        raise PasswordWeak("The password has your name in it.", hint=hint)
    if any(each in folded for each in _COMMON):
        raise PasswordWeak("The password has a word in it that is tried first.", hint=hint)
    return normal(password)


def normal(password: str) -> str:
    """Return the form in which keyboards agree on a text (Unicode NFKC, as NIST SP 800-63B asks for)."""
    return unicodedata.normalize("NFKC", password)


class Passwords:
    """Hashes and compares, in a few threads."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._hasher: PasswordHash | None = None
        self._nobodys = ""
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return what is stored of a password."""
        return str(await self._in_thread(lambda: self._made().hash(password)))

    async def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Return whether a password is the stored one, and a new hash when the stored one is out of date.

        Without a stored one it takes as long and is false.
        """
        found: tuple[bool, str | None] = await self._in_thread(
            lambda: self._compared(normal(password)[:LONGEST], stored)
        )
        return found

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _compared(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        hasher = self._made()
        right, renewed = hasher.verify_and_update(password, stored or self._nobodys)
        return (right, renewed) if stored else (False, None)

    def _made(self) -> PasswordHash:
        if self._hasher is None:
            from pwdlib import PasswordHash
            from pwdlib.hashers.argon2 import Argon2Hasher

            made = PasswordHash(
                [Argon2Hasher(time_cost=_ROUNDS, memory_cost=_MEMORY_KIB, parallelism=_LANES)]
            )
            self._nobodys = made.hash("nobody has this password")
            self._hasher = made
        return self._hasher

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        if self._waiting >= WAITING:
            raise Unavailable("Too many passwords wait to be looked at.", hint="Try again in a moment.")
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="password")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1
