"""An index of every thirty-second sketch: whether the graph of a large namespace missed something.

Of a million vectors in many topics the graph does not reach some, however widely it is searched.
A question finds out by a sample: what of it is nearer than all that the graph found, the graph does
not reach.

Locks and cost: SHARE on `episodic_sketches`, so that whoever writes vectors waits, for a fifth of a
second per million.
"""

from __future__ import annotations

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE INDEX idx_episodic_sketches_sample
            ON episodic_sketches (namespace, model) INCLUDE (id, signs)
            WHERE id % 32 = 0
        """
    )


def downgrade() -> None:
    op.execute("DROP INDEX idx_episodic_sketches_sample")
