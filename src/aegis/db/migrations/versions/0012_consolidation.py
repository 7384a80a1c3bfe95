"""What consolidation proposes, how far it has read, and what the audit has put aside.

`memory_proposals.sources` names episodes that may be gone, and a proposal outlives the fact that
came of it, so no foreign key holds them. A row in `memory_quarantine` is a whole row of another
table, or the old values of the columns that a repair changed; it refers to nothing by key, because
what it holds is no longer there.

Going back keeps what is in quarantine in `aegis_kept_0012`, and coming again takes it from there;
proposals go, and are made anew.

Locks and cost: three empty tables, nothing else is touched.
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE memory_proposals (
        id BIGSERIAL PRIMARY KEY,
        namespace TEXT NOT NULL,
        kind TEXT NOT NULL,
        concept TEXT NOT NULL,
        content TEXT NOT NULL,
        sources INTEGER[] NOT NULL,
        seen INTEGER NOT NULL,
        first_at TIMESTAMPTZ NOT NULL,
        last_at TIMESTAMPTZ NOT NULL,
        score DOUBLE PRECISION NOT NULL,
        method TEXT NOT NULL,
        digest TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'proposed',
        fact_id INTEGER,
        steps BIGINT[] NOT NULL DEFAULT '{}',
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        decided_at TIMESTAMPTZ,
        decided_by TEXT,
        CONSTRAINT ck_memory_proposals_kind CHECK (
            kind IN ('fact', 'preference', 'pattern', 'remedy')
        ),
        CONSTRAINT ck_memory_proposals_method CHECK (method IN ('extractive', 'model')),
        CONSTRAINT ck_memory_proposals_state CHECK (
            state IN ('proposed', 'accepted', 'rejected', 'undone')
        ),
        CONSTRAINT ck_memory_proposals_score CHECK (score >= 0 AND score <= 1)
    )
    """,
    """
    CREATE UNIQUE INDEX uq_memory_proposals_digest ON memory_proposals (namespace, kind, digest)
    """,
    "CREATE INDEX idx_memory_proposals_state ON memory_proposals (namespace, state, id)",
    "CREATE INDEX idx_memory_proposals_sources ON memory_proposals USING gin (sources)",
    """
    CREATE TABLE memory_consolidation (
        namespace TEXT PRIMARY KEY,
        done_to INTEGER NOT NULL,
        finished_at TIMESTAMPTZ
    )
    """,
    """
    CREATE TABLE memory_quarantine (
        id BIGSERIAL PRIMARY KEY,
        namespace TEXT NOT NULL,
        source_table TEXT NOT NULL,
        source_row_id INTEGER NOT NULL,
        action TEXT NOT NULL,
        kind TEXT NOT NULL,
        reason TEXT NOT NULL,
        content JSONB NOT NULL,
        links JSONB,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT ck_memory_quarantine_source_table CHECK (
            source_table IN ('episodic_memory', 'semantic_memory')
        ),
        CONSTRAINT ck_memory_quarantine_action CHECK (action IN ('deleted', 'changed'))
    )
    """,
    "CREATE INDEX idx_memory_quarantine_namespace ON memory_quarantine (namespace, id)",
    """
    CREATE INDEX idx_memory_quarantine_row ON memory_quarantine (source_table, source_row_id)
    """,
)

TABLE_COMMENTS = {
    "memory_proposals": "Facts and patterns that like episodes suggest, and what became of each.",
    "memory_consolidation": "How far consolidation has read each namespace.",
    "memory_quarantine": "Rows and old values that a repair of the audit put aside; restorable.",
}
COLUMN_COMMENTS = {
    "memory_proposals": {
        "id": "Number of the proposal.",
        "namespace": "Whose memory it is.",
        "kind": "What it suggests: fact, preference, pattern or remedy.",
        "concept": "What the fact would be about.",
        "content": "What the fact would say.",
        "sources": "Ids of the episodes that say so, ascending; some may be gone since.",
        "seen": "How many episodes say so; more than sources where those are a part.",
        "first_at": "When the first of them happened.",
        "last_at": "When the last of them happened.",
        "score": "How sure it is, 0 to 1.",
        "method": "Who worded it: extractive (a sentence of a source) or model.",
        "digest": "Digest of the evidence, so that the same never proposes twice.",
        "state": "What became of it: proposed, accepted, rejected or undone.",
        "fact_id": "The fact that accepting it made or made surer; it may be gone.",
        "steps": "Steps of fact_history that accepting it made, for undoing exactly those.",
        "created_at": "When it was proposed.",
        "decided_at": "When it was accepted, rejected or undone last.",
        "decided_by": "Who did that, as the caller says.",
    },
    "memory_consolidation": {
        "namespace": "Whose memory it is.",
        "done_to": "Every episode up to this id has been looked at.",
        "finished_at": "When a run last came to its end; NULL while none has.",
    },
    "memory_quarantine": {
        "id": "Number of the entry; restoring names it.",
        "namespace": "Whose memory it was.",
        "source_table": "Where it was: episodic_memory or semantic_memory.",
        "source_row_id": "Id of the row.",
        "action": "Whether the row was deleted, or only changed.",
        "kind": "Which check of the audit found it.",
        "reason": "Why, in words.",
        "content": "The whole row, or the old values of what was changed.",
        "links": "What other tables held of the row and lost with it, by table; NULL for nothing.",
        "created_at": "When it was put aside.",
    },
}

PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0012') IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO memory_quarantine SELECT * FROM aegis_kept_0012;
    PERFORM setval('memory_quarantine_id_seq', (SELECT max(id) FROM memory_quarantine));
    DROP TABLE aegis_kept_0012;
END
$$
"""

SET_ASIDE = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM memory_quarantine) THEN
        CREATE TABLE aegis_kept_0012 AS SELECT * FROM memory_quarantine;
    END IF;
END
$$
"""


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")
    op.execute(PUT_BACK)


def downgrade() -> None:
    op.execute(SET_ASIDE)
    for table in TABLE_COMMENTS:
        op.execute(f"DROP TABLE {table}")
