"""What recall is compared with, in plain SQL on the same rows; returns the episodes' source ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from aegis.memory.store.search import lexeme_query

if TYPE_CHECKING:
    from aegis.db import Database

__all__ = ["bm25", "exact_hybrid", "ts_rank"]


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
            SELECT replace(plainto_tsquery('english', %(question)s)::text, '&', '|')::tsquery
                       AS words
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


async def exact_hybrid(
    db: Database, question: str, vector: str, weights: dict[str, float]
) -> list[int]:
    """Return the ids of the best ten by one pass over the namespace `default`, using no index.

    The same arithmetic as recall's, with exact document frequencies; of the neighbours only the
    one before and the one after.
    """
    async with db.transaction() as conn:
        for scan in ("indexscan", "indexonlyscan", "bitmapscan"):
            await conn.execute(
                sql.SQL("SET LOCAL {} = off").format(sql.Identifier(f"enable_{scan}"))
            )
        await conn.execute("SET LOCAL jit = off")
        cursor = await conn.execute(
            "SELECT lexeme FROM unnest(to_tsvector('english', %(question)s))",
            {"question": question},
        )
        words = [lexeme_query(row[0]) for row in await cursor.fetchall()]
        counts = sql.SQL(", ").join(
            sql.SQL("ts_rank(e.search, {}::tsquery) * 16.45").format(sql.Literal(word))
            for word in words
        )
        cursor = await conn.execute(
            sql.SQL(_ONE_PASS).format(counts=counts),
            {"vector": vector} | {f"w_{name}": value for name, value in weights.items()},
        )
        return [row[0] for row in await cursor.fetchall()]


_ONE_PASS: LiteralString = """
WITH scanned AS MATERIALIZED (
    SELECT e.id,
           e.session_id,
           e.timestamp,
           (length(e.search) - 1)::float8 AS terms,
           1 - (e.embedding <=> %(vector)s::vector) AS similarity,
           ARRAY[{counts}]::float8[] AS counts
    FROM episodic_memory e
    WHERE e.namespace = 'default'
),
size AS (
    SELECT count(*)::float8 AS episodes, avg(terms) AS mean FROM scanned
),
weighed AS (
    SELECT u.place,
           ln(1 + (min(s.episodes) - count(*) FILTER (WHERE u.count > 0) + 0.5)
                  / (count(*) FILTER (WHERE u.count > 0) + 0.5))::float8 AS idf
    FROM scanned
    CROSS JOIN size s
    CROSS JOIN LATERAL unnest(scanned.counts) WITH ORDINALITY AS u (count, place)
    GROUP BY u.place
),
idf AS (
    SELECT array_agg(idf ORDER BY place) AS each, sum(idf) AS total FROM weighed
),
placed AS (
    SELECT s.*,
           lag(s.counts) OVER run AS counts_before,
           lead(s.counts) OVER run AS counts_after,
           lag(s.terms) OVER run AS terms_before,
           lead(s.terms) OVER run AS terms_after,
           lag(s.similarity) OVER run AS before
    FROM scanned s
    WINDOW run AS (PARTITION BY s.session_id ORDER BY s.timestamp, s.id)
)
SELECT p.id
FROM placed p
CROSS JOIN size
CROSS JOIN idf
CROSS JOIN LATERAL (
    SELECT sum(w.idf * 2 * c.own / (c.own + 0.2 + 0.6 * p.terms / size.mean)) AS words,
           sum(CASE WHEN c.own > 0 THEN w.idf END) AS coverage,
           sum(w.idf * 2.2 * c.near
               / (c.near + 0.4 * (p.terms + coalesce(p.terms_before, size.mean)
                                  + coalesce(p.terms_after, size.mean)) / size.mean)) AS context
    FROM unnest(idf.each) WITH ORDINALITY AS w (idf, place)
    CROSS JOIN LATERAL (
        SELECT p.counts[w.place] AS own,
               p.counts[w.place] + coalesce(p.counts_before[w.place], 0)
               + coalesce(p.counts_after[w.place], 0) AS near
    ) AS c
) AS f
ORDER BY %(w_words)s * coalesce(f.words, 0) / sqrt(idf.total)
         + %(w_coverage)s * coalesce(f.coverage, 0) / idf.total
         + %(w_context)s * coalesce(f.context, 0) / sqrt(idf.total)
         + %(w_vector)s * p.similarity
         + %(w_before)s * coalesce(p.before, 0)
         + %(w_length)s * ln((p.terms + 5) / (size.mean + 5)) DESC
LIMIT 10
"""


async def _ids(db: Database, statement: Any, params: dict[str, Any]) -> list[str]:
    async with db.transaction() as conn:
        cursor = await conn.execute(statement, params)
        return [row[0] for row in await cursor.fetchall()]
