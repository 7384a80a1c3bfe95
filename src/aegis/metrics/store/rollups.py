"""Roll-ups: minutes from samples, five of them from one, quarters of an hour, hours.

Every statement writes whole intervals anew, so that it may be run again at any time: what was
done twice is the same as once. Figures that cannot be (NaN, infinite, absurdly large: the table
takes them from anybody) count as not measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg import sql

from aegis.db import execute, fetch_value

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "delete_before",
    "find_late_hour",
    "get_done_until",
    "lock_done_until",
    "measured_days",
    "oldest_sample",
    "put_back",
    "roll_coarser",
    "roll_minutes",
    "set_done_until",
    "take_late_hour",
]

_UPSERT: Final[LiteralString] = """
    ON CONFLICT (container_name, bucket) DO UPDATE SET
        samples = excluded.samples,
        cpu_percent_avg = excluded.cpu_percent_avg,
        cpu_percent_max = excluded.cpu_percent_max,
        mem_usage_mb_avg = excluded.mem_usage_mb_avg,
        mem_usage_mb_max = excluded.mem_usage_mb_max,
        mem_percent_avg = excluded.mem_percent_avg,
        mem_percent_max = excluded.mem_percent_max,
        net_io_mb = excluded.net_io_mb,
        block_io_mb = excluded.block_io_mb,
        disk_percent_avg = excluded.disk_percent_avg,
        disk_percent_max = excluded.disk_percent_max
    -- Each round looks at ten minutes again; what is as it was leaves no dead row behind.
    WHERE (
        known.samples, known.cpu_percent_avg, known.cpu_percent_max, known.mem_usage_mb_avg,
        known.mem_usage_mb_max, known.mem_percent_avg, known.mem_percent_max, known.net_io_mb,
        known.block_io_mb, known.disk_percent_avg, known.disk_percent_max
    ) IS DISTINCT FROM (
        excluded.samples, excluded.cpu_percent_avg, excluded.cpu_percent_max,
        excluded.mem_usage_mb_avg, excluded.mem_usage_mb_max, excluded.mem_percent_avg,
        excluded.mem_percent_max, excluded.net_io_mb, excluded.block_io_mb,
        excluded.disk_percent_avg, excluded.disk_percent_max
    )
"""
_COLUMNS: Final[LiteralString] = """
    container_name, bucket, samples, cpu_percent_avg, cpu_percent_max, mem_usage_mb_avg,
    mem_usage_mb_max, mem_percent_avg, mem_percent_max, net_io_mb, block_io_mb, disk_percent_avg,
    disk_percent_max
