"""The long statements of recall, composed once for each shape of question.

A shape is which filters, how many words, which vectors, exact or not. Values stay parameters;
what a partial index asks for is a literal. Lists and limits are queries of their own, so that one
plan is as good as one for these values. psycopg remembers a statement of less than 4 kB.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from aegis.memory.store.search_conditions import conditions_of, formatted, inside
from aegis.memory.store.space import (
    Space,
    comparable,
    mixed_exact,
    mixed_nearest,
    sampled_nearer,
    similarity_of,
    sketched_nearest,
    vector_of,
)

if TYPE_CHECKING:
    from aegis.memory.models import Metric

__all__ = [
    "Space",
    "descriptions_sql",
    "measured_sql",
    "missed_sql",
    "near_sql",
    "nearest_sql",
    "newest_sql",
    "undated_sql",
    "worded_sql",
]


@lru_cache(maxsize=256)
def worded_sql(filters: tuple[str, ...], *, exactly: bool, echoes: bool) -> bytes:
    """Return the statement of `find_worded`; `exactly` counts words over the namespace, all.

    `echoes` lets those through; where there are none, not asking after them is quicker.
    """
    conditions = conditions_of(filters, echoes=echoes)
    return formatted(
        _WORDED,
        eligible=conditions,
        # Counting words is for the namespace; looking for memories is for the filter.
        inside=conditions if filters and not exactly else inside(echoes=echoes),
        # A limit lets the planner hope to be done early by reading the whole table.
        most=sql.SQL("OFFSET 0" if exactly else "LIMIT w.cap"),
    )


@lru_cache(maxsize=256)
def near_sql(
    filters: tuple[str, ...],
    space: Space,
    *,
    approximate: bool,
    sketches: int,
    echoes: bool,
    limit: int,
) -> bytes:
    """Return the statement of `find_near`; with `sketches` it reads the vectors that they tell."""
    conditions = conditions_of(filters, echoes=echoes)
    if sketches:
        near = sketched_nearest(conditions, space, sketches=sketches, limit=limit)
    else:
        near = _nearest(
            # One plan for every namespace: the graph, whatever else an index could do.
            inside(echoes=echoes) if approximate and not filters else conditions,
            space,
            approximate=approximate,
            limit=limit,
        )
    return formatted("SELECT coalesce(array_agg(n.id), '{{}}') FROM ({near}) AS n", near=near)


@lru_cache(maxsize=256)
def missed_sql(filters: tuple[str, ...], space: Space, *, echoes: bool) -> bytes:
    """Return the statement of `has_missed`."""
    conditions = conditions_of(filters, echoes=echoes)
    return formatted("{nearer}", nearer=sampled_nearer(conditions, space))


@lru_cache(maxsize=256)
def descriptions_sql(
    filters: tuple[str, ...],
    words: int,
    space: Space | None,
    *,
    echoes: bool,
    characters: int = 0,
) -> bytes:
    """Return the statement of `describe`; `characters` of each text come along, if any."""
    text = sql.SQL("left(e.summary, {})").format(sql.Literal(characters))
    counts = sql.SQL(", ").join(
        sql.SQL("ts_rank(e.search, a.words[{}]) * %(unit)s::float8").format(sql.Literal(i + 1))
        for i in range(words)
    )
    return formatted(
        _DESCRIPTIONS,
        eligible=conditions_of(filters, echoes=echoes),
        counts=counts if words else sql.SQL("0"),
        similarity=similarity_of(space),
        text=text if characters else sql.SQL("NULL::text"),
        texts=sql.SQL("array_agg(d.text)" if characters else "NULL::text[]"),
    )


@lru_cache(maxsize=256)
def nearest_sql(
    filters: tuple[str, ...], space: Space, *, metric: Metric, approximate: bool
) -> bytes:
    """Return the statement of `find_nearest`."""
    nearest = _nearest(conditions_of(filters), space, approximate=approximate, metric=metric)
    return formatted(_NEAREST, near=nearest, operator=_OPERATORS[metric], vector=vector_of(space))


@lru_cache(maxsize=256)
def measured_sql(space: Space) -> bytes:
    """Return the statement of `measure`."""
    given = sql.SQL("SELECT DISTINCT unnest(%(ids)s::int[]) AS id")
    return formatted(_NEAREST, near=given, operator=_OPERATORS["cosine"], vector=vector_of(space))


@lru_cache(maxsize=256)
def newest_sql(filters: tuple[str, ...], *, echoes: bool) -> bytes:
    """Return the statement of `find_newest`."""
    return formatted(_NEWEST, conditions=conditions_of(filters, echoes=echoes))


@lru_cache(maxsize=256)
def undated_sql(filters: tuple[str, ...], *, echoes: bool) -> bytes:
    """Return the statement of those without a time."""
    return formatted(_UNDATED, conditions=conditions_of(filters, echoes=echoes))


_WORDED: LiteralString = """
WITH words AS MATERIALIZED (
    SELECT w.seek::tsquery AS seek,
           w.word::tsquery AS word,
           w.idf, w.cap, w.place
    FROM unnest(
        (SELECT %(seeks)s::text[]), (SELECT %(words)s::text[]),
        (SELECT %(idf)s::float8[]), (SELECT %(caps)s::int[])
    ) WITH ORDINALITY AS w (seek, word, idf, cap, place)
),
matches AS MATERIALIZED (
    SELECT w.place, m.id, m.timestamp, m.eligible, m.count, m.terms
    FROM words w
    CROSS JOIN LATERAL (
        SELECT e.id, e.timestamp, ({eligible}) AS eligible,
               ts_rank(e.search, w.word) * %(unit)s::float8 AS count,
               length(e.search) - 1 AS terms
        FROM episodic_memory e
        WHERE e.search @@ w.seek
          AND {inside}
        {most}
    ) AS m
),
counted AS (
    SELECT w.place,
           count(m.id) AS episodes,
           coalesce(
               w.idf,
               ln(1 + (greatest(%(episodes)s - count(m.id), 0) + 0.5) / (count(m.id) + 0.5))
           )::float8 AS idf
    FROM words w
    LEFT JOIN matches m ON m.place = w.place
    GROUP BY w.place, w.idf
),
worded AS (
    SELECT m.id
    FROM matches m
    JOIN counted c ON c.place = m.place
    WHERE m.eligible
    GROUP BY m.id
    ORDER BY sum(
                 c.idf * m.count
                 / (m.count + 0.2::float8 + 0.6::float8 * m.terms / %(mean_terms)s::float8)
             ) DESC,
             max(m.timestamp) DESC NULLS LAST, m.id DESC
    LIMIT (SELECT %(worded_limit)s::bigint)
)
SELECT (SELECT coalesce(array_agg(w.id), '{{}}') FROM worded w),
       (SELECT coalesce(array_agg(c.episodes ORDER BY c.place), '{{}}') FROM counted c)
