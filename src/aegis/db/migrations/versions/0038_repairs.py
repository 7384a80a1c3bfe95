"""What the audit repairs of decisions is put aside too; the past of many facts is found by indexes.

What was believed on a day was found by reading every fact of a namespace and every step since. Now
steps that may have changed a fact's words are found by the words, by the concept and by the time,
and facts by when they were recorded and last updated.

Locks and cost: ACCESS EXCLUSIVE on `memory_quarantine` until the revision commits, and one read of
it; SHARE on `semantic_memory` and `fact_history` while their indexes are built, a second per
100,000 facts, and one per 20,000 steps that changed or deleted a fact.
"""

from __future__ import annotations

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

_DROP = "ALTER TABLE memory_quarantine DROP CONSTRAINT ck_memory_quarantine_source_table"
INDEXES = (
    """
    CREATE INDEX idx_semantic_recorded ON semantic_memory (
        namespace, (coalesce(created_at, updated_at, to_timestamp(0)))
    )
    """,
    """
    CREATE INDEX idx_semantic_updated ON semantic_memory (
        namespace, updated_at DESC NULLS LAST, id DESC
    )
    """,
    # The first later step of each fact is told by it alone; it does what the narrower one did.
    """
    CREATE INDEX idx_fact_history_steps ON fact_history (namespace, at)
        INCLUDE (id, fact_id, action)
    """,
    "DROP INDEX idx_fact_history_namespace_at",
    """
    CREATE INDEX idx_fact_history_concept ON fact_history (namespace, (before ->> 'concept'))
        WHERE action IN ('updated', 'restored', 'deleted')
    """,
    # The namespace is the first word, as in `idx_semantic_words`.
    r"""
    CREATE INDEX idx_fact_history_words ON fact_history USING gin (
        (
            array_to_tsvector(ARRAY[E'\x01' || namespace])
            || to_tsvector(
                'english', left((before ->> 'concept') || ' ' || (before ->> 'content'), 100000)
            )
        )
    ) WITH (gin_pending_list_limit = 256)
        WHERE action IN ('updated', 'restored', 'deleted')
    """,
)
WIDER = (
    _DROP,
    """
    ALTER TABLE memory_quarantine
        ADD CONSTRAINT ck_memory_quarantine_source_table CHECK (
            source_table IN ('decision_outcomes', 'episodic_memory', 'semantic_memory')
        )
    """,
    """
    COMMENT ON COLUMN memory_quarantine.source_table IS
        'Where it was: decision_outcomes, episodic_memory or semantic_memory.'
    """,
    # What a downgrade set aside comes back.
    """
    DO $$
    BEGIN
        IF to_regclass('aegis_kept_0038') IS NOT NULL THEN
            INSERT INTO memory_quarantine SELECT * FROM aegis_kept_0038;
            DROP TABLE aegis_kept_0038;
        END IF;
    END
    $$
    """,
)
NARROWER = (
    """
    DO $$
    BEGIN
        IF EXISTS (SELECT FROM memory_quarantine WHERE source_table = 'decision_outcomes') THEN
            CREATE TABLE aegis_kept_0038 AS
            SELECT * FROM memory_quarantine WHERE source_table = 'decision_outcomes';
            DELETE FROM memory_quarantine WHERE source_table = 'decision_outcomes';
        END IF;
    END
    $$
    """,
    _DROP,
    """
    ALTER TABLE memory_quarantine
        ADD CONSTRAINT ck_memory_quarantine_source_table CHECK (
            source_table IN ('episodic_memory', 'semantic_memory')
        )
    """,
    """
    COMMENT ON COLUMN memory_quarantine.source_table IS
        'Where it was: episodic_memory or semantic_memory.'
    """,
)


def upgrade() -> None:
    for statement in (*WIDER, *INDEXES):
        op.execute(statement)


def downgrade() -> None:
    op.execute("CREATE INDEX idx_fact_history_namespace_at ON fact_history (namespace, at)")
    for index in ("words", "concept", "steps"):
        op.execute(f"DROP INDEX idx_fact_history_{index}")
    for index in ("updated", "recorded"):
        op.execute(f"DROP INDEX idx_semantic_{index}")
    for statement in NARROWER:
        op.execute(statement)
