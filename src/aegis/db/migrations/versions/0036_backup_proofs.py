"""When a backup was last restored on trial, apart from when it was last looked at.

A fast look at an old backup made its proof look as young as that look.

Locks and cost: ACCESS EXCLUSIVE on `backups`, a table of some dozens of rows, for a moment.
"""

from __future__ import annotations

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE backups ADD COLUMN proven_at TIMESTAMPTZ")
    op.execute(
        """
        COMMENT ON COLUMN backups.proven_at IS
            'When it was last restored into a throw-away server and found good; NULL where it was '
            'not, or has failed since.'
        """
    )
    # The next time that the tables follow the folder this becomes exact.
    op.execute(
        """
        UPDATE backups
        SET proven_at = verified_at
        WHERE verdict = 'verified'
          AND verified_level = 'full'
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE backups DROP COLUMN proven_at")
