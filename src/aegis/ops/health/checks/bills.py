"""Whether months are billed, and Stripe is told: what fails here costs money and makes no noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.ops.health.looking import check, rows, seconds, value
from aegis.ops.health.models import CouldNotCheck, Limits, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Connection
    from aegis.ops.health.models import Ask

__all__ = ["CHECKS"]


@check(
    "billing-runs",
    "data",
    "Months that no run has billed",
    means="What was used in such a month is on no invoice, though months before it were billed.",
    advice="`aegis billing run --month …`; repeat one that was cut off.",
    limits=Limits(warning=10),
    unit="days",
    fine="every month is billed",
)
async def billing_runs(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """List months that are over and were not billed to the end, since the first that was."""
    if (closed := await _closed(conn)) is not None:
        return closed
    found = await rows(
        conn,
        """
        SELECT
            to_char(m.month, 'YYYY-MM'),
            extract(epoch FROM %(now)s - (m.month + INTERVAL '1 month') AT TIME ZONE 'UTC')::float8,
            r.period IS NOT NULL
        FROM generate_series(
            (SELECT min(period)::timestamp FROM billing_runs WHERE finished_at IS NOT NULL),
            date_trunc('month', %(now)s AT TIME ZONE 'UTC') - INTERVAL '1 month',
            INTERVAL '1 month'
        ) AS m (month)
        LEFT JOIN billing_runs r ON r.period = m.month::date
        WHERE r.finished_at IS NULL
        ORDER BY m.month
        """,
        {"now": ask.now},
    )
    return [
        Seen(
            object=month,
            observed=f"{'cut off' if begun else 'not billed'}, {seconds(age)} after its end",
            value=age / 86_400,
            fix=f"aegis billing run --month {month}",
        )
        for month, age, begun in found
    ]


@check(
    "stripe-refused",
    "data",
    "What Stripe refused",
    means="An invoice is not collected, or usage is not billed, until somebody sets it right.",
    advice="`aegis billing stripe status --state failed` says why; then retry.",
    limits=Limits(warning=1),
    unit="calls",
)
async def stripe_refused(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Count calls that Stripe refused for good."""
    del ask
    if (closed := await _closed(conn)) is not None:
        return closed
    found = await rows(
        conn,
        """
        SELECT kind, count(*)
        FROM billing_stripe_outbox
        WHERE state = 'failed'
        GROUP BY kind
        ORDER BY kind
        """,
    )
    return [
        Seen(
            object=kind,
            observed=f"{count:,} refused",
            value=float(count),
            fix="aegis billing stripe status --state failed",
        )
        for kind, count in found
    ]


@check(
    "stripe-waiting",
    "data",
    "How long Stripe has not been told",
    means="Stripe cannot be reached, nobody tells it, or what comes first was refused.",
    advice="`aegis billing stripe sync`; `aegis up` does it every minute.",
    limits=Limits(warning=24),
    unit="hours",
)
async def stripe_waiting(conn: Connection, ask: Ask) -> Sequence[Seen]:
    """Say since when the oldest call waits."""
    if (closed := await _closed(conn)) is not None:
        return closed
    age = await value(
        conn,
        """
        SELECT extract(epoch FROM %(now)s - min(created_at))::float8
        FROM billing_stripe_outbox
        WHERE state = 'pending'
        """,
        {"now": ask.now},
    )
    if age is None:
        return []
    fix = "aegis billing stripe sync"
    return [Seen(observed=f"waiting for {seconds(age)}", value=age / 3_600, fix=fix)]


async def _closed(conn: Connection) -> Sequence[Seen] | None:
    """Return the answer where bills cannot, or must not, be looked at."""
    here, allowed = (
        await rows(
            conn,
            """
            SELECT
                to_regclass('billing_runs') IS NOT NULL,
                has_table_privilege(to_regclass('billing_runs'), 'SELECT')
                AND has_table_privilege(to_regclass('billing_stripe_outbox'), 'SELECT')
            """,
        )
    )[0]
    if not here:
        raise CouldNotCheck("this database has no tables of bills; `aegis db upgrade` makes them")
    if not allowed:
        # The monitoring role sees nobody's rows; the application's doctor looks at these.
        return [Seen(observed="left to the application: this role reads no bills", state="ok")]
    return None


CHECKS = (billing_runs, stripe_refused, stripe_waiting)
