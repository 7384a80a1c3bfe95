"""SQL that walks along `graph_relations`, and shows the nodes it came by.

Bounded three ways: how many relations away, how many relations are followed from one node (the
strongest, then the newest), and how many steps in all. A node is reached once a depth at most, so
that a circle costs no more than the depth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from aegis.db import fetch_all, fetch_optional
from aegis.memory.graph.models import Node, NodeRef, Relation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.graph.models import Direction

__all__ = ["RELATION_COLUMNS", "find_step", "list_between", "list_nodes", "walk"]

#: The columns of `Relation`, in its order.
RELATION_COLUMNS: LiteralString = """
    r.id,
    r.type,
    CASE r.source %% 4 WHEN 0 THEN 'episode' WHEN 1 THEN 'fact' ELSE 'entity' END AS source_kind,
    (r.source / 4)::int AS source_id,
    CASE r.target %% 4 WHEN 0 THEN 'episode' WHEN 1 THEN 'fact' ELSE 'entity' END AS target_kind,
    (r.target / 4)::int AS target_id,
    r.weight::float8 AS weight,
    r.valid_from,
    r.valid_to,
    r.recorded_at,
    r.found_by
"""

#: Which relations count: of the namespace and types, holding at a time, or by now without one.
_HOLDS: LiteralString = """
    r.namespace = %(namespace)s
    AND (%(types)s::text[] IS NULL OR r.type = ANY(%(types)s))
    AND (%(as_of)s::timestamptz IS NULL OR r.valid_from IS NULL OR r.valid_from <= %(as_of)s)
    AND (r.valid_to IS NULL OR r.valid_to > coalesce(%(as_of)s::timestamptz, now()))
    -- What an expired memory says is not told any more, though it waits for the sweep.
    AND (
        r.said_in_episode IS NULL
        OR EXISTS (
            SELECT
            FROM episodic_memory e
            WHERE e.id = r.said_in_episode
              AND (e.expires_at > now()) IS NOT FALSE
        )
    )
    AND (
        r.said_in_fact IS NULL
        OR EXISTS (
            SELECT
            FROM semantic_memory f
            WHERE f.id = r.said_in_fact
              AND (f.expires_at > now()) IS NOT FALSE
        )
    )
"""

#: Numbers of the nodes that have expired and wait for the sweep; few, and found by an index.
_EXPIRED: LiteralString = """
    SELECT e.id::bigint * 4
    FROM episodic_memory e
    WHERE e.namespace = %(namespace)s
      AND e.expires_at <= now()
    UNION ALL
    SELECT f.id::bigint * 4 + 1
    FROM semantic_memory f
    WHERE f.namespace = %(namespace)s
      AND f.expires_at <= now()
