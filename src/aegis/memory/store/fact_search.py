"""SQL that finds facts of a large namespace by indexes, instead of reading every one of them.

Words: the rarest of the question, by `idx_semantic_words`; common ones find nothing and only count.
Vectors: the graph, or every vector of the namespace where walking the whole table's graph takes
longer. What either finds is scored exactly as in a small namespace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from aegis.memory.store.search import lexeme_query, set_width

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "DISTANCE",
    "SMALL",
    "FactSizes",
    "list_words",
    "nearest_facts",
    "read_sizes",
    "search_by_both",
    "search_large",
]

#: Up to here every fact of a namespace is read.
SMALL = 1_000
#: How far facts are counted, by an index alone.
_COUNTED = 10_000
#: A word of more facts than that finds nothing by itself.
_COMMON = 300
#: Facts that words find in all, the rarest first; and those that are nearest by vector.
_WORDED, _NEAR = 600, 200
#: How wide HNSW is searched: at least what is asked of it.
_EF_SEARCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSizes:
    """What decides how a namespace is searched."""

    #: Facts of the namespace: counted up to `_COUNTED`, more than that as the planner believes.
    facts: int
    #: Facts of all namespaces, as the planner believes.
    table_rows: float
    #: Whether pgvector searches on when a filter leaves too few (0.8).
    iterative: bool
    #: Whether a change of the model has vectors of this one beside the facts.
    mixed: bool


async def read_sizes(conn: Connection, *, namespace: str, model: str | None) -> FactSizes:
    """Return how large a namespace and its table are."""
    cursor = await conn.execute(
        """
        SELECT (
                   SELECT count(*)
                   FROM (
                       SELECT 1
                       FROM semantic_memory f
                       WHERE f.namespace = %(namespace)s
                       -- An order that an index has, which begins with the namespace.
                       ORDER BY f.concept
                       LIMIT %(bound)s
                   ) AS bounded
               ),
               (SELECT reltuples FROM pg_class WHERE oid = 'semantic_memory'::regclass),
               (
                   SELECT s.most_common_freqs[
                              array_position(s.most_common_vals::text::text[], %(namespace)s)
                          ]
                   FROM pg_stats s
                   WHERE s.schemaname = current_schema()
                     AND s.tablename = 'semantic_memory'
                     AND s.attname = 'namespace'
               ),
               (
                   SELECT string_to_array(extversion, '.')::int[] >= ARRAY[0, 8]
                   FROM pg_extension
                   WHERE extname = 'vector'
               ),
               EXISTS (SELECT FROM semantic_vectors v WHERE v.model = %(model)s::text)
        """,
        {"namespace": namespace, "model": model, "bound": _COUNTED + 1},
    )
    row: Any = await cursor.fetchone()
    table_rows = max(row[1], 0.0)
    facts = row[0] if row[0] <= _COUNTED else max(row[0], round(table_rows * (row[2] or 0.0)))
    return FactSizes(facts=facts, table_rows=table_rows, iterative=bool(row[3]), mixed=row[4])


_LARGE: LiteralString = """
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
          AND {valid}
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
    FROM (SELECT id FROM worded UNION SELECT id FROM near) AS found
    JOIN semantic_memory f ON f.id = found.id
)
SELECT s.id, s.similarity::float8, s.word_rank::float8, (SELECT count(*) FROM near)
FROM scored s
ORDER BY s.similarity + s.word_rank DESC, s.id DESC
LIMIT %(limit)s
"""

DISTANCE: LiteralString = """
    CASE
        WHEN f.embedding_model = %(model)s::text
        THEN f.embedding <=> %(vector)s::text::vector
        -- While the model is changed its vector may still be beside the row.
        ELSE (
            SELECT v.embedding <=> %(vector)s::text::vector
            FROM semantic_vectors v
            WHERE v.id = f.id
              AND v.model = %(model)s::text
        )
    END
"""

_VALID: LiteralString = """
    (f.valid_from IS NULL OR f.valid_from <= coalesce(%(valid_at)s::timestamptz, now()))
    AND (f.valid_to IS NULL OR f.valid_to > coalesce(%(valid_at)s::timestamptz, now()))
    AND (f.expires_at IS NULL OR f.expires_at > now())
