"""SQL of searching items: below a path, by what the value holds, nearest in meaning first.

A path with few items is read as a whole, and a vector is then compared with each: exact, and quick.
Below a path with many the graph of vectors is asked, which goes on while the filter leaves too few;
what it still leaves out (it looks at so many vectors and no more), `rank_all` finds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, LiteralString

from psycopg import sql
from psycopg.types.json import Jsonb

from aegis.db.json_column import read_json_safely
from aegis.memory.items.check import path_range
from aegis.memory.items.models import ItemHit
from aegis.memory.store.items import COLUMNS, alive, as_item, in_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.memory.items.filters import Condition
    from aegis.memory.store.search_sql import Space

__all__ = ["SMALL_PATH", "Plan", "Sizes", "measure", "run_searches"]

#: Up to here a path is read as a whole.
SMALL_PATH = 10_000
#: Vectors that the graph is asked for, for each item wanted: an item may have several near ones.
_VECTORS_AN_ITEM = 4
_LEAST_VECTORS = 40

Way = Literal["newest", "newest_small", "exact", "graph"]

_ORDERED: dict[str, LiteralString] = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What the plans depend on."""

    #: Items below each prefix, counted up to one more than `SMALL_PATH`.
    items: list[int]
    #: Whether pgvector searches on when a filter leaves too few (0.8).
    iterative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A search, and the way it is done."""

    way: Way
    prefix: tuple[str, ...]
    conditions: Sequence[Condition]
    limit: int
    offset: int
    refresh: bool
    #: For `exact` and `graph`.
    vector: str | None = None
    space: Space | None = None


async def measure(
    conn: Connection, prefixes: Sequence[tuple[str, ...]], *, namespace: str, ef_search: int
) -> Sizes:
    """Count the items below each prefix; sets `hnsw.*` for the rest of the transaction.

    An empty prefix is everything.
    """
    ranges = [path_range(prefix) if prefix else (None, None) for prefix in prefixes]
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
                        THEN set_config('hnsw.ef_search', %(ef_search)s, true)
                             || set_config('hnsw.iterative_scan', 'relaxed_order', true)
                   END AS hnsw
            FROM settings
        ),
        asked AS MATERIALIZED (
            SELECT a.number,
                   ARRAY(SELECT jsonb_array_elements_text(a.low::jsonb)) AS low,
                   ARRAY(SELECT jsonb_array_elements_text(a.high::jsonb)) AS high,
                   a.high IS NULL AS everything
            FROM unnest(%(lows)s::text[], %(highs)s::text[])
                 WITH ORDINALITY AS a (low, high, number)
        ),
        counted AS MATERIALIZED (
            SELECT a.number,
                   CASE
                       WHEN a.everything THEN (
                           SELECT count(*)
                           FROM (
                               SELECT
                               FROM store_items i
                               WHERE i.namespace = %(namespace)s
                               ORDER BY i.namespace, i.path, i.key
                               LIMIT %(bound)s
                           ) AS bounded
                       )
                       ELSE (
                           SELECT count(*)
                           FROM (
                               SELECT
                               FROM store_items i
                               WHERE i.namespace = %(namespace)s
                                 AND i.path >= a.low
                                 AND i.path < a.high
                               ORDER BY i.namespace, i.path, i.key
                               LIMIT %(bound)s
                           ) AS bounded
                       )
                   END AS items
            FROM asked a
        )
        SELECT (SELECT array_agg(c.items ORDER BY c.number) FROM counted c), a.iterative, a.hnsw
        FROM applied a
        """,
        {
            "lows": [None if low is None else json.dumps(low) for low, _ in ranges],
            "highs": [None if high is None else json.dumps(high) for _, high in ranges],
            "namespace": namespace,
            "bound": SMALL_PATH + 1,
            "ef_search": str(ef_search),
        },
    )
    row: Any = await cursor.fetchone()
    return Sizes(items=row[0] or [], iterative=row[1])


