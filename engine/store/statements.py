"""The SQL of the hot path, as text, one statement per change. Only `transitions` runs what writes."""

from __future__ import annotations

from engine.failpoints import planted
from engine.operations import SUSPECTED
from engine.store.sql import Batched, Insert, columns

ALIVE = "('blocked', 'ready', 'running', 'waiting', 'backing_off', 'uncertain', 'quarantined')"
"""The states of what has not ended."""

EXECUTION = columns(
    "id project_id workflow_id version_id status input input_blob trigger_event idempotency_key request_hash principal "
    "priority parent_execution parent_segment parent_item base open seq created_at deadline reply_to depth told variables",
    priority="bigint",
    parent_segment="bigint",
    open="bigint",
    seq="bigint",
    created_at="bigint",
    deadline="bigint",
    depth="bigint",
    told="bigint",
)
INSERT_EXECUTION = Insert("execution", EXECUTION)
INSERT_KEYED_EXECUTION = Batched(
    f"INSERT INTO execution ({', '.join(name for name, _ in EXECUTION)}) "
    f"SELECT {', '.join(f'r.{name}' for name, _ in EXECUTION)} FROM {{rows}} WHERE true "
    "ON CONFLICT (project_id, idempotency_key) DO NOTHING RETURNING id",
    EXECUTION,
)
KNOWN_KEYS = Batched(
    "SELECT e.project_id, e.idempotency_key, e.id, e.request_hash FROM {rows} JOIN execution e "
    "ON e.project_id = r.project_id AND e.idempotency_key = r.idempotency_key",
    columns("project_id idempotency_key"),
)

LOCK_EXECUTIONS = Batched(
    "SELECT e.id, e.project_id, e.version_id, e.status, e.open, e.seq, e.cancel_at, e.pause_at, e.cancel_reason, "
    "e.reply_to, e.limited, e.priority, e.ends_as, e.deadline "
    "FROM execution e WHERE e.id IN (SELECT r.id FROM {rows}) ORDER BY e.id {lock}",
    columns("id"),
)
UPDATE_EXECUTIONS = Batched(
    "UPDATE execution SET status = r.status, open = r.open, seq = r.seq, cancel_at = r.cancel_at, "
    "pause_at = r.pause_at, cancel_reason = r.cancel_reason, ends_as = r.ends_as, deadline = r.deadline, "
    "started_at = coalesce(execution.started_at, r.started_at), "
    "finished_at = coalesce(execution.finished_at, r.finished_at), output = coalesce(execution.output, r.output), "
    "output_blob = coalesce(execution.output_blob, r.output_blob), error = coalesce(execution.error, r.error) "
    "FROM {rows} WHERE execution.id = r.id",
    columns(
        "id status open seq cancel_at pause_at cancel_reason ends_as deadline started_at finished_at output output_blob error",
        open="bigint",
        seq="bigint",
        cancel_at="bigint",
        pause_at="bigint",
        deadline="bigint",
        started_at="bigint",
        finished_at="bigint",
    ),
)
ANSWER = Batched(
    "UPDATE execution SET answered_at = r.now, answer = r.answer, answer_blob = r.blob FROM {rows} "
    "WHERE execution.id = r.id AND execution.answered_at IS NULL RETURNING execution.id",
    columns("id now answer blob", now="bigint"),
)

INSERT_SEGMENT = Insert(
    "segment",
    columns(
        "execution_id segment item status queue pending taken epoch ready_at due owner hi",
        segment="bigint",
        pending="bigint",
        taken="bigint",
        epoch="bigint",
        ready_at="bigint",
        due="bigint",
        hi="bigint",
    ),
    "ON CONFLICT (execution_id, segment, item) DO UPDATE SET status = excluded.status, pending = excluded.pending, "
    "taken = excluded.taken, epoch = excluded.epoch, ready_at = excluded.ready_at, due = excluded.due, "
    "owner = excluded.owner",
)
JOINS = Batched(
    "SELECT s.execution_id, s.segment, s.item, s.status, s.pending, s.taken FROM {rows} JOIN segment s "
    "ON s.execution_id = r.execution_id AND s.segment = r.segment AND s.item = r.item",
    columns("execution_id segment item", segment="bigint"),
)
COUNT_JOINS = Batched(
    "UPDATE segment SET pending = r.pending, taken = r.taken FROM {rows} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item",
    columns("execution_id segment item pending taken", segment="bigint", pending="bigint", taken="bigint"),
)

