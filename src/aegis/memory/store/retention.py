"""SQL of forgetting: policies, holds, what was used, what has faded and what has expired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from aegis.db import execute, fetch_all, fetch_value
from aegis.memory.retention.holds import Hold
from aegis.memory.retention.score import Traits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "add_usage",
    "count_blocked",
    "count_incoming_links",
    "count_protected",
    "delete_episodes",
    "delete_facts",
    "find_page_end",
    "hold_episode",
    "list_expired_places",
    "list_holds",
    "list_traits",
    "lock_expired",
    "release_episode",
    "titles",
]

#: The greatest that a column of integers takes.
_LAST_ID = 2**31 - 1

#: What neither decay nor a time to live takes away: what is held, what a decision rests on.
_FREE: LiteralString = """
    NOT EXISTS (SELECT FROM memory_holds h WHERE h.episode_id = e.id)
    AND NOT EXISTS (SELECT FROM decision_outcomes d WHERE d.decision_id = e.id)
    AND NOT EXISTS (SELECT FROM decision_episodes l WHERE l.episode_id = e.id)
"""

#: What decay leaves beside these: the sources of facts, by the key that both have, or by id.
#: Each by one equality, which is looked up: with both keys in one condition the planner compares
#: every episode with every source.
_NO_SOURCE: LiteralString = """
    NOT EXISTS (
        SELECT
        FROM fact_sources s
        WHERE s.namespace = e.namespace
          AND s.source_id = e.source_id
    )
    AND NOT EXISTS (
        SELECT
        FROM fact_sources s
        WHERE s.namespace = e.namespace
          AND s.source_id = 'episode:' || e.id
    )
    AND NOT EXISTS (
        SELECT
        FROM semantic_memory f
        WHERE f.namespace = e.namespace
          AND f.source_id = e.source_id
    )
    AND NOT EXISTS (
        SELECT
        FROM semantic_memory f
        WHERE f.namespace = e.namespace
          AND f.source_id = 'episode:' || e.id
    )
"""

_TRAITS: LiteralString = (
    """
    SELECT e.id,
           coalesce(e.importance, 'medium')::text AS importance,
           greatest(e.created_at, e.timestamp) AS recorded_at,
           u.last_recalled_at,
           coalesce(u.recall_count, 0) AS recalls,
           cardinality(coalesce(e.related_memories, '{}')) AS links
    FROM episodic_memory e
    LEFT JOIN memory_usage u ON u.episode_id = e.id
    WHERE e.namespace = %(namespace)s
      AND e.id > %(after_id)s
      AND e.id <= %(upto_id)s
      AND (%(ids)s::integer[] IS NULL OR e.id = ANY(%(ids)s))
      -- A row of the seed's may have no time, or an endless one: nobody knows how old it is.
      AND isfinite(e.created_at) AND isfinite(e.timestamp)
      AND isfinite(coalesce(e.updated_at, e.created_at))
      AND greatest(e.created_at, e.timestamp, u.last_recalled_at)
          <= CASE coalesce(e.importance, 'medium')
                 WHEN 'low' THEN %(low)s
                 WHEN 'medium' THEN %(medium)s
                 WHEN 'high' THEN %(high)s
             END::timestamptz
      AND """
    + _FREE
    + "AND "
    + _NO_SOURCE
    + " ORDER BY e.id"
)

_TRAITS_LOCKED: LiteralString = _TRAITS + " FOR UPDATE OF e SKIP LOCKED"


async def hold_episode(
    conn: Connection, episode_id: int, *, namespace: str, reason: str
) -> Hold | None:
    """Hold an episode, or change the reason; None where the namespace has none of this id."""
    rows = await fetch_all(
        conn,
        Hold,
        """
        INSERT INTO memory_holds AS h (episode_id, reason)
        SELECT e.id, %(reason)s
        FROM episodic_memory e
        WHERE e.id = %(id)s
          AND e.namespace = %(namespace)s
        ON CONFLICT (episode_id) DO UPDATE SET reason = excluded.reason
        RETURNING h.episode_id, h.reason, h.held_at
        """,
        {"id": episode_id, "namespace": namespace, "reason": reason},
    )
    return rows[0] if rows else None


async def release_episode(conn: Connection, episode_id: int, *, namespace: str) -> int:
    """End a hold and return how many there were (0 or 1)."""
    return await execute(
        conn,
        """
        DELETE FROM memory_holds h
        USING episodic_memory e
        WHERE h.episode_id = %(id)s
          AND e.id = h.episode_id
          AND e.namespace = %(namespace)s
        """,
        {"id": episode_id, "namespace": namespace},
    )


async def list_holds(conn: Connection, namespace: str, *, limit: int) -> list[Hold]:
    """Return what is held, by id."""
    return await fetch_all(
        conn,
        Hold,
        """
        SELECT h.episode_id, h.reason, h.held_at
        FROM memory_holds h
        JOIN episodic_memory e ON e.id = h.episode_id
        WHERE e.namespace = %(namespace)s
        ORDER BY h.episode_id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "limit": limit},
    )


