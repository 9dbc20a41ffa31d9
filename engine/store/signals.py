"""The SQL of waits that signals end. Only the pen runs what writes."""

from __future__ import annotations

from engine.store.sql import Batched, Insert, columns

KEY = "execution_id segment item"


def _on(table: str) -> str:
    return f"{table}.execution_id = r.execution_id AND {table}.segment = r.segment AND {table}.item = r.item"


LOCK_TOPIC = "SELECT pg_advisory_xact_lock(?)"
SHARE_TOPIC = "SELECT pg_advisory_xact_lock_shared(?)"

STANDING = Batched(
    "SELECT r.execution_id, r.segment, r.item, r.name, s.status, g.name, b.kind FROM {rows} "
    f"LEFT JOIN segment s ON {_on('s')} LEFT JOIN signal g ON {_on('g')} "
    f"LEFT JOIN subscription b ON {_on('b')} AND b.name = r.name",
    columns(f"{KEY} name", segment="bigint"),
)
"""What there is to know of a wait before a signal is given: its segment's state, the signal it has had, its branch."""

_SIGNAL = columns(
    f"{KEY} project_id name source payload blob principal event_id at", segment="bigint", at="bigint"
)
WRITE_SIGNALS = Batched(
    f"INSERT INTO signal ({', '.join(name for name, _ in _SIGNAL)}) "
    f"SELECT {', '.join(f'r.{name}' for name, _ in _SIGNAL)} FROM {{rows}} WHERE true "
    "ON CONFLICT (execution_id, segment, item) DO NOTHING RETURNING execution_id, segment, item",
    _SIGNAL,
)
SIGNALS = Batched(
    "SELECT g.execution_id, g.segment, g.item, g.name, g.source, g.payload, g.blob, g.at "
    f"FROM {{rows}} JOIN signal g ON {_on('g')}",
    columns(KEY, segment="bigint"),
)
DROP_SIGNALS = Batched(
    "DELETE FROM signal WHERE (execution_id, segment, item) IN (SELECT r.execution_id, r.segment, r.item FROM {rows})",
    columns(KEY, segment="bigint"),
)

WRITE_SUBSCRIPTIONS = Insert(
    "subscription",
    columns(
        f"{KEY} name project_id kind event correlation transient at",
        segment="bigint",
        transient="bigint",
        at="bigint",
    ),
)
DROP_SUBSCRIPTIONS = Batched(
    "DELETE FROM subscription WHERE (execution_id, segment, item) IN (SELECT r.execution_id, r.segment, r.item FROM {rows})",
    columns(KEY, segment="bigint"),
)
DROP_ALL_SUBSCRIPTIONS = Batched(
    "DELETE FROM subscription WHERE execution_id IN (SELECT r.execution_id FROM {rows})",
    columns("execution_id"),
)
TIMES = Batched(
    "SELECT b.execution_id, b.segment, b.item, b.name FROM {rows} "
    f"JOIN subscription b ON {_on('b')} AND b.kind = 'time'",
    columns(KEY, segment="bigint"),
)
LISTENERS = Batched(
    "SELECT b.project_id, b.event, b.correlation, b.execution_id, b.segment, b.item, b.name, b.transient "
    "FROM {rows} JOIN subscription b ON b.kind = 'event' AND b.project_id = r.project_id AND b.event = r.event "
    "AND b.correlation = r.correlation ORDER BY b.execution_id, b.at, b.segment, b.item, b.name",
    columns("project_id event correlation"),
)
"""In the order in which they began to listen, of each execution."""

_EVENT = columns(
    "id project_id type correlation source key data blob principal at expires_at",
    at="bigint",
    expires_at="bigint",
)
WRITE_EVENT_LOG = Batched(
    f"INSERT INTO event_log ({', '.join(name for name, _ in _EVENT)}) "
    f"SELECT {', '.join(f'r.{name}' for name, _ in _EVENT)} FROM {{rows}} WHERE true "
    "ON CONFLICT (project_id, source, key) DO NOTHING RETURNING id",
    _EVENT,
)
KNOWN_EVENTS = Batched(
    "SELECT e.project_id, e.source, e.key, e.id FROM {rows} JOIN event_log e "
    "ON e.project_id = r.project_id AND e.source = r.source AND e.key = r.key",
    columns("project_id source key"),
)
LOOK_BACK = Batched(
    "SELECT r.number, (SELECT e.id FROM event_log e WHERE e.project_id = r.project_id AND e.type = r.event "
    "AND e.correlation = r.correlation AND e.at >= r.since AND e.expires_at > r.now AND NOT EXISTS "
    "(SELECT 1 FROM signal g WHERE g.execution_id = r.execution_id AND g.event_id = e.id) "
    "ORDER BY e.at, e.id LIMIT 1) FROM {rows}",
    columns(
        "number project_id event correlation since now execution_id",
        number="bigint",
        since="bigint",
        now="bigint",
    ),
)
"""The oldest event that a wait may still have, for each of its branches."""
EVENTS = Batched(
    "SELECT e.id, e.data, e.blob, e.principal, e.at FROM {rows} JOIN event_log e ON e.id = r.id",
    columns("id"),
)
