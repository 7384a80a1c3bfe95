"""The month-end run: once whatever is repeated, killed or late."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.billing import run as run_module
from aegis.errors import AegisError, Conflict
from aegis.keys import Keys
from tests.billing.conftest import LATER, PER_CALL, subscribed, use
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.billing import Billing
    from aegis.config import Settings
    from aegis.db import Database


async def told(db: Database, customer: str | None = None) -> list[tuple[Any, ...]]:
    """Return entries: month, type, amount, quantity."""
    return await rows(
        db,
        "SELECT to_char(period, 'YYYY-MM'), event_type, amount_usd, quantity::bigint "
        "FROM billing_events WHERE entry_key IS NOT NULL AND (%s::text IS NULL OR customer_id = %s)"
        " ORDER BY id",
        customer,
        customer,
    )


async def test_run_bills_each_customer_once_however_often_it_is_repeated(
    billing: Billing, db: Database
) -> None:
    terms = {"flat_usd": "29.00", **PER_CALL}
    for number in range(7):
        await subscribed(billing, f"c{number}", terms)
        await use(db, f"c{number}", "2026-10-31", 100 + number)
        await use(db, f"c{number}", "2026-11-01", 5)
    await use(db, "c0", "2026-09-30", 5)
    dry = await billing.run("2026-10", now=LATER, dry_run=True)
    assert await told(db) == []
    first = await billing.run("2026-10", now=LATER)
    assert (first.customers, first.entries, first.invoices) == (7, 14, 7)
    assert first.amount_usd == first.invoiced_usd == Decimal("210.21")
    assert (dry.entries, dry.amount_usd, dry.invoices, dry.invoiced_usd) == (
        first.entries, first.amount_usd, first.invoices, first.invoiced_usd,
    )  # fmt: skip
    before = await told(db)
    assert before[:2] == [
        ("2026-10", "subscription", Decimal("29.00"), None),
        ("2026-10", "api_usage", Decimal("1.00"), 100),
    ]
    again = await billing.run("2026-10", now=LATER)
    assert (again.customers, again.entries, again.invoices) == (0, 0, 0)
    assert await told(db) == before
    assert len(await billing.invoices.list(month="2026-10")) == 7


async def test_runs_at_once_bill_everybody_once(billing: Billing, db: Database) -> None:
    for number in range(30):
        await subscribed(billing, f"c{number}")
        await use(db, f"c{number}", "2026-10-01", 100)
    month = datetime(2026, 10, 1, tzinfo=UTC).date()
    reports = await asyncio.gather(
        *(run_module.run_month(db, month, now=LATER, chunk=4) for _ in range(4))
    )
    assert sum(r.customers for r in reports) == sum(r.invoices for r in reports) == 30
    assert len(await told(db)) == 30


async def test_run_that_is_killed_goes_on_where_it_ended(
    billing: Billing, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        await subscribed(billing, f"c{number}")
        await use(db, f"c{number}", "2026-10-01", 100)
    month = datetime(2026, 10, 1, tzinfo=UTC).date()
    real = run_module.invoices.insert_invoices
    times = 0

    async def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal times
        times += 1
        made = await real(*args, **kwargs)
        if times == 3:
            raise RuntimeError("killed between its entries and its end")
        return made

    monkeypatch.setattr(run_module.invoices, "insert_invoices", dying)
    with pytest.raises(RuntimeError):
        await run_module.run_month(db, month, now=LATER, chunk=2)
    assert len(await told(db)) == 4
    (cut,) = await billing.runs()
    assert cut.finished_at is None
    report = await run_module.run_month(db, month, now=LATER, chunk=2)
    assert (report.customers, len(await told(db))) == (6, 10)
    (done,) = await billing.runs()
    assert done.finished_at is not None


async def test_month_that_is_not_over_is_not_billed(billing: Billing) -> None:
    with pytest.raises(Conflict) as early:
        await billing.run("2026-12", now=LATER)
    assert early.value.code == "month_not_over"
    await billing.run("2026-11", now=datetime(2026, 12, 1, tzinfo=UTC))


async def test_what_comes_late_is_an_entry_of_the_next_run_at_the_old_terms(
    billing: Billing, db: Database
) -> None:
    await subscribed(billing, "acme")
    await use(db, "acme", "2026-09-10", 100)
    await billing.run("2026-09", now=LATER)
    await billing.add_plan(
        "basic", {"charges": [{"name": "Calls", "meter": "calls", "unit_usd": "1"}]},
        valid_from="2026-10-01",
    )  # fmt: skip
    await use(db, "acme", "2026-09-30", 50)
    await use(db, "acme", "2026-10-02", 3)
    await billing.run("2026-09", now=LATER)
    assert await told(db) == [("2026-09", "api_usage", Decimal("1.00"), 100)]
    report = await billing.run("2026-10", now=LATER)
    assert report.adjustments == 1
    assert await told(db) == [
        ("2026-09", "api_usage", Decimal("1.00"), 100),
        ("2026-09", "api_usage", Decimal("0.50"), 50),
        ("2026-10", "api_usage", Decimal("3.00"), 3),
    ]
    (newest, _) = await billing.invoices.list(customer_id="acme")
    lines = (await billing.invoices.get(newest.id)).lines
    assert [line.description for line in lines] == [
        "2026-09, added later: basic v1: Calls (calls)", "basic v2: Calls (calls)",
    ]  # fmt: skip


async def test_late_usage_can_lower_a_month_and_is_credited(billing: Billing, db: Database) -> None:
    terms = {"charges": [{"name": "Calls", "meter": "calls", "model": "volume", "tiers": [
        {"up_to": 100, "unit_usd": "1"}, {"unit_usd": "0.10"}]}]}  # fmt: skip
    await subscribed(billing, "acme", terms)
    await use(db, "acme", "2026-09-10", 100)
    await use(db, "acme", "2026-10-10", 50)
    await billing.run("2026-09", now=LATER)
    await use(db, "acme", "2026-09-10", 100)
    await billing.run("2026-10", now=LATER)
    assert [row[2] for row in await told(db)] == [Decimal(100), Decimal(-80), Decimal(50)]
    # The invoice takes of it what it can, and the rest stays open.
    (invoice, _) = await billing.invoices.list(customer_id="acme")
    assert invoice.total_usd == 0
    assert await billing.balance("acme") == Decimal(-30)
    await use(db, "acme", "2026-11-10", 40)
    await billing.run("2026-11", now=LATER)
    assert (await billing.invoices.list(month="2026-11"))[0].total_usd == Decimal(10)
    assert await billing.balance("acme") == 0


async def test_what_somebody_owes_who_is_gone_is_on_an_invoice(
    billing: Billing, db: Database
) -> None:
    await subscribed(billing, "acme", ends_on="2026-07-01")
    await use(db, "acme", "2026-06-10", 100)
    gift = await billing.credit("acme", "0.40", reason="Outage", key="k")
    await billing.run("2026-06", now=LATER)
    assert (await billing.invoices.list())[0].total_usd == Decimal("0.60")
    # Months later there is nothing of theirs but this.
    await billing.take_back(gift.id, reason="It was none")
    dry = await billing.run("2026-11", now=LATER, dry_run=True)
    assert (dry.invoices, dry.invoiced_usd) == (1, Decimal("0.40"))
    report = await billing.run("2026-11", now=LATER)
    assert (report.invoices, report.invoiced_usd) == (1, Decimal("0.40"))
    assert await billing.balance("acme") == 0
    assert (await billing.run("2026-11", now=LATER)).invoices == 0


async def test_customer_whose_first_usage_came_late_is_billed_by_the_next_run(
    billing: Billing, db: Database
) -> None:
    await billing.run("2026-09", now=LATER)
    await subscribed(billing, "acme", starts_on="2026-09-01", ends_on="2026-10-01")
    await use(db, "acme", "2026-09-30", 7)
    await billing.run("2026-10", now=LATER)
    await billing.run("2026-10", now=LATER)
    assert await told(db) == [("2026-09", "api_usage", Decimal("0.07"), 7)]


async def test_change_of_plan_within_a_month_bills_each_by_its_days(
    billing: Billing, db: Database
) -> None:
    await billing.add_plan("small", {"flat_usd": "31.00", **PER_CALL}, valid_from="2026-01-01")
    await billing.add_plan("large", {"flat_usd": "310.00"}, valid_from="2026-01-01")
    await billing.subscribe("acme", "small", starts_on="2026-10-01")
    await billing.subscribe("acme", "large", starts_on="2026-10-11")
    await use(db, "acme", "2026-10-10", 100)
    await use(db, "acme", "2026-10-11", 100)
    preview = await billing.preview("acme", "2026-10")
    assert preview.plans == ["small v1", "large v1"]
    assert [(line.key, str(line.amount_usd)) for line in preview.lines] == [
        ("0:flat", "10.00"), ("0:charge:Calls", "1.00"), ("1:flat", "210.00"),
    ]  # fmt: skip
    assert (preview.total_usd, preview.billed_usd) == (Decimal("221.00"), 0)
    await billing.run("2026-10", now=LATER)
    assert (await billing.preview("acme", "2026-10")).billed_usd == Decimal("221.00")


async def test_customer_without_a_plan_pays_their_tier_and_its_overage(
    billing: Billing, db: Database, settings: Settings
) -> None:
    keys = Keys(db, settings)
    key = (await keys.issue("acme", tier="pro", monthly_quota=10)).record.id
    await keys.issue("acme", tier="free")
    await keys.issue("other", tier="free")
    await rows(db, "UPDATE api_keys SET created_at = '2026-10-05 00:00:00+00'")
    await rows(
        db,
        "INSERT INTO api_quota_ledger (api_key_id, period, kind, amount) "
        "VALUES (%s, '2026-10-01', 'grant', 10), (%s, '2026-10-01', 'overage', 20000)",
        key, key,
    )  # fmt: skip
    report = await billing.run("2026-10", now=LATER)
    assert await told(db) == [
        ("2026-10", "subscription", Decimal("199.00"), None),
        ("2026-10", "overage", Decimal("3.98"), 20000),
    ]
    assert (report.customers, report.invoices, list(report.unbilled)) == (2, 1, [])
    # The row of overage grows: what comes on top is billed by the next run.
    await rows(db, "UPDATE api_quota_ledger SET amount = 30000 WHERE kind = 'overage'")
    await rows(db, "UPDATE api_tiers SET price_usd = 1 WHERE name = 'pro'")
    await billing.run("2026-11", now=LATER)
    assert (await told(db, "acme"))[2:] == [
        ("2026-10", "overage", Decimal("1.99"), 10000),
        ("2026-11", "subscription", Decimal("1.00"), None),
    ]


async def test_key_that_could_not_be_used_costs_nothing(
    billing: Billing, db: Database, settings: Settings
) -> None:
    keys = Keys(db, settings)
    expired = (await keys.issue("a", tier="pro")).record.id
    await keys.disable((await keys.issue("b", tier="pro")).record.id)
    await keys.revoke((await keys.issue("c", tier="pro")).record.id)
    await keys.issue("d", tier="developer")
    await rows(
        db,
        "UPDATE api_keys SET created_at = '2026-01-01 00:00:00+00', revoked_at = "
        "CASE WHEN revoked_at IS NULL THEN NULL ELSE '2026-09-30 23:59:59+00'::timestamptz END",
    )
    await rows(
        db, "UPDATE api_keys SET expires_at = '2026-09-30 23:59:59+00' WHERE id = %s", expired
    )
    await billing.run("2026-10", now=LATER)
    assert await told(db) == [("2026-10", "subscription", Decimal("29.00"), None)]
    assert (await billing.preview("d", "2026-10")).plans == ["developer"]


async def test_run_of_one_customer_bills_nobody_else_and_their_late_usage_too(
    billing: Billing, db: Database
) -> None:
    for customer in ("one", "other"):
        await subscribed(billing, customer)
        await use(db, customer, "2026-09-10", 10)
    await billing.run("2026-09", now=LATER, customers=["one"])
    await use(db, "one", "2026-09-10", 5)
    report = await billing.run("2026-10", now=LATER)
    assert report.adjustments == 1
    assert [row[3] for row in await told(db)] == [10, 5]
    await billing.run("2026-09", now=LATER)
    assert await told(db, "other") == [("2026-09", "api_usage", Decimal("0.10"), 10)]


async def test_usage_that_nobody_pays_for_is_named(billing: Billing, db: Database) -> None:
    await use(db, "stray", "2026-10-05", 12)
    await subscribed(billing, "gap", starts_on="2026-10-10")
    await use(db, "gap", "2026-10-09", 3)
    await use(db, "gap", "2026-10-10", 4)
    huge = {"charges": [{"name": "c", "meter": "calls", "unit_usd": "99999"}]}
    await subscribed(billing, "huge", huge, plan="huge")
    await use(db, "huge", "2026-10-09", 10**9)
    report = await billing.run("2026-10", now=LATER)
    assert {(u.customer_id, u.reason.split(";")[0]) for u in report.unbilled} == {
        ("stray", "12 calls were used and there is no plan, nor a key with a tier"),
        ("gap", "3 calls were used on days without a plan"),
        ("huge", "huge v1: c (calls) comes to 99,999,000,000,000.00 USD"),
    }
    assert await told(db) == [("2026-10", "api_usage", Decimal("0.04"), 4)]
    # A plan that is given late is billed by the same month's run, repeated.
    await subscribed(billing, "stray")
    await billing.run("2026-10", now=LATER)
    assert await told(db, "stray") == [("2026-10", "api_usage", Decimal("0.12"), 12)]


async def test_plan_of_a_billed_month_stays(billing: Billing, db: Database) -> None:
    await subscribed(billing, "acme")
    await use(db, "acme", "2026-10-05", 1)
    await billing.run("2026-10", now=LATER)
    (one,) = await billing.subscriptions("acme")
    for change in (
        billing.subscribe("acme", "basic", starts_on="2026-10-20"),
        billing.end_subscription(one.id, "2026-10-20"),
    ):
        with pytest.raises(Conflict) as billed:
            await change
        assert billed.value.code == "month_billed"
    assert (await billing.end_subscription(one.id, "2026-11-01")).ends_on is not None
    await billing.subscribe("acme", "basic", starts_on="2026-11-01")
    with pytest.raises(Conflict) as taken:
        await billing.subscribe("acme", "basic", starts_on="2026-11-01")
    assert taken.value.code == "subscription_overlaps"


async def test_subscriptions_at_once_never_overlap(billing: Billing, db: Database) -> None:
    await billing.add_plan("basic", PER_CALL, valid_from="2026-01-01")
    await asyncio.gather(
        *(billing.subscribe("acme", "basic", starts_on="2026-10-01") for _ in range(6)),
        return_exceptions=True,
    )
    assert await rows(db, "SELECT count(*)::int FROM billing_subscriptions") == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_events SET amount_usd = 0",
        "UPDATE billing_events SET description = 'x'",
        "UPDATE billing_events SET stripe_invoice_id = 'in_1', quantity = 1",
        "DELETE FROM billing_events",
        "TRUNCATE billing_events CASCADE",
        "UPDATE billing_plans SET terms = '{}'",
        "DELETE FROM billing_plans",
        "UPDATE billing_invoice_lines SET amount_usd = 0",
        "DELETE FROM billing_invoice_lines",
        "UPDATE billing_invoices SET total_usd = 0",
        "UPDATE billing_invoices SET customer_id = 'x'",
    ],
)
async def test_rows_that_carry_money_are_only_added(
    billing: Billing, db: Database, statement: str
) -> None:
    await subscribed(billing, "acme")
    await use(db, "acme", "2026-10-05", 100)
    await billing.run("2026-10", now=LATER)
    with pytest.raises(AegisError, match="only added"):
        await rows(db, statement)
    await rows(db, "UPDATE billing_events SET stripe_invoice_id = 'in_1'")


async def test_entry_key_is_unique_for_a_customer(billing: Billing, db: Database, dsn: str) -> None:
    await subscribed(billing, "acme")
    await use(db, "acme", "2026-10-05", 100)
    await billing.run("2026-10", now=LATER)
    with psycopg.connect(dsn) as plain, pytest.raises(psycopg.errors.UniqueViolation):
        plain.execute(
            "INSERT INTO billing_events (customer_id, event_type, amount_usd, entry_key) "
            "SELECT customer_id, event_type, 9, entry_key FROM billing_events"
        )
