"""SQL over `store_items` by key; vectors, paths and searching are in the files beside it.

A batch that puts into several places takes their locks first, in order, and whoever only lengthens
a life waits for nobody: nobody deadlocks. Times come from the clock, not from the start of the
transaction: of two puts the later one is later.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, LiteralString
from zlib import crc32

from psycopg import sql

from aegis.db import execute
from aegis.db.json_column import read_json_safely
from aegis.memory.items.check import path_range
from aegis.memory.items.models import Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.memory.items.models import GetItem, PutItem

__all__ = [
    "COLUMNS",
    "alive",
    "as_item",
    "delete_items",
    "find_items",
    "in_range",
    "lock_places",
    "put_items",
    "sweep_items",
]

COLUMNS: LiteralString = """
    i.namespace,
    i.path,
    i.key,
    coalesce(i.verbatim::json, i.value::json) AS value,
    i.created_at,
    i.updated_at,
    i.ttl_minutes,
    i.expires_at
"""

#: First key of the advisory locks of places: "item" in ASCII; and how many there are.
_LOCK, _LOCKS = 0x6974656D, 256

#: Keys that were asked for, as `asked (number, path, key, …)`; a path comes as a JSON array.
_ASKED: LiteralString = """
    SELECT a.number,
           ARRAY(SELECT jsonb_array_elements_text(a.path::jsonb)) AS path,
           a.key
    FROM unnest(%(paths)s::text[], %(keys)s::text[]) WITH ORDINALITY AS a (path, key, number)
