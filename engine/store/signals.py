"""The SQL of waits that signals end. Only the pen runs what writes."""

from __future__ import annotations

from engine.store.sql import Batched, Insert, columns

KEY = "execution_id segment item"


def _on(table: str) -> str:
    return f"{table}.execution_id = r.execution_id AND {table}.segment = r.segment AND {table}.item = r.item"


LOCK_TOPIC = "SELECT pg_advisory_xact_lock(?)"
SHARE_TOPIC = "SELECT pg_advisory_xact_lock_shared(?)"

STANDING = Batched(
    "SELECT r.execution_id, r.segment, r.item, r.name, s.status, g.name, b.kind, "
    f"EXISTS (SELECT 1 FROM subscription o WHERE {_on('o')}) FROM {{rows}} "
    f"LEFT JOIN segment s ON {_on('s')} LEFT JOIN signal g ON {_on('g')} "
    f"LEFT JOIN subscription b ON {_on('b')} AND b.name = r.name AND b.kind = r.kind",
    columns(f"{KEY} name kind", segment="bigint"),
)
"""What there is to know of a wait before a signal is given: its segment's state, the signal it has had, its branch, and
whether it listens to anything."""

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

WRITE_APPROVALS = Insert(
    "approval",
    columns(
        f"id project_id {KEY} node title body blob shown_hash approvers quorum rule four_eyes reminded escalated "
        "status due created_at",
        segment="bigint",
        quorum="bigint",
        four_eyes="bigint",
        reminded="bigint",
        escalated="bigint",
        due="bigint",
        created_at="bigint",
    ),
    "ON CONFLICT (execution_id, segment, item) DO UPDATE SET approvers = excluded.approvers, "
    "reminded = excluded.reminded, escalated = excluded.escalated, due = excluded.due",
)
"""A wait that goes on as another asks the same people again, or others; what was asked stays as it was shown."""
APPROVALS = Batched(
    "SELECT a.id, a.execution_id, a.segment, a.item, a.status, a.shown_hash, a.approvers, a.quorum, a.rule, "
    "a.four_eyes, e.principal, g.name FROM {rows} JOIN approval a ON a.id = r.id "
    "JOIN execution e ON e.id = a.execution_id LEFT JOIN signal g ON g.execution_id = a.execution_id "
    "AND g.segment = a.segment AND g.item = a.item",
    columns("id"),
)
VOTES = Batched(
    "SELECT v.approval_id, v.principal, v.decision, v.comment, v.form, v.at FROM {rows} "
    "JOIN approval_vote v ON v.approval_id = r.id ORDER BY v.approval_id, v.at, v.principal",
    columns("id"),
)
WRITE_VOTES = Insert(
    "approval_vote", columns("approval_id principal decision comment form shown_hash at", at="bigint")
)
CLOSE_APPROVALS = Batched(
    "UPDATE approval SET status = r.status, decided_at = r.now, due = NULL FROM {rows} "
    f"WHERE {_on('approval')} AND approval.status = 'open'",
    columns(f"{KEY} status now", segment="bigint", now="bigint"),
)
WITHDRAW_APPROVALS = Batched(
    "UPDATE approval SET status = 'withdrawn', decided_at = r.now, due = NULL FROM {rows} "
    "WHERE approval.execution_id = r.execution_id AND approval.status = 'open'",
    columns("execution_id now", now="bigint"),
)
