"""SQL that consolidation reads by: new episodes of a namespace, and the few that may be like each.

Likes come from the index of words and, where that is quick, from the graph of vectors: never from a
comparison with all. `hnsw.*` is set for the transaction by `list_near`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from aegis.db import fetch_all, fetch_value
from aegis.memory.store.space import comparable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection
    from aegis.memory.store.search_sql import Space

__all__ = [
    "Row",
    "lexemes_of",
    "list_cosines",
    "list_followers",
    "list_mentions",
    "list_near",
    "list_new",
    "list_rows",
    "list_worded",
]

#: Summaries are read up to here, and lexemes of long ones are left out.
_READ, _LEXEMES = 4_000, 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An episode, as far as consolidation reads it."""

    id: int
    at: datetime
    event_type: str
    session_id: str | None
    summary: str
    lexemes: list[str]
    #: Whether nothing else is recorded with the text.
    bare: bool


async def list_new(
    conn: Connection,
    namespace: str,
    *,
    after: int,
    upto: int,
    since: datetime | None,
    limit: int,
) -> list[Row]:
    """Return the next episodes by id, echoes and what has expired left out."""
    return await fetch_all(
        conn,
        Row,
        """
        SELECT
            e.id,
            coalesce(e.timestamp, e.created_at, 'epoch') AS at,
            e.event_type,
            e.session_id,
            left(e.summary, %(read)s) AS summary,
            (tsvector_to_array(e.search))[1:%(lexemes)s] AS lexemes,
            e.details IS NULL AND e.context IS NULL AS bare
        FROM episodic_memory e
        WHERE e.namespace = %(namespace)s
          AND e.id > %(after)s
          AND e.id <= %(upto)s
          AND (%(since)s::timestamptz IS NULL OR e.timestamp >= %(since)s)
          AND (e.metadata ? 'echo_of') IS NOT TRUE
          AND (e.expires_at > now()) IS NOT FALSE
        ORDER BY e.id
        LIMIT %(limit)s
        """,
        {
            "namespace": namespace,
            "after": after,
            "upto": upto,
            "since": since,
            "limit": limit,
            "read": _READ,
            "lexemes": _LEXEMES,
        },
    )


async def list_rows(conn: Connection, namespace: str, ids: Sequence[int]) -> list[Row]:
    """Return these episodes of the namespace, echoes and what has expired left out, by id."""
    return await fetch_all(
        conn,
        Row,
        """
        SELECT
            e.id,
            coalesce(e.timestamp, e.created_at, 'epoch') AS at,
            e.event_type,
            e.session_id,
            left(e.summary, %(read)s) AS summary,
            (tsvector_to_array(e.search))[1:%(lexemes)s] AS lexemes,
            e.details IS NULL AND e.context IS NULL AS bare
        FROM episodic_memory e
        WHERE e.id = ANY(%(ids)s::int[])
          AND (e.namespace = %(namespace)s) IS TRUE
          AND (e.metadata ? 'echo_of') IS NOT TRUE
          AND (e.expires_at > now()) IS NOT FALSE
        ORDER BY e.id
        """,
        {"ids": list(ids), "namespace": namespace, "read": _READ, "lexemes": _LEXEMES},
    )


