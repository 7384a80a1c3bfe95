"""Embedding models as rows, and a second vector for a memory while its model is changed.

A row keeps carrying the vector of one model; during a change the vector of the other model waits
in `episodic_vectors` or `semantic_vectors`. Both go with their row, and when its text changes.

Of the models that rows carry already, the one that most carry becomes the active one. Going back is
refused while a change is under way, because older programs search one space only; the registry is
set aside in `aegis_kept_0009` and put back by the next upgrade.

Locks and cost: SHARE ROW EXCLUSIVE on `episodic_memory` and `semantic_memory` while the triggers
and foreign keys are added; each table is read once, about a second per million rows.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE embedding_models (
        model TEXT NOT NULL,
        dimensions INTEGER NOT NULL,
        provider TEXT NOT NULL,
        state TEXT NOT NULL,
        paused BOOLEAN NOT NULL DEFAULT false,
        mixed BOOLEAN NOT NULL DEFAULT false,
        usd_per_million_tokens NUMERIC,
        calls BIGINT NOT NULL DEFAULT 0,
        texts BIGINT NOT NULL DEFAULT 0,
        tokens BIGINT NOT NULL DEFAULT 0,
        cost_usd NUMERIC NOT NULL DEFAULT 0,
        failures BIGINT NOT NULL DEFAULT 0,
        last_error TEXT,
        last_used_at TIMESTAMPTZ,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        changed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT embedding_models_pkey PRIMARY KEY (model),
        CONSTRAINT ck_embedding_models_dimensions
            CHECK (dimensions >= 1 AND dimensions <= 16000),
        CONSTRAINT ck_embedding_models_state
            CHECK (state IN ('active', 'filling', 'standby', 'retired'))
    )
    """,
    """
    CREATE UNIQUE INDEX uq_embedding_models_active ON embedding_models (state)
        WHERE state = 'active'
    """,
    # One change at a time: at most one model beside the active one.
    """
    CREATE UNIQUE INDEX uq_embedding_models_other ON embedding_models ((true))
        WHERE state IN ('filling', 'standby')
    """,
    """
    CREATE TABLE episodic_vectors (
        id INTEGER NOT NULL,
        model TEXT NOT NULL,
        embedding vector NOT NULL,
        CONSTRAINT episodic_vectors_pkey PRIMARY KEY (id, model),
        CONSTRAINT episodic_vectors_id_fkey
            FOREIGN KEY (id) REFERENCES episodic_memory (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE semantic_vectors (
        id INTEGER NOT NULL,
        model TEXT NOT NULL,
        embedding vector NOT NULL,
        CONSTRAINT semantic_vectors_pkey PRIMARY KEY (id, model),
        CONSTRAINT semantic_vectors_id_fkey
            FOREIGN KEY (id) REFERENCES semantic_memory (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE FUNCTION aegis_drop_episodic_vectors() RETURNS trigger
        LANGUAGE plpgsql
        AS 'BEGIN DELETE FROM episodic_vectors WHERE id = NEW.id; RETURN NULL; END'
    """,
    """
    CREATE FUNCTION aegis_drop_semantic_vectors() RETURNS trigger
        LANGUAGE plpgsql
        AS 'BEGIN DELETE FROM semantic_vectors WHERE id = NEW.id; RETURN NULL; END'
    """,
    # Whoever changes a text, its other vector no longer says what it says.
    """
    CREATE TRIGGER tr_episodic_memory_text AFTER UPDATE OF summary ON episodic_memory
        FOR EACH ROW WHEN (OLD.summary IS DISTINCT FROM NEW.summary)
        EXECUTE FUNCTION aegis_drop_episodic_vectors()
    """,
    """
    CREATE TRIGGER tr_semantic_memory_text AFTER UPDATE OF concept, content ON semantic_memory
        FOR EACH ROW WHEN (
            OLD.concept IS DISTINCT FROM NEW.concept OR OLD.content IS DISTINCT FROM NEW.content
        )
        EXECUTE FUNCTION aegis_drop_semantic_vectors()
    """,
)

REGISTER = """
DO $$
BEGIN
    IF to_regclass('aegis_kept_0009') IS NOT NULL THEN
        INSERT INTO embedding_models
        SELECT kept.*
        FROM aegis_kept_0009 kept;
        DROP TABLE aegis_kept_0009;
        RETURN;
    END IF;
    INSERT INTO embedding_models (model, dimensions, provider, state)
    SELECT found.model,
           found.dimensions,
           CASE WHEN found.model = 'all-MiniLM-L6-v2-onnx-int8' THEN 'builtin'
                WHEN found.model LIKE '%/' || found.dimensions THEN 'openai'
                ELSE 'custom'
           END,
           'active'
    FROM (
        SELECT rows.model, max(rows.dimensions) AS dimensions, sum(rows.count) AS count
        FROM (
            SELECT e.embedding_model AS model,
                   max(vector_dims(e.embedding)) AS dimensions,
                   count(*) AS count
            FROM episodic_memory e
            WHERE e.embedding_model IS NOT NULL
              AND e.embedding IS NOT NULL
            GROUP BY e.embedding_model
            UNION ALL
            SELECT f.embedding_model, max(vector_dims(f.embedding)), count(*)
            FROM semantic_memory f
            WHERE f.embedding_model IS NOT NULL
              AND f.embedding IS NOT NULL
            GROUP BY f.embedding_model
        ) AS rows
        GROUP BY rows.model
    ) AS found
    ORDER BY found.count DESC, found.model
    LIMIT 1;
END
$$
"""

