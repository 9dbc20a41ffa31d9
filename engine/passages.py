"""Collections of texts that are found by what they mean: what is kept of them, and what is nearest to a vector."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from celeriac import Fail, Json, TryAgain
from celeriac.passages import Found, Passage, Source
from engine.errors import Invalid, NotFound
from engine.matrix import Matrices, packed
from engine.store.database import Connection

if TYPE_CHECKING:
    from engine.clock import Clock
    from engine.ledger import LedgerThread
    from engine.reader import Reader

LARGEST: Final = 100_000
"""Passages in a collection."""
LONGEST_ID: Final = 500
"""Characters of the id of a document."""
LONGEST_TEXT: Final = 20_000
"""Characters of a passage."""
LARGEST_DATA: Final = 8_192
"""Bytes of the JSON of what is known of a passage."""

_CHANGES: Final = 1000
"""How many in a millisecond, at most: so a collection that is made anew has versions that it never had before."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_FIND = "SELECT model, connection, dimensions, version FROM collection WHERE project_id = ? AND name = ?"
_TOUCH = (
    "INSERT INTO collection (project_id, name, model, connection, dimensions, version, updated_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (project_id, name) DO UPDATE "
    "SET version = collection.version + 1, updated_at = excluded.updated_at RETURNING model, connection, dimensions"
)
_KEPT = (
    "SELECT document, part, digest FROM passage WHERE project_id = ? AND collection = ? AND document IN ({})"
)
_PUT = (
    "INSERT INTO passage (project_id, collection, document, part, text, digest, data, vector) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (project_id, collection, document, part) DO UPDATE "
    "SET text = excluded.text, digest = excluded.digest, data = excluded.data, vector = excluded.vector"
)
_KEEP = (
    "UPDATE passage SET data = ? WHERE project_id = ? AND collection = ? AND document = ? AND part = ? AND digest = ? "
    "RETURNING part"
)
_SHORTEN = "DELETE FROM passage WHERE project_id = ? AND collection = ? AND document = ? AND part >= ?"
_REMOVE = "DELETE FROM passage WHERE project_id = ? AND collection = ? AND document = ? RETURNING part"
_COUNT = "SELECT count(*) FROM passage WHERE project_id = ? AND collection = ?"
_ALL = "SELECT document, part, data, vector FROM passage WHERE project_id = ? AND collection = ? ORDER BY document, part"
_TEXT = "SELECT text FROM passage WHERE project_id = ? AND collection = ? AND document = ? AND part = ?"
_CHANGED = "UPDATE collection SET version = version + 1, updated_at = ? WHERE project_id = ? AND name = ? RETURNING version"
_LIST = (
    "SELECT c.name, c.model, c.connection, c.dimensions, c.updated_at, count(DISTINCT p.document), count(p.part) "
    "FROM collection c LEFT JOIN passage p ON p.project_id = c.project_id AND p.collection = c.name "
    "WHERE c.project_id = ? GROUP BY c.name, c.model, c.connection, c.dimensions, c.updated_at ORDER BY c.name"
)
_DROP = "DELETE FROM collection WHERE project_id = ? AND name = ? RETURNING name"
_EMPTY = "DELETE FROM passage WHERE project_id = ? AND collection = ?"


class CollectionInvalid(Invalid):
    """What a collection cannot be called."""

    code = "collection.invalid"


def named(name: str) -> str:
    """Return the name of a collection. Raises `CollectionInvalid`."""
    if not _NAME.fullmatch(name):
        message = f"{name[:100]!r} cannot be the name of a collection."
        raise CollectionInvalid(
            message, hint="Letters, digits and _ . -, 100 at most, a letter or digit first."
        )
    return name


class Shelf:
    """One collection, as nodes have it."""

    def __init__(
        self,
        ledger: LedgerThread,
        reader: Reader,
        clock: Clock,
        matrices: Matrices,
        project: str,
        name: str,
    ) -> None:
        try:
            self._place = (project, named(name))
        except CollectionInvalid as error:
            raise Fail(error.code, error.message) from None
        self._ledger = ledger
        self._reader = reader
        self._clock = clock
        self._matrices = matrices

    async def source(self) -> Source | None:
        """Return what its vectors are made with."""
        rows = await self._reader.read(lambda connection: connection.run(_FIND, self._place))
        return Source(rows[0][0], rows[0][1]) if rows else None

    async def unchanged(self, passages: Sequence[Passage]) -> frozenset[tuple[str, int]]:
        """Return those whose text is in it as it is."""
        return await self._reader.read(lambda connection: unchanged(connection, self._place, passages))

    async def put(self, source: Source, passages: Sequence[Passage]) -> None:
        """Put whole documents in."""
        rows = [stored(each) for each in passages]
        now = self._clock.now()
        await self._ledger.submit(lambda connection: put(connection, self._place, source, rows, now))

    async def remove(self, documents: Collection[str]) -> int:
        """Take documents out."""
        names, now = sorted(set(documents)), self._clock.now()
        found: int = await self._ledger.submit(lambda connection: remove(connection, self._place, names, now))
        return found

    async def nearest(
        self, vector: Sequence[float], most: int, least: float, where: Mapping[str, Json]
    ) -> list[Found]:
        """Return the passages that are nearest to a vector."""
        matrices, place = self._matrices, self._place
        return await self._reader.read(
            lambda connection: nearest(connection, matrices, place, vector, most, least, where)
        )


def listing(connection: Connection, project: str) -> list[dict[str, Json]]:
    """Return the collections of a project by name."""
    names = ("name", "model", "connection", "dimensions", "updated_at", "documents", "passages")
    return [dict(zip(names, row, strict=True)) for row in connection.run(_LIST, (project,))]


