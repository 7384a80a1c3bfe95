"""SQL of recall: which memories the arms find, and what the ranking has to know about them.

Plans depend on sizes: what is under a filter, and what compares every vector, is planned anew each
time with the values in sight (`prepare=False`); `describe` looks up keys, and one plan serves.
They run after `read_question` on its connection, which sets how HNSW is searched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.pq import TransactionStatus

from aegis.db import fetch_all
from aegis.memory.candidates import Candidates
from aegis.memory.models import Episode
from aegis.memory.store.episodes import COLUMNS, filter_params
from aegis.memory.store.search_conditions import asked_for
from aegis.memory.store.search_sql import (
    Space,
    descriptions_sql,
    near_sql,
    nearest_sql,
    newest_sql,
    undated_sql,
    worded_sql,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.memory.models import EpisodeFilter, Metric

__all__ = [
    "QuestionFacts",
    "Space",
    "Worded",
    "asked_for",
    "describe",
    "find_near",
    "find_nearest",
    "find_newest",
    "find_worded",
    "lexeme_query",
    "list_by_ids",
    "read_question",
    "set_width",
]

#: Up to here a namespace is searched exactly and its words are counted while at it.
SMALL_NAMESPACE = 2_000

#: ts_rank of a word that occurs once, with PostgreSQL's default weight 0.1, is 0.1 / (pi²/6); its
#: reciprocal makes that 1, and n occurrences the sum of 1/i² (calc_rank_or in tsrank.c).
_TS_RANK_UNIT = 16.449340668482262

#: Statements that describe are made for so many words, or twice, three times as many.
_WORDS_A_STEP = 4

#: From this share of the table on, a namespace is no help in finding a word.
_MOST = 0.3


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
    #: Whether any episode of the namespace is an echo; most have none, and need not be searched so.
    echoes: bool
    #: Whether anything of the namespace has expired and is not swept away yet.
    expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Worded:
    """What the words found."""

    ids: list[int]
    #: Episodes that hold each word, as far as they were looked at.
    word_counts: list[int]


def lexeme_query(lexeme: str) -> str:
    """Return the text form of the tsquery that asks for exactly this lexeme."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


async def read_question(
    conn: Connection, *, query: str, namespace: str, ef_search: int
) -> QuestionFacts:
    """Return the words of `query` and what is known about the namespace.

    Sets `hnsw.*` for what the transaction runs next, or the connection where there is none. Values
    are queries of their own, which no planner looks into: one plan serves all, and making it takes
    longer than running it.
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
                   CASE WHEN iterative
                        THEN set_config('hnsw.ef_search', %(ef_search)s, %(local)s)
                             || set_config('hnsw.iterative_scan', 'relaxed_order', %(local)s)
                   END AS hnsw
            FROM settings
        ),
        words AS (
            SELECT w.lexeme
            FROM unnest(to_tsvector('english', %(query)s)) AS w
        ),
        known AS (
            SELECT array_agg(w.lexeme) AS words,
                   array_agg((
                       SELECT t.share
                       FROM memory_terms t
                       WHERE t.namespace = (SELECT %(namespace)s::text)
                         AND t.term = w.lexeme
                   )) AS shares
            FROM words w
        )
        SELECT coalesce(k.words, '{}'),
               coalesce(k.shares, '{}'),
               coalesce(n.episodes, (
                   SELECT count(*)
                   FROM (
                       SELECT 1
                       FROM episodic_memory e
                       WHERE e.namespace = (SELECT %(namespace)s::text)
                       -- An order that one index alone has, which begins with the namespace. In
                       -- another one, or none, a plan made for every namespace may read the
                       -- whole table for the few rows of this one.
                       ORDER BY e.session_id, e.timestamp, e.id
                       LIMIT (SELECT %(bound)s::bigint)
                   ) AS bounded
               )),
               coalesce(n.mean_terms, (
                   SELECT avg(length(search)) - 1
                   FROM (
                       SELECT e.search
                       FROM episodic_memory e
                       WHERE e.namespace = (SELECT %(namespace)s::text)
                         AND (e.metadata ? 'echo_of') IS NOT TRUE
                       ORDER BY e.session_id, e.timestamp, e.id
                       LIMIT 500
                   ) AS sampled
               ), 1),
               extract(epoch FROM now() - n.refreshed_at)::float8 / 86400,
               (SELECT reltuples FROM pg_class WHERE oid = 'episodic_memory'::regclass),
               a.iterative,
               EXISTS (
                   SELECT
                   FROM episodic_memory e
                   WHERE e.namespace = (SELECT %(namespace)s::text)
                     AND e.metadata ? 'echo_of'
               ),
               EXISTS (
                   SELECT
                   FROM episodic_memory e
                   WHERE e.namespace = (SELECT %(namespace)s::text)
                     AND e.expires_at <= now()
               ),
               a.hnsw
        FROM applied a
        CROSS JOIN known k
        LEFT JOIN memory_namespaces n ON n.namespace = (SELECT %(namespace)s::text)
        """,
        {
            "query": query,
            "namespace": namespace,
            "bound": SMALL_NAMESPACE + 1,
            "ef_search": str(ef_search),
            "local": _is_local(conn),
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
        echoes=row[7],
        expired=row[8],
    )


