"""Relations that go and come back with their memories, and the entities that go with the last one.

Surprises: what a relation leads to may be gone when it comes back; it is left out then. Relations
go in before `related_memories`, of which a trigger would make other ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from aegis.db import execute

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.db import Connection

__all__ = ["add_entities", "list_relations", "put_related", "put_relations"]


async def list_relations(conn: Connection, column: str, ids: Sequence[int]) -> dict[int, str]:
    """Return the relations that name these rows in a column, as JSON, by row.

    Each with its `place` in the array of the episode that it begins at.
    """
    cursor = await conn.execute(
        sql.SQL(
            """
            SELECT r.{column}, jsonb_agg(
                       to_jsonb(r) || jsonb_build_object(
                           'place', array_position(e.related_memories, r.to_episode)
                       )
                   )::text
            FROM graph_relations r
            LEFT JOIN episodic_memory e ON e.id = r.from_episode
            WHERE r.{column} = ANY(%(ids)s)
            GROUP BY r.{column}
            """
        ).format(column=sql.Identifier(column)),
        {"ids": list(ids)},
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def add_entities(
    conn: Connection, column: str, ids: Sequence[int], found: dict[int, dict[str, str]]
) -> None:
    """Add the entities that relations lead to, those merged into them, and these merges."""
    cursor = await conn.execute(
        sql.SQL(
            """
            WITH led AS (
                SELECT DISTINCT r.{column} AS row_id, x.id
                FROM graph_relations r
                CROSS JOIN LATERAL (VALUES (r.from_entity), (r.to_entity)) AS x (id)
                WHERE r.{column} = ANY(%(ids)s)
                  AND x.id IS NOT NULL
            )
            SELECT
                l.row_id,
                jsonb_agg(DISTINCT to_jsonb(e) - 'mentions' - 'degree')::text,
                (
                    SELECT jsonb_agg(to_jsonb(m) ORDER BY m.id)
                    FROM graph_merges m
                    WHERE m.kept IN (SELECT o.id FROM led o WHERE o.row_id = l.row_id)
                )::text
            FROM led l
            JOIN graph_entities e ON e.id = l.id OR e.merged_into = l.id
            GROUP BY l.row_id
            """
        ).format(column=sql.Identifier(column)),
        {"ids": list(ids)},
    )
    for row_id, entities, merges in await cursor.fetchall():
        of = found[row_id]
        for name, rows in (("graph_entities", entities), ("graph_merges", merges)):
            if rows is not None:
                of[name] = rows if name not in of else f"{of[name][:-1]},{rows[1:]}"


async def put_relations(conn: Connection, documents: Sequence[str]) -> list[str]:
    """Put back relations, and entities that went with their last one.

    Returns those left out, as JSON: what they lead to, or what says them, is not there. An entity
    is the one of its name now, whatever number it had.
    """
    if not documents:
        return []
    params: dict[str, Any] = {"documents": list(documents)}
    made: list[int] = []
    for statement in (_PUT_ENTITIES, _PUT_MERGED):
        cursor = await conn.execute(_GIVEN_ENTITIES + statement, params)
        made += [row[0] for row in await cursor.fetchall()]
    cursor = await conn.execute(_PUT_RELATIONS, params)
    left = [row[0] for row in await cursor.fetchall()]
    await _put_in_place(conn, documents)
    await execute(conn, _PUT_MERGES, params)
    # Whatever an entity was for may have been left out.
    await execute(
        conn,
        """
        DELETE FROM graph_entities
        WHERE id = ANY(%(made)s)
          AND degree <= 0
          AND merged_into IS NULL
        """,
        {"made": made},
    )
    return left


_GIVEN_ENTITIES: LiteralString = """
    WITH given AS (
        SELECT DISTINCT ON (n.id) n.*
        FROM unnest(%(documents)s::text[]) AS d (document)
        CROSS JOIN LATERAL jsonb_populate_recordset(
            NULL::graph_entities, d.document::jsonb -> 'graph_entities'
        ) AS n
        WHERE d.document::jsonb ? 'graph_entities'
        ORDER BY n.id
    )
"""

_PUT_ENTITIES: LiteralString = """
    INSERT INTO graph_entities (
        id, namespace, kind, name, key, aliases, first_seen_at, last_seen_at, created_at
    )
    SELECT n.id, n.namespace, n.kind, n.name, n.key, n.aliases, n.first_seen_at, n.last_seen_at,
           n.created_at
    FROM given n
    WHERE n.merged_into IS NULL
    ORDER BY n.namespace, n.kind, n.key
    ON CONFLICT DO NOTHING
    RETURNING id
"""

_PUT_MERGED: LiteralString = """
    INSERT INTO graph_entities (
        id, namespace, kind, name, key, aliases, first_seen_at, last_seen_at, created_at,
        merged_into
    )
    SELECT n.id, n.namespace, n.kind, n.name, n.key, n.aliases, n.first_seen_at, n.last_seen_at,
           n.created_at, k.id
    FROM given n
    JOIN given was ON was.id = n.merged_into
    JOIN graph_entities k
      ON k.namespace = was.namespace
     AND k.kind = was.kind
     AND k.key = was.key
     AND k.merged_into IS NULL
    ORDER BY n.namespace, n.kind, n.key
    ON CONFLICT DO NOTHING
    RETURNING id