COMMENTS = (
    """
    COMMENT ON TABLE embedding_models IS
        'Embedding models of this database, what their calls cost, and the change between two.'
    """,
    "COMMENT ON COLUMN embedding_models.model IS 'Name, as rows carry it in embedding_model.'",
    "COMMENT ON COLUMN embedding_models.dimensions IS 'Length of its vectors.'",
    """
    COMMENT ON COLUMN embedding_models.provider IS
        'Where it runs: builtin, openai (any compatible endpoint) or custom.'
    """,
    """
    COMMENT ON COLUMN embedding_models.state IS
        'active: asked and recorded with; filling: gets its vectors before a switch; standby: was
active, kept for the way back; retired: no longer used.'
    """,
    """
    COMMENT ON COLUMN embedding_models.paused IS 'Whether the work on its change is held up.'
    """,
    """
    COMMENT ON COLUMN embedding_models.mixed IS
        'Whether rows may carry its vectors although it is not the active one; both are searched.'
    """,
    """
    COMMENT ON COLUMN embedding_models.usd_per_million_tokens IS
        'Price that its last calls were counted with; NULL where no setting names one.'
    """,
    "COMMENT ON COLUMN embedding_models.calls IS 'Requests answered by its endpoint.'",
    "COMMENT ON COLUMN embedding_models.texts IS 'Texts embedded by its endpoint.'",
    """
    COMMENT ON COLUMN embedding_models.tokens IS
        'Tokens, as the endpoint answered; estimated where it did not say.'
    """,
    "COMMENT ON COLUMN embedding_models.cost_usd IS 'What those tokens cost, at the price then.'",
    "COMMENT ON COLUMN embedding_models.failures IS 'Calls that ended in an error.'",
    "COMMENT ON COLUMN embedding_models.last_error IS 'What the last failed call said.'",
    "COMMENT ON COLUMN embedding_models.last_used_at IS 'When calls were last counted.'",
    "COMMENT ON COLUMN embedding_models.created_at IS 'When it was first used here.'",
    "COMMENT ON COLUMN embedding_models.changed_at IS 'When its state last changed.'",
    """
    COMMENT ON TABLE episodic_vectors IS
        'Vectors of a model that an episode does not carry itself, while models are changed.'
    """,
    "COMMENT ON COLUMN episodic_vectors.id IS 'The episode (episodic_memory.id).'",
    "COMMENT ON COLUMN episodic_vectors.model IS 'Model of the vector (embedding_models.model).'",
    "COMMENT ON COLUMN episodic_vectors.embedding IS 'The vector of its summary.'",
    """
    COMMENT ON TABLE semantic_vectors IS
        'Vectors of a model that a fact does not carry itself, while models are changed.'
    """,
    "COMMENT ON COLUMN semantic_vectors.id IS 'The fact (semantic_memory.id).'",
    "COMMENT ON COLUMN semantic_vectors.model IS 'Model of the vector (embedding_models.model).'",
    "COMMENT ON COLUMN semantic_vectors.embedding IS 'The vector of its concept and content.'",
)

REFUSE = """
DO $$
DECLARE
    other text;
BEGIN
    SELECT m.model INTO other FROM embedding_models m WHERE m.state IN ('filling', 'standby');
    IF other IS NOT NULL THEN
        RAISE EXCEPTION 'A change of the embedding model is under way (%): end it first, with '
            '"aegis memory models finish" or "cancel".', other;
    END IF;
END
$$
"""

DROPS = (
    "CREATE TABLE aegis_kept_0009 AS SELECT m.* FROM embedding_models m",
    "DROP TRIGGER tr_episodic_memory_text ON episodic_memory",
    "DROP TRIGGER tr_semantic_memory_text ON semantic_memory",
    "DROP FUNCTION aegis_drop_episodic_vectors()",
    "DROP FUNCTION aegis_drop_semantic_vectors()",
    "DROP TABLE episodic_vectors",
    "DROP TABLE semantic_vectors",
    "DROP TABLE embedding_models",
)


def upgrade() -> None:
    for statement in (*STATEMENTS, REGISTER, *COMMENTS):
        op.execute(statement)


def downgrade() -> None:
    for statement in (REFUSE, *DROPS):
        op.execute(statement)
