"""SQL that starts, finds and lists jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_one, fetch_optional
from aegis.research.models import Citation, Job, PricedCall, Source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.research.models import NewJob

__all__ = [
    "Like",
    "Result",
    "cancel_job",
    "delete_ended",
    "delete_job",
    "find_by_key",
    "find_result",
    "get_job",
    "insert_job",
    "list_calls",
    "list_citations",
    "list_jobs",
    "list_like",
    "list_sources",
    "lock_question",
]

#: The columns of `Job`, in its order.
_COLUMNS: LiteralString = """
    j.id::text AS id,
    j.namespace,
    j.query,
    coalesce(j.status, 'pending') AS status,
    j.provider,
    j.model,
    -- Rows of plain SQL have the rounded cost alone.
    trim_scale(coalesce(j.exact_cost_usd, j.cost_usd)) AS cost_usd,
    trim_scale(j.budget_usd) AS budget_usd,
    trim_scale(j.reserved_usd) AS reserved_usd,
    j.cost_detail,
    j.error,
    j.error_code,
    j.remote_id,
    j.attempts,
    j.polls,
    j.remember,
    j.episode_id,
    j.idempotency_key,
    coalesce(j.created_at, 'epoch') AS created_at,
    j.started_at,
    j.deadline_at,
    j.next_poll_at,
    j.cancel_requested_at,
    j.completed_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Like:
    """A recent job and how like its question is."""

    id: str
    query: str
    #: Whether the words are the same.
    same: bool
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What `result` holds; anything, where plain SQL wrote it."""

    result: Any


async def lock_question(conn: Connection, namespace: str) -> None:
    """Let one start of a namespace at a time look for its like, until the transaction ends.

    Nearly the same questions have no key in common, so that the lock is the namespace's.
    """
    await conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('aegis research ' || %(namespace)s, 0))",
        {"namespace": namespace},
    )


async def find_by_key(conn: Connection, *, namespace: str, key: str) -> Job | None:
    """Return the job that was started under a key, or None."""
    return await fetch_optional(
        conn,
        Job,
        "SELECT "
        + _COLUMNS
        + """
        FROM deep_briefing_jobs j
        WHERE j.namespace = %(namespace)s
          AND j.idempotency_key = %(key)s
        """,
        {"namespace": namespace, "key": key},
    )


async def list_like(
    conn: Connection,
    *,
    namespace: str,
    query_key: str,
    vector: str | None,
    embedding_model: str | None,
    since: datetime,
    similar_from: float,
) -> list[Like]:
    """Return recent bought jobs that ask the same or nearly the same, the most like first.

    What failed or was cancelled is no answer.
    """
    return await fetch_all(
        conn,
        Like,
        """
        WITH recent AS MATERIALIZED (
            SELECT j.id, j.query, j.query_key, j.query_embedding, j.embedding_model, j.created_at
            FROM deep_briefing_jobs j
            WHERE j.namespace = %(namespace)s
              AND j.created_at >= %(since)s
              AND j.queued_at IS NOT NULL
              AND j.provider <> 'local'
              AND j.status IN ('pending', 'running', 'completed')
              AND j.cancel_requested_at IS NULL
        ),
        compared AS (
            SELECT
                r.id,
                r.query,
                r.created_at,
                r.query_key = %(query_key)s AS same,
                CASE
                    WHEN r.query_key = %(query_key)s THEN 1
                    -- Vectors of different models are never compared.
                    WHEN r.embedding_model = %(embedding_model)s
                        THEN 1 - (r.query_embedding <=> %(vector)s::text::vector)
                END AS similarity
            FROM recent r
        )
        SELECT c.id::text AS id, c.query, c.same, c.similarity::float8 AS similarity
        FROM compared c
        WHERE c.similarity >= %(similar_from)s
        ORDER BY c.similarity DESC, c.created_at DESC
        LIMIT 20
        """,
        {
            "namespace": namespace,
            "query_key": query_key,
            "vector": vector,
            "embedding_model": embedding_model,
            "since": since,
            "similar_from": similar_from,
        },
    )


async def insert_job(conn: Connection, new: NewJob) -> Job:
    """Store a job, due at once, and wake the workers when the transaction is committed."""
    job = await fetch_one(
        conn,
        Job,
        """
        INSERT INTO deep_briefing_jobs AS j (
            query, status, provider, namespace, model, query_key, query_embedding,
            embedding_model, options, idempotency_key, remember, priority, queued_at,
            next_poll_at, budget_usd, budget_month, reserved_usd
        )
        VALUES (
            %(query)s, 'pending', %(provider)s, %(namespace)s, %(model)s, %(query_key)s,
            %(vector)s::text::vector, %(embedding_model)s, %(options)s, %(idempotency_key)s,
            %(remember)s, %(priority)s, now(), now(), %(budget_usd)s::numeric,
            %(budget_month)s, coalesce(%(budget_usd)s::numeric, 0)
        )
        RETURNING
        """
        + _COLUMNS,
        {
            "query": new.query,
            "provider": new.provider,
            "namespace": new.namespace,
            "model": new.model,
            "query_key": new.query_key,
            "vector": new.query_embedding,
            "embedding_model": new.embedding_model,
            "options": Jsonb(dict(new.options)),
            "idempotency_key": new.idempotency_key,
            "remember": new.remember,
            "priority": new.priority,
            "budget_usd": new.budget_usd,
            "budget_month": new.budget_month,
        },
        missing="The job was not stored.",
    )
    await conn.execute("SELECT pg_notify('aegis_work', 'research')")
    return job


async def get_job(conn: Connection, job_id: str, *, namespace: str) -> Job:
    """Return one job (`NotFound`)."""
    return await fetch_one(
        conn,
        Job,
        "SELECT "
        + _COLUMNS
        + """
        FROM deep_briefing_jobs j
        WHERE j.id = %(id)s::uuid
          AND j.namespace = %(namespace)s
        """,
        {"id": job_id, "namespace": namespace},
        missing=f"There is no research job {job_id} in namespace {namespace!r}.",
    )


async def list_jobs(
    conn: Connection,
    *,
    namespace: str,
    statuses: Sequence[str],
    provider: str | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Job]:
    """Return jobs, the newest first; `before` is time and id of the last of the page before."""
    at, last = before or (None, None)
    return await fetch_all(
        conn,
        Job,
        "SELECT "
        + _COLUMNS
        + """
        FROM deep_briefing_jobs j
        WHERE j.namespace = %(namespace)s
          AND j.created_at IS NOT NULL
          AND (%(statuses)s::text[] = '{}' OR j.status = ANY(%(statuses)s))
          AND (%(provider)s::text IS NULL OR j.provider = %(provider)s)
          AND (
              %(before)s::timestamptz IS NULL
              OR j.created_at < %(before)s
              OR (j.created_at = %(before)s AND j.id > %(last)s::uuid)
          )
        ORDER BY j.created_at DESC, j.id
        LIMIT %(limit)s
        """,
        {
            "namespace": namespace,
            "statuses": list(statuses),
            "provider": provider,
            "before": at,
            "last": last,
            "limit": limit,
        },
    )


async def find_result(conn: Connection, job_id: str) -> Any:
    """Return what `result` holds, None for nothing."""
    row = await fetch_optional(
        conn,
        Result,
        "SELECT result FROM deep_briefing_jobs WHERE id = %(id)s::uuid",
        {"id": job_id},
    )
    return None if row is None else row.result


async def list_sources(conn: Connection, job_id: str) -> list[Source]:
    """Return the sources of a report by their number."""
    return await fetch_all(
        conn,
        Source,
        """
        SELECT s.kind, s.url, s.episode_id, s.title, s.snippet, s.published
        FROM research_sources s
        WHERE s.job_id = %(id)s::uuid
        ORDER BY s.position
        """,
        {"id": job_id},
    )


async def list_citations(conn: Connection, job_id: str) -> list[Citation]:
    """Return the citations of a report in their order."""
    return await fetch_all(
        conn,
        Citation,
        """
        SELECT c.url, c.episode_id, c.title, c.cited_text, c.start_char, c.end_char,
               c.source_position, c.verified
        FROM research_citations c
        WHERE c.job_id = %(id)s::uuid
        ORDER BY c.position
        """,
        {"id": job_id},
    )


async def list_calls(conn: Connection, job_id: str) -> list[PricedCall]:
    """Return what a job's calls used and cost, in their order."""
    return await fetch_all(
        conn,
        PricedCall,
        """
        SELECT c.call_key, c.at, c.provider, c.model, c.usage,
               trim_scale(c.cost_usd) AS cost_usd, c.cost_source, c.cost_detail
        FROM research_calls c
        WHERE c.job_id = %(id)s::uuid
        ORDER BY c.id
        """,
        {"id": job_id},
    )


