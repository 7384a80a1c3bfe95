"""A change of the embedding model that need not put each row that moves into a graph of vectors.

While rows move, the vectors of the new model of all rows stand beside them, where one index finds
them; the index of the rows is built once they have moved, in a fraction of the time. A row that is
recorded or changed meanwhile is copied there by trigger, whoever writes it.

What goes through a namespace by id (forgetting, consolidation) gets an index to do so: it sorted
the rest of the namespace for each page.

Locks and cost: SHARE ROW EXCLUSIVE on `episodic_memory` while the triggers are added and the index
is built, about a second per million rows. Going back is refused while rows move, because older
programs look for them in one place.
"""

from __future__ import annotations

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE embedding_models ADD COLUMN beside_until TIMESTAMPTZ",
    """
    COMMENT ON COLUMN embedding_models.beside_until IS
        'Until when vectors of this model are also kept beside rows that carry them; infinity '
        'while they are searched there, NULL when none are.'
    """,
    # Of a model that is changed to, too: a switch finds what was recorded with it already.
    """
    CREATE FUNCTION aegis_keep_new_vectors() RETURNS trigger
        LANGUAGE plpgsql
        AS $function$
    BEGIN
        IF EXISTS (
            SELECT FROM embedding_models WHERE state = 'filling' OR beside_until > clock_timestamp()
        ) THEN
            INSERT INTO episodic_vectors (id, model, embedding)
            SELECT n.id, n.embedding_model, n.embedding
            FROM new_rows n
            JOIN embedding_models m ON m.model = n.embedding_model
            WHERE n.embedding IS NOT NULL
              AND (m.state = 'filling' OR m.beside_until > clock_timestamp())
            ON CONFLICT (id, model) DO UPDATE SET embedding = excluded.embedding;
        END IF;
        RETURN NULL;
    END
    $function$
    """,
    """
    CREATE FUNCTION aegis_keep_new_vector() RETURNS trigger
        LANGUAGE plpgsql
        AS $function$
    BEGIN
        INSERT INTO episodic_vectors (id, model, embedding)
        SELECT NEW.id, m.model, NEW.embedding
        FROM embedding_models m
        WHERE m.model = NEW.embedding_model
          AND (m.state = 'filling' OR m.beside_until > clock_timestamp())
        ON CONFLICT (id, model) DO UPDATE SET embedding = excluded.embedding;
        RETURN NULL;
    END
    $function$
    """,
    """
    CREATE TRIGGER tr_episodic_memory_vectors AFTER INSERT ON episodic_memory
        REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION aegis_keep_new_vectors()
    """,
    # After tr_episodic_memory_text, by name, which drops what a text that changes leaves behind.
    """
    CREATE TRIGGER tr_episodic_memory_vector
        AFTER UPDATE OF embedding, embedding_model ON episodic_memory
        FOR EACH ROW WHEN (
            NEW.embedding IS NOT NULL
            -- Set by the statement that moves rows, whose vectors are beside them already.
            AND current_setting('aegis.moving', true) IS DISTINCT FROM 'on'
        )
        EXECUTE FUNCTION aegis_keep_new_vector()
    """,
)

REFUSE = """
DO $block$
BEGIN
    IF EXISTS (SELECT FROM embedding_models WHERE beside_until = 'infinity') THEN
        RAISE EXCEPTION 'Rows are being moved to another embedding model; '
            'wait until `aegis memory models status` says that they are.';
    END IF;
END
$block$
"""


INDEX = "CREATE INDEX idx_episodic_namespace_id ON episodic_memory (namespace, id)"


def upgrade() -> None:
    op.execute(INDEX)
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute(REFUSE)
    op.execute("DROP INDEX idx_episodic_namespace_id")
    op.execute("DROP TRIGGER tr_episodic_memory_vector ON episodic_memory")
    op.execute("DROP TRIGGER tr_episodic_memory_vectors ON episodic_memory")
    op.execute("DROP FUNCTION aegis_keep_new_vector()")
    op.execute("DROP FUNCTION aegis_keep_new_vectors()")
    op.execute("ALTER TABLE embedding_models DROP COLUMN beside_until")