async def set_width(conn: Connection, *, ef_search: int) -> None:
    """Set how HNSW is searched, as `read_question` does, on a connection that did not read it."""
    await conn.execute(
        """
        SELECT set_config('hnsw.ef_search', %(ef_search)s, %(local)s),
               set_config('hnsw.iterative_scan', 'relaxed_order', %(local)s)
        """,
        {"ef_search": str(ef_search), "local": _is_local(conn)},
    )


def _is_local(conn: Connection) -> bool:
    # What a transaction leaves set would be met by whoever gets the process next.
    return conn.info.transaction_status != TransactionStatus.IDLE or not conn.autocommit


async def find_worded(
    conn: Connection,
    *,
    where: EpisodeFilter,
    words: Sequence[str],
    idf: Sequence[float | None],
    caps: Sequence[int],
    facts: QuestionFacts,
    limit: int,
) -> Worded:
    """Return the best by words; one with cap 0 finds nothing.

    `idf` None: counted here, exactly, over the namespace.
    """
    filters = asked_for(where)
    exactly = any(weight is None for weight in idf)
    statement = worded_sql(filters, exactly=exactly, echoes=not facts.echoes)
    lexemes = [lexeme_query(word) for word in words]
    # Where most of the table is this namespace, asking the index for it only costs. A table that
    # nobody has analysed yet may hold anything.
    crowd = not facts.table_rows or facts.episodes < _MOST * facts.table_rows
    place = lexeme_query(f"\x01{where.namespace}") + " & " if crowd else ""
    params = filter_params(where) | {
        "seeks": [place + lexeme for lexeme in lexemes],
        "words": lexemes,
        "idf": list(idf),
        "caps": list(caps),
        "unit": _TS_RANK_UNIT,
        "episodes": facts.episodes,
        "mean_terms": facts.mean_terms,
        "worded_limit": limit,
    }
    async with conn.cursor(binary=True) as cursor:
        # Without filters one plan is good for every namespace: the index of words.
        await cursor.execute(statement, params, prepare=not filters)
        row: Any = await cursor.fetchone()
    return Worded(ids=row[0], word_counts=row[1])


async def find_near(
    conn: Connection,
    *,
    where: EpisodeFilter,
    vector: str,
    space: Space,
    facts: QuestionFacts,
    approximate: bool,
    sketches: int,
    limit: int,
) -> list[int]:
    """Return the nearest by vector, in no order: by the graph, by sketches, or by all of them.

    `sketches`: of how many, whose sketches are nearest, vectors are read; 0 for another way.
    """
    filters = asked_for(where)
    statement = near_sql(
        filters,
        space,
        approximate=approximate,
        sketches=sketches,
        echoes=not facts.echoes,
        limit=limit,
    )
    async with conn.cursor(binary=True) as cursor:
        await cursor.execute(
            statement,
            filter_params(where) | {"vector": vector},
            # By the graph there is one good plan for every namespace.
            prepare=approximate and not filters,
        )
        row: Any = await cursor.fetchone()
    return row[0]


async def describe(
    conn: Connection,
    ids: Sequence[int],
    *,
    where: EpisodeFilter,
    words: Sequence[str],
    vector: str | None,
    space: Space | None,
    depth: int,
    echoes: bool,
    characters: int = 0,
) -> Candidates:
    """Return what the ranking needs to know about these episodes and their neighbours.

    `echoes`: those are eligible, too. `characters`: how much of each text comes along.

    Neighbours are up to `depth` (1 or 2) episodes before and after each in its session.
    """
    # A question of eleven words is asked as one of twelve: few statements to plan, for all.
    spare = -len(words) % _WORDS_A_STEP
    params = filter_params(where) | {
        "ids": list(ids),
        "words": [*(lexeme_query(word) for word in words), *[None] * spare],
        "unit": _TS_RANK_UNIT,
        "depth": depth,
        "vector": vector,
    }
    async with conn.cursor(binary=True) as cursor:
        statement = descriptions_sql(
            asked_for(where), len(words) + spare, space, echoes=echoes, characters=characters
        )
        # None of them is asked often enough to be slow at first.
        await cursor.execute(statement, params, prepare=True)
        row: Any = await cursor.fetchone()
    # array_agg of arrays has no empty result, and a question without words has no counts.
    counts: list[list[float]] = (row[1] or []) if words else [[] for _ in row[0]]
    if spare and words:
        counts = [of_one[: len(words)] for of_one in counts]
    return Candidates(
        ids=row[0],
        counts=counts,
        terms=row[2],
        similarities=row[3],
        times=row[4],
        importances=row[5],
        eligible=row[6],
        runs=[[i for i in run if i is not None] for run in row[7]],
        texts=row[8],
    )


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
    statement = nearest_sql(asked_for(where), space, metric=metric, approximate=approximate)
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
    conn: Connection, *, where: EpisodeFilter, but: Sequence[int], limit: int, echoes: bool
) -> list[int]:
    """Return ids of the newest episodes, without those of `but`; undated ones come last."""
    statement = newest_sql(asked_for(where), echoes=echoes)
    params = filter_params(where) | {"but": list(but), "limit": limit}
    cursor = await conn.execute(statement, params, prepare=False)
    ids = [row[0] for row in await cursor.fetchall()]
    if len(ids) < limit:
        statement = undated_sql(asked_for(where), echoes=echoes)
        params |= {"limit": limit - len(ids)}
        cursor = await conn.execute(statement, params, prepare=False)
        ids += [row[0] for row in await cursor.fetchall()]
    return ids