_MINE = "segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item"
if not planted("no_fence"):
    _MINE += " AND segment.epoch = r.epoch AND segment.status = r.held"
_RETURN = " RETURNING segment.execution_id, segment.segment, segment.item"
_UNLESS_STOPPED = "CASE WHEN segment.stop = 1 THEN 'cancelled' ELSE {} END"
"""What was told to stop (1) ends with whatever its holder says next. A container that has something to do in its end winds
up (2): it goes on until that is done, and is cancelled then."""
_AS_ASKED, _UNCERTAIN, _READY, _WAITING = (
    _UNLESS_STOPPED.format(each) for each in ("r.status", "'uncertain'", "'ready'", "'waiting'")
)

CLAIM = Batched(
    "UPDATE segment SET status = 'running', epoch = segment.epoch + 1, owner = r.owner, due = r.due FROM {rows} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item "
    "AND segment.status = 'ready'"
    + _RETURN
    + ", segment.epoch, segment.deliveries, segment.head, segment.tries, "
    "segment.ready_at, segment.first_try_at, segment.hi, segment.fan, segment.expires, segment.stop",
    columns("execution_id segment item owner due", segment="bigint", due="bigint"),
)
FENCE = Batched(
    "SELECT segment.execution_id, segment.segment, segment.item, segment.stop FROM {rows} JOIN segment ON "
    + _MINE,
    columns("execution_id segment item epoch held", segment="bigint", epoch="bigint"),
)
SETTLE = Batched(
    "UPDATE segment SET status = CASE WHEN segment.stop > 0 THEN 'cancelled' ELSE r.status END, exits = r.exits, "
    "due = NULL, owner = NULL "
    "FROM {rows} WHERE " + _MINE + _RETURN + ", segment.stop",
    columns("execution_id segment item epoch held status exits", segment="bigint", epoch="bigint"),
)
SUSPEND = Batched(
    f"UPDATE segment SET status = {_AS_ASKED}, due = r.due, head = r.head, tries = r.tries, "
    "first_try_at = r.first_try_at, reason = r.reason, owner = NULL FROM {rows} WHERE "
    + _MINE
    + _RETURN
    + ", segment.status",
    columns(
        "execution_id segment item epoch held status due head tries first_try_at reason",
        segment="bigint",
        epoch="bigint",
        due="bigint",
        head="bigint",
        tries="bigint",
        first_try_at="bigint",
    ),
)
REST = Batched(
    f"UPDATE segment SET status = {_WAITING}, due = r.due, head = r.head, tries = 0, first_try_at = NULL, "
    "owner = NULL FROM {rows} WHERE " + _MINE + _RETURN + ", segment.status",
    columns(
        "execution_id segment item epoch held due head",
        segment="bigint",
        epoch="bigint",
        due="bigint",
        head="bigint",
    ),
)
CALL = Batched(
    f"UPDATE segment SET status = {_WAITING}, due = r.due, head = r.head, tries = r.tries, "
    "first_try_at = r.first_try_at, owner = NULL, child = CASE WHEN segment.stop = 1 THEN NULL ELSE r.child END "
    "FROM {rows} WHERE " + _MINE + _RETURN + ", segment.stop",
    columns(
        "execution_id segment item epoch held due head tries first_try_at child",
        segment="bigint",
        epoch="bigint",
        due="bigint",
        head="bigint",
        tries="bigint",
        first_try_at="bigint",
    ),
)
RECALL = Batched(
    "UPDATE segment SET child = r.child FROM {rows} WHERE segment.execution_id = r.execution_id "
    "AND segment.segment = r.segment AND segment.item = r.item",
    columns("execution_id segment item child", segment="bigint"),
)
TOLD = Batched("SELECT e.id FROM {rows} JOIN execution e ON e.id = r.id WHERE e.told = 1", columns("id"))
RETURN = Batched(
    "UPDATE segment SET status = 'ready', epoch = segment.epoch + 1, ready_at = r.now, due = r.due FROM {rows} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item "
    "AND segment.status = 'waiting' AND segment.child = r.child" + _RETURN + ", segment.queue",
    columns("execution_id segment item child now due", segment="bigint", now="bigint", due="bigint"),
)
TELL = Batched(
    "UPDATE execution SET told = 1 FROM {rows} WHERE execution.id = r.id AND execution.told = 0",
    columns("id"),
)
FORSAKE = Batched(
    "UPDATE segment SET child = NULL FROM {rows} WHERE segment.execution_id = r.execution_id "
    "AND segment.segment = r.segment AND segment.item = r.item AND segment.child = r.child "
    "AND segment.status = 'cancelled'",
    columns("execution_id segment item child", segment="bigint"),
)
DOUBT = Batched(
    f"UPDATE segment SET status = {_UNCERTAIN}, due = NULL, head = r.head, "
    "reason = r.reason, owner = NULL FROM {rows} WHERE " + _MINE + _RETURN + ", segment.status",
    columns(
        "execution_id segment item epoch held head reason", segment="bigint", epoch="bigint", head="bigint"
    ),
)
RELEASE = Batched(
    f"UPDATE segment SET status = {_READY}, owner = NULL, "
    "due = CASE WHEN r.paused = 1 THEN NULL ELSE segment.ready_at END FROM {rows} WHERE "
    + _MINE
    + _RETURN
    + ", segment.stop",
    columns("execution_id segment item epoch held paused", segment="bigint", epoch="bigint", paused="bigint"),
)
RENEW = Batched(
    "UPDATE segment SET due = r.due FROM {rows} WHERE " + _MINE + _RETURN + ", segment.stop",
    columns("execution_id segment item epoch held due", segment="bigint", epoch="bigint", due="bigint"),
)
LOSE = Batched(
    "UPDATE segment SET deliveries = segment.deliveries + 1, owner = NULL, "
    "status = CASE WHEN segment.stop = 1 THEN 'cancelled' WHEN segment.deliveries >= r.deliveries THEN 'quarantined' "
    "ELSE 'ready' END, "
    "reason = CASE WHEN segment.deliveries >= r.deliveries THEN r.reason ELSE NULL END, "
    "due = CASE WHEN segment.deliveries >= r.deliveries THEN NULL ELSE r.due END FROM {rows} WHERE "
    + _MINE
    + _RETURN
    + ", segment.status, segment.queue, segment.deliveries",
    columns(
        "execution_id segment item epoch held due reason deliveries",
        segment="bigint",
        epoch="bigint",
        due="bigint",
        deliveries="bigint",
    ),
)
WAKE = Batched(
    "UPDATE segment SET status = 'ready', epoch = segment.epoch + 1, ready_at = r.now, due = r.due, reason = NULL "
    "FROM {rows} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item "
    "AND segment.status IN ('waiting', 'backing_off') AND segment.due <= r.now" + _RETURN + ", segment.queue",
    columns("execution_id segment item now due", segment="bigint", now="bigint", due="bigint"),
)
EXPIRES = Batched(
    "UPDATE segment SET expires = r.expires FROM {rows} WHERE segment.execution_id = r.execution_id "
    "AND segment.segment = r.segment AND segment.item = r.item",
    columns("execution_id segment item expires", segment="bigint", expires="bigint"),
)
EXPIRE = Batched(
    "UPDATE segment SET expires = 0, queue = r.queue, due = r.due FROM {rows} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item "
    "AND segment.status = 'ready' AND segment.epoch = 0 AND segment.expires > 0 AND segment.expires <= r.now"
    + _RETURN
    + ", segment.queue",
    columns("execution_id segment item queue due now", segment="bigint", due="bigint", now="bigint"),
)
REQUEUE = Batched(
    "UPDATE segment SET queue = r.queue FROM {rows} WHERE segment.execution_id = r.execution_id "
    "AND segment.segment = r.segment AND segment.item = r.item",
    columns("execution_id segment item queue", segment="bigint"),
)
EXITS = Batched(
    "SELECT s.execution_id, s.segment, s.item, s.exits FROM {rows} JOIN segment s "
    "ON s.execution_id = r.execution_id AND s.segment = r.segment AND s.item = r.item WHERE s.status = 'done'",
    columns("execution_id segment item", segment="bigint"),
)
SKIPPED = Batched(
    "SELECT j.execution_id, j.node, j.item FROM {rows} JOIN journal j ON j.execution_id = r.execution_id "
    "AND j.node = r.node AND j.item = r.item WHERE j.step = '' AND j.status = 'skipped'",
    columns("execution_id node item"),
)
JOIN = Batched(
    "UPDATE segment SET joined = r.joined FROM {rows} WHERE segment.execution_id = r.execution_id "
    "AND segment.segment = r.segment AND segment.item = r.item",
    columns("execution_id segment item joined", segment="bigint"),
)
JOINED = Batched(
    "SELECT s.execution_id, s.segment, s.item, s.joined FROM {rows} JOIN segment s "
    "ON s.execution_id = r.execution_id AND s.segment = r.segment AND s.item = r.item",
    columns("execution_id segment item", segment="bigint"),
)
AWAKE = Batched(
    "UPDATE segment SET status = 'ready', epoch = segment.epoch + 1, ready_at = r.now, due = r.due FROM {rows} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item "
    "AND segment.status = 'waiting'" + _RETURN,
    columns("execution_id segment item now due", segment="bigint", now="bigint", due="bigint"),
)
RESEND = Batched(
    "UPDATE segment SET due = r.due, "
    "deliveries = CASE WHEN r.lost = 1 AND segment.due > segment.ready_at "
    f"AND segment.deliveries < {SUSPECTED} THEN segment.deliveries + 1 "
    "ELSE segment.deliveries END FROM {rows} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item "
    "AND segment.status = 'ready' AND segment.due = r.mark" + _RETURN + ", segment.queue",
    columns(
        "execution_id segment item mark due lost",
        segment="bigint",
        mark="bigint",
        due="bigint",
        lost="bigint",
    ),
)
FANS = Batched(
    "SELECT s.execution_id, s.segment, s.item, s.status, s.epoch, s.pending, s.taken, s.deliveries, s.head, s.tries, "
    "s.first_try_at, s.stop, s.fan FROM {rows} JOIN segment s "
    "ON s.execution_id = r.execution_id AND s.segment = r.segment AND s.item = r.item",
    columns("execution_id segment item", segment="bigint"),
)
COUNT_FANS = Batched(
    "UPDATE segment SET fan = r.fan FROM {rows} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item",
    columns("execution_id segment item fan", segment="bigint"),
)
SPREAD = Batched(
    f"UPDATE segment SET status = {_WAITING}, due = r.due, head = r.head, tries = 0, deliveries = 0, "
    "owner = NULL, fan = r.fan FROM {rows} WHERE " + _MINE + _RETURN + ", segment.stop",
    columns(
        "execution_id segment item epoch held due head fan",
        segment="bigint",
        epoch="bigint",
        due="bigint",
        head="bigint",
    ),
)
_WINDS = "r.owes = 1 AND segment.fan IS NOT NULL"
STOP = Batched(
    f"UPDATE segment SET stop = CASE WHEN {_WINDS} THEN 2 ELSE 1 END, "
    f"status = CASE WHEN {_WINDS} THEN 'ready' WHEN segment.status = 'running' THEN 'running' ELSE 'cancelled' END, "
    f"epoch = CASE WHEN {_WINDS} THEN segment.epoch + 1 ELSE segment.epoch END, "
    f"ready_at = CASE WHEN {_WINDS} THEN r.now ELSE segment.ready_at END, "
    f"owner = CASE WHEN {_WINDS} THEN NULL ELSE segment.owner END, "
    f"due = CASE WHEN {_WINDS} THEN r.due WHEN segment.status = 'running' THEN segment.due ELSE NULL END FROM {{rows}} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment >= r.first AND segment.segment < r.beyond "
    "AND (segment.item = r.item OR substr(segment.item, 1, length(r.inside)) = r.inside) "
    f"AND segment.status IN {ALIVE} AND segment.stop <= r.least" + _RETURN + ", segment.stop, segment.epoch",
    columns(
        "execution_id first beyond item inside owes now due least",
        first="bigint",
        beyond="bigint",
        owes="bigint",
        now="bigint",
        due="bigint",
        least="bigint",
    ),
)
"""Whoever looks at a container that is to wind up has no word any more. What was told to stop before stays as it is."""
NUDGE = Batched(
    "UPDATE segment SET due = r.now FROM {rows} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item "
    "AND segment.status = 'waiting' AND segment.reason = 'stopping'",
    columns("execution_id segment item now", segment="bigint", now="bigint"),
)
WINDING = Batched(
    "SELECT r.id FROM {rows} WHERE EXISTS (SELECT 1 FROM segment s WHERE s.execution_id = r.id AND s.stop = 2 "
    f"AND s.status IN {ALIVE})",
    columns("id"),
)
COUNT_ACTIVE = Batched(
    "SELECT r.id, (SELECT count(*) FROM segment s WHERE s.execution_id = r.id AND s.status IN ('ready', 'running')) "
    "FROM {rows}",
    columns("id"),
)
WAIVE = Batched(
    "UPDATE journal SET status = 'waived' FROM {rows} WHERE journal.execution_id = r.execution_id "
    "AND journal.node = r.node AND journal.item = r.item AND journal.status = 'intent'",
    columns("execution_id node item"),
)
RESOLVE = Batched(
    "UPDATE segment SET status = 'ready', ready_at = r.now, due = r.due, deliveries = 0, reason = NULL FROM {rows} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item "
    "AND segment.status IN ('uncertain', 'quarantined')" + _RETURN + ", segment.queue",
    columns("execution_id segment item now due", segment="bigint", now="bigint", due="bigint"),
)
HOLD_READY = Batched(
    "UPDATE segment SET due = r.due, "
    "expires = CASE WHEN segment.expires > 0 THEN segment.expires + r.held ELSE segment.expires END "
    "FROM {rows} WHERE segment.execution_id = r.execution_id AND segment.status = 'ready'"
    + _RETURN
    + ", segment.queue",
    columns("execution_id due held", due="bigint", held="bigint"),
)

