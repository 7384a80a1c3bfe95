"""What the audit repairs of decisions is put aside too.

Locks and cost: ACCESS EXCLUSIVE on `memory_quarantine` until the revision commits, and one read of
it.
"""

from __future__ import annotations

from alembic import op

revision = "0038"
down_revision = "0036"
branch_labels = None
depends_on = None

_DROP = "ALTER TABLE memory_quarantine DROP CONSTRAINT ck_memory_quarantine_source_table"
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
    for statement in WIDER:
        op.execute(statement)


def downgrade() -> None:
    for statement in NARROWER:
        op.execute(statement)
