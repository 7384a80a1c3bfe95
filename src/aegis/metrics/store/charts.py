"""Points of a chart, from samples or from a roll-up, binned to the step that was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from aegis.db import fetch_all
from aegis.metrics.models import Point

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection
    from aegis.metrics.models import Metric, Source

__all__ = ["list_points", "list_samples"]

_COUNTERS: Final = ("net_io_mb", "block_io_mb")


async def list_samples(
    conn: Connection, *, container_name: str, metric: Metric, since: datetime, until: datetime
) -> list[Point]:
    """Return the samples themselves; of a counter, the increase since the sample before."""
    value = sql.SQL("CASE WHEN {column} BETWEEN 0 AND 1e15 THEN {column} END").format(
        column=sql.Identifier(metric)
    )
    before = sql.SQL("INTERVAL '0'")
    shown = sql.SQL("value")
    if metric in _COUNTERS:
        before = sql.SQL("INTERVAL '10 minutes'")
        shown = sql.SQL(
            "CASE WHEN value >= previous THEN value - previous WHEN value < previous THEN value END"
        )
    return await fetch_all(
        conn,
        Point,
        sql.SQL(
            """
            WITH found AS (
                SELECT timestamp, {value} AS value
                FROM container_metrics
                WHERE container_name = %(container_name)s
                  AND timestamp >= %(since)s - {before}
                  AND timestamp < %(until)s
            ),
            steps AS (
                SELECT timestamp, value, lag(value) OVER (ORDER BY timestamp) AS previous
                FROM found
            )
            SELECT timestamp AS at, 1 AS samples, {shown} AS value, {shown} AS highest
            FROM steps
            WHERE timestamp >= %(since)s
            ORDER BY timestamp
            """
        ).format(value=value, before=before, shown=shown),
        {"container_name": container_name, "since": since, "until": until},
    )


async def list_points(
    conn: Connection,
    *,
    source: Source,
    container_name: str,
    metric: Metric,
    since: datetime,
    until: datetime,
    step_s: int,
) -> list[Point]:
    """Return points of a roll-up, a step each; the first may begin before `since`."""
    names: dict[str, Any] = {"source": sql.Identifier(f"container_metrics_{source}")}
    if metric in _COUNTERS:
        names["value"] = names["highest"] = sql.SQL("sum({})").format(sql.Identifier(metric))
    else:
        names["highest"] = sql.SQL("max({})").format(sql.Identifier(f"{metric}_max"))
        names["value"] = sql.SQL(
            "sum({mean} * samples) / sum(samples) FILTER (WHERE {mean} IS NOT NULL)"
        ).format(mean=sql.Identifier(f"{metric}_avg"))
    return await fetch_all(
        conn,
        Point,
        sql.SQL(
            """
            SELECT
                date_bin(
                    make_interval(secs => %(step_s)s), bucket, '2000-01-01 00:00:00+00'
                ) AS at,
                sum(samples)::int AS samples,
                {value} AS value,
                {highest} AS highest
            FROM {source}
            WHERE container_name = %(container_name)s
              AND bucket >= date_bin(
                  make_interval(secs => %(step_s)s), %(since)s, '2000-01-01 00:00:00+00'
              )
              AND bucket < %(until)s
            GROUP BY 1
            ORDER BY 1
            """
        ).format(**names),
        {
            "container_name": container_name,
            "since": since,
            "until": until,
            "step_s": step_s,
        },
    )
