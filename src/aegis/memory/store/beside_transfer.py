"""SQL that moves what memory keeps beside memories: relations by hand, merges, items of stores.

Ids are another database's elsewhere, so an entity is told by kind and name, and an item by its
place. Relations that `related_memories` says already, and what the rules find again, stay behind.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from aegis.db import execute, fetch_all, fetch_value
from aegis.db.json_column import read_json_safely

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.graph.models import NodeRef

__all__ = [
    "MergeRow",
    "RelationRow",
    "count_beside",
    "insert_item",
    "insert_relation",
    "merge_known",
    "page_items",
    "page_merges",
    "page_relations",
]

#: By hand, and more than a related memory as `related_memories` has it.
_BY_HAND: LiteralString = """
    r.namespace = %(namespace)s
    AND r.found_by = 'hand'
    AND NOT (
        r.type = 'related'
        AND r.valid_to IS NULL
        AND r.weight = 1
        AND EXISTS (
            SELECT
            FROM episodic_memory e
            WHERE e.id = r.from_episode
              AND e.related_memories @> ARRAY[r.to_episode]
              AND r.valid_from IS NOT DISTINCT FROM
                  CASE WHEN isfinite(e.timestamp) THEN e.timestamp END
        )
    )
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationRow:
    """A relation by hand; an end is an episode's or fact's id, or an entity's kind and name."""

    id: int
    type: str
    start: Mapping[str, Any]
    end: Mapping[str, Any]
    weight: float
    valid_from: datetime | None
    valid_to: datetime | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRow:
    """A merge that holds; entities by kind and name."""

    id: int
    kept: Mapping[str, Any]
    merged: Mapping[str, Any]
    recorded_at: datetime


async def count_beside(conn: Connection, namespace: str) -> int:
    """Return how many relations, merges and items an export of the namespace has."""
    return await fetch_value(
        conn,
        "SELECT (SELECT count(*) FROM graph_relations r WHERE "
        + _BY_HAND
        + """)
            + (
                SELECT count(*)
                FROM graph_merges
                WHERE namespace = %(namespace)s
                  AND undone_at IS NULL
            )
            + (SELECT count(*) FROM store_items WHERE namespace = %(namespace)s)
        """,
        {"namespace": namespace},
    )


async def page_relations(
    conn: Connection, namespace: str, *, after_id: int, limit: int
) -> list[RelationRow]:
    """Return relations by hand behind `after_id`, by id."""
    return await fetch_all(
        conn,
        RelationRow,
        """
        SELECT r.id,
               r.type,
               CASE
                   WHEN r.from_episode IS NOT NULL
                       THEN jsonb_build_object('kind', 'episode', 'id', r.from_episode)
                   WHEN r.from_fact IS NOT NULL
                       THEN jsonb_build_object('kind', 'fact', 'id', r.from_fact)
                   ELSE jsonb_build_object('kind', s.kind, 'name', s.name)
               END AS start,
               CASE
                   WHEN r.to_episode IS NOT NULL
                       THEN jsonb_build_object('kind', 'episode', 'id', r.to_episode)
                   WHEN r.to_fact IS NOT NULL
                       THEN jsonb_build_object('kind', 'fact', 'id', r.to_fact)
                   ELSE jsonb_build_object('kind', t.kind, 'name', t.name)
               END AS "end",
               r.weight,
               r.valid_from,
               r.valid_to,
               r.recorded_at
        FROM graph_relations r
        LEFT JOIN graph_entities s ON s.id = r.from_entity
        LEFT JOIN graph_entities t ON t.id = r.to_entity
        WHERE r.id > %(after_id)s
          AND
        """
        + _BY_HAND
        + """
        ORDER BY r.id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "after_id": after_id, "limit": limit},
    )


async def page_merges(
    conn: Connection, namespace: str, *, after_id: int, limit: int
) -> list[MergeRow]:
    """Return merges that hold behind `after_id`, by id."""
    return await fetch_all(
        conn,
        MergeRow,
        """
        SELECT g.id,
               jsonb_build_object('kind', k.kind, 'name', k.name) AS kept,
               jsonb_build_object('kind', m.kind, 'name', m.name) AS merged,
               g.at AS recorded_at
        FROM graph_merges g
        JOIN graph_entities k ON k.id = g.kept
        JOIN graph_entities m ON m.id = g.merged
        WHERE g.namespace = %(namespace)s
          AND g.undone_at IS NULL
          AND g.id > %(after_id)s
        ORDER BY g.id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "after_id": after_id, "limit": limit},
    )


