"""Sketches of vectors: the sign of each dimension, a thirty-second of what the vector takes.

A namespace of some thousand episodes in a table of many is too small a part of the graph to be
found by it, and its vectors were all read: 1.5 KB each, from as many places of the table. Sketches
stand side by side in an index, 48 bytes each for 384 dimensions, and say which vectors are worth
reading. Triggers keep them, whoever writes a row.

Locks and cost: SHARE ROW EXCLUSIVE on `episodic_memory`, which is read once, some ten seconds per
million rows that have a vector. Going back drops what can be made again from the vectors.
"""

from __future__ import annotations

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

#: pgvector 0.7 brings a function for it; before it, the same by hand.
SIGNS = """
DO $block$
BEGIN
    IF to_regprocedure('binary_quantize(vector)') IS NOT NULL THEN
        CREATE FUNCTION aegis_signs(embedding vector) RETURNS bit varying
            LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
            AS 'SELECT binary_quantize(embedding)::bit varying';
    ELSE
        CREATE FUNCTION aegis_signs(embedding vector) RETURNS bit varying
            LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
            AS $function$
                SELECT string_agg((u.x > 0)::int::text, '' ORDER BY u.place)::bit varying
                FROM unnest(embedding::real[]) WITH ORDINALITY AS u (x, place)
            $function$;
    END IF;
END
$block$
"""

TABLE = (
    """
    CREATE TABLE episodic_sketches (
        id INTEGER NOT NULL,
        namespace TEXT NOT NULL,
        model TEXT NOT NULL,
        signs BIT VARYING NOT NULL
    )
    """,
    "COMMENT ON TABLE episodic_sketches IS 'Signs of the vectors of episodes, kept by triggers.'",
    "COMMENT ON COLUMN episodic_sketches.id IS 'The episode (episodic_memory.id).'",
    "COMMENT ON COLUMN episodic_sketches.namespace IS 'Its namespace.'",
    "COMMENT ON COLUMN episodic_sketches.model IS 'Model of its vector.'",
    """
    COMMENT ON COLUMN episodic_sketches.signs IS
        'A bit a dimension, in their order: 1 where it is greater than 0.'
    """,
)

TRIGGERS = (
    """
    CREATE FUNCTION aegis_sketch_new_rows() RETURNS trigger
        LANGUAGE plpgsql
        AS $function$
    BEGIN
        INSERT INTO episodic_sketches (id, namespace, model, signs)
        SELECT n.id, n.namespace, n.embedding_model, aegis_signs(n.embedding)
        FROM new_rows n
        WHERE n.embedding IS NOT NULL
          AND n.embedding_model IS NOT NULL;
        RETURN NULL;
    END
    $function$
    """,
    """
    CREATE FUNCTION aegis_sketch_row() RETURNS trigger
        LANGUAGE plpgsql
        AS $function$
    BEGIN
        IF NEW.embedding IS NULL OR NEW.embedding_model IS NULL THEN
            DELETE FROM episodic_sketches WHERE id = NEW.id;
        ELSE
            INSERT INTO episodic_sketches (id, namespace, model, signs)
            VALUES (NEW.id, NEW.namespace, NEW.embedding_model, aegis_signs(NEW.embedding))
            ON CONFLICT (id) DO UPDATE
            SET namespace = excluded.namespace,
                model = excluded.model,
                signs = excluded.signs;
        END IF;
        RETURN NULL;
    END
    $function$
    """,
    """
    CREATE TRIGGER tr_episodic_memory_sketches AFTER INSERT ON episodic_memory
        REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION aegis_sketch_new_rows()
    """,
    """
    CREATE TRIGGER tr_episodic_memory_sketch
        AFTER UPDATE OF embedding, embedding_model, namespace ON episodic_memory
        FOR EACH ROW EXECUTE FUNCTION aegis_sketch_row()
    """,
)

#: After the triggers, which keep writers out until the end; keys and index cost less afterwards.
FILL = (
    """
    INSERT INTO episodic_sketches (id, namespace, model, signs)
    SELECT e.id, e.namespace, e.embedding_model, aegis_signs(e.embedding)
    FROM episodic_memory e
    WHERE e.embedding IS NOT NULL
      AND e.embedding_model IS NOT NULL
    """,
    """
    ALTER TABLE episodic_sketches
        ADD CONSTRAINT episodic_sketches_pkey PRIMARY KEY (id),
        ADD CONSTRAINT episodic_sketches_id_fkey
            FOREIGN KEY (id) REFERENCES episodic_memory (id) ON DELETE CASCADE
    """,
    """
    CREATE INDEX idx_episodic_sketches_place
        ON episodic_sketches (namespace, model) INCLUDE (id, signs)
    """,
)


def upgrade() -> None:
    for statement in (SIGNS, *TABLE, *TRIGGERS, *FILL):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER tr_episodic_memory_sketch ON episodic_memory")
    op.execute("DROP TRIGGER tr_episodic_memory_sketches ON episodic_memory")
    op.execute("DROP FUNCTION aegis_sketch_row()")
    op.execute("DROP FUNCTION aegis_sketch_new_rows()")
    op.execute("DROP TABLE episodic_sketches")
    op.execute("DROP FUNCTION aegis_signs(vector)")