async def add_usage(conn: Connection, counts: Mapping[int, int]) -> None:
    """Count recalls by id, in the order of `counts`; what is not there is left out."""
    await execute(
        conn,
        """
        INSERT INTO memory_usage AS u (episode_id, recall_count, last_recalled_at)
        SELECT x.id, x.times, now()
        FROM unnest(%(ids)s::integer[], %(times)s::bigint[]) WITH ORDINALITY
            AS x (id, times, place)
        WHERE EXISTS (SELECT FROM episodic_memory e WHERE e.id = x.id)
        ORDER BY x.place
        ON CONFLICT (episode_id) DO UPDATE
        SET recall_count = u.recall_count + excluded.recall_count,
            last_recalled_at = greatest(u.last_recalled_at, excluded.last_recalled_at)
        """,
        {"ids": list(counts), "times": list(counts.values())},
    )


async def find_page_end(
    conn: Connection, namespace: str, *, after_id: int, rows: int
) -> int | None:
    """Return the id of the last of the next `rows` episodes; None where there are none.

    A page has a beginning and an end that an index finds: with a limit on what is left after all
    conditions the planner sorts the rest of the namespace for each page.
    """
    return await fetch_value(
        conn,
        """
        SELECT max(p.id)
        FROM (
            SELECT e.id
            FROM episodic_memory e
            WHERE e.namespace = %(namespace)s
              AND e.id > %(after_id)s
            ORDER BY e.id
            LIMIT %(rows)s
        ) AS p
        """,
        {"namespace": namespace, "after_id": after_id, "rows": rows},
    )


async def list_traits(
    conn: Connection,
    namespace: str,
    *,
    untouched_since: Mapping[str, datetime],
    after_id: int = 0,
    upto_id: int = _LAST_ID,
    ids: Sequence[int] | None = None,
    lock: bool = False,
) -> list[Traits]:
    """Return episodes that decay may take, behind `after_id` and up to `upto_id`, by id.

    `untouched_since`: by importance, the time since which they were neither recorded nor recalled.
    `lock` keeps them as they are, and leaves out what somebody else is changing.
    """
    return await fetch_all(
        conn,
        Traits,
        _TRAITS_LOCKED if lock else _TRAITS,
        {
            "namespace": namespace,
            "after_id": after_id,
            "upto_id": upto_id,
            "ids": None if ids is None else list(ids),
            **{name: untouched_since.get(name) for name in ("low", "medium", "high")},
        },
    )


