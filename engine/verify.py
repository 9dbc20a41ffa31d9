"""Whether a database keeps what was promised: invariants over its tables, read as of one instant, while everything runs.

It decides nothing and changes nothing. What is under way is no violation; what could not be so at any instant is. A
violation has a place to look at and a remedy. Broken invariants have the numbers they are known under in docs/operations.md.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from engine.definition import content_hash
from engine.states import EXECUTION_FINAL
from engine.store.database import Connection

SHOWN: Final = 100
"""Violations of one invariant that are told; more of them are counted."""

_AT_ONCE: Final = 500
_STUCK = (
    "Keep what `celeriac executions show {}` says, and report it. Then `celeriac executions cancel {} --force`, and start "
    "it again."
)
_ALTERED = "It was altered outside of Celeriac, or the disk is ill. Check the disk, restore a backup beside it, and compare."


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise. `place` is the id of the row, or of the execution, to look at."""

    invariant: str
    place: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found, how many of each invariant in all, and how much was looked at."""

    violations: tuple[Violation, ...]
    counts: Mapping[str, int]
    executions: int

    @property
    def sound(self) -> bool:
        """Whether everything holds."""
        return not self.counts


def verify(connection: Connection) -> Verdict:
    """Look at the whole database as of one instant. Others go on meanwhile."""
    counts: Counter[str] = Counter()
    shown: list[Violation] = []
    with _instant(connection):
        ((executions,),) = connection.run("SELECT count(*) FROM execution")
        for each in violations(connection):
            counts[each.invariant] += 1
            if counts[each.invariant] <= SHOWN:
                shown.append(each)
    return Verdict(tuple(shown), dict(sorted(counts.items())), executions)


@contextmanager
def _instant(connection: Connection) -> Iterator[None]:
    """Read everything as of one instant. What scans a table may take its time, and the planner its own way."""
    if connection.dialect == "postgresql":
        connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for setting in ("statement_timeout = 0", "enable_seqscan = on", "enable_hashjoin = on"):
            connection.run(f"SET LOCAL {setting}")
    else:
        connection.run("BEGIN")
    try:
        yield
    finally:
        connection.run("ROLLBACK")


def violations(connection: Connection) -> Iterator[Violation]:
    """Yield everything that is wrong, as the transaction of the connection sees it."""
    for each in _RULES:
        for place, *values in connection.run(each.sql):
            remedy = each.remedy.replace("{}", str(place))
            yield Violation(each.invariant, str(place), each.text.format(*values), remedy)
    for look in (_histories, _versions, _blobs):
        yield from look(connection)


@dataclass(frozen=True, slots=True)
class _Rule:
    """An invariant as a query for what breaks it: rows of a place and what the text says of it."""

    invariant: str
    sql: str
    text: str
    remedy: str


_FINAL = f"({', '.join(sorted(repr(str(each)) for each in EXECUTION_FINAL))})"
_RESTING = "('blocked', 'ready', 'waiting', 'backing_off', 'uncertain', 'quarantined')"
_MOVED_BY = "('ready', 'running', 'waiting', 'backing_off', 'uncertain', 'quarantined')"


def _apart(table: str) -> _Rule:
    """A table's rows belong to executions, and to their projects."""
    return _Rule(
        "I19",
        f"SELECT t.execution_id, t.project_id, e.project_id FROM {table} t JOIN execution e ON e.id = t.execution_id "
        "WHERE t.project_id <> e.project_id",
        f"a row of {table} is of the project {{}}, and the execution of {{}}",
        _ALTERED,
    )


def _owned(table: str) -> _Rule:
    return _Rule(
        "I10",
        f"SELECT DISTINCT t.execution_id FROM {table} t WHERE NOT EXISTS "
        "(SELECT 1 FROM execution e WHERE e.id = t.execution_id)",
        f"there are rows of {table} of it, and it is not there",
        _ALTERED,
    )


def _named(table: str, column: str, place: str = "execution_id") -> _Rule:
    return _Rule(
        "I3",
        f"SELECT t.{place}, t.{column} FROM {table} t WHERE t.{column} IS NOT NULL AND NOT EXISTS "
        f"(SELECT 1 FROM blob b WHERE b.hash = t.{column})",
        f"{table} names the value {{}}, and it is not there",
        _ALTERED,
    )