def drop(project: str, name: str) -> Callable[[Connection], None]:
    """Return the change that removes a collection with all that is in it. It raises `NotFound`."""

    def change(connection: Connection) -> None:
        if not connection.run(_DROP, (project, name)):
            message = f"There is no collection {name[:100]!r}."
            raise NotFound(message, hint="celeriac collections list shows what there is.")
        connection.run(_EMPTY, (project, name))

    return change


Place = tuple[str, str]
"""The project of a collection, and its name."""


@dataclass(frozen=True, slots=True)
class Row:
    """A passage as it is stored; without a vector it keeps the one it has."""

    document: str
    part: int
    text: str
    digest: bytes
    data: str
    vector: bytes | None

    @property
    def dimensions(self) -> int | None:
        """How many numbers its vector has."""
        return None if self.vector is None else len(self.vector) // 4


def unchanged(
    connection: Connection, place: Place, passages: Sequence[Passage]
) -> frozenset[tuple[str, int]]:
    """Return the passages, by document and part, whose text is there as it is."""
    documents = sorted({each.document for each in passages})
    if not documents:
        return frozenset()
    rows = connection.run(_KEPT.format(", ".join("?" * len(documents))), (*place, *documents))
    kept = {(document, part): bytes(digest) for document, part, digest in rows}
    return frozenset(
        (each.document, each.part)
        for each in passages
        if kept.get((each.document, each.part)) == _digest(each.text)
    )


def put(connection: Connection, place: Place, source: Source, rows: Sequence[Row], now: int) -> None:
    """Put whole documents in the place of what there is of them. Raises `Fail` or `TryAgain` (`collection.*`)."""
    known = connection.run(_FIND, place)
    lengths = {each.dimensions for each in rows} - {None}
    length = known[0][2] if known else next(iter(lengths), None)
    if length is None:
        return
    if known and (known[0][0], known[0][1]) != (source.model, source.connection):
        message = f"The vectors of the collection {place[1]} are made by {known[0][0]}; those of another model lie elsewhere."
        raise Fail("collection.other_model", message, {"model": known[0][0], "connection": known[0][1]})
    if lengths - {length}:
        message = f"The vectors of the collection {place[1]} are {length} numbers long, these are not."
        raise Fail("collection.other_length", message)
    connection.run(_TOUCH, (*place, source.model, source.connection, length, now * _CHANGES, now))
    parts: dict[str, int] = {}
    for each in rows:
        parts[each.document] = max(parts.get(each.document, 0), each.part + 1)
        at = (*place, each.document, each.part)
        if each.vector is not None:
            connection.run(_PUT, (*at, each.text, each.digest, each.data, each.vector))
        elif not connection.run(_KEEP, (each.data, *at, each.digest)):
            message = f"Somebody else has changed {each.document} in the collection {place[1]} meanwhile."
            raise TryAgain("collection.changed", message)
    for document, count in parts.items():
        connection.run(_SHORTEN, (*place, document, count))
    if connection.run(_COUNT, place)[0][0] > LARGEST:
        message = f"The collection {place[1]} would have more than {LARGEST:,} passages."
        raise Fail("collection.full", message)


def remove(connection: Connection, place: Place, documents: Sequence[str], now: int) -> int:
    """Take documents out, and return how many passages that were."""
    removed = sum(len(connection.run(_REMOVE, (*place, each))) for each in documents)
    if removed:
        connection.run(_CHANGED, (now, *place))
    return removed


def nearest(
    connection: Connection,
    matrices: Matrices,
    place: Place,
    vector: Sequence[float],
    most: int,
    least: float,
    where: Mapping[str, Json],
) -> list[Found]:
    """Return the passages that are nearest to a vector: one product with all of them. Raises `Fail` (`collection.*`)."""
    rows = connection.run(_FIND, place)
    if not rows:
        message = f"There is no collection {place[1]}, or nothing in it."
        raise Fail("collection.unknown", message)
    _, _, length, version = rows[0]
    if len(vector) != length:
        message = f"The vectors of the collection {place[1]} are {length} numbers long, this one is not."
        raise Fail("collection.other_length", message)
    found = []
    matrix = matrices.get(place, version, length, lambda: connection.run(_ALL, place))
    for (document, part, data), score in matrix.nearest(vector, most, least, where):
        texts = connection.run(_TEXT, (*place, document, part))
        if texts:  # else it was removed a moment ago
            found.append(Found(document, part, texts[0][0], data, score))
    return found


def stored(passage: Passage) -> Row:
    """Return a passage as it is stored. Raises `Fail` (`collection.bad_passage`)."""
    data = json.dumps(dict(passage.data), ensure_ascii=True, separators=(",", ":"))
    wrong = (
        (not 0 < len(passage.document) <= LONGEST_ID, f"its id has 1 to {LONGEST_ID} characters"),
        (not 0 < len(passage.text) <= LONGEST_TEXT, f"it has 1 to {LONGEST_TEXT:,} characters"),
        (not _is_text(passage.document + passage.text), "it holds what is no text"),
        (len(data) > LARGEST_DATA, f"its data has at most {LARGEST_DATA:,} bytes as JSON"),
    )
    for is_wrong, rule in wrong:
        if is_wrong:
            message = f"A passage of {passage.document[:100]!r} cannot be kept: {rule}."
            raise Fail("collection.bad_passage", message)
    vector = None if passage.vector is None else packed(passage.vector)
    return Row(passage.document, passage.part, passage.text, _digest(passage.text), data, vector)


def _is_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
