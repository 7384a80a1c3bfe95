"""Samples in by COPY into their day's partition, and the newest of each container out.

A COPY to the partitioned table itself would find the partition anew for every row, and its trigger
would make PostgreSQL insert row by row. So the day is known here, and late hours are noted here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, LiteralString

from psycopg import sql

from aegis.db import execute, fetch_all
from aegis.metrics.models import Latest
from aegis.metrics.rendering import BEGIN, END

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = ["copy_samples", "list_latest", "note_late"]

_COLUMNS: Final[LiteralString] = (
    "container_name, timestamp, cpu_percent, mem_usage_mb, mem_percent, net_io_mb, block_io_mb, "
    "disk_percent"
)


async def copy_samples(conn: Connection, partition: str, rows: Iterable[bytes]) -> None:
    """Write rendered samples of one partition, which has to exist.

    The next rows are taken while the server works on those before.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(partition), sql.SQL(_COLUMNS)
    )
    async with conn.cursor() as cursor, cursor.copy(statement) as copy:
        await copy.write(BEGIN)
        for part in rows:
            await copy.write(part)
        await copy.write(END)


async def note_late(conn: Connection, hours: Sequence[datetime]) -> None:
    """Note that these hours have to be rolled up again; in order, so that callers cannot block.

    The update of a known hour is a lock: its roll-up waits until the caller commits.
    """
    await execute(
        conn,
        """
        INSERT INTO metric_late_hours (hour)
        SELECT hour
        FROM unnest(%(hours)s::timestamptz[]) AS late (hour)
        ORDER BY hour
        ON CONFLICT (hour) DO UPDATE SET noted_at = now()
        """,
        {"hours": list(hours)},
    )


async def list_latest(
    conn: Connection, *, since: datetime, until: datetime, limit: int
) -> list[Latest]:
    """Return the newest sample between `since` and `until` of each container, by name.

    Names are found by leaps through the index, one step a container, not a scan of all samples.
    """
    return await fetch_all(
        conn,
        Latest,
        """
        WITH RECURSIVE names (container_name, number) AS (
            (
                SELECT container_name, 1
                FROM container_metrics_1h
                ORDER BY container_name
                LIMIT 1
            )
            UNION ALL
            SELECT
                (
                    SELECT h.container_name
                    FROM container_metrics_1h AS h
                    WHERE h.container_name > names.container_name
                    ORDER BY h.container_name
                    LIMIT 1
                ),
                number + 1
            FROM names
            WHERE names.container_name IS NOT NULL
              AND number <= 10000
        ),
        known AS (
            SELECT container_name
            FROM names
            WHERE container_name IS NOT NULL
            UNION
            -- Those that came since the last roll-up, or a little late for it.
            SELECT container_name
            FROM container_metrics
            WHERE timestamp >= coalesce(
                  (SELECT done_until - INTERVAL '15 minutes' FROM metric_rollups), %(since)s
              )
              AND timestamp >= %(since)s
        )
        SELECT newest.*
        FROM known
        CROSS JOIN LATERAL (
            SELECT container_name, timestamp, cpu_percent, mem_usage_mb, mem_percent,
                   net_io_mb, block_io_mb, disk_percent
            FROM container_metrics AS m
            WHERE m.container_name = known.container_name
              AND m.timestamp >= %(since)s
              AND m.timestamp < %(until)s
            ORDER BY m.timestamp DESC
            LIMIT 1
        ) AS newest
        ORDER BY newest.container_name
        LIMIT %(limit)s
        """,
        {"since": since, "until": until, "limit": limit},
    )
