"""A shorter list of what was written last, of the index of words.

Each word of a question reads the whole list: with up to 256 kB of it, that was half of what the
words of a question cost while somebody writes. With up to 64 kB a bulk load without vectors takes a
third more of the processor; one with vectors, or single writes, nothing that can be told.

Locks and cost: SHARE UPDATE EXCLUSIVE on the index, for a moment.
"""

from __future__ import annotations

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER INDEX idx_episodic_search SET (gin_pending_list_limit = 64)")


def downgrade() -> None:
    op.execute("ALTER INDEX idx_episodic_search SET (gin_pending_list_limit = 256)")
