"""SQL of what Graphiti has: `graphiti_synced_at` and `graphiti_failures`."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from aegis.db import execute, fetch_all, fetch_one, fetch_value
from aegis.memory.graphiti.models import Failure, Pending, SyncState

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "list_failures",
    "list_pending",
    "list_undated_pending",
    "mark_failed",
    "mark_synced",
    "read_state",
    "try_lock",
    "unlock",
]

_COLUMNS: LiteralString = """
    e.id,
    e.timestamp,
    coalesce(e.timestamp, e.created_at, 'epoch') AS at,
    e.event_type::text AS event_type,
    e.summary,
    e.updated_at
"""

#: Not pushed since the last change, and not refused since then either.
_WAITS: LiteralString = """
    (e.graphiti_synced_at IS NULL OR e.graphiti_synced_at < e.updated_at)
    AND (
        %(retry)s
        OR NOT EXISTS (
            SELECT
            FROM graphiti_failures f
            WHERE f.episode_id = e.id
              AND (e.updated_at IS NULL OR f.failed_at >= e.updated_at)
        )
    )
"""


async def try_lock(conn: Connection, namespace: str) -> bool:
    """Take the namespace's synchronisation for this connection, unless somebody has it."""
    return await fetch_value(
        conn,
        "SELECT pg_try_advisory_lock(hashtextextended('aegis.graphiti ' || %(namespace)s, 0))",
        {"namespace": namespace},
    )


async def unlock(conn: Connection, namespace: str) -> None:
    """Give it back."""
    await execute(
        conn,
        "SELECT pg_advisory_unlock(hashtextextended('aegis.graphiti ' || %(namespace)s, 0))",
        {"namespace": namespace},
    )


async def list_pending(
    conn: Connection,
    *,
    namespace: str,
    retry: bool,
    after: tuple[datetime, int] | None,
    limit: int,
) -> list[Pending]:
    """Return episodes to push in the order of time, behind `after` (timestamp, id)."""
    return await fetch_all(
        conn,
        Pending,
        "SELECT "
        + _COLUMNS
        + """
        FROM episodic_memory e
        WHERE e.namespace = %(namespace)s
          AND isfinite(e.timestamp)
          AND (e.timestamp, e.id) > (
              coalesce(%(after)s::timestamptz, '-infinity'), coalesce(%(after_id)s::int, 0)
          )
          AND
        """
        + _WAITS
        + """
        ORDER BY e.timestamp, e.id
        LIMIT %(limit)s
        """,
        {
            "namespace": namespace,
            "retry": retry,
            "after": after[0] if after else None,
            "after_id": after[1] if after else None,
            "limit": limit,
        },
    )


async def list_undated_pending(
    conn: Connection, *, namespace: str, retry: bool, after: int, limit: int
) -> list[Pending]:
    """Return episodes to push of which nobody said when they happened, by id."""
    return await fetch_all(
        conn,
        Pending,
        "SELECT "
        + _COLUMNS
        + """
        FROM episodic_memory e
        WHERE e.namespace = %(namespace)s
          AND e.timestamp IS NULL
          AND e.id > %(after)s
          AND
        """
        + _WAITS
        + """
        ORDER BY e.id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "retry": retry, "after": after, "limit": limit},
    )


async def mark_synced(conn: Connection, pushed: Pending) -> bool:
    """Note that Graphiti has an episode; False where it changed since it was read.

    A change after this clears the time again, by a trigger.
    """
    await execute(
        conn, "DELETE FROM graphiti_failures WHERE episode_id = %(id)s", {"id": pushed.id}
    )
    return (
        await execute(
            conn,
            """
        UPDATE episodic_memory
        SET graphiti_synced_at = greatest(clock_timestamp(), updated_at)
        WHERE id = %(id)s
          AND summary = %(summary)s
          AND event_type = %(event_type)s
          AND timestamp IS NOT DISTINCT FROM %(timestamp)s
        """,
            {
                "id": pushed.id,
                "summary": pushed.summary,
                "event_type": pushed.event_type,
                "timestamp": pushed.timestamp,
            },
        )
        > 0
    )


async def mark_failed(conn: Connection, episode_id: int, *, attempts: int, error: str) -> None:
    """Note that Graphiti did not take an episode, if it is still there."""
    await execute(
        conn,
        """
        INSERT INTO graphiti_failures AS f (episode_id, attempts, error, failed_at)
        SELECT e.id, %(attempts)s, %(error)s, greatest(clock_timestamp(), e.updated_at)
        FROM episodic_memory e
        WHERE e.id = %(id)s
        FOR KEY SHARE
        ON CONFLICT (episode_id) DO UPDATE
            SET attempts = f.attempts + EXCLUDED.attempts,
                error = EXCLUDED.error,
                failed_at = EXCLUDED.failed_at
        """,
        {"id": episode_id, "attempts": attempts, "error": error},
    )


async def list_failures(conn: Connection, *, namespace: str, limit: int) -> list[Failure]:
    """Return what Graphiti did not take, the last first."""
    return await fetch_all(
        conn,
        Failure,
        """
        SELECT f.episode_id, f.attempts, f.error, f.failed_at
        FROM graphiti_failures f
        JOIN episodic_memory e ON e.id = f.episode_id
        WHERE e.namespace = %(namespace)s
        ORDER BY f.failed_at DESC, f.episode_id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "limit": limit},
    )


async def read_state(conn: Connection, *, namespace: str) -> SyncState:
    """Count what Graphiti has, what it waits for and what it refused."""
    return await fetch_one(
        conn,
        SyncState,
        """
        SELECT
            count(*) FILTER (WHERE s.has_it) AS synced,
            count(*) FILTER (WHERE NOT s.has_it AND NOT s.refused) AS pending,
            count(*) FILTER (WHERE NOT s.has_it AND s.refused) AS failed
        FROM (
            SELECT
                (e.graphiti_synced_at >= coalesce(e.updated_at, e.graphiti_synced_at)) IS TRUE
                    AS has_it,
                (f.failed_at >= coalesce(e.updated_at, f.failed_at)) IS TRUE AS refused
            FROM episodic_memory e
            LEFT JOIN graphiti_failures f ON f.episode_id = e.id
            WHERE e.namespace = %(namespace)s
        ) AS s
        """,
        {"namespace": namespace},
        missing="Nothing was counted.",
    )
