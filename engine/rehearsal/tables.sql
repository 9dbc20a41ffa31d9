CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE blob (
	hash TEXT NOT NULL,
	body TEXT NOT NULL,
	size BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (hash)
);
CREATE TABLE connection (
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	name TEXT NOT NULL,
	kind TEXT NOT NULL,
	hosts TEXT NOT NULL,
	sealed BLOB NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL, last_used_at BIGINT, tested_at BIGINT, failure TEXT,
	PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE UNIQUE INDEX connection_name ON connection (project_id, name);
CREATE TABLE event (
	id INTEGER NOT NULL,
	execution_id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	seq INTEGER NOT NULL,
	count INTEGER NOT NULL,
	epoch INTEGER NOT NULL,
	at BIGINT NOT NULL,
	body TEXT NOT NULL,
	PRIMARY KEY (id)
);
CREATE UNIQUE INDEX event_seq ON event (execution_id, seq);
CREATE TABLE execution (
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	workflow_id TEXT NOT NULL,
	version_id TEXT NOT NULL,
	status TEXT NOT NULL,
	input TEXT,
	input_blob TEXT,
	output TEXT,
	output_blob TEXT,
	error TEXT,
	trigger_event TEXT NOT NULL,
	idempotency_key TEXT,
	request_hash TEXT,
	principal TEXT DEFAULT '' NOT NULL,
	priority INTEGER DEFAULT '0' NOT NULL,
	parent_execution TEXT,
	parent_segment INTEGER,
	parent_item TEXT,
	base TEXT,
	open INTEGER NOT NULL,
	seq INTEGER NOT NULL,
	created_at BIGINT NOT NULL,
	started_at BIGINT,
	finished_at BIGINT,
	cancel_at BIGINT,
	cancel_reason TEXT,
	pause_at BIGINT,
	deadline BIGINT,
	reply_to TEXT, depth INTEGER DEFAULT '0' NOT NULL, told INTEGER DEFAULT '1' NOT NULL, limited INTEGER DEFAULT '0' NOT NULL, ends_as TEXT, answered_at BIGINT, answer TEXT, answer_blob TEXT, variables TEXT,
	PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE INDEX execution_deadline ON execution (deadline) WHERE deadline IS NOT NULL AND finished_at IS NULL;
CREATE INDEX execution_finished ON execution (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX execution_input_blob ON execution (input_blob) WHERE input_blob IS NOT NULL;
CREATE UNIQUE INDEX execution_key ON execution (project_id, idempotency_key);
CREATE INDEX execution_output_blob ON execution (output_blob) WHERE output_blob IS NOT NULL;
CREATE INDEX execution_workflow ON execution (workflow_id, created_at);
CREATE TABLE journal (
	execution_id TEXT NOT NULL,
	node TEXT NOT NULL,
	item TEXT NOT NULL,
	step TEXT NOT NULL,
	status TEXT NOT NULL,
	effect TEXT NOT NULL,
	output TEXT,
	blob TEXT,
	error TEXT,
	epoch INTEGER NOT NULL,
	tries INTEGER NOT NULL,
	started_at BIGINT NOT NULL,
	ended_at BIGINT,
	PRIMARY KEY (execution_id, node, item, step)
)
 WITHOUT ROWID;
CREATE INDEX journal_blob ON journal (blob) WHERE blob IS NOT NULL;
CREATE TABLE ledger_mark (
	writer TEXT NOT NULL,
	number BIGINT NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (writer)
)
 WITHOUT ROWID;
CREATE TABLE project (
	id TEXT NOT NULL,
	name TEXT NOT NULL,
	data_key BLOB,
	created_at BIGINT NOT NULL, description TEXT DEFAULT '' NOT NULL, settings TEXT DEFAULT '{}' NOT NULL, updated_at BIGINT, deleted_at BIGINT,
	PRIMARY KEY (id),
	UNIQUE (name)
)
 WITHOUT ROWID;
CREATE TABLE segment (
	execution_id TEXT NOT NULL,
	segment INTEGER NOT NULL,
	item TEXT NOT NULL,
	hi INTEGER,
	status TEXT NOT NULL,
	queue TEXT NOT NULL,
	pending INTEGER DEFAULT '0' NOT NULL,
	taken INTEGER DEFAULT '0' NOT NULL,
	epoch INTEGER DEFAULT '0' NOT NULL,
	deliveries INTEGER DEFAULT '0' NOT NULL,
	head INTEGER DEFAULT '0' NOT NULL,
	tries INTEGER DEFAULT '0' NOT NULL,
	first_try_at BIGINT,
	ready_at BIGINT,
	due BIGINT,
	owner TEXT,
	exits TEXT,
	reason TEXT, fan TEXT, stop INTEGER DEFAULT '0' NOT NULL, child TEXT, expires BIGINT, joined TEXT,
	PRIMARY KEY (execution_id, segment, item)
)
 WITHOUT ROWID;
CREATE INDEX segment_attention ON segment (status) WHERE status IN ('uncertain', 'quarantined');
CREATE INDEX segment_timed ON segment (queue, status, due) WHERE status IN ('ready', 'running', 'waiting', 'backing_off');
CREATE TABLE workflow (
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	name TEXT NOT NULL,
	description TEXT DEFAULT '' NOT NULL,
	enabled INTEGER DEFAULT '1' NOT NULL,
	version_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL, hidden INTEGER DEFAULT '0' NOT NULL, deleted_at BIGINT,
	PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE UNIQUE INDEX workflow_name ON workflow (project_id, name);
CREATE TABLE workflow_version (
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	workflow_id TEXT NOT NULL,
	number INTEGER NOT NULL,
	hash TEXT NOT NULL,
	document TEXT NOT NULL,
	"plan" TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (id)
);
CREATE UNIQUE INDEX workflow_version_hash ON workflow_version (workflow_id, hash);
CREATE UNIQUE INDEX workflow_version_number ON workflow_version (workflow_id, number);
CREATE INDEX execution_untold ON execution (finished_at) WHERE told = 0 AND finished_at IS NOT NULL;
CREATE INDEX segment_forsaken ON segment (child) WHERE status = 'cancelled' AND child IS NOT NULL;
CREATE TABLE signal (
	execution_id TEXT NOT NULL,
	segment INTEGER NOT NULL,
	item TEXT NOT NULL,
	project_id TEXT NOT NULL,
	name TEXT NOT NULL,
	source TEXT NOT NULL,
	payload TEXT,
	blob TEXT,
	principal TEXT DEFAULT '' NOT NULL,
	event_id TEXT,
	at BIGINT NOT NULL,
	PRIMARY KEY (execution_id, segment, item)
)
 WITHOUT ROWID;
CREATE INDEX signal_blob ON signal (blob) WHERE blob IS NOT NULL;
CREATE TABLE subscription (
	execution_id TEXT NOT NULL,
	segment INTEGER NOT NULL,
	item TEXT NOT NULL,
	name TEXT NOT NULL,
	kind TEXT NOT NULL,
	project_id TEXT NOT NULL,
	event TEXT DEFAULT '' NOT NULL,
	correlation TEXT DEFAULT '' NOT NULL,
	transient INTEGER DEFAULT '0' NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (execution_id, segment, item, name, kind)
)
 WITHOUT ROWID;
CREATE INDEX subscription_topic ON subscription (project_id, event, correlation) WHERE kind = 'event';
CREATE TABLE event_log (
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	type TEXT NOT NULL,
	correlation TEXT NOT NULL,
	source TEXT NOT NULL,
	"key" TEXT,
	data TEXT,
	blob TEXT,
	principal TEXT DEFAULT '' NOT NULL,
	at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE INDEX event_log_topic ON event_log (project_id, type, correlation, at);
CREATE UNIQUE INDEX event_log_key ON event_log (project_id, source, "key");
CREATE INDEX event_log_expiry ON event_log (expires_at);
CREATE INDEX event_log_blob ON event_log (blob) WHERE blob IS NOT NULL;
CREATE TABLE approval (
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	execution_id TEXT NOT NULL,
	segment INTEGER NOT NULL,
	item TEXT NOT NULL,
	node TEXT NOT NULL,
	title TEXT NOT NULL,
	body TEXT,
	blob TEXT,
	shown_hash TEXT NOT NULL,
	approvers TEXT NOT NULL,
	quorum INTEGER NOT NULL,
	rule TEXT NOT NULL,
	four_eyes INTEGER DEFAULT '0' NOT NULL,
	reminded INTEGER DEFAULT '0' NOT NULL,
	escalated INTEGER DEFAULT '0' NOT NULL,
	status TEXT NOT NULL,
	due BIGINT,
	created_at BIGINT NOT NULL,
	decided_at BIGINT,
	PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE UNIQUE INDEX approval_wait ON approval (execution_id, segment, item);
CREATE INDEX approval_status ON approval (project_id, status, id);
CREATE INDEX approval_blob ON approval (blob) WHERE blob IS NOT NULL;
CREATE TABLE approval_vote (
	approval_id TEXT NOT NULL,
	principal TEXT NOT NULL,
	decision TEXT NOT NULL,
	comment TEXT DEFAULT '' NOT NULL,
	form TEXT,
	shown_hash TEXT NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (approval_id, principal)
)
 WITHOUT ROWID;
CREATE TABLE hold (
	execution_id TEXT NOT NULL,
	segment INTEGER NOT NULL,
	item TEXT NOT NULL,
	project_id TEXT NOT NULL,
	"key" TEXT NOT NULL,
	most INTEGER NOT NULL,
	granted INTEGER NOT NULL,
	rank INTEGER NOT NULL,
	place BIGINT NOT NULL,
	until BIGINT,
	PRIMARY KEY (execution_id, segment, item)
)
 WITHOUT ROWID;
CREATE INDEX hold_queue ON hold (project_id, "key", granted, rank, place);
CREATE INDEX hold_held ON hold (execution_id) WHERE granted = 1;
CREATE TABLE rate (
	project_id TEXT NOT NULL,
	"key" TEXT NOT NULL,
	expected BIGINT NOT NULL,
	PRIMARY KEY (project_id, "key")
)
 WITHOUT ROWID;
CREATE INDEX execution_answer_blob ON execution (answer_blob) WHERE answer_blob IS NOT NULL;
CREATE INDEX segment_expiring ON segment (expires) WHERE status = 'ready' AND expires IS NOT NULL;
CREATE INDEX execution_project ON execution (project_id, id);
CREATE TABLE account (
	id TEXT NOT NULL,
	name TEXT NOT NULL,
	password TEXT,
	owns INTEGER DEFAULT '0' NOT NULL,
	active INTEGER DEFAULT '1' NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	signed_in_at BIGINT,
	PRIMARY KEY (id),
	UNIQUE (name)
)
 WITHOUT ROWID;
CREATE TABLE member (
	project_id TEXT NOT NULL,
	user_id TEXT NOT NULL,
	roles TEXT NOT NULL,
	groups TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (project_id, user_id)
)
 WITHOUT ROWID;
CREATE INDEX member_user ON member (user_id);
CREATE TABLE session (
	id TEXT NOT NULL,
	user_id TEXT NOT NULL,
	method TEXT NOT NULL,
	access TEXT NOT NULL,
	access_until BIGINT NOT NULL,
	refresh TEXT NOT NULL,
	previous TEXT,
	rotated_at BIGINT NOT NULL,
	until BIGINT NOT NULL,
	revoked_at BIGINT,
	address TEXT DEFAULT '' NOT NULL,
	agent TEXT DEFAULT '' NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE UNIQUE INDEX session_access ON session (access);
CREATE INDEX session_user ON session (user_id);
CREATE INDEX session_until ON session (until);
CREATE TABLE invitation (
	hash TEXT NOT NULL,
	user_id TEXT,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (hash)
)
 WITHOUT ROWID;
CREATE INDEX invitation_expiry ON invitation (expires_at);
CREATE TABLE api_key (
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	name TEXT NOT NULL,
	hash TEXT NOT NULL,
	hint TEXT NOT NULL,
	scopes TEXT NOT NULL,
	user_id TEXT,
	created_at BIGINT NOT NULL,
	expires_at BIGINT,
	used_at BIGINT,
	revoked_at BIGINT,
	PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE UNIQUE INDEX api_key_hash ON api_key (hash);
CREATE INDEX api_key_project ON api_key (project_id, id);
CREATE TABLE audit (
	seq BIGINT NOT NULL,
	at BIGINT NOT NULL,
	actor TEXT NOT NULL,
	name TEXT NOT NULL,
	action TEXT NOT NULL,
	subject TEXT NOT NULL,
	project_id TEXT NOT NULL,
	address TEXT NOT NULL,
	request TEXT NOT NULL,
	outcome TEXT NOT NULL,
	details TEXT NOT NULL,
	hash TEXT NOT NULL,
	PRIMARY KEY (seq)
)
 WITHOUT ROWID;
CREATE INDEX audit_project ON audit (project_id, seq);
CREATE TABLE variable (
	project_id TEXT NOT NULL,
	name TEXT NOT NULL,
	value TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (project_id, name)
)
 WITHOUT ROWID;
CREATE TABLE schedule (
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	workflow_id TEXT NOT NULL,
	name TEXT NOT NULL,
	origin TEXT NOT NULL,
	kind TEXT NOT NULL,
	spec TEXT NOT NULL,
	epoch INTEGER DEFAULT '0' NOT NULL,
	slot BIGINT,
	due BIGINT,
	last_slot BIGINT,
	paused_at BIGINT,
	reason TEXT DEFAULT '' NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE UNIQUE INDEX schedule_name ON schedule (workflow_id, name);
CREATE INDEX schedule_due ON schedule (due) WHERE due IS NOT NULL;
CREATE TABLE endpoint (
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	workflow_id TEXT NOT NULL,
	name TEXT NOT NULL,
	origin TEXT NOT NULL,
	kind TEXT NOT NULL,
	shape TEXT,
	config TEXT NOT NULL,
	address_hash TEXT,
	sealed BLOB,
	enabled INTEGER DEFAULT '1' NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE UNIQUE INDEX endpoint_name ON endpoint (workflow_id, name);
CREATE UNIQUE INDEX endpoint_shape ON endpoint (shape) WHERE shape IS NOT NULL;
CREATE TABLE event_trigger (
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	workflow_id TEXT NOT NULL,
	name TEXT NOT NULL,
	type TEXT NOT NULL,
	config TEXT NOT NULL,
	schedule_id TEXT,
	PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE UNIQUE INDEX event_trigger_name ON event_trigger (workflow_id, name);
CREATE INDEX event_trigger_type ON event_trigger (project_id, type);
CREATE TABLE inbox (
	source TEXT NOT NULL,
	"key" TEXT NOT NULL,
	project_id TEXT NOT NULL,
	status TEXT NOT NULL,
	execution_id TEXT,
	detail TEXT,
	at BIGINT NOT NULL,
	PRIMARY KEY (source, "key")
)
 WITHOUT ROWID;
CREATE INDEX inbox_source ON inbox (source, at);
CREATE INDEX inbox_at ON inbox (at);
CREATE TABLE model (
	project_id TEXT NOT NULL,
	id TEXT NOT NULL,
	body TEXT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (project_id, id)
)
 WITHOUT ROWID;
CREATE TABLE usage (
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	workflow_id TEXT NOT NULL,
	execution_id TEXT NOT NULL,
	node TEXT NOT NULL,
	item TEXT NOT NULL,
	provider TEXT NOT NULL,
	model TEXT NOT NULL,
	input_tokens BIGINT NOT NULL,
	output_tokens BIGINT NOT NULL,
	cached_tokens BIGINT NOT NULL,
	cost BIGINT,
	settled INTEGER NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE INDEX usage_execution ON usage (execution_id, node);
CREATE INDEX usage_time ON usage (project_id, at);
CREATE TABLE budget (
	project_id TEXT NOT NULL,
	scope TEXT NOT NULL,
	period TEXT NOT NULL,
	most_cost BIGINT,
	most_tokens BIGINT,
	since BIGINT NOT NULL,
	cost BIGINT NOT NULL,
	tokens BIGINT NOT NULL,
	raised TEXT DEFAULT '[]' NOT NULL,
	PRIMARY KEY (project_id, scope)
)
 WITHOUT ROWID;
CREATE TABLE collection (
	project_id TEXT NOT NULL,
	name TEXT NOT NULL,
	model TEXT NOT NULL,
	connection TEXT,
	dimensions INTEGER NOT NULL,
	version BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (project_id, name)
)
 WITHOUT ROWID;
CREATE TABLE passage (
	project_id TEXT NOT NULL,
	collection TEXT NOT NULL,
	document TEXT NOT NULL,
	part INTEGER NOT NULL,
	text TEXT NOT NULL,
	digest BLOB NOT NULL,
	data TEXT NOT NULL,
	vector BLOB NOT NULL,
	PRIMARY KEY (project_id, collection, document, part)
);
CREATE TABLE hook (
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	url TEXT NOT NULL,
	types TEXT NOT NULL,
	workflow_id TEXT,
	description TEXT DEFAULT '' NOT NULL,
	enabled INTEGER DEFAULT '1' NOT NULL,
	reason TEXT,
	secret BLOB NOT NULL,
	old_secret BLOB,
	old_until BIGINT,
	place TEXT NOT NULL,
	failing_since BIGINT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE TABLE hook_delivery (
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	hook_id TEXT NOT NULL,
	type TEXT NOT NULL,
	execution_id TEXT,
	workflow_id TEXT,
	seq INTEGER NOT NULL,
	event TEXT NOT NULL,
	status TEXT NOT NULL,
	attempt INTEGER NOT NULL,
	due BIGINT,
	attempts TEXT DEFAULT '[]' NOT NULL,
	created_at BIGINT NOT NULL,
	finished_at BIGINT,
	PRIMARY KEY (id)
)
 WITHOUT ROWID;
CREATE INDEX hook_delivery_hook ON hook_delivery (hook_id, id);
CREATE INDEX hook_delivery_due ON hook_delivery (due) WHERE due IS NOT NULL;
CREATE INDEX hook_delivery_execution ON hook_delivery (execution_id) WHERE execution_id IS NOT NULL;
CREATE INDEX workflow_deleted ON workflow (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE TABLE workflow_alias (
	workflow_id TEXT NOT NULL,
	name TEXT NOT NULL,
	number INTEGER NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (workflow_id, name)
)
 WITHOUT ROWID;
CREATE TABLE cache_entry (
	project_id TEXT NOT NULL,
	digest TEXT NOT NULL,
	kept_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	body TEXT NOT NULL,
	PRIMARY KEY (project_id, digest)
);
CREATE INDEX cache_entry_expiry ON cache_entry (expires_at);