async def page_items(
    conn: Connection, namespace: str, *, after_id: int, limit: int
) -> list[tuple[int, dict[str, Any]]]:
    """Return (id, fields) of items behind `after_id`, by id, with what they are found by.

    Vectors go with them: the texts that they are of are kept nowhere.
    """
    read_json_safely(conn)
    cursor = await conn.execute(
        """
        SELECT i.id,
               i.path,
               i.key,
               coalesce(i.verbatim::json, i.value::json),
               i.created_at,
               i.updated_at,
               i.ttl_minutes,
               i.expires_at,
               (
                   SELECT coalesce(
                       jsonb_agg(
                           jsonb_build_object(
                               'field', v.field,
                               'model', v.embedding_model,
                               'vector', v.embedding::text,
                               'waiting', v.pending
                           )
                           ORDER BY v.field
                       ),
                       '[]'
                   )
                   FROM store_vectors v
                   WHERE v.item_id = i.id
               )
        FROM store_items i
        WHERE i.namespace = %(namespace)s
          AND i.id > %(after_id)s
        ORDER BY i.id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "after_id": after_id, "limit": limit},
    )
    names = ("path", "key", "value", "created_at", "updated_at", "ttl_minutes", "expires_at",
             "found_by")  # fmt: skip
    return [(row[0], dict(zip(names, row[1:], strict=True))) for row in await cursor.fetchall()]


async def insert_item(
    conn: Connection, item: Mapping[str, Any], *, namespace: str, verbatim: str | None
) -> bool:
    """Write an item with its vectors as it was; False where its place is taken."""
    row_id = await fetch_value(
        conn,
        """
        INSERT INTO store_items (
            namespace, path, key, value, verbatim, created_at, updated_at, ttl_minutes, expires_at
        )
        VALUES (
            %(namespace)s, %(path)s, %(key)s, %(value)s::jsonb, %(verbatim)s, %(created_at)s,
            %(updated_at)s, %(ttl_minutes)s, %(expires_at)s
        )
        ON CONFLICT (namespace, path, key) DO NOTHING
        RETURNING id
        """,
        {
            "namespace": namespace,
            **{name: item[name] for name in ("key", "created_at", "updated_at", "expires_at")},
            "path": list(item["path"]),
            "ttl_minutes": item["ttl_minutes"],
            "value": json.dumps(item["value"]),
            "verbatim": verbatim,
        },
    )
    if row_id is None:
        return False
    await conn.execute(
        """
        INSERT INTO store_vectors (item_id, field, embedding_model, embedding, pending)
        SELECT %(id)s, v.field, v.model, v.vector::vector, v.waiting
        FROM jsonb_to_recordset(%(found_by)s::jsonb)
            AS v (field text, model text, vector text, waiting text)
        """,
        {"id": row_id, "found_by": json.dumps(item["found_by"])},
    )
    return True


async def insert_relation(
    conn: Connection,
    row: Mapping[str, Any],
    start: NodeRef,
    end: NodeRef,
    *,
    namespace: str,
    since: datetime,
) -> bool:
    """Write a relation by hand as it was; False where it is there, from before `since` at least.

    One that this import made of `related_memories` a moment ago gets what the file says of it.
    """
    return bool(
        await execute(
            conn,
            """
            INSERT INTO graph_relations AS r (
                namespace, type, from_episode, from_fact, from_entity, to_episode, to_fact,
                to_entity, weight, valid_from, valid_to, recorded_at, found_by
            )
            VALUES (
                %(namespace)s, %(type)s, %(from_episode)s, %(from_fact)s, %(from_entity)s,
                %(to_episode)s, %(to_fact)s, %(to_entity)s, %(weight)s, %(valid_from)s,
                %(valid_to)s, %(recorded_at)s, 'hand'
            )
            ON CONFLICT (source, target, type, valid_from, said_in_episode, said_in_fact)
                DO UPDATE
                SET weight = EXCLUDED.weight,
                    valid_to = EXCLUDED.valid_to,
                    recorded_at = EXCLUDED.recorded_at
                WHERE r.recorded_at >= %(since)s
            """,
            {
                "namespace": namespace,
                **{f"from_{k}": start.id if start.kind == k else None for k in _ENDS},
                **{f"to_{k}": end.id if end.kind == k else None for k in _ENDS},
                **{
                    name: row[name]
                    for name in ("type", "weight", "valid_from", "valid_to", "recorded_at")
                },
                "since": since,
            },
        )
    )


_ENDS = ("episode", "fact", "entity")


async def merge_known(conn: Connection, names: Sequence[tuple[str, str]], namespace: str) -> bool:
    """Return whether the entities of these two (kind, key) are one already."""
    return bool(
        await fetch_value(
            conn,
            """
            SELECT count(*) = 2 AND count(DISTINCT coalesce(merged_into, id)) = 1
            FROM graph_entities
            WHERE namespace = %(namespace)s
              AND (kind, key) IN (
                  (%(kind)s, %(key)s),
                  (%(other_kind)s, %(other_key)s)
              )
            """,
            {
                "namespace": namespace,
                "kind": names[0][0],
                "key": names[0][1],
                "other_kind": names[1][0],
                "other_key": names[1][1],
            },
        )
    )
