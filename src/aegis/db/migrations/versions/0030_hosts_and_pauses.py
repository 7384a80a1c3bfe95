"""Pages by their host, and executions that are interrupted with the one whose step they are.

Where few hosts have all that is due, as when one asks for patience, a claim must not read each of
their pages to find the others': it goes from one host to the next. And a child that was interrupted
with its parent goes on with it, one that a person interrupted does not: that needs a reason of its
own.

Locks and cost: building the index keeps writers from `competitor_pages` while it reads the table;
the wider check reads `workflow_executions` once under its lock.
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_REASON: Final = (
    "Why it is in its status: waiting, paused, parent_paused (with the one whose step it is), "
    "cancelled, deadline, step, ceiling (of steps) or crashed; NULL while it is worked on and when "
    "it completed."
)
_REASON_BEFORE: Final = (
    "Why it is in its status: waiting, paused, cancelled, deadline, step, ceiling (of steps) or "
    "crashed; NULL while it is worked on and when it completed."
)


def upgrade() -> None:
    """Add the index, and allow the reason."""
    op.execute(
        """
        CREATE INDEX idx_competitor_pages_host ON competitor_pages (host, next_check_at)
            WHERE state IN ('watched', 'gone') AND next_check_at IS NOT NULL
        """
    )
    op.execute(
        """
        ALTER TABLE workflow_executions
            DROP CONSTRAINT ck_workflow_executions_reason,
            ADD CONSTRAINT ck_workflow_executions_reason CHECK (
                reason IN (
                    'waiting', 'paused', 'parent_paused', 'cancelled', 'deadline', 'step',
                    'ceiling', 'crashed'
                )
            )
        """
    )
    op.execute(f"COMMENT ON COLUMN workflow_executions.reason IS '{_REASON}'")


def downgrade() -> None:
    """Take both away; children stay interrupted, as by a person."""
    op.execute("UPDATE workflow_executions SET reason = 'paused' WHERE reason = 'parent_paused'")
    op.execute(
        """
        ALTER TABLE workflow_executions
            DROP CONSTRAINT ck_workflow_executions_reason,
            ADD CONSTRAINT ck_workflow_executions_reason CHECK (
                reason IN (
                    'waiting', 'paused', 'cancelled', 'deadline', 'step', 'ceiling', 'crashed'
                )
            )
        """
    )
    op.execute(f"COMMENT ON COLUMN workflow_executions.reason IS '{_REASON_BEFORE}'")
    op.execute("DROP INDEX idx_competitor_pages_host")