async def run_searches(
    conn: Connection, plans: Sequence[Plan], *, namespace: str, omit_expired: bool
) -> list[list[ItemHit]]:
    """Run searches in one round trip and return what each found, best or newest first.

    Of ways `newest` and `exact` as many come back as there are, up to the limit; of `graph` fewer
    may.
    """
    read_json_safely(conn)
    cursors: list[Any] = []
    async with conn.pipeline():
        for plan in plans:
            statement, params = _statement(plan, omit_expired=omit_expired)
            cursor = conn.cursor()
            # Plans depend on the values: where a path is, how many there are.
            await cursor.execute(statement, params | {"namespace": namespace}, prepare=False)
            cursors.append(cursor)
    return [
        [ItemHit(item=as_item(row), score=row[8]) for row in await cursor.fetchall()]
        for cursor in cursors
    ]


_STATEMENT: LiteralString = """
    WITH {chosen},
    page AS MATERIALIZED (
        SELECT c.id, c.score, c.updated_at
        FROM chosen c
        ORDER BY c.score DESC NULLS LAST, c.updated_at DESC, c.id DESC
        LIMIT %(limit)s
        OFFSET %(offset)s
    ){refreshed}
    SELECT {columns}, p.score
    FROM page p
    JOIN store_items i ON i.id = p.id
    ORDER BY p.score DESC NULLS LAST, p.updated_at DESC, p.id DESC
"""

#: Left out of what only reads: a role that may not write can ask it.
_REFRESHED: LiteralString = """,
    mortal AS MATERIALIZED (
        SELECT s.id
        FROM store_items s
        JOIN page p ON p.id = s.id
        WHERE s.ttl_minutes IS NOT NULL
        FOR UPDATE OF s SKIP LOCKED
    ),
    refreshed AS (
        UPDATE store_items s
        SET expires_at = clock_timestamp() + s.ttl_minutes * interval '1 minute'
        FROM mortal m
        WHERE s.id = m.id
    )
"""

#: Read through the index of keys: behind another order the planner may read everything else.
_NEWEST_SMALL: LiteralString = """
    chosen AS MATERIALIZED (
        SELECT i.id, NULL::float8 AS score, i.updated_at
        FROM store_items i
        WHERE {inside}
        ORDER BY i.namespace, i.path, i.key
    )
"""

_NEWEST: LiteralString = """
    chosen AS MATERIALIZED (
        SELECT i.id, NULL::float8 AS score, i.updated_at
        FROM store_items i
        WHERE {inside}
        ORDER BY i.updated_at DESC, i.id DESC
        LIMIT %(reach)s
    )
"""

#: A vector without direction is like nothing: pgvector says NaN.
_SCORE: LiteralString = """
    CASE
        WHEN vector_dims(v.embedding) = {dimensions}
        THEN 1 - coalesce(nullif(v.embedding <=> %(vector)s::vector, 'NaN'), 1)
    END
"""

_EXACT: LiteralString = """
    inside AS MATERIALIZED (
        SELECT i.id, i.updated_at
        FROM store_items i
        WHERE {inside}
    ),
    chosen AS MATERIALIZED (
        SELECT n.id, max({score}) AS score, n.updated_at
        FROM inside n
        LEFT JOIN store_vectors v
               ON v.item_id = n.id
              AND v.embedding_model = {model}
              AND v.embedding IS NOT NULL
        GROUP BY n.id, n.updated_at
    )
"""

_GRAPH: LiteralString = """
    near AS MATERIALIZED (
        SELECT i.id, {score} AS score, i.updated_at
        FROM store_vectors v
        JOIN store_items i ON i.id = v.item_id
        WHERE v.embedding_model = {model}
          AND {inside}
        ORDER BY (v.embedding::halfvec({dimensions}))
                 <=> (%(vector)s::vector::halfvec({dimensions}))
        LIMIT %(vectors)s
    ),
    chosen AS MATERIALIZED (
        SELECT n.id, max(n.score) AS score, n.updated_at
        FROM near n
        GROUP BY n.id, n.updated_at
    )
"""


