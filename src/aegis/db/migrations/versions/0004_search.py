"""Search over episodes by words: a tsvector in the row, and how common each word is.

`search` is generated, so every way of writing a row keeps it true, COPY and the seed's own SQL
included. Its first lexeme is the namespace behind a control character, which no word can begin
with: one GIN lookup finds a word within a namespace, however many namespaces share the table.

How common words are is kept only for large namespaces, as a sample, in rows that recall itself
refreshes: no trigger, so writers never wait for one another. Small namespaces are counted exactly
while they are searched.

Rows stay in one piece up to a page: a 384-dimensional vector beside its text would be moved to
TOAST otherwise, and every exact distance would cost a second lookup.

Locks and cost: the added column rewrites `episodic_memory` under ACCESS EXCLUSIVE, with all its
indexes: about a minute per 100,000 rows with vectors.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE episodic_memory SET (toast_tuple_target = 8160)",
    r"""
    ALTER TABLE episodic_memory
        ADD COLUMN search tsvector GENERATED ALWAYS AS (
            array_to_tsvector(ARRAY[E'\x01' || namespace])
            || to_tsvector('english', left(summary || ' ' || coalesce(decision, ''), 100000))
        ) STORED
    """,
    # What was written last is kept in a list that every search reads: keep it short.
    """
    CREATE INDEX idx_episodic_search
        ON episodic_memory USING gin (search) WITH (gin_pending_list_limit = 256)
    """,
    """
    CREATE TABLE memory_namespaces (
        namespace TEXT PRIMARY KEY,
        episodes BIGINT NOT NULL,
        mean_terms REAL NOT NULL,
        refreshed_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
    )
    """,
    """
    CREATE TABLE memory_terms (
        namespace TEXT NOT NULL,
        term TEXT NOT NULL,
        share REAL NOT NULL,
        PRIMARY KEY (namespace, term)
    )
    """,
    """
    COMMENT ON COLUMN episodic_memory.search IS
        'Stems of summary and decision with their positions, and the namespace; generated.'
    """,
    """
    COMMENT ON TABLE memory_namespaces IS
        'Size of each large namespace as sampled; recall makes deleted rows again.'
    """,
    "COMMENT ON COLUMN memory_namespaces.namespace IS 'The namespace.'",
    "COMMENT ON COLUMN memory_namespaces.episodes IS 'Episodes in it when it was sampled.'",
    "COMMENT ON COLUMN memory_namespaces.mean_terms IS 'Mean number of stems of an episode.'",
    "COMMENT ON COLUMN memory_namespaces.refreshed_at IS 'When it was sampled.'",
    """
    COMMENT ON TABLE memory_terms IS
        'Words that are common in a large namespace, from a sample; others are rare.'
    """,
    "COMMENT ON COLUMN memory_terms.namespace IS 'The namespace.'",
    "COMMENT ON COLUMN memory_terms.term IS 'The stem, as in episodic_memory.search.'",
    "COMMENT ON COLUMN memory_terms.share IS 'Share of the episodes that hold it, 0 to 1.'",
)

DROPS = (
    "DROP TABLE memory_terms",
    "DROP TABLE memory_namespaces",
    "ALTER TABLE episodic_memory DROP COLUMN search",
    "ALTER TABLE episodic_memory RESET (toast_tuple_target)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for statement in DROPS:
        op.execute(statement)