_RULES: Final[Sequence[_Rule]] = (
    _Rule(
        "I1",
        "SELECT min(id), project_id, idempotency_key, count(*) FROM execution WHERE idempotency_key IS NOT NULL "
        "GROUP BY project_id, idempotency_key HAVING count(*) > 1",
        "in {} the key {} has started {} executions",
        "The index execution_key is missing: `celeriac migrate` on a copy shows it. Cancel the later ones.",
    ),
    _Rule(
        "I2",
        "SELECT e.id, e.status FROM execution e WHERE e.finished_at IS NULL AND NOT EXISTS "
        f"(SELECT 1 FROM segment s WHERE s.execution_id = e.id AND s.status IN {_MOVED_BY})",
        "it is {}, and nothing of it can move any more",
        _STUCK,
    ),
    _Rule(
        "I2",
        "SELECT s.execution_id, s.segment, s.item, s.status FROM segment s JOIN execution e ON e.id = s.execution_id "
        "WHERE s.due IS NULL AND (s.status IN ('running', 'backing_off') "
        "OR (s.status = 'ready' AND e.pause_at IS NULL AND e.finished_at IS NULL))",
        "its segment {} {} is {}, and has no time at which anybody looks at it",
        _STUCK,
    ),
    _Rule(
        "I2",
        "SELECT s.execution_id, s.segment, s.child FROM segment s JOIN execution c ON c.id = s.child "
        "JOIN execution e ON e.id = s.execution_id "
        "WHERE s.status = 'waiting' AND c.finished_at IS NOT NULL AND c.told = 1 AND e.finished_at IS NULL "
        "AND c.parent_execution = s.execution_id",
        "its segment {} waits for {}, which has ended and has told so",
        _STUCK,
    ),
    _Rule(
        "I3",
        "SELECT execution_id, segment, item, pending FROM segment WHERE pending < 0",
        "more has arrived at its segment {} {} than leads to it: {}",
        _ALTERED,
    ),
    _named("journal", "blob"),
    _named("signal", "blob"),
    _named("approval", "blob"),
    _named("execution", "input_blob", "id"),
    _named("execution", "output_blob", "id"),
    _named("execution", "answer_blob", "id"),
    _Rule(
        "I8",
        "SELECT execution_id, segment, item, status, owner FROM segment WHERE (status = 'running') <> (owner IS NOT NULL)",
        "its segment {} {} is {}, and its owner {}",
        _STUCK,
    ),
    _Rule(
        "I10",
        f"SELECT id, status, finished_at FROM execution WHERE (status IN {_FINAL}) <> (finished_at IS NOT NULL)",
        "it is {}, and the time of its end {}",
        _ALTERED,
    ),
    _owned("segment"),
    _owned("journal"),
    _owned("event"),
    _Rule(
        "I11",
        "SELECT e.id, e.open, (SELECT count(*) FROM segment s WHERE s.execution_id = e.id "
        "AND s.status IN ('ready', 'running')) FROM execution e WHERE e.finished_at IS NULL AND e.open <> "
        "(SELECT count(*) FROM segment s WHERE s.execution_id = e.id AND s.status IN ('ready', 'running'))",
        "{} of its segments are counted as at work, and there are {}",
        _STUCK,
    ),
    _Rule(
        "I14",
        "SELECT execution_id, event_id, count(*) FROM signal WHERE event_id IS NOT NULL "
        "GROUP BY execution_id, event_id HAVING count(*) > 1",
        "the event {} has ended {} of its waits",
        _ALTERED,
    ),
    _Rule(
        "I14",
        "SELECT a.id, a.execution_id FROM approval a JOIN execution e ON e.id = a.execution_id "
        "WHERE a.status = 'open' AND e.finished_at IS NOT NULL",
        "people are still asked, and {} has ended",
        "It does no harm: whoever decides is told that it is over.",
    ),
    _Rule(
        "I16",
        "SELECT e.id, e.version_id FROM execution e WHERE NOT EXISTS "
        "(SELECT 1 FROM workflow_version v WHERE v.id = e.version_id AND v.workflow_id = e.workflow_id)",
        "its version {} is not one of its workflow",
        _ALTERED,
    ),
    _Rule(
        "I17",
        "SELECT min(execution_id), project_id, key, count(*), max(most) FROM hold WHERE granted = 1 AND most > 0 "
        "GROUP BY project_id, key HAVING count(*) > max(most)",
        "in {} the key {} is held by {}, and may be by {}",
        "What holds it ends as it would. Tell us with `celeriac executions show {}`.",
    ),
    _Rule(
        "I18",
        "SELECT h.execution_id, h.key FROM hold h LEFT JOIN execution e ON e.id = h.execution_id "
        "WHERE e.id IS NULL OR (h.segment = -1 AND e.finished_at IS NOT NULL)",
        "it has ended, and holds the key {}",
        _ALTERED,
    ),
    _Rule(
        "I18",
        "SELECT s.execution_id, s.segment, s.item, s.status, e.status FROM segment s "
        "JOIN execution e ON e.id = s.execution_id WHERE e.finished_at IS NOT NULL "
        f"AND (s.status IN {_RESTING} OR (s.status = 'running' AND s.stop = 0))",
        "its segment {} {} is {}, and it has ended as {}",
        _ALTERED,
    ),
    _Rule(
        "I19",
        "SELECT e.id, e.project_id, w.project_id FROM execution e JOIN workflow w ON w.id = e.workflow_id "
        "WHERE w.project_id <> e.project_id",
        "it is of the project {}, and its workflow of {}",
        _ALTERED,
    ),
    _apart("event"),
    _apart("hold"),
    _apart("signal"),
    _apart("subscription"),
    _apart("approval"),
)