_CHOSEN: dict[Way, LiteralString] = {
    "newest": _NEWEST,
    "newest_small": _NEWEST_SMALL,
    "exact": _EXACT,
    "graph": _GRAPH,
}


def _statement(plan: Plan, *, omit_expired: bool) -> tuple[sql.Composed, dict[str, Any]]:
    inside, params = _inside(plan, omit_expired=omit_expired)
    reach = plan.limit + plan.offset
    params |= {
        "limit": plan.limit,
        "offset": plan.offset,
        "reach": reach,
        "vectors": max(_LEAST_VECTORS, _VECTORS_AN_ITEM * reach),
        "vector": plan.vector,
    }
    chosen = sql.SQL(_CHOSEN[plan.way])
    if plan.space is None:
        made = chosen.format(inside=inside)
    else:
        dimensions = sql.Literal(plan.space.dimensions)
        made = chosen.format(
            inside=inside,
            score=sql.SQL(_SCORE).format(dimensions=dimensions),
            dimensions=dimensions,
            # A literal, so that the partial index of the model answers.
            model=sql.Literal(plan.space.model),
        )
    refreshed = sql.SQL(_REFRESHED if plan.refresh else "")
    columns = sql.SQL(COLUMNS)
    return sql.SQL(_STATEMENT).format(chosen=made, columns=columns, refreshed=refreshed), params


def _inside(plan: Plan, *, omit_expired: bool) -> tuple[sql.Composed, dict[str, Any]]:
    """Return the condition on `i` that a search asks for, and its values."""
    place, params = in_range(plan.prefix)
    parts: list[sql.Composable] = [
        sql.SQL("i.namespace = %(namespace)s"),
        place,
        alive(omit_expired=omit_expired),
    ]
    for number, condition in enumerate(plan.conditions):
        parts.append(_condition(condition, f"f{number}", params))
    return sql.SQL(" AND ").join(parts), params


def _condition(condition: Condition, name: str, params: dict[str, Any]) -> sql.Composable:
    part: sql.Composable = sql.SQL("i.value")
    for depth, step in enumerate(condition.steps):
        if isinstance(step, int):
            part = sql.SQL("({} -> {})").format(part, sql.Literal(step))
        else:
            params[f"{name}_{depth}"] = step
            part = sql.SQL("({} -> {}::text)").format(part, sql.Placeholder(f"{name}_{depth}"))
    if condition.test == "object":
        return sql.SQL("(jsonb_typeof({}) = 'object') IS TRUE").format(part)
    wanted = sql.Placeholder(name)
    if condition.test == "length":
        params[name] = condition.operand
        return sql.SQL(
            "CASE WHEN jsonb_typeof({part}) = 'array' "
            "THEN jsonb_array_length({part}) = {wanted} ELSE false END"
        ).format(part=part, wanted=wanted)
    if condition.test in ("eq", "ne"):
        params[name] = Jsonb(condition.operand)
        operator = sql.SQL("=" if condition.test == "eq" else "<>")
        return sql.SQL("coalesce({}, 'null'::jsonb) {} {}::jsonb").format(part, operator, wanted)
    operator = sql.SQL(_ORDERED[condition.test])
    if isinstance(condition.operand, str):
        params[name] = condition.operand
        return sql.SQL(
            "(jsonb_typeof({part}) = 'string' "
            """AND ({part} #>> '{{}}') COLLATE "C" {operator} {wanted}::text) IS TRUE"""
        ).format(part=part, operator=operator, wanted=wanted)
    params[name] = Jsonb(condition.operand)
    return sql.SQL(
        "(jsonb_typeof({part}) = 'number' AND {part} {operator} {wanted}::jsonb) IS TRUE"
    ).format(part=part, operator=operator, wanted=wanted)
