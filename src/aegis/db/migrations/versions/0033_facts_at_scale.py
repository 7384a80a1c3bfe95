"""Facts of large namespaces are found by an index of their words, and keep together when they move.

Recall read every fact of a namespace, and computed its words each time. The index holds the
namespace as its own first word, as that of episodes does, so that one look-up finds a word within
a namespace. No column is added: the words are computed once more for those that are ranked.

Where an audit moves rows into another namespace, their history, their sources, their relations and
the decisions that belong to an episode go along, and come back with them.

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
    # Between two memories a relation moves when both have; an entity has a twin of the same key
    # where a relation of it goes, and triggers of the relations count the mentions of both.
    """
    CREATE FUNCTION aegis_move_relations(place TEXT, episode INTEGER, fact INTEGER) RETURNS void
        LANGUAGE plpgsql
        AS $function$
    DECLARE
        touched bigint[] := ARRAY(
            SELECT r.id
            FROM graph_relations r
            WHERE (
                    r.from_episode = episode OR r.to_episode = episode
                    OR r.said_in_episode = episode
                    OR r.from_fact = fact OR r.to_fact = fact OR r.said_in_fact = fact
                )
              AND r.namespace <> place
        );
    BEGIN
        IF touched = '{}' THEN
            RETURN;
        END IF;
        UPDATE graph_relations r
        SET namespace = place
        WHERE r.id = ANY (touched)
          AND r.from_entity IS NULL
          AND r.to_entity IS NULL
          AND NOT EXISTS (
              SELECT FROM episodic_memory e
              WHERE e.id IN (r.from_episode, r.to_episode)
                AND e.namespace <> place
          )
          AND NOT EXISTS (
              SELECT FROM semantic_memory f
              WHERE f.id IN (r.from_fact, r.to_fact)
                AND f.namespace <> place
          );
        INSERT INTO graph_entities (
            namespace, kind, name, key, aliases, first_seen_at, last_seen_at
        )
        SELECT DISTINCT ON (e.kind, e.key)
               place, e.kind, e.name, e.key, e.aliases, e.first_seen_at, e.last_seen_at
        FROM graph_relations r
        JOIN graph_entities e ON e.id IN (r.from_entity, r.to_entity)
        WHERE r.id = ANY (touched)
        ORDER BY e.kind, e.key, e.id
        ON CONFLICT (namespace, kind, key) DO NOTHING;
        WITH twins AS (
            SELECT o.id, t.id AS twin
            FROM graph_relations r
            JOIN graph_entities o ON o.id IN (r.from_entity, r.to_entity)
            JOIN graph_entities t ON t.namespace = place AND t.kind = o.kind AND t.key = o.key
            WHERE r.id = ANY (touched)
            GROUP BY o.id, t.id
        ),
        gone AS (
            DELETE FROM graph_relations r
            WHERE r.id = ANY (touched)
              AND num_nonnulls(r.from_entity, r.to_entity) > 0
            RETURNING r.*
        )
        INSERT INTO graph_relations (
            namespace, type, from_episode, from_fact, from_entity, to_episode, to_fact, to_entity,
            said_in_episode, said_in_fact, weight, valid_from, valid_to, recorded_at, found_by
        )
        SELECT place, g.type, g.from_episode, g.from_fact, f.twin, g.to_episode, g.to_fact, t.twin,
               g.said_in_episode, g.said_in_fact, g.weight, g.valid_from, g.valid_to,
               g.recorded_at, g.found_by
        FROM gone g
        LEFT JOIN twins f ON f.id = g.from_entity
        LEFT JOIN twins t ON t.id = g.to_entity
        ON CONFLICT (source, target, type, valid_from, said_in_episode, said_in_fact) DO NOTHING;
    END
    $function$
    """,
    """
    COMMENT ON FUNCTION aegis_move_relations(TEXT, INTEGER, INTEGER) IS
        'Lets the relations of an episode or a fact that moved into another namespace follow it.'
    """,
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
        PERFORM aegis_move_relations(NEW.namespace, NULL, NEW.id);
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
    CREATE FUNCTION aegis_move_episode() RETURNS trigger
        LANGUAGE plpgsql
        AS $function$
    BEGIN
        UPDATE decision_outcomes
        SET namespace = NEW.namespace
        WHERE decision_id = NEW.id;
        PERFORM aegis_move_relations(NEW.namespace, NEW.id, NULL);
        RETURN NULL;
    END
    $function$
    """,
    """
    CREATE TRIGGER tr_episodic_memory_namespace AFTER UPDATE OF namespace ON episodic_memory
        FOR EACH ROW WHEN (OLD.namespace IS DISTINCT FROM NEW.namespace)
        EXECUTE FUNCTION aegis_move_episode()
    """,
)


def upgrade() -> None:
    op.execute(INDEX)
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER tr_episodic_memory_namespace ON episodic_memory")
    op.execute("DROP FUNCTION aegis_move_episode()")
    op.execute("DROP TRIGGER tr_semantic_memory_namespace ON semantic_memory")
    op.execute("DROP FUNCTION aegis_move_fact()")
    op.execute("DROP FUNCTION aegis_move_relations(TEXT, INTEGER, INTEGER)")
    op.execute("DROP INDEX idx_semantic_words")
