"""Days that Stripe prices by its meters, and days that we do: none twice, and none by nobody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from aegis.billing import Billing
from aegis.billing import run as run_module
from aegis.billing.months import before, days_left, next_month, read_month
from aegis.billing.store import accounts, metered
from aegis.config import load_settings
from aegis.db import Database
from aegis.errors import NotFound
from aegis.keys import Keys
from tests.billing.conftest import PER_CALL, subscribed, use
from tests.statements import rows

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.config import Settings
    from tests.conftest import Cluster

TODAY = datetime.now(UTC).date()
#: The month before, which is over, however old this month is.
MONTH = before(TODAY, 1)
#: Long after all months of these tests.
LATER = datetime(TODAY.year + 1, TODAY.month, 1, 12, tzinfo=UTC)


async def span(db: Database, begins_on: date, ends_on: date | None = None) -> None:
    """Let Stripe price days of acme, as if it had been linked then."""
    async with db.transaction() as conn:
        await accounts.lock_accounts(conn, ["acme"])
        await metered.begin_span(conn, "acme", begins_on)
        if ends_on is not None:
            await metered.end_span(conn, "acme", ends_on)


async def test_days_of_stripe_are_not_billed_here(billing: Billing, db: Database) -> None:
    length = (next_month(MONTH) - MONTH).days
    await subscribed(billing, "acme", {"flat_usd": str(length), **PER_CALL})
    await span(db, MONTH + timedelta(days=10))
    await use(db, "acme", (MONTH + timedelta(days=9)).isoformat(), 7)
    await use(db, "acme", (MONTH + timedelta(days=10)).isoformat(), 1000)
    preview = await billing.preview("acme", MONTH)
    assert [(line.key, line.amount_usd) for line in preview.lines] == [
        ("0:flat", Decimal(10)), ("0:charge:Calls", Decimal("0.07")),
    ]  # fmt: skip
    report = await billing.run(MONTH, now=LATER)
    assert (report.amount_usd, list(report.unbilled)) == (Decimal("10.07"), [])
    # What comes late for a day of theirs is theirs, too.
    await use(db, "acme", (MONTH + timedelta(days=11)).isoformat(), 5)
    again = await billing.run(next_month(MONTH), now=LATER)
    assert (again.entries, again.invoices, list(again.unbilled)) == (0, 0, [])


async def test_month_that_is_stripe_s_has_no_price_here(
    billing: Billing, db: Database, settings: Settings
) -> None:
    await Keys(db, settings).issue("acme", tier="pro")
    await rows(db, "UPDATE api_keys SET created_at = '2026-01-01 00:00:00+00'")
    assert (await billing.preview("acme", MONTH)).total_usd == 199
    await subscribed(billing, "other")
    await span(db, MONTH)
    await use(db, "acme", MONTH.isoformat(), 1000)
    with pytest.raises(NotFound, match="has no price: Stripe's meters price it"):
        await billing.preview("acme", MONTH)
    report = await billing.run(MONTH, now=LATER)
    assert (report.entries, report.invoices, list(report.unbilled)) == (0, 0, [])


async def test_tier_is_paid_for_the_days_that_are_not_stripe_s(
    billing: Billing, db: Database, settings: Settings
) -> None:
    key = (await Keys(db, settings).issue("acme", tier="pro", monthly_quota=10)).record.id
    await rows(db, "UPDATE api_keys SET created_at = '2026-01-01 00:00:00+00'")
    await subscribed(billing, "other")
    length = (next_month(MONTH) - MONTH).days
    await span(db, MONTH + timedelta(days=length // 2))
    await rows(
        db,
        "INSERT INTO api_quota_ledger (api_key_id, period, kind, amount) "
        "VALUES (%s, %s, 'grant', 10), (%s, %s, 'overage', 20000)",
        key, MONTH, key, MONTH,
    )  # fmt: skip
    report = await billing.run(MONTH, now=LATER)
    (flat,) = await rows(
        db, "SELECT amount_usd FROM billing_events WHERE event_type = 'subscription'"
    )
    assert flat[0] == (Decimal(199) * (length // 2) / length).quantize(Decimal("0.01"))
    # Whose days it came on is not known: it is named, and neither lost nor paid twice.
    assert [(u.customer_id, u.reason.split(";")[0]) for u in report.unbilled] == [
        (
            "acme",
            "20,000 calls above the quota were accepted in a month that Stripe's meters price a "
            "part of",
        )
    ]
    assert await rows(db, "SELECT 1 FROM billing_events WHERE event_type = 'overage'") == []


async def test_linking_and_unlinking_make_spans_of_days(billing: Billing, db: Database) -> None:
    spans = "SELECT begins_on, ends_on FROM billing_meter_spans ORDER BY begins_on"
    for _ in range(2):
        await billing.set_account("acme", stripe_mode="meters")
    assert await rows(db, spans) == [(TODAY, None)]
    # On the same day it was nothing.
    await billing.set_account("acme", stripe_mode="invoices")
    assert await rows(db, spans) == []
    await billing.set_account("acme", stripe_mode="meters")
    await rows(db, "UPDATE billing_meter_spans SET begins_on = begins_on - 9")
    await billing.set_account("acme", name="Acme")
    await billing.set_account("acme", stripe_mode="none")
    assert await rows(db, spans) == [(TODAY - timedelta(days=9), TODAY)]
    await billing.set_account("acme", stripe_mode="meters")
    assert await rows(db, spans) == [(TODAY - timedelta(days=9), None)]


async def test_day_that_was_told_stays_stripe_s_when_the_clock_is_set_back(
    billing: Billing, db: Database, settings: Settings
) -> None:
    await billing.set_account("acme", stripe_mode="meters")
    await rows(db, "UPDATE billing_meter_spans SET begins_on = begins_on - 9")
    await use(db, "acme", (TODAY - timedelta(days=1)).isoformat(), 5)
    await Billing(db, replace(settings, stripe_meters="calls=c")).stripe.queue()
    async with db.transaction() as conn:
        await metered.end_span(conn, "acme", TODAY - timedelta(days=4))
    assert await rows(db, "SELECT ends_on FROM billing_meter_spans") == [(TODAY,)]


SPANS = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 20)), max_size=3)
USES = st.lists(
    st.tuples(st.integers(1, 50), st.integers(1, 50), st.booleans()), min_size=1, max_size=12
)


@profile(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=20,
)
@given(SPANS, USES)
def test_every_call_is_paid_once_to_stripe_or_to_us(
    cluster: Cluster,
    template: str,
    tmp_path: Path,
    spans: list[tuple[int, int]],
    uses: list[tuple[int, int, bool]],
) -> None:
    async def live(dsn: str) -> None:
        chosen = replace(
            load_settings({}, data_dir=tmp_path / "data"), stripe_meters="calls=api_calls"
        )
        async with await Database.open(dsn, chosen, min_size=1) as db:
            billing = Billing(db, chosen)
            await subscribed(billing, "acme")
            for ago, length in sorted(spans, reverse=True):
                begins = TODAY - timedelta(days=ago)
                await span(db, begins, min(begins + timedelta(days=length), TODAY))
            first = read_month(TODAY - timedelta(days=50))
            for late in (False, True):
                for ago, calls, is_late in uses:
                    if is_late == late:
                        await use(db, "acme", (TODAY - timedelta(days=ago)).isoformat(), calls)
                for _ in range(2):
                    await billing.stripe.queue()
                month = first
                while month <= TODAY.replace(day=1):
                    await run_module.run_month(db, month, now=LATER)
                    month = next_month(month)
                first = month
            for _ in range(3):
                await run_module.run_month(db, month, now=LATER)
                month = next_month(month)
            ours = await rows(db, "SELECT coalesce(sum(quantity), 0)::int FROM billing_events")
            theirs = await rows(
                db, "SELECT coalesce(sum(quantity), 0)::int FROM billing_stripe_outbox"
            )
            assert ours[0][0] + theirs[0][0] == sum(calls for _, calls, _ in uses)
            await _check_days(db)

    with cluster.database(template) as dsn:
        asyncio.run(live(dsn))


async def _check_days(db: Database) -> None:
    """Hold that Stripe was told of its days, of each all, and of no other."""
    wrong = await rows(
        db,
        "SELECT u.day, u.calls, o.quantity FROM usage_daily u "
        "LEFT JOIN (SELECT day, sum(quantity) AS quantity FROM billing_stripe_outbox "
        "WHERE meter = 'calls' GROUP BY day) o ON o.day = u.day "
        "WHERE coalesce(o.quantity, 0) <> CASE WHEN EXISTS (SELECT FROM billing_meter_spans s "
        "WHERE u.day >= s.begins_on AND (s.ends_on IS NULL OR u.day < s.ends_on)) "
        "THEN u.calls ELSE 0 END",
    )
    assert wrong == []


DAY = date(2026, 10, 1)


def day(number: int) -> date:
    return DAY + timedelta(days=number)


@given(
    st.integers(0, 20),
    st.integers(0, 20),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5)), max_size=4),
    st.booleans(),
)
def test_days_left_are_those_that_no_span_has(
    begins: int, ends: int, spans: list[tuple[int, int]], endless: bool
) -> None:
    without: list[tuple[date, date | None]] = []
    last = 0
    for first, length in sorted(spans):
        if first >= last:
            last = first + length
            without.append((day(first), day(last)))
    if endless and without:
        without[-1] = (without[-1][0], None)
    left = days_left(day(begins), day(ends), without)
    found = [n for n in range(30) if any(a <= day(n) < b for a, b in left)]
    assert found == [
        n
        for n in range(begins, ends)
        if not any(a <= day(n) and (b is None or day(n) < b) for a, b in without)
    ]
    assert all(a < b for a, b in left)
