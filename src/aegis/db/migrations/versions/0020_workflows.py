"""Workflows that outlive their workers: versions, leases, steps, signals.

`workflows` keeps the newest graph of each name; every version that was saved stands in
`workflow_versions`, and an execution stays with the one it began with. `workflow_executions` gets
what a durable worker needs on the row itself: lease, fencing token, when it is due. A step is one
row, written in the transaction that moves its execution on.

Rows that other programs wrote have no version; no worker takes them.

Going back loses nothing: what the new columns and tables held is set aside in
`aegis_kept_0020_*`, and put back by the next upgrade.

Locks and cost: new columns with constant defaults rewrite nothing; building the indexes reads
`workflow_executions` once.
"""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

TABLES = (
    "ALTER TABLE workflows ADD COLUMN version INTEGER",
    "CREATE UNIQUE INDEX uq_workflows_name ON workflows (name) WHERE version IS NOT NULL",
    """
    CREATE TABLE workflow_versions (
        workflow_id UUID NOT NULL,
        version INTEGER NOT NULL,
        graph JSONB NOT NULL,
        status TEXT NOT NULL DEFAULT 'active',
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT workflow_versions_pkey PRIMARY KEY (workflow_id, version),
        CONSTRAINT workflow_versions_workflow_id_fkey
            FOREIGN KEY (workflow_id) REFERENCES workflows (id) ON DELETE CASCADE,
        CONSTRAINT ck_workflow_versions_version CHECK (version >= 1),
        CONSTRAINT ck_workflow_versions_status CHECK (status IN ('active', 'archived'))
    )
    """,
    """
    ALTER TABLE workflow_executions
        ADD COLUMN version INTEGER,
        ADD COLUMN namespace TEXT NOT NULL DEFAULT 'default',
        ADD COLUMN idempotency_key TEXT,
        ADD COLUMN reason TEXT,
        ADD COLUMN output JSONB,
        ADD COLUMN priority SMALLINT NOT NULL DEFAULT 0,
        ADD COLUMN lease_owner TEXT,
        ADD COLUMN lease_until TIMESTAMPTZ,
        ADD COLUMN token BIGINT NOT NULL DEFAULT 0,
        ADD COLUMN takeovers INTEGER NOT NULL DEFAULT 0,
        ADD COLUMN wake_at TIMESTAMPTZ,
        ADD COLUMN deadline_at TIMESTAMPTZ,
        ADD COLUMN parent_id UUID,
        ADD COLUMN forked_from UUID,
        ADD COLUMN steps INTEGER NOT NULL DEFAULT 0,
        ADD COLUMN signals INTEGER NOT NULL DEFAULT 0,
        ADD COLUMN pruned_at TIMESTAMPTZ,
        ADD CONSTRAINT workflow_executions_version_fkey
            FOREIGN KEY (workflow_id, version) REFERENCES workflow_versions (workflow_id, version),
        ADD CONSTRAINT ck_workflow_executions_reason CHECK (
            reason IN ('waiting', 'paused', 'cancelled', 'deadline', 'step', 'ceiling', 'crashed')
        ),
        ADD CONSTRAINT ck_workflow_executions_priority CHECK (priority BETWEEN -10 AND 10)
    """,
    # A leased execution is due again when its lease runs out: one index says what is due.
    """
    CREATE INDEX idx_workflow_executions_due
        ON workflow_executions (priority, GREATEST(wake_at, lease_until))
        WHERE status::text = 'running' AND wake_at IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX uq_workflow_executions_idempotency_key
        ON workflow_executions (workflow_id, idempotency_key)
        WHERE idempotency_key IS NOT NULL
    """,
    "CREATE INDEX idx_workflow_executions_started_at"
    " ON workflow_executions (started_at DESC, id DESC)",
    """
    CREATE INDEX idx_workflow_executions_namespace
        ON workflow_executions (namespace, started_at DESC, id DESC)
    """,
    """
    CREATE INDEX idx_workflow_executions_parent_id ON workflow_executions (parent_id)
        WHERE parent_id IS NOT NULL
    """,
    """
    CREATE INDEX idx_workflow_executions_ended ON workflow_executions (completed_at)
        WHERE version IS NOT NULL AND pruned_at IS NULL
    """,
    """
    CREATE TABLE workflow_steps (
        execution_id UUID NOT NULL,
        seq INTEGER NOT NULL,
        node TEXT NOT NULL,
        branch TEXT NOT NULL DEFAULT '',
        visit INTEGER NOT NULL DEFAULT 1,
        attempt INTEGER NOT NULL DEFAULT 1,
        status TEXT NOT NULL,
        input JSONB,
        output JSONB,
        error_code TEXT,
        error TEXT,
        next_node TEXT,
        due_at TIMESTAMPTZ,
        started_at TIMESTAMPTZ NOT NULL,
        finished_at TIMESTAMPTZ,
        CONSTRAINT workflow_steps_pkey PRIMARY KEY (execution_id, node, branch, visit, attempt),
        CONSTRAINT workflow_steps_execution_id_fkey
            FOREIGN KEY (execution_id) REFERENCES workflow_executions (id) ON DELETE CASCADE,
        CONSTRAINT ck_workflow_steps_status CHECK (
            status IN ('completed', 'failed', 'retrying', 'waiting', 'resumed', 'retried')
        )
    )
    """,
    """
    CREATE TABLE workflow_signals (
        id BIGSERIAL PRIMARY KEY,
        execution_id UUID NOT NULL,
        name TEXT NOT NULL,
        payload JSONB,
        key TEXT,
        sent_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        taken_by TEXT,
        CONSTRAINT workflow_signals_execution_id_fkey
            FOREIGN KEY (execution_id) REFERENCES workflow_executions (id) ON DELETE CASCADE,
        CONSTRAINT uq_workflow_signals_key UNIQUE (execution_id, key)
    )
    """,
)

