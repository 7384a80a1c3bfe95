"""What is said of bills that are not made, and of what Stripe was not told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aegis.billing.months import before
from aegis.ops.health.checks.bills import CHECKS
from tests.ops.health.looking import look
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

TODAY = datetime.now(UTC).date()


async def test_month_that_no_run_billed_is_found_once_months_are_billed(
    db: Database, settings: Settings
) -> None:
    assert (await look(db, settings, "billing-runs")).state == "ok"
    await rows(
        db,
        "INSERT INTO billing_runs (period, finished_at) VALUES (%s, now()), (%s, NULL)",
        before(TODAY, 4),
        before(TODAY, 2),
    )
    found = await look(db, settings, "billing-runs")
    assert found.state == "warning"
    named = {finding.object: finding for finding in found.findings}
    assert "not billed" in named[f"{before(TODAY, 3):%Y-%m}"].observed
    assert "cut off" in named[f"{before(TODAY, 2):%Y-%m}"].observed
    await rows(db, "DELETE FROM billing_runs")
    await rows(
        db, "INSERT INTO billing_runs (period, finished_at) VALUES (%s, now())", before(TODAY, 1)
    )
    assert (await look(db, settings, "billing-runs")).state == "ok"


async def test_what_stripe_refused_or_was_not_told_is_found(
    db: Database, settings: Settings
) -> None:
    for check in ("stripe-refused", "stripe-waiting"):
        assert (await look(db, settings, check)).state == "ok"

    async def add(state: str, hours: int) -> None:
        await rows(
            db,
            "INSERT INTO billing_stripe_outbox (kind, customer_id, subject, payload, "
            "idempotency_key, state, created_at) VALUES ('customer', 'acme', %s, '{}', %s, %s, %s)",
            state, state, state, datetime.now(UTC) - timedelta(hours=hours),
        )  # fmt: skip

    await rows(db, "INSERT INTO billing_accounts (customer_id) VALUES ('acme')")
    await add("pending", 2)
    assert (await look(db, settings, "stripe-waiting")).state == "ok"
    await rows(db, "DELETE FROM billing_stripe_outbox")
    await add("pending", 30)
    await add("failed", 1)
    assert (await look(db, settings, "stripe-waiting")).state == "warning"
    assert (await look(db, settings, "stripe-refused")).state == "warning"


async def test_role_that_may_not_read_bills_says_so(db: Database) -> None:
    ask: Any = SimpleNamespace(now=datetime.now(UTC))
    async with db.transaction() as conn:
        # Of this transaction alone.
        await conn.execute("CREATE ROLE looks_at_no_bills")
        await conn.execute("SET LOCAL ROLE looks_at_no_bills")
        for check in CHECKS:
            (seen,) = await check.run(conn, ask)
            assert (seen.state, "reads no bills" in seen.observed) == ("ok", True)
        await conn.execute("RESET ROLE")
        await conn.execute("DROP ROLE looks_at_no_bills")
