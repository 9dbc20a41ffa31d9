"""Retention: let go of what ended long ago, on a running installation, a batch at a time.

What is still referred to stays: an execution with a segment at work, one that a later execution is based on, one whose
caller has not ended, a blob that anything else names. What refers to a blob is written in the blob's own transaction, so
on PostgreSQL a short lock on the blob table makes the check hold; SQLite has one writer anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine import nested
from engine.errors import Unavailable
from engine.store.database import Connection, Database
from engine.store.sql import Batched, columns

BATCH = 200
MARKS_KEPT = 86_400_000
"""How long a writer's mark is kept, in milliseconds: it answers questions about a commit of a moment ago."""
EVENTS_LEFT = 3_600_000
"""How long an event stays after it has expired, in milliseconds: whoever has just read it may still be writing."""

_ENDED = (
    "SELECT e.finished_at, e.id, e.input_blob, e.output_blob, e.answer_blob FROM execution e "
    "WHERE e.finished_at < ? AND (e.finished_at, e.id) > (?, ?) AND NOT EXISTS (SELECT 1 FROM segment s "
    "WHERE s.execution_id = e.id AND s.status = 'running') AND NOT EXISTS (SELECT 1 FROM execution p "
    "WHERE p.id = e.parent_execution AND p.finished_at IS NULL) ORDER BY e.finished_at, e.id LIMIT ?"
)
_BASES = (
    "SELECT DISTINCT base FROM execution WHERE base IS NOT NULL AND (finished_at IS NULL OR finished_at >= ?)"
)
_BLOBS = Batched(
    "SELECT DISTINCT j.blob FROM {rows} JOIN journal j ON j.execution_id = r.id WHERE j.blob IS NOT NULL",
    columns("id"),
)
_SIGNAL_BLOBS = Batched(
    "SELECT DISTINCT g.blob FROM {rows} JOIN signal g ON g.execution_id = r.id WHERE g.blob IS NOT NULL",
    columns("id"),
)
_APPROVAL_BLOBS = Batched(
    "SELECT DISTINCT a.blob FROM {rows} JOIN approval a ON a.execution_id = r.id WHERE a.blob IS NOT NULL",
    columns("id"),
)
_FORGET = (
    Batched(
        "DELETE FROM approval_vote WHERE approval_id IN "
        "(SELECT a.id FROM {rows} JOIN approval a ON a.execution_id = r.id)",
        columns("id"),
    ),
    Batched("DELETE FROM approval WHERE execution_id IN (SELECT r.id FROM {rows})", columns("id")),
    Batched("DELETE FROM subscription WHERE execution_id IN (SELECT r.id FROM {rows})", columns("id")),
    Batched("DELETE FROM signal WHERE execution_id IN (SELECT r.id FROM {rows})", columns("id")),
    Batched("DELETE FROM event WHERE execution_id IN (SELECT r.id FROM {rows})", columns("id")),
    Batched("DELETE FROM journal WHERE execution_id IN (SELECT r.id FROM {rows})", columns("id")),
    Batched("DELETE FROM hook_delivery WHERE execution_id IN (SELECT r.id FROM {rows})", columns("id")),
    Batched("DELETE FROM usage WHERE execution_id IN (SELECT r.id FROM {rows})", columns("id")),
    Batched(
        "DELETE FROM budget WHERE (project_id, scope) IN (SELECT b.project_id, b.scope FROM {rows} "
        "JOIN execution e ON e.id = r.id JOIN budget b ON b.project_id = e.project_id "
        "AND (b.scope = 'execution:' || e.id OR (b.scope > 'node:' || e.id || ':' AND b.scope < 'node:' || e.id || ';')))",
        columns("id"),
    ),
    Batched("DELETE FROM hold WHERE execution_id IN (SELECT r.id FROM {rows})", columns("id")),
    Batched("DELETE FROM segment WHERE execution_id IN (SELECT r.id FROM {rows})", columns("id")),
    Batched("DELETE FROM execution WHERE id IN (SELECT r.id FROM {rows})", columns("id")),
)
_UNREFERENCED = Batched(
    "DELETE FROM blob WHERE hash IN (SELECT r.hash FROM {rows}) "
    "AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.blob = blob.hash) "
    "AND NOT EXISTS (SELECT 1 FROM signal g WHERE g.blob = blob.hash) "
    "AND NOT EXISTS (SELECT 1 FROM approval a WHERE a.blob = blob.hash) "
    "AND NOT EXISTS (SELECT 1 FROM event_log l WHERE l.blob = blob.hash) "
    "AND NOT EXISTS (SELECT 1 FROM execution e WHERE e.input_blob = blob.hash) "
    "AND NOT EXISTS (SELECT 1 FROM execution e WHERE e.output_blob = blob.hash) "
    "AND NOT EXISTS (SELECT 1 FROM execution e WHERE e.answer_blob = blob.hash) RETURNING hash",
    columns("hash"),
)

