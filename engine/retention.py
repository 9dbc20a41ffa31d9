"""Retention: let go of what ended long ago, on a running installation, a batch at a time.

What is still referred to stays: an execution with a segment at work, one that a later execution is based on, a blob that
anything else names. What refers to a blob is written in the blob's own transaction, so on PostgreSQL a short lock on the
blob table makes the check hold; SQLite has one writer anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.errors import Unavailable
from engine.store.database import Connection, Database
from engine.store.sql import Batched, columns

BATCH = 200
MARKS_KEPT = 86_400_000
"""How long a writer's mark is kept, in milliseconds: it answers questions about a commit of a moment ago."""

_ENDED = (
    "SELECT e.id, e.input_blob, e.output_blob, e.finished_at FROM execution e "
    "WHERE e.finished_at < ? AND e.finished_at >= ? AND e.id > ? AND NOT EXISTS (SELECT 1 FROM segment s "
    "WHERE s.execution_id = e.id AND s.status = 'running') ORDER BY e.finished_at, e.id LIMIT ?"
)
_BASES = (
    "SELECT DISTINCT base FROM execution WHERE base IS NOT NULL AND (finished_at IS NULL OR finished_at >= ?)"
)
_BLOBS = Batched(
    "SELECT DISTINCT j.blob FROM {rows} JOIN journal j ON j.execution_id = r.id WHERE j.blob IS NOT NULL",
    columns("id"),
)
_FORGET = tuple(
    Batched(f"DELETE FROM {table} WHERE {key} IN (SELECT r.id FROM {{rows}})", columns("id"))
    for table, key in (
        ("event", "execution_id"),
        ("journal", "execution_id"),
        ("segment", "execution_id"),
        ("execution", "id"),
    )
)
_UNREFERENCED = Batched(
    "DELETE FROM blob WHERE hash IN (SELECT r.hash FROM {rows}) "
    "AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.blob = blob.hash) "
    "AND NOT EXISTS (SELECT 1 FROM execution e WHERE e.input_blob = blob.hash) "
    "AND NOT EXISTS (SELECT 1 FROM execution e WHERE e.output_blob = blob.hash) RETURNING hash",
    columns("hash"),
)


@dataclass(slots=True)
class Purged:
    """How much is gone."""

    executions: int = 0
    blobs: int = 0
    marks: int = 0


def purge(
    database: Database, cutoff: int, now: int, progress: Callable[[Purged], None] = lambda _: None
) -> Purged:
    """Delete executions that ended before `cutoff` (milliseconds), and what only they referred to.

    Safe to break off and to repeat. Raises `Unavailable`.
    """
    gone = Purged()
    try:
        connection = database.connect()
        try:
            bases = {row[0] for row in connection.run(_BASES, (cutoff,))}
            place = _Place()
            while _batch(connection, cutoff, bases, place, gone):
                progress(gone)
            connection.begin()
            old = connection.run("DELETE FROM ledger_mark WHERE at < ? RETURNING writer", (now - MARKS_KEPT,))
            connection.commit()
            gone.marks = len(old)
        finally:
            connection.close()
    except database.lost as error:
        message = "The database cannot be reached."
        hint = "What was deleted is gone; run it again for the rest."
        raise Unavailable(message, hint=hint) from error
    return gone


@dataclass(slots=True)
class _Place:
    """How far the walk over ended executions has come; what is kept is passed by."""

    finished_at: int = 0
    id: str = ""
    passed: set[str] = field(default_factory=set)


def _batch(connection: Connection, cutoff: int, bases: set[str], place: _Place, gone: Purged) -> bool:
    """Delete one batch in one transaction. Returns whether there may be more."""
    connection.begin()
    try:
        if connection.dialect == "postgresql":
            connection.run("LOCK TABLE blob IN EXCLUSIVE MODE")
        found = connection.run(_ENDED, (cutoff, place.finished_at, "", BATCH + len(place.passed)))
        fresh = [row for row in found if row[0] not in place.passed]
        kept = {row[0] for row in fresh if row[0] in bases}
        doomed = [(row[0],) for row in fresh if row[0] not in kept]
        if doomed:
            blobs = {row[0] for row in connection.batch(_BLOBS, doomed)}
            blobs |= {name for row in fresh if row[0] not in kept for name in row[1:3] if name}
            for statement in _FORGET:
                connection.batch(statement, doomed)
            if blobs:
                gone.blobs += len(connection.batch(_UNREFERENCED, [(each,) for each in sorted(blobs)]))
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    gone.executions += len(doomed)
    if fresh and fresh[-1][3] > place.finished_at:
        place.finished_at, place.passed = fresh[-1][3], {row[0] for row in fresh if row[3] == fresh[-1][3]} & kept
    else:
        place.passed |= kept
    return bool(fresh)
