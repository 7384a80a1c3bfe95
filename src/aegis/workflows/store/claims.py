"""Claims of executions: what is due, leases, fencing tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aegis.db import execute, fetch_all, fetch_value

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = ["Held", "claim", "find_due_s", "read_held", "release", "renew"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An execution as it was when it was claimed."""

    id: str
    token: int
    workflow_id: str
    workflow: str
    version: int
    namespace: str
    status: str
    context: dict[str, Any]
    priority: int
    steps: int
    signals: int
    takeovers: int
    started_at: datetime
    deadline_at: datetime | None
    parent_id: str | None


async def claim(
    conn: Connection, *, owner: str, limit: int, lease_s: float, without_keys: Collection[str]
) -> list[Held]:
    """Claim what is due, highest priority first, then what is due longest.

    One look into the index for each priority: a long queue of one does not hide another.
    """
    return await fetch_all(
        conn,
        Held,
        """
        WITH due AS MATERIALIZED (
            SELECT e.id, e.lost
            FROM generate_series(10, -10, -1) AS p (priority)
            CROSS JOIN LATERAL (
                SELECT x.id, x.lease_until IS NOT NULL AS lost
                FROM workflow_executions x
                WHERE x.status = 'running'
                  AND x.wake_at IS NOT NULL
                  AND x.priority = p.priority
                  AND GREATEST(x.wake_at, x.lease_until) <= now()
                  AND x.workflow_id::text <> ALL (%(without_keys)s::text[])
                ORDER BY GREATEST(x.wake_at, x.lease_until)
                LIMIT %(limit)s
                FOR UPDATE SKIP LOCKED
            ) e
            LIMIT %(limit)s
        )
        UPDATE workflow_executions e
        SET token = e.token + 1,
            lease_owner = %(owner)s,
            lease_until = now() + make_interval(secs => %(lease_s)s),
            takeovers = e.takeovers + d.lost::integer,
            reason = NULL
        FROM due d, workflows w
        WHERE e.id = d.id
          AND w.id = e.workflow_id
        RETURNING e.id::text AS id, e.token, e.workflow_id::text AS workflow_id,
                  w.name AS workflow, e.version, e.namespace, e.status, e.context, e.priority,
                  e.steps, e.signals, e.takeovers, e.started_at, e.deadline_at,
                  e.parent_id::text AS parent_id
        """,
        {
            "owner": owner,
            "limit": limit,
            "lease_s": lease_s,
            "without_keys": list(without_keys),
        },
    )


async def read_held(conn: Connection, *, id: str, token: int) -> list[Held]:
    """Return the execution as it is now if the token still holds, else nothing."""
    return await fetch_all(
        conn,
        Held,
        """
        SELECT e.id::text AS id, e.token, e.workflow_id::text AS workflow_id, w.name AS workflow,
               e.version, e.namespace, e.status, e.context, e.priority, e.steps, e.signals,
               e.takeovers, e.started_at, e.deadline_at, e.parent_id::text AS parent_id
        FROM workflow_executions e
        JOIN workflows w ON w.id = e.workflow_id
        WHERE e.id = %(id)s
          AND e.token = %(token)s
          AND e.status IN ('running', 'interrupted')
        """,
        {"id": id, "token": token},
    )


async def renew(
    conn: Connection, *, ids: Sequence[str], tokens: Sequence[int], lease_s: float
) -> set[str]:
    """Extend leases and return the ids of those that are still held."""
    cursor = await conn.execute(
        """
        UPDATE workflow_executions e
        SET lease_until = now() + make_interval(secs => %(lease_s)s)
        FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[]) AS g (id, token)
        WHERE e.id = g.id
          AND e.token = g.token
          AND e.lease_owner IS NOT NULL
          AND e.status IN ('running', 'interrupted')
        RETURNING e.id::text
        """,
        {"ids": list(ids), "tokens": list(tokens), "lease_s": lease_s},
    )
    return {row[0] for row in await cursor.fetchall()}


async def release(conn: Connection, *, ids: Sequence[str], tokens: Sequence[int]) -> int:
    """Hand executions back, due at once."""
    return await execute(
        conn,
        """
        WITH free AS (
            UPDATE workflow_executions e
            SET lease_owner = NULL,
                lease_until = NULL,
                wake_at = now()
            FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[]) AS g (id, token)
            WHERE e.id = g.id
              AND e.token = g.token
              AND e.lease_owner IS NOT NULL
              AND e.status IN ('running', 'interrupted')
            RETURNING e.id
        )
        SELECT pg_notify('aegis_work', 'workflows') FROM free LIMIT 1
        """,
        {"ids": list(ids), "tokens": list(tokens)},
    )


async def find_due_s(conn: Connection) -> float | None:
    """Return seconds until the next execution is due, 0 for now, None where none waits."""
    return await fetch_value(
        conn,
        """
        SELECT CASE
            WHEN count(*) > 0 THEN GREATEST(0, extract(epoch FROM min(e.due) - now()))::float
        END
        FROM generate_series(-10, 10) AS p (priority)
        CROSS JOIN LATERAL (
            SELECT GREATEST(x.wake_at, x.lease_until) AS due
            FROM workflow_executions x
            WHERE x.status = 'running'
              AND x.wake_at IS NOT NULL
              AND x.priority = p.priority
            ORDER BY GREATEST(x.wake_at, x.lease_until)
            LIMIT 1
        ) e
        """,
    )
