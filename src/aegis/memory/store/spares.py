"""SQL over `episodic_vectors` and `semantic_vectors`: the vectors that rows do not carry.

Invariant: a row has at most one vector of a model, its own or a spare one, but for copies while
rows move (`moving`), and the two change places in one statement. A spare vector says what its row
says: it is stored only while the row's text is the one that was embedded, and the triggers of the
tables drop it when the text changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, LiteralString

from psycopg import sql

from aegis.db import execute, fetch_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection

__all__ = [
    "TABLES",
    "SpareTable",
    "add_spares",
    "any_carries",
    "count_rows",
    "has_halfvec",
    "last_id",
    "list_gaps",
    "lock_work",
    "measure_texts",
    "sample_texts",
    "similarities",
    "unlock_work",
    "with_tables",
]

SpareTable = Literal["episodic_memory", "semantic_memory"]
TABLES: tuple[SpareTable, ...] = ("episodic_memory", "semantic_memory")
_SPARES: dict[SpareTable, LiteralString] = {
    "episodic_memory": "episodic_vectors",
    "semantic_memory": "semantic_vectors",
}
#: The text that is embedded.
_TEXTS: dict[SpareTable, LiteralString] = {
    "episodic_memory": "r.summary",
    "semantic_memory": "r.concept || ': ' || r.content",
}

#: Key of the advisory lock of the work on a change: "models" in ASCII.
_LOCK = 0x6D6F64656C73


async def lock_work(conn: Connection) -> bool:
    """Take the lock of the work on a change for the session; False where another has it."""
    return await fetch_value(conn, "SELECT pg_try_advisory_lock(%(key)s)", {"key": _LOCK})


async def unlock_work(conn: Connection) -> None:
    """Give the lock back: the connection goes back to a pool, and would keep it."""
    await fetch_value(conn, "SELECT pg_advisory_unlock(%(key)s)", {"key": _LOCK})


async def count_rows(
    conn: Connection, table: SpareTable, *, carried: str, wanted: str
) -> tuple[int, int, int]:
    """Return how many rows carry `carried`, how many of them have a spare of `wanted`, the others.

    The others carry `wanted` themselves. Reads the table.
    """
    cursor = await conn.execute(
        with_tables(
            """
            SELECT count(*) FILTER (WHERE r.embedding_model = %(carried)s),
                   count(*) FILTER (WHERE r.embedding_model = %(carried)s AND v.id IS NOT NULL),
                   count(*) FILTER (WHERE r.embedding_model = %(wanted)s)
            FROM {table} r
            LEFT JOIN {spares} v ON v.id = r.id AND v.model = %(wanted)s
            WHERE r.embedding IS NOT NULL
            """,
            table,
        ),
        {"carried": carried, "wanted": wanted},
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1], row[2]


async def any_carries(conn: Connection, table: SpareTable, model: str) -> bool:
    """Return whether a row carries a vector of the model; reads the table where none does."""
    return await fetch_value(
        conn,
        with_tables("SELECT EXISTS (SELECT FROM {table} WHERE embedding_model = %(model)s)", table),
        {"model": model},
    )


async def last_id(conn: Connection, table: SpareTable) -> int:
    """Return the greatest id there is, 0 without a row."""
    return await fetch_value(conn, with_tables("SELECT coalesce(max(id), 0) FROM {table}", table))


async def measure_texts(conn: Connection, table: SpareTable, *, carried: str) -> tuple[int, int]:
    """Return how many rows carry the model, and the characters of their texts in all."""
    cursor = await conn.execute(
        with_tables(
            """
            SELECT count(*), coalesce(sum(length({text})), 0)::bigint
            FROM {table} r
            WHERE r.embedding_model = %(carried)s
              AND r.embedding IS NOT NULL
            """,
            table,
        ),
        {"carried": carried},
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def sample_texts(
    conn: Connection, table: SpareTable, *, carried: str, count: int, seed: float
) -> list[tuple[int, str, str]]:
    """Return (id, namespace, text) of up to `count` rows that carry the model, here and there."""
    cursor = await conn.execute(
        with_tables(
            """
            WITH bounds AS (
                SELECT min(id) AS least, max(id) AS most
                FROM {table}
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
            SELECT DISTINCT ON (found.id) found.id, found.namespace, found.text
            FROM starts s
            CROSS JOIN LATERAL (
                SELECT r.id, r.namespace, {text} AS text
                FROM {table} r
                WHERE r.id >= s.id
                  AND r.embedding_model = %(carried)s
                  AND r.embedding IS NOT NULL
                ORDER BY r.id
                LIMIT 1
            ) AS found
            ORDER BY found.id
            """,
            table,
        ),
        {"carried": carried, "count": count, "seed": seed},
    )
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


async def list_gaps(
    conn: Connection, table: SpareTable, *, carried: str, wanted: str, after_id: int, limit: int
) -> list[tuple[int, str]]:
    """Return (id, text to embed) of rows that carry one model and lack the other, by id."""
    cursor = await conn.execute(
        with_tables(
            """
            SELECT r.id, {text}
            FROM {table} r
            WHERE r.id > %(after_id)s
              AND r.embedding_model = %(carried)s
              AND r.embedding IS NOT NULL
              AND NOT EXISTS (
                  SELECT
                  FROM {spares} v
                  WHERE v.id = r.id
                    AND v.model = %(wanted)s
              )
            ORDER BY r.id
            LIMIT %(limit)s
            """,
            table,
        ),
        {"carried": carried, "wanted": wanted, "after_id": after_id, "limit": limit},
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def add_spares(
    conn: Connection,
    table: SpareTable,
    *,
    ids: Sequence[int],
    texts: Sequence[str],
    vectors: Sequence[str],
    model: str,
) -> int:
    """Store spare vectors of rows that still say the text and carry another model."""
    return await execute(
        conn,
        with_tables(
            """
            WITH rows AS MATERIALIZED (
                SELECT r.id, g.vector
                FROM unnest(%(ids)s::integer[], %(texts)s::text[], %(vectors)s::text[])
                    AS g (id, text, vector)
                JOIN {table} r ON r.id = g.id
                WHERE {text} = g.text
                  AND r.embedding IS NOT NULL
                  AND r.embedding_model IS DISTINCT FROM %(model)s
                ORDER BY r.id
                -- Who changes the text at this moment would not see, and not drop, the vector.
                FOR NO KEY UPDATE OF r SKIP LOCKED
            )
            INSERT INTO {spares} (id, model, embedding)
            SELECT rows.id, %(model)s, rows.vector::vector
            FROM rows
            ON CONFLICT (id, model) DO NOTHING
            """,
            table,
        ),
        {"ids": list(ids), "texts": list(texts), "vectors": list(vectors), "model": model},
    )


async def similarities(
    conn: Connection, ids: Sequence[int], *, vector: str, model: str
) -> dict[int, float]:
    """Return the cosine of those episodes of `ids` that carry a vector of the model."""
    cursor = await conn.execute(
        """
        SELECT e.id, (1 - (e.embedding <=> %(vector)s::vector))::float8
        FROM episodic_memory e
        WHERE e.id = ANY(%(ids)s::int[])
          AND e.embedding_model = %(model)s
        """,
        {"ids": list(ids), "vector": vector, "model": model},
    )
    return {row[0]: row[1] for row in await cursor.fetchall() if row[1] is not None}


async def has_halfvec(conn: Connection) -> bool:
    """Return whether pgvector has the type that the indexes are made of (0.7)."""
    return await fetch_value(conn, "SELECT to_regtype('halfvec') IS NOT NULL")


def with_tables(text: LiteralString, table: SpareTable) -> sql.Composed:
    """Return the statement for a table `r`, the spare vectors of it and the text it embeds."""
    return sql.SQL(text).format(
        table=sql.Identifier(table),
        spares=sql.SQL(_SPARES[table]),
        text=sql.SQL(_TEXTS[table]),
    )
