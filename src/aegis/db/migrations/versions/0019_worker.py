"""Jobs, schedules, the workers that run them, and how fast a provider may be asked.

A job is one call of a registered function. Its lease and fencing token stand in its own row, so
that nothing else has to be right for a dead worker's job to be taken over. Finished jobs stay in
the same table as history: what is claimed is found by partial indexes, which they are not in.

Going back loses nothing: jobs, schedules and rates are set aside in `aegis_kept_0019_*`, and put
back by the next upgrade. Workers are not: they register anew.

Locks and cost: nothing that exists is touched.
"""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TABLES = (
    # A row is written three times in its short life, and many of them a second: dead rows are
    # taken away after so many of them, not after a share of a long history.
    """
    CREATE TABLE jobs (
        id BIGSERIAL,
        function VARCHAR(200) NOT NULL,
        arguments JSONB NOT NULL DEFAULT '{}',
        key VARCHAR(200),
        provider VARCHAR(100),
        priority SMALLINT NOT NULL DEFAULT 4,
        state VARCHAR(20) NOT NULL DEFAULT 'waiting',
        due_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        attempts INTEGER NOT NULL DEFAULT 0,
        max_attempts INTEGER NOT NULL DEFAULT 5,
        timeout_s INTEGER,
        token BIGINT NOT NULL DEFAULT 0,
        lease_owner TEXT,
        lease_until TIMESTAMPTZ,
        unique_key VARCHAR(200),
        schedule VARCHAR(100),
        planned_at TIMESTAMPTZ,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        started_at TIMESTAMPTZ,
        finished_at TIMESTAMPTZ,
        error TEXT,
        result JSONB,
        CONSTRAINT jobs_pkey PRIMARY KEY (id),
        CONSTRAINT ck_jobs_priority CHECK (priority BETWEEN 0 AND 9),
        CONSTRAINT ck_jobs_state CHECK (
            state::text IN ('waiting', 'running', 'completed', 'failed', 'cancelled')
        ),
        CONSTRAINT ck_jobs_max_attempts CHECK (max_attempts >= 1),
        CONSTRAINT ck_jobs_timeout_s CHECK (timeout_s > 0)
    ) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000)
    """,
    """
    CREATE INDEX idx_jobs_due ON jobs (priority, due_at, id)
        WHERE state = 'waiting'
    """,
    """
    CREATE INDEX idx_jobs_leases ON jobs (lease_until)
        WHERE state = 'running'
    """,
    # Whatever two workers do at once: of one key one job runs.
    """
    CREATE UNIQUE INDEX uq_jobs_running_key ON jobs (key)
        WHERE state = 'running' AND key IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX uq_jobs_unique_key ON jobs (unique_key)
        WHERE unique_key IS NOT NULL
    """,
    # Whatever two schedulers do at once: a planned time has one job.
    """
    CREATE UNIQUE INDEX uq_jobs_planned ON jobs (schedule, planned_at)
        WHERE schedule IS NOT NULL AND planned_at IS NOT NULL
    """,
    """
    CREATE INDEX idx_jobs_schedule ON jobs (schedule, id DESC)
        WHERE schedule IS NOT NULL
    """,
    """
    CREATE INDEX idx_jobs_finished ON jobs (finished_at)
        WHERE finished_at IS NOT NULL
    """,
    """
    CREATE TABLE schedules (
        id BIGSERIAL,
        name VARCHAR(100) NOT NULL,
        cron VARCHAR(200) NOT NULL,
        timezone VARCHAR(64) NOT NULL DEFAULT 'UTC',
        function VARCHAR(200) NOT NULL,
        arguments JSONB NOT NULL DEFAULT '{}',
        priority SMALLINT NOT NULL DEFAULT 4,
        max_attempts INTEGER NOT NULL DEFAULT 1,
        timeout_s INTEGER,
        missed VARCHAR(10) NOT NULL DEFAULT 'latest',
        grace_s INTEGER NOT NULL DEFAULT 60,
        jitter_s INTEGER NOT NULL DEFAULT 0,
        paused BOOLEAN NOT NULL DEFAULT false,
        next_at TIMESTAMPTZ,
        last_planned_at TIMESTAMPTZ,
        skipped BIGINT NOT NULL DEFAULT 0,
        created_by VARCHAR(100) NOT NULL DEFAULT 'operator',
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        changed_at TIMESTAMPTZ,
        removed_at TIMESTAMPTZ,
        CONSTRAINT schedules_pkey PRIMARY KEY (id),
        CONSTRAINT uq_schedules_name UNIQUE (name),
        CONSTRAINT ck_schedules_priority CHECK (priority BETWEEN 0 AND 9),
        CONSTRAINT ck_schedules_max_attempts CHECK (max_attempts >= 1),
        CONSTRAINT ck_schedules_timeout_s CHECK (timeout_s > 0),
        CONSTRAINT ck_schedules_missed CHECK (missed::text IN ('all', 'latest', 'skip')),
        CONSTRAINT ck_schedules_grace_s CHECK (grace_s >= 0),
        CONSTRAINT ck_schedules_jitter_s CHECK (jitter_s BETWEEN 0 AND 86400)
    )
    """,
    """
    CREATE INDEX idx_schedules_next_at ON schedules (next_at)
        WHERE NOT paused AND removed_at IS NULL
    """,
    """
    CREATE TABLE workers (
        id UUID NOT NULL,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        kinds TEXT[] NOT NULL,
        concurrency INTEGER NOT NULL,
        running INTEGER NOT NULL DEFAULT 0,
        done BIGINT NOT NULL DEFAULT 0,
        started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        seen_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        stopped_at TIMESTAMPTZ,
        CONSTRAINT workers_pkey PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE provider_rates (
        provider VARCHAR(100) NOT NULL,
        per_minute DOUBLE PRECISION NOT NULL,
        burst INTEGER NOT NULL DEFAULT 1,
        free_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT provider_rates_pkey PRIMARY KEY (provider),
        CONSTRAINT ck_provider_rates_per_minute CHECK (per_minute > 0),
        CONSTRAINT ck_provider_rates_burst CHECK (burst >= 1)
    )
    """,
)

