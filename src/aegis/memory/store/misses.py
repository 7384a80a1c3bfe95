"""Whether the graph of a namespace missed something, and how near what was found instead is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.memory.store.episodes import filter_params
from aegis.memory.store.search_conditions import asked_for
from aegis.memory.store.search_sql import measured_sql, missed_sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.memory.models import EpisodeFilter
    from aegis.memory.store.search import QuestionFacts
    from aegis.memory.store.space import Space

__all__ = ["has_missed", "measure"]


async def has_missed(
    conn: Connection,
    ids: Sequence[int],
    *,
    where: EpisodeFilter,
    vector: str,
    space: Space,
    facts: QuestionFacts,
) -> bool:
    """Return whether a sample of the namespace has something nearer than all of these."""
    statement = missed_sql(asked_for(where), space, echoes=not facts.echoes)
    params = filter_params(where) | {"vector": vector, "ids": list(ids)}
    cursor = await conn.execute(statement, params, prepare=False)
    row: Any = await cursor.fetchone()
    return row[0]


async def measure(
    conn: Connection, ids: Sequence[int], *, vector: str, space: Space, limit: int
) -> list[tuple[int, float]]:
    """Return these ids with the distance of their cosine, nearest first, up to `limit`."""
    params = {"ids": list(ids), "vector": vector, "limit": limit}
    cursor = await conn.execute(measured_sql(space), params, prepare=False)
    return [(row[0], row[1]) for row in await cursor.fetchall()]
