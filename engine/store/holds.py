"""The SQL of limits, as text, one statement per look or change. Only `transitions` runs what writes.

A hold stands for a segment by its key, or for a whole execution by the segment -1.
"""

from __future__ import annotations

from engine.store.sql import Batched, columns
from engine.store.statements import ALIVE, LOCK_EXECUTIONS

_KEY = columns("execution_id segment item", segment="bigint")
_OWN = "hold.execution_id = r.execution_id AND hold.segment = r.segment AND hold.item = r.item"
_FIRST = "CASE WHEN h.segment < 0 THEN 0 ELSE h.segment END"
_PARKED = "s.status = 'waiting' AND s.reason = 'limit'"
"""Waits for a limit, and for nothing that it has come to itself: a call, a signal, instances."""
_PENDING = "e.pause_at IS NULL AND e.finished_at IS NULL"
"""Whose execution is held is passed over, and keeps its place."""

ASKED = Batched(
    "SELECT s.execution_id, s.segment, s.item, h.key, h.granted, h.until FROM {rows} JOIN segment s "
    "ON s.execution_id = r.execution_id AND s.segment = r.segment AND s.item = r.item LEFT JOIN hold h "
    "ON h.execution_id = r.execution_id AND h.segment = r.segment AND h.item = r.item WHERE s.status = 'ready'",
    _KEY,
)
"""What those who ask have already, if they may ask: their segments are ready."""

_ENDED = (
    "SELECT h.execution_id, h.segment, h.item, h.project_id, h.key FROM {{rows}} JOIN hold h "
    "ON h.execution_id = r.id WHERE {} (CASE WHEN h.segment < 0 THEN r.final = 1 ELSE NOT EXISTS "
    "(SELECT 1 FROM segment s WHERE s.execution_id = h.execution_id AND s.segment = h.segment AND s.item = h.item "
    f"AND s.status IN {ALIVE}) END)"
)
ENDED = Batched(_ENDED.format("h.granted = 1 AND"), columns("id final", final="bigint"))
"""The slots whose holders have ended."""

ENDED_OR_GONE = Batched(_ENDED.format(""), columns("id final", final="bigint"))
"""The same, with the places in queues of those that were stopped."""

OF_EXECUTION = Batched(
    "SELECT h.execution_id, h.segment, h.item, h.project_id, h.key, h.granted, s.queue, "
    f"CASE WHEN h.granted = 1 AND {_PARKED} AND s.due IS NULL THEN 1 ELSE 0 END "
    "FROM {rows} JOIN hold h ON h.execution_id = r.id JOIN segment s ON s.execution_id = h.execution_id "
    f"AND s.segment = {_FIRST} AND s.item = h.item",
    columns("id"),
)
"""All that an execution holds or waits for; the last column says who was let in and has not heard of it."""

LOCK_KEYS = Batched("SELECT pg_advisory_xact_lock(r.number) FROM {rows}", columns("number", number="bigint"))
"""PostgreSQL only, with the numbers in order; SQLite has one writer anyway."""

STANDING = Batched(
    "SELECT r.project_id, r.key, (SELECT count(*) FROM hold h WHERE h.project_id = r.project_id AND h.key = r.key "
    "AND h.granted = 1), (SELECT 1 FROM hold h WHERE h.project_id = r.project_id AND h.key = r.key AND h.granted = 0 LIMIT 1) "
    "FROM {rows}",
    columns("project_id key"),
)
"""How many hold a key, and whether anybody waits for it."""

QUEUED = Batched(
    "SELECT r.project_id, r.key, (SELECT count(*) FROM hold h WHERE h.project_id = r.project_id AND h.key = r.key "
    "AND h.granted = 0) FROM {rows}",
    columns("project_id key"),
)
STANDING_FOR_OTHERS = (
    "SELECT h.execution_id FROM hold h WHERE h.project_id = ? AND h.key = ? AND h.granted = 0 AND h.segment = -1 "
    "ORDER BY h.rank, h.place LIMIT 1"
)
OUTDONE = (
    "SELECT h.execution_id FROM hold h WHERE h.project_id = ? AND h.key = ? AND h.segment = -1 "
    "ORDER BY h.place DESC LIMIT 1000 OFFSET ?"
)
"""The executions under a key or in its queue that came before so many others."""