"""


def as_item(row: Sequence[Any]) -> Item:
    """Return the item of a row of `COLUMNS`."""
    return Item(
        namespace=row[0],
        path=tuple(row[1]),
        key=row[2],
        value=row[3],
        created_at=row[4],
        updated_at=row[5],
        ttl_minutes=row[6],
        expires_at=row[7],
    )


#: Left out of what only reads: a role that may not write can ask it.
_REFRESHED: LiteralString = """,
        -- Whoever is at work on a row sets its end himself; nobody waits here, so nobody deadlocks.
        mortal AS MATERIALIZED (
            SELECT s.id
            FROM store_items s
            WHERE s.id IN (
                SELECT f.id
                FROM found f
                WHERE f.ttl_minutes IS NOT NULL
                  AND (%(refresh)s::boolean[])[f.number]
            )
            FOR UPDATE SKIP LOCKED
        ),
        refreshed AS (
            UPDATE store_items s
            SET expires_at = clock_timestamp() + s.ttl_minutes * interval '1 minute'
            FROM mortal m
            WHERE s.id = m.id
        )
        """


async def find_items(
    conn: Connection, gets: Sequence[GetItem], *, namespace: str, omit_expired: bool
) -> list[Item | None]:
    """Return the items asked for, None where there is none; begin the lives anew that shall."""
    read_json_safely(conn)
    cursor = await conn.execute(
        "WITH asked AS MATERIALIZED ("
        + _ASKED
        + """
        ),
        found AS MATERIALIZED (
            SELECT a.number, i.*
            FROM asked a
            CROSS JOIN LATERAL (
                SELECT *
                FROM store_items s
                WHERE s.namespace = %(namespace)s
                  AND s.path = a.path
                  AND s.key = a.key
                  AND (NOT %(omit_expired)s OR s.expires_at > clock_timestamp()) IS NOT FALSE
            ) AS i
        )
        """
        + (_REFRESHED if any(get.refresh for get in gets) else "")
        + "SELECT "
        + COLUMNS
        + ", i.number FROM found i",
        {
            "paths": [_path_text(get.path) for get in gets],
            "keys": [get.key for get in gets],
            "refresh": [get.refresh for get in gets],
            "namespace": namespace,
            "omit_expired": omit_expired,
        },
    )
    found: list[Item | None] = [None] * len(gets)
    for row in await cursor.fetchall():
        found[row[8] - 1] = as_item(row)
    return found


async def lock_places(conn: Connection, puts: Sequence[PutItem], *, namespace: str) -> None:
    """Wait for other batches that put into these places, always in the same order.

    A place that is empty has no row to lock, so that places share a few numbered locks.
    """
    names = [json.dumps([namespace, *put.path, put.key]).encode() for put in puts]
    await conn.execute(
        """
        SELECT pg_advisory_xact_lock(%(key)s, b.number)
        FROM unnest(%(numbers)s::int[]) AS b (number)
        """,
        {"key": _LOCK, "numbers": sorted({crc32(name) % _LOCKS for name in names})},
    )


async def delete_items(conn: Connection, puts: Sequence[PutItem], *, namespace: str) -> int:
    """Delete the items in these places and return how many there were; their vectors go, too."""
    return await execute(
        conn,
        "WITH asked AS MATERIALIZED ("
        + _ASKED
        + """
        )
        DELETE FROM store_items i
        USING asked a
        WHERE i.namespace = %(namespace)s
          AND i.path = a.path
          AND i.key = a.key
        """,
        _places(puts, namespace),
    )


async def put_items(
    conn: Connection,
    puts: Sequence[PutItem],
    verbatim: Sequence[str | None],
    *,
    namespace: str,
) -> list[int]:
    """Put items into their places, over what is there, and return their ids in the same order.

    What has expired counts as gone: the new item begins there.
    """
    cursor = await conn.execute(
        """
        WITH started AS MATERIALIZED (
            SELECT clock_timestamp() AS at
        ),
        given AS MATERIALIZED (
            SELECT ARRAY(SELECT jsonb_array_elements_text(g.path::jsonb)) AS path,
                   g.key,
                   g.value,
                   g.verbatim,
                   g.ttl,
                   -- Of two items of one call, the later one is later.
                   s.at + g.number * interval '1 microsecond' AS at,
                   g.number
            FROM unnest(
                %(paths)s::text[], %(keys)s::text[], %(values)s::text[], %(verbatim)s::text[],
                %(ttls)s::float8[]
            ) WITH ORDINALITY AS g (path, key, value, verbatim, ttl, number)
            CROSS JOIN started s
        ),
        put AS (
            INSERT INTO store_items AS i (
                namespace, path, key, value, verbatim, created_at, updated_at, ttl_minutes,
                expires_at
            )
            SELECT %(namespace)s,
                   g.path,
                   g.key,
                   g.value::jsonb,
                   g.verbatim,
                   g.at,
                   g.at,
                   g.ttl,
                   clock_timestamp() + g.ttl * interval '1 minute'
            FROM given g
            ORDER BY g.path COLLATE "C", g.key COLLATE "C"
            ON CONFLICT (namespace, path, key) DO UPDATE
            SET value = EXCLUDED.value,
                verbatim = EXCLUDED.verbatim,
                created_at = CASE
                    WHEN i.expires_at <= clock_timestamp() THEN EXCLUDED.created_at
                    ELSE i.created_at
                END,
                updated_at = greatest(
                    EXCLUDED.updated_at, i.updated_at + interval '1 microsecond'
                ),
                ttl_minutes = EXCLUDED.ttl_minutes,
                expires_at = EXCLUDED.expires_at
            RETURNING i.id, i.path, i.key
        )
        SELECT p.id
        FROM put p
        JOIN given g ON g.path = p.path AND g.key = p.key
        ORDER BY g.number
        """,
        {
            **_places(puts, namespace),
            "values": [json.dumps(dict(put.value or {})) for put in puts],
            "verbatim": list(verbatim),
            "ttls": [put.ttl_minutes for put in puts],
        },
    )
    return [row[0] for row in await cursor.fetchall()]


async def sweep_items(conn: Connection, *, limit: int) -> int:
    """Delete up to `limit` items that have expired, of every namespace; return how many went."""
    return await execute(
        conn,
        """
        DELETE FROM store_items i
        WHERE i.id IN (
            SELECT e.id
            FROM store_items e
            WHERE e.expires_at <= now()
            ORDER BY e.expires_at
            LIMIT %(limit)s
            -- One that is being read or put lives on, or is met at the next sweep.
            FOR UPDATE SKIP LOCKED
        )
        """,
        {"limit": limit},
    )


def alive(*, omit_expired: bool) -> sql.SQL:
    """Return the condition that an item `i` has not expired, where that matters."""
    if omit_expired:
        return sql.SQL("(i.expires_at IS NULL OR i.expires_at > clock_timestamp())")
    return sql.SQL("true")


def in_range(prefix: tuple[str, ...]) -> tuple[sql.SQL, dict[str, Any]]:
    """Return the condition that the path of `i` begins with `prefix`, and its values."""
    if not prefix:
        return sql.SQL("true"), {}
    low, high = path_range(prefix)
    return (
        sql.SQL("i.path >= %(low)s::text[] AND i.path < %(high)s::text[]"),
        {"low": low, "high": high},
    )


def _places(puts: Sequence[PutItem], namespace: str) -> dict[str, Any]:
    return {
        "paths": [_path_text(put.path) for put in puts],
        "keys": [put.key for put in puts],
        "namespace": namespace,
    }


def _path_text(path: tuple[str, ...]) -> str:
    return json.dumps(list(path))
