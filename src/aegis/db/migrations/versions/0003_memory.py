"""Namespaces, sessions, idempotent import, and vectors of any model, for the memory tables.

`embedding` loses its fixed number of dimensions: each row carries the vector of its own model. A
row with a vector but without `embedding_model` is from before this revision, by a model of 1536
dimensions that nobody named. HNSW needs a number of dimensions, so each index covers one: the old
ones by a condition on vector_dims(), new ones by a condition on the model. A query uses an index
only if it repeats the expression and the condition.

Going back loses nothing: what the older tables cannot hold is set aside in `aegis_kept_0003`, and
put back by the next upgrade.

Locks and cost: everything here takes ACCESS EXCLUSIVE on the memory tables until the revision
commits. Added columns have a constant default or none, and `vector(1536)` to `vector` only drops
a limit, so no table is rewritten. Indexes are built: HNSW takes about 2 s for a thousand vectors of
1536 dimensions on two busy cores (more maintenance_work_mem helps beyond 10,000), the others
seconds at most.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Existing rows belong to the default namespace; a constant default is stored once, not per row.
# updated_at gets its default only after it exists, so that rows from before keep NULL.
ADD_COLUMNS = (
    """
    ALTER TABLE episodic_memory
        ADD COLUMN namespace TEXT NOT NULL DEFAULT 'default',
        ADD COLUMN session_id TEXT,
        ADD COLUMN source_id TEXT,
        ADD COLUMN embedding_model TEXT,
        ADD COLUMN updated_at TIMESTAMPTZ
    """,
    "ALTER TABLE episodic_memory ALTER COLUMN updated_at SET DEFAULT NOW()",
    """
    ALTER TABLE semantic_memory
        ADD COLUMN namespace TEXT NOT NULL DEFAULT 'default',
        ADD COLUMN source_id TEXT,
        ADD COLUMN embedding_model TEXT
    """,
    "ALTER TABLE decision_outcomes ADD COLUMN namespace TEXT NOT NULL DEFAULT 'default'",
)

DROP_COLUMNS = (
    """
    ALTER TABLE episodic_memory
        DROP COLUMN namespace,
        DROP COLUMN session_id,
        DROP COLUMN source_id,
        DROP COLUMN embedding_model,
        DROP COLUMN updated_at
    """,
    """
    ALTER TABLE semantic_memory
        DROP COLUMN namespace,
        DROP COLUMN source_id,
        DROP COLUMN embedding_model
    """,
    "ALTER TABLE decision_outcomes DROP COLUMN namespace",
)

# A vector index on the column itself needs its number of dimensions. Each one, whoever made it,
# is made again on the cast, with its own name and options, as VECTOR_INDEXES below are.
RELAX_DIMENSIONS = r"""
DO $$
DECLARE
    ann record;
    definition text;
    definitions text[] := '{{}}';
BEGIN
    FOR ann IN
        SELECT i.oid::regclass AS name, pg_get_indexdef(i.oid) AS definition
        FROM pg_index x
        JOIN pg_class i ON i.oid = x.indexrelid
        JOIN pg_am am ON am.oid = i.relam
        WHERE x.indrelid = '{table}'::regclass
          AND am.amname IN ('hnsw', 'ivfflat')
          AND pg_get_indexdef(i.oid) ~ '\(embedding[ )]'
    LOOP
        definition := regexp_replace(
            ann.definition, '\(embedding([ )])', '((embedding::vector(1536))\1'
        );
        IF definition ~ ' WHERE ' THEN
            definition := definition || ' AND vector_dims(embedding) = 1536';
        ELSE
            definition := definition || ' WHERE vector_dims(embedding) = 1536';
        END IF;
        definitions := definitions || definition;
        EXECUTE format('DROP INDEX %s', ann.name);
    END LOOP;
    ALTER TABLE {table} ALTER COLUMN embedding TYPE vector;
    FOREACH definition IN ARRAY definitions LOOP
        EXECUTE definition;
    END LOOP;
END
$$
"""

# A database that came without them gets them here; elsewhere the block above has made them again.
VECTOR_INDEXES = (
    """
    CREATE INDEX IF NOT EXISTS idx_episodic_embedding
        ON episodic_memory USING hnsw ((embedding::vector(1536)) vector_cosine_ops)
        WHERE vector_dims(embedding) = 1536
    """,
    """
    CREATE INDEX IF NOT EXISTS idx_semantic_embedding
        ON semantic_memory USING hnsw ((embedding::vector(1536)) vector_cosine_ops)
        WHERE vector_dims(embedding) = 1536
    """,
)

# The way back. Casting to vector(1536) rewrites the table and builds all its indexes again.
FIX_DIMENSIONS = r"""
DO $$
DECLARE
    ann record;
    definition text;
    definitions text[] := '{{}}';
