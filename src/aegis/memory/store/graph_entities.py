"""SQL over `graph_entities`. Whoever locks several of them locks them in the order of ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from aegis.db import execute, fetch_all, fetch_optional, fetch_value
from aegis.memory.graph.models import Entity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.graph.models import EntityKind, EntityOrder

__all__ = [
    "find_entity",
    "find_entity_id",
    "list_entities",
    "list_entities_of",
    "lock_entities",
    "put_entities",
    "recount",
]

#: Spellings that are kept of one name.
_MAX_ALIASES = 20

_COLUMNS: LiteralString = """
    e.id,
    e.namespace,
    e.kind,
    e.name,
    e.aliases,
    e.first_seen_at,
    e.last_seen_at,
    e.mentions,
    e.degree
"""

_ORDERS: Mapping[str, LiteralString] = {
    "degree": "e.degree DESC, e.id",
    "mentions": "e.mentions DESC, e.id",
    "recent": "e.last_seen_at DESC NULLS LAST, e.id",
    "name": "e.key, e.kind, e.id",
}


async def find_entity_id(
    conn: Connection, *, namespace: str, kind: EntityKind, key: str
) -> int | None:
    """Return the entity of a name, the one that stands for it where it was merged, or None."""
    return await fetch_value(
        conn,
        """
        SELECT coalesce(merged_into, id)
        FROM graph_entities
        WHERE namespace = %(namespace)s
          AND kind = %(kind)s
          AND key = %(key)s
        """,
        {"namespace": namespace, "kind": kind, "key": key},
    )


async def find_entity(conn: Connection, entity_id: int, *, namespace: str) -> Entity | None:
    """Return an entity, the one that stands for it where it was merged, or None."""
    return await fetch_optional(
        conn,
        Entity,
        "SELECT "
        + _COLUMNS
        + """
        FROM graph_entities asked
        JOIN graph_entities e ON e.id = coalesce(asked.merged_into, asked.id)
        WHERE asked.id = %(id)s
          AND asked.namespace = %(namespace)s
        """,
        {"id": entity_id, "namespace": namespace},
    )


async def lock_entities(conn: Connection, ids: Sequence[int]) -> None:
    """Keep entities from being changed, deleted or merged until the transaction ends."""
    await execute(
        conn,
        """
        SELECT
        FROM graph_entities
        WHERE id = ANY(%(ids)s::int[])
        ORDER BY id
        FOR UPDATE
        """,
        {"ids": list(ids)},
    )


async def put_entities(
    conn: Connection,
    *,
    namespaces: Sequence[str],
    kinds: Sequence[str],
    keys: Sequence[str],
    names: Sequence[str],
    seen_from: Sequence[datetime | None],
    seen_to: Sequence[datetime | None],
) -> dict[tuple[str, str, str], int]:
    """Write entities, each (namespace, kind, key) once, and return which one each stands for."""
    params = {
        "namespaces": list(namespaces),
        "kinds": list(kinds),
        "keys": list(keys),
        "names": list(names),
        "seen_from": list(seen_from),
        "seen_to": list(seen_to),
        "most": _MAX_ALIASES,
    }
    await execute(
        conn,
        """
        SELECT
        FROM graph_entities e
        JOIN unnest(%(namespaces)s::text[], %(kinds)s::text[], %(keys)s::text[])
            AS n (namespace, kind, key) USING (namespace, kind, key)
        ORDER BY e.id
        FOR NO KEY UPDATE OF e
        """,
        params,
    )
    cursor = await conn.execute(
        """
        INSERT INTO graph_entities AS e (
            namespace, kind, key, name, first_seen_at, last_seen_at
        )
        SELECT n.namespace, n.kind, n.key, n.name, n.seen_from, n.seen_to
        FROM unnest(
            %(namespaces)s::text[], %(kinds)s::text[], %(keys)s::text[], %(names)s::text[],
            %(seen_from)s::timestamptz[], %(seen_to)s::timestamptz[]
        ) AS n (namespace, kind, key, name, seen_from, seen_to)
        ORDER BY n.namespace, n.kind, n.key
        ON CONFLICT (namespace, kind, key) DO UPDATE
            SET first_seen_at = least(e.first_seen_at, EXCLUDED.first_seen_at),
                last_seen_at = greatest(e.last_seen_at, EXCLUDED.last_seen_at),
                aliases = CASE
                    WHEN EXCLUDED.name = e.name
                        OR EXCLUDED.name = ANY (e.aliases)
                        OR cardinality(e.aliases) >= %(most)s
                    THEN e.aliases
                    ELSE e.aliases || EXCLUDED.name
                END
        RETURNING namespace, kind, key, coalesce(merged_into, id)
        """,
        params,
    )
    return {(row[0], row[1], row[2]): row[3] for row in await cursor.fetchall()}


async def list_entities(
    conn: Connection,
    *,
    namespace: str,
    kind: EntityKind | None,
    name: str | None,
    order: EntityOrder,
    limit: int,
    offset: int,
) -> list[Entity]:
    """Return a page of entities; `name` is a part of the name or of another spelling."""
    return await fetch_all(
        conn,
        Entity,
        "SELECT "
        + _COLUMNS
        + """
        FROM graph_entities e
        WHERE e.namespace = %(namespace)s
          AND e.merged_into IS NULL
          AND (%(kind)s::text IS NULL OR e.kind = %(kind)s)
          AND (
              %(name)s::text IS NULL
              OR strpos(lower(e.name), lower(%(name)s)) > 0
              OR strpos(lower(array_to_string(e.aliases, E'\\n')), lower(%(name)s)) > 0
          )
        ORDER BY
        """
        + _ORDERS[order]
        + " LIMIT %(limit)s OFFSET %(offset)s",
        {
            "namespace": namespace,
            "kind": kind,
            "name": name,
            "limit": limit,
            "offset": offset,
        },
    )


async def list_entities_of(
    conn: Connection, node: int, *, namespace: str, kind: EntityKind | None, limit: int
) -> list[Entity]:
    """Return the entities that a node, by its number, mentions or is related to."""
    return await fetch_all(
        conn,
        Entity,
        "SELECT "
        + _COLUMNS
        + """
        FROM graph_entities e
        WHERE e.id IN (
            SELECT r.to_entity
            FROM graph_relations r
            WHERE r.source = %(node)s
              AND (r.valid_to IS NULL OR r.valid_to > now())
            UNION
            SELECT r.from_entity
            FROM graph_relations r
            WHERE r.target = %(node)s
              AND (r.valid_to IS NULL OR r.valid_to > now())
        )
          AND e.namespace = %(namespace)s
          AND (%(kind)s::text IS NULL OR e.kind = %(kind)s)
        ORDER BY e.degree DESC, e.id
        LIMIT %(limit)s
        """,
        {"node": node, "namespace": namespace, "kind": kind, "limit": limit},
    )


async def recount(conn: Connection, ids: Sequence[int]) -> None:
    """Count the relations of entities anew; the triggers see rows come and go, not move."""
    await execute(
        conn,
        """
        UPDATE graph_entities e
        SET degree = (SELECT count(*) FROM graph_relations r WHERE r.from_entity = e.id)
                   + (SELECT count(*) FROM graph_relations r WHERE r.to_entity = e.id),
            mentions = (
                SELECT count(*)
                FROM graph_relations r
                WHERE r.to_entity = e.id
                  AND r.type = 'mentions'
            )
        WHERE e.id = ANY(%(ids)s::int[])
        """,
        {"ids": list(ids)},
    )
