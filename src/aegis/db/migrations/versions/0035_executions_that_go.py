"""Executions whose steps are gone, by the time at which they ended: they go, too, some day.

Locks and cost: building the index keeps writers from `workflow_executions` while it reads the
table. Each execution comes into it once, when its steps are removed.
"""

from __future__ import annotations

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.execute(
        """
        CREATE INDEX idx_workflow_executions_pruned ON workflow_executions (completed_at)
            WHERE version IS NOT NULL AND pruned_at IS NOT NULL
        """
    )


def downgrade() -> None:
    """Take it away."""
    op.execute("DROP INDEX idx_workflow_executions_pruned")
