"""SQL that makes two entities one, and two again.

The entity that goes keeps its row, so that its name still leads somewhere; its relations move.
What would be there twice, or lead from the entity to itself, is set aside in the merge's row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all, fetch_one, fetch_optional
from aegis.memory.graph.models import Merge
from aegis.memory.store.graph_entities import recount

if TYPE_CHECKING:
    from aegis.db import Connection

__all__ = ["find_merge", "list_merges", "merge", "undo_merge"]


async def merge(conn: Connection, kept: int, merged: int, *, namespace: str) -> Merge:
    """Move all that `merged` has to `kept`; both are locked, of the namespace, and not merged."""
    params = {"kept": kept, "merged": merged, "namespace": namespace}
    made = await fetch_one(
        conn,
        Merge,
        """
        INSERT INTO graph_merges AS g (namespace, kept, merged, before)
        SELECT
            %(namespace)s,
            k.id,
            m.id,
            jsonb_build_object(
                'aliases', to_jsonb(k.aliases),
                'first_seen_at', k.first_seen_at,
                'last_seen_at', k.last_seen_at,
                'children', (
                    SELECT coalesce(jsonb_agg(c.id), '[]')
                    FROM graph_entities c
                    WHERE c.merged_into = m.id
                )
            )
        FROM graph_entities k
        CROSS JOIN graph_entities m
        WHERE k.id = %(kept)s
          AND m.id = %(merged)s
        RETURNING g.id, g.kept, g.merged, g.at, g.undone_at
        """,
        params,
        missing="One of the entities was deleted meanwhile. Try again.",
    )
    await execute(
        conn,
        """
        UPDATE graph_entities
        SET merged_into = %(kept)s
        WHERE id = %(merged)s
           OR merged_into = %(merged)s
        """,
        params,
    )
    # Above what it can lose: counted anew below, and not deleted before.
    await execute(conn, "UPDATE graph_entities SET degree = degree + 1 WHERE id = %(kept)s", params)
    await _set_aside(conn, made.id, kept, merged)
    await _move(conn, made.id, kept, merged)
    await execute(
        conn,
        """
        UPDATE graph_entities k
        SET aliases = ARRAY(
                SELECT DISTINCT a
                FROM unnest(k.aliases || m.aliases || m.name) AS a
                WHERE a <> k.name
                ORDER BY a
            ),
            first_seen_at = least(k.first_seen_at, m.first_seen_at),
            last_seen_at = greatest(k.last_seen_at, m.last_seen_at)
        FROM graph_entities m
        WHERE k.id = %(kept)s
          AND m.id = %(merged)s
        """,
        params,
    )
    await recount(conn, [kept, merged])
    return made


async def _set_aside(conn: Connection, merge_id: int, kept: int, merged: int) -> None:
    """Take away what would be there twice or be a circle, and write it down."""
    await execute(
        conn,
        """
        WITH moved AS (
            SELECT
                r.*,
                CASE WHEN r.from_entity = %(merged)s THEN %(kept)s::bigint * 4 + 2
                     ELSE r.source END AS new_source,
                CASE WHEN r.to_entity = %(merged)s THEN %(kept)s::bigint * 4 + 2
                     ELSE r.target END AS new_target
            FROM graph_relations r
            WHERE r.from_entity = %(merged)s
               OR r.to_entity = %(merged)s
        ),
        gone AS (
            DELETE FROM graph_relations d
            USING moved m
            WHERE d.id = m.id
              AND (
                  m.new_source = m.new_target
                  OR EXISTS (
                      SELECT
                      FROM graph_relations o
                      WHERE o.source = m.new_source
                        AND o.target = m.new_target
                        AND o.type = m.type
                        AND o.valid_from IS NOT DISTINCT FROM m.valid_from
                        AND o.said_in_episode IS NOT DISTINCT FROM m.said_in_episode
                        AND o.said_in_fact IS NOT DISTINCT FROM m.said_in_fact
                  )
              )
            RETURNING to_jsonb(d) - 'source' - 'target' AS relation
        )
        UPDATE graph_merges
        SET before = before || jsonb_build_object(
            'dropped', (SELECT coalesce(jsonb_agg(relation), '[]') FROM gone)
        )
        WHERE id = %(merge)s
        """,
        {"merge": merge_id, "kept": kept, "merged": merged},
    )


async def _move(conn: Connection, merge_id: int, kept: int, merged: int) -> None:
    await execute(
        conn,
        """
        WITH outward AS (
            UPDATE graph_relations
            SET from_entity = %(kept)s
            WHERE from_entity = %(merged)s
            RETURNING id
        ),
        inward AS (
            UPDATE graph_relations
            SET to_entity = %(kept)s
            WHERE to_entity = %(merged)s
            RETURNING id
        )
        UPDATE graph_merges
        SET before = before || jsonb_build_object(
            'outward', (SELECT coalesce(jsonb_agg(id), '[]') FROM outward),
            'inward', (SELECT coalesce(jsonb_agg(id), '[]') FROM inward)
        )
        WHERE id = %(merge)s
        """,
        {"merge": merge_id, "kept": kept, "merged": merged},
    )


async def find_merge(conn: Connection, merge_id: int, *, namespace: str) -> Merge | None:
    """Return a merge and keep it from being undone by others, or None."""
    return await fetch_optional(
        conn,
        Merge,
        """
        SELECT g.id, g.kept, g.merged, g.at, g.undone_at
        FROM graph_merges g
        WHERE g.id = %(id)s
          AND g.namespace = %(namespace)s
        FOR UPDATE
        """,
        {"id": merge_id, "namespace": namespace},
    )


async def list_merges(conn: Connection, *, namespace: str, limit: int) -> list[Merge]:
    """Return merges, the last one first."""
    return await fetch_all(
        conn,
        Merge,
        """
        SELECT g.id, g.kept, g.merged, g.at, g.undone_at
        FROM graph_merges g
        WHERE g.namespace = %(namespace)s
        ORDER BY g.id DESC
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "limit": limit},
    )