"""

# Only primary keys and sessions are looked up here, so one plan serves every call.
_DESCRIPTIONS: LiteralString = """
WITH asked AS MATERIALIZED (
    SELECT %(vector)s::text::vector AS vector,
           %(words)s::text[]::tsquery[] AS words
),
runs AS MATERIALIZED (
    SELECT ARRAY[before.ids[2], before.ids[1], e.id, after.ids[1], after.ids[2]] AS run
    FROM unnest(%(ids)s::int[]) AS c (id)
    JOIN episodic_memory e ON e.id = c.id
    CROSS JOIN LATERAL (
        SELECT ARRAY(
            SELECT o.id
            FROM episodic_memory o
            WHERE o.namespace = e.namespace
              AND o.session_id = e.session_id
              AND (o.timestamp, o.id) < (e.timestamp, e.id)
            ORDER BY o.timestamp DESC, o.id DESC
            LIMIT %(depth)s
        ) AS ids
        OFFSET 0
    ) AS before
    CROSS JOIN LATERAL (
        SELECT ARRAY(
            SELECT o.id
            FROM episodic_memory o
            WHERE o.namespace = e.namespace
              AND o.session_id = e.session_id
              AND (o.timestamp, o.id) > (e.timestamp, e.id)
            ORDER BY o.timestamp, o.id
            LIMIT %(depth)s
        ) AS ids
        OFFSET 0
    ) AS after
),
members AS (
    SELECT DISTINCT u.id
    FROM runs r
    CROSS JOIN LATERAL unnest(r.run) AS u (id)
    WHERE u.id IS NOT NULL
),
described AS (
    SELECT e.id,
           ARRAY[{counts}]::float4[] AS counts,
           length(e.search) - 1 AS terms,
           ({similarity})::float4 AS similarity,
           extract(epoch FROM e.timestamp)::float8 AS time,
           coalesce(e.importance, 'medium')::text AS importance,
           coalesce({eligible}, false) AS eligible,
           {text} AS text
    FROM members m
    JOIN episodic_memory e ON e.id = m.id
    CROSS JOIN asked a
)
SELECT coalesce(array_agg(d.id), '{{}}'),
       array_agg(d.counts),
       coalesce(array_agg(d.terms), '{{}}'),
       coalesce(array_agg(d.similarity), '{{}}'),
       coalesce(array_agg(d.time), '{{}}'),
       coalesce(array_agg(d.importance), '{{}}'),
       coalesce(array_agg(d.eligible), '{{}}'),
       (SELECT coalesce(array_agg(r.run), '{{}}') FROM runs r),
       coalesce({texts}, '{{}}')
