"""SQL of month-end runs, and of months that were priced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from aegis.db import Connection

__all__ = [
    "Priced",
    "Run",
    "begin_run",
    "finish_run",
    "insert_priced",
    "list_begun",
    "list_finished",
    "list_priced",
    "list_runs",
    "one_run_at_a_time",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """A month of a customer that was priced, with the terms that it keeps."""

    customer_id: str
    period: date
    segments: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A month's run."""

    period: date
    started_at: datetime
    #: None if it was cut off: repeat it.
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Period:
    period: date


async def one_run_at_a_time(conn: Connection) -> None:
    """Wait until no other transaction of a run is under way, and keep others out until the end."""
    await execute(conn, "SELECT pg_advisory_xact_lock(hashtextextended('aegis.billing.run', 0))")


async def begin_run(conn: Connection, period: date) -> None:
    """Note that the run of a month was begun."""
    await execute(
        conn,
        "INSERT INTO billing_runs (period) VALUES (%(period)s) ON CONFLICT DO NOTHING",
        {"period": period},
    )


async def finish_run(conn: Connection, period: date) -> None:
    """Note that the run of a month came to its end; the first end stays."""
    await execute(
        conn,
        """
        UPDATE billing_runs
        SET finished_at = now()
        WHERE period = %(period)s
          AND finished_at IS NULL
        """,
        {"period": period},
    )


async def list_finished(conn: Connection, *, begin: date, end: date) -> list[date]:
    """Return the months from `begin` to before `end` whose run came to its end, in order."""
    found = await fetch_all(
        conn,
        _Period,
        """
        SELECT r.period
        FROM billing_runs r
        WHERE r.period >= %(begin)s
          AND r.period < %(end)s
          AND r.finished_at IS NOT NULL
        ORDER BY r.period
        """,
        {"begin": begin, "end": end},
    )
    return [row.period for row in found]


async def list_begun(conn: Connection, *, begin: date, end: date) -> list[date]:
    """Return the months from `begin` to before `end` of which anybody's was priced, in order."""
    found = await fetch_all(
        conn,
        _Period,
        """
        SELECT m.month::date AS period
        FROM generate_series(
            %(begin)s::timestamp, %(end)s::timestamp - interval '1 day', interval '1 month'
        ) AS m (month)
        WHERE EXISTS (SELECT FROM billing_periods p WHERE p.period = m.month::date)
        ORDER BY m.month
        """,
        {"begin": begin, "end": end},
    )
    return [row.period for row in found]


async def list_runs(conn: Connection, *, limit: int) -> list[Run]:
    """Return the runs, newest month first."""
    return await fetch_all(
        conn,
        Run,
        """
        SELECT r.period, r.started_at, r.finished_at
        FROM billing_runs r
        ORDER BY r.period DESC
        LIMIT %(limit)s
        """,
        {"limit": limit},
    )


async def list_priced(
    conn: Connection, customers: Sequence[str], periods: Sequence[date]
) -> list[Priced]:
    """Return the months of customers that were priced."""
    return await fetch_all(
        conn,
        Priced,
        """
        SELECT p.customer_id, p.period, p.segments
        FROM billing_periods p
        WHERE p.customer_id = ANY (%(customers)s)
          AND p.period = ANY (%(periods)s)
        """,
        {"customers": [*customers], "periods": [*periods]},
    )


async def insert_priced(conn: Connection, priced: Sequence[Priced], *, run_period: date) -> None:
    """Note that months of customers are priced; what was noted before stays."""
    await execute(
        conn,
        """
        INSERT INTO billing_periods (customer_id, period, run_period, segments)
        SELECT n.customer_id, n.period, %(run)s, n.segments
        FROM unnest(%(customers)s::text[], %(periods)s::date[], %(segments)s::jsonb[])
            AS n (customer_id, period, segments)
        ON CONFLICT DO NOTHING
        """,
        {
            "run": run_period,
            "customers": [p.customer_id for p in priced],
            "periods": [p.period for p in priced],
            "segments": [Jsonb(p.segments) for p in priced],
        },
    )
