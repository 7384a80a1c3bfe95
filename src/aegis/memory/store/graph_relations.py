"""SQL over `graph_relations`: one relation at a time, and what a text says, all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from aegis.db import execute, fetch_all, fetch_one, fetch_value
from aegis.memory.graph.models import Relation
from aegis.memory.store.graph_walk import RELATION_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.graph.models import FoundBy, NodeRef

__all__ = [
    "delete_stale",
    "end_relations",
    "insert_said",
    "link_related",
    "node_exists",
    "put_mentions",
    "put_relation",
]


async def node_exists(
    conn: Connection, node: NodeRef, *, namespace: str, keep: bool = False
) -> bool:
    """Return whether the namespace has an episode or a fact that lives; `keep` it there.

    Keeping writes, and so waits for the disk: reads do without.
    """
    params = {"id": node.id, "namespace": namespace}
    if node.kind == "episode":
        statement: LiteralString = """
            SELECT TRUE
            FROM episodic_memory
            WHERE id = %(id)s
              AND namespace = %(namespace)s
              AND (expires_at > now()) IS NOT FALSE
        """
    else:
        statement = """
            SELECT TRUE
            FROM semantic_memory
            WHERE id = %(id)s
              AND namespace = %(namespace)s
              AND (expires_at > now()) IS NOT FALSE
        """
    if keep:
        statement += " FOR KEY SHARE"
    return await fetch_value(conn, statement, params) is not None


async def put_relation(
    conn: Connection,
    source: NodeRef,
    target: NodeRef,
    *,
    namespace: str,
    type: str,
    weight: float,
    valid_from: datetime | None,
    valid_to: datetime | None,
) -> Relation:
    """Write a relation by hand; one that is there from the same time on gets the new values."""
    return await fetch_one(
        conn,
        Relation,
        """
        INSERT INTO graph_relations AS r (
            namespace, type, from_episode, from_fact, from_entity, to_episode, to_fact, to_entity,
            weight, valid_from, valid_to, found_by
        )
        VALUES (
            %(namespace)s, %(type)s, %(from_episode)s, %(from_fact)s, %(from_entity)s,
            %(to_episode)s, %(to_fact)s, %(to_entity)s, %(weight)s, %(valid_from)s, %(valid_to)s,
            'hand'
        )
        ON CONFLICT (source, target, type, valid_from, said_in_episode, said_in_fact)
            DO UPDATE SET weight = EXCLUDED.weight,
                          valid_to = EXCLUDED.valid_to,
                          found_by = 'hand'
        RETURNING
        """
        + RELATION_COLUMNS,
        {
            "namespace": namespace,
            "type": type,
            **_end("from", source),
            **_end("to", target),
            "weight": weight,
            "valid_from": valid_from,
            "valid_to": valid_to,
        },
        missing="The relation was not written. Try again.",
    )


def _end(side: str, node: NodeRef) -> dict[str, int | None]:
    return {
        f"{side}_{kind}": node.id if node.kind == kind else None
        for kind in ("episode", "fact", "entity")
    }


async def end_relations(
    conn: Connection,
    source: NodeRef,
    target: NodeRef,
    *,
    namespace: str,
    type: str | None,
    at: datetime | None,
) -> list[Relation]:
    """End the open relations from one node to another, at a time or now, and return them.

    They count as written by hand from now on, so that no rule opens them again.
    """
    return await fetch_all(
        conn,
        Relation,
        """
        UPDATE graph_relations AS r
        SET valid_to = greatest(coalesce(%(at)s, now()), r.valid_from),
            found_by = 'hand'
        WHERE r.source = %(source)s
          AND r.target = %(target)s
          AND r.namespace = %(namespace)s
          AND r.valid_to IS NULL
          AND (%(type)s::text IS NULL OR r.type = %(type)s)
        RETURNING
        """
        + RELATION_COLUMNS,
        {
            "namespace": namespace,
            "source": source.number,
            "target": target.number,
            "type": type,
            "at": at,
        },
    )


async def put_mentions(conn: Connection, mentions: Mentions, *, found_by: FoundBy) -> int:
    """Write which entities texts mention and return how many are new.

    What somebody ended by hand stays ended.
    """
    return await execute(
        conn,
        """
        INSERT INTO graph_relations AS r (
            namespace, type, from_episode, from_fact, to_entity, valid_from, valid_to, found_by
        )
        SELECT DISTINCT
            m.namespace,
            'mentions',
            CASE WHEN m.node %% 4 = 0 THEN (m.node / 4)::int END,
            CASE WHEN m.node %% 4 = 1 THEN (m.node / 4)::int END,
            m.entity,
            m.valid_from,
            m.valid_to,
            %(found_by)s
        FROM unnest(
            %(namespaces)s::text[], %(nodes)s::bigint[], %(entities)s::int[],
            %(starts)s::timestamptz[], %(ends)s::timestamptz[]
        ) AS m (namespace, node, entity, valid_from, valid_to)
        ON CONFLICT (source, target, type, valid_from, said_in_episode, said_in_fact)
            DO UPDATE SET valid_to = EXCLUDED.valid_to
            WHERE r.found_by = EXCLUDED.found_by
              AND r.valid_to IS DISTINCT FROM EXCLUDED.valid_to
        """,
        {**mentions.params(), "found_by": found_by},
    )


async def insert_said(conn: Connection, said: Said) -> int:
    """Write relations between entities that texts say and return how many are new."""
    return await execute(
        conn,
        """
        INSERT INTO graph_relations AS r (
            namespace, type, from_entity, to_entity, said_in_episode, said_in_fact, weight,
            valid_from, valid_to, found_by
        )
        SELECT DISTINCT ON (s.node, s.source, s.target, s.type)
            s.namespace,
            s.type,
            s.source,
            s.target,
            CASE WHEN s.node %% 4 = 0 THEN (s.node / 4)::int END,
            CASE WHEN s.node %% 4 = 1 THEN (s.node / 4)::int END,
            s.weight,
            s.valid_from,
            s.valid_to,
            'model'
        FROM unnest(
            %(namespaces)s::text[], %(nodes)s::bigint[], %(sources)s::int[], %(targets)s::int[],
            %(types)s::text[], %(weights)s::float8[], %(starts)s::timestamptz[],
            %(ends)s::timestamptz[]
        ) AS s (namespace, node, source, target, type, weight, valid_from, valid_to)
        WHERE s.source <> s.target
        ON CONFLICT (source, target, type, valid_from, said_in_episode, said_in_fact) DO NOTHING
        """,
        said.params(),
    )


async def delete_stale(
    conn: Connection, nodes: Sequence[int], mentions: Mentions, said: Said, *, found_by: FoundBy
) -> int:
    """Delete what texts, by their node's number, no longer say, and return how much that was."""
    gone = await execute(
        conn,
        """
        DELETE FROM graph_relations r
        WHERE r.source = ANY(%(read)s::bigint[])
          AND r.type = 'mentions'
          AND r.found_by = %(found_by)s
          AND NOT EXISTS (
              SELECT
              FROM unnest(
                  %(nodes)s::bigint[], %(entities)s::int[], %(starts)s::timestamptz[]
              ) AS m (node, entity, valid_from)
              WHERE m.node = r.source
                AND m.entity = r.to_entity
                AND m.valid_from IS NOT DISTINCT FROM r.valid_from
          )
        """,
        {**mentions.params(), "read": list(nodes), "found_by": found_by},
    )
    if found_by != "model":
        return gone
    return gone + await execute(
        conn,
        """
        DELETE FROM graph_relations r
        WHERE (
            r.said_in_episode = ANY(%(episodes)s::int[]) OR r.said_in_fact = ANY(%(facts)s::int[])
        )
          AND r.found_by = 'model'
          AND NOT EXISTS (
              SELECT
              FROM unnest(
                  %(nodes)s::bigint[], %(sources)s::int[], %(targets)s::int[], %(types)s::text[],
                  %(starts)s::timestamptz[]
              ) AS s (node, source, target, type, valid_from)
              WHERE s.node = coalesce(
                    r.said_in_episode::bigint * 4, r.said_in_fact::bigint * 4 + 1
                )
                AND s.source = r.from_entity
                AND s.target = r.to_entity
                AND s.type = r.type
                AND s.valid_from IS NOT DISTINCT FROM r.valid_from
          )
        """,
        {
            **said.params(),
            "episodes": [n // 4 for n in nodes if n % 4 == 0],
            "facts": [n // 4 for n in nodes if n % 4 == 1],
        },
    )


async def link_related(conn: Connection, episode_ids: Sequence[int] | None) -> int:
    """Make relations of related memories that are none yet, of some episodes or of all.

    An array may name an episode that is written after it; the trigger cannot know of that one.
    """
    return await execute(
        conn,
        """
        INSERT INTO graph_relations (
            namespace, type, from_episode, to_episode, valid_from, found_by
        )
        SELECT DISTINCT
            e.namespace,
            'related',
            e.id,
            o.id,
            CASE WHEN isfinite(e.timestamp) THEN e.timestamp END,
            'hand'
        FROM episodic_memory e
        CROSS JOIN LATERAL unnest(e.related_memories) AS r (id)
        JOIN episodic_memory o ON o.id = r.id
        WHERE (%(ids)s::int[] IS NULL OR e.id = ANY(%(ids)s))
          AND cardinality(e.related_memories) > 0
          AND o.namespace = e.namespace
          AND o.id <> e.id
          AND NOT EXISTS (
              SELECT
              FROM graph_relations g
              WHERE g.source = e.id::bigint * 4
                AND g.target = o.id::bigint * 4
                AND g.valid_to IS NULL
          )
        ON CONFLICT (source, target, type, valid_from, said_in_episode, said_in_fact)
            DO UPDATE SET valid_to = NULL
        """,
        {"ids": None if episode_ids is None else list(episode_ids)},
    )


if TYPE_CHECKING:
    from typing import Protocol

    class Mentions(Protocol):
        """Rows of (namespace, node, entity, from, to), as arrays."""

        def params(self) -> dict[str, Any]: ...

    class Said(Protocol):
        """Rows of (namespace, node, source, target, type, weight, from, to), as arrays."""

        def params(self) -> dict[str, Any]: ...