"""


async def search_large(
    conn: Connection,
    *,
    namespace: str,
    query: str,
    vector: str | None,
    embedding_model: str | None,
    limit: int,
    valid_at: datetime | None,
    sizes: FactSizes,
) -> list[tuple[int, float, float]] | None:
    """Return what `search_facts` returns of a namespace whose facts are too many to read.

    None where too little was found for that: then they have to be read after all.
    """
    return await search_by_both(
        conn,
        _statement,
        namespace=namespace,
        query=query,
        vector=vector,
        embedding_model=embedding_model,
        limit=limit,
        facts=sizes.facts,
        sizes=sizes,
        more={"valid_at": valid_at},
    )


async def search_by_both(
    conn: Connection,
    statement_of: Callable[[str | None, str | None, bool], sql.Composed],
    *,
    namespace: str,
    query: str,
    vector: str | None,
    embedding_model: str | None,
    limit: int,
    facts: int,
    sizes: FactSizes,
    more: Mapping[str, Any],
) -> list[tuple[int, float, float]] | None:
    """Return (id, similarity, word rank) of the best of `facts` facts by words and vectors.

    `statement_of` makes the statement of a vector, its model, and whether the graph is used; `more`
    are its own parameters. None where too little was found.
    """
    words = await list_words(conn, query)
    near = max(_NEAR, limit)
    approximate = (
        vector is not None
        and sizes.iterative
        and not sizes.mixed
        # The graph is that of the whole table: a fact of the namespace in so many steps.
        and 3 * near * max(sizes.table_rows, facts) / facts < facts
    )
    if approximate:
        await set_width(conn, ef_search=min(1_000, max(_EF_SEARCH, limit)))
    params: dict[str, Any] = {
        "seeks": [f"{lexeme_query(chr(1) + namespace)} & {lexeme_query(w)}" for w in words],
        "query": " | ".join(map(lexeme_query, words)),
        "namespace": namespace,
        "common": _COMMON,
        "worded": _WORDED,
        "near": near,
        "vector": vector,
        "model": embedding_model,
        "limit": limit,
        **more,
    }
    while True:
        statement = statement_of(vector, embedding_model, approximate)
        # Plans depend on the namespace's size: each is planned with its values in sight.
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


def nearest_facts(
    vector: str | None,
    model: str | None,
    *,
    approximate: bool,
    distance: sql.Composable,
    eligible: sql.Composable,
) -> sql.Composable:
    """Return the statement of the eligible facts that are nearest, by the graph or one by one."""
    if vector is None:
        return sql.SQL("SELECT NULL::int AS id WHERE false")
    if approximate:
        kind = sql.SQL("halfvec({})").format(sql.Literal(vector.count(",") + 1))
        return sql.SQL(
            "SELECT f.id FROM semantic_memory f WHERE f.embedding_model = {model} "
            "AND f.namespace = %(namespace)s AND {eligible} "
            "ORDER BY f.embedding::{kind} <=> %(vector)s::text::{kind} LIMIT %(near)s"
        ).format(model=sql.Literal(model), kind=kind, eligible=eligible)
    return sql.SQL(
        "SELECT n.id FROM (SELECT f.id, {distance} AS distance FROM semantic_memory f "
        "WHERE f.namespace = %(namespace)s AND {eligible} OFFSET 0) AS n "
        "WHERE n.distance IS NOT NULL ORDER BY n.distance, n.id DESC LIMIT %(near)s"
    ).format(distance=distance, eligible=eligible)


def _statement(vector: str | None, model: str | None, approximate: bool) -> sql.Composed:
    distance = sql.SQL(DISTANCE if vector is not None else "NULL::float8")
    valid = sql.SQL(_VALID)
    near = nearest_facts(vector, model, approximate=approximate, distance=distance, eligible=valid)
    return sql.SQL(_LARGE).format(valid=valid, near=near, distance=distance)


async def list_words(conn: Connection, query: str) -> list[str]:
    """Return the words of a question as the index has them, some dozens at most."""
    cursor = await conn.execute(
        "SELECT lexeme FROM unnest(to_tsvector('english', %(query)s)) LIMIT 24", {"query": query}
    )
    return [row[0] for row in await cursor.fetchall()]
