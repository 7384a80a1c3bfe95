"""The triggers of revision 0010: what keeps the graph, its counts and its queue true.

Part of that revision, which has run elsewhere: a change here is a new revision with text of its
own.
"""

from __future__ import annotations

from typing import Final

__all__ = ["FUNCTIONS", "TRIGGERS"]

FUNCTIONS: Final = (
    # Of an episode: what its array names and no relation says yet; then what it names no more.
    """
    CREATE FUNCTION graph_from_array() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO graph_relations (
            namespace, type, from_episode, to_episode, valid_from, found_by
        )
        SELECT DISTINCT NEW.namespace,
               'related',
               NEW.id,
               o.id,
               CASE WHEN isfinite(NEW.timestamp) THEN NEW.timestamp END,
               'hand'
        FROM unnest(NEW.related_memories) AS r (id)
        JOIN episodic_memory o ON o.id = r.id
        WHERE o.namespace = NEW.namespace
          AND o.id <> NEW.id
          AND NOT EXISTS (
              SELECT FROM graph_relations g
              WHERE g.source = NEW.id::bigint * 4
                AND g.target = o.id::bigint * 4
                AND g.valid_to IS NULL
          )
        -- It was related before, and ended: now it is again, from the same time on.
        ON CONFLICT (source, target, type, valid_from, said_in_episode, said_in_fact)
            DO UPDATE SET valid_to = NULL;
        IF TG_OP = 'UPDATE' THEN
            UPDATE graph_relations g
            SET valid_to = greatest(now(), g.valid_from)
            WHERE g.source = NEW.id::bigint * 4
              AND g.to_episode IS NOT NULL
              AND g.valid_to IS NULL
              AND g.to_episode = ANY (OLD.related_memories)
              AND NOT g.to_episode = ANY (coalesce(NEW.related_memories, '{}'));
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION graph_to_array() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        open boolean := EXISTS (
            SELECT FROM graph_relations g
            WHERE g.source = coalesce(NEW.source, OLD.source)
              AND g.target = coalesce(NEW.target, OLD.target)
              AND g.valid_to IS NULL
        );
        holder integer := coalesce(NEW.from_episode, OLD.from_episode);
        named integer := coalesce(NEW.to_episode, OLD.to_episode);
    BEGIN
        IF open THEN
            UPDATE episodic_memory e
            SET related_memories = array_append(coalesce(e.related_memories, '{}'), named)
            WHERE e.id = holder
              AND NOT named = ANY (coalesce(e.related_memories, '{}'));
        ELSE
            UPDATE episodic_memory e
            SET related_memories = array_remove(e.related_memories, named)
            WHERE e.id = holder
              AND named = ANY (e.related_memories);
        END IF;
        RETURN NULL;
    END
    $$
    """,
    # Entities are locked in the order of ids, here and wherever else: nobody waits in a circle.
    """
    CREATE FUNCTION graph_count_new() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM FROM graph_entities e
        WHERE e.id IN (
            SELECT n.from_entity FROM new_rows n UNION ALL SELECT n.to_entity FROM new_rows n
        )
        ORDER BY e.id
        FOR NO KEY UPDATE;
        UPDATE graph_entities e
        SET degree = e.degree + c.degree,
            mentions = e.mentions + c.mentions
        FROM (
            SELECT x.id,
                   count(*) AS degree,
                   count(*) FILTER (WHERE n.type = 'mentions' AND x.id = n.to_entity) AS mentions
            FROM new_rows n
            CROSS JOIN LATERAL (VALUES (n.from_entity), (n.to_entity)) AS x (id)
            WHERE x.id IS NOT NULL
            GROUP BY x.id
        ) c
        WHERE e.id = c.id;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION graph_count_gone() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        touched integer[] := ARRAY(
            SELECT DISTINCT x.id
            FROM old_rows o
            CROSS JOIN LATERAL (VALUES (o.from_entity), (o.to_entity)) AS x (id)
            WHERE x.id IS NOT NULL
        );
    BEGIN
        IF touched = '{}' THEN
            RETURN NULL;
        END IF;
        PERFORM FROM graph_entities e WHERE e.id = ANY (touched) ORDER BY e.id FOR UPDATE;
        UPDATE graph_entities e
        SET degree = e.degree - c.degree,
            mentions = e.mentions - c.mentions
        FROM (
            SELECT x.id,
                   count(*) AS degree,
                   count(*) FILTER (WHERE o.type = 'mentions' AND x.id = o.to_entity) AS mentions
            FROM old_rows o
            CROSS JOIN LATERAL (VALUES (o.from_entity), (o.to_entity)) AS x (id)
            WHERE x.id IS NOT NULL
            GROUP BY x.id
        ) c
        WHERE e.id = c.id;
        DELETE FROM graph_entities e
        WHERE e.id = ANY (touched)
          AND e.degree <= 0
          AND e.merged_into IS NULL;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION graph_note_episodes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO graph_queue (episode_id) SELECT n.id FROM new_rows n;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION graph_note_episode() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO graph_queue (episode_id) VALUES (NEW.id);
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION graph_note_fact() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO graph_queue (fact_id) VALUES (NEW.id);
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION graphiti_unsynced() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.graphiti_synced_at := NULL;
        RETURN NEW;
    END
    $$
    """,
)