STANDING = Batched(
    "SELECT s.execution_id, s.segment, s.item, s.status, s.epoch, s.stop, s.hi, s.fan, s.child FROM {rows} JOIN segment s "
    "ON s.execution_id = r.execution_id AND s.segment = r.segment AND s.item = r.item",
    columns("execution_id segment item", segment="bigint"),
)
WITHDRAW = Batched(
    "UPDATE segment SET status = 'ready', epoch = segment.epoch + 1, ready_at = r.now, due = r.due, owner = NULL, "
    "tries = 0, first_try_at = NULL, deliveries = 0, reason = NULL, child = NULL FROM {rows} "
    "WHERE segment.execution_id = r.execution_id AND segment.segment = r.segment AND segment.item = r.item "
    "AND segment.epoch = r.epoch AND segment.stop = 0 "
    "AND segment.status IN ('ready', 'running', 'waiting', 'backing_off')" + _RETURN,
    columns(
        "execution_id segment item epoch now due",
        segment="bigint",
        epoch="bigint",
        now="bigint",
        due="bigint",
    ),
)

WRITE_JOURNAL = Insert(
    "journal",
    columns(
        "execution_id node item step status effect output blob error epoch tries started_at ended_at",
        epoch="bigint",
        tries="bigint",
        started_at="bigint",
        ended_at="bigint",
    ),
    "ON CONFLICT (execution_id, node, item, step) DO UPDATE SET status = excluded.status, output = excluded.output, "
    "blob = excluded.blob, error = excluded.error, epoch = excluded.epoch, tries = excluded.tries, "
    "started_at = excluded.started_at, ended_at = excluded.ended_at",
)
WRITE_EVENTS = Insert(
    "event",
    columns(
        "execution_id project_id seq count epoch at body",
        seq="bigint",
        count="bigint",
        epoch="bigint",
        at="bigint",
    ),
)
WRITE_BLOBS = Insert(
    "blob",
    columns("hash body size created_at", size="bigint", created_at="bigint"),
    "ON CONFLICT (hash) DO NOTHING",
)