async def undo_merge(conn: Connection, done: Merge) -> bool:
    """Put back what a merge moved; False where one of the two was merged again since.

    What was mentioned since by either name is read again, which tells whose it is.
    """
    params = {"merge": done.id, "kept": done.kept, "merged": done.merged}
    split = await execute(
        conn,
        """
        UPDATE graph_entities m
        SET merged_into = NULL
        FROM graph_entities k
        WHERE m.id = %(merged)s
          AND m.merged_into = %(kept)s
          AND k.id = %(kept)s
          AND k.merged_into IS NULL
        """,
        params,
    )
    if split == 0:
        return False
    for statement in _UNDO:
        await execute(conn, statement, params)
    await recount(conn, [done.kept, done.merged])
    # All that spoke of one of the two may be gone by now.
    await execute(
        conn,
        """
        DELETE FROM graph_entities
        WHERE id IN (%(kept)s, %(merged)s)
          AND degree = 0
        """,
        params,
    )
    return True


_UNDO = (
    """
    UPDATE graph_entities c
    SET merged_into = %(merged)s
    FROM graph_merges g
    WHERE g.id = %(merge)s
      AND c.merged_into = %(kept)s
      AND g.before -> 'children' @> to_jsonb(c.id)
    """,
    """
    UPDATE graph_relations r
    SET from_entity = %(merged)s
    FROM graph_merges g
    WHERE g.id = %(merge)s
      AND r.from_entity = %(kept)s
      AND r.id IN (SELECT x::bigint FROM jsonb_array_elements_text(g.before -> 'outward') AS x)
    """,
    """
    UPDATE graph_relations r
    SET to_entity = %(merged)s
    FROM graph_merges g
    WHERE g.id = %(merge)s
      AND r.to_entity = %(kept)s
      AND r.id IN (SELECT x::bigint FROM jsonb_array_elements_text(g.before -> 'inward') AS x)
    """,
    """
    INSERT INTO graph_relations (
        id, namespace, type, from_episode, from_fact, from_entity, to_episode, to_fact, to_entity,
        said_in_episode, said_in_fact, weight, valid_from, valid_to, recorded_at, found_by
    )
    SELECT
        r.id, r.namespace, r.type, r.from_episode, r.from_fact, r.from_entity, r.to_episode,
        r.to_fact, r.to_entity, r.said_in_episode, r.said_in_fact, r.weight, r.valid_from,
        r.valid_to, r.recorded_at, r.found_by
    FROM graph_merges g
    CROSS JOIN LATERAL jsonb_populate_recordset(
        NULL::graph_relations, g.before -> 'dropped'
    ) AS r
    WHERE g.id = %(merge)s
      -- What it led to, or what said it, may be gone.
      AND NOT EXISTS (
          SELECT
          FROM (
              VALUES (r.from_episode), (r.to_episode), (r.said_in_episode)
          ) AS x (id)
          WHERE x.id IS NOT NULL
            AND NOT EXISTS (SELECT FROM episodic_memory e WHERE e.id = x.id)
      )
      AND NOT EXISTS (
          SELECT
          FROM (VALUES (r.from_fact), (r.to_fact), (r.said_in_fact)) AS x (id)
          WHERE x.id IS NOT NULL
            AND NOT EXISTS (SELECT FROM semantic_memory f WHERE f.id = x.id)
      )
      AND NOT EXISTS (
          SELECT
          FROM (VALUES (r.from_entity), (r.to_entity)) AS x (id)
          WHERE x.id IS NOT NULL
            AND NOT EXISTS (SELECT FROM graph_entities n WHERE n.id = x.id)
      )
    ON CONFLICT DO NOTHING
    """,
    """
    UPDATE graph_entities k
    SET aliases = ARRAY(
            SELECT a
            FROM unnest(k.aliases) AS a
            WHERE a = ANY (ARRAY(SELECT jsonb_array_elements_text(g.before -> 'aliases')))
               OR NOT a = ANY (m.aliases || m.name)
        )
    FROM graph_merges g
    JOIN graph_entities m ON m.id = g.merged
    WHERE g.id = %(merge)s
      AND k.id = g.kept
    """,
    """
    INSERT INTO graph_queue (episode_id, fact_id)
    SELECT DISTINCT r.from_episode, r.from_fact
    FROM graph_relations r
    JOIN graph_merges g ON g.id = %(merge)s
    WHERE r.to_entity = g.kept
      AND r.type = 'mentions'
      AND r.recorded_at >= g.at
    """,
    "UPDATE graph_merges SET undone_at = clock_timestamp() WHERE id = %(merge)s",
)
