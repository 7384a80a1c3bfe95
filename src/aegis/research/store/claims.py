"""SQL of the worker: claims, leases, and writes under a claim's token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_optional, fetch_value
from aegis.research.models import JobRow

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from aegis.db import Connection

__all__ = [
    "Claimed",
    "claim_jobs",
    "find_held",
    "is_cancelled",
    "mark_sent",
    "release_jobs",
    "renew_jobs",
    "save_progress",
    "seconds_to_next",
    "set_remembered",
]

_ROW: LiteralString = """
    j.id::text AS id,
    j.namespace,
    j.query,
    j.provider,
    j.model,
    j.status,
    j.options,
    j.remember,
    j.episode_id,
    j.token,
    j.remote_id,
    j.sent_at,
    j.checkpoint,
    j.attempts,
    j.polls,
    j.started_at,
    j.deadline_at,
    j.cancel_requested_at,
    trim_scale(j.budget_usd) AS budget_usd,
    j.budget_month,
    trim_scale(j.reserved_usd) AS reserved_usd,
    coalesce(j.created_at, j.queued_at) AS created_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What a claim is about."""

    id: str
    token: int
    provider: str
    priority: int


async def claim_jobs(
    conn: Connection,
    owner: str,
    *,
    limit: int,
    lease_s: float,
    without: Collection[str],
    unready: Collection[str] = (),
    only: str | None = None,
) -> list[Claimed]:
    """Lease up to `limit` due jobs, the most urgent first; `without` are providers to pass over.

    Of providers that are `unready` here, only what can be ended without asking them. `only` is the
    id of the one job that is wanted.
    """
    return await fetch_all(
        conn,
        Claimed,
        """
        WITH due AS (
            SELECT j.id
            FROM deep_briefing_jobs j
            WHERE j.next_poll_at <= clock_timestamp()
              AND j.queued_at IS NOT NULL
              AND (j.lease_until IS NULL OR j.lease_until < clock_timestamp())
              AND NOT (j.provider = ANY(%(without)s))
              AND (
                  NOT (j.provider = ANY(%(unready)s))
                  OR j.status = 'completed'
                  OR j.cancel_requested_at IS NOT NULL
                  OR j.deadline_at <= clock_timestamp()
              )
              AND (%(only)s::uuid IS NULL OR j.id = %(only)s::uuid)
            ORDER BY j.priority DESC, j.next_poll_at
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        ),
        taken AS (
            UPDATE deep_briefing_jobs j
            SET lease_owner = %(owner)s,
                lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s),
                token = j.token + 1
            FROM due
            WHERE j.id = due.id
            RETURNING j.id, j.token, j.provider, j.priority, j.next_poll_at
        )
        SELECT t.id::text AS id, t.token, t.provider, t.priority
        FROM taken t
        ORDER BY t.priority DESC, t.next_poll_at
        """,
        {
            "owner": owner,
            "limit": limit,
            "lease_s": lease_s,
            "without": list(without),
            "unready": list(unready),
            "only": only,
        },
    )


async def renew_jobs(
    conn: Connection, held: Sequence[tuple[str, int]], *, lease_s: float
) -> set[str]:
    """Extend the leases of what is still held under its token, and return the ids of that."""
    cursor = await conn.execute(
        """
        UPDATE deep_briefing_jobs j
        SET lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
        FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[]) AS h (id, token)
        WHERE j.id = h.id
          AND j.token = h.token
          AND j.lease_owner IS NOT NULL
        RETURNING j.id::text
        """,
        {
            "ids": [one for one, _ in held],
            "tokens": [token for _, token in held],
            "lease_s": lease_s,
        },
    )
    return {row[0] for row in await cursor.fetchall()}


async def release_jobs(conn: Connection, held: Sequence[tuple[str, int]]) -> int:
    """Hand back what is held under its token, due as it was."""
    return await execute(
        conn,
        """
        UPDATE deep_briefing_jobs j
        SET lease_owner = NULL,
            lease_until = NULL
        FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[]) AS h (id, token)
        WHERE j.id = h.id
          AND j.token = h.token
          AND j.lease_owner IS NOT NULL
        """,
        {"ids": [one for one, _ in held], "tokens": [token for _, token in held]},
    )


async def seconds_to_next(conn: Connection, *, unready: Collection[str] = ()) -> float | None:
    """Return the seconds until a job is due, 0 for now, None where nothing waits.

    Jobs of providers that are `unready` here are due when they can be ended without asking them.
    """
    return await fetch_value(
        conn,
        """
        WITH waiting AS (
            SELECT
                j.next_poll_at,
                j.lease_until,
                j.deadline_at,
                j.provider = ANY(%(unready)s)
                    AND j.status <> 'completed'
                    AND j.cancel_requested_at IS NULL AS for_others
            FROM deep_briefing_jobs j
            WHERE j.next_poll_at IS NOT NULL
              AND j.queued_at IS NOT NULL
        ),
        next AS (
            SELECT min(
                greatest(
                    w.next_poll_at, w.lease_until, CASE WHEN w.for_others THEN w.deadline_at END
                )
            ) AS at
            FROM waiting w
            WHERE NOT w.for_others OR w.deadline_at IS NOT NULL
        )
        -- `greatest` passes over NULL, which would make nothing of waiting.
        SELECT greatest(extract(epoch FROM n.at - clock_timestamp()), 0)::float8
        FROM next n
        WHERE n.at IS NOT NULL
        """,
        {"unready": list(unready)},
    )


async def find_held(conn: Connection, job_id: str, token: int) -> JobRow | None:
    """Return a job that is held under this token, None where it is not any more."""
    return await fetch_optional(
        conn,
        JobRow,
        "SELECT "
        + _ROW
        + """
        FROM deep_briefing_jobs j
        WHERE j.id = %(id)s::uuid
          AND j.token = %(token)s
          AND j.lease_owner IS NOT NULL
        """,
        {"id": job_id, "token": token},
    )


async def is_cancelled(conn: Connection, job_id: str) -> bool:
    """Tell whether somebody wants a job to end."""
    found = await fetch_value(
        conn,
        "SELECT cancel_requested_at IS NOT NULL FROM deep_briefing_jobs WHERE id = %(id)s::uuid",
        {"id": job_id},
    )
    return bool(found)


async def mark_sent(conn: Connection, job: JobRow, *, paid: bool, ceiling_s: float) -> bool:
    """Note that a request is about to be sent; False where the job is not held any more."""
    touched = await execute(
        conn,
        """
        UPDATE deep_briefing_jobs
        SET status = 'running',
            started_at = coalesce(started_at, now()),
            deadline_at = coalesce(
                deadline_at, now() + make_interval(secs => %(ceiling_s)s)
            ),
            sent_at = CASE WHEN %(paid)s THEN coalesce(sent_at, now()) ELSE sent_at END,
            polls = polls + 1
        WHERE id = %(id)s::uuid
          AND token = %(token)s
          AND lease_owner IS NOT NULL
        """,
        {"id": job.id, "token": job.token, "paid": paid, "ceiling_s": ceiling_s},
    )
    return touched == 1


async def save_progress(
    conn: Connection,
    job: JobRow,
    *,
    remote_id: str | None,
    checkpoint: Mapping[str, Any] | None,
    keep_sent: bool,
    attempts: int,
    error: str | None,
    wait_s: float,
) -> bool:
    """Store where a job stands and hand it back until its next poll; False if it is not held."""
    told = await fetch_value(
        conn,
        """
        WITH saved AS (
            UPDATE deep_briefing_jobs
            SET remote_id = coalesce(%(remote_id)s, remote_id),
                checkpoint = coalesce(%(checkpoint)s, checkpoint),
                sent_at = CASE WHEN %(keep_sent)s THEN sent_at END,
                attempts = %(attempts)s,
                error = %(error)s,
                -- A wish to end it does not wait.
                next_poll_at = CASE
                    WHEN cancel_requested_at > %(read_at)s::timestamptz THEN clock_timestamp()
                    ELSE clock_timestamp() + make_interval(secs => %(wait_s)s)
                END,
                lease_owner = NULL,
                lease_until = NULL
            WHERE id = %(id)s::uuid
              AND token = %(token)s
              AND lease_owner IS NOT NULL
            RETURNING id
        )
        -- Workers that sleep until the lease would have run out learn of the earlier poll.
        SELECT pg_notify('aegis_work', 'research')::text FROM saved
        """,
        {
            "id": job.id,
            "token": job.token,
            "remote_id": remote_id,
            "checkpoint": None if checkpoint is None else Jsonb(dict(checkpoint)),
            "keep_sent": keep_sent,
            "attempts": attempts,
            "error": error,
            "wait_s": wait_s,
            "read_at": job.cancel_requested_at or "-infinity",
        },
    )
    return told is not None


async def set_remembered(conn: Connection, job: JobRow, episode_id: int | None) -> bool:
    """Note which memory a report became, and that nothing is left to do."""
    touched = await execute(
        conn,
        """
        UPDATE deep_briefing_jobs
        SET episode_id = coalesce(%(episode_id)s, episode_id),
            next_poll_at = NULL,
            lease_owner = NULL,
            lease_until = NULL
        WHERE id = %(id)s::uuid
          AND token = %(token)s
          AND lease_owner IS NOT NULL
        """,
        {"id": job.id, "token": job.token, "episode_id": episode_id},
    )
    return touched == 1