MARK = (
    "INSERT INTO ledger_mark (writer, number, at) VALUES (?, ?, ?) "
    "ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at"
)
TOUCH_MARK = (
    "INSERT INTO ledger_mark (writer, number, at) VALUES (?, 0, ?) "
    "ON CONFLICT (writer) DO UPDATE SET at = excluded.at RETURNING number"
)

TAKE_OVER = Batched(
    "INSERT INTO journal (execution_id, node, item, step, status, effect, output, blob, error, epoch, tries, started_at, "
    "ended_at) SELECT r.execution_id, r.name, j.item, j.step, j.status, j.effect, j.output, j.blob, j.error, 0, j.tries, "
    "j.started_at, j.ended_at FROM {rows} JOIN journal j ON j.execution_id = r.base AND j.node = r.node AND j.step = '' "
    "AND j.item >= r.low AND j.item < r.high RETURNING execution_id, node",
    columns("execution_id name base node low high"),
)
"""What a fork keeps. Its own rows: the base may be forgotten."""
BORN = Insert(
    "segment",
    columns(
        "execution_id segment item status queue pending taken ready_at due exits fan",
        segment="bigint",
        pending="bigint",
        taken="bigint",
        ready_at="bigint",
        due="bigint",
    ),
)
HOLD_BLOBS = "LOCK TABLE blob IN ROW EXCLUSIVE MODE"
"""On PostgreSQL: nobody forgets a blob while a row that names it is copied."""

