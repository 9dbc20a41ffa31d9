"""The tables. Hot rows are lean; what is wide or read by people lies apart. Times are milliseconds since the epoch.

Segments are the only table the poller scans: one partial index over the ones that have a time to look at.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

metadata = MetaData()

_HOT = {"fillfactor": "70"}
"""Room in each page for the next versions of its rows, so that an update need not touch the indexes."""

project = Table(
    "project",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("data_key", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("settings", Text, nullable=False, server_default="{}"),
    Column("updated_at", BigInteger),
    Column("deleted_at", BigInteger),
    sqlite_with_rowid=False,
)

workflow = Table(
    "workflow",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("enabled", Integer, nullable=False, server_default="1"),
    Column("hidden", Integer, nullable=False, server_default="0"),
    Column("version_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Index("workflow_name", "project_id", "name", unique=True),
    Index(
        "workflow_deleted",
        "deleted_at",
        sqlite_where=text("deleted_at IS NOT NULL"),
        postgresql_where=text("deleted_at IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

workflow_alias = Table(
    "workflow_alias",
    metadata,
    Column("workflow_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

workflow_version = Table(
    "workflow_version",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("hash", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("workflow_version_number", "workflow_id", "number", unique=True),
    Index("workflow_version_hash", "workflow_id", "hash", unique=True),
)

execution = Table(
    "execution",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("version_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("input", Text),
    Column("input_blob", Text),
    Column("output", Text),
    Column("output_blob", Text),
    Column("error", Text),
    Column("trigger_event", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("request_hash", Text),
    Column("principal", Text, nullable=False, server_default=""),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("parent_execution", Text),
    Column("parent_segment", Integer),
    Column("parent_item", Text),
    Column("base", Text),
    Column("open", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("cancel_at", BigInteger),
    Column("cancel_reason", Text),
    Column("ends_as", Text),
    Column("pause_at", BigInteger),
    Column("deadline", BigInteger),
    Column("reply_to", Text),
    Column("depth", Integer, nullable=False, server_default="0"),
    Column("told", Integer, nullable=False, server_default="1"),
    Column("limited", Integer, nullable=False, server_default="0"),
    Column("answered_at", BigInteger),
    Column("answer", Text),
    Column("answer_blob", Text),
    Column("variables", Text),
    Index("execution_key", "project_id", "idempotency_key", unique=True),
    Index("execution_workflow", "workflow_id", "created_at"),
    Index("execution_project", "project_id", "id"),
    Index(
        "execution_deadline",
        "deadline",
        sqlite_where=text("deadline IS NOT NULL AND finished_at IS NULL"),
        postgresql_where=text("deadline IS NOT NULL AND finished_at IS NULL"),
    ),
    Index(
        "execution_finished",
        "finished_at",
        sqlite_where=text("finished_at IS NOT NULL"),
        postgresql_where=text("finished_at IS NOT NULL"),
    ),
    Index(
        "execution_untold",
        "finished_at",
        sqlite_where=text("told = 0 AND finished_at IS NOT NULL"),
        postgresql_where=text("told = 0 AND finished_at IS NOT NULL"),
    ),
    Index(
        "execution_input_blob",
        "input_blob",
        sqlite_where=text("input_blob IS NOT NULL"),
        postgresql_where=text("input_blob IS NOT NULL"),
    ),
    Index(
        "execution_output_blob",
        "output_blob",
        sqlite_where=text("output_blob IS NOT NULL"),
        postgresql_where=text("output_blob IS NOT NULL"),
    ),
    Index(
        "execution_answer_blob",
        "answer_blob",
        sqlite_where=text("answer_blob IS NOT NULL"),
        postgresql_where=text("answer_blob IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
    postgresql_with=_HOT,
)

_TIMED = "status IN ('ready', 'running', 'waiting', 'backing_off')"

segment = Table(
    "segment",
    metadata,
    Column("execution_id", Text, primary_key=True),
    Column("segment", Integer, primary_key=True),
    Column("item", Text, primary_key=True),
    Column("hi", Integer),
    Column("status", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("pending", Integer, nullable=False, server_default="0"),
    Column("taken", Integer, nullable=False, server_default="0"),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("deliveries", Integer, nullable=False, server_default="0"),
    Column("head", Integer, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("first_try_at", BigInteger),
    Column("ready_at", BigInteger),
    Column("due", BigInteger),
    Column("owner", Text),
    Column("exits", Text),
    Column("reason", Text),
    Column("fan", Text),
    Column("stop", Integer, nullable=False, server_default="0"),
    Column("child", Text),
    Column("expires", BigInteger),
    Column("joined", Text),
    Index(
        "segment_timed", "queue", "status", "due", sqlite_where=text(_TIMED), postgresql_where=text(_TIMED)
    ),
    Index(
        "segment_expiring",
        "expires",
        sqlite_where=text("status = 'ready' AND expires IS NOT NULL"),
        postgresql_where=text("status = 'ready' AND expires IS NOT NULL"),
    ),
    Index(
        "segment_attention",
        "status",
        sqlite_where=text("status IN ('uncertain', 'quarantined')"),
        postgresql_where=text("status IN ('uncertain', 'quarantined')"),
    ),
    Index(
        "segment_forsaken",
        "child",
        sqlite_where=text("status = 'cancelled' AND child IS NOT NULL"),
        postgresql_where=text("status = 'cancelled' AND child IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
    postgresql_with=_HOT,
)

hold = Table(
    "hold",
    metadata,
    Column("execution_id", Text, primary_key=True),
    Column("segment", Integer, primary_key=True),
    Column("item", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("most", Integer, nullable=False),
    Column("granted", Integer, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("until", BigInteger),
    Index("hold_queue", "project_id", "key", "granted", "rank", "place"),
    Index(
        "hold_held", "execution_id", sqlite_where=text("granted = 1"), postgresql_where=text("granted = 1")
    ),
    sqlite_with_rowid=False,
    postgresql_with=_HOT,
)
"""Who holds a key (`granted`) or waits for it, in the order of `rank` and `place`; it ends with its segment. `most` may hold
the key together with this one; `until` is the time at which a token it has taken may be used."""

rate = Table(
    "rate",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("expected", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    postgresql_with=_HOT,
)

journal = Table(
    "journal",
    metadata,
    Column("execution_id", Text, primary_key=True),
    Column("node", Text, primary_key=True),
    Column("item", Text, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("output", Text),
    Column("blob", Text),
    Column("error", Text),
    Column("epoch", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Index(
        "journal_blob",
        "blob",
        sqlite_where=text("blob IS NOT NULL"),
        postgresql_where=text("blob IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

event = Table(
    "event",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("execution_id", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("count", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("event_seq", "execution_id", "seq", unique=True),
)
"""On PostgreSQL the migration adds `xid`, the writing transaction's id, and an index on (xid, id): the feed's order."""

blob = Table(
    "blob",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

signal = Table(
    "signal",
    metadata,
    Column("execution_id", Text, primary_key=True),
    Column("segment", Integer, primary_key=True),
    Column("item", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("payload", Text),
    Column("blob", Text),
    Column("principal", Text, nullable=False, server_default=""),
    Column("event_id", Text),
    Column("at", BigInteger, nullable=False),
    Index(
        "signal_blob",
        "blob",
        sqlite_where=text("blob IS NOT NULL"),
        postgresql_where=text("blob IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)
"""What ended a wait. Its key is the wait's, so the first one that is written is the only one."""

