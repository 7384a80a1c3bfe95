"""SQL that finds facts as they were believed in the past, by indexes.

Whatever an index finds, in the facts as they are or in what steps kept of them, is a candidate
only: what it was then is looked up by its id (`fact_past`), and ranked exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from aegis.memory.store.fact_past import BELIEVED, FIRST_STEPS, REWORDED, THEN_FOUND, VALID
from aegis.memory.store.fact_search import DISTANCE, nearest_facts, search_by_both

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.store.fact_search import FactSizes

__all__ = ["search_past"]

#: Whether what a step kept of a fact stood then.
_KEPT_STOOD: LiteralString = """
    coalesce(
        {before} IS NOT NULL
        AND coalesce(
            ({before} ->> 'created_at')::timestamptz,
            ({before} ->> 'updated_at')::timestamptz,
            to_timestamp(0)
        ) <= %(as_of)s
        AND coalesce(
            ({before} ->> 'valid_from')::timestamptz
                <= coalesce(%(valid_at)s::timestamptz, now()),
            true
        )
        AND coalesce(
            ({before} ->> 'valid_to')::timestamptz > coalesce(%(valid_at)s::timestamptz, now()),
            true
        )
        AND coalesce(({before} ->> 'expires_at')::timestamptz > now(), true),
        false
    )
"""
#: The same of the first later step of a fact; NULL without a later step. Whatever is asked of a
#: long value reads all of it again, unless it was made anew.
_STOOD: LiteralString = """
    (
        SELECT {kept_stood}
        FROM (
            SELECT k.before || '{{}}'::jsonb AS before
            FROM fact_history k
            WHERE k.fact_id = {id}
              AND k.at > %(as_of)s
            ORDER BY k.id
            LIMIT 1
        ) AS first
    )
"""
_SEARCH: LiteralString = """
WITH words AS MATERIALIZED (
    SELECT w.seek::tsquery AS seek, w.place
    FROM unnest(%(seeks)s::text[]) WITH ORDINALITY AS w (seek, place)
),
matches AS MATERIALIZED (
    SELECT w.place, m.id
    FROM words w
    CROSS JOIN LATERAL (
        SELECT f.id
        FROM semantic_memory f
        WHERE (
                array_to_tsvector(ARRAY[E'\\x01' || f.namespace])
                || to_tsvector('english', left(f.concept || ' ' || f.content, 100000))
              ) @@ w.seek
          AND f.namespace = %(namespace)s
          AND {stands}
        LIMIT %(common)s + 1
    ) AS m
    UNION
    SELECT w.place, m.id
    FROM words w
    CROSS JOIN LATERAL (
        SELECT h.fact_id AS id
        FROM fact_history h
        WHERE (
                array_to_tsvector(ARRAY[E'\\x01' || h.namespace])
                || to_tsvector(
                    'english',
                    left((h.before ->> 'concept') || ' ' || (h.before ->> 'content'), 100000)
                )
              ) @@ w.seek
          AND h.namespace = %(namespace)s
          AND h.at > %(as_of)s
          AND {reworded}
          AND {stood}
        LIMIT %(common)s + 1
    ) AS m
),
counted AS (
    SELECT c.place, sum(c.found) OVER (ORDER BY c.found, c.place) AS found_so_far
    FROM (SELECT place, count(*) AS found FROM matches GROUP BY place) AS c
    WHERE c.found <= %(common)s
),
worded AS (
    SELECT DISTINCT m.id
    FROM matches m
    JOIN counted c ON c.place = m.place
    WHERE c.found_so_far <= %(worded)s
),
near AS MATERIALIZED (
    {near}
),
-- Those whose vector was another one, or that are gone.
near_then AS MATERIALIZED (
    {near_then}
),
found AS MATERIALIZED (
    SELECT id FROM worded
    UNION
    SELECT id FROM near
    UNION
    SELECT id FROM near_then
),
scored AS (
    SELECT f.id,
           coalesce(greatest(0, 1 - ({distance})), 0) AS similarity,
           coalesce(
               ts_rank(
                   setweight(to_tsvector('english', f.concept), 'A')
                       || to_tsvector('english', left(f.content, 100000)),
                   %(query)s::tsquery
               ),
               0
           ) AS word_rank
    {then}
    WHERE f.namespace = %(namespace)s
      AND {believed}
      AND {valid}
)
SELECT s.id, s.similarity::float8, s.word_rank::float8, (SELECT count(*) FROM near)
FROM scored s
ORDER BY s.similarity + s.word_rank DESC, s.id DESC
LIMIT %(limit)s
"""

_NEAR_THEN: LiteralString = """
    SELECT n.id
    FROM (
        SELECT x.id, (later.before ->> 'embedding')::vector <=> %(vector)s::text::vector AS distance
        FROM (
"""
_NEAR_THEN_OF: LiteralString = """
        ) AS x
        CROSS JOIN LATERAL (
            SELECT h.before || '{{}}'::jsonb AS before
            FROM fact_history h
            WHERE h.id = x.step
            OFFSET 0
        ) AS later
        WHERE x.reworded
          AND later.before ->> 'embedding_model' = %(model)s
          AND {kept_stood}
    ) AS n
    WHERE n.distance IS NOT NULL
    ORDER BY n.distance, n.id DESC
    LIMIT %(near)s