_FORGET_WORKFLOW = (
    "DELETE FROM inbox WHERE source IN (SELECT s.id FROM schedule s WHERE s.workflow_id = ?)",
    "DELETE FROM inbox WHERE source IN (SELECT p.id FROM endpoint p WHERE p.workflow_id = ?)",
    "DELETE FROM inbox WHERE source IN (SELECT t.id FROM event_trigger t WHERE t.workflow_id = ?)",
    "DELETE FROM schedule WHERE workflow_id = ?",
    "DELETE FROM endpoint WHERE workflow_id = ?",
    "DELETE FROM event_trigger WHERE workflow_id = ?",
    "DELETE FROM hook_delivery WHERE hook_id IN (SELECT h.id FROM hook h WHERE h.workflow_id = ?)",
    "DELETE FROM hook WHERE workflow_id = ?",
    "DELETE FROM budget WHERE scope = 'workflow:' || ?",
    "DELETE FROM workflow_alias WHERE workflow_id = ?",
    "DELETE FROM workflow_version WHERE workflow_id = ?",
    "DELETE FROM workflow WHERE id = ?",
)
"""What goes with a workflow that was deleted, in an order in which what is still needed to find something goes last."""

_EXPIRED = (
    "DELETE FROM event_log WHERE id IN (SELECT l.id FROM event_log l WHERE l.expires_at <= ? "
    "ORDER BY l.expires_at LIMIT ?) RETURNING blob"
)


_ARRIVED = (
    "DELETE FROM inbox WHERE (source, key) IN (SELECT i.source, i.key FROM inbox i WHERE i.at < ? AND NOT EXISTS "
    "(SELECT 1 FROM execution e WHERE e.id = i.execution_id) ORDER BY i.at LIMIT ?) RETURNING source"
)
"""What arrived at triggers and has nothing left of it."""
_CACHED = (
    "DELETE FROM cache_entry WHERE (project_id, digest) IN (SELECT c.project_id, c.digest FROM cache_entry c "
    "WHERE c.expires_at <= ? OR c.project_id IN (SELECT p.id FROM project p WHERE p.deleted_at IS NOT NULL) "
    "LIMIT ?) RETURNING digest"
)
"""What nodes keep, when its time is over or its project is gone."""

ARRIVALS_KEPT = 86_400_000
"""How long the id of a delivery is remembered at least, in milliseconds."""


@dataclass(slots=True)
class Purged:
    """How much is gone."""

    executions: int = 0
    events: int = 0
    blobs: int = 0
    marks: int = 0
    sessions: int = 0
    arrivals: int = 0
    workflows: int = 0
    cached: int = 0