BEGIN
    FOR ann IN
        SELECT i.oid::regclass AS name, pg_get_indexdef(i.oid) AS definition
        FROM pg_index x
        JOIN pg_class i ON i.oid = x.indexrelid
        JOIN pg_am am ON am.oid = i.relam
        WHERE x.indrelid = '{table}'::regclass
          AND am.amname IN ('hnsw', 'ivfflat')
          AND pg_get_indexdef(i.oid) ~ '\(\(\(embedding\)::vector\(1536\)\)'
    LOOP
        definition := replace(
            ann.definition, '(((embedding)::vector(1536))', '(embedding'
        );
        definition := replace(definition, ' WHERE (vector_dims(embedding) = 1536)', '');
        definition := replace(definition, ' AND (vector_dims(embedding) = 1536)', '');
        definitions := definitions || definition;
        EXECUTE format('DROP INDEX %s', ann.name);
    END LOOP;
    ALTER TABLE {table} ALTER COLUMN embedding TYPE vector(1536);
    FOREACH definition IN ARRAY definitions LOOP
        EXECUTE definition;
    END LOOP;
END
$$
"""

INDEXES = (
    """
    CREATE INDEX idx_episodic_namespace_timestamp
        ON episodic_memory (namespace, timestamp DESC)
    """,
    """
    CREATE INDEX idx_episodic_namespace_session
        ON episodic_memory (namespace, session_id, timestamp, id)
    """,
    """
    CREATE UNIQUE INDEX uq_episodic_source_id
        ON episodic_memory (namespace, source_id)
        WHERE source_id IS NOT NULL
    """,
    """
    CREATE INDEX idx_semantic_namespace_concept
        ON semantic_memory (namespace, concept)
    """,
    """
    CREATE UNIQUE INDEX uq_semantic_source_id
        ON semantic_memory (namespace, source_id)
        WHERE source_id IS NOT NULL
    """,
    """
    CREATE INDEX idx_decision_outcomes_namespace_created_at
        ON decision_outcomes (namespace, created_at DESC)
    """,
    # The foreign key asks for it whenever an episode is deleted.
    """
    CREATE INDEX idx_decision_outcomes_decision_id
        ON decision_outcomes (decision_id)
    """,
)

#: One for each model that comes with Aegis. `aegis.db.migrate.upgrade` runs this again, so that
#: the indexes appear once pgvector is new enough; it takes no lock when they are there.
MODEL_INDEXES = """
DO $$
BEGIN
    IF to_regtype('halfvec') IS NULL THEN
        RAISE NOTICE 'pgvector before 0.7 has no halfvec: recall by vector will scan';
        RETURN;
    END IF;
    IF to_regclass('idx_episodic_embedding_minilm') IS NULL THEN
        CREATE INDEX idx_episodic_embedding_minilm
            ON episodic_memory USING hnsw ((embedding::halfvec(384)) halfvec_cosine_ops)
            WHERE embedding_model = 'all-MiniLM-L6-v2-onnx-int8';
    END IF;
    IF to_regclass('idx_semantic_embedding_minilm') IS NULL THEN
        CREATE INDEX idx_semantic_embedding_minilm
            ON semantic_memory USING hnsw ((embedding::halfvec(384)) halfvec_cosine_ops)
            WHERE embedding_model = 'all-MiniLM-L6-v2-onnx-int8';
    END IF;
END
$$
"""

# Dropping the columns drops the indexes on them.
DROP_INDEXES = (
    "DROP INDEX IF EXISTS idx_episodic_embedding_minilm",
    "DROP INDEX IF EXISTS idx_semantic_embedding_minilm",
    "DROP INDEX idx_decision_outcomes_decision_id",
)

# What the older tables have no place for; a row with nothing of the kind is not listed.
SET_ASIDE = """
CREATE TABLE aegis_kept_0003 AS
SELECT 'episodic_memory' AS table_name,
       id,
       namespace,
       session_id,
       source_id,
       embedding_model,
       updated_at,
       CASE WHEN vector_dims(embedding) <> 1536 THEN embedding END AS embedding
FROM episodic_memory
WHERE namespace <> 'default'
   OR session_id IS NOT NULL
   OR source_id IS NOT NULL
   OR embedding_model IS NOT NULL
   OR updated_at IS NOT NULL
   OR vector_dims(embedding) <> 1536
