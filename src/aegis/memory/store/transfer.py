"""SQL for moving memory in and out wholesale: pages of everything, and what is there already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_value
from aegis.memory.models import Episode
from aegis.memory.store.episodes import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.importing.items import ImportedDecision

__all__ = [
    "count_all",
    "insert_decision_once",
    "list_original_episodes",
    "list_original_facts",
    "list_vectors",
    "page_episodes",
    "set_related",
    "start_snapshot",
]


async def start_snapshot(conn: Connection) -> None:
    """Let everything that this transaction reads be of one moment; its first statement."""
    await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


async def count_all(conn: Connection, namespace: str) -> int:
    """Return how many episodes, facts and decisions the namespace holds, together."""
    return await fetch_value(
        conn,
        """
        SELECT
            (SELECT count(*) FROM episodic_memory WHERE namespace = %(namespace)s)
            + (SELECT count(*) FROM semantic_memory WHERE namespace = %(namespace)s)
            + (SELECT count(*) FROM decision_outcomes WHERE namespace = %(namespace)s)
        """,
        {"namespace": namespace},
    )


async def page_episodes(
    conn: Connection, namespace: str, *, after_id: int, limit: int
) -> list[Episode]:
    """Return the namespace's episodes behind `after_id`, by id."""
    return await fetch_all(
        conn,
        Episode,
        "SELECT "
        + COLUMNS
        + """
        FROM episodic_memory e
        WHERE e.namespace = %(namespace)s
          AND e.id > %(after_id)s
        ORDER BY e.id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "after_id": after_id, "limit": limit},
    )


async def list_vectors(conn: Connection, episode_ids: Sequence[int]) -> dict[int, str]:
    """Return the stored vectors of these episodes in pgvector's text form, by id."""
    cursor = await conn.execute(
        """
        SELECT id, embedding::text
        FROM episodic_memory
        WHERE id = ANY(%(ids)s)
          AND embedding IS NOT NULL
        """,
        {"ids": list(episode_ids)},
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def list_original_episodes(
    conn: Connection, namespace: str, exported: Mapping[int, datetime]
) -> set[int]:
    """Return which of (id → created_at) are rows of the namespace: the ones that were exported."""
    cursor = await conn.execute(
        """
        SELECT e.id
        FROM episodic_memory e
        JOIN unnest(%(ids)s::integer[], %(times)s::timestamptz[]) AS x (id, created_at)
            ON e.id = x.id
            AND coalesce(e.created_at, e.timestamp, 'epoch') = x.created_at
        WHERE e.namespace = %(namespace)s
        """,
        {"namespace": namespace, "ids": list(exported), "times": list(exported.values())},
    )
    return {row[0] for row in await cursor.fetchall()}


async def list_original_facts(
    conn: Connection, namespace: str, exported: Mapping[int, datetime]
) -> set[int]:
    """Return which of (id → created_at) are rows of the namespace: the ones that were exported."""
    cursor = await conn.execute(
        """
        SELECT f.id
        FROM semantic_memory f
        JOIN unnest(%(ids)s::integer[], %(times)s::timestamptz[]) AS x (id, created_at)
            ON f.id = x.id
            AND coalesce(f.created_at, f.updated_at, 'epoch') = x.created_at
        WHERE f.namespace = %(namespace)s
        """,
        {"namespace": namespace, "ids": list(exported), "times": list(exported.values())},
    )
    return {row[0] for row in await cursor.fetchall()}


async def set_related(conn: Connection, episode_id: int, related: Sequence[int]) -> None:
    """Set an episode's related memories, unless it has all of these already."""
    await execute(
        conn,
        """
        UPDATE episodic_memory
        SET related_memories = %(related)s::integer[]
        WHERE id = %(id)s
          AND NOT coalesce(related_memories, '{}') @> %(related)s::integer[]
        """,
        {"id": episode_id, "related": list(related)},
    )


async def insert_decision_once(
    conn: Connection,
    decision: ImportedDecision,
    *,
    namespace: str,
    episode_id: int | None,
) -> int | None:
    """Insert a decision with its outcome and return its id; None if it is there already."""
    # Decisions have no key of their source, so one import after the other looks and inserts.
    await conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('aegis.import.decisions', 0))"
    )
    return await fetch_value(
        conn,
        """
        INSERT INTO decision_outcomes (
            decision_id, task_context, alternatives, chosen_option, reasoning, outcome_status,
            outcome_details, lessons_learned, user_feedback, created_at, resolved_at, namespace,
            confidence, review_at
        )
        SELECT
            %(episode_id)s, %(task_context)s, %(alternatives)s, %(chosen_option)s,
            %(reasoning)s, %(outcome_status)s, %(outcome_details)s, %(lessons_learned)s,
            %(user_feedback)s, coalesce(%(created_at)s::timestamptz, now()),
            %(resolved_at)s::timestamptz, %(namespace)s, %(confidence)s::double precision,
            %(review_at)s::timestamptz
        WHERE NOT EXISTS (
            SELECT FROM decision_outcomes d
            WHERE d.namespace = %(namespace)s
              AND d.decision_id IS NOT DISTINCT FROM %(episode_id)s::integer
              AND d.task_context = %(task_context)s
              AND d.chosen_option = %(chosen_option)s
              AND d.reasoning = %(reasoning)s
              AND (%(created_at)s::timestamptz IS NULL
                   OR coalesce(d.created_at, d.resolved_at, 'epoch') = %(created_at)s)
        )
        RETURNING id
        """,
        {
            "episode_id": episode_id,
            "task_context": decision.task_context,
            "alternatives": Jsonb(decision.alternatives),
            "chosen_option": decision.chosen_option,
            "reasoning": decision.reasoning,
            "outcome_status": decision.outcome_status,
            "outcome_details": _jsonb(decision.outcome_details),
            "lessons_learned": decision.lessons_learned,
            "user_feedback": decision.user_feedback,
            "created_at": decision.created_at,
            "resolved_at": decision.resolved_at,
            "namespace": namespace,
            "confidence": decision.confidence,
            "review_at": decision.review_at,
        },
    )


def _jsonb(value: Mapping[str, Any] | None) -> Jsonb | None:
    return None if value is None else Jsonb(dict(value))
