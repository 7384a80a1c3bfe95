"""SQL by which an execution is interrupted, and goes on, with what it started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute

if TYPE_CHECKING:
    from aegis.db import Connection

__all__ = ["go_on_with_parent", "pause"]


async def pause(conn: Connection, id: str) -> int:
    """Interrupt a running execution and what it started; return how many.

    Their workers keep the leases until their steps have ended.
    """
    return await execute(
        conn,
        """
        WITH RECURSIVE family AS (
            SELECT %(id)s::uuid AS id
            UNION
            SELECT e.id
            FROM family f
            JOIN workflow_executions e ON e.parent_id = f.id
        ),
        locked AS (
            SELECT e.id
            FROM workflow_executions e
            JOIN family f ON f.id = e.id
            WHERE e.status = 'running'
              AND e.version IS NOT NULL
            ORDER BY e.id
            FOR UPDATE OF e
        ),
        paused AS (
            UPDATE workflow_executions e
            SET status = 'interrupted',
                reason = CASE WHEN e.id = %(id)s::uuid THEN 'paused' ELSE 'parent_paused' END
            FROM locked l
            WHERE e.id = l.id
            RETURNING e.id::text AS id
        )
        SELECT pg_notify('aegis_workflow_told', id), pg_notify('aegis_workflow_changes', id)
        FROM paused
        """,
        {"id": id},
    )


async def go_on_with_parent(conn: Connection, id: str) -> int:
    """Let go on what was interrupted with an execution, and return how many.

    One that a person had interrupted by itself stays so, with all that it started.
    """
    return await execute(
        conn,
        """
        WITH RECURSIVE family AS (
            SELECT %(id)s::uuid AS id
            UNION
            SELECT e.id
            FROM family f
            JOIN workflow_executions e ON e.parent_id = f.id
            WHERE e.status = 'interrupted'
              AND e.reason = 'parent_paused'
        ),
        locked AS (
            SELECT e.id
            FROM workflow_executions e
            JOIN family f ON f.id = e.id
            WHERE e.status = 'interrupted'
              AND e.reason = 'parent_paused'
              AND e.id <> %(id)s::uuid
            ORDER BY e.id
            FOR UPDATE OF e
        ),
        opened AS (
            UPDATE workflow_executions e
            SET status = 'running',
                reason = NULL,
                takeovers = 0,
                signals = e.signals + 1,
                wake_at = now()
            FROM locked l
            WHERE e.id = l.id
            RETURNING e.id::text AS id
        )
        SELECT pg_notify('aegis_workflow_told', id), pg_notify('aegis_workflow_changes', id),
               pg_notify('aegis_work', 'workflows')
        FROM opened
        """,
        {"id": id},
    )