FROM described d
"""

_NEAREST: LiteralString = """
WITH near AS MATERIALIZED (
    {near}
)
SELECT e.id, (({vector}) {operator} %(vector)s::text::vector)::float8 AS distance
FROM near
JOIN episodic_memory e ON e.id = near.id
ORDER BY distance, e.timestamp DESC NULLS LAST, e.id DESC
LIMIT %(limit)s
"""

_NEWEST: LiteralString = """
SELECT e.id
FROM episodic_memory e
WHERE {conditions}
  AND e.timestamp IS NOT NULL
  AND e.id <> ALL(%(but)s::int[])
ORDER BY e.timestamp DESC, e.id DESC
LIMIT %(limit)s
"""

_UNDATED: LiteralString = """
SELECT e.id
FROM episodic_memory e
WHERE {conditions}
  AND e.timestamp IS NULL
  AND e.id <> ALL(%(but)s::int[])
ORDER BY e.id DESC
LIMIT %(limit)s
"""

_OPERATORS: dict[Metric, sql.SQL] = {
    "cosine": sql.SQL("<=>"),
    "l2": sql.SQL("<->"),
    "inner_product": sql.SQL("<#>"),
}


def _nearest(
    conditions: sql.Composable,
    space: Space,
    *,
    approximate: bool,
    metric: Metric = "cosine",
    limit: int | None = None,
) -> sql.Composable:
    """Return the statement of the vectors; a `limit` of its own is a constant to the planner."""
    # The expressions of the HNSW indexes, and one that no index has.
    if approximate and space.model is not None:
        kind = sql.SQL("halfvec({})").format(sql.Literal(space.dimensions))
    elif approximate:
        kind = sql.SQL("vector({})").format(sql.Literal(space.dimensions))
    else:
        kind = sql.SQL("vector")
    most = sql.SQL("%(near_limit)s") if limit is None else sql.Literal(limit)
    if space.mixed and not approximate:
        return mixed_exact(conditions, space, operator=_OPERATORS[metric], limit=most)
    if space.mixed:
        return mixed_nearest(conditions, space, kind=kind, operator=_OPERATORS[metric], limit=most)
    # No index orders by more than the distance. `::text`: a parameter's first cast is its type.
    ties = sql.SQL("" if approximate else ", e.timestamp DESC NULLS LAST, e.id DESC")
    return sql.SQL(
        """
        SELECT e.id
        FROM episodic_memory e
        WHERE {conditions}
          AND {comparable}
        ORDER BY e.embedding::{kind} {operator} %(vector)s::text::{kind} {ties}
        LIMIT {limit}
        """
    ).format(
        ties=ties,
        conditions=conditions,
        comparable=comparable(space),
        kind=kind,
        operator=_OPERATORS[metric],
        limit=most,
    )