COLUMN_COMMENTS = {
    "workflows": {
        "version": "Newest version of its graph; NULL for rows of other programs.",
    },
    "workflow_versions": {
        "workflow_id": "The workflow.",
        "version": "1, 2, … within the workflow.",
        "graph": "Object with its nodes and edges; it never changes.",
        "status": "active, or archived: executions of it are no longer started.",
        "created_at": "When it was saved.",
    },
    "workflow_executions": {
        "version": "Version of the graph that it stays with; NULL for rows of other programs.",
        "namespace": "Namespace of memories that its nodes read and write.",
        "idempotency_key": "What makes a second start the same start.",
        "reason": "Why it is in its status: waiting, paused, cancelled, deadline, step, ceiling "
        "(of steps) or crashed; NULL while it is worked on and when it completed.",
        "output": "What it returned; NULL until it completed.",
        "priority": "-10 to 10, higher first.",
        "lease_owner": "Worker that runs it; NULL when nobody does.",
        "lease_until": "When another worker may take it over.",
        "token": "Rises with each claim; a write that names an older one changes nothing.",
        "takeovers": "Workers in a row that lost it without a step recorded.",
        "wake_at": "When there is something to do; NULL when only a signal or a person can tell.",
        "deadline_at": "When it fails if it has not ended.",
        "parent_id": "The execution whose step this is.",
        "forked_from": "The execution whose first steps it shares.",
        "steps": "Number of the latest step.",
        "signals": "Signals, approvals and ended children so far.",
        "pruned_at": "When its steps were removed.",
    },
    "workflow_steps": {
        "execution_id": "The execution.",
        "seq": "1, 2, … in the order in which steps of the execution were recorded.",
        "node": "Name of the node; @resume and @retry are acts of a person.",
        "branch": "Where in fan-outs it stands, such as each[3]; empty outside.",
        "visit": "How often the node was entered in this branch, counted from 1.",
        "attempt": "Try, counted from 1; 0 says that the node began to wait.",
        "status": "completed, failed, retrying, waiting, resumed or retried.",
        "input": "What it was given beyond the definition.",
        "output": "Result of the node, which is what it adds to the context.",
        "error_code": "Stable code of what went wrong.",
        "error": "What went wrong.",
        "next_node": "The node that follows; NULL where its branch ends.",
        "due_at": "When the wait ends or the next try begins.",
        "started_at": "When it began.",
        "finished_at": "When it ended; NULL for a wait.",
    },
    "workflow_signals": {
        "id": "Number of the signal.",
        "execution_id": "The execution it is for.",
        "name": "Name that a node waits for; approval:NODE is the answer of a person.",
        "payload": "What it carries.",
        "key": "What makes a second signal the same signal.",
        "sent_at": "When it was sent.",
        "taken_by": "The step that took it; NULL while none has.",
    },
}
TABLE_COMMENTS = {
    "workflow_versions": "Graphs of workflows, one row a version.",
    "workflow_steps": "What executions did, one row an attempt. Goes with the execution.",
    "workflow_signals": "What executions were told from outside. Goes with the execution.",
}