"""

_WALK: LiteralString = (
    """
    WITH RECURSIVE expired (node) AS MATERIALIZED (
    """
    + _EXPIRED
    + """
    ),
    walk (node, depth) AS (
        SELECT %(start)s::bigint, 0
        UNION
        SELECT
            -- One more than the width says that there are more; nothing goes on from it.
            CASE WHEN n.rank <= %(width)s THEN n.node END,
            w.depth + 1
        FROM walk w
        CROSS JOIN LATERAL (
            SELECT x.node, row_number() OVER (ORDER BY x.weight DESC, x.id DESC) AS rank
            FROM (
                (
                    SELECT r.target AS node, r.weight, r.id
                    FROM graph_relations r
                    WHERE r.source = w.node
                      AND %(outward)s
                      AND r.target NOT IN (SELECT x.node FROM expired x)
                      AND
    """
    + _HOLDS
    + """
                    ORDER BY r.weight DESC, r.id DESC
                    LIMIT %(width)s + 1
                )
                UNION ALL
                (
                    SELECT r.source AS node, r.weight, r.id
                    FROM graph_relations r
                    WHERE r.target = w.node
                      AND %(inward)s
                      AND r.source NOT IN (SELECT x.node FROM expired x)
                      AND
    """
    + _HOLDS
    + """
                    ORDER BY r.weight DESC, r.id DESC
                    LIMIT %(width)s + 1
                )
            ) AS x
            ORDER BY x.weight DESC, x.id DESC
            LIMIT %(width)s + 1
        ) AS n
        WHERE w.depth < %(depth)s
    ),
    -- Rows come by rising depth, and no more are made than are asked for.
    bounded AS (
        SELECT node, depth
        FROM walk
        LIMIT %(steps)s
    )
    SELECT node, min(depth) AS depth, (SELECT count(*) FROM bounded) AS steps
    FROM bounded
    GROUP BY node
    ORDER BY min(depth), node
    """
)


def _conditions(namespace: str, types: Sequence[str], as_of: datetime | None) -> dict[str, Any]:
    return {"namespace": namespace, "types": list(types) or None, "as_of": as_of}


async def walk(
    conn: Connection,
    start: NodeRef,
    *,
    namespace: str,
    depth: int,
    width: int,
    steps: int,
    types: Sequence[str] = (),
    direction: Direction = "both",
    as_of: datetime | None = None,
) -> tuple[dict[int, int], bool]:
    """Return how far away each node is, by its number, and whether a bound was reached."""
    cursor = await conn.execute(
        _WALK,
        {
            **_conditions(namespace, types, as_of),
            "start": start.number,
            "depth": depth,
            "width": width,
            "steps": steps,
            "outward": direction != "in",
            "inward": direction != "out",
        },
    )
    rows = await cursor.fetchall()
    found: dict[int, int] = {node: depth for node, depth, _ in rows if node is not None}
    cut = len(found) < len(rows) or rows[0][2] >= steps
    return found, cut


async def list_between(
    conn: Connection,
    nodes: Sequence[NodeRef],
    *,
    namespace: str,
    types: Sequence[str] = (),
    as_of: datetime | None = None,
    limit: int,
) -> list[Relation]:
    """Return the relations between some nodes, the strongest first."""
    return await fetch_all(
        conn,
        Relation,
        "SELECT "
        + RELATION_COLUMNS
        + """
        FROM graph_relations r
        WHERE r.source = ANY(%(nodes)s::bigint[])
          AND r.target = ANY(%(nodes)s::bigint[])
          AND
        """
        + _HOLDS
        + """
        ORDER BY r.weight DESC, r.id
        LIMIT %(limit)s
        """,
        {
            **_conditions(namespace, types, as_of),
            "nodes": [node.number for node in nodes],
            "limit": limit,
        },
    )


async def find_step(
    conn: Connection,
    node: NodeRef,
    towards: Sequence[int],
    *,
    namespace: str,
    types: Sequence[str] = (),
    as_of: datetime | None = None,
) -> Relation | None:
    """Return the strongest relation of a node to one of some others, by their numbers."""
    return await fetch_optional(
        conn,
        Relation,
        "SELECT "
        + RELATION_COLUMNS
        + """
        FROM (
            SELECT * FROM graph_relations WHERE source = %(node)s
            UNION ALL
            SELECT * FROM graph_relations WHERE target = %(node)s
        ) AS r
        WHERE CASE WHEN r.source = %(node)s THEN r.target ELSE r.source END
              = ANY(%(towards)s::bigint[])
          AND
        """
        + _HOLDS
        + """
        ORDER BY r.weight DESC, r.id
        LIMIT 1
        """,
        {
            **_conditions(namespace, types, as_of),
            "node": node.number,
            "towards": list(towards),
        },
    )


async def list_nodes(
    conn: Connection, depths: Mapping[NodeRef, int], *, namespace: str, label_length: int = 200
) -> list[Node]:
    """Return the nodes that are there of those asked for, in their order."""
    ids: dict[str, list[int]] = {"episode": [], "fact": [], "entity": []}
    for node in depths:
        ids[node.kind].append(node.id)
    rows = await fetch_all(
        conn,
        Node,
        """
        SELECT
            'episode' AS kind,
            e.id,
            left(e.summary, %(length)s) AS label,
            e.event_type::text AS detail,
            coalesce(e.timestamp, e.created_at) AS at,
            0 AS depth
        FROM episodic_memory e
        WHERE e.id = ANY(%(episodes)s::int[])
          AND e.namespace = %(namespace)s
          AND (e.expires_at > now()) IS NOT FALSE
        UNION ALL
        SELECT
            'fact',
            f.id,
            left(f.content, %(length)s),
            f.concept::text,
            coalesce(f.valid_from, f.created_at),
            0
        FROM semantic_memory f
        WHERE f.id = ANY(%(facts)s::int[])
          AND f.namespace = %(namespace)s
          AND (f.expires_at > now()) IS NOT FALSE
        UNION ALL
        SELECT
            'entity',
            n.id,
            n.name,
            n.kind,
            n.last_seen_at,
            0
        FROM graph_entities n
        WHERE n.id = ANY(%(entities)s::int[])
          AND n.namespace = %(namespace)s
        """,
        {
            "namespace": namespace,
            "length": label_length,
            "episodes": ids["episode"],
            "facts": ids["fact"],
            "entities": ids["entity"],
        },
    )
    order = {node: position for position, node in enumerate(depths)}
    return sorted(rows, key=lambda row: order[NodeRef(kind=row.kind, id=row.id)])
