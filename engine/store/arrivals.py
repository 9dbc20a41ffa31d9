"""The SQL of what arrives at triggers. Only the pen runs what writes."""

from __future__ import annotations

from engine.store.sql import Batched, columns

LOCK_SCHEDULES = Batched(
    "SELECT s.id, s.epoch FROM schedule s WHERE s.id IN (SELECT r.id FROM {rows}) ORDER BY s.id {lock_free}",
    columns("id"),
)
"""The schedules that nobody else is moving on right now."""
MOVE_SCHEDULES = Batched(
    "UPDATE schedule SET epoch = schedule.epoch + 1, slot = r.slot, due = r.due, "
    "last_slot = coalesce(r.last_slot, schedule.last_slot) FROM {rows} WHERE schedule.id = r.id",
    columns("id slot due last_slot", slot="bigint", due="bigint", last_slot="bigint"),
)

HOLD_SCHEDULES = Batched(
    "SELECT s.id FROM schedule s WHERE s.id IN (SELECT r.id FROM {rows}) ORDER BY s.id {lock}", columns("id")
)
POSTPONE = Batched(
    "UPDATE schedule SET epoch = schedule.epoch + 1, slot = r.due, due = r.due FROM {rows} "
    "WHERE schedule.id = r.id AND schedule.paused_at IS NULL",
    columns("id due", due="bigint"),
)

_ARRIVAL = columns("source key project_id status execution_id detail at", at="bigint")
TAKE_IN = Batched(
    f"INSERT INTO inbox ({', '.join(name for name, _ in _ARRIVAL)}) "
    f"SELECT {', '.join(f'r.{name}' for name, _ in _ARRIVAL)} FROM {{rows}} WHERE true "
    "ON CONFLICT (source, key) DO UPDATE SET status = excluded.status, execution_id = excluded.execution_id, "
    "detail = excluded.detail, at = excluded.at WHERE inbox.status IN ('refused', 'failed') RETURNING source, key",
    _ARRIVAL,
)
"""What has started nothing may arrive again."""
CONCLUDE = Batched(
    "UPDATE inbox SET status = r.status, execution_id = r.execution_id, detail = r.detail FROM {rows} "
    "WHERE inbox.source = r.source AND inbox.key = r.key",
    columns("source key status execution_id detail"),
)
KNOWN_ARRIVALS = Batched(
    "SELECT i.source, i.key, i.status, i.execution_id, i.detail FROM {rows} JOIN inbox i "
    "ON i.source = r.source AND i.key = r.key",
    columns("source key"),
)
