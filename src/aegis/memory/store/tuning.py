"""SQL of tuning: vectors to make questions of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from aegis.db import fetch_value
from aegis.memory.store.space import comparable

if TYPE_CHECKING:
    from aegis.db import Connection
    from aegis.memory.models import EpisodeFilter
    from aegis.memory.store.search_sql import Space

__all__ = ["count_episodes", "draw_vectors"]

#: Starts at random places of the id range, and takes the next row that will do from each: reads a
#: few rows a start where the namespace is a fair share of the table, and never sorts it.
_DRAW = """
WITH bounds AS (
    SELECT min(id) AS least, max(id) AS most
    FROM episodic_memory
),
seeded AS MATERIALIZED (
    SELECT setseed(%(seed)s)
),
starts AS MATERIALIZED (
    SELECT b.least + floor(random() * (b.most - b.least + 1))::int AS id
    FROM seeded
    CROSS JOIN bounds b
    CROSS JOIN generate_series(1, %(count)s)
)
SELECT DISTINCT ON (e.id) e.embedding::text
FROM starts s
CROSS JOIN LATERAL (
    SELECT o.id, o.embedding
    FROM episodic_memory o
    WHERE o.id >= s.id
      AND (o.namespace = %(namespace)s) IS TRUE
      AND {comparable}
      AND o.embedding IS NOT NULL
    ORDER BY o.id
    LIMIT 1
) AS e
"""


async def count_episodes(conn: Connection, namespace: str) -> int:
    """Return the number of episodes of a namespace, counted one by one."""
    return await fetch_value(
        conn,
        "SELECT count(*) FROM episodic_memory e WHERE e.namespace = %(namespace)s",
        {"namespace": namespace},
    )


async def draw_vectors(
    conn: Connection, *, where: EpisodeFilter, space: Space, count: int, seed: float
) -> list[list[float]]:
    """Return up to `count` vectors of different episodes; equal for an equal `seed`, -1 to 1."""
    statement = sql.SQL(_DRAW).format(comparable=comparable(space, "o"))
    params = {"namespace": where.namespace, "count": count, "seed": seed}
    cursor = await conn.execute(statement, params)
    return [[float(x) for x in row[0][1:-1].split(",")] for row in await cursor.fetchall()]
