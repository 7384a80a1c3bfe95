"""Items of stores: what an agent's framework keeps under a path and a key, and finds by meaning.

`path` sorts by the bytes of its labels (collation "C"), so that everything below a path is one
range of the key's index: from the path itself to the same path with U+0001 behind its last label,
which is the least text that is greater.

A vector whose embedder was away is a row without one, with the text that waits for it.

Going back loses nothing: items and vectors are set aside in `aegis_kept_0013_items` and
`aegis_kept_0013_vectors`, and put back by the next upgrade.

Locks and cost: new tables only.
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

#: `aegis.db.migrate.upgrade` runs this again, as it does that of 0003.
MODEL_INDEXES = """
DO $$
BEGIN
    IF to_regtype('halfvec') IS NULL THEN
        RAISE NOTICE 'pgvector before 0.7 has no halfvec: items are searched by scanning';
        RETURN;
    END IF;
    IF to_regclass('idx_store_embedding_minilm') IS NULL THEN
        CREATE INDEX idx_store_embedding_minilm
            ON store_vectors USING hnsw ((embedding::halfvec(384)) halfvec_cosine_ops)
            WHERE embedding_model = 'all-MiniLM-L6-v2-onnx-int8';
    END IF;
END
$$
"""

TABLES = (
    """
    CREATE TABLE store_items (
        id BIGSERIAL PRIMARY KEY,
        namespace TEXT NOT NULL DEFAULT 'default',
        path TEXT[] COLLATE "C" NOT NULL,
        key TEXT COLLATE "C" NOT NULL,
        value JSONB NOT NULL,
        verbatim TEXT,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        ttl_minutes DOUBLE PRECISION,
        expires_at TIMESTAMPTZ,
        CONSTRAINT uq_store_items_key UNIQUE (namespace, path, key),
        CONSTRAINT ck_store_items_value CHECK (jsonb_typeof(value) = 'object'),
        CONSTRAINT ck_store_items_ttl CHECK (
            ttl_minutes >= 0 AND (ttl_minutes IS NULL) = (expires_at IS NULL)
        )
    )
    """,
    """
    CREATE INDEX idx_store_items_updated_at
        ON store_items (namespace, updated_at DESC, id DESC)
    """,
    """
    CREATE INDEX idx_store_items_expires_at ON store_items (expires_at)
        WHERE expires_at IS NOT NULL
    """,
    """
    CREATE TABLE store_vectors (
        item_id BIGINT NOT NULL,
        field TEXT NOT NULL,
        embedding_model TEXT NOT NULL,
        embedding VECTOR,
        pending TEXT,
        CONSTRAINT store_vectors_pkey PRIMARY KEY (item_id, field),
        CONSTRAINT store_vectors_item_id_fkey
            FOREIGN KEY (item_id) REFERENCES store_items (id) ON DELETE CASCADE,
        CONSTRAINT ck_store_vectors_pending CHECK ((embedding IS NULL) = (pending IS NOT NULL))
    )
    """,
    """
    CREATE INDEX idx_store_vectors_pending ON store_vectors (item_id, field)
        WHERE embedding IS NULL
    """,
    MODEL_INDEXES,
)

COLUMN_COMMENTS = {
    "store_items": {
        "id": "Number of the item.",
        "namespace": "Whose item it is; the same path and key may be in several.",
        "path": "Labels from the outermost in, such as {users,42}; never empty.",
        "key": "Name of the item within its path.",
        "value": "What was put there, a JSON object.",
        "verbatim": "The value as it was written, where JSONB changes a number; NULL otherwise.",
        "created_at": "When the item was first put there.",
        "updated_at": "When it was last put there.",
        "ttl_minutes": "Minutes that it lives after it was last used; NULL for ever.",
        "expires_at": "When it may be removed; NULL never. A read that refreshes moves it.",
    },
    "store_vectors": {
        "item_id": "The item.",
        "field": "Field that was embedded, with a number where it has several texts.",
        "embedding_model": "Model of the vector; those of different models are never compared.",
        "embedding": "The vector; NULL while the embedder is away.",
        "pending": "Text that waits for its vector; NULL once it has one.",
    },
}
TABLE_COMMENTS = {
    "store_items": "What a framework keeps under a path and a key, such as a LangGraph store.",
    "store_vectors": "Vectors of the fields of items. Goes with the item.",
}

SET_ASIDE = (
    "CREATE TABLE aegis_kept_0013_items AS SELECT * FROM store_items",
    "CREATE TABLE aegis_kept_0013_vectors AS SELECT * FROM store_vectors",
)

PUT_BACK = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0013_items') IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO store_items (
        id, namespace, path, key, value, verbatim, created_at, updated_at, ttl_minutes, expires_at
    )
    SELECT id, namespace, path, key, value, verbatim, created_at, updated_at, ttl_minutes,
           expires_at
    FROM aegis_kept_0013_items;
    PERFORM setval(pg_get_serial_sequence('store_items', 'id'), max(id)) FROM store_items;
    INSERT INTO store_vectors (item_id, field, embedding_model, embedding, pending)
    SELECT item_id, field, embedding_model, embedding, pending
    FROM aegis_kept_0013_vectors;
    DROP TABLE aegis_kept_0013_items, aegis_kept_0013_vectors;
END
$$
"""


def upgrade() -> None:
    for statement in (*TABLES, PUT_BACK):
        op.execute(statement)
    for table, text in TABLE_COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{text}'")
    for table, columns in COLUMN_COMMENTS.items():
        for column, text in columns.items():
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{text}'")


def downgrade() -> None:
    for statement in (*SET_ASIDE, "DROP TABLE store_vectors", "DROP TABLE store_items"):
        op.execute(statement)
