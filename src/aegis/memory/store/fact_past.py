"""SQL that finds facts as they were believed in the past, by indexes.

A fact was then what its first later step kept of it; one without a later step is as it was. So
whatever an index finds, in the facts as they are or in what steps kept, is a candidate only: what
it was then is looked up by its id, and ranked exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from aegis.db import fetch_all
from aegis.memory.models import Fact
from aegis.memory.store.fact_search import (
    COMMON,
    EF_SEARCH,
    NEAR,
    SMALL,
    WORDED,
    list_words,
)
from aegis.memory.store.facts import COLUMNS
from aegis.memory.store.search import lexeme_query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.store.fact_search import FactSizes

__all__ = ["BELIEVED", "THEN", "count_believed", "get_past", "list_past", "search_past"]

#: When a fact was recorded, as `idx_semantic_recorded` has it.
_RECORDED: LiteralString = "coalesce(f.created_at, f.updated_at, to_timestamp(0))"
BELIEVED: LiteralString = _RECORDED + " <= %(as_of)s"
#: Holds at `valid_at`, which is now if None.
_VALID: LiteralString = """
    (f.valid_from IS NULL OR f.valid_from <= coalesce(%(valid_at)s::timestamptz, now()))
    AND (f.valid_to IS NULL OR f.valid_to > coalesce(%(valid_at)s::timestamptz, now()))
    AND (f.expires_at IS NULL OR f.expires_at > now())
"""
#: Steps that may have changed the words or the vector, as the indexes of `fact_history` have it.
_REWORDED: LiteralString = "h.action IN ('updated', 'restored', 'deleted')"

#: Facts without a later step, which are as they were.
_UNCHANGED: LiteralString = """
    SELECT c.*
    FROM semantic_memory c
    WHERE c.namespace = %(namespace)s
      AND coalesce(c.created_at, c.updated_at, to_timestamp(0)) <= %(as_of)s
      AND NOT EXISTS (
          SELECT FROM fact_history h
          WHERE h.fact_id = c.id
            AND h.at > %(as_of)s
      )
"""
#: What facts `x (id)` with a later step were.
_CHANGED: LiteralString = """
    CROSS JOIN LATERAL (
        SELECT h.before
        FROM fact_history h
        WHERE h.fact_id = x.id
          AND h.at > %(as_of)s
        ORDER BY h.id
        LIMIT 1
    ) AS later
    CROSS JOIN LATERAL jsonb_populate_record(NULL::semantic_memory, later.before) AS was
    WHERE later.before IS NOT NULL
"""
#: The first later step of each fact that was there then, told by `idx_fact_history_steps` alone.
_FIRST_STEPS: LiteralString = """
    SELECT h.fact_id AS id,
           min(h.id) AS step,
           bool_or(h.action IN ('updated', 'restored', 'deleted')) AS reworded
    FROM fact_history h
    WHERE h.namespace = %(namespace)s
      AND h.at > %(as_of)s
    GROUP BY h.fact_id
    HAVING min(h.id) IS DISTINCT FROM min(h.id) FILTER (WHERE h.action = 'created')