TABLE_COMMENTS = {
    "jobs": "Calls of registered functions: due, running and finished.",
    "schedules": "Functions that are called at times that a cron expression says.",
    "workers": "Processes that run work, one row an incarnation.",
    "provider_rates": "How often all workers together may ask a provider.",
}
COLUMN_COMMENTS = {
    "jobs": {
        "id": "Identifies the job; the order of enqueueing.",
        "function": "Registered name of the function.",
        "arguments": "What it is called with, an object.",
        "key": "Of one key, one job runs at a time, over all workers.",
        "provider": "Whose rate limit counts, see provider_rates.",
        "priority": "0 to 9; higher first.",
        "state": "waiting (for its time, or for a worker), running, completed, failed, cancelled.",
        "due_at": "Not run before.",
        "attempts": "Times that it was begun and not handed back.",
        "max_attempts": "Fails for good after so many.",
        "timeout_s": "Seconds that one attempt may take; NULL for no limit.",
        "token": "Fencing token; rises with each claim. Writes that name an older one do nothing.",
        "lease_owner": "Incarnation of the worker that runs it (workers.id).",
        "lease_until": "Anybody may take it over from then on.",
        "unique_key": "Enqueued again with this key, it is the same job while it is kept.",
        "schedule": "Name of the schedule that it comes from.",
        "planned_at": "The time of the schedule that it stands for; NULL for one run by hand.",
        "created_at": "When it was enqueued.",
        "started_at": "When its last attempt began.",
        "finished_at": "When it ended, however it did.",
        "error": "What went wrong at last, one line.",
        "result": "What the function returned.",
    },
    "schedules": {
        "id": "Identifies the schedule.",
        "name": "What it is called.",
        "cron": "When: five fields, or six with seconds in front.",
        "timezone": "IANA name of the zone that the fields are in.",
        "function": "Registered name of the function.",
        "arguments": "What it is called with, an object.",
        "priority": "Of its jobs.",
        "max_attempts": "Of its jobs.",
        "timeout_s": "Of its jobs.",
        "missed": "What becomes of times that passed with no worker: all, the latest, or none.",
        "grace_s": "A time counts as missed when it is so many seconds ago.",
        "jitter_s": "Its jobs are due up to so many seconds late, so that not all start at once.",
        "paused": "Nothing is planned while it is.",
        "next_at": "The next time; NULL where there is none.",
        "last_planned_at": "The last time that was planned or passed over.",
        "skipped": "Times that were passed over: missed, or the job before was not done yet.",
        "created_by": "Who made it: operator, default, or a part of Aegis.",
        "created_at": "When it was made.",
        "changed_at": "When somebody changed, paused or removed it; a default one is then theirs.",
        "removed_at": "A default one that was removed; kept so that it does not come back.",
    },
    "workers": {
        "id": "The incarnation: a process that starts again is another.",
        "host": "Name of its machine.",
        "pid": "Its process there.",
        "kinds": "What it runs.",
        "concurrency": "Things that it runs at once at most.",
        "running": "Things that it ran when it was last seen.",
        "done": "Things that it had finished by then.",
        "started_at": "When it started.",
        "seen_at": "When it last said that it lives.",
        "stopped_at": "When it stopped in order.",
    },
    "provider_rates": {
        "provider": "The provider, by name.",
        "per_minute": "Calls a minute, over all workers.",
        "burst": "Calls that may come at once after a pause.",
        "free_at": "When the last call that was granted is paid for (GCRA).",
    },
}

KEPT = {"schedules": "schedules_id_seq", "jobs": "jobs_id_seq", "provider_rates": None}

PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0019_{table}') IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO {table} SELECT * FROM aegis_kept_0019_{table};
    DROP TABLE aegis_kept_0019_{table};
    {numbers}
END
$$
"""
NUMBERS = "PERFORM setval('{sequence}', greatest((SELECT max(id) FROM {table}), 1));"


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    for table, sequence in KEPT.items():
        numbers = NUMBERS.format(sequence=sequence, table=table) if sequence else ""
        op.execute(PUT_BACK.format(table=table, numbers=numbers))
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    for table in KEPT:
        op.execute(f"CREATE TABLE aegis_kept_0019_{table} AS SELECT * FROM {table}")
    op.execute("DROP TABLE jobs, schedules, workers, provider_rates")
