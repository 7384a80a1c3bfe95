"""SQL that finds what a new episode repeats: episodes by id, and episodes that say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import fetch_all
from aegis.memory.models import Episode
from aegis.memory.store.episodes import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = ["list_alike", "list_in_namespace"]


async def list_in_namespace(conn: Connection, namespace: str, ids: Sequence[int]) -> list[Episode]:
    """Return the episodes with these ids that are in the namespace, in no order."""
    return await fetch_all(
        conn,
        Episode,
        "SELECT "
        + COLUMNS
        + """
        FROM episodic_memory e
        WHERE e.id = ANY(%(ids)s::int[])
          AND e.namespace = %(namespace)s
        """,
        {"ids": list(ids), "namespace": namespace},
    )


async def list_alike(conn: Connection, namespace: str, text: str) -> list[tuple[int, str]]:
    """Return (id, summary) of up to 20 episodes, no echoes, with the longest words of `text`.

    They are about as long as it; which of them say the same is for the caller to see. One look-up
    in the index of words; a text of fewer than two words that count has no likes.
    """
    cursor = await conn.execute(
        r"""
        WITH longest AS (
            -- Each word more is a list of postings more; six tell texts apart.
            SELECT w.lexeme
            FROM unnest(to_tsvector('english', left(%(text)s, 20000))) AS w
            ORDER BY length(w.lexeme) DESC, w.lexeme
            LIMIT 6
        ),
        asked AS MATERIALIZED (
            SELECT string_agg(
                       '''' || replace(replace(l.lexeme, '\', '\\'), '''', '''''') || '''',
                       ' & '
                   ) AS query
            FROM longest l
            HAVING count(*) > 1
        )
        SELECT e.id, left(e.summary, 20000)
        FROM asked a
        JOIN episodic_memory e ON e.search @@ a.query::tsquery
        WHERE (e.namespace || '') = %(namespace)s
          AND (e.metadata ? 'echo_of') IS NOT TRUE
          AND length(e.summary) BETWEEN length(%(text)s) * 0.8 - 10
                                    AND length(%(text)s) * 1.25 + 10
        LIMIT 20
        """,
        {"namespace": namespace, "text": text},
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]
