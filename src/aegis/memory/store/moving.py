"""SQL of rows and spare vectors that change places, and of spare vectors that are dropped.

While the vectors of a model are searched beside the rows (`embedding_models.beside_until`), they
stay there as copies when their row carries them; otherwise a row has one vector of a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute
from aegis.memory.store.spares import with_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.memory.store.spares import SpareTable

__all__ = ["add_copies", "drop_copies", "drop_spares", "forget_retired", "move_in"]


async def add_copies(
    conn: Connection, table: SpareTable, *, model: str, after_id: int, limit: int
) -> tuple[int, int | None]:
    """Put the vectors of rows that carry the model beside them, too, where they are not.

    Looks at up to `limit` such rows; returns how many got a copy, and the last id looked at. A
    trigger does this for what is recorded from the beginning of the change on.
    """
    cursor = await conn.execute(
        with_tables(
            """
            WITH looked AS MATERIALIZED (
                SELECT r.id, r.embedding
                FROM {table} r
                WHERE r.id > %(after_id)s
                  AND r.embedding_model = %(model)s
                  AND r.embedding IS NOT NULL
                ORDER BY r.id
                LIMIT %(limit)s
                FOR NO KEY UPDATE OF r
            ),
            copied AS (
                INSERT INTO {spares} (id, model, embedding)
                SELECT l.id, %(model)s, l.embedding
                FROM looked l
                WHERE NOT EXISTS (
                    SELECT
                    FROM {spares} v
                    WHERE v.id = l.id
                      AND v.model = %(model)s
                )
                ON CONFLICT (id, model) DO NOTHING
                RETURNING id
            )
            SELECT (SELECT count(*) FROM copied), (SELECT max(l.id) FROM looked l)
            """,
            table,
        ),
        {"model": model, "after_id": after_id, "limit": limit},
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def move_in(
    conn: Connection,
    table: SpareTable,
    *,
    carried: str,
    wanted: str,
    after_id: int,
    limit: int,
    copies: bool,
) -> tuple[int, int | None]:
    """Let rows carry their spare vector of `wanted`, and keep the other one as the spare.

    With `copies` the one of `wanted` stays beside the row as well. Returns how many rows, and the
    last id; None when there was none. Rows that somebody changes at this moment are left out.
    """
    await execute(conn, "SET LOCAL aegis.moving = 'on'")
    cursor = await conn.execute(
        with_tables(
            """
            WITH picked AS MATERIALIZED (
                SELECT r.id, r.embedding AS was, v.embedding AS becomes
                FROM {table} r
                JOIN {spares} v ON v.id = r.id AND v.model = %(wanted)s
                WHERE r.id > %(after_id)s
                  AND r.embedding_model = %(carried)s
                ORDER BY r.id
                LIMIT %(limit)s
                -- Both: a text that changes takes its spare vector along.
                FOR NO KEY UPDATE OF r, v SKIP LOCKED
            ),
            gone AS (
                DELETE FROM {spares} v
                USING picked p
                WHERE v.id = p.id
                  AND v.model = %(wanted)s
                  AND NOT %(copies)s
            ),
            kept AS (
                INSERT INTO {spares} (id, model, embedding)
                SELECT p.id, %(carried)s, p.was
                FROM picked p
                ON CONFLICT (id, model) DO UPDATE SET embedding = excluded.embedding
            ),
            moved AS (
                UPDATE {table} r
                SET embedding = p.becomes,
                    embedding_model = %(wanted)s
                FROM picked p
                WHERE r.id = p.id
                RETURNING r.id
            )
            SELECT count(*), max(m.id)
            FROM moved m
            """,
            table,
        ),
        {
            "carried": carried,
            "wanted": wanted,
            "after_id": after_id,
            "limit": limit,
            "copies": copies,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def drop_copies(conn: Connection, table: SpareTable, *, model: str, limit: int) -> int:
    """Delete vectors of the model beside rows that carry one of it; return how many went."""
    return await execute(
        conn,
        with_tables(
            """
            DELETE FROM {spares} v
            USING (
                SELECT o.id
                FROM {spares} o
                JOIN {table} r ON r.id = o.id
                WHERE o.model = %(model)s
                  AND r.embedding_model = %(model)s
                  AND r.embedding IS NOT NULL
                LIMIT %(limit)s
                FOR UPDATE OF o SKIP LOCKED
            ) AS copies
            WHERE v.id = copies.id
              AND v.model = %(model)s
            """,
            table,
        ),
        {"model": model, "limit": limit},
    )


async def drop_spares(
    conn: Connection, table: SpareTable, *, kept: Sequence[str], limit: int
) -> int:
    """Delete spare vectors of all models but `kept`, up to `limit`; return how many went."""
    return await execute(
        conn,
        with_tables(
            """
            DELETE FROM {spares} v
            USING (
                SELECT o.id, o.model
                FROM {spares} o
                WHERE o.model <> ALL(%(kept)s::text[])
                LIMIT %(limit)s
                FOR UPDATE SKIP LOCKED
            ) AS old
            WHERE v.id = old.id
              AND v.model = old.model
            """,
            table,
        ),
        {"kept": list(kept), "limit": limit},
    )


async def forget_retired(conn: Connection, table: SpareTable, *, limit: int) -> int:
    """Leave rows without a vector that carry one of a retired model: the backfill makes another.

    Reads the table where there is none.
    """
    return await execute(
        conn,
        with_tables(
            """
            UPDATE {table} r
            SET embedding = NULL,
                embedding_model = NULL
            FROM (
                SELECT o.id
                FROM {table} o
                WHERE o.embedding_model IN (
                          SELECT m.model FROM embedding_models m WHERE m.state = 'retired'
                      )
                  AND o.embedding IS NOT NULL
                LIMIT %(limit)s
                FOR NO KEY UPDATE SKIP LOCKED
            ) AS late
            WHERE r.id = late.id
            """,
            table,
        ),
        {"limit": limit},
    )