EXECUTION_COLUMNS = tuple(COLUMN_COMMENTS["workflow_executions"])

SET_ASIDE = (
    "CREATE TABLE aegis_kept_0020_workflows AS SELECT id, version FROM workflows",
    "CREATE TABLE aegis_kept_0020_versions AS SELECT * FROM workflow_versions",
    f"""
    CREATE TABLE aegis_kept_0020_executions AS
    SELECT id, {", ".join(EXECUTION_COLUMNS)}
    FROM workflow_executions
    """,
    "CREATE TABLE aegis_kept_0020_steps AS SELECT * FROM workflow_steps",
    "CREATE TABLE aegis_kept_0020_signals AS SELECT * FROM workflow_signals",
)

_ASSIGNMENTS = ", ".join(f"{c} = k.{c}" for c in EXECUTION_COLUMNS if c != "version")
PUT_BACK = f"""
DO $$
BEGIN
    IF to_regclass('aegis_kept_0020_executions') IS NULL THEN
        RETURN;
    END IF;
    -- Rows may have been deleted meanwhile.
    UPDATE workflows w SET version = k.version FROM aegis_kept_0020_workflows k WHERE w.id = k.id;
    INSERT INTO workflow_versions (workflow_id, version, graph, status, created_at)
    SELECT k.workflow_id, k.version, k.graph, k.status, k.created_at
    FROM aegis_kept_0020_versions k
    JOIN workflows w ON w.id = k.workflow_id;
    UPDATE workflow_executions e
    SET {_ASSIGNMENTS},
        version = (
            SELECT v.version FROM workflow_versions v
            WHERE v.workflow_id = e.workflow_id AND v.version = k.version
        )
    FROM aegis_kept_0020_executions k
    WHERE e.id = k.id;
    INSERT INTO workflow_steps (
        execution_id, seq, node, branch, visit, attempt, status, input, output, error_code, error,
        next_node, due_at, started_at, finished_at
    )
    SELECT s.execution_id, s.seq, s.node, s.branch, s.visit, s.attempt, s.status, s.input,
           s.output, s.error_code, s.error, s.next_node, s.due_at, s.started_at, s.finished_at
    FROM aegis_kept_0020_steps s
    JOIN workflow_executions e ON e.id = s.execution_id;
    INSERT INTO workflow_signals (id, execution_id, name, payload, key, sent_at, taken_by)
    SELECT s.id, s.execution_id, s.name, s.payload, s.key, s.sent_at, s.taken_by
    FROM aegis_kept_0020_signals s
    JOIN workflow_executions e ON e.id = s.execution_id;
    PERFORM setval(pg_get_serial_sequence('workflow_signals', 'id'), max(id)) FROM workflow_signals;
    DROP TABLE aegis_kept_0020_workflows, aegis_kept_0020_versions, aegis_kept_0020_executions,
        aegis_kept_0020_steps, aegis_kept_0020_signals;
END
$$
"""


def upgrade() -> None:
    for statement in (*TABLES, PUT_BACK):
        op.execute(statement)
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    for statement in SET_ASIDE:
        op.execute(statement)
    for table in ("workflow_signals", "workflow_steps"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP INDEX idx_workflow_executions_started_at, idx_workflow_executions_namespace")
    drops = ", ".join(f"DROP COLUMN {name}" for name in EXECUTION_COLUMNS)
    op.execute(f"ALTER TABLE workflow_executions {drops}")
    op.execute("DROP TABLE workflow_versions")
    op.execute("ALTER TABLE workflows DROP COLUMN version")
