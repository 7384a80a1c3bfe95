"""Decisions that teach: how sure one was, when the outcome ought to be known, what led there.

Going back loses nothing: what the older tables cannot hold is set aside in `aegis_kept_0007`, and
put back by the next upgrade, except where the decision or the episode is gone by then.

Locks and cost: ACCESS EXCLUSIVE on `decision_outcomes` until the revision commits. The added
columns have no default, so nothing is rewritten; the CHECK and the index each read the table once,
about a second per million rows.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = (
    # NaN is greater than every number in PostgreSQL, so the CHECK refuses it as well.
    """
    ALTER TABLE decision_outcomes
        ADD COLUMN confidence DOUBLE PRECISION,
        ADD COLUMN review_at TIMESTAMPTZ,
        ADD CONSTRAINT ck_decision_outcomes_confidence
            CHECK (confidence >= 0 AND confidence <= 1)
    """,
    """
    CREATE TABLE decision_episodes (
        decision_id INTEGER NOT NULL,
        episode_id INTEGER NOT NULL,
        role TEXT NOT NULL,
        CONSTRAINT decision_episodes_pkey PRIMARY KEY (decision_id, episode_id),
        CONSTRAINT decision_episodes_decision_id_fkey
            FOREIGN KEY (decision_id) REFERENCES decision_outcomes (id) ON DELETE CASCADE,
        CONSTRAINT decision_episodes_episode_id_fkey
            FOREIGN KEY (episode_id) REFERENCES episodic_memory (id) ON DELETE CASCADE,
        CONSTRAINT ck_decision_episodes_role
            CHECK (role IN ('trigger', 'support', 'against', 'context'))
    )
    """,
    """
    CREATE INDEX idx_decision_episodes_episode_id
        ON decision_episodes (episode_id, decision_id)
    """,
    # The order of `due`, of what is open only. A row of the seed's may have no time at all.
    """
    CREATE INDEX idx_decision_outcomes_due
        ON decision_outcomes (
            namespace, (coalesce(review_at, created_at, to_timestamp(0))), id
        )
        WHERE outcome_status IS NULL OR outcome_status = 'pending'
    """,
)

COMMENTS = (
    """
    COMMENT ON COLUMN decision_outcomes.confidence IS
        'How likely success seemed when it was decided, 0 to 1; NULL where nobody said.'
    """,
    """
    COMMENT ON COLUMN decision_outcomes.review_at IS
        'When the outcome ought to be known; NULL where nobody said.'
    """,
    """
    COMMENT ON TABLE decision_episodes IS
        'Episodes that led to a decision. Goes with either of them.'
    """,
    "COMMENT ON COLUMN decision_episodes.decision_id IS 'The decision (decision_outcomes.id).'",
    """
    COMMENT ON COLUMN decision_episodes.episode_id IS
        'An episode that led to it, of the same namespace.'
    """,
    """
    COMMENT ON COLUMN decision_episodes.role IS
        'trigger: made it necessary; support, against: spoke for, against what was chosen; context.'
    """,
)

SET_ASIDE = """
CREATE TABLE aegis_kept_0007 AS
SELECT d.id AS decision_id,
       d.confidence,
       d.review_at,
       NULL::integer AS episode_id,
       NULL::text AS role
FROM decision_outcomes d
WHERE d.confidence IS NOT NULL
   OR d.review_at IS NOT NULL
UNION ALL
SELECT l.decision_id, NULL, NULL, l.episode_id, l.role
FROM decision_episodes l
"""

PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0007') IS NULL THEN
        RETURN;
    END IF;
    UPDATE decision_outcomes d
    SET confidence = kept.confidence,
        review_at = kept.review_at
    FROM aegis_kept_0007 kept
    WHERE kept.decision_id = d.id AND kept.episode_id IS NULL;
    INSERT INTO decision_episodes (decision_id, episode_id, role)
    SELECT kept.decision_id, kept.episode_id, kept.role
    FROM aegis_kept_0007 kept
    JOIN decision_outcomes d ON d.id = kept.decision_id
    JOIN episodic_memory e ON e.id = kept.episode_id;
    DROP TABLE aegis_kept_0007;
END
$$
"""

DROPS = (
    "DROP INDEX idx_decision_outcomes_due",
    "DROP TABLE decision_episodes",
    "ALTER TABLE decision_outcomes DROP COLUMN confidence, DROP COLUMN review_at",
)


def upgrade() -> None:
    for statement in (*STATEMENTS, PUT_BACK, *COMMENTS):
        op.execute(statement)


def downgrade() -> None:
    for statement in (SET_ASIDE, *DROPS):
        op.execute(statement)
