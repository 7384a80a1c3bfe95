"""SQL of the arm of time: what lies in the intervals that a question names.

Asked only where a question names a time. However wide the intervals are, a bounded number of rows
is read: of each part of an interval the newest, by the index of times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg import sql

from aegis.memory.store.episodes import CONDITIONS, filter_params
from aegis.memory.store.search_sql import comparable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.models import EpisodeFilter
    from aegis.memory.store.search_sql import Space

__all__ = ["find_timely", "read_texts"]

# An echo is left to the other arms: they find its original as well.
_TIMELY: LiteralString = """
WITH parts AS MATERIALIZED (
    SELECT w.since, w.until
    FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS w (since, until)
),
inside AS MATERIALIZED (
    SELECT m.id, m.rank, m.distance
    FROM parts p
    CROSS JOIN LATERAL (
        SELECT e.id,
               ts_rank(e.search, %(words)s::tsquery) AS rank,
               {distance} AS distance
        FROM episodic_memory e
        WHERE e.timestamp >= p.since
          AND e.timestamp < p.until
          AND {conditions}
          AND (e.metadata ? 'echo_of') IS NOT TRUE
        ORDER BY e.timestamp DESC
        LIMIT %(rows)s
    ) AS m
)
(SELECT i.id FROM inside i ORDER BY i.distance NULLS LAST, i.id DESC LIMIT %(limit)s)
UNION
(SELECT i.id FROM inside i WHERE i.rank > 0 ORDER BY i.rank DESC, i.id DESC LIMIT %(limit)s)
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
    distance = sql.SQL("NULL::float8")
    if space is not None and vector is not None:
        distance = sql.SQL(
            "CASE WHEN {comparable} THEN e.embedding <=> %(vector)s::text::vector END"
        ).format(comparable=comparable(space))
    statement = sql.SQL(_TIMELY).format(distance=distance, conditions=sql.SQL(CONDITIONS))
    params: dict[str, Any] = filter_params(where) | {
        "starts": [since for since, _ in parts],
        "ends": [until for _, until in parts],
        "rows": rows,
        "words": " | ".join(words),
        "vector": vector,
        "limit": limit,
    }
    cursor = await conn.execute(statement.as_bytes(None), params, prepare=False)
    return [row[0] for row in await cursor.fetchall()]


async def read_texts(conn: Connection, ids: Sequence[int], *, length: int) -> dict[int, str]:
    """Return the first `length` characters of what these episodes say."""
    cursor = await conn.execute(
        """
        SELECT e.id,
               left(e.summary, %(length)s)
        FROM episodic_memory e
        WHERE e.id = ANY(%(ids)s::int[])
        """,
        {"ids": list(ids), "length": length},
    )
    return dict(await cursor.fetchall())
