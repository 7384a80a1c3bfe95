"""SQL by which a worker takes jobs, keeps them, hands them back and finishes them.

Every write but the claim names the token of its claim, and changes nothing under an older one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_value

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = ["Claimed", "Outcome", "claim", "finish", "release", "renew", "seconds_to_next"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What a worker needs to know of a job that it took."""

    id: int
    token: int
    function: str
    arguments: dict[str, Any]
    key: str | None
    provider: str | None
    priority: int
    attempts: int
    max_attempts: int
    timeout_s: int | None
    due_at: datetime
    schedule: str | None
    planned_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt ended."""

    id: int
    token: int
    #: `waiting` for another attempt.
    state: str
    #: Seconds until that.
    delay_s: float = 0.0
    error: str | None = None
    result: Any = None


async def claim(
    conn: Connection,
    owner: str,
    *,
    limit: int,
    lease_s: float,
    functions: Collection[str],
    without_keys: Collection[str],
) -> list[Claimed]:
    """Take due jobs, and those of dead workers first; of one key one, and none that runs.

    A job whose last attempt went down with its worker is given up: it may be what kills them.

    Raises:
        Conflict: another worker took a job of the same key at the same moment; try again.
    """
    return await fetch_all(
        conn,
        Claimed,
        """
        WITH lost AS MATERIALIZED (
            SELECT id, attempts >= max_attempts AS spent
            FROM jobs
            WHERE state = 'running'
              AND lease_until < now()
              AND (attempts >= max_attempts OR function = ANY (%(functions)s::text[]))
            ORDER BY lease_until
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        ),
        given_up AS (
            UPDATE jobs
            SET state = 'failed',
                token = token + 1,
                lease_until = NULL,
                finished_at = now(),
                error = 'Its worker was lost in the last of its attempts.'
            WHERE id = ANY (ARRAY(SELECT id FROM lost WHERE spent))
        ),
        -- One probe of the index for each priority, whatever waits for later in the ones above.
        due AS MATERIALIZED (
            SELECT found.id, found.key, level.priority, found.due_at
            FROM generate_series(9, 0, -1) AS level (priority)
            CROSS JOIN LATERAL (
                SELECT j.id, j.key, j.due_at
                FROM jobs j
                WHERE j.state = 'waiting'
                  AND j.priority = level.priority
                  AND j.due_at <= now()
                  AND j.function = ANY (%(functions)s::text[])
                  AND (
                      j.key IS NULL
                      OR j.key <> ALL (%(without_keys)s::text[])
                      AND j.key <> ALL (
                          ARRAY(SELECT r.key FROM jobs r WHERE r.state = 'running'
                                                           AND r.key IS NOT NULL)
                      )
                  )
                ORDER BY j.due_at, j.id
                LIMIT %(limit)s
                FOR UPDATE SKIP LOCKED
            ) found
            LIMIT greatest(%(limit)s - (SELECT count(*) FROM lost WHERE NOT spent), 0)
        ),
        first_of_key AS (
            SELECT id,
                   key IS NULL
                   OR row_number() OVER (PARTITION BY key ORDER BY priority DESC, due_at, id) = 1
                   AS chosen
            FROM due
        )
        UPDATE jobs
        SET state = 'running',
            token = token + 1,
            attempts = attempts + 1,
            started_at = now(),
            lease_owner = %(owner)s,
            lease_until = now() + make_interval(secs => %(lease_s)s)
        -- As an array, so that the table is never read through, whatever is known of its size.
        WHERE id = ANY (
            ARRAY(
                SELECT id FROM lost WHERE NOT spent
                UNION ALL
                SELECT id FROM first_of_key WHERE chosen
            )
        )
        RETURNING id, token, function, arguments, key, provider, priority, attempts, max_attempts,
                  timeout_s, due_at, schedule, planned_at
        """,
        {
            "owner": owner,
            "limit": limit,
            "lease_s": lease_s,
            "functions": list(functions),
            "without_keys": list(without_keys),
        },
    )


async def renew(
    conn: Connection, ids: Sequence[int], tokens: Sequence[int], *, lease_s: float
) -> set[int]:
    """Extend the leases of the jobs that are still held, and return which these are."""
    cursor = await conn.execute(
        """
        UPDATE jobs j
        SET lease_until = now() + make_interval(secs => %(lease_s)s)
        FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) AS held (id, token)
        WHERE j.id = held.id
          AND j.token = held.token
          AND j.state = 'running'
        RETURNING j.id
        """,
        {"ids": list(ids), "tokens": list(tokens), "lease_s": lease_s},
    )
    return {row[0] for row in await cursor.fetchall()}


async def release(conn: Connection, ids: Sequence[int], tokens: Sequence[int]) -> int:
    """Hand jobs back: due at once, and not counted as attempts."""
    return await execute(
        conn,
        """
        UPDATE jobs j
        SET state = 'waiting',
            attempts = greatest(j.attempts - 1, 0),
            lease_owner = NULL,
            lease_until = NULL,
            due_at = least(j.due_at, now())
        FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) AS held (id, token)
        WHERE j.id = held.id
          AND j.token = held.token
          AND j.state = 'running'
        """,
        {"ids": list(ids), "tokens": list(tokens)},
    )


async def finish(conn: Connection, outcomes: Sequence[Outcome]) -> set[int]:
    """Record how attempts ended, and return the ids of those that were still held."""
    cursor = await conn.execute(
        """
        UPDATE jobs j
        SET state = done.state,
            lease_until = NULL,
            due_at = CASE WHEN done.state = 'waiting'
                          THEN now() + make_interval(secs => done.delay_s)
                          ELSE j.due_at END,
            finished_at = CASE WHEN done.state = 'waiting' THEN NULL ELSE now() END,
            error = done.error,
            result = done.result
        FROM unnest(
            %(ids)s::bigint[], %(tokens)s::bigint[], %(states)s::text[],
            %(delays)s::double precision[], %(errors)s::text[], %(results)s::jsonb[]
        ) AS done (id, token, state, delay_s, error, result)
        WHERE j.id = done.id
          AND j.token = done.token
          AND j.state = 'running'
        RETURNING j.id
        """,
        {
            "ids": [outcome.id for outcome in outcomes],
            "tokens": [outcome.token for outcome in outcomes],
            "states": [outcome.state for outcome in outcomes],
            "delays": [outcome.delay_s for outcome in outcomes],
            "errors": [outcome.error for outcome in outcomes],
            "results": [None if o.result is None else Jsonb(o.result) for o in outcomes],
        },
    )
    return {row[0] for row in await cursor.fetchall()}


async def seconds_to_next(conn: Connection, functions: Collection[str]) -> float | None:
    """Return seconds until a job is due or a lease runs out, 0 for now, None for never."""
    seconds = await fetch_value(
        conn,
        """
        SELECT extract(epoch FROM least(next.due_at, next.lease_until) - now())::float8
        FROM (
            SELECT (
                SELECT min(found.due_at)
                FROM generate_series(9, 0, -1) AS level (priority)
                CROSS JOIN LATERAL (
                    SELECT j.due_at
                    FROM jobs j
                    WHERE j.state = 'waiting'
                      AND j.priority = level.priority
                      AND j.function = ANY (%(functions)s::text[])
                    ORDER BY j.due_at, j.id
                    LIMIT 1
                ) found
            ) AS due_at,
            (SELECT min(lease_until) FROM jobs WHERE state = 'running') AS lease_until
        ) next
        """,
        {"functions": list(functions)},
    )
    return None if seconds is None else max(seconds, 0.0)
