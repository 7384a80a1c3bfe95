"""What recall is compared with, in plain SQL on the same rows; returns the episodes' source ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aegis.db import Database

__all__ = ["bm25", "ts_rank"]


async def bm25(db: Database, question: str, namespace: str, limit: int) -> list[str]:
    """Return the best by BM25 (k1 1.2, b 0.75) over each memory alone, counted exactly."""
    return await _ids(
        db,
        """
        WITH words AS (
            SELECT w.lexeme FROM unnest(to_tsvector('english', %(question)s)) AS w
        ),
        texts AS (
            SELECT e.id, e.source_id, t.lexeme, cardinality(t.positions) AS count,
                   sum(cardinality(t.positions)) OVER (PARTITION BY e.id) AS length
            FROM episodic_memory e
            CROSS JOIN LATERAL unnest(to_tsvector('english', e.summary)) AS t
            WHERE e.namespace = %(namespace)s
        ),
        size AS (
            SELECT count(*)::float8 AS episodes, avg(length) AS length
            FROM (SELECT id, max(length) AS length FROM texts GROUP BY id) AS l
        ),
        matches AS (
            SELECT t.*, count(*) OVER (PARTITION BY t.lexeme) AS holders
            FROM texts t
            JOIN words w ON w.lexeme = t.lexeme
        )
        SELECT m.source_id
        FROM matches m
        CROSS JOIN size s
        GROUP BY m.id, m.source_id
        ORDER BY sum(
                     ln(1 + (s.episodes - m.holders + 0.5) / (m.holders + 0.5))
                     * m.count * 2.2
                     / (m.count + 1.2 * (0.25 + 0.75 * m.length / s.length))
                 ) DESC,
                 m.id
        LIMIT %(limit)s
        """,
        {"question": question, "namespace": namespace, "limit": limit},
    )


async def ts_rank(db: Database, question: str, namespace: str, limit: int) -> list[str]:
    """Return the best by `ts_rank` over the question's words, OR-ed."""
    return await _ids(
        db,
        """
        WITH asked AS (
            SELECT replace(plainto_tsquery('english', %(question)s)::text, '&', '|')::tsquery AS words
        )
        SELECT e.source_id
        FROM episodic_memory e
        CROSS JOIN asked
        WHERE e.namespace = %(namespace)s
          AND to_tsvector('english', e.summary) @@ asked.words
        ORDER BY ts_rank(to_tsvector('english', e.summary), asked.words) DESC, e.id
        LIMIT %(limit)s
        """,
        {"question": question, "namespace": namespace, "limit": limit},
    )


async def _ids(db: Database, statement: Any, params: dict[str, Any]) -> list[str]:
    async with db.transaction() as conn:
        cursor = await conn.execute(statement, params)
        return [row[0] for row in await cursor.fetchall()]
