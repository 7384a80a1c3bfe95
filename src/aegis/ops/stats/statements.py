"""SQL of pg_stat_statements, where it is, and of what snapshots keep of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from aegis.db import execute, fetch_all, fetch_value

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection

__all__ = ["KEPT", "Kept", "find_schema", "list_kept", "list_now", "stats_reset", "store_changed"]

#: Statements that are kept: those that plans can be made of. Others, such as CREATE ROLE or SET,
#: are stored by PostgreSQL with their values, passwords included.
KEPT: Final = r"^\s*(/\*[^*]*\*/\s*)*(SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES)\M"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Counters of a statement, with its text and the resets that they began at."""

    query_id: int
    query: str
    taken_at: datetime
    statements_reset_at: datetime | None
    calls: int
    total_ms: float
    rows: int
    blocks_hit: int
    blocks_read: int


async def find_schema(conn: Connection) -> sql.Identifier | None:
    """Return the schema of pg_stat_statements; None where it is not installed or not loaded."""
    schema = await fetch_value(
        conn,
        """
        SELECT n.nspname
        FROM pg_extension e
        JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_stat_statements'
        """,
    )
    if schema is None:
        return None
    place = sql.Identifier(schema)
    try:
        async with conn.transaction():
            await conn.execute(sql.SQL("SELECT FROM {}.pg_stat_statements LIMIT 0").format(place))
            await conn.execute(sql.SQL("SELECT FROM {}.pg_stat_statements_info").format(place))
    except psycopg.Error:
        # Created, but not in shared_preload_libraries; or not ours to read.
        return None
    return place


async def stats_reset(conn: Connection, place: sql.Identifier) -> datetime | None:
    """Return when the counters of statements were last reset."""
    return await fetch_value(
        conn,
        sql.SQL("SELECT stats_reset FROM {}.pg_stat_statements_info").format(place),
    )


def _now(place: sql.Identifier, *, own: bool = False) -> sql.Composed:
    """Return the statement that sums counters of users, or of this one, by statement."""
    return sql.SQL(
        """
        SELECT
            queryid AS query_id,
            min(query) AS query,
            sum(calls)::bigint AS calls,
            sum(total_exec_time)::float8 AS total_ms,
            sum(rows)::bigint AS rows,
            sum(shared_blks_hit)::bigint AS blocks_hit,
            sum(shared_blks_read)::bigint AS blocks_read
        FROM {place}.pg_stat_statements
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND queryid IS NOT NULL
          AND query ~* {kept}
          AND (NOT {own} OR userid = current_user::regrole)
        GROUP BY queryid
        """
    ).format(place=place, kept=sql.Literal(KEPT), own=sql.Literal(own))


async def list_now(conn: Connection, place: sql.Identifier, *, own: bool = False) -> list[Kept]:
    """Return the counters as they are now; with `own`, of this role's statements alone."""
    return await fetch_all(
        conn,
        Kept,
        sql.SQL(
            """
            SELECT n.*, clock_timestamp() AS taken_at, i.stats_reset AS statements_reset_at
            FROM ({now}) n
            CROSS JOIN {place}.pg_stat_statements_info i
            """
        ).format(now=_now(place, own=own), place=place),
    )


async def store_changed(conn: Connection, snapshot_id: int, place: sql.Identifier) -> int:
    """Store the statements whose counters are not what the last snapshot of each says."""
    await conn.execute(
        sql.SQL("CREATE TEMPORARY TABLE statements_now ON COMMIT DROP AS {}").format(_now(place))
    )
    await execute(
        conn,
        """
        INSERT INTO health_queries (query_id, query)
        SELECT query_id, left(query, 20000)
        FROM statements_now
        ON CONFLICT (query_id) DO NOTHING
        """,
    )
    return await execute(
        conn,
        """
        INSERT INTO health_statements (
            snapshot_id, query_id, calls, total_ms, rows, blocks_hit, blocks_read
        )
        SELECT %(id)s, n.query_id, n.calls, n.total_ms, n.rows, n.blocks_hit, n.blocks_read
        FROM statements_now n
        LEFT JOIN LATERAL (
            SELECT s.calls
            FROM health_statements s
            WHERE s.query_id = n.query_id
            ORDER BY s.snapshot_id DESC
            LIMIT 1
        ) last ON true
        WHERE last.calls IS DISTINCT FROM n.calls
        """,
        {"id": snapshot_id},
    )


async def list_kept(
    conn: Connection, *, since: datetime, query_ids: list[int] | None = None
) -> list[Kept]:
    """Return what snapshots since then hold of statements, and the last one before of each."""
    params: dict[str, Any] = {"since": since, "ids": query_ids}
    return await fetch_all(
        conn,
        Kept,
        """
        WITH first AS (
            -- Without a snapshot since then, all are from before.
            SELECT coalesce(min(id), 9223372036854775807) AS id
            FROM health_snapshots
            WHERE taken_at >= %(since)s
        ),
        wanted AS (
            SELECT s.*
            FROM health_statements s
            CROSS JOIN first f
            WHERE s.snapshot_id >= f.id
              AND (%(ids)s::bigint[] IS NULL OR s.query_id = ANY (%(ids)s::bigint[]))
            UNION ALL
            SELECT b.*
            FROM (SELECT DISTINCT query_id FROM health_statements) q
            CROSS JOIN first f
            CROSS JOIN LATERAL (
                SELECT s.*
                FROM health_statements s
                WHERE s.query_id = q.query_id
                  AND s.snapshot_id < f.id
                ORDER BY s.snapshot_id DESC
                LIMIT 1
            ) b
            WHERE %(ids)s::bigint[] IS NULL OR b.query_id = ANY (%(ids)s::bigint[])
        )
        SELECT
            w.query_id, q.query, s.taken_at, s.statements_reset_at, w.calls, w.total_ms, w.rows,
            w.blocks_hit, w.blocks_read
        FROM wanted w
        JOIN health_snapshots s ON s.id = w.snapshot_id
        JOIN health_queries q ON q.query_id = w.query_id
        ORDER BY w.query_id, s.taken_at
        """,
        params,
    )
