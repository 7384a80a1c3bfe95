"""Pages of a namespace and the search for missing vectors, both by index alone.

Episodes of one import often share one timestamp: with the id in the index, the newest of them are
read in order instead of sorted all. Rows without a vector are few or none, and a partial index of
them is as small, so the backfill does not read the whole table to find nothing.

Locks and cost: building an index stops writers, not readers; about a second per million rows.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    "DROP INDEX idx_episodic_namespace_timestamp",
    """
    CREATE INDEX idx_episodic_namespace_timestamp
        ON episodic_memory (namespace, timestamp DESC, id DESC)
    """,
    "CREATE INDEX idx_episodic_unembedded ON episodic_memory (id) WHERE embedding IS NULL",
    "CREATE INDEX idx_semantic_unembedded ON semantic_memory (id) WHERE embedding IS NULL",
)

DROPS = (
    "DROP INDEX idx_semantic_unembedded",
    "DROP INDEX idx_episodic_unembedded",
    "DROP INDEX idx_episodic_namespace_timestamp",
    """
    CREATE INDEX idx_episodic_namespace_timestamp
        ON episodic_memory (namespace, timestamp DESC)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for statement in DROPS:
        op.execute(statement)