async def count_incoming_links(conn: Connection, namespace: str) -> dict[int, int]:
    """Return how many episodes of the namespace name each as related, where any does."""
    cursor = await conn.execute(
        """
        SELECT r.id, count(*)
        FROM episodic_memory e
        CROSS JOIN LATERAL unnest(e.related_memories) AS r (id)
        WHERE e.namespace = %(namespace)s
          AND e.related_memories <> '{}'
          AND r.id <> e.id
        GROUP BY r.id
        """,
        {"namespace": namespace},
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def count_protected(conn: Connection, namespace: str) -> dict[str, int]:
    """Return how many episodes of the namespace are never forgotten, by reason."""
    cursor = await conn.execute(
        """
        SELECT 'critical', count(*)
        FROM episodic_memory e
        WHERE e.namespace = %(namespace)s
          AND e.importance = 'critical'
        UNION ALL
        SELECT 'held', count(*)
        FROM memory_holds h
        JOIN episodic_memory e ON e.id = h.episode_id
        WHERE e.namespace = %(namespace)s
        UNION ALL
        SELECT 'decisions', count(*)
        FROM episodic_memory e
        WHERE e.namespace = %(namespace)s
          -- One set: an OR of two would read the table.
          AND e.id IN (
              SELECT decision_id FROM decision_outcomes WHERE decision_id IS NOT NULL
              UNION
              SELECT episode_id FROM decision_episodes
          )
        """,
        {"namespace": namespace},
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def titles(conn: Connection, ids: Sequence[int]) -> dict[int, tuple[str, datetime]]:
    """Return the first words and the time of episodes, by id."""
    cursor = await conn.execute(
        """
        SELECT id, left(summary, 200), timestamp
        FROM episodic_memory
        WHERE id = ANY(%(ids)s)
        """,
        {"ids": list(ids)},
    )
    return {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}


async def list_expired_places(
    conn: Connection, namespace: str | None
) -> list[tuple[str, str, int]]:
    """Return (namespace, kind, rows) of what has expired, everywhere or in one namespace."""
    cursor = await conn.execute(
        """
        SELECT e.namespace, 'episode', count(*)
        FROM episodic_memory e
        WHERE e.expires_at <= now()
          AND (%(namespace)s::text IS NULL OR e.namespace = %(namespace)s)
        GROUP BY e.namespace
        UNION ALL
        SELECT f.namespace, 'fact', count(*)
        FROM semantic_memory f
        WHERE f.expires_at <= now()
          AND (%(namespace)s::text IS NULL OR f.namespace = %(namespace)s)
        GROUP BY f.namespace
        ORDER BY 1, 2
        """,
        {"namespace": namespace},
    )
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


_EXPIRED_EPISODES: LiteralString = (
    """
    SELECT e.id, e.event_type, coalesce(e.importance, 'medium')::text
    FROM episodic_memory e
    WHERE e.namespace = %(namespace)s
      AND e.expires_at <= now()
      AND """
    + _FREE
    + """
    ORDER BY e.expires_at, e.id
    LIMIT %(limit)s
    FOR UPDATE OF e SKIP LOCKED
    """
)

_EXPIRED_FACTS: LiteralString = """
    SELECT f.id, '', ''
    FROM semantic_memory f
    WHERE f.namespace = %(namespace)s
      AND f.expires_at <= now()
    ORDER BY f.expires_at, f.id
    LIMIT %(limit)s
    FOR UPDATE OF f SKIP LOCKED
"""


async def lock_expired(
    conn: Connection, namespace: str, kind: str, *, limit: int
) -> list[tuple[int, str, str]]:
    """Lock what has expired and may go; return (id, type, importance), the first to expire first.

    What is held, or what a decision rests on, stays, and is not recalled.
    """
    statement = _EXPIRED_EPISODES if kind == "episode" else _EXPIRED_FACTS
    cursor = await conn.execute(statement, {"namespace": namespace, "limit": limit})
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


async def count_blocked(conn: Connection, namespace: str) -> int:
    """Return how many expired episodes stay: held, or what a decision rests on."""
    return await fetch_value(
        conn,
        "SELECT count(*) FROM episodic_memory e WHERE e.namespace = %(namespace)s "
        "AND e.expires_at <= now() AND NOT (" + _FREE + ")",
        {"namespace": namespace},
    )


async def delete_episodes(conn: Connection, ids: Sequence[int]) -> int:
    """Delete these episodes and return how many went."""
    return await execute(
        conn, "DELETE FROM episodic_memory WHERE id = ANY(%(ids)s)", {"ids": list(ids)}
    )


async def delete_facts(conn: Connection, ids: Sequence[int]) -> int:
    """Delete these facts with their history and return how many went."""
    params: dict[str, Any] = {"ids": list(ids)}
    await execute(conn, "DELETE FROM fact_history WHERE fact_id = ANY(%(ids)s)", params)
    return await execute(conn, "DELETE FROM semantic_memory WHERE id = ANY(%(ids)s)", params)
