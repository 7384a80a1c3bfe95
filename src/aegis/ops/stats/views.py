"""What the database looks like now: `aegis db stats NAME`.

The specification's monitoring statements stand here as they are written there; what follows them
shows more. A view is its statement: columns are named for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg import sql

from aegis.errors import InvalidInput, Unavailable
from aegis.ops.stats.bloat import INDEX_BLOAT, TABLE_BLOAT
from aegis.ops.stats.statements import find_schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.db import Connection

__all__ = ["VIEWS", "View", "read"]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The rows of a view."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


_SIZE: Final = "SELECT pg_size_pretty(pg_database_size(current_database())) AS size"

#: As the specification has it.
_TABLES: Final = """
SELECT schemaname, tablename,
       pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) AS size
FROM pg_tables
WHERE schemaname = 'public'
ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC
"""

_ACTIVE: Final = "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active'"

#: As the specification has it; its target is above 0.99.
_CACHE: Final = """
SELECT
  sum(heap_blks_hit) / nullif(sum(heap_blks_hit) + sum(heap_blks_read), 0) AS cache_hit_ratio
FROM pg_statio_user_tables
"""

#: As the specification has it, where the extension is.
_SLOWEST: Final = """
SELECT query, mean_exec_time, calls
FROM {place}.pg_stat_statements
ORDER BY mean_exec_time DESC
LIMIT 10
"""

_INDEXES: Final = """
SELECT
    s.relid::regclass::text AS table,
    s.indexrelid::regclass::text AS index,
    a.amname AS method,
    pg_size_pretty(pg_relation_size(s.indexrelid)) AS size,
    s.idx_scan AS scans,
    i.indisvalid AS valid
FROM pg_stat_user_indexes s
JOIN pg_index i ON i.indexrelid = s.indexrelid
JOIN pg_class c ON c.oid = s.indexrelid
JOIN pg_am a ON a.oid = c.relam
ORDER BY pg_relation_size(s.indexrelid) DESC
"""

_CONNECTIONS: Final = """
SELECT
    coalesce(usename, '') AS user,
    coalesce(application_name, '') AS application,
    coalesce(host(client_addr), 'local') AS client,
    coalesce(state, '') AS state,
    count(*) AS connections,
    date_trunc('second', max(clock_timestamp() - state_change))::text AS longest
FROM pg_stat_activity
WHERE backend_type = 'client backend'
GROUP BY 1, 2, 3, 4
ORDER BY 5 DESC
"""

_RUNNING: Final = """
SELECT
    pid,
    coalesce(usename, '') AS user,
    date_trunc('milliseconds', clock_timestamp() - query_start)::text AS runs,
    coalesce(wait_event, '') AS waits_for,
    left(regexp_replace(query, '\\s+', ' ', 'g'), 300) AS query
FROM pg_stat_activity
WHERE state = 'active'
  AND pid <> pg_backend_pid()
  AND backend_type = 'client backend'
ORDER BY query_start
"""

_LOCKS: Final = """
SELECT
    a.pid AS waiting,
    b.pid AS blocked_by,
    l.mode,
    coalesce(l.relation::regclass::text, l.locktype) AS on,
    date_trunc('milliseconds', clock_timestamp() - coalesce(l.waitstart, a.query_start))::text
        AS since,
    left(regexp_replace(a.query, '\\s+', ' ', 'g'), 100) AS waiting_query,
    b.state AS blocker_state,
    left(regexp_replace(b.query, '\\s+', ' ', 'g'), 100) AS blocker_query
