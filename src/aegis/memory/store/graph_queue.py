"""SQL over `graph_queue`: what is to be read for entities, and what recurs.

A note is deleted in the transaction that writes what its text says. Notes are taken by their number
and none is passed over: one that is committed late is simply there the next time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all, fetch_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "Waiting",
    "count_waiting",
    "hold_texts",
    "list_waiting",
    "note_all",
    "note_episodes",
    "pass_on",
    "recurring",
    "remove_notes",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A text that waits to be read."""

    #: Number of the note.
    note: int
    #: Number of the node, as in `graph_relations`.
    node: int
    #: None where it is gone.
    namespace: str | None
    text: str
    #: From when to when what it says holds.
    valid_from: datetime | None
    valid_to: datetime | None


async def list_waiting(conn: Connection, *, stage: str, after: int, limit: int) -> list[Waiting]:
    """Return texts that wait for a stage, by the number of their notes."""
    return await fetch_all(
        conn,
        Waiting,
        """
        WITH notes AS MATERIALIZED (
            SELECT q.id, q.episode_id, q.fact_id
            FROM graph_queue q
            WHERE q.stage = %(stage)s
              AND q.id > %(after)s
            ORDER BY q.id
            LIMIT %(limit)s
        )
        SELECT
            q.id AS note,
            coalesce(q.episode_id::bigint * 4, q.fact_id::bigint * 4 + 1, 0) AS node,
            coalesce(e.namespace, f.namespace) AS namespace,
            coalesce(e.summary, f.concept || ': ' || f.content, '') AS text,
            CASE
                WHEN isfinite(coalesce(e.timestamp, f.valid_from))
                THEN coalesce(e.timestamp, f.valid_from)
            END AS valid_from,
            f.valid_to
        FROM notes q
        LEFT JOIN episodic_memory e ON e.id = q.episode_id
        LEFT JOIN semantic_memory f ON f.id = q.fact_id
        ORDER BY q.id
        """,
        {"stage": stage, "after": after, "limit": limit},
    )


async def hold_texts(conn: Connection, nodes: Sequence[int], texts: Sequence[str]) -> set[int]:
    """Return the nodes whose text is still the one that was read, and keep it so."""
    params = {"nodes": list(nodes), "texts": list(texts)}
    cursor = await conn.execute(
        """
        SELECT e.id::bigint * 4
        FROM unnest(%(nodes)s::bigint[], %(texts)s::text[]) AS t (node, text)
        JOIN episodic_memory e ON t.node %% 4 = 0 AND e.id = t.node / 4
        WHERE e.summary = t.text
        ORDER BY e.id
        FOR SHARE OF e
        """,
        params,
    )
    held = {row[0] for row in await cursor.fetchall()}
    cursor = await conn.execute(
        """
        SELECT f.id::bigint * 4 + 1
        FROM unnest(%(nodes)s::bigint[], %(texts)s::text[]) AS t (node, text)
        JOIN semantic_memory f ON t.node %% 4 = 1 AND f.id = t.node / 4
        WHERE f.concept || ': ' || f.content = t.text
        ORDER BY f.id
        FOR SHARE OF f
        """,
        params,
    )
    return held | {row[0] for row in await cursor.fetchall()}


async def remove_notes(conn: Connection, notes: Sequence[int]) -> None:
    """Take notes off the queue."""
    await execute(
        conn, "DELETE FROM graph_queue WHERE id = ANY(%(notes)s::bigint[])", {"notes": list(notes)}
    )


async def pass_on(conn: Connection, notes: Sequence[int]) -> None:
    """Let notes wait for the language model."""
    await execute(
        conn,
        "UPDATE graph_queue SET stage = 'model' WHERE id = ANY(%(notes)s::bigint[])",
        {"notes": list(notes)},
    )


async def note_episodes(conn: Connection, ids: Sequence[int]) -> None:
    """Let episodes be read again."""
    await execute(
        conn,
        "INSERT INTO graph_queue (episode_id) SELECT unnest(%(ids)s::int[])",
        {"ids": list(ids)},
    )


async def note_all(conn: Connection, *, namespace: str) -> int:
    """Let everything of a namespace be read again and return how much that is."""
    params = {"namespace": namespace}
    episodes = await execute(
        conn,
        """
        INSERT INTO graph_queue (episode_id)
        SELECT id FROM episodic_memory WHERE namespace = %(namespace)s ORDER BY id
        """,
        params,
    )
    facts = await execute(
        conn,
        """
        INSERT INTO graph_queue (fact_id)
        SELECT id FROM semantic_memory WHERE namespace = %(namespace)s ORDER BY id
        """,
        params,
    )
    return episodes + facts


async def count_waiting(conn: Connection, *, stage: str) -> int:
    """Return how many texts wait for a stage."""
    return await fetch_value(
        conn, "SELECT count(*) FROM graph_queue WHERE stage = %(stage)s", {"stage": stage}
    )


async def recurring(
    conn: Connection,
    *,
    namespaces: Sequence[str],
    keys: Sequence[str],
    names: Sequence[str],
    nodes: Sequence[int],
) -> dict[int, list[int]]:
    """Return, by position, in which other episodes a person's name stands; known ones in none.

    A name that stands nowhere else is left out.
    """
    cursor = await conn.execute(
        """
        SELECT
            c.position,
            known.id IS NOT NULL,
            ARRAY(
                SELECT e.id
                FROM episodic_memory e
                WHERE known.id IS NULL
                  AND e.search @@ phraseto_tsquery('english', c.name)
                  AND e.namespace = c.namespace
                  AND e.id::bigint * 4 <> c.node
                LIMIT 5
            )
        FROM unnest(
            %(namespaces)s::text[], %(keys)s::text[], %(names)s::text[], %(nodes)s::bigint[]
        ) WITH ORDINALITY AS c (namespace, key, name, node, position)
        LEFT JOIN graph_entities known
               ON known.namespace = c.namespace
              AND known.kind = 'person'
              AND known.key = c.key
        """,
        {
            "namespaces": list(namespaces),
            "keys": list(keys),
            "names": list(names),
            "nodes": list(nodes),
        },
    )
    return {
        position - 1: others
        for position, known, others in await cursor.fetchall()
        if known or others
    }
