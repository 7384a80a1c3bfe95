"""Whether maintenance is done, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.ops.health.looking import check, rows, seconds, value
from aegis.ops.health.models import Limits, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS"]


@check(
    "maintenance-age",
    "vacuum",
    "Days since the last maintenance",
    means="Bloat, dead rows and old statistics pile up beyond what autovacuum takes.",
    advice="`aegis maintenance run`; `aegis up` does it in AEGIS_MAINTENANCE_WINDOW.",
    limits=Limits(warning=14),
    unit="days",
)
async def maintenance_age(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say when something was last maintained; a database that is younger has time yet."""
    del ask
    age = await value(
        conn,
        """
        SELECT extract(epoch FROM clock_timestamp() - coalesce(
            (SELECT max(finished_at) FROM maintenance_runs WHERE state = 'done'),
            (SELECT min(taken_at) FROM health_snapshots),
            clock_timestamp()
        ))::float8
        """,
    )
    return [Seen(observed=f"{seconds(age)} ago", value=age / 86_400, fix="aegis maintenance run")]


@check(
    "maintenance-failures",
    "vacuum",
    "Maintenance that failed",
    means="It will fail again, or was put off because somebody held a lock for long.",
    advice="`aegis maintenance history` says why.",
)
async def maintenance_failures(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List objects whose last run failed or was interrupted, in the last month."""
    del ask
    found = await rows(
        conn,
        """
        SELECT object, task, state, error
        FROM (
            SELECT DISTINCT ON (object, task) object, task, state, error
            FROM maintenance_runs
            WHERE started_at > now() - INTERVAL '31 days'
              AND state <> 'running'
            ORDER BY object, task, started_at DESC
        ) last
        WHERE state IN ('failed', 'interrupted')
        ORDER BY object, task
        """,
    )
    return [
        Seen(object=f"{task} {name}", observed=f"{state}: {error or 'its process ended'}")
        for name, task, state, error in found
    ]


CHECKS = (maintenance_age, maintenance_failures)