"""
_ALL_CHANGED: LiteralString = (
    "SELECT was.* FROM ("
    + _FIRST_STEPS
    + """) AS x
    CROSS JOIN LATERAL (
        SELECT h.before
        FROM fact_history h
        WHERE h.id = x.step
        OFFSET 0
    ) AS later
    CROSS JOIN LATERAL jsonb_populate_record(NULL::semantic_memory, """
)
_AS_WAS: LiteralString = ") AS was WHERE later.before IS NOT NULL\n"
#: Every fact of a namespace as it was.
THEN: LiteralString = (
    "FROM (" + _UNCHANGED + "UNION ALL " + _ALL_CHANGED + "later.before" + _AS_WAS + ") AS f\n"
)
#: Facts of `found (id)` as they were.
_THEN_FOUND: LiteralString = (
    "FROM ("
    + _UNCHANGED
    + "AND c.id IN (SELECT id FROM found) UNION ALL SELECT was.* FROM found AS x"
    + _CHANGED
    + ") AS f\n"
)

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


async def count_believed(conn: Connection, *, namespace: str, as_of: datetime, facts: int) -> int:
    """Return how many of a namespace's `facts` were recorded by then.

    Counted up to one more than `SMALL`, which reads each; beyond that as the planner believes.
    """
    cursor = await conn.execute(
        """
        SELECT (
                   SELECT count(*)
                   FROM (
                       SELECT 1
                       FROM semantic_memory f
                       WHERE f.namespace = %(namespace)s
                         AND
        """
        + BELIEVED
        + """
                       -- An order that the index has.
                       ORDER BY
        """
        + _RECORDED
        + """
                       LIMIT %(bound)s
                   ) AS bounded
               ),
               (
                   SELECT width_bucket(
                              %(as_of)s::timestamptz, s.histogram_bounds::text::timestamptz[]
                          )::float8 / cardinality(s.histogram_bounds::text::timestamptz[])
                   FROM pg_stats s
                   WHERE s.schemaname = current_schema()
                     AND s.tablename = 'idx_semantic_recorded'
                     AND s.attname = 'coalesce'
               )
        """,
        {"namespace": namespace, "as_of": as_of, "bound": SMALL + 1},
    )
    row: Any = await cursor.fetchone()
    if row[0] <= SMALL:
        return row[0]
    return max(row[0], round(facts * (1.0 if row[1] is None else row[1])))


async def get_past(
    conn: Connection, ids: Sequence[int], *, namespace: str, as_of: datetime
) -> list[Fact]:
    """Return the namespace's facts of these ids as they were, in no order."""
    return await fetch_all(
        conn,
        Fact,
        "WITH found AS MATERIALIZED (SELECT unnest(%(ids)s::int[]) AS id) SELECT "
        + COLUMNS
        + _THEN_FOUND
        + "WHERE f.namespace = %(namespace)s",
        {"ids": list(ids), "namespace": namespace, "as_of": as_of},
    )


#: Facts that had a concept: those that have it, and those of which a step kept that they did.
_OF_CONCEPT: LiteralString = """
    WITH found AS MATERIALIZED (
        SELECT f.id
        FROM semantic_memory f
        WHERE f.namespace = %(namespace)s
          AND f.concept = %(concept)s
        UNION
        SELECT h.fact_id
        FROM fact_history h
        WHERE h.namespace = %(namespace)s
          AND h.before ->> 'concept' = %(concept)s
          AND h.at > %(as_of)s
          AND
"""
_MATCHING: LiteralString = (
    "f.namespace = %(namespace)s AND "
    + BELIEVED
    + " AND "
    + _VALID
    + """
      AND (%(concept)s::text IS NULL OR f.concept = %(concept)s)
      AND (%(category)s::text IS NULL OR f.category = %(category)s)
      AND (%(tags)s::text[] IS NULL OR f.tags @> %(tags)s::text[])
    """
)
_ORDER: LiteralString = "ORDER BY f.updated_at DESC NULLS LAST, f.id DESC\n"


async def list_past(
    conn: Connection,
    *,
    namespace: str,
    concept: str | None,
    category: str | None,
    tags: Sequence[str],
    limit: int,
    offset: int,
    as_of: datetime,
    valid_at: datetime | None,
) -> list[Fact]:
    """Return facts as they were, those last updated by then first."""
    params: dict[str, Any] = {
        "namespace": namespace,
        "concept": concept,
        "category": category,
        "tags": list(tags) or None,
        "limit": limit,
        "offset": offset,
        "as_of": as_of,
        "valid_at": valid_at,
        "most": limit + offset,
    }
    if concept is not None:
        return await fetch_all(
            conn,
            Fact,
            _OF_CONCEPT + _REWORDED + ") SELECT " + COLUMNS + _THEN_FOUND + "WHERE "
            + _MATCHING + _ORDER + "LIMIT %(limit)s OFFSET %(offset)s",
            params,
        )  # fmt: skip
    # Each part in its own order, so that an index gives the first of the larger one; vectors are
    # read of the page alone.
    return await fetch_all(
        conn,
        Fact,
        "WITH found AS MATERIALIZED (SELECT p.id FROM ((SELECT f.id, f.updated_at FROM ("
        + _UNCHANGED + ") AS f WHERE " + _MATCHING + _ORDER + "LIMIT %(most)s) UNION ALL "
        + "(SELECT f.id, f.updated_at FROM (" + _ALL_CHANGED + "later.before - 'embedding'"
        + _AS_WAS + ") AS f WHERE " + _MATCHING + _ORDER + "LIMIT %(most)s)) AS p "
        + "ORDER BY p.updated_at DESC NULLS LAST, p.id DESC LIMIT %(limit)s OFFSET %(offset)s) "
        + "SELECT " + COLUMNS + _THEN_FOUND + "WHERE f.namespace = %(namespace)s " + _ORDER,
        params,
    )  # fmt: skip


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

_DISTANCE: LiteralString = """
    CASE
        WHEN f.embedding_model = %(model)s::text
        THEN f.embedding <=> %(vector)s::text::vector
        ELSE (
            SELECT v.embedding <=> %(vector)s::text::vector
            FROM semantic_vectors v
            WHERE v.id = f.id
              AND v.model = %(model)s::text
        )
    END
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
    words = await list_words(conn, query)
    near = max(NEAR, limit)
    facts = max(believed, 1)
    approximate = (
        vector is not None
        and sizes.iterative
        and not sizes.mixed
        and 3 * near * max(sizes.table_rows, facts) / facts < facts
    )
    if approximate:
        await conn.execute(
            "SELECT set_config('hnsw.ef_search', %(ef)s, true), "
            "set_config('hnsw.iterative_scan', 'relaxed_order', true)",
            {"ef": str(min(1_000, max(EF_SEARCH, limit)))},
        )
    params: dict[str, Any] = {
        "seeks": [f"{lexeme_query(chr(1) + namespace)} & {lexeme_query(w)}" for w in words],
        "query": " | ".join(map(lexeme_query, words)),
        "namespace": namespace,
        "as_of": as_of,
        "valid_at": valid_at,
        "common": COMMON,
        "worded": WORDED,
        "near": near,
        "vector": vector,
        "model": embedding_model,
        "limit": limit,
    }
    while True:
        statement = _statement(vector, embedding_model, approximate=approximate)
        cursor = await conn.execute(statement, params, prepare=False)
        rows = await cursor.fetchall()
        found = rows[0][3] if rows else 0
        if not approximate or found >= near:
            break
        # The graph gave up on what else is in the table.
        approximate = False
    if len(rows) < limit:
        return None
    return [(row[0], row[1], row[2]) for row in rows]


def _statement(vector: str | None, model: str | None, *, approximate: bool) -> sql.Composed:
    valid = sql.SQL(_VALID)

    def stood(row_id: LiteralString) -> sql.Composed:
        kept = sql.SQL(_KEPT_STOOD).format(before=sql.SQL("first.before"))
        return sql.SQL(_STOOD).format(kept_stood=kept, id=sql.SQL(row_id))

    stands = sql.SQL("coalesce({}, {})").format(stood("f.id"), valid)
    # An index of when facts were recorded would only be read beside those of words and vectors.
    found_stands = sql.SQL("({}) IS TRUE AND {}").format(sql.SQL(BELIEVED), stands)
    distance = sql.SQL(_DISTANCE if vector is not None else "NULL::float8")
    near_then = sql.SQL(_NEAR_THEN + _FIRST_STEPS + _NEAR_THEN_OF).format(
        kept_stood=sql.SQL(_KEPT_STOOD).format(before=sql.SQL("later.before"))
    )
    if vector is None:
        near = near_then = sql.SQL("SELECT NULL::int AS id WHERE false")
    elif approximate:
        kind = sql.SQL("halfvec({})").format(sql.Literal(vector.count(",") + 1))
        near = sql.SQL(
            "SELECT f.id FROM semantic_memory f WHERE f.embedding_model = {model} "
            "AND f.namespace = %(namespace)s AND {stands} "
            "ORDER BY f.embedding::{kind} <=> %(vector)s::text::{kind} LIMIT %(near)s"
        ).format(model=sql.Literal(model), kind=kind, stands=found_stands)
    else:
        near = sql.SQL(
            "SELECT n.id FROM (SELECT f.id, {distance} AS distance FROM semantic_memory f "
            "WHERE f.namespace = %(namespace)s AND {believed} AND {stands} OFFSET 0) AS n "
            "WHERE n.distance IS NOT NULL ORDER BY n.distance, n.id DESC LIMIT %(near)s"
        ).format(distance=distance, believed=sql.SQL(BELIEVED), stands=stands)
    return sql.SQL(_SEARCH).format(
        stands=found_stands,
        stood=stood("h.fact_id"),
        reworded=sql.SQL(_REWORDED),
        near=near,
        near_then=near_then,
        distance=distance,
        then=sql.SQL(_THEN_FOUND),
        believed=sql.SQL(BELIEVED),
        valid=valid,
    )
