"""SQL of jobs as callers see them: enqueued, looked at, cancelled, run again, forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_one, fetch_optional, fetch_value
from aegis.worker.models import Job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any

    from aegis.db import Connection

__all__ = [
    "cancel",
    "count_states",
    "delete_finished",
    "find_by_unique_key",
    "get",
    "insert",
    "list_jobs",
    "retry",
]

_COLUMNS: LiteralString = """
    j.id,
    j.function,
    j.arguments,
    j.key,
    j.provider,
    j.priority,
    j.state,
    j.due_at,
    j.attempts,
    j.max_attempts,
    j.timeout_s,
    j.token,
    j.lease_owner,
    j.lease_until,
    j.unique_key,
    j.schedule,
    j.planned_at,
    j.created_at,
    j.started_at,
    j.finished_at,
    j.error,
    j.result
"""


async def insert(conn: Connection, rows: Sequence[dict[str, Any]]) -> list[Job]:
    """Add jobs and return those that are new, in their order.

    One whose unique key, or whose planned time of its schedule, is there already is left out.
    """
    return await fetch_all(
        conn,
        Job,
        """
        WITH given AS (
            SELECT *
            FROM jsonb_to_recordset(%(rows)s) AS g (
                function text, arguments jsonb, key text, provider text, priority smallint,
                due_at timestamptz, max_attempts integer, timeout_s integer, unique_key text,
                schedule text, planned_at timestamptz
            )
        ),
        j AS (
            INSERT INTO jobs (
                function, arguments, key, provider, priority, due_at, max_attempts, timeout_s,
                unique_key, schedule, planned_at
            )
            SELECT function, arguments, key, provider, priority, coalesce(due_at, now()),
                   max_attempts, timeout_s, unique_key, schedule, planned_at
            FROM given
            ON CONFLICT DO NOTHING
            RETURNING *
        )
        SELECT """
        + _COLUMNS
        + """
        FROM j
        ORDER BY j.id
        """,
        {"rows": Jsonb(list(rows))},
    )


async def get(conn: Connection, job_id: int) -> Job:
    """Return a job (`NotFound`)."""
    return await fetch_one(
        conn,
        Job,
        "SELECT " + _COLUMNS + " FROM jobs j WHERE j.id = %(id)s",
        {"id": job_id},
        missing=f"There is no job {job_id}; finished ones are forgotten after some days.",
    )


async def find_by_unique_key(conn: Connection, unique_key: str) -> Job | None:
    """Return the job of a unique key, or None."""
    return await fetch_optional(
        conn,
        Job,
        "SELECT " + _COLUMNS + " FROM jobs j WHERE j.unique_key = %(unique_key)s",
        {"unique_key": unique_key},
    )


async def list_jobs(
    conn: Connection,
    *,
    states: Sequence[str],
    function: str | None,
    schedule: str | None,
    before: int | None,
    limit: int,
) -> list[Job]:
    """Return jobs, the newest first; those before the id `before`."""
    return await fetch_all(
        conn,
        Job,
        "SELECT "
        + _COLUMNS
        + """
        FROM jobs j
        WHERE j.state = ANY (%(states)s::text[])
          AND (%(function)s::text IS NULL OR j.function = %(function)s::text)
          AND (%(schedule)s::text IS NULL OR j.schedule = %(schedule)s::text)
          AND (%(before)s::bigint IS NULL OR j.id < %(before)s::bigint)
        ORDER BY j.id DESC
        LIMIT %(limit)s
        """,
        {
            "states": list(states),
            "function": function,
            "schedule": schedule,
            "before": before,
            "limit": limit,
        },
    )


async def cancel(conn: Connection, job_id: int) -> Job | None:
    """End a job that is not done, and return it; None where it is done or not there.

    The token rises: the worker that runs it has lost it.
    """
    return await fetch_optional(
        conn,
        Job,
        """
        UPDATE jobs j
        SET state = 'cancelled',
            token = j.token + 1,
            lease_until = NULL,
            finished_at = now()
        WHERE j.id = %(id)s
          AND j.state IN ('waiting', 'running')
        RETURNING """
        + _COLUMNS,
        {"id": job_id},
    )


async def retry(conn: Connection, job_id: int) -> Job | None:
    """Have a failed or cancelled job run anew, and return it; None where it is neither."""
    return await fetch_optional(
        conn,
        Job,
        """
        UPDATE jobs j
        SET state = 'waiting',
            due_at = now(),
            attempts = 0,
            finished_at = NULL,
            error = NULL
        WHERE j.id = %(id)s
          AND j.state IN ('failed', 'cancelled')
        RETURNING """
        + _COLUMNS,
        {"id": job_id},
    )


async def delete_finished(
    conn: Connection, *, completed_before: datetime, failed_before: datetime, limit: int
) -> int:
    """Forget jobs that ended long ago, the oldest first; return how many."""
    return await execute(
        conn,
        """
        DELETE FROM jobs
        WHERE id = ANY (
            ARRAY(
                SELECT id
                FROM jobs
                WHERE finished_at < greatest(%(completed)s, %(failed)s)
                  AND finished_at < CASE WHEN state = 'completed'
                                         THEN %(completed)s::timestamptz
                                         ELSE %(failed)s::timestamptz END
                ORDER BY finished_at
                LIMIT %(limit)s
                FOR UPDATE SKIP LOCKED
            )
        )
        """,
        {"completed": completed_before, "failed": failed_before, "limit": limit},
    )


async def count_states(conn: Connection) -> dict[str, int]:
    """Return how many jobs wait, wait for later, and run."""
    value = await fetch_value(
        conn,
        """
        -- Each by an index of its own: together the whole history would be read.
        SELECT jsonb_build_object(
            'due', (SELECT count(*) FROM jobs WHERE state = 'waiting' AND due_at <= now()),
            'later', (SELECT count(*) FROM jobs WHERE state = 'waiting' AND due_at > now()),
            'running', (SELECT count(*) FROM jobs WHERE state = 'running')
        )
        """,
    )
    return dict(value)