"""


async def get_done_until(conn: Connection) -> datetime | None:
    """Return up to when samples are rolled up, None before the first time."""
    return await fetch_value(conn, "SELECT done_until FROM metric_rollups")


async def lock_done_until(conn: Connection) -> datetime | None:
    """Return the same, and let nobody else roll up until the transaction ends."""
    return await fetch_value(conn, "SELECT done_until FROM metric_rollups FOR UPDATE")


async def set_done_until(conn: Connection, until: datetime) -> None:
    """Move the watermark, forwards only."""
    await execute(
        conn,
        """
        UPDATE metric_rollups
        SET done_until = greatest(done_until, %(until)s)
        """,
        {"until": until},
    )


async def put_back(conn: Connection, until: datetime) -> None:
    """Move the watermark back: it was set by a clock that was wrong."""
    await execute(
        conn,
        """
        UPDATE metric_rollups
        SET done_until = least(done_until, %(until)s)
        """,
        {"until": until},
    )


async def measured_days(conn: Connection, today: datetime) -> tuple[bool, bool, bool]:
    """Return whether samples are of this day, of the one before, and of the one before that."""
    cursor = await conn.execute(
        """
        SELECT
            EXISTS (
                SELECT
                FROM container_metrics
                WHERE timestamp >= %(today)s
                  AND timestamp < %(today)s + INTERVAL '1 day'
            ),
            EXISTS (
                SELECT
                FROM container_metrics
                WHERE timestamp >= %(today)s - INTERVAL '1 day'
                  AND timestamp < %(today)s
            ),
            EXISTS (
                SELECT
                FROM container_metrics
                WHERE timestamp >= %(today)s - INTERVAL '2 days'
                  AND timestamp < %(today)s - INTERVAL '1 day'
            )
        """,
        {"today": today},
    )
    row: Any = await cursor.fetchone()
    return row[0], row[1], row[2]


async def oldest_sample(conn: Connection, *, since: datetime, until: datetime) -> datetime | None:
    """Return the time of the oldest sample in a stretch of time."""
    return await fetch_value(
        conn,
        """
        SELECT min(timestamp)
        FROM container_metrics
        WHERE timestamp >= %(since)s
          AND timestamp < %(until)s
        """,
        {"since": since, "until": until},
    )


async def find_late_hour(conn: Connection) -> datetime | None:
    """Return the oldest hour that is noted."""
    return await fetch_value(conn, "SELECT min(hour) FROM metric_late_hours")


async def take_late_hour(conn: Connection, hour: datetime) -> bool:
    """Take an hour off the list, waiting for those who note it now; False where it is gone."""
    return (
        await execute(conn, "DELETE FROM metric_late_hours WHERE hour = %(hour)s", {"hour": hour})
        > 0
    )


async def roll_minutes(conn: Connection, *, since: datetime, until: datetime) -> int:
    """Write the minutes from `since` until `until` anew; return how many are new or changed.

    A counter's increase is measured from the sample before, up to ten minutes back; a counter that
    has fallen began at zero.
    """
    return await execute(
        conn,
        sql.SQL(
            """
            WITH clean AS (
                SELECT
                    container_name,
                    timestamp,
                    CASE WHEN cpu_percent BETWEEN -1e15 AND 1e15 THEN cpu_percent END AS cpu,
                    CASE WHEN mem_usage_mb BETWEEN -1e15 AND 1e15 THEN mem_usage_mb END AS mem,
                    CASE WHEN mem_percent BETWEEN -1e15 AND 1e15 THEN mem_percent END AS share,
                    CASE WHEN net_io_mb BETWEEN 0 AND 1e15 THEN net_io_mb END AS net,
                    CASE WHEN block_io_mb BETWEEN 0 AND 1e15 THEN block_io_mb END AS block,
                    CASE WHEN disk_percent BETWEEN 0 AND 1e15 THEN disk_percent END AS disk
                FROM container_metrics
                WHERE timestamp >= %(since)s - INTERVAL '10 minutes'
                  AND timestamp < %(until)s
            ),
            steps AS (
                SELECT
                    *,
                    lag(net) OVER before AS net_before,
                    lag(block) OVER before AS block_before
                FROM clean
                WINDOW before AS (PARTITION BY container_name ORDER BY timestamp)
            )
            INSERT INTO container_metrics_1m AS known ({columns})
            SELECT
                container_name,
                date_trunc('minute', timestamp, 'UTC'),
                count(*),
                avg(cpu),
                max(cpu),
                avg(mem),
                max(mem),
                avg(share),
                max(share),
                sum(CASE WHEN net >= net_before THEN net - net_before
                         WHEN net < net_before THEN net END),
                sum(CASE WHEN block >= block_before THEN block - block_before
                         WHEN block < block_before THEN block END),
                avg(disk),
                max(disk)
            FROM steps
            WHERE timestamp >= %(since)s
            GROUP BY 1, 2
            ORDER BY 1, 2
            {upsert}
            """
        ).format(columns=sql.SQL(_COLUMNS), upsert=sql.SQL(_UPSERT)),
        {"since": since, "until": until},
    )


async def roll_coarser(conn: Connection, *, since: datetime, until: datetime) -> None:
    """Write what touches this time anew: five minutes from minutes, quarters from these, hours."""
    await _coarser(conn, "container_metrics_1m", "container_metrics_5m", "5 minutes", since, until)
    await _coarser(
        conn, "container_metrics_5m", "container_metrics_15m", "15 minutes", since, until
    )
    await _coarser(conn, "container_metrics_15m", "container_metrics_1h", "1 hour", since, until)


async def _coarser(
    conn: Connection,
    source: LiteralString,
    target: LiteralString,
    size: LiteralString,
    since: datetime,
    until: datetime,
) -> int:
    names: dict[str, Any] = {
        "source": sql.Identifier(source),
        "target": sql.Identifier(target),
        "columns": sql.SQL(_COLUMNS),
        "upsert": sql.SQL(_UPSERT),
    }
    return await execute(
        conn,
        sql.SQL(
            """
            INSERT INTO {target} AS known ({columns})
            SELECT
                container_name,
                date_bin(%(size)s::interval, bucket, '2000-01-01 00:00:00+00'),
                sum(samples),
                -- A mean of means, weighed by the samples behind each.
                sum(cpu_percent_avg * samples)
                    / sum(samples) FILTER (WHERE cpu_percent_avg IS NOT NULL),
                max(cpu_percent_max),
                sum(mem_usage_mb_avg * samples)
                    / sum(samples) FILTER (WHERE mem_usage_mb_avg IS NOT NULL),
                max(mem_usage_mb_max),
                sum(mem_percent_avg * samples)
                    / sum(samples) FILTER (WHERE mem_percent_avg IS NOT NULL),
                max(mem_percent_max),
                sum(net_io_mb),
                sum(block_io_mb),
                sum(disk_percent_avg * samples)
                    / sum(samples) FILTER (WHERE disk_percent_avg IS NOT NULL),
                max(disk_percent_max)
            FROM {source}
            WHERE bucket >= date_bin(%(size)s::interval, %(since)s, '2000-01-01 00:00:00+00')
              AND bucket < date_bin(
                  %(size)s::interval, %(until)s, '2000-01-01 00:00:00+00'
              ) + %(size)s::interval
            GROUP BY 1, 2
            {upsert}
            """
        ).format(**names),
        {"size": size, "since": since, "until": until},
    )


async def delete_before(
    conn: Connection, *, fives: datetime, quarters: datetime, hours: datetime
) -> int:
    """Delete five minutes, quarters and hours that are older than is kept; return how many."""
    return sum(
        [
            await execute(
                conn,
                "DELETE FROM container_metrics_5m WHERE bucket < %(before)s",
                {"before": fives},
            ),
            await execute(
                conn,
                "DELETE FROM container_metrics_15m WHERE bucket < %(before)s",
                {"before": quarters},
            ),
            await execute(
                conn,
                "DELETE FROM container_metrics_1h WHERE bucket < %(before)s",
                {"before": hours},
            ),
        ]
    )
