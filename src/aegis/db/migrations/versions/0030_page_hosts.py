"""Pages that are watched, by their host: a claim goes from one host to the next.

Where few hosts have all that is due, as when one asks for patience, a claim must not read each of
their pages to find the others'.

Locks and cost: building the index keeps writers from `competitor_pages` while it reads the table.
"""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.execute(
        """
        CREATE INDEX idx_competitor_pages_host ON competitor_pages (host, next_check_at)
            WHERE state IN ('watched', 'gone') AND next_check_at IS NOT NULL
        """
    )


def downgrade() -> None:
    """Take it away."""
    op.execute("DROP INDEX idx_competitor_pages_host")