async def cancel_job(conn: Connection, job_id: str) -> None:
    """Note that a running job is to end, due at once, and wake the workers."""
    await conn.execute(
        """
        WITH noted AS (
            UPDATE deep_briefing_jobs
            SET cancel_requested_at = coalesce(cancel_requested_at, now()),
                next_poll_at = now()
            WHERE id = %(id)s::uuid
              AND status IN ('pending', 'running')
              AND next_poll_at IS NOT NULL
            RETURNING id
        )
        SELECT pg_notify('aegis_work', 'research') FROM noted
        """,
        {"id": job_id},
    )


async def delete_job(conn: Connection, job_id: str, *, namespace: str) -> int:
    """Delete a finished job with everything that hangs on it, and return how many that were."""
    return await execute(
        conn,
        """
        DELETE FROM deep_briefing_jobs
        WHERE id = %(id)s::uuid
          AND namespace = %(namespace)s
          AND next_poll_at IS NULL
          AND reserved_usd = 0
        """,
        {"id": job_id, "namespace": namespace},
    )


async def delete_ended(conn: Connection, *, keep_days: float, limit: int) -> int:
    """Delete up to `limit` jobs that ended longer ago with everything that hangs on them."""
    return await execute(
        conn,
        """
        WITH old AS (
            SELECT j.id
            FROM deep_briefing_jobs j
            WHERE j.completed_at < now() - make_interval(secs => %(keep_days)s * 86400.0)
              AND j.next_poll_at IS NULL
              AND j.queued_at IS NOT NULL
              AND j.reserved_usd = 0
            ORDER BY j.completed_at
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        )
        DELETE FROM deep_briefing_jobs j
        USING old
        WHERE j.id = old.id
        """,
        {"keep_days": keep_days, "limit": limit},
    )
