"""SQL that looks back on decisions: how alike they are, what is due, what was expected of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aegis.db import fetch_all
from aegis.memory.calibration import StatedConfidence
from aegis.memory.models import Decision
from aegis.memory.store.decisions import COLUMNS, as_decisions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = ["list_due", "list_similarities", "list_stated"]


async def list_similarities(
    conn: Connection,
    episode_ids: Sequence[int],
    *,
    question: str,
    vector: str | None,
    embedding_model: str | None,
) -> dict[int, float]:
    """Return how alike the question is to each of these episodes, by id.

    Cosine where the episode has a vector of the question's model; otherwise the share of the
    question's words that the episode holds.
    """
    cursor = await conn.execute(
        """
        WITH question AS (
            SELECT tsvector_to_array(to_tsvector('english', %(question)s)) AS words
        )
        SELECT
            e.id,
            -- Vectors of different models are never compared, nor those of different lengths.
            CASE
                WHEN e.embedding_model = %(embedding_model)s::text
                 AND vector_dims(e.embedding) = vector_dims(%(vector)s::vector)
                THEN 1 - (e.embedding <=> %(vector)s::vector)
                -- While the model is changed its vector may still be beside the row.
                ELSE (
                    SELECT 1 - (v.embedding <=> %(vector)s::vector)
                    FROM episodic_vectors v
                    WHERE v.id = e.id
                      AND v.model = %(embedding_model)s::text
                      AND vector_dims(v.embedding) = vector_dims(%(vector)s::vector)
                )
            END,
            (
                -- Hashed: a long question and a long text cost their sum, not their product.
                SELECT count(*)
                FROM (
                    SELECT unnest(q.words)
                    INTERSECT
                    SELECT unnest(tsvector_to_array(e.search))
                ) AS shared
            )::double precision / greatest(cardinality(q.words), 1)
        FROM episodic_memory e
        CROSS JOIN question q
        WHERE e.id = ANY(%(episode_ids)s)
        """,
        {
            "question": question,
            "vector": vector,
            "embedding_model": embedding_model,
            "episode_ids": list(episode_ids),
        },
    )
    # A vector of nothing but zeros is at no distance from anything: the driver says NaN.
    return {
        row_id: words if cosine is None or math.isnan(cosine) else cosine
        for row_id, cosine, words in await cursor.fetchall()
    }


async def list_due(
    conn: Connection,
    *,
    namespace: str,
    days: int,
    after: tuple[datetime, int] | None,
    limit: int,
) -> list[Decision]:
    """Return open decisions whose time has come, the longest waiting first.

    `after` is the time (`review_at`, else `created_at`) and the id of the last of the page before.
    """
    at, row_id = (None, 0) if after is None else after
    rows = await fetch_all(
        conn,
        Decision,
        "SELECT "
        + COLUMNS
        + """
        FROM decision_outcomes d
        WHERE d.namespace = %(namespace)s
          AND (d.outcome_status IS NULL OR d.outcome_status = 'pending')
          -- One that was closed without an outcome waits for none.
          AND d.resolved_at IS NULL
          -- The first two are what the index reads; the third only drops the last few of it.
          AND coalesce(d.review_at, d.created_at, to_timestamp(0)) <= now()
          AND (coalesce(d.review_at, d.created_at, to_timestamp(0)), d.id)
              > (coalesce(%(after)s::timestamptz, '-infinity'), %(after_id)s)
          AND (
              d.review_at IS NOT NULL
              OR coalesce(d.created_at, to_timestamp(0)) <= now() - make_interval(days => %(days)s)
          )
        ORDER BY coalesce(d.review_at, d.created_at, to_timestamp(0)), d.id
        LIMIT %(limit)s
        """,
        {
            "namespace": namespace,
            "days": days,
            "after": at,
            "after_id": row_id,
            "limit": limit,
        },
    )
    return as_decisions(rows)


async def list_stated(conn: Connection, *, namespace: str) -> list[StatedConfidence]:
    """Return, per stated confidence, how many decisions stated it and how those ended."""
    return await fetch_all(
        conn,
        StatedConfidence,
        """
        SELECT
            d.confidence,
            count(*) AS decisions,
            count(*) FILTER (WHERE d.outcome_status = 'success') AS successes,
            count(*) FILTER (WHERE d.outcome_status = 'partial') AS partials
        FROM decision_outcomes d
        WHERE d.namespace = %(namespace)s
          AND d.confidence IS NOT NULL
          AND d.outcome_status IN ('success', 'partial', 'failure')
        GROUP BY d.confidence
        ORDER BY d.confidence
        """,
        {"namespace": namespace},
    )