UNION ALL
SELECT 'semantic_memory',
       id,
       namespace,
       NULL,
       source_id,
       embedding_model,
       NULL,
       CASE WHEN vector_dims(embedding) <> 1536 THEN embedding END
FROM semantic_memory
WHERE namespace <> 'default'
   OR source_id IS NOT NULL
   OR embedding_model IS NOT NULL
   OR vector_dims(embedding) <> 1536
UNION ALL
SELECT 'decision_outcomes', id, namespace, NULL, NULL, NULL, NULL, NULL
FROM decision_outcomes
WHERE namespace <> 'default'
"""

CLEAR_OTHER_VECTORS = (
    "UPDATE episodic_memory SET embedding = NULL WHERE vector_dims(embedding) <> 1536",
    "UPDATE semantic_memory SET embedding = NULL WHERE vector_dims(embedding) <> 1536",
)

# A vector that somebody stored in the meantime is newer than the one set aside, and its model is
# not the one of that.
PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0003') IS NULL THEN
        RETURN;
    END IF;
    UPDATE episodic_memory m
    SET namespace = kept.namespace,
        session_id = kept.session_id,
        source_id = kept.source_id,
        updated_at = kept.updated_at,
        embedding_model = CASE
            WHEN kept.embedding IS NULL OR m.embedding IS NULL THEN kept.embedding_model
        END,
        embedding = coalesce(m.embedding, kept.embedding)
    FROM aegis_kept_0003 kept
    WHERE kept.table_name = 'episodic_memory' AND kept.id = m.id;
    UPDATE semantic_memory m
    SET namespace = kept.namespace,
        source_id = kept.source_id,
        embedding_model = CASE
            WHEN kept.embedding IS NULL OR m.embedding IS NULL THEN kept.embedding_model
        END,
        embedding = coalesce(m.embedding, kept.embedding)
    FROM aegis_kept_0003 kept
    WHERE kept.table_name = 'semantic_memory' AND kept.id = m.id;
    UPDATE decision_outcomes m
    SET namespace = kept.namespace
    FROM aegis_kept_0003 kept
    WHERE kept.table_name = 'decision_outcomes' AND kept.id = m.id;
    DROP TABLE aegis_kept_0003;
END
$$
"""

COMMENTS = (
    """
    COMMENT ON COLUMN episodic_memory.namespace IS
        'Whose memory it is, an agent or a user; recall never crosses namespaces.'
    """,
    """
    COMMENT ON COLUMN episodic_memory.session_id IS
        'Conversation or run that it belongs to; its neighbours in time are its context.'
    """,
    """
    COMMENT ON COLUMN episodic_memory.source_id IS
        'Name of the event where it was imported from; unique in a namespace.'
    """,
    """
    COMMENT ON COLUMN episodic_memory.embedding_model IS
        'Model that made the embedding; NULL for none, or for an unnamed one of 1536 dimensions.'
    """,
    """
    COMMENT ON COLUMN episodic_memory.updated_at IS
        'When the memory was recorded or last changed; NULL for rows older than the column.'
    """,
    """
    COMMENT ON COLUMN semantic_memory.namespace IS
        'Whose knowledge it is, an agent or a user.'
    """,
    """
    COMMENT ON COLUMN semantic_memory.source_id IS
        'Name of the fact where it was imported from; unique in a namespace.'
    """,
    """
    COMMENT ON COLUMN semantic_memory.embedding_model IS
        'Model that made the embedding; NULL for none, or for an unnamed one of 1536 dimensions.'
    """,
    """
    COMMENT ON COLUMN decision_outcomes.namespace IS
        'Whose decision it is, an agent or a user.'
    """,
)


def upgrade() -> None:
    for statement in ADD_COLUMNS:
        op.execute(statement)
    for table in ("episodic_memory", "semantic_memory"):
        op.execute(RELAX_DIMENSIONS.format(table=table))
    op.execute(PUT_BACK)
    for statement in (*VECTOR_INDEXES, *INDEXES):
        op.execute(statement)
    op.execute(MODEL_INDEXES)
    for statement in COMMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute(SET_ASIDE)
    for statement in (*DROP_INDEXES, *CLEAR_OTHER_VECTORS):
        op.execute(statement)
    for table in ("episodic_memory", "semantic_memory"):
        op.execute(FIX_DIMENSIONS.format(table=table))
    for statement in DROP_COLUMNS:
        op.execute(statement)
