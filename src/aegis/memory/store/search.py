"""SQL of recall: which memories the arms find, and what the ranking has to know about them.

Plans depend on sizes, so `find_candidates` and `find_nearest` are planned anew each time with the
values in sight (`prepare=False`), and what a partial index asks for is a literal. They run in one
snapshot with `read_question`, which also sets, for the transaction, how HNSW is searched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from aegis.db import fetch_all
from aegis.memory.models import Episode
from aegis.memory.store.episodes import COLUMNS, filter_params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.memory.models import EpisodeFilter, Metric

__all__ = [
    "Found",
    "QuestionFacts",
    "Space",
    "find_candidates",
    "find_nearest",
    "find_newest",
    "list_by_ids",
    "lexeme_query",
    "read_question",
]

#: Up to here a namespace is searched exactly and its words are counted while at it.
SMALL_NAMESPACE = 5_000

#: ts_rank of a word that occurs once, with PostgreSQL's default weight 0.1, is 0.1 / (pi²/6); its
#: reciprocal makes that 1, and n occurrences the sum of 1/i² (calc_rank_or in tsrank.c).
_TS_RANK_UNIT = 16.449340668482262


#: From this share of the table on, a namespace is no help in finding a word.
_MOST = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Vectors that may be compared with one another."""

    #: None for vectors that nobody named the model of.
    model: str | None
    dimensions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionFacts:
    """A question in the terms of a namespace."""

    #: Stems, without stop words.
    words: list[str]
    #: Share of the episodes that hold each word; None where that is not known.
    shares: list[float | None]
    #: Episodes in the namespace; counted up to one more than `SMALL_NAMESPACE`, or as sampled.
    episodes: int
    mean_terms: float
    #: Whether the namespace has been sampled, and the days since then.
    sampled_days_ago: float | None
    #: Episodes of all namespaces, as the planner believes.
    table_rows: float
    #: Whether pgvector searches on when a filter leaves too few (0.8).
    iterative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the arms found, and its neighbours: parallel lists, one item an episode."""

    ids: list[int]
    #: Per word, in the order of the question.
    counts: list[list[float]]
    terms: list[int]
    similarities: list[float | None]
    #: Seconds since 1970, or None.
    times: list[float | None]
    importances: list[str]
    eligible: list[bool]
    #: Ids that follow one another in a session, five at most, None where there is none.
    runs: list[list[int | None]]
    #: Episodes that hold each word, as far as they were looked at.
    word_counts: list[int]
    #: How many the vector arm found.
    near: int


def lexeme_query(lexeme: str) -> str:
    """Return the text form of the tsquery that asks for exactly this lexeme."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


async def read_question(
    conn: Connection, *, query: str, namespace: str, ef_search: int
) -> QuestionFacts:
    """Return the words of `query` and what is known about the namespace.

    Sets `hnsw.*` and `jit` for the rest of the transaction.
    """
    cursor = await conn.execute(
        """
        WITH settings AS MATERIALIZED (
            SELECT string_to_array(extversion, '.')::int[] >= ARRAY[0, 8] AS iterative
            FROM pg_extension
            WHERE extname = 'vector'
        ),
        applied AS MATERIALIZED (
            SELECT iterative,
                   set_config('jit', 'off', true) AS jit,
                   CASE WHEN iterative
                        THEN set_config('hnsw.ef_search', %(ef_search)s, true)
                             || set_config('hnsw.iterative_scan', 'relaxed_order', true)
                   END AS hnsw
            FROM settings
        ),
        words AS (
            SELECT w.lexeme
            FROM unnest(to_tsvector('english', %(query)s)) AS w
        ),
        known AS (
            SELECT array_agg(w.lexeme ORDER BY w.lexeme) AS words,
                   array_agg(t.share ORDER BY w.lexeme) AS shares
            FROM words w
            LEFT JOIN memory_terms t
                   ON t.namespace = %(namespace)s
                  AND t.term = w.lexeme
        )
        SELECT coalesce(k.words, '{}'),
               coalesce(k.shares, '{}'),
               coalesce(n.episodes, (
                   SELECT count(*)
                   FROM (
                       SELECT 1
                       FROM episodic_memory e
                       WHERE e.namespace = %(namespace)s
                       LIMIT %(bound)s
                   ) AS bounded
               )),
               coalesce(n.mean_terms, (
                   SELECT avg(length(search)) - 1
                   FROM (
                       SELECT e.search
                       FROM episodic_memory e
                       WHERE e.namespace = %(namespace)s
                       LIMIT 1000
                   ) AS first
               ), 1),
               extract(epoch FROM now() - n.refreshed_at)::float8 / 86400,
               (SELECT reltuples FROM pg_class WHERE oid = 'episodic_memory'::regclass),
               a.iterative,
               a.hnsw
        FROM applied a
        CROSS JOIN known k
        LEFT JOIN memory_namespaces n ON n.namespace = %(namespace)s
        """,
        {
            "query": query,
            "namespace": namespace,
            "bound": SMALL_NAMESPACE + 1,
            "ef_search": str(ef_search),
        },
    )
    row: Any = await cursor.fetchone()
    return QuestionFacts(
        words=row[0],
        shares=row[1],
        episodes=row[2],
        mean_terms=max(float(row[3]), 1.0),
        sampled_days_ago=row[4],
        table_rows=max(row[5], 0.0),
        iterative=row[6],
    )


