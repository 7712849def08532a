-- The same in PostgreSQL's words.
SET TIME ZONE 'UTC';
CREATE TABLE reconciler_alarms (
	id TEXT NOT NULL,
	run_id TEXT NOT NULL,
	target TEXT NOT NULL,
	service TEXT NOT NULL,
	pool_id TEXT NOT NULL,
	pool_name TEXT NOT NULL,
	at TIMESTAMP WITH TIME ZONE NOT NULL,
	message TEXT NOT NULL,
	acknowledged TIMESTAMP WITH TIME ZONE,
	acknowledged_by TEXT NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE reconciler_drift (
	run_id TEXT NOT NULL,
	target TEXT NOT NULL,
	service TEXT NOT NULL,
	pool_id TEXT NOT NULL,
	pool_name TEXT NOT NULL,
	at TIMESTAMP WITH TIME ZONE NOT NULL,
	surplus INTEGER NOT NULL,
	missing INTEGER NOT NULL,
	surplus_gb BIGINT NOT NULL,
	PRIMARY KEY (run_id, target, service, pool_id)
);
CREATE TABLE reconciler_events (
	seq BIGSERIAL NOT NULL,
	run_id TEXT NOT NULL,
	operation_id TEXT,
	at TIMESTAMP WITH TIME ZONE NOT NULL,
	kind TEXT NOT NULL,
	detail JSON NOT NULL,
	PRIMARY KEY (seq)
);
CREATE TABLE reconciler_group_losses (
	run_group TEXT NOT NULL,
	kind TEXT NOT NULL,
	item TEXT NOT NULL,
	amount BIGINT NOT NULL,
	PRIMARY KEY (run_group, kind, item)
);
CREATE TABLE reconciler_marks (
	target TEXT NOT NULL,
	service TEXT NOT NULL,
	pool_id TEXT NOT NULL,
	disk_id TEXT NOT NULL,
	pool_name TEXT NOT NULL,
	run_id TEXT NOT NULL,
	first_seen TIMESTAMP WITH TIME ZONE NOT NULL,
	grace BIGINT NOT NULL,
	extended_until TIMESTAMP WITH TIME ZONE,
	extended_by TEXT NOT NULL,
	PRIMARY KEY (target, service, pool_id, disk_id)
);
CREATE TABLE reconciler_operations (
	id TEXT NOT NULL,
	run_id TEXT NOT NULL,
	target TEXT NOT NULL,
	service TEXT NOT NULL,
	pool_id TEXT NOT NULL,
	pool_name TEXT NOT NULL,
	step TEXT NOT NULL,
	handle_type TEXT,
	disks JSON NOT NULL,
	disk_count INTEGER NOT NULL,
	keep JSON NOT NULL,
	baseline_jobs JSON NOT NULL,
	generation BIGINT NOT NULL,
	signed_at TIMESTAMP WITH TIME ZONE NOT NULL,
	not_after TIMESTAMP WITH TIME ZONE,
	plan_digest TEXT NOT NULL,
	state TEXT NOT NULL,
	outcome TEXT,
	job_id TEXT,
	request_id TEXT,
	status INTEGER,
	code TEXT,
	message TEXT,
	owner TEXT NOT NULL,
	lease_until TIMESTAMP WITH TIME ZONE NOT NULL,
	opened TIMESTAMP WITH TIME ZONE NOT NULL,
	closed TIMESTAMP WITH TIME ZONE,
	verdict TEXT NOT NULL,
	closed_by TEXT,
	copies JSON NOT NULL,
	intent_sum TEXT NOT NULL,
	state_sum TEXT NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE reconciler_plans (
	plan_id TEXT NOT NULL,
	run_id TEXT NOT NULL,
	claimed TIMESTAMP WITH TIME ZONE NOT NULL,
	PRIMARY KEY (plan_id)
);
CREATE TABLE reconciler_pools (
	target TEXT NOT NULL,
	service TEXT NOT NULL,
	pool_id TEXT NOT NULL,
	generation BIGINT NOT NULL,
	PRIMARY KEY (target, service, pool_id)
);
CREATE TABLE reconciler_runs (
	id TEXT NOT NULL,
	command TEXT NOT NULL,
	tool_version TEXT NOT NULL,
	targets JSON NOT NULL,
	started TIMESTAMP WITH TIME ZONE NOT NULL,
	ended TIMESTAMP WITH TIME ZONE,
	digest TEXT NOT NULL,
	exit_code INTEGER,
	summary JSON NOT NULL,
	way TEXT NOT NULL,
	principals JSON NOT NULL,
	policy TEXT NOT NULL,
	origin JSON NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE reconciler_schema (
	version INTEGER NOT NULL
);
CREATE TABLE reconciler_upkeep (
	what TEXT NOT NULL,
	until TIMESTAMP WITH TIME ZONE NOT NULL,
	PRIMARY KEY (what)
);
CREATE INDEX reconciler_open_alarms ON reconciler_alarms (target, service) WHERE acknowledged IS NULL;
CREATE INDEX ix_reconciler_drift_at ON reconciler_drift (at);
CREATE INDEX reconciler_drift_by_pool ON reconciler_drift (pool_id, target, service, at);
CREATE INDEX ix_reconciler_events_run_id ON reconciler_events (run_id);
CREATE INDEX reconciler_last_claims ON reconciler_group_losses (amount) WHERE kind = '';
CREATE INDEX ix_reconciler_operations_opened ON reconciler_operations (opened);
CREATE INDEX ix_reconciler_operations_owner ON reconciler_operations (owner);
CREATE INDEX ix_reconciler_operations_run_id ON reconciler_operations (run_id);
CREATE INDEX reconciler_by_pool ON reconciler_operations (pool_id, target, service);
CREATE INDEX reconciler_not_done ON reconciler_operations (target, service) WHERE state NOT IN ('done', 'not_accepted', 'not_sent', 'rejected');
CREATE UNIQUE INDEX reconciler_one_unresolved_per_pool ON reconciler_operations (target, service, pool_id) WHERE closed IS NULL;
CREATE INDEX ix_reconciler_runs_started ON reconciler_runs (started);
INSERT INTO "reconciler_operations" VALUES('op-1','run-1','ap-southeast-3/0123456789abcdef0123456789abcdef','workspace.example','pool-1','finance','remove','FOR_EXPAND_AND_IDLE','[["disk-0", "SSD", 100], ["disk-1", "SSD", 100]]',2,'["kept-1", "kept-2"]','["job-0"]',0,'2026-03-01 23:59:59.123456','2026-03-02 00:14:59.123456','sha256:abc','done','accepted','job','',NULL,'','','run-1','2026-03-02 00:00:59.123456','2026-03-01 23:59:59.123456','2026-03-01 23:59:59.123456','as told','run','[]','97000b1816db8036fddade5d5ab01f9c8362a99468bb6ee2c0d3d5c350ca3228','406680e5346dd82f34cae413accfabd91faa908eab669b6da47c407b5a091a3e');
INSERT INTO "reconciler_operations" VALUES('op-2','run-1','ap-southeast-3/0123456789abcdef0123456789abcdef','workspace.example','pool-1','finance','remove','FOR_EXPAND_AND_IDLE','[["disk-0", "SSD", 100], ["disk-1", "SSD", 100]]',2,'["kept-1", "kept-2"]','["job-0"]',2,'2026-03-01 23:59:59.123456','2026-03-02 00:14:59.123456','sha256:abc','failed','accepted','job','',NULL,'','','run-1','2026-03-02 00:00:59.123456','2026-03-01 23:59:59.123456','2026-03-01 23:59:59.123456','as told','run','[]','1050b5a0ed53538389d4668666f21ac17a8b14f282fbaaaa89fd8c7acb8f9506','44323ec98c9227865a90369babd4c1b149400a2df95fe083cf6d9c72dd7729f8');
INSERT INTO "reconciler_operations" VALUES('op-3','run-1','ap-southeast-3/0123456789abcdef0123456789abcdef','workspace.example','pool-1','finance','remove','FOR_EXPAND_AND_IDLE','[["disk-0", "SSD", 100], ["disk-1", "SSD", 100]]',2,'["kept-1", "kept-2"]','["job-0"]',4,'2026-03-01 23:59:59.123456','2026-03-02 00:14:59.123456','sha256:abc','not_sent','not_sent','job','',NULL,'','','run-1','2026-03-02 00:00:59.123456','2026-03-01 23:59:59.123456','2026-03-01 23:59:59.123456','as told','run','[]','e683822816ed0a25760e08c9fb20181721c10ae67b8459e98bf661fe215e35b5','6d98677557373f4e8f96791955273c8d28c6892cfc94a3da89fcb7019f240378');
INSERT INTO "reconciler_operations" VALUES('op-4','run-1','ap-southeast-3/0123456789abcdef0123456789abcdef','workspace.example','pool-1','finance','remove','FOR_EXPAND_AND_IDLE','[["disk-0", "SSD", 100], ["disk-1", "SSD", 100]]',2,'["kept-1", "kept-2"]','["job-0"]',6,'2026-03-01 23:59:59.123456','2026-03-02 00:14:59.123456','sha256:abc','unknown','unknown','job','',NULL,'','','run-1','2026-03-02 00:00:59.123456','2026-03-01 23:59:59.123456',NULL,'',NULL,'[]','f524fe59a162f225f1960c24a4f9d8b605e12bf118bcce6d0999550953a79e75','eebfa0ad7e9052c7df51f95c9604beab7a1fe32a60db286e6e60ca040e6003ff');
INSERT INTO "reconciler_pools" VALUES('ap-southeast-3/0123456789abcdef0123456789abcdef','workspace.example','pool-1',7);
INSERT INTO "reconciler_runs" VALUES('run-1','apply','0.1.0','["r/p"]','2026-03-01 23:59:59.123456','2026-03-01 23:59:59.123456','digest',7,'{}','','[]','','{}');
INSERT INTO "reconciler_schema" VALUES(4);
