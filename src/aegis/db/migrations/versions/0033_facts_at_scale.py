"""Facts of large namespaces are found by an index of their words, and keep together when they move.

Recall read every fact of a namespace, and computed its words each time. The index holds the
namespace as its own first word, as that of episodes does, so that one look-up finds a word within
a namespace. No column is added: the words are computed once more for those that are ranked.

Where an audit moves rows into another namespace, their history, their sources and the decisions
that belong to an episode go along, and come back with them.

Locks and cost: SHARE on `semantic_memory` while the index is built, a second per 20,000 facts.
"""

from __future__ import annotations

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

INDEX = r"""
CREATE INDEX idx_semantic_words ON semantic_memory USING gin (
    (
        array_to_tsvector(ARRAY[E'\x01' || namespace])
        || to_tsvector('english', left(concept || ' ' || content, 100000))
    )
) WITH (gin_pending_list_limit = 256)
"""

STATEMENTS = (
    """
    CREATE FUNCTION aegis_move_fact() RETURNS trigger
        LANGUAGE plpgsql
        AS $function$
    BEGIN
        UPDATE fact_sources
        SET namespace = NEW.namespace
        WHERE fact_id = NEW.id;
        UPDATE fact_history
        SET namespace = NEW.namespace,
            before = CASE WHEN before ? 'namespace'
                          THEN jsonb_set(before, '{namespace}', to_jsonb(NEW.namespace))
                          ELSE before
                     END
        WHERE fact_id = NEW.id;
        RETURN NULL;
    END
    $function$
    """,
    """
    CREATE TRIGGER tr_semantic_memory_namespace AFTER UPDATE OF namespace ON semantic_memory
        FOR EACH ROW WHEN (OLD.namespace IS DISTINCT FROM NEW.namespace)
        EXECUTE FUNCTION aegis_move_fact()
    """,
    """
    CREATE FUNCTION aegis_move_decisions() RETURNS trigger
        LANGUAGE plpgsql
        AS $function$
    BEGIN
        UPDATE decision_outcomes
        SET namespace = NEW.namespace
        WHERE decision_id = NEW.id;
        RETURN NULL;
    END
    $function$
    """,
    """
    CREATE TRIGGER tr_episodic_memory_namespace AFTER UPDATE OF namespace ON episodic_memory
        FOR EACH ROW WHEN (OLD.namespace IS DISTINCT FROM NEW.namespace)
        EXECUTE FUNCTION aegis_move_decisions()
    """,
)


def upgrade() -> None:
    op.execute(INDEX)
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER tr_episodic_memory_namespace ON episodic_memory")
    op.execute("DROP FUNCTION aegis_move_decisions()")
    op.execute("DROP TRIGGER tr_semantic_memory_namespace ON semantic_memory")
    op.execute("DROP FUNCTION aegis_move_fact()")
    op.execute("DROP INDEX idx_semantic_words")
