"""SQL of the months' partitions, and of the files that they leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from aegis.db import fetch_all, fetch_optional
from aegis.usage.models import Archive, Partition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import date

    from aegis.db import Connection

__all__ = [
    "detach",
    "drop",
    "has_rows",
    "insert_archive",
    "list_archives",
    "list_partitions",
    "lock_housekeeping",
    "mark_dropped",
    "newest_archive",
    "read_rows",
]


async def lock_housekeeping(conn: Connection) -> bool:
    """Return whether this session alone keeps house until it ends its transaction."""
    cursor = await conn.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended('aegis.usage.housekeeping', 0))"
    )
    row: Any = await cursor.fetchone()
    return bool(row[0])


async def list_partitions(conn: Connection) -> list[Partition]:
    """Return the months that have a table, the oldest first; detached ones are on their way out."""
    return await fetch_all(
        conn,
        Partition,
        r"""
        SELECT
            to_date(right(c.relname, 7), 'YYYY_MM') AS month,
            c.relname AS name,
            nullif(c.reltuples, -1)::bigint AS rows,
            pg_total_relation_size(c.oid) AS size_bytes,
            i.inhrelid IS NOT NULL AS attached
        FROM pg_class c
        LEFT JOIN pg_inherits i
            ON i.inhrelid = c.oid
           AND i.inhparent = 'api_usage_events'::regclass
        WHERE c.relnamespace = (
              SELECT p.relnamespace FROM pg_class p WHERE p.oid = 'api_usage_events'::regclass
          )
          AND c.relkind = 'r'
          AND c.relname ~ '^api_usage_events_\d{4}_(0[1-9]|1[0-2])$'
        ORDER BY 1
        """,
    )


async def has_rows(conn: Connection, table: str) -> bool:
    """Return whether a partition holds any event."""
    cursor = await conn.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(table))
    )
    row: Any = await cursor.fetchone()
    return bool(row[0])


async def read_rows(conn: Connection, table: str, *, batch: int) -> AsyncIterator[list[Any]]:
    """Yield a partition's rows in batches, in the order of their numbers, from one snapshot."""
    async with conn.cursor(name="aegis_usage_export") as cursor:
        await cursor.execute(
            sql.SQL(
                """
                SELECT id, api_key_id::text, customer_id, endpoint, method, status_code,
                       response_time_ms, tokens_used, cost_usd, created_at, event_id, recorded_at,
                       source
                FROM {}
                ORDER BY id, created_at
                """
            ).format(sql.Identifier(table))
        )
        while rows := await cursor.fetchmany(batch):
            yield rows


async def detach(conn: Connection, table: str) -> None:
    """Take a partition out of the table; nobody who asks the table sees its events any more."""
    await conn.execute("SELECT aegis_usage_detach(%(table)s)", {"table": table})


async def drop(conn: Connection, table: str) -> None:
    """Drop a table that was detached."""
    await conn.execute("SELECT aegis_usage_drop(%(table)s)", {"table": table})


async def insert_archive(conn: Connection, archive: Archive) -> None:
    """Write down that a month was exported; one that has the file's path is replaced."""
    await conn.execute(
        """
        INSERT INTO usage_archives (
            month, state, path, rows, size_bytes, sha256, digest, exported_at, dropped_at
        )
        VALUES (
            %(month)s, %(state)s, %(path)s, %(rows)s, %(size_bytes)s, %(sha256)s, %(digest)s,
            now(), NULL
        )
        ON CONFLICT (month, path) DO UPDATE
        SET state = excluded.state,
            rows = excluded.rows,
            size_bytes = excluded.size_bytes,
            sha256 = excluded.sha256,
            digest = excluded.digest,
            exported_at = excluded.exported_at,
            dropped_at = NULL
        """,
        {
            "month": archive.month,
            "state": archive.state,
            "path": str(archive.path),
            "rows": archive.rows,
            "size_bytes": archive.size_bytes,
            "sha256": archive.sha256,
            "digest": archive.digest,
        },
    )


async def newest_archive(conn: Connection, month: date) -> Archive | None:
    """Return the newest file of a month."""
    return await fetch_optional(
        conn,
        Archive,
        """
        SELECT a.month, a.state, a.path, a.rows, a.size_bytes, a.sha256, a.digest, a.exported_at,
               a.dropped_at
        FROM usage_archives a
        WHERE a.month = %(month)s
        ORDER BY a.exported_at DESC
        LIMIT 1
        """,
        {"month": month},
    )


async def list_archives(conn: Connection) -> list[Archive]:
    """Return the files, the oldest month first."""
    return await fetch_all(
        conn,
        Archive,
        """
        SELECT a.month, a.state, a.path, a.rows, a.size_bytes, a.sha256, a.digest, a.exported_at,
               a.dropped_at
        FROM usage_archives a
        ORDER BY a.month, a.exported_at
        """,
    )


async def mark_dropped(conn: Connection, month: date, path: str) -> None:
    """Write down that a file alone holds its month now."""
    await conn.execute(
        """
        UPDATE usage_archives
        SET state = 'dropped',
            dropped_at = now()
        WHERE month = %(month)s
          AND path = %(path)s
        """,
        {"month": month, "path": path},
    )