async def find_candidates(
    conn: Connection,
    *,
    where: EpisodeFilter,
    words: Sequence[str],
    idf: Sequence[float | None],
    caps: Sequence[int],
    facts: QuestionFacts,
    vector: str | None,
    space: Space | None,
    approximate: bool,
    worded_limit: int,
    near_limit: int,
    depth: int,
) -> Found:
    """Return the best by words and the nearest by vector, each with its neighbours.

    Neighbours are up to `depth` (1 or 2) episodes before and after it in the session. A word with
    cap 0 finds nothing, and still counts in what others found. `idf` None: counted
    here, exactly, over the namespace.
    """
    conditions = _conditions(where)
    exactly = any(weight is None for weight in idf)
    statement = sql.SQL(_CANDIDATES).format(
        eligible=conditions,
        # Counting words is for the namespace; looking for memories is for the filter.
        inside=sql.SQL("true") if exactly else conditions,
        counts=sql.SQL(", ").join(
            sql.SQL("ts_rank(e.search, {}::tsquery) * %(unit)s::float8").format(
                sql.Literal(lexeme_query(word))
            )
            for word in words
        )
        if words
        else sql.SQL("0"),
        near=_nearest(conditions, space, approximate=approximate),
        similarity=_similarity(space),
    )
    # Where most of the table is this namespace, asking the index for it only costs.
    crowd = facts.episodes < _MOST * facts.table_rows
    place = lexeme_query(f"\x01{where.namespace}") + " & " if crowd else ""
    params = filter_params(where) | {
        "seeks": [place + lexeme_query(word) for word in words],
        "words": [lexeme_query(word) for word in words],
        "idf": list(idf),
        "caps": list(caps),
        "unit": _TS_RANK_UNIT,
        "episodes": facts.episodes,
        "mean_terms": facts.mean_terms,
        "worded_limit": worded_limit,
        "near_limit": near_limit,
        "depth": depth,
        "vector": vector,
    }
    async with conn.cursor(binary=True) as cursor:
        await cursor.execute(statement, params, prepare=False)
        row: Any = await cursor.fetchone()
    found = dict(zip(_FOUND, row, strict=True))
    return Found(**{**found, "counts": found["counts"] if words else [[] for _ in found["ids"]]})


_FOUND = (
    "ids", "counts", "terms", "similarities", "times", "importances", "eligible", "runs",
    "word_counts", "near",
)  # fmt: skip

_CANDIDATES: LiteralString = """
WITH words AS MATERIALIZED (
    SELECT w.seek::tsquery AS seek,
           w.word::tsquery AS word,
           w.idf,
           w.cap,
           w.place
    FROM unnest(
        %(seeks)s::text[], %(words)s::text[], %(idf)s::float8[], %(caps)s::int[]
    ) WITH ORDINALITY AS w (seek, word, idf, cap, place)
),
matches AS MATERIALIZED (
    SELECT w.place, m.id, m.eligible, m.count, m.terms
    FROM words w
    CROSS JOIN LATERAL (
        SELECT e.id,
               ({eligible}) AS eligible,
               ts_rank(e.search, w.word) * %(unit)s::float8 AS count,
               length(e.search) - 1 AS terms
        FROM episodic_memory e
        WHERE e.search @@ w.seek
          AND e.namespace = %(namespace)s
          AND ({inside})
        LIMIT w.cap
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
    -- The formula of aegis.memory.ranking for the memory itself.
    SELECT m.id
    FROM matches m
    JOIN counted c ON c.place = m.place
    WHERE m.eligible
    GROUP BY m.id
    ORDER BY sum(
                 c.idf * m.count
                 / (m.count + 0.2::float8 + 0.6::float8 * m.terms / %(mean_terms)s::float8)
             ) DESC,
             m.id DESC
    LIMIT %(worded_limit)s
),
near AS MATERIALIZED (
    {near}
),
core AS (
    SELECT id FROM worded
    UNION
    SELECT id FROM near
),
runs AS MATERIALIZED (
    SELECT ARRAY[before.ids[2], before.ids[1], e.id, after.ids[1], after.ids[2]] AS run
    FROM core c
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
           ({eligible}) AS eligible
    FROM members m
    JOIN episodic_memory e ON e.id = m.id
)
SELECT coalesce(array_agg(d.id), '{{}}'),
       array_agg(d.counts),
       coalesce(array_agg(d.terms), '{{}}'),
       coalesce(array_agg(d.similarity), '{{}}'),
       coalesce(array_agg(d.time), '{{}}'),
       coalesce(array_agg(d.importance), '{{}}'),
       coalesce(array_agg(d.eligible), '{{}}'),
       (SELECT coalesce(array_agg(r.run), '{{}}') FROM runs r),
       (SELECT coalesce(array_agg(c.episodes ORDER BY c.place), '{{}}') FROM counted c),
       (SELECT count(*) FROM near)
FROM described d
"""


