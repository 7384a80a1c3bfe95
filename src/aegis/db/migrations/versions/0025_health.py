"""What the database looked like before, and what was done to keep it well.

Snapshots of PostgreSQL's own counters, so that checks judge an interval and not all time since a
reset, and so that growth has a past. Counters are kept as they were read: what happened in between
is computed, which survives resets. Statements are kept in their normalised form only.

Going back drops these tables: they describe a database, they are no part of it.

Locks and cost: new tables alone.
"""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE health_snapshots (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        taken_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        server_started_at TIMESTAMPTZ NOT NULL,
        stats_reset_at TIMESTAMPTZ,
        statements_reset_at TIMESTAMPTZ,
        database_bytes BIGINT NOT NULL,
        connections INTEGER NOT NULL,
        heap_hit BIGINT NOT NULL,
        heap_read BIGINT NOT NULL,
        index_hit BIGINT NOT NULL,
        index_read BIGINT NOT NULL,
        commits BIGINT NOT NULL,
        rollbacks BIGINT NOT NULL,
        deadlocks BIGINT NOT NULL,
        temp_bytes BIGINT NOT NULL,
        checksum_failures BIGINT NOT NULL,
        with_relations BOOLEAN NOT NULL DEFAULT false,
        CONSTRAINT health_snapshots_pkey PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX idx_health_snapshots_taken_at ON health_snapshots (taken_at)",
    """
    CREATE TABLE health_relations (
        snapshot_id BIGINT NOT NULL,
        schema_name TEXT NOT NULL,
        name TEXT NOT NULL,
        table_name TEXT NOT NULL,
        kind TEXT NOT NULL,
        size_bytes BIGINT NOT NULL,
        live_rows BIGINT,
        dead_rows BIGINT,
        scans BIGINT,
        CONSTRAINT health_relations_pkey PRIMARY KEY (schema_name, name, snapshot_id),
        CONSTRAINT health_relations_snapshot_id_fkey
            FOREIGN KEY (snapshot_id) REFERENCES health_snapshots (id) ON DELETE CASCADE,
        CONSTRAINT ck_health_relations_kind CHECK (kind IN ('table', 'index'))
    )
    """,
    "CREATE INDEX idx_health_relations_snapshot_id ON health_relations (snapshot_id)",
    """
    CREATE TABLE health_queries (
        query_id BIGINT NOT NULL,
        query TEXT NOT NULL,
        first_seen_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT health_queries_pkey PRIMARY KEY (query_id)
    )
    """,
    """
    CREATE TABLE health_statements (
        snapshot_id BIGINT NOT NULL,
        query_id BIGINT NOT NULL,
        calls BIGINT NOT NULL,
        total_ms DOUBLE PRECISION NOT NULL,
        rows BIGINT NOT NULL,
        blocks_hit BIGINT NOT NULL,
        blocks_read BIGINT NOT NULL,
        CONSTRAINT health_statements_pkey PRIMARY KEY (query_id, snapshot_id),
        CONSTRAINT health_statements_snapshot_id_fkey
            FOREIGN KEY (snapshot_id) REFERENCES health_snapshots (id) ON DELETE CASCADE,
        CONSTRAINT health_statements_query_id_fkey
            FOREIGN KEY (query_id) REFERENCES health_queries (query_id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX idx_health_statements_snapshot_id ON health_statements (snapshot_id)",
    """
    CREATE TABLE maintenance_runs (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        task TEXT NOT NULL,
        object TEXT NOT NULL,
        reason TEXT NOT NULL,
        command TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'running',
        started_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
        finished_at TIMESTAMPTZ,
        before_bytes BIGINT,
        after_bytes BIGINT,
        changed_rows BIGINT,
        error TEXT,
        CONSTRAINT maintenance_runs_pkey PRIMARY KEY (id),
        CONSTRAINT ck_maintenance_runs_task CHECK (
            task IN ('drop-index', 'reindex', 'vacuum', 'freeze', 'analyze', 'vacuum-full')
        ),
        CONSTRAINT ck_maintenance_runs_state CHECK (
            state IN ('running', 'done', 'failed', 'deferred', 'interrupted')
        )
    )
    """,
    "CREATE INDEX idx_maintenance_runs_object ON maintenance_runs (object, task, started_at DESC)",
    "CREATE INDEX idx_maintenance_runs_started_at ON maintenance_runs (started_at)",
)

TABLE_COMMENTS = {
    "health_snapshots": "Counters of the database, read from time to time; kept 30 days.",
    "health_relations": "Sizes and counters of tables and indexes at a snapshot.",
    "health_queries": "Statements in their normalised form, without values.",
    "health_statements": "Counters of statements at a snapshot; only those that had changed.",
    "maintenance_runs": "What maintenance did, and how it ended.",
}
COLUMN_COMMENTS = {
    "health_snapshots": {
        "id": "Number of the snapshot.",
        "taken_at": "When it was taken.",
        "server_started_at": "When the server had been started; a crash may have lost counters.",
        "stats_reset_at": "When the counters of the database were last reset.",
        "statements_reset_at": "When those of statements were; NULL without pg_stat_statements.",
        "database_bytes": "Size of the database on disk.",
        "connections": "Clients connected to the server.",
        "heap_hit": "Blocks of tables found in shared buffers, since the reset.",
        "heap_read": "Blocks of tables read from the system, since the reset.",
        "index_hit": "Blocks of indexes found in shared buffers, since the reset.",
        "index_read": "Blocks of indexes read from the system, since the reset.",
        "commits": "Transactions committed, since the reset.",
        "rollbacks": "Transactions rolled back, since the reset.",
        "deadlocks": "Deadlocks, since the reset.",
        "temp_bytes": "Bytes written to temporary files, since the reset.",
        "checksum_failures": "Pages whose checksum was wrong, since the reset.",
        "with_relations": "Whether sizes of tables and indexes were taken, too.",
    },
    "health_relations": {
        "snapshot_id": "The snapshot.",
        "schema_name": "Schema of the table or index.",
        "name": "Its name.",
        "table_name": "The table; of a table, its own name.",
        "kind": "table or index.",
        "size_bytes": "On disk; of a table with its TOAST, without its indexes.",
        "live_rows": "Rows, as estimated; NULL for an index.",
        "dead_rows": "Dead rows, as estimated; NULL for an index.",
        "scans": "Scans since the reset: sequential ones of a table, any of an index.",
    },
    "health_queries": {
        "query_id": "The identifier that PostgreSQL computes of a statement.",
        "query": "Its text, values replaced by $1, $2 and so on.",
        "first_seen_at": "When a snapshot saw it first.",
    },
    "health_statements": {
        "snapshot_id": "The snapshot.",
        "query_id": "The statement.",
        "calls": "How often it ran, since the reset.",
        "total_ms": "Time that it took in all, milliseconds, since the reset.",
        "rows": "Rows returned or touched, since the reset.",
        "blocks_hit": "Blocks found in shared buffers, since the reset.",
        "blocks_read": "Blocks read from the system, since the reset.",
    },
    "maintenance_runs": {
        "id": "Number of the run.",
        "task": "drop-index, reindex, vacuum, freeze, analyze or vacuum-full.",
        "object": "The table or index, with its schema.",
        "reason": "Why it was done.",
        "command": "The statement.",
        "state": "running, done, failed, deferred (somebody held a lock) or interrupted.",
        "started_at": "When it began.",
        "finished_at": "When it ended; NULL while it runs.",
        "before_bytes": "Size of the object before.",
        "after_bytes": "Its size after.",
        "changed_rows": "Rows of the table updated or deleted so far, for the next decision.",
        "error": "Why it failed or was deferred.",
    },
}


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    op.execute("DROP TABLE maintenance_runs, health_statements, health_queries")
    op.execute("DROP TABLE health_relations, health_snapshots")