LOAD = Batched(
    "SELECT s.execution_id, s.segment, s.item, s.status, s.epoch, s.deliveries, s.head, s.tries, s.ready_at, "
    "s.first_try_at, e.version_id, e.status, s.stop, e.pause_at, e.input, e.input_blob, e.trigger_event, "
    "e.workflow_id, e.project_id, e.created_at, s.hi, s.fan, e.depth, e.told, e.parent_execution, e.parent_segment, "
    "e.parent_item, e.base, s.taken, e.principal, e.priority, e.variables "
    "FROM {rows} JOIN segment s ON s.execution_id = r.execution_id AND s.segment = r.segment AND s.item = r.item "
    "JOIN execution e ON e.id = s.execution_id",
    columns("execution_id segment item", segment="bigint"),
)
OUTPUTS = Batched(
    "SELECT j.execution_id, j.node, j.item, j.step, j.status, j.output, j.blob, j.error, j.tries, j.epoch "
    "FROM {rows} JOIN journal j ON j.execution_id = r.execution_id AND j.node = r.node AND j.item = r.item",
    columns("execution_id node item"),
)
INSTANCES = (
    "SELECT j.item, j.status, j.output, j.blob, j.error FROM journal j WHERE j.execution_id = ? AND j.node = ? "
    "AND j.item >= ? AND j.item < ? AND j.step = ''"
)
EXITS_OF_ROUNDS = (
    "SELECT DISTINCT s.exits FROM segment s WHERE s.execution_id = ? AND s.segment = ? "
    "AND s.item >= ? AND s.item < ? AND s.status = 'done'"
)
STOPPING_INSIDE = (
    "SELECT 1 FROM segment s WHERE s.execution_id = ? AND s.segment >= ? AND s.segment < ? AND s.stop > 0 "
    f"AND s.status IN {ALIVE} AND substr(s.item, 1, length(?)) = ? LIMIT 1"
)
COMPLETED = Batched(
    "SELECT j.node, j.status, j.output, j.blob, j.ended_at FROM {rows} JOIN journal j "
    "ON j.execution_id = r.execution_id AND j.node = r.node AND j.item = r.item AND j.step = ''",
    columns("execution_id node item"),
)
ENDED = Batched(
    "SELECT j.item, j.status, j.output, j.blob, j.error FROM {rows} JOIN journal j "
    "ON j.execution_id = r.execution_id AND j.node = r.node AND j.item = r.item AND j.step = ''",
    columns("execution_id node item"),
)
ENDED_ITEMS = Batched(
    "SELECT j.item FROM {rows} JOIN journal j ON j.execution_id = r.execution_id AND j.node = r.node "
    "AND j.item = r.item AND j.step = ''",
    columns("execution_id node item"),
)
BLOBS = Batched("SELECT b.hash, b.body FROM {rows} JOIN blob b ON b.hash = r.hash", columns("hash"))
VERSION = "SELECT plan FROM workflow_version WHERE id = ?"