"""


async def search_past(
    conn: Connection,
    *,
    namespace: str,
    query: str,
    vector: str | None,
    embedding_model: str | None,
    limit: int,
    as_of: datetime,
    valid_at: datetime | None,
    sizes: FactSizes,
    believed: int,
) -> list[tuple[int, float, float]] | None:
    """Return (id, similarity, word rank) of the best facts as they were, by both arms.

    `believed` is what `count_believed` says. None where too little was found: then they have to be
    read after all.
    """
    return await search_by_both(
        conn,
        _statement,
        namespace=namespace,
        query=query,
        vector=vector,
        embedding_model=embedding_model,
        limit=limit,
        facts=max(believed, 1),
        sizes=sizes,
        more={"as_of": as_of, "valid_at": valid_at},
    )


def _statement(vector: str | None, model: str | None, approximate: bool) -> sql.Composed:
    valid = sql.SQL(VALID)

    def stood(row_id: LiteralString) -> sql.Composed:
        kept = sql.SQL(_KEPT_STOOD).format(before=sql.SQL("first.before"))
        return sql.SQL(_STOOD).format(kept_stood=kept, id=sql.SQL(row_id))

    stands = sql.SQL("coalesce({}, {})").format(stood("f.id"), valid)
    # An index of when facts were recorded would only be read beside those of words and vectors.
    found_stands = sql.SQL("({}) IS TRUE AND {}").format(sql.SQL(BELIEVED), stands)
    distance = sql.SQL(DISTANCE if vector is not None else "NULL::float8")
    near_then = sql.SQL(_NEAR_THEN + FIRST_STEPS + _NEAR_THEN_OF).format(
        kept_stood=sql.SQL(_KEPT_STOOD).format(before=sql.SQL("later.before"))
    )
    if vector is None:
        near_then = sql.SQL("SELECT NULL::int AS id WHERE false")
    near = nearest_facts(
        vector,
        model,
        approximate=approximate,
        distance=distance,
        eligible=found_stands
        if approximate
        else sql.SQL("{} AND {}").format(sql.SQL(BELIEVED), stands),
    )
    return sql.SQL(_SEARCH).format(
        stands=found_stands,
        stood=stood("h.fact_id"),
        reworded=sql.SQL(REWORDED),
        near=near,
        near_then=near_then,
        distance=distance,
        then=sql.SQL(THEN_FOUND),
        believed=sql.SQL(BELIEVED),
        valid=valid,
    )