subscription = Table(
    "subscription",
    metadata,
    Column("execution_id", Text, primary_key=True),
    Column("segment", Integer, primary_key=True),
    Column("item", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("event", Text, nullable=False, server_default=""),
    Column("correlation", Text, nullable=False, server_default=""),
    Column("transient", Integer, nullable=False, server_default="0"),
    Column("at", BigInteger, nullable=False),
    Index(
        "subscription_topic",
        "project_id",
        "event",
        "correlation",
        sqlite_where=text("kind = 'event'"),
        postgresql_where=text("kind = 'event'"),
    ),
    sqlite_with_rowid=False,
)
"""What a wait listens for: a row for each of its branches, as long as none has been taken."""

event_log = Table(
    "event_log",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("correlation", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("key", Text),
    Column("data", Text),
    Column("blob", Text),
    Column("principal", Text, nullable=False, server_default=""),
    Column("at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("event_log_topic", "project_id", "type", "correlation", "at"),
    Index("event_log_key", "project_id", "source", "key", unique=True),
    Index("event_log_expiry", "expires_at"),
    Index(
        "event_log_blob",
        "blob",
        sqlite_where=text("blob IS NOT NULL"),
        postgresql_where=text("blob IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)
"""Events that were published, for waits that begin later."""

approval = Table(
    "approval",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("execution_id", Text, nullable=False),
    Column("segment", Integer, nullable=False),
    Column("item", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text),
    Column("blob", Text),
    Column("shown_hash", Text, nullable=False),
    Column("approvers", Text, nullable=False),
    Column("quorum", Integer, nullable=False),
    Column("rule", Text, nullable=False),
    Column("four_eyes", Integer, nullable=False, server_default="0"),
    Column("reminded", Integer, nullable=False, server_default="0"),
    Column("escalated", Integer, nullable=False, server_default="0"),
    Column("status", Text, nullable=False),
    Column("due", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("decided_at", BigInteger),
    Index("approval_wait", "execution_id", "segment", "item", unique=True),
    Index("approval_status", "project_id", "status", "id"),
    Index(
        "approval_blob",
        "blob",
        sqlite_where=text("blob IS NOT NULL"),
        postgresql_where=text("blob IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)
"""What a wait for people asks them, and how it ended."""

approval_vote = Table(
    "approval_vote",
    metadata,
    Column("approval_id", Text, primary_key=True),
    Column("principal", Text, primary_key=True),
    Column("decision", Text, nullable=False),
    Column("comment", Text, nullable=False, server_default=""),
    Column("form", Text),
    Column("shown_hash", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

connection = Table(
    "connection",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("hosts", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger, nullable=True),
    Column("tested_at", BigInteger, nullable=True),
    Column("failure", Text, nullable=True),
    Index("connection_name", "project_id", "name", unique=True),
    sqlite_with_rowid=False,
)

account = Table(
    "account",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("password", Text),
    Column("owns", Integer, nullable=False, server_default="0"),
    Column("active", Integer, nullable=False, server_default="1"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("signed_in_at", BigInteger),
    sqlite_with_rowid=False,
)
"""Users. A name is never given to somebody else: rows remember who acted by it."""

member = Table(
    "member",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("roles", Text, nullable=False),
    Column("groups", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index("member_user", "user_id"),
    sqlite_with_rowid=False,
)

session = Table(
    "session",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("access", Text, nullable=False),
    Column("access_until", BigInteger, nullable=False),
    Column("refresh", Text, nullable=False),
    Column("previous", Text),
    Column("rotated_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("address", Text, nullable=False, server_default=""),
    Column("agent", Text, nullable=False, server_default=""),
    Column("created_at", BigInteger, nullable=False),
    Index("session_access", "access", unique=True),
    Index("session_user", "user_id"),
    Index("session_until", "until"),
    sqlite_with_rowid=False,
)
"""One login, with the hashes of its present tokens and of the one that was renewed last."""

invitation = Table(
    "invitation",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("user_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("invitation_expiry", "expires_at"),
    sqlite_with_rowid=False,
)
"""Tokens that work once: to set a user's password, or, with no user, to become the first one."""

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("user_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("used_at", BigInteger),
    Column("revoked_at", BigInteger),
    Index("api_key_hash", "hash", unique=True),
    Index("api_key_project", "project_id", "id"),
    sqlite_with_rowid=False,
)
"""Keys of programs. Without a user the keeper made it; with one it never may more than that user."""

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("audit_project", "project_id", "seq"),
    sqlite_with_rowid=False,
)
"""What was done to what counts. Each row's hash covers its fields and the hash before it, under a key that is not here."""

variable = Table(
    "variable",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
schedule = Table(
    "schedule",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("slot", BigInteger),
    Column("due", BigInteger),
    Column("last_slot", BigInteger),
    Column("paused_at", BigInteger),
    Column("reason", Text, nullable=False, server_default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index("schedule_name", "workflow_id", "name", unique=True),
    Index(
        "schedule_due",
        "due",
        sqlite_where=text("due IS NOT NULL"),
        postgresql_where=text("due IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
    postgresql_with=_HOT,
)
"""What the clock starts. `slot` is the next time, `due` when to look at it, `epoch` the fence of whoever moves it on."""

endpoint = Table(
    "endpoint",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("shape", Text),
    Column("config", Text, nullable=False),
    Column("address_hash", Text),
    Column("sealed", LargeBinary),
    Column("enabled", Integer, nullable=False, server_default="1"),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index("endpoint_name", "workflow_id", "name", unique=True),
    Index(
        "endpoint_shape",
        "shape",
        unique=True,
        sqlite_where=text("shape IS NOT NULL"),
        postgresql_where=text("shape IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)
"""Where requests from outside arrive. `shape` is a named path without the names of its parameters."""

event_trigger = Table(
    "event_trigger",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("schedule_id", Text),
    Index("event_trigger_name", "workflow_id", "name", unique=True),
    Index("event_trigger_type", "project_id", "type"),
    sqlite_with_rowid=False,
)
"""Which events start a workflow, or hold back the schedule that does so in their absence."""

inbox = Table(
    "inbox",
    metadata,
    Column("source", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("execution_id", Text),
    Column("detail", Text),
    Column("at", BigInteger, nullable=False),
    Index("inbox_source", "source", "at"),
    Index("inbox_at", "at"),
    sqlite_with_rowid=False,
)
"""What has arrived at triggers: a slot of a schedule, a delivery of a webhook. Its key is what makes it count once."""

ledger_mark = Table(
    "ledger_mark",
    metadata,
    Column("writer", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

hook = Table(
    "hook",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("types", Text, nullable=False),
    Column("workflow_id", Text),
    Column("description", Text, nullable=False, server_default=""),
    Column("enabled", Integer, nullable=False, server_default="1"),
    Column("reason", Text),
    Column("secret", LargeBinary, nullable=False),
    Column("old_secret", LargeBinary),
    Column("old_until", BigInteger),
    Column("place", Text, nullable=False),
    Column("failing_since", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""An address outside that is told of events. `place` is how far it has got in the feed."""

hook_delivery = Table(
    "hook_delivery",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("hook_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("execution_id", Text),
    Column("workflow_id", Text),
    Column("seq", Integer, nullable=False),
    Column("event", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("due", BigInteger),
    Column("attempts", Text, nullable=False, server_default="[]"),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Index("hook_delivery_hook", "hook_id", "id"),
    Index(
        "hook_delivery_due",
        "due",
        sqlite_where=text("due IS NOT NULL"),
        postgresql_where=text("due IS NOT NULL"),
    ),
    Index(
        "hook_delivery_execution",
        "execution_id",
        sqlite_where=text("execution_id IS NOT NULL"),
        postgresql_where=text("execution_id IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)
"""An event that a hook is to be told. `due` is when the next attempt is made; while one is under way, when it counts as lost."""

model = Table(
    "model",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What a deployment knows of a model besides what everybody knows: where it is, what it costs."""

usage = Table(
    "usage",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("execution_id", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("cost", BigInteger),
    Column("settled", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("usage_execution", "execution_id", "node"),
    Index("usage_time", "project_id", "at"),
    sqlite_with_rowid=False,
)
"""One call of a model. What is not `settled` is what the call may use at most: it is under way, or nobody knows how it
ended. Costs are billionths of a dollar; without one nobody knows the price."""

collection = Table(
    "collection",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("connection", Text),
    Column("dimensions", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Texts that are found by what they mean, and what their vectors were made with. Each change is another `version`."""

passage = Table(
    "passage",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("collection", Text, primary_key=True),
    Column("document", Text, primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("data", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),
)
"""A part of a document in a collection. `vector` is of length one, in 32-bit floats, little end first."""

cache_entry = Table(
    "cache_entry",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("kept_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("cache_entry_expiry", "expires_at"),
)
"""What a node keeps for later executions, under the SHA-256 of its key."""

budget = Table(
    "budget",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("period", Text, nullable=False),
    Column("most_cost", BigInteger),
    Column("most_tokens", BigInteger),
    Column("since", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("raised", Text, nullable=False, server_default="[]"),
    sqlite_with_rowid=False,
    postgresql_with=_HOT,
)
"""How much may be spent within a period that began at `since`, and how much has been; what is under way counts with the
most that it may come to. `raised` names the decisions that have allowed more."""
