"""Texts that are found by what they mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from celeriac.outcomes import Json


@dataclass(frozen=True, slots=True)
class Source:
    """What turns the texts of a collection into vectors: a model, and the connection that leads to it."""

    model: str
    connection: str | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document, with what is worth knowing of it. Without a vector it keeps the one it has: its text is the same."""

    document: str
    part: int
    text: str
    data: Mapping[str, Json] = field(default_factory=dict)
    vector: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that was found, and how near it is: 1 for the same direction, 0 for nothing in common."""

    document: str
    part: int
    text: str
    data: Mapping[str, Json]
    score: float


class Passages(Protocol):
    """A collection of passages. It begins with the first that are put into it, and belongs to a project."""

    async def source(self) -> Source | None:
        """Return what its vectors are made with; nothing while there is none in it."""

    async def unchanged(self, passages: Sequence[Passage]) -> frozenset[tuple[str, int]]:
        """Return those, by document and part, whose text is in it as it is."""

    async def put(self, source: Source, passages: Sequence[Passage]) -> None:
        """Put whole documents in, in the place of what it has of them. Doing it again changes nothing.

        Raises `Fail`: `collection.other_model`, `collection.other_length`, `collection.full`; `TryAgain`
        (`collection.changed`) when a passage that was to keep its vector is another one by now.
        """

    async def remove(self, documents: Collection[str]) -> int:
        """Take documents out, and return how many passages that were."""

    async def nearest(
        self, vector: Sequence[float], most: int, least: float, where: Mapping[str, Json]
    ) -> list[Found]:
        """Return the passages that are nearest to a vector, the nearest first: at most so many, none that is less near than
        `least`, and only those whose data has all that `where` has.
        """
