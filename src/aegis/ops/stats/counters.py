"""SQL of PostgreSQL's counters and of the snapshots that are kept of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aegis.db import execute, fetch_all, fetch_one, fetch_optional, fetch_value
from aegis.ops.stats.models import Counters

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "drop_old",
    "find_before",
    "first_snapshot",
    "insert_relations",
    "insert_snapshot",
    "last_with_relations",
    "list_sizes",
    "list_snapshots",
    "lock_snapshots",
    "now_counters",
]

_COLUMNS: Final = """
    taken_at, server_started_at, stats_reset_at, statements_reset_at, database_bytes, connections,
    heap_hit, heap_read, index_hit, index_read, commits, rollbacks, deadlocks, temp_bytes,
    checksum_failures
"""


async def now_counters(conn: Connection, *, statements_reset_at: datetime | None) -> Counters:
    """Read the counters as they are now."""
    return await fetch_one(
        conn,
        Counters,
        """
        WITH blocks AS (
            SELECT
                coalesce(sum(heap_blks_hit), 0)::bigint AS heap_hit,
                coalesce(sum(heap_blks_read), 0)::bigint AS heap_read,
                coalesce(sum(idx_blks_hit), 0)::bigint AS index_hit,
                coalesce(sum(idx_blks_read), 0)::bigint AS index_read
            FROM pg_statio_user_tables
        )
        SELECT
            clock_timestamp() AS taken_at,
            pg_postmaster_start_time() AS server_started_at,
            d.stats_reset AS stats_reset_at,
            %(statements_reset_at)s::timestamptz AS statements_reset_at,
            pg_database_size(d.datid) AS database_bytes,
            (
                SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
            )::int AS connections,
            b.heap_hit,
            b.heap_read,
            b.index_hit,
            b.index_read,
            d.xact_commit AS commits,
            d.xact_rollback AS rollbacks,
            d.deadlocks,
            d.temp_bytes,
            coalesce(d.checksum_failures, 0) AS checksum_failures
        FROM pg_stat_database d
        CROSS JOIN blocks b
        WHERE d.datname = current_database()
        """,
        {"statements_reset_at": statements_reset_at},
        missing="The server keeps no counters of this database.",
    )


async def find_before(conn: Connection, at: datetime) -> Counters | None:
    """Return the newest snapshot that was taken before `at`."""
    return await fetch_optional(
        conn,
        Counters,
        f"""
        SELECT {_COLUMNS}
        FROM health_snapshots
        WHERE taken_at <= %(at)s
        ORDER BY taken_at DESC
        LIMIT 1
        """,
        {"at": at},
    )


async def list_snapshots(conn: Connection, since: datetime) -> list[Counters]:
    """Return the snapshots since then, the oldest first."""
    return await fetch_all(
        conn,
        Counters,
        f"""
        SELECT {_COLUMNS}
        FROM health_snapshots
        WHERE taken_at >= %(since)s
        ORDER BY taken_at
        """,
        {"since": since},
    )


async def lock_snapshots(conn: Connection) -> bool:
    """Return whether this transaction alone takes a snapshot."""
    return bool(
        await fetch_value(
            conn, "SELECT pg_try_advisory_xact_lock(hashtextextended('aegis.stats.snapshot', 0))"
        )
    )


async def last_with_relations(conn: Connection) -> datetime | None:
    """Return when sizes were last taken."""
    return await fetch_value(
        conn, "SELECT max(taken_at) FROM health_snapshots WHERE with_relations"
    )


async def insert_snapshot(conn: Connection, counters: Counters, *, with_relations: bool) -> int:
    """Store counters and return the number of the snapshot."""
    values: dict[str, Any] = {name: getattr(counters, name) for name in Counters.__slots__}
    return await fetch_value(
        conn,
        f"""
        INSERT INTO health_snapshots ({_COLUMNS}, with_relations)
        VALUES (
            %(taken_at)s, %(server_started_at)s, %(stats_reset_at)s, %(statements_reset_at)s,
            %(database_bytes)s, %(connections)s, %(heap_hit)s, %(heap_read)s, %(index_hit)s,
            %(index_read)s, %(commits)s, %(rollbacks)s, %(deadlocks)s, %(temp_bytes)s,
            %(checksum_failures)s, %(with_relations)s
        )
        RETURNING id
        """,
        {**values, "with_relations": with_relations},
    )


async def insert_relations(conn: Connection, snapshot_id: int) -> int:
    """Store sizes and counters of all tables and indexes, and return how many there are."""
    return await execute(
        conn,
        """
        INSERT INTO health_relations (
            snapshot_id, schema_name, name, table_name, kind, size_bytes, live_rows, dead_rows,
            scans
        )
        SELECT %(id)s, schemaname, relname, relname, 'table', pg_table_size(relid), n_live_tup,
               n_dead_tup, seq_scan
        FROM pg_stat_user_tables
        -- One that is dropped at this moment has no size any more.
        WHERE pg_table_size(relid) IS NOT NULL
        UNION ALL
        SELECT %(id)s, schemaname, indexrelname, relname, 'index', pg_relation_size(indexrelid),
               NULL, NULL, idx_scan
        FROM pg_stat_user_indexes
        WHERE pg_relation_size(indexrelid) IS NOT NULL
        """,
        {"id": snapshot_id},
    )


async def list_sizes(conn: Connection, since: datetime) -> list[Any]:
    """Return (object, kind, taken_at, size) of what still exists and has a past, in this order."""
    cursor = await conn.execute(
        """
        SELECT
            quote_ident(r.schema_name) || '.' || quote_ident(r.name),
            r.kind,
            s.taken_at,
            r.size_bytes
        FROM health_relations r
        JOIN health_snapshots s ON s.id = r.snapshot_id
        WHERE s.taken_at >= %(since)s
          -- What never was large has no growth to speak of.
          AND EXISTS (
              SELECT
              FROM health_relations l
              WHERE l.schema_name = r.schema_name
                AND l.name = r.name
                AND l.size_bytes >= 1048576
          )
        ORDER BY 1, 3
        """,
        {"since": since},
    )
    return await cursor.fetchall()


async def first_snapshot(conn: Connection) -> datetime | None:
    """Return when the oldest snapshot was taken."""
    return await fetch_value(conn, "SELECT min(taken_at) FROM health_snapshots")


async def drop_old(conn: Connection, before: datetime) -> int:
    """Delete what is from before then, and return how many snapshots that were.

    The last reading of a statement stays three times as long: what it does next is counted from
    there.
    """
    params = {"before": before}
    await execute(
        conn,
        """
        DELETE FROM health_statements s
        USING health_snapshots p
        WHERE p.id = s.snapshot_id
          AND p.taken_at < %(before)s
          AND (
              p.taken_at < %(before)s - 2 * (now() - %(before)s)
              OR EXISTS (
                  SELECT
                  FROM health_statements n
                  WHERE n.query_id = s.query_id
                    AND n.snapshot_id > s.snapshot_id
              )
          )
        """,
        params,
    )
    await execute(
        conn,
        """
        DELETE FROM health_relations r
        USING health_snapshots p
        WHERE p.id = r.snapshot_id
          AND p.taken_at < %(before)s
        """,
        params,
    )
    dropped = await execute(
        conn,
        """
        DELETE FROM health_snapshots p
        WHERE p.taken_at < %(before)s
          AND NOT EXISTS (SELECT FROM health_statements s WHERE s.snapshot_id = p.id)
        """,
        params,
    )
    if dropped:
        await execute(
            conn,
            """
            DELETE FROM health_queries q
            WHERE NOT EXISTS (SELECT FROM health_statements s WHERE s.query_id = q.query_id)
            """,
        )
    return dropped