"""

_PUT_MERGES: LiteralString = """
    INSERT INTO graph_merges (id, namespace, kept, merged, before, at, undone_at)
    SELECT DISTINCT ON (m.id) m.id, m.namespace, m.kept, m.merged, m.before, m.at, m.undone_at
    FROM unnest(%(documents)s::text[]) AS d (document)
    CROSS JOIN LATERAL jsonb_populate_recordset(
        NULL::graph_merges, d.document::jsonb -> 'graph_merges'
    ) AS m
    JOIN graph_entities k ON k.id = m.kept
    JOIN graph_entities o ON o.id = m.merged
    WHERE d.document::jsonb ? 'graph_merges'
    ORDER BY m.id
    ON CONFLICT DO NOTHING
"""

_PUT_RELATIONS: LiteralString = (
    _GIVEN_ENTITIES
    + """,
    standing AS (
        SELECT n.id AS was, coalesce(e.merged_into, e.id) AS id
        FROM given n
        JOIN graph_entities e USING (namespace, kind, key)
    ),
    relations AS (
        SELECT DISTINCT ON (r.id) r.*
        FROM unnest(%(documents)s::text[]) AS d (document)
        CROSS JOIN LATERAL jsonb_populate_recordset(
            NULL::graph_relations, d.document::jsonb -> 'graph_relations'
        ) AS r
        WHERE d.document::jsonb ? 'graph_relations'
        ORDER BY r.id
    ),
    led AS (
        SELECT
            r.*,
            coalesce(
                (SELECT s.id FROM standing s WHERE s.was = r.from_entity),
                (SELECT e.id FROM graph_entities e
                 WHERE e.id = r.from_entity AND e.namespace = r.namespace)
            ) AS from_now,
            coalesce(
                (SELECT s.id FROM standing s WHERE s.was = r.to_entity),
                (SELECT e.id FROM graph_entities e
                 WHERE e.id = r.to_entity AND e.namespace = r.namespace)
            ) AS to_now
        FROM relations r
    ),
    checked AS (
        SELECT
            l.*,
            (l.from_entity IS NULL) = (l.from_now IS NULL)
            AND (l.to_entity IS NULL) = (l.to_now IS NULL)
            AND l.from_now IS DISTINCT FROM coalesce(l.to_now, 0)
            AND NOT EXISTS (
                SELECT
                FROM (VALUES (l.from_episode), (l.to_episode), (l.said_in_episode)) AS x (id)
                WHERE x.id IS NOT NULL
                  AND NOT EXISTS (
                      SELECT
                      FROM episodic_memory e
                      WHERE e.id = x.id
                        AND e.namespace = l.namespace
                  )
            )
            AND NOT EXISTS (
                SELECT
                FROM (VALUES (l.from_fact), (l.to_fact), (l.said_in_fact)) AS x (id)
                WHERE x.id IS NOT NULL
                  AND NOT EXISTS (
                      SELECT
                      FROM semantic_memory f
                      WHERE f.id = x.id
                        AND f.namespace = l.namespace
                  )
            ) AS stands
        FROM led l
    ),
    put AS (
        INSERT INTO graph_relations (
            id, namespace, type, from_episode, from_fact, from_entity, to_episode, to_fact,
            to_entity, said_in_episode, said_in_fact, weight, valid_from, valid_to, recorded_at,
            found_by
        )
        SELECT
            c.id, c.namespace, c.type, c.from_episode, c.from_fact, c.from_now, c.to_episode,
            c.to_fact, c.to_now, c.said_in_episode, c.said_in_fact, c.weight, c.valid_from,
            c.valid_to, c.recorded_at, c.found_by
        FROM checked c
        WHERE c.stands
        ORDER BY c.id
        ON CONFLICT DO NOTHING
    )
    SELECT (to_jsonb(r) - 'source' - 'target')::text
    FROM relations r
    JOIN checked c USING (id)
    WHERE NOT c.stands
    ORDER BY r.id
"""
)


async def _put_in_place(conn: Connection, documents: Sequence[str]) -> None:
    """Let arrays name what came back where they named it: triggers put it at the end."""
    cursor = await conn.execute(
        """
        SELECT DISTINCT e.id, r.place, r.to_episode
        FROM unnest(%(documents)s::text[]) AS d (document)
        CROSS JOIN LATERAL jsonb_to_recordset(d.document::jsonb -> 'graph_relations')
            AS r (from_episode int, to_episode int, place int)
        JOIN episodic_memory e ON e.id = r.from_episode
        WHERE d.document::jsonb ? 'graph_relations'
          AND array_position(e.related_memories, r.to_episode) > r.place
        ORDER BY e.id, r.place
        """,
        {"documents": list(documents)},
    )
    for holder, place, named in await cursor.fetchall():
        await execute(
            conn,
            """
            UPDATE episodic_memory
            SET related_memories = (array_remove(related_memories, %(named)s))[:%(place)s - 1]
                || %(named)s::integer
                || (array_remove(related_memories, %(named)s))[%(place)s:]
            WHERE id = %(holder)s
            """,
            {"holder": holder, "place": place, "named": named},
        )


async def put_related(conn: Connection, related: Mapping[int, Sequence[int] | None]) -> None:
    """Give episodes the array that they had, after their relations, which may name others."""
    for row_id, ids in sorted(related.items()):
        if ids is None:
            continue
        await execute(
            conn,
            """
            UPDATE episodic_memory e
            SET related_memories = %(related)s::integer[] || ARRAY(
                    SELECT r.id
                    FROM unnest(e.related_memories) WITH ORDINALITY AS r (id, place)
                    WHERE r.id <> ALL(%(related)s::integer[])
                    ORDER BY r.place
                )
            WHERE e.id = %(id)s
              AND e.related_memories IS DISTINCT FROM %(related)s::integer[]
            """,
            {"id": row_id, "related": list(ids)},
        )
