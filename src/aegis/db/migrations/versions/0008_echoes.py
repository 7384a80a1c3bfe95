"""Whether a namespace has echoes, by index: most have none, and then no search asks after them.

The condition that keeps echoes out of recall costs three milliseconds a question to plan and to
check. An index of the marked rows alone tells at once that there are none.

Locks and cost: building the index stops writers, not readers; it reads the table once, about a
second per million rows.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE INDEX idx_episodic_echoes ON episodic_memory (namespace)
            WHERE metadata ? 'echo_of'
        """
    )


def downgrade() -> None:
    op.execute("DROP INDEX idx_episodic_echoes")
