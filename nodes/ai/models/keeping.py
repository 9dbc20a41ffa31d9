"""Answers that are kept between executions, under all that decides them: who is asked, and what.

It is looked for and kept inside the step that asks, one model at a time, so an answer of one is never taken for that of another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from celeriac import Json
from celeriac.cache import Cache
from nodes.ai.models.naming import Meant
from nodes.ai.models.provider import Letter
from nodes.ai.models.sending import Post


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where answers to questions of a kind are kept. An author's `own` key takes the place of the question."""

    cache: Cache
    kind: str
    own: str | None

    def at(self, meant: Meant, post: Post, letter: Letter, part: str = "") -> Place:
        """Return the place of the answer to a letter; of an author's key it is this `part`."""
        asked: Json = {"path": letter.path, "headers": dict(letter.headers), "body": letter.body}
        question: Json = asked if self.own is None else [self.own, part]
        whom: list[Json] = [meant.provider.name, meant.connection, str(post.base), meant.model]
        return Place(self.cache, json.dumps([self.kind, whom, question], sort_keys=True))


@dataclass(frozen=True, slots=True)
class Place:
    """The place of one answer."""

    cache: Cache
    key: str

    async def recall(self) -> Json:
        """Return the answer that is there, if one is."""
        return await self.cache.recall(self.key)

    async def keep(self, answer: Json) -> None:
        """Keep an answer."""
        await self.cache.keep(self.key, answer)
