"""SQL over `memory_policies`, and what a policy sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all, fetch_one
from aegis.memory.retention.expiry import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "list_all_policies",
    "list_policies",
    "page_unexpiring",
    "remove_policy",
    "set_expiry",
    "set_policy",
]


async def list_policies(conn: Connection, namespaces: Sequence[str]) -> list[Policy]:
    """Return the policies of these namespaces, the general ones first."""
    return await fetch_all(
        conn,
        Policy,
        """
        SELECT namespace, event_type, importance, ttl_s, action, set_at
        FROM memory_policies
        WHERE namespace = ANY(%(namespaces)s)
        ORDER BY namespace, event_type, importance
        """,
        {"namespaces": list(namespaces)},
    )


async def list_all_policies(conn: Connection, namespace: str | None) -> list[Policy]:
    """Return the policies of one namespace, or of all."""
    return await fetch_all(
        conn,
        Policy,
        """
        SELECT namespace, event_type, importance, ttl_s, action, set_at
        FROM memory_policies
        WHERE %(namespace)s::text IS NULL OR namespace = %(namespace)s
        """,
        {"namespace": namespace},
    )


async def set_policy(
    conn: Connection, *, namespace: str, event_type: str, importance: str, ttl_s: int, action: str
) -> Policy:
    """Set or replace a policy."""
    return await fetch_one(
        conn,
        Policy,
        """
        INSERT INTO memory_policies (namespace, event_type, importance, ttl_s, action)
        VALUES (%(namespace)s, %(event_type)s, %(importance)s, %(ttl_s)s, %(action)s)
        ON CONFLICT (namespace, event_type, importance) DO UPDATE
        SET ttl_s = excluded.ttl_s,
            action = excluded.action,
            set_at = now()
        RETURNING namespace, event_type, importance, ttl_s, action, set_at
        """,
        {
            "namespace": namespace,
            "event_type": event_type,
            "importance": importance,
            "ttl_s": ttl_s,
            "action": action,
        },
        missing="The policy was not stored.",
    )


async def remove_policy(
    conn: Connection, *, namespace: str, event_type: str, importance: str
) -> int:
    """Remove a policy and return how many there were (0 or 1)."""
    return await execute(
        conn,
        """
        DELETE FROM memory_policies
        WHERE namespace = %(namespace)s
          AND event_type = %(event_type)s
          AND importance = %(importance)s
        """,
        {"namespace": namespace, "event_type": event_type, "importance": importance},
    )


async def page_unexpiring(
    conn: Connection, namespace: str, *, after_id: int, limit: int
) -> list[tuple[int, str, str, datetime]]:
    """Return (id, type, importance, recorded at) of episodes that never expire, by id."""
    cursor = await conn.execute(
        """
        SELECT e.id,
               e.event_type,
               coalesce(e.importance, 'medium')::text,
               coalesce(e.created_at, e.timestamp)
        FROM episodic_memory e
        WHERE e.namespace = %(namespace)s
          AND e.id > %(after_id)s
          AND e.expires_at IS NULL
          AND isfinite(coalesce(e.created_at, e.timestamp))
        ORDER BY e.id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "after_id": after_id, "limit": limit},
    )
    return [(row[0], row[1], row[2], row[3]) for row in await cursor.fetchall()]


async def set_expiry(conn: Connection, expiry: Mapping[int, datetime]) -> int:
    """Let episodes that never expire do so at their times, and return how many."""
    return await execute(
        conn,
        """
        UPDATE episodic_memory e
        SET expires_at = x.expires_at
        FROM unnest(%(ids)s::integer[], %(times)s::timestamptz[]) AS x (id, expires_at)
        WHERE e.id = x.id
          AND e.expires_at IS NULL
        """,
        {"ids": list(expiry), "times": list(expiry.values())},
    )
