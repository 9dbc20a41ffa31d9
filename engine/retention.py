"""Retention: let go of what ended long ago, on a running installation, a batch at a time.

What is still referred to stays: an execution with a segment at work, one that a later execution is based on, a blob that
anything else names. What refers to a blob is written in the blob's own transaction, so on PostgreSQL a short lock on the
blob table makes the check hold; SQLite has one writer anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.errors import Unavailable
from engine.store.database import Connection, Database
from engine.store.sql import Batched, columns

BATCH = 200
MARKS_KEPT = 86_400_000
"""How long a writer's mark is kept, in milliseconds: it answers questions about a commit of a moment ago."""

_ENDED = (
    "SELECT e.finished_at, e.id, e.input_blob, e.output_blob FROM execution e "
    "WHERE e.finished_at < ? AND (e.finished_at, e.id) > (?, ?) AND NOT EXISTS (SELECT 1 FROM segment s "
    "WHERE s.execution_id = e.id AND s.status = 'running') ORDER BY e.finished_at, e.id LIMIT ?"
)
_BASES = (
    "SELECT DISTINCT base FROM execution WHERE base IS NOT NULL AND (finished_at IS NULL OR finished_at >= ?)"
)
_BLOBS = Batched(
    "SELECT DISTINCT j.blob FROM {rows} JOIN journal j ON j.execution_id = r.id WHERE j.blob IS NOT NULL",
    columns("id"),
)
_FORGET = (
    Batched("DELETE FROM event WHERE execution_id IN (SELECT r.id FROM {rows})", columns("id")),
    Batched("DELETE FROM journal WHERE execution_id IN (SELECT r.id FROM {rows})", columns("id")),
    Batched("DELETE FROM hold WHERE execution_id IN (SELECT r.id FROM {rows})", columns("id")),
    Batched("DELETE FROM segment WHERE execution_id IN (SELECT r.id FROM {rows})", columns("id")),
    Batched("DELETE FROM execution WHERE id IN (SELECT r.id FROM {rows})", columns("id")),
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
            place: _Place | None = (0, "")
            while place is not None:
                place = _batch(connection, cutoff, bases, place, gone)
                progress(gone)
            connection.begin()
            old = connection.run("DELETE FROM ledger_mark WHERE at < ? RETURNING writer", (now - MARKS_KEPT,))
            connection.commit()
            gone.marks = len(old)
        finally:
            connection.close()
    except Exception as error:
        if database.judge(error) == "own":
            raise
        message = "The database does not answer."
        hint = "What was deleted is gone; run it again for the rest."
        raise Unavailable(message, hint=hint) from error
    return gone


_Place = tuple[int, str]
"""(finished_at, id) of the last execution that was looked at."""


def _batch(
    connection: Connection, cutoff: int, bases: set[str], place: _Place, gone: Purged
) -> _Place | None:
    """Delete one batch in one transaction. Returns where the next one starts, or None when there is none."""
    connection.begin()
    try:
        if connection.dialect == "postgresql":
            connection.run("LOCK TABLE blob IN EXCLUSIVE MODE")
        found = connection.run(_ENDED, (cutoff, *place, BATCH))
        doomed = [row for row in found if row[1] not in bases]
        ids = [(row[1],) for row in doomed]
        blobs: set[str] = {name for row in doomed for name in row[2:] if name}
        let_go = 0
        if ids:
            blobs |= {row[0] for row in connection.batch(_BLOBS, ids)}
            for statement in _FORGET:
                connection.batch(statement, ids)
        if blobs:
            let_go = len(connection.batch(_UNREFERENCED, [(each,) for each in sorted(blobs)]))
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    gone.executions += len(ids)
    gone.blobs += let_go
    return (found[-1][0], found[-1][1]) if len(found) == BATCH else None