async def list_worded(
    conn: Connection, namespace: str, ids: Sequence[int], queries: Sequence[str], *, limit: int
) -> list[tuple[int, int]]:
    """Return (id, id of one that has its words) by one look-up in the index of words for each.

    A query is the text of a tsquery and names the namespace itself, as `search` holds it.
    """
    cursor = await conn.execute(
        """
        SELECT s.id, n.id
        FROM unnest(%(ids)s::int[], %(queries)s::text[]) AS s (id, query)
        CROSS JOIN LATERAL (
            SELECT e.id
            FROM episodic_memory e
            WHERE e.search @@ s.query::tsquery
              AND (e.namespace = %(namespace)s) IS TRUE
              AND e.id <> s.id
            LIMIT %(limit)s
        ) AS n
        """,
        {"ids": list(ids), "queries": list(queries), "namespace": namespace, "limit": limit},
        prepare=False,
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def list_near(
    conn: Connection,
    namespace: str,
    ids: Sequence[int],
    *,
    space: Space,
    exact: bool,
    limit: int,
) -> list[tuple[int, int]]:
    """Return (id, id of one whose vector is near), by the graph of the space's model.

    `exact` compares all of the namespace instead, which has to be small.
    """
    await conn.execute(
        """
        SELECT set_config('hnsw.ef_search', '40', true),
               set_config('hnsw.iterative_scan', 'relaxed_order', true)
        """
    )
    # The expression of the graph's index, and one that no index has.
    halves = sql.SQL("halfvec({})").format(sql.Literal(space.dimensions))
    kind = sql.SQL("vector") if exact else halves
    inside: sql.SQL = sql.SQL(
        "e.namespace = %(namespace)s" if exact else "(e.namespace = %(namespace)s) IS TRUE"
    )
    statement = sql.SQL(
        """
        SELECT s.id, n.id
        FROM episodic_memory s
        CROSS JOIN LATERAL (
            SELECT e.id
            FROM episodic_memory e
            WHERE {comparable}
              AND {inside}
            ORDER BY e.embedding::{kind} <=> s.embedding::{kind}
            LIMIT {limit}
        ) AS n
        WHERE s.id = ANY(%(ids)s::int[])
          AND {own}
          AND n.id <> s.id
        """
    ).format(
        comparable=comparable(space),
        inside=inside,
        own=comparable(space, "s"),
        kind=kind,
        limit=sql.Literal(limit + 1),
    )
    params: dict[str, Any] = {"ids": list(ids), "namespace": namespace}
    cursor = await conn.execute(statement, params, prepare=False)
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def list_cosines(
    conn: Connection, pairs: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    """Return the cosine of these pairs of episodes, where both have vectors of one model."""
    cursor = await conn.execute(
        """
        SELECT p.one, p.other, (1 - (a.embedding <=> b.embedding))::float8
        FROM unnest(%(one)s::int[], %(other)s::int[]) AS p (one, other)
        JOIN episodic_memory a ON a.id = p.one
        JOIN episodic_memory b ON b.id = p.other
        WHERE a.embedding_model = b.embedding_model
          AND vector_dims(a.embedding) = vector_dims(b.embedding)
        """,
        {"one": [p[0] for p in pairs], "other": [p[1] for p in pairs]},
    )
    return {(row[0], row[1]): row[2] for row in await cursor.fetchall()}


async def list_mentions(
    conn: Connection, namespace: str, event_type: str, query: str, *, limit: int
) -> list[int]:
    """Return ids of episodes of a type that hold a word or phrase, the newest first."""
    cursor = await conn.execute(
        """
        SELECT e.id
        FROM episodic_memory e
        WHERE e.search @@ %(query)s::tsquery
          AND (e.namespace = %(namespace)s) IS TRUE
          AND (e.event_type = %(event_type)s) IS TRUE
          AND (e.metadata ? 'echo_of') IS NOT TRUE
          AND (e.expires_at > now()) IS NOT FALSE
        ORDER BY (e.id + 0) DESC
        LIMIT %(limit)s
        """,
        {"query": query, "namespace": namespace, "event_type": event_type, "limit": limit},
        prepare=False,
    )
    return [row[0] for row in await cursor.fetchall()]


async def lexemes_of(conn: Connection, text: str) -> list[str]:
    """Return the lexemes of a name, as `search` holds them."""
    return await fetch_value(
        conn, "SELECT tsvector_to_array(to_tsvector('english', %(text)s))", {"text": text}
    )


async def list_followers(
    conn: Connection, namespace: str, ids: Sequence[int], *, limit: int
) -> list[tuple[int, int]]:
    """Return (id, id of one that came after it within a day, in its session), in time's order.

    Of an episode without a session: what came within the hour and has none either.
    """
    cursor = await conn.execute(
        """
        SELECT s.id, n.id
        FROM episodic_memory s
        CROSS JOIN LATERAL (
            (SELECT o.id, o.timestamp
            FROM episodic_memory o
            WHERE o.namespace = s.namespace
              AND o.session_id = s.session_id
              AND (o.timestamp, o.id) > (s.timestamp, s.id)
              AND o.timestamp <= s.timestamp + interval '1 day'
            ORDER BY o.timestamp, o.id
            LIMIT %(limit)s)
            UNION ALL
            (SELECT o.id, o.timestamp
            FROM episodic_memory o
            WHERE s.session_id IS NULL
              AND o.session_id IS NULL
              AND o.namespace = s.namespace
              AND (o.timestamp, o.id) > (s.timestamp, s.id)
              AND o.timestamp <= s.timestamp + interval '1 hour'
            ORDER BY o.timestamp, o.id
            LIMIT %(limit)s)
        ) AS n
        WHERE s.id = ANY(%(ids)s::int[])
          AND s.namespace = %(namespace)s
        ORDER BY s.id, n.timestamp, n.id
        """,
        {"ids": list(ids), "namespace": namespace, "limit": limit},
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]
