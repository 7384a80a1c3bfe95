"""How long a month's invoices take: customers, and events that metering has rolled up.

The roll-up is written as metering leaves it: a row for each customer, day, endpoint and method. The
run prices the month and looks back at one before it; `repeated` is the same run again, which has
nothing left to do, and `preview` is one customer's month.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.billing import Billing
from aegis.config import load_settings
from aegis.db import Database
from benchmarks.database import server
from benchmarks.report import percentile

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]

_NOW = datetime(2026, 12, 1, tzinfo=UTC)
_TERMS = {
    "flat_usd": "29.00",
    "charges": [
        {
            "name": "Calls",
            "meter": "calls",
            "model": "graduated",
            "included": 1_000,
            "tiers": [
                {"up_to": 10_000, "unit_usd": "0.002"},
                {"up_to": None, "unit_usd": "0.0015"},
            ],
        },
        {"name": "Tokens", "meter": "tokens", "unit_usd": "0.00001", "endpoints": ["/v1/a*"]},
    ],
}
_FILL = """
INSERT INTO usage_daily (day, customer_id, endpoint, method, calls, tokens, cost_usd)
SELECT d.day::date, 'customer-' || c, '/v1/' || e.name, 'POST',
       %(calls)s, %(calls)s * 100, %(calls)s * 0.0001
FROM generate_series(1, %(customers)s) AS c
CROSS JOIN generate_series('2026-10-01'::timestamp, '2026-11-30', '1 day') AS d (day)
CROSS JOIN unnest(
    ARRAY['answer', 'search', 'embed', 'agents', 'files', 'images', 'audio', 'batch', 'models', 'x']
) AS e (name)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--customers", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=10_000_000, help="of one month")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    return asyncio.run(_measure(args.customers, args.events))


async def _measure(customers: int, events: int) -> dict[str, float]:
    from aegis.db import migrate

    with server() as dsn, tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(migrate.upgrade, dsn)
        settings = load_settings({}, data_dir=Path(folder), statement_timeout_ms=0)
        async with await Database.open(dsn, settings) as db:
            billing = Billing(db, settings)
            await _fill(db, billing, customers, events)
            figures: dict[str, float] = {}
            for name, month in (
                ("first_month_s", "2026-10"),
                ("month_s", "2026-11"),
                ("repeated_s", "2026-11"),
            ):
                began = time.perf_counter()
                report = await billing.run(month, now=_NOW)
                figures[name] = time.perf_counter() - began
                figures[name.replace("_s", "_invoices")] = report.invoices
            began = time.perf_counter()
            await billing.invoices.finalize_month("2026-11")
            figures["finalize_s"] = time.perf_counter() - began
            times: list[float] = []
            for number in range(1, 101):
                began = time.perf_counter()
                await billing.preview(f"customer-{number}", "2026-11")
                times.append((time.perf_counter() - began) * 1000)
            figures["preview_p50_ms"] = percentile(times, 50)
            async with db.transaction() as conn:
                cursor = await conn.execute("SELECT count(*), sum(calls) FROM usage_daily")
                row = await cursor.fetchone()
                assert row is not None
                figures["rows"], figures["events_of_two_months"] = float(row[0]), float(row[1])
    return figures


async def _fill(db: Database, billing: Billing, customers: int, events: int) -> None:
    # Two months, ten endpoints, 61 days: about so many calls a row.
    calls = max(round(events / customers / 300), 1)
    async with db.transaction() as conn:
        await conn.execute(_FILL, {"customers": customers, "calls": calls})
    async with db.connection() as conn:
        await conn.execute("VACUUM ANALYZE usage_daily")
    await billing.add_plan("basic", _TERMS, valid_from="2026-01-01")
    async with db.transaction() as conn:
        await conn.execute(
            "INSERT INTO billing_accounts (customer_id) "
            "SELECT 'customer-' || c FROM generate_series(1, %(n)s) AS c",
            {"n": customers},
        )
        await conn.execute(
            "INSERT INTO billing_subscriptions (customer_id, plan, starts_on, proration) "
            "SELECT 'customer-' || c, 'basic', '2026-01-01', 'daily' "
            "FROM generate_series(1, %(n)s) AS c",
            {"n": customers},
        )