FROM pg_stat_activity a
CROSS JOIN LATERAL unnest(pg_blocking_pids(a.pid)) AS by (pid)
JOIN pg_stat_activity b ON b.pid = by.pid
LEFT JOIN LATERAL (
    SELECT * FROM pg_locks w WHERE w.pid = a.pid AND NOT w.granted LIMIT 1
) l ON true
WHERE a.wait_event_type = 'Lock'
ORDER BY 5 DESC
"""

_VACUUM: Final = """
SELECT
    relid::regclass::text AS table,
    n_live_tup AS live_rows,
    n_dead_tup AS dead_rows,
    date_trunc('second', greatest(last_vacuum, last_autovacuum))::text AS vacuumed,
    date_trunc('second', greatest(last_analyze, last_autoanalyze))::text AS analyzed,
    age(c.relfrozenxid) AS xid_age
FROM pg_stat_user_tables s
JOIN pg_class c ON c.oid = s.relid
ORDER BY n_dead_tup DESC, 1
"""

_PROGRESS: Final = """
SELECT pid, 'vacuum' AS work, relid::regclass::text AS on, phase,
       heap_blks_scanned AS done, heap_blks_total AS of
FROM pg_stat_progress_vacuum WHERE datname = current_database()
UNION ALL
SELECT pid, lower(command), relid::regclass::text, phase, blocks_done, blocks_total
FROM pg_stat_progress_create_index WHERE datname = current_database()
UNION ALL
SELECT pid, lower(command), relid::regclass::text, phase, heap_blks_scanned, heap_blks_total
FROM pg_stat_progress_cluster WHERE datname = current_database()
UNION ALL
SELECT pid, 'analyze', relid::regclass::text, phase, sample_blks_scanned, sample_blks_total
FROM pg_stat_progress_analyze WHERE datname = current_database()
UNION ALL
SELECT pid, lower(command), relid::regclass::text, type, bytes_processed, bytes_total
FROM pg_stat_progress_copy WHERE datname = current_database()
"""

_SEQUENCES: Final = """
SELECT schemaname AS schema, sequencename AS sequence, data_type::text AS type, last_value AS last,
       max_value AS most
FROM pg_sequences
ORDER BY coalesce(last_value, 0)::numeric / max_value DESC
"""

_REPLICATION: Final = """
SELECT 'replica' AS kind, coalesce(nullif(application_name, ''), pid::text) AS name, state,
       replay_lag::text AS lag
FROM pg_stat_replication
UNION ALL
SELECT 'slot', slot_name, CASE WHEN active THEN 'active' ELSE 'inactive' END,
       CASE WHEN NOT pg_is_in_recovery()
            THEN pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) END
FROM pg_replication_slots
"""

#: By name; bloat and slow have parts that are put in.
VIEWS: Final[Mapping[str, LiteralString]] = {
    "size": _SIZE,
    "tables": _TABLES,
    "active": _ACTIVE,
    "cache": _CACHE,
    "slow": _SLOWEST,
    "indexes": _INDEXES,
    "connections": _CONNECTIONS,
    "running": _RUNNING,
    "locks": _LOCKS,
    "bloat": TABLE_BLOAT,
    "index-bloat": INDEX_BLOAT,
    "vacuum": _VACUUM,
    "progress": _PROGRESS,
    "sequences": _SEQUENCES,
    "replication": _REPLICATION,
}


async def read(conn: Connection, name: str, *, limit: int) -> View:
    """Return a view's rows, `limit` at most (`InvalidInput`, `Unavailable`)."""
    statement = VIEWS.get(name)
    if statement is None:
        raise InvalidInput(f"{name!r} is no view; use one of {', '.join(VIEWS)}.")
    composed: Any = statement
    params: dict[str, Any] | None = None
    if name == "slow":
        place = await find_schema(conn)
        if place is None:
            raise Unavailable(
                "pg_stat_statements is not there: add it to shared_preload_libraries and run "
                "CREATE EXTENSION pg_stat_statements.",
                code="statements_missing",
            )
        composed = sql.SQL(statement).format(place=place)
    elif name in ("bloat", "index-bloat"):
        params = {"pages": 128}
    cursor = await conn.execute(composed, params)
    assert cursor.description is not None
    return View(
        name=name,
        columns=[column.name for column in cursor.description],
        rows=await cursor.fetchmany(limit),
    )