def _pages(connection: Connection, sql: str, first: str = "") -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a query by their first column, some at a time. It has marks for the last one seen and how many."""
    last = first
    while rows := connection.run(sql, (last, _AT_ONCE)):
        yield rows
        last = rows[-1][0]


def _histories(connection: Connection) -> Iterator[Violation]:
    """I3, I7, I10 and I12: the events of each execution are gapless, end with its end, and say nothing twice."""
    slots: set[tuple[str, str]] = set()
    page = "SELECT id, status, seq, base, trigger_event, finished_at FROM execution WHERE id > ? ORDER BY id LIMIT ?"
    for rows in _pages(connection, page):
        events: dict[str, list[tuple[Any, ...]]] = {}
        between = (rows[0][0], rows[-1][0])
        for name, *fields in connection.run(
            "SELECT execution_id, seq, count, epoch, body FROM event WHERE execution_id >= ? AND execution_id <= ? "
            "ORDER BY execution_id, seq",
            between,
        ):
            events.setdefault(name, []).append(tuple(fields))
        fences: dict[str, dict[tuple[int, str], int]] = {}
        for name, segment, item, epoch in connection.run(
            "SELECT execution_id, segment, item, epoch FROM segment WHERE execution_id >= ? AND execution_id <= ?",
            between,
        ):
            fences.setdefault(name, {})[segment, item] = epoch
        for name, status, seq, base, trigger, finished_at in rows:
            ended = str(status) if finished_at is not None else None
            yield from _history(name, ended, seq, events.get(name, []), fences.get(name, {}))
            slot = json.loads(trigger)
            if base is None and "scheduled_at" in slot and slot.get("parent") is None:
                key = (slot["schedule"], slot["scheduled_at"])
                if key in slots:
                    text = f"the slot {key[1]} of {key[0]} has started another one before it"
                    yield Violation(
                        "I12", name, text, "Cancel the later one, if what it does may not be done twice."
                    )
                slots.add(key)


def _history(
    name: str,
    ended: str | None,
    last: int,
    rows: Sequence[tuple[Any, ...]],
    fences: Mapping[tuple[int, str], int],
) -> Iterator[Violation]:
    following, kinds = 1, Counter[str]()
    ends: Counter[tuple[str, str]] = Counter()
    claimed: dict[tuple[int, str], int] = {}
    for seq, count, epoch, text in rows:
        try:
            bodies = json.loads(text)
        except ValueError:
            yield Violation("I10", name, f"its event {seq} cannot be read", _ALTERED)
            bodies = []
        if seq != following or count != len(bodies):
            yield Violation(
                "I10",
                name,
                f"its event {following} is followed by {seq}, with {len(bodies)} of {count}",
                _ALTERED,
            )
        following = seq + count
        for kind, about, _, more in bodies:
            kinds[kind] += 1
            if kind in ("node.succeeded", "node.failed"):
                ends[about, more.get("item", "")] += 1
            elif kind == "segment.claimed":
                key = (about, more.get("item", ""))
                claimed[key] = max(epoch, claimed.get(key, 0))
    if following - 1 != last:
        yield Violation(
            "I10", name, f"its history has {following - 1} events, and should have {last}", _ALTERED
        )
    for (node, item), times in ends.items():
        if times > 1:
            yield Violation("I3", name, f"its node {node} {item} came to an end {times} times", _ALTERED)
    told = [f"execution.{each}" for each in EXECUTION_FINAL if kinds[f"execution.{each}"]]
    if rows and told != ([f"execution.{ended}"] if ended else []):
        yield Violation("I10", name, f"it is {ended or 'under way'}, and its history says {told}", _ALTERED)
    for key, epoch in claimed.items():
        if fences.get(key, epoch) < epoch:
            text = f"its segment {key[0]} {key[1]} is at fence {fences[key]}, and was claimed under {epoch}"
            yield Violation("I7", name, text, _ALTERED)


def _versions(connection: Connection) -> Iterator[Violation]:
    """I16: definitions are what they were when they were saved."""
    for rows in _pages(
        connection, "SELECT id, hash, document FROM workflow_version WHERE id > ? ORDER BY id LIMIT ?"
    ):
        for name, digest, text in rows:
            if _of_document(text) != digest:
                yield Violation("I16", name, "its definition is not the one that was saved", _ALTERED)


def _of_document(text: str) -> str | None:
    try:
        return content_hash(json.loads(text))
    except (ValueError, KeyError, TypeError):
        return None


def _blobs(connection: Connection) -> Iterator[Violation]:
    """I3: large values are what they were when they were written."""
    for rows in _pages(connection, "SELECT hash, body FROM blob WHERE hash > ? ORDER BY hash LIMIT ?"):
        for digest, text in rows:
            if hashlib.sha256(text.encode()).hexdigest() != digest:
                yield Violation("I3", digest, "this value is not the one that was written", _ALTERED)
