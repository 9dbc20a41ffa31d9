"""What nodes keep for a while, so that a later execution need not find it out again."""

from __future__ import annotations

from typing import Protocol

from celeriac.outcomes import Json


class Cache(Protocol):
    """What a project's nodes have found out and may use again. Any of it may be gone at any time, and nothing is to depend on it.

    A key says all that decides the value, beginning with who keeps it: two node types that choose the same key share the value.
    Of the key a digest is stored, of the value what is left without the credentials of the call.
    """

    async def recall(self, key: str) -> Json:
        """Return what was kept under a key no longer ago than this cache is asked for; None when there is nothing."""

    async def keep(self, key: str, value: Json) -> bool:
        """Keep a value in the place of what there was, and return whether that was done.

        What is too large or no JSON is not kept, nor is anything when the database does not answer; the history says why. The
        value was paid for by then, so this raises nothing.
        """
