"""SQL of the arm of time: what lies in the intervals that a question names.

Asked only where a question names a time. However wide the intervals are, a bounded number of rows
is read: of each part of an interval the newest, by the index of times.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from aegis.memory.store.episodes import filter_params
from aegis.memory.store.search_conditions import asked_for, conditions_of, formatted
from aegis.memory.store.space import comparable, vector_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.models import EpisodeFilter
    from aegis.memory.store.search_sql import Space

__all__ = ["find_timely"]

# Lists and limits are queries of their own: one plan serves every call without filters. An echo is
# left to the other arms: they find its original as well.
_TIMELY: LiteralString = """
WITH asked AS MATERIALIZED (
    SELECT %(vector)s::text::vector AS vector,
           %(words)s::text::tsquery AS words
),
parts AS MATERIALIZED (
    SELECT w.since, w.until
    FROM unnest(
        (SELECT %(starts)s::timestamptz[]), (SELECT %(ends)s::timestamptz[])
    ) AS w (since, until)
),
inside AS MATERIALIZED (
    SELECT m.id, m.rank, m.distance
    FROM parts p
    CROSS JOIN asked a
    CROSS JOIN LATERAL (
        SELECT e.id,
               ts_rank(e.search, a.words) AS rank,
               {distance} AS distance
        FROM episodic_memory e
        WHERE e.timestamp >= p.since
          AND e.timestamp < p.until
          AND {conditions}
          AND (e.metadata ? 'echo_of') IS NOT TRUE
        ORDER BY e.timestamp DESC, e.id DESC
        LIMIT (SELECT %(rows)s::bigint)
    ) AS m
)
(
    SELECT i.id
    FROM inside i
    ORDER BY i.distance NULLS LAST, i.id DESC
    LIMIT (SELECT %(limit)s::bigint)
)
UNION
(
    SELECT i.id
    FROM inside i
    WHERE i.rank > 0
    ORDER BY i.rank DESC, i.id DESC
    LIMIT (SELECT %(limit)s::bigint)
)
"""


async def find_timely(
    conn: Connection,
    *,
    where: EpisodeFilter,
    parts: Sequence[tuple[datetime, datetime]],
    words: Sequence[str],
    vector: str | None,
    space: Space | None,
    rows: int,
    limit: int,
) -> list[int]:
    """Return ids of episodes in these half-open intervals: the nearest, and the best by words.

    The newest `rows` of each are looked at. `words` are lexemes in the text form of a tsquery.
    """
    filters = asked_for(where)
    statement = _timely_sql(filters, None if vector is None else space)
    params: dict[str, Any] = filter_params(where) | {
        "starts": [since for since, _ in parts],
        "ends": [until for _, until in parts],
        "rows": rows,
        "words": " | ".join(words),
        "vector": vector,
        "limit": limit,
    }
    # Without filters there is one good plan, by the index of times behind the namespace.
    cursor = await conn.execute(statement, params, prepare=not filters)
    return [row[0] for row in await cursor.fetchall()]


@lru_cache(maxsize=256)
def _timely_sql(filters: tuple[str, ...], space: Space | None) -> bytes:
    """Return the statement of `find_timely`."""
    distance = sql.SQL("NULL::float8")
    if space is not None:
        distance = sql.SQL("({vector}) <=> a.vector").format(vector=vector_of(space))
        if not space.mixed:
            distance = sql.SQL("CASE WHEN {comparable} THEN {distance} END").format(
                comparable=comparable(space), distance=distance
            )
    return formatted(_TIMELY, distance=distance, conditions=conditions_of(filters, echoes=True))