TRIGGERS: Final = (
    """
    CREATE TRIGGER graph_related_insert AFTER INSERT ON episodic_memory
        FOR EACH ROW WHEN (cardinality(NEW.related_memories) > 0)
        EXECUTE FUNCTION graph_from_array()
    """,
    """
    CREATE TRIGGER graph_related_update AFTER UPDATE OF related_memories ON episodic_memory
        FOR EACH ROW WHEN (OLD.related_memories IS DISTINCT FROM NEW.related_memories)
        EXECUTE FUNCTION graph_from_array()
    """,
    """
    CREATE TRIGGER graph_queue_insert AFTER INSERT ON episodic_memory
        REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
        EXECUTE FUNCTION graph_note_episodes()
    """,
    """
    CREATE TRIGGER graph_queue_update AFTER UPDATE OF summary, timestamp ON episodic_memory
        FOR EACH ROW WHEN (
            OLD.summary IS DISTINCT FROM NEW.summary
            OR OLD.timestamp IS DISTINCT FROM NEW.timestamp
        )
        EXECUTE FUNCTION graph_note_episode()
    """,
    """
    CREATE TRIGGER graph_queue_insert AFTER INSERT ON semantic_memory
        FOR EACH ROW EXECUTE FUNCTION graph_note_fact()
    """,
    """
    CREATE TRIGGER graph_queue_update
        AFTER UPDATE OF concept, content, valid_from, valid_to ON semantic_memory
        FOR EACH ROW WHEN (
            OLD.concept IS DISTINCT FROM NEW.concept
            OR OLD.content IS DISTINCT FROM NEW.content
            OR OLD.valid_from IS DISTINCT FROM NEW.valid_from
            OR OLD.valid_to IS DISTINCT FROM NEW.valid_to
        )
        EXECUTE FUNCTION graph_note_fact()
    """,
    """
    CREATE TRIGGER graphiti_unsynced
        BEFORE UPDATE OF summary, timestamp, event_type ON episodic_memory
        FOR EACH ROW WHEN (
            OLD.graphiti_synced_at IS NOT NULL
            AND (
                OLD.summary IS DISTINCT FROM NEW.summary
                OR OLD.timestamp IS DISTINCT FROM NEW.timestamp
                OR OLD.event_type IS DISTINCT FROM NEW.event_type
            )
        )
        EXECUTE FUNCTION graphiti_unsynced()
    """,
    """
    CREATE TRIGGER graph_array_insert AFTER INSERT ON graph_relations
        FOR EACH ROW WHEN (
            NEW.from_episode IS NOT NULL AND NEW.to_episode IS NOT NULL AND NEW.valid_to IS NULL
        )
        EXECUTE FUNCTION graph_to_array()
    """,
    """
    CREATE TRIGGER graph_array_update AFTER UPDATE OF valid_to ON graph_relations
        FOR EACH ROW WHEN (
            NEW.from_episode IS NOT NULL
            AND NEW.to_episode IS NOT NULL
            AND OLD.valid_to IS DISTINCT FROM NEW.valid_to
        )
        EXECUTE FUNCTION graph_to_array()
    """,
    """
    CREATE TRIGGER graph_array_delete AFTER DELETE ON graph_relations
        FOR EACH ROW WHEN (OLD.from_episode IS NOT NULL AND OLD.to_episode IS NOT NULL)
        EXECUTE FUNCTION graph_to_array()
    """,
    """
    CREATE TRIGGER graph_count_insert AFTER INSERT ON graph_relations
        REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
        EXECUTE FUNCTION graph_count_new()
    """,
    """
    CREATE TRIGGER graph_count_delete AFTER DELETE ON graph_relations
        REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT
        EXECUTE FUNCTION graph_count_gone()
    """,
)
