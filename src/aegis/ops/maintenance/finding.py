"""SQL of what needs maintenance: tables, indexes, tables parted by time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aegis.db import fetch_value
from aegis.db.vector_indexes import LINKS, Graph
from aegis.ops.health.checks.integrity import PARTITIONS
from aegis.ops.health.looking import rows
from aegis.ops.health.ranges import ahead_of, parse_bound
from aegis.ops.maintenance.models import IndexNeed, Needs, Partitioned, TableNeed
from aegis.ops.stats.bloat import INDEX_BLOAT, TABLE_BLOAT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from aegis.db import Connection

__all__ = ["find_graph", "find_needs", "find_table", "list_partitioned", "old_transactions"]

_PAGE: Final = 8_192
#: Whose own command makes partitions ahead and drops old ones.
_COMMANDS = {
    "api_usage_events": "aegis usage partitions --keep-house",
    "container_metrics": "aegis metrics keep",
    "container_metrics_1m": "aegis metrics keep",
}


async def find_needs(conn: Connection, *, least_index_bytes: int) -> Needs:
    """Return every table and index with what is known of its need.

    The bloat of smaller indexes is not estimated.
    """
    table_bloat = await _bloat(conn, TABLE_BLOAT, pages=2_560)
    index_bloat = await _bloat(conn, INDEX_BLOAT, pages=max(1, least_index_bytes // _PAGE))
    tables = [_with_bloat(row, table_bloat) for row in await _tables(conn)]
    found = await rows(
        conn,
        """
        SELECT
            n.nspname,
            c.relname,
            i.indrelid::regclass::text,
            a.amname,
            i.indisvalid AND i.indisready AND i.indislive,
            NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$',
            pg_relation_size(c.oid),
            c.oid::regclass::text,
            coalesce(s.n_tup_upd + s.n_tup_del, 0),
            coalesce(s.n_live_tup, 0),
            r.changed_rows,
            r.finished_at
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_class t ON t.oid = i.indrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_am a ON a.oid = c.relam
        LEFT JOIN pg_stat_user_tables s ON s.relid = i.indrelid
        LEFT JOIN LATERAL (
            SELECT m.changed_rows, m.finished_at
            FROM maintenance_runs m
            WHERE m.object = n.nspname || '.' || c.relname
              AND m.task = 'reindex'
              AND m.state = 'done'
            ORDER BY m.started_at DESC
            LIMIT 1
        ) r ON true
        -- A partitioned index has nothing of its own to rebuild.
        WHERE c.relkind = 'i'
          AND c.relpersistence <> 't'
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
          -- What is being built now is not valid yet; that is no fault. Neither is what the
          -- REINDEX beside it makes, which has no name of its own there.
          AND (
              (i.indisvalid AND i.indisready AND i.indislive)
              OR NOT EXISTS (
                  SELECT
                  FROM pg_stat_progress_create_index p
                  WHERE p.index_relid = c.oid
                     OR p.relid = i.indrelid
              )
          )
          AND pg_relation_size(c.oid) IS NOT NULL
        """,
    )
    indexes = [_index(row, index_bloat) for row in found]
    return Needs(tables=tables, indexes=indexes)


async def find_table(conn: Connection, name: str) -> TableNeed | None:
    """Return one table by its name, with its schema or as the search path finds it."""
    bloat = await _bloat(conn, TABLE_BLOAT, pages=1)
    oid = await fetch_value(conn, "SELECT to_regclass(%(name)s)::oid::bigint", {"name": name})
    found = [row for row in await _tables(conn) if row[0] == oid]
    return _with_bloat(found[0], bloat) if found else None


async def find_graph(conn: Connection, schema: str, index: str) -> Graph | None:
    """Return what an HNSW index is a graph of, None for another one."""
    found = await rows(
        conn,
        """
        SELECT
            greatest(c.reltuples, 0)::bigint,
            greatest(x.atttypmod, 0),
            (
                SELECT o.option_value::int
                FROM pg_options_to_table(c.reloptions) o
                WHERE o.option_name = 'm'
            )
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_am a ON a.oid = c.relam
        JOIN pg_attribute x ON x.attrelid = c.oid AND x.attnum = 1
        WHERE n.nspname = %(schema)s
          AND c.relname = %(index)s
          AND a.amname = 'hnsw'
        """,
        {"schema": schema, "index": index},
    )
    for vectors, dimensions, m in found:
        return Graph(vectors=vectors, dimensions=dimensions, m=m or LINKS)
    return None


async def old_transactions(conn: Connection, schema: str, index: str) -> list[int]:
    """Return processes whose transactions a concurrent rebuild of an index would wait for.

    Those that hold a lock on the table for longer than a minute.
    """
    found = await rows(
        conn,
        """
        SELECT DISTINCT a.pid
        FROM pg_locks l
        JOIN pg_stat_activity a USING (pid)
        JOIN pg_index i ON i.indrelid = l.relation
        JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %(schema)s
          AND c.relname = %(index)s
          AND l.granted
          AND a.pid <> pg_backend_pid()
          AND a.xact_start < clock_timestamp() - INTERVAL '1 minute'
        """,
        {"schema": schema, "index": index},
    )
    return [pid for (pid,) in found]


async def list_partitioned(conn: Connection, now: datetime) -> list[Partitioned]:
    """Return every table that is parted by time, with how far ahead its partitions go."""
    found: dict[str, list[tuple[str, str, bool]]] = {}
    for table, partition, bound, default in await rows(conn, PARTITIONS):
        parts = found.setdefault(table, [])
        if partition is not None:
            parts.append((partition, bound, default))
    sizes: dict[str, int] = dict(
        await rows(
            conn,
            """
            SELECT p.partrelid::regclass::text,
                   coalesce(sum(pg_total_relation_size(i.inhrelid)), 0)::bigint
            FROM pg_partitioned_table p
            LEFT JOIN pg_inherits i ON i.inhparent = p.partrelid
            GROUP BY p.partrelid
            """,
        )
    )
    return [_partitioned(table, parts, sizes, now) for table, parts in sorted(found.items())]


def _partitioned(
    table: str, parts: list[tuple[str, str, bool]], sizes: Mapping[str, int], now: datetime
) -> Partitioned:
    ranges = [r for r in (parse_bound(bound) for _, bound, _ in parts) if r is not None]
    begins = [begin for begin, _ in ranges if begin.year > 1]
    ends = [end for _, end in ranges if end.year < 9_999]
    return Partitioned(
        table=table,
        partitions=len(parts),
        ahead=ahead_of([bound for _, bound, _ in parts], now),
        oldest=min(begins, default=None),
        newest=max(ends, default=None),
        size_bytes=sizes.get(table, 0),
        default=any(default for _, _, default in parts),
        command=_COMMANDS.get(table.rpartition(".")[2]),
    )


async def _bloat(conn: Connection, statement: Any, *, pages: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in await rows(conn, statement, {"pages": pages}):
        taken, needed = row[-2], row[-1]
        found[row[0]] = max(0.0, 1 - needed / taken) if taken else 0.0
    return found


def _index(row: Any, bloat: Mapping[str, float]) -> IndexNeed:
    schema, name, table, method, valid, leftover, size, text, churn, live, before, rebuilt = row
    return IndexNeed(
        schema=schema,
        name=name,
        table=table,
        method=method,
        valid=valid,
        leftover=leftover,
        size_bytes=size,
        bloat=bloat.get(text),
        churn=churn,
        live_rows=live,
        churn_before=before,
        rebuilt_at=rebuilt,
    )


async def _tables(conn: Connection) -> list[Any]:
    return await rows(
        conn,
        """
        SELECT
            s.relid::bigint,
            s.schemaname,
            s.relname,
            pg_table_size(s.relid),
            s.n_live_tup,
            s.n_dead_tup,
            s.n_mod_since_analyze,
            s.n_ins_since_vacuum,
            greatest(age(c.relfrozenxid), coalesce(age(t.relfrozenxid), 0))::float8
                / current_setting('autovacuum_freeze_max_age')::float8,
            greatest(s.last_vacuum, s.last_autovacuum),
            greatest(s.last_analyze, s.last_autoanalyze),
            EXISTS (
                SELECT
                FROM pg_index i
                JOIN pg_class x ON x.oid = i.indexrelid
                JOIN pg_am a ON a.oid = x.relam
                WHERE i.indrelid = s.relid
                  AND a.amname IN ('hnsw', 'ivfflat')
            ),
            s.relid::regclass::text
        FROM pg_stat_user_tables s
        JOIN pg_class c ON c.oid = s.relid
        LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
        WHERE c.relkind IN ('r', 'm')
          AND c.relpersistence <> 't'
          AND pg_table_size(s.relid) IS NOT NULL
        """,
    )


def _with_bloat(row: Any, bloat: Mapping[str, float]) -> TableNeed:
    (
        _,
        schema,
        name,
        size,
        live,
        dead,
        changed,
        inserted,
        age,
        vacuumed,
        analyzed,
        vectors,
        text,
    ) = row
    return TableNeed(
        schema=schema,
        name=name,
        size_bytes=size,
        live_rows=live,
        dead_rows=dead,
        changed_rows=changed,
        inserted_rows=inserted,
        freeze_age=age,
        vacuumed_at=vacuumed,
        analyzed_at=analyzed,
        vectors=vectors,
        bloat=bloat.get(text),
    )
