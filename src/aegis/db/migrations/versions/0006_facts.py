"""Facts that learn: when a fact holds, where it is known from, and every step that changed it.

A fact without `valid_from` holds since always, as every fact from before does; `created_at` stays
the time since when it is believed. What was believed on an earlier day is the row as
`fact_history` kept it before the first later step, so nothing is stored twice to tell it.

`fact_history.fact_id` and `superseded_by` refer to facts that may be gone, so no foreign key holds
them; ids are never given out again.

Going back keeps every fact with all that the older table holds; the times of validity, the further
sources and the history go.

Locks and cost: three columns without a default, no table is rewritten; the CHECK and the index read
`semantic_memory` once, about a second per million rows.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE semantic_memory
        ADD COLUMN valid_from TIMESTAMPTZ,
        ADD COLUMN valid_to TIMESTAMPTZ,
        ADD COLUMN superseded_by INTEGER,
        ADD CONSTRAINT ck_semantic_memory_validity CHECK (
            isfinite(valid_from) AND isfinite(valid_to) AND valid_from <= valid_to
        )
    """,
    r"""
    CREATE INDEX idx_semantic_concept_key ON semantic_memory (
        namespace, lower(regexp_replace(btrim(concept), '\s+', ' ', 'g'))
    )
    """,
    """
    CREATE TABLE fact_history (
        id BIGSERIAL PRIMARY KEY,
        fact_id INTEGER NOT NULL,
        namespace TEXT NOT NULL,
        action TEXT NOT NULL,
        before JSONB,
        at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
        actor TEXT,
        undoes BIGINT,
        CONSTRAINT ck_fact_history_action CHECK (
            action IN ('created', 'merged', 'superseded', 'updated', 'restored', 'deleted')
        ),
        CONSTRAINT fact_history_undoes_fkey FOREIGN KEY (undoes) REFERENCES fact_history (id)
    )
    """,
    "CREATE INDEX idx_fact_history_fact ON fact_history (fact_id, id)",
    "CREATE INDEX idx_fact_history_namespace_at ON fact_history (namespace, at)",
    "CREATE UNIQUE INDEX uq_fact_history_undoes ON fact_history (undoes)",
    """
    CREATE TABLE fact_sources (
        id BIGSERIAL PRIMARY KEY,
        fact_id INTEGER NOT NULL,
        namespace TEXT NOT NULL,
        source TEXT,
        source_id TEXT,
        content TEXT NOT NULL,
        confidence DOUBLE PRECISION NOT NULL,
        recorded_at TIMESTAMPTZ NOT NULL,
        step BIGINT NOT NULL,
        CONSTRAINT fact_sources_fact_id_fkey
            FOREIGN KEY (fact_id) REFERENCES semantic_memory (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX idx_fact_sources_fact ON fact_sources (fact_id, id)",
    """
    CREATE INDEX idx_fact_sources_source_id ON fact_sources (namespace, source_id)
        WHERE source_id IS NOT NULL
    """,
)

COLUMN_COMMENTS = {
    "semantic_memory": {
        "valid_from": "From when on it holds in the world, inclusive; NULL since always.",
        "valid_to": "Until when it holds in the world, exclusive; NULL while no end is known.",
        "superseded_by": "Fact that holds from valid_to on; it may have been deleted since.",
    },
    "fact_history": {
        "id": "Number of the step; later steps of a fact have higher ones.",
        "fact_id": "The fact; it may be gone.",
        "namespace": "Whose knowledge it is.",
        "action": "What was done: created, merged, superseded, updated, restored or deleted.",
        "before": "The row before the step, with its sources if it was deleted; NULL for none.",
        "at": "When it was done.",
        "actor": "Who did it, as the caller says; NULL if it does not.",
        "undoes": "The step that this one takes back; each step once.",
    },
    "fact_sources": {
        "id": "Number of the row.",
        "fact_id": "The fact that it says.",
        "namespace": "Whose knowledge it is.",
        "source": "Where it is known from; NULL for not said.",
        "source_id": "Name of the fact at the source, so that it is taken once.",
        "content": "The words in which it was said.",
        "confidence": "How sure the source is, 0 to 1.",
        "recorded_at": "When it was said to us.",
        "step": "Step of fact_history that brought it; undoing that removes it.",
    },
}
TABLE_COMMENTS = {
    "fact_history": "Every step that changed a fact, as it was before; rows are only added.",
    "fact_sources": "Who said a fact that several said; a fact said once has no row here.",
}

DROPS = (
    "DROP TABLE fact_sources",
    "DROP TABLE fact_history",
    "DROP INDEX idx_semantic_concept_key",
    """
    ALTER TABLE semantic_memory
        DROP CONSTRAINT ck_semantic_memory_validity,
        DROP COLUMN valid_from,
        DROP COLUMN valid_to,
        DROP COLUMN superseded_by
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    for statement in DROPS:
        op.execute(statement)