NEXT = (
    "SELECT h.execution_id, h.segment, h.item, h.most, s.queue, h.rank, h.place FROM hold h "
    f"JOIN execution e ON e.id = h.execution_id JOIN segment s ON s.execution_id = h.execution_id AND s.segment = {_FIRST} "
    f"AND s.item = h.item WHERE h.project_id = ? AND h.key = ? AND h.granted = 0 AND {_PENDING} "
    "AND s.status = 'waiting' ORDER BY h.rank, h.place LIMIT ?"
)

_ROW = columns(
    "execution_id segment item project_id key most granted rank place until",
    segment="bigint",
    most="bigint",
    granted="bigint",
    rank="bigint",
    place="bigint",
    until="bigint",
)
TAKE = Batched(
    f"INSERT INTO hold ({', '.join(name for name, _ in _ROW)}) "
    f"SELECT {', '.join(f'r.{name}' for name, _ in _ROW)} FROM {{rows}} WHERE true "
    "ON CONFLICT (execution_id, segment, item) DO UPDATE SET granted = excluded.granted, until = excluded.until",
    _ROW,
)
GRANT = Batched("UPDATE hold SET granted = 1 FROM {rows} WHERE " + _OWN, _KEY)
GIVE_BACK = Batched(
    "DELETE FROM hold WHERE (execution_id, segment, item) IN (SELECT r.execution_id, r.segment, r.item FROM {rows}) "
    "RETURNING project_id, key, granted",
    _KEY,
)
LEAVE_QUEUE = Batched(
    "DELETE FROM hold WHERE granted = 0 AND (execution_id, segment, item) IN "
    "(SELECT r.execution_id, r.segment, r.item FROM {rows})",
    _KEY,
)
LIMIT_EXECUTIONS = Batched(
    "UPDATE execution SET limited = 1 FROM {rows} WHERE execution.id = r.id", columns("id")
)
LOCK_FREE_EXECUTIONS = Batched(LOCK_EXECUTIONS.text.replace("{lock}", "{lock_free}"), columns("id"))

PARK = Batched(
    "UPDATE segment SET status = 'waiting', due = r.due, reason = 'limit' FROM {rows} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item "
    "AND segment.status = 'ready'",
    columns("execution_id segment item due", segment="bigint", due="bigint"),
)
PARK_FIRST = Batched(
    "UPDATE segment SET reason = 'limit' FROM {rows} WHERE segment.execution_id = r.execution_id AND segment.segment = 0 "
    "AND segment.status = 'waiting'",
    columns("execution_id"),
)
ADMIT = Batched(
    "UPDATE segment SET status = 'ready', ready_at = r.now, due = r.due, reason = NULL FROM {rows} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item "
    "AND segment.status = 'waiting' AND segment.reason = 'limit' AND segment.due IS NULL "
    "RETURNING segment.execution_id, segment.segment, segment.item",
    columns("execution_id segment item now due", segment="bigint", now="bigint", due="bigint"),
)

EXPECTED = Batched(
    "SELECT t.project_id, t.key, t.expected FROM {rows} JOIN rate t ON t.project_id = r.project_id AND t.key = r.key",
    columns("project_id key"),
)
EXPECT = Batched(
    "INSERT INTO rate (project_id, key, expected) SELECT r.project_id, r.key, r.expected FROM {rows} WHERE true "
    "ON CONFLICT (project_id, key) DO UPDATE SET expected = excluded.expected",
    columns("project_id key expected", expected="bigint"),
)

MISSED = (
    "SELECT h.execution_id FROM hold h JOIN execution e ON e.id = h.execution_id LEFT JOIN segment s "
    f"ON s.execution_id = h.execution_id AND s.segment = {_FIRST} "
    f"AND s.item = h.item WHERE h.granted = 1 AND (({_PARKED} AND s.due IS NULL) "
    f"OR (h.segment >= 0 AND coalesce(s.status, '') NOT IN {ALIVE}) OR (h.segment < 0 AND e.finished_at IS NOT NULL)) "
    "LIMIT 200"
)
"""Executions that were let in and not told, or that left a slot behind."""

IDLE = (
    "SELECT min(h.execution_id) FROM hold h JOIN execution e ON e.id = h.execution_id "
    f"WHERE h.granted = 0 AND {_PENDING} GROUP BY h.project_id, h.key HAVING min(h.most) > "
    "(SELECT count(*) FROM hold g WHERE g.project_id = h.project_id AND g.key = h.key AND g.granted = 1) LIMIT 200"
)
"""One execution for each key that has a free slot and somebody who waits."""
