"""SQL that ends jobs: results, calls, sources, citations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from aegis.db import Connection
    from aegis.research.models import Call, Citation, Cost, JobRow, Source

__all__ = ["end_job", "insert_citations", "insert_sources", "sum_calls", "upsert_call"]


async def end_job(
    conn: Connection,
    job: JobRow,
    *,
    status: str,
    result: Mapping[str, Any] | None,
    remote_id: str | None,
    cost_usd: Decimal | None,
    cost_detail: Mapping[str, Any],
    error: str | None,
    error_code: str | None,
    more: bool,
) -> bool:
    """Write a job's end, unless it is not held any more; `more` leaves it due, to be remembered.

    What was kept free for it is settled by the caller, in the same transaction.
    """
    touched = await execute(
        conn,
        """
        UPDATE deep_briefing_jobs
        SET status = %(status)s,
            result = %(result)s,
            remote_id = coalesce(%(remote_id)s, remote_id),
            cost_usd = round(%(cost_usd)s::numeric, 4),
            exact_cost_usd = %(cost_usd)s,
            cost_detail = %(cost_detail)s,
            error = %(error)s,
            error_code = %(error_code)s,
            completed_at = now(),
            reserved_usd = 0,
            checkpoint = NULL,
            sent_at = NULL,
            next_poll_at = CASE WHEN %(more)s THEN now() END,
            lease_owner = CASE WHEN %(more)s THEN lease_owner END,
            lease_until = CASE WHEN %(more)s THEN lease_until END
        WHERE id = %(id)s::uuid
          AND token = %(token)s
          AND status IN ('pending', 'running')
        """,
        {
            "id": job.id,
            "token": job.token,
            "status": status,
            "result": None if result is None else Jsonb(dict(result)),
            "remote_id": remote_id,
            "cost_usd": cost_usd,
            "cost_detail": Jsonb(dict(cost_detail)),
            "error": error,
            "error_code": error_code,
            "more": more,
        },
    )
    return touched == 1


async def upsert_call(conn: Connection, job: JobRow, call: Call, cost: Cost) -> None:
    """Store what a call used and cost; read again, its figures replace those before."""
    await conn.execute(
        """
        INSERT INTO research_calls AS c (
            job_id, call_key, provider, model, usage, cost_usd, cost_source, cost_detail
        )
        VALUES (
            %(job_id)s::uuid, %(key)s, %(provider)s, %(model)s, %(usage)s, %(usd)s, %(source)s,
            %(detail)s
        )
        ON CONFLICT (job_id, call_key) DO UPDATE
        SET usage = excluded.usage,
            model = excluded.model,
            cost_usd = excluded.cost_usd,
            cost_source = excluded.cost_source,
            cost_detail = excluded.cost_detail
        """,
        {
            "job_id": job.id,
            "key": call.key[:500],
            "provider": job.provider,
            "model": (call.model or job.model or "")[:200] or None,
            "usage": Jsonb(dict(call.usage)),
            "usd": cost.usd,
            "source": cost.source,
            "detail": Jsonb(dict(cost.detail)),
        },
    )


async def sum_calls(conn: Connection, job_id: str) -> Decimal:
    """Return what the calls of a job cost so far, as far as that is known."""
    return await fetch_value(
        conn,
        """
        SELECT trim_scale(coalesce(sum(c.cost_usd), 0))
        FROM research_calls c
        WHERE c.job_id = %(id)s::uuid
        """,
        {"id": job_id},
    )


async def insert_sources(conn: Connection, job_id: str, sources: Sequence[Source]) -> None:
    """Store the sources of a report, numbered in their order."""
    async with conn.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO research_sources (
                job_id, position, kind, url, episode_id, title, snippet, published
            )
            VALUES (%s::uuid, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (job_id, at, s.kind, s.url, s.episode_id, s.title, s.snippet, s.published)
                for at, s in enumerate(sources, 1)
            ],
        )


async def insert_citations(conn: Connection, job_id: str, citations: Sequence[Citation]) -> None:
    """Store the citations of a report, numbered in their order."""
    async with conn.cursor() as cursor:
        await cursor.executemany(
            """
            INSERT INTO research_citations (
                job_id, position, source_position, url, episode_id, title, cited_text, start_char,
                end_char, verified
            )
            VALUES (%s::uuid, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    job_id,
                    at,
                    c.source_position,
                    c.url,
                    c.episode_id,
                    c.title,
                    c.cited_text,
                    c.start_char,
                    c.end_char,
                    c.verified,
                )
                for at, c in enumerate(citations, 1)
            ],
        )
