"""SQL of what maintenance did, and of what it is doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from aegis.db import execute, fetch_all, fetch_optional, fetch_value
from aegis.ops.maintenance.models import Done, Progress

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection
    from aegis.ops.maintenance.models import RunState, Step

__all__ = [
    "begin",
    "drop_old",
    "end",
    "find_progress",
    "list_runs",
    "mark_interrupted",
    "relation_size",
    "try_alone",
]


async def try_alone(conn: Connection) -> bool:
    """Return whether this session alone maintains the database until it ends."""
    return bool(
        await fetch_value(
            conn, "SELECT pg_try_advisory_lock(hashtextextended('aegis.maintenance', 0))"
        )
    )


async def mark_interrupted(conn: Connection) -> int:
    """Mark runs whose process is gone and return how many; only the caller runs now."""
    return await execute(
        conn,
        """
        UPDATE maintenance_runs
        SET state = 'interrupted', finished_at = clock_timestamp(),
            error = 'its process ended'
        WHERE state = 'running'
        """,
    )


async def begin(conn: Connection, step: Step, command: str, *, before_bytes: int | None) -> int:
    """Write down that a step begins, and return its number."""
    return await fetch_value(
        conn,
        """
        INSERT INTO maintenance_runs (task, object, reason, command, before_bytes, changed_rows)
        VALUES (%(task)s, %(object)s, %(reason)s, %(command)s, %(before)s, %(churn)s)
        RETURNING id
        """,
        {
            "task": step.task,
            "object": step.object,
            "reason": step.reason,
            "command": command,
            "before": before_bytes,
            "churn": step.churn,
        },
    )


async def end(
    conn: Connection,
    run_id: int,
    state: RunState,
    *,
    after_bytes: int | None,
    error: str | None = None,
) -> None:
    """Write down how a step ended."""
    await execute(
        conn,
        """
        UPDATE maintenance_runs
        SET state = %(state)s, finished_at = clock_timestamp(), after_bytes = %(after)s,
            error = %(error)s
        WHERE id = %(id)s
        """,
        {"id": run_id, "state": state, "after": after_bytes, "error": error},
    )


async def list_runs(conn: Connection, *, limit: int, object: str | None = None) -> list[Done]:
    """Return runs, the newest first, of one object or of all."""
    return await fetch_all(
        conn,
        Done,
        """
        SELECT id, task, object, reason, command, state, started_at, finished_at, before_bytes,
               after_bytes, error
        FROM maintenance_runs
        WHERE %(object)s::text IS NULL OR object = %(object)s
        ORDER BY started_at DESC, id DESC
        LIMIT %(limit)s
        """,
        {"limit": limit, "object": object},
    )


async def drop_old(conn: Connection, before: datetime) -> int:
    """Delete runs from before then, less the last good one of each object and task."""
    return await execute(
        conn,
        """
        DELETE FROM maintenance_runs m
        WHERE m.started_at < %(before)s
          AND EXISTS (
              SELECT
              FROM maintenance_runs n
              WHERE n.object = m.object
                AND n.task = m.task
                AND n.started_at > m.started_at
                AND n.state = 'done'
          )
        """,
        {"before": before},
    )


async def relation_size(conn: Connection, schema: str, name: str) -> int | None:
    """Return the size of a table with its TOAST or of an index; None where it is gone."""
    return await fetch_value(
        conn,
        """
        SELECT pg_table_size(c.oid)
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %(schema)s
          AND c.relname = %(name)s
        """,
        {"schema": schema, "name": name},
    )


_PROGRESS: LiteralString = """
SELECT %(object)s AS object, %(task)s AS task, phase, done, "of"
FROM (
    SELECT pid, phase, heap_blks_scanned AS done, heap_blks_total AS of
    FROM pg_stat_progress_vacuum
    UNION ALL
    SELECT pid, phase, coalesce(nullif(tuples_done, 0), blocks_done),
           coalesce(nullif(tuples_total, 0), blocks_total)
    FROM pg_stat_progress_create_index
    UNION ALL
    SELECT pid, phase, sample_blks_scanned, sample_blks_total
    FROM pg_stat_progress_analyze
    UNION ALL
    SELECT pid, phase, heap_blks_scanned, heap_blks_total
    FROM pg_stat_progress_cluster
) p
WHERE pid = %(pid)s
LIMIT 1
"""


async def find_progress(conn: Connection, step: Step, pid: int) -> Progress | None:
    """Return how far the process `pid` is with a step; None where PostgreSQL does not say."""
    return await fetch_optional(
        conn, Progress, _PROGRESS, {"object": step.object, "task": step.task, "pid": pid}
    )