def purge(
    database: Database, cutoff: int, now: int, progress: Callable[[Purged], None] = lambda _: None
) -> Purged:
    """Delete executions that ended before `cutoff` (milliseconds), what only they referred to, and events and entries of the
    cache that have expired; also what arrived at triggers by then, if nothing is left of it, and workflows that were deleted by
    then, likewise.

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
            while _forget_events(connection, now, gone):
                progress(gone)
            while _forget_arrivals(connection, min(cutoff, now - ARRIVALS_KEPT), gone):
                progress(gone)
            while _forget_cached(connection, now, gone):
                progress(gone)
            gone.workflows = _forget_workflows(connection, cutoff)
            connection.begin()
            old = connection.run("DELETE FROM ledger_mark WHERE at < ? RETURNING writer", (now - MARKS_KEPT,))
            connection.commit()
            gone.marks = len(old)
            connection.begin()
            over = connection.run("DELETE FROM session WHERE until < ? RETURNING id", (now,))
            connection.run("DELETE FROM invitation WHERE expires_at < ?", (now,))
            connection.commit()
            gone.sessions = len(over)
        finally:
            connection.close()
    except Exception as error:
        if database.judge(error) == "own":
            raise
        message = "The database does not answer."
        hint = "What was deleted is gone; run it again for the rest."
        raise Unavailable(message, hint=hint) from error
    return gone


def _forget_events(connection: Connection, now: int, gone: Purged) -> bool:
    """Delete published events that nobody may look back at any more, one batch. Returns whether there may be more."""
    connection.begin()
    try:
        if connection.dialect == "postgresql":
            connection.run("LOCK TABLE blob IN EXCLUSIVE MODE")
        expired = connection.run(_EXPIRED, (now - EVENTS_LEFT, BATCH))
        blobs = sorted({name for (name,) in expired if name})
        let_go = len(connection.batch(_UNREFERENCED, [(each,) for each in blobs])) if blobs else 0
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    gone.events += len(expired)
    gone.blobs += let_go
    return len(expired) == BATCH


def _forget_arrivals(connection: Connection, before: int, gone: Purged) -> bool:
    """Delete arrivals of which nothing is left, one batch. Returns whether there may be more."""
    connection.begin()
    try:
        arrived = connection.run(_ARRIVED, (before, BATCH))
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    gone.arrivals += len(arrived)
    return len(arrived) == BATCH


def _forget_cached(connection: Connection, now: int, gone: Purged) -> bool:
    """Delete what nodes keep and nobody may use any more, one batch. Returns whether there may be more."""
    connection.begin()
    try:
        expired = connection.run(_CACHED, (now, BATCH))
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    gone.cached += len(expired)
    return len(expired) == BATCH


def _forget_workflows(connection: Connection, cutoff: int) -> int:
    """Delete workflows that were deleted before `cutoff` and have no execution left, with their versions and triggers, each in a
    transaction of its own. Returns how many.
    """
    rows = connection.run("SELECT id FROM workflow WHERE deleted_at < ? ORDER BY id", (cutoff,))
    count = 0
    for (name,) in rows:
        connection.begin()
        try:
            family = _family(connection, name)
            if not any(
                connection.run("SELECT 1 FROM execution WHERE workflow_id = ? LIMIT 1", (each,))
                for each in family
            ):
                for each in family:
                    for statement in _FORGET_WORKFLOW:
                        connection.run(statement, (each,))
                count += 1
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
    return count


def _family(connection: Connection, workflow: str) -> list[str]:
    """Return a workflow and those that are written inside of its versions, at any depth."""
    found = [workflow]
    for each in found:
        for (version,) in connection.run("SELECT id FROM workflow_version WHERE workflow_id = ?", (each,)):
            inner = connection.run(
                "SELECT id FROM workflow WHERE hidden = 1 AND substr(name, 1, ?) = ?",
                (len(version) + len(nested.MARK), version + nested.MARK),
            )
            found.extend(name for (name,) in inner)
    return found


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
            for question in (_BLOBS, _SIGNAL_BLOBS, _APPROVAL_BLOBS):
                blobs |= {row[0] for row in connection.batch(question, ids)}
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