async def find_nearest(
    conn: Connection,
    *,
    where: EpisodeFilter,
    vector: str,
    space: Space,
    metric: Metric,
    approximate: bool,
    limit: int,
) -> list[tuple[int, float]]:
    """Return ids with their distance, nearest first; `approximate` is for the cosine alone."""
    statement = sql.SQL(
        """
        WITH near AS MATERIALIZED (
            {near}
        )
        SELECT e.id, (e.embedding {operator} %(vector)s::vector)::float8 AS distance
        FROM near
        JOIN episodic_memory e ON e.id = near.id
        ORDER BY distance, e.id DESC
        LIMIT %(limit)s
        """
    ).format(
        near=_nearest(_conditions(where), space, approximate=approximate, metric=metric),
        operator=_OPERATORS[metric],
    )
    params = filter_params(where) | {
        "vector": vector,
        "near_limit": max(40, 2 * limit) if approximate else limit,
        "limit": limit,
    }
    cursor = await conn.execute(statement, params, prepare=False)
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def list_by_ids(conn: Connection, ids: Sequence[int]) -> list[Episode]:
    """Return the episodes with these ids, in no order."""
    return await fetch_all(
        conn,
        Episode,
        "SELECT " + COLUMNS + "FROM episodic_memory e WHERE e.id = ANY(%(ids)s::int[])",
        {"ids": list(ids)},
    )


async def find_newest(
    conn: Connection, *, where: EpisodeFilter, but: Sequence[int], limit: int
) -> list[int]:
    """Return ids of the newest episodes, without those of `but`."""
    statement = sql.SQL(
        """
        SELECT e.id
        FROM episodic_memory e
        WHERE {conditions}
          AND e.id <> ALL(%(but)s::int[])
        ORDER BY e.timestamp DESC NULLS LAST, e.id DESC
        LIMIT %(limit)s
        """
    ).format(conditions=_conditions(where))
    params = filter_params(where) | {"but": list(but), "limit": limit}
    cursor = await conn.execute(statement, params, prepare=False)
    return [row[0] for row in await cursor.fetchall()]


_OPERATORS: dict[Metric, sql.SQL] = {
    "cosine": sql.SQL("<=>"),
    "l2": sql.SQL("<->"),
    "inner_product": sql.SQL("<#>"),
}


def _conditions(where: EpisodeFilter) -> sql.Composable:
    """Return only the conditions that are asked for: each one that is not costs planning time."""
    parts: list[LiteralString] = ["e.namespace = %(namespace)s"]
    if where.session_id is not None:
        parts.append("e.session_id = %(session_id)s")
    if where.since is not None:
        parts.append("e.timestamp >= %(since)s")
    if where.until is not None:
        parts.append("e.timestamp < %(until)s")
    if where.event_types:
        parts.append("e.event_type = ANY(%(event_types)s::text[])")
    if where.tags:
        parts.append("e.tags @> %(tags)s::text[]")
    if where.min_importance is not None:
        parts.append(
            "coalesce(e.importance, 'medium') = ANY(%(importances)s::text[]::memory_importance[])"
        )
    return sql.SQL(" AND ").join(map(sql.SQL, parts))


def _comparable(space: Space) -> sql.Composable:
    """Return the condition that a row's vector may be compared; what partial indexes ask for."""
    if space.model is None:
        return sql.SQL(
            "e.embedding_model IS NULL AND vector_dims(e.embedding) = {dimensions}"
        ).format(dimensions=sql.Literal(space.dimensions))
    return sql.SQL("e.embedding_model = {model}").format(model=sql.Literal(space.model))


def _nearest(
    conditions: sql.Composable,
    space: Space | None,
    *,
    approximate: bool,
    metric: Metric = "cosine",
) -> sql.Composable:
    if space is None:
        return sql.SQL("SELECT NULL::int AS id WHERE false")
    # The expressions of the HNSW indexes, and one that no index has.
    if approximate and space.model is not None:
        kind = sql.SQL("halfvec({})").format(sql.Literal(space.dimensions))
    elif approximate:
        kind = sql.SQL("vector({})").format(sql.Literal(space.dimensions))
    else:
        kind = sql.SQL("vector")
    return sql.SQL(
        """
        SELECT e.id
        FROM episodic_memory e
        WHERE {conditions}
          AND {comparable}
        ORDER BY e.embedding::{kind} {operator} %(vector)s::{kind}
        LIMIT %(near_limit)s
        """
    ).format(
        conditions=conditions,
        comparable=_comparable(space),
        kind=kind,
        operator=_OPERATORS[metric],
    )


def _similarity(space: Space | None) -> sql.Composable:
    if space is None:
        return sql.SQL("NULL")
    return sql.SQL(
        "CASE WHEN {comparable} THEN 1 - (e.embedding <=> %(vector)s::vector) END"
    ).format(comparable=_comparable(space))
