"""Facts with a past, and the slow way to read it: all of a namespace."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aegis.db import Connection

MODEL = "all-MiniLM-L6-v2-onnx-int8"
ROWS = 12_000
START = datetime(2024, 1, 1, tzinfo=UTC)

# The slow way: every fact of the namespace, each before the first later step of its history.
_THEN = """
    FROM (
        SELECT c.*
        FROM semantic_memory c
        WHERE c.namespace = %(namespace)s
          AND NOT EXISTS (
              SELECT FROM fact_history h
              WHERE h.fact_id = c.id
                AND h.at > %(as_of)s
          )
        UNION ALL
        SELECT was.*
        FROM (
            SELECT DISTINCT ON (h.fact_id) h.before
            FROM fact_history h
            WHERE h.namespace = %(namespace)s
              AND h.at > %(as_of)s
            ORDER BY h.fact_id, h.id
        ) AS first_later
        CROSS JOIN LATERAL jsonb_populate_record(
            NULL::semantic_memory, first_later.before
        ) AS was
        WHERE first_later.before IS NOT NULL
    ) AS f
    WHERE f.namespace = %(namespace)s
      AND coalesce(f.created_at, f.updated_at, 'epoch') <= %(as_of)s
      AND (f.valid_from IS NULL OR f.valid_from <= coalesce(%(valid_at)s::timestamptz, now()))
      AND (f.valid_to IS NULL OR f.valid_to > coalesce(%(valid_at)s::timestamptz, now()))
      AND (f.expires_at IS NULL OR f.expires_at > now())
"""
SEARCH = (
    """
    WITH words AS (
        SELECT string_agg(quote_literal(lexeme), ' | ')::tsquery AS query
        FROM unnest(to_tsvector('english', %(query)s))
    ),
    scored AS (
        SELECT f.id,
               CASE WHEN f.embedding_model = %(model)s::text
                    THEN greatest(0, 1 - (f.embedding <=> %(vector)s::vector))
                    ELSE 0
               END AS similarity,
               coalesce(
                   ts_rank(
                       setweight(to_tsvector('english', f.concept), 'A')
                           || to_tsvector('english', f.content),
                       (SELECT query FROM words)
                   ),
                   0
               ) AS word_rank
    """
    + _THEN
    + """
    )
    SELECT id, coalesce(similarity, 0)::float8, word_rank::float8
    FROM scored
    ORDER BY coalesce(similarity, 0) + word_rank DESC, id DESC
    LIMIT %(limit)s
    """
)
LIST = (
    "SELECT f.id, f.content "
    + _THEN
    + """
      AND (%(concept)s::text IS NULL OR f.concept = %(concept)s)
      AND (%(category)s::text IS NULL OR f.category = %(category)s)
      AND (%(tags)s::text[] IS NULL OR f.tags @> %(tags)s::text[])
    ORDER BY f.updated_at DESC NULLS LAST, f.id DESC
    LIMIT %(limit)s OFFSET %(offset)s
    """
)


async def slowly(conn: Connection, statement: str, **params: Any) -> list[Any]:
    cursor = await conn.execute(statement.encode(), params)
    return await cursor.fetchall()


#: A fact is recorded, confirmed, ended, reworded or deleted, each some days after the other.
FILL = (
    """
    INSERT INTO semantic_memory (
        concept, content, namespace, category, tags, confidence, embedding, embedding_model,
        created_at, updated_at, valid_from
    )
    SELECT 'subject' || i % 40,
           'known since word' || i % 120 || ' rare' || i,
           %(namespace)s,
           CASE WHEN i % 3 = 0 THEN 'odd' END,
           CASE WHEN i % 4 = 0 THEN ARRAY['t'] END,
           0.5,
           v.vector,
           %(model)s,
           t.at, t.at, t.at
    FROM generate_series(1, %(rows)s) AS i
    CROSS JOIN LATERAL (
        SELECT %(start)s::timestamptz + i * (interval '600 days' / %(rows)s) AS at
    ) AS t
    CROSS JOIN LATERAL (
        SELECT array_agg(
                   sin((i / 60) * (d % 97 + 1) * 12.9898 + d) + 2 * (random() - 0.5)
               )::vector AS vector
        FROM generate_series(1, 384) AS d
    ) AS v
    """,
    """
    INSERT INTO fact_history (fact_id, namespace, action, before, at)
    SELECT s.id, s.namespace, s.action, s.before, s.at
    FROM (
        SELECT f.id, f.namespace, 'created' AS action, NULL::jsonb AS before, f.created_at AS at
        FROM semantic_memory f
        WHERE f.id % 9 > 0
        UNION ALL
        SELECT f.id, f.namespace, 'merged', to_jsonb(f) || '{"confidence": 0.4}',
               f.created_at + interval '20 days'
        FROM semantic_memory f
        WHERE f.id % 10 = 5
        UNION ALL
        SELECT f.id, f.namespace, 'superseded', to_jsonb(f), f.created_at + interval '30 days'
        FROM semantic_memory f
        WHERE f.id % 10 = 0
        UNION ALL
        SELECT f.id, f.namespace, 'updated',
               to_jsonb(f) || jsonb_build_object(
                   'content', 'formerly old' || f.id,
                   'concept', 'subject' || f.id % 7,
                   'embedding', g.embedding::text
               ),
               f.created_at + interval '40 days'
        FROM semantic_memory f
        JOIN semantic_memory g ON g.id = f.id + 60
        WHERE f.id % 10 = 3
        UNION ALL
        SELECT f.id, f.namespace, 'deleted', to_jsonb(f), f.created_at + interval '60 days'
        FROM semantic_memory f
        WHERE f.id % 25 = 7
    ) AS s
    ORDER BY s.at, s.id
    """,
    """
    UPDATE semantic_memory
    SET valid_to = created_at + interval '30 days', updated_at = created_at + interval '30 days'
    WHERE id % 10 = 0
    """,
    "DELETE FROM semantic_memory WHERE id % 25 = 7",
)
