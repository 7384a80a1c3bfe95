"""SQL that moves facts out and in with all they have: history, sources, vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_value
from aegis.db.json_column import read_json_safely

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "count_deleted",
    "find_facts_by_source",
    "insert_sources",
    "insert_steps",
    "is_deleted_known",
    "list_fact_vectors",
    "list_histories",
    "list_sources_of",
    "page_deleted",
    "reserve_fact_id",
    "reserve_source_ids",
    "reserve_step_ids",
    "set_step_successor",
    "set_successors",
]


async def list_histories(
    conn: Connection, fact_ids: Sequence[int]
) -> dict[int, list[dict[str, Any]]]:
    """Return the steps of these facts, the first one first, by fact."""
    read_json_safely(conn)
    cursor = await conn.execute(
        """
        SELECT fact_id, id, action, before, at, actor, undoes
        FROM fact_history
        WHERE fact_id = ANY(%(ids)s)
        ORDER BY fact_id, id
        """,
        {"ids": list(fact_ids)},
    )
    found: dict[int, list[dict[str, Any]]] = {}
    names = ("id", "action", "before", "at", "actor", "undoes")
    for fact_id, *values in await cursor.fetchall():
        found.setdefault(fact_id, []).append(dict(zip(names, values, strict=True)))
    return found


async def list_sources_of(
    conn: Connection, fact_ids: Sequence[int]
) -> dict[int, list[dict[str, Any]]]:
    """Return the sources of these facts, the first one first, by fact."""
    cursor = await conn.execute(
        """
        SELECT fact_id, source, source_id, content, confidence, recorded_at, step
        FROM fact_sources
        WHERE fact_id = ANY(%(ids)s)
        ORDER BY fact_id, id
        """,
        {"ids": list(fact_ids)},
    )
    found: dict[int, list[dict[str, Any]]] = {}
    names = ("source", "source_id", "content", "confidence", "recorded_at", "step")
    for fact_id, *values in await cursor.fetchall():
        found.setdefault(fact_id, []).append(dict(zip(names, values, strict=True)))
    return found


async def list_fact_vectors(conn: Connection, fact_ids: Sequence[int]) -> dict[int, str]:
    """Return the stored vectors of these facts in pgvector's text form, by id."""
    cursor = await conn.execute(
        """
        SELECT id, embedding::text
        FROM semantic_memory
        WHERE id = ANY(%(ids)s)
          AND embedding IS NOT NULL
        """,
        {"ids": list(fact_ids)},
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def page_deleted(conn: Connection, namespace: str, *, after_id: int, limit: int) -> list[int]:
    """Return ids of facts that only their history tells of, behind `after_id`."""
    cursor = await conn.execute(
        """
        SELECT DISTINCT h.fact_id
        FROM fact_history h
        WHERE h.namespace = %(namespace)s
          AND h.fact_id > %(after_id)s
          AND NOT EXISTS (SELECT FROM semantic_memory f WHERE f.id = h.fact_id)
        ORDER BY h.fact_id
        LIMIT %(limit)s
        """,
        {"namespace": namespace, "after_id": after_id, "limit": limit},
    )
    return [row[0] for row in await cursor.fetchall()]


async def count_deleted(conn: Connection, namespace: str) -> int:
    """Return how many facts only their history tells of."""
    return await fetch_value(
        conn,
        """
        SELECT count(DISTINCT h.fact_id)
        FROM fact_history h
        WHERE h.namespace = %(namespace)s
          AND NOT EXISTS (SELECT FROM semantic_memory f WHERE f.id = h.fact_id)
        """,
        {"namespace": namespace},
    )


async def is_deleted_known(conn: Connection, namespace: str, *, action: str, at: datetime) -> bool:
    """Return whether the namespace has this step already; imports look one after the other."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('aegis.import.facts', 0))")
    return await fetch_value(
        conn,
        """
        SELECT EXISTS (
            SELECT
            FROM fact_history h
            WHERE h.namespace = %(namespace)s
              AND h.at = %(at)s
              AND h.action = %(action)s
        )
        """,
        {"namespace": namespace, "at": at, "action": action},
    )


async def reserve_fact_id(conn: Connection) -> int:
    """Take an id from the sequence of facts."""
    return await fetch_value(
        conn, "SELECT nextval(pg_get_serial_sequence('semantic_memory', 'id'))"
    )


async def reserve_step_ids(conn: Connection, count: int) -> list[int]:
    """Take ids of steps, ascending."""
    cursor = await conn.execute(
        """
        SELECT nextval(pg_get_serial_sequence('fact_history', 'id'))
        FROM generate_series(1, %(count)s)
        """,
        {"count": count},
    )
    return sorted(row[0] for row in await cursor.fetchall())


async def reserve_source_ids(conn: Connection, count: int) -> list[int]:
    """Take ids of sources, ascending."""
    cursor = await conn.execute(
        """
        SELECT nextval(pg_get_serial_sequence('fact_sources', 'id'))
        FROM generate_series(1, %(count)s)
        """,
        {"count": count},
    )
    return sorted(row[0] for row in await cursor.fetchall())


async def insert_steps(
    conn: Connection, fact_id: int, namespace: str, steps: Sequence[Mapping[str, Any]]
) -> None:
    """Insert steps with their ids, in order."""
    for step in steps:
        before = step["before"]
        await execute(
            conn,
            """
            INSERT INTO fact_history (id, fact_id, namespace, action, before, at, actor, undoes)
            VALUES (
                %(id)s, %(fact_id)s, %(namespace)s, %(action)s, %(before)s, %(at)s, %(actor)s,
                %(undoes)s
            )
            """,
            {
                **step,
                "fact_id": fact_id,
                "namespace": namespace,
                "before": None if before is None else Jsonb(before),
            },
        )


async def insert_sources(
    conn: Connection, fact_id: int, namespace: str, sources: Sequence[Mapping[str, Any]]
) -> None:
    """Insert the sources of a fact, in order."""
    for source in sources:
        await execute(
            conn,
            """
            INSERT INTO fact_sources (
                fact_id, namespace, source, source_id, content, confidence, recorded_at, step
            )
            VALUES (
                %(fact_id)s, %(namespace)s, %(source)s, %(source_id)s, %(content)s,
                %(confidence)s, %(recorded_at)s, %(step)s
            )
            """,
            {**source, "fact_id": fact_id, "namespace": namespace},
        )


async def find_facts_by_source(
    conn: Connection, namespace: str, source_ids: Sequence[str]
) -> dict[str, int]:
    """Return the ids of the namespace's facts by their own `source_id`."""
    cursor = await conn.execute(
        """
        SELECT source_id, id
        FROM semantic_memory
        WHERE namespace = %(namespace)s
          AND source_id = ANY(%(source_ids)s)
        """,
        {"namespace": namespace, "source_ids": list(source_ids)},
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def set_successors(conn: Connection, successors: Mapping[int, int]) -> None:
    """Say which facts others end with, where nothing is said yet."""
    await execute(
        conn,
        """
        UPDATE semantic_memory f
        SET superseded_by = x.successor
        FROM unnest(%(ids)s::integer[], %(successors)s::integer[]) AS x (id, successor)
        WHERE f.id = x.id
          AND f.superseded_by IS NULL
        """,
        {"ids": list(successors), "successors": list(successors.values())},
    )


async def set_step_successor(conn: Connection, fact_id: int, place: int, successor: int) -> None:
    """Say the same in the row that the step at `place` of a fact's history, from 0, keeps."""
    await execute(
        conn,
        """
        UPDATE fact_history h
        SET before = jsonb_set(h.before, '{superseded_by}', to_jsonb(%(successor)s::integer))
        WHERE h.id = (
            SELECT s.id
            FROM fact_history s
            WHERE s.fact_id = %(fact_id)s
            ORDER BY s.id
            OFFSET %(place)s
            LIMIT 1
        )
          AND h.before ? 'superseded_by'
          AND h.before -> 'superseded_by' = 'null'
        """,
        {"fact_id": fact_id, "place": place, "successor": successor},
    )
