"""Usage at Stripe's meters: all of it, once, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from aegis.billing import Billing
from aegis.billing.store import webhooks
from aegis.config import load_settings
from aegis.db import Database
from tests.billing.at_stripe import at_stripe, sync_all
from tests.billing.conftest import LATER, use
from tests.billing.fake_stripe import fake_stripe
from tests.statements import rows

if TYPE_CHECKING:
    from pathlib import Path

    from aegis.config import Settings
    from tests.billing.fake_stripe import Stripe
    from tests.conftest import Cluster


@pytest.fixture
def billing(db: Database, settings: Settings, stripe: Stripe) -> Billing:
    return at_stripe(db, settings, stripe)


def yesterday(days: int = 1) -> str:
    return (datetime.now(UTC).date() - timedelta(days=days)).isoformat()


async def metered(billing: Billing, db: Database) -> None:
    await billing.set_account("acme", stripe_mode="meters")
    await rows(db, "UPDATE billing_accounts SET stripe_linked_at = now() - interval '90 days'")
    await rows(db, "UPDATE billing_meter_spans SET begins_on = begins_on - 90")


def values(stripe: Stripe, name: str = "api_calls") -> list[int]:
    found = [m for m in stripe.metered.values() if m["event_name"] == name]
    return sorted(int(m["payload"]["value"]) for m in found)


async def test_usage_of_days_that_are_over_reaches_the_meters_once(
    billing: Billing, db: Database, stripe: Stripe
) -> None:
    await metered(billing, db)
    for day, calls in (
        (yesterday(), 5),
        (yesterday(2), 7),
        (yesterday(0), 100),
        (yesterday(100), 9),
    ):
        await use(db, "acme", day, calls, tokens=calls * 10)
    await use(db, "other", yesterday(), 1000)
    await billing.stripe.sync()
    assert values(stripe) == [5, 7]
    assert values(stripe, "api_tokens") == [50, 70]
    customer = stripe.of("customer")[0]["id"]
    assert {m["payload"]["stripe_customer_id"] for m in stripe.metered.values()} == {customer}
    now = datetime.now(UTC).timestamp()
    assert all(now - 35 * 86_400 < int(m["timestamp"]) < now for m in stripe.metered.values())
    # What comes late is the difference, and nothing counts twice.
    await use(db, "acme", yesterday(2), 3, endpoint="/other")
    await billing.stripe.sync()
    await billing.stripe.sync()
    assert values(stripe) == [3, 5, 7]


@pytest.mark.parametrize("days", [34, 35, 36, 60])
async def test_usage_that_came_too_late_for_its_day_is_told_with_a_time_that_stripe_takes(
    billing: Billing, db: Database, stripe: Stripe, days: int
) -> None:
    await metered(billing, db)
    await use(db, "acme", yesterday(days), 5)
    await billing.stripe.sync()
    assert values(stripe) == [5]
    ((event),) = stripe.metered.values()
    now = datetime.now(UTC).timestamp()
    assert now - 35 * 86_400 + 3_600 < int(event["timestamp"]) < now
    await billing.stripe.sync()
    assert values(stripe) == [5]


async def test_event_that_waited_is_told_with_a_time_that_stripe_takes_once_its_call_is_made(
    billing: Billing, db: Database, stripe: Stripe
) -> None:
    await metered(billing, db)
    await use(db, "acme", yesterday(), 5)
    await billing.stripe.queue()
    # As if the customer could not be made at Stripe for two months.
    old = int((datetime.now(UTC) - timedelta(days=60)).timestamp())
    await rows(
        db,
        "UPDATE billing_stripe_outbox SET payload = payload || jsonb_build_object('timestamp', "
        "%s::bigint) WHERE kind = 'meter_event'",
        old,
    )
    stripe.faults = ["", "500"]
    await billing.stripe.sync()
    (first,) = [r for r in await billing.stripe.rows() if r.kind == "meter_event"]
    await sync_all(billing, db)
    (event,) = stripe.metered.values()
    assert int(event["timestamp"]) == first.payload["timestamp"] > old


async def test_usage_that_stripe_accepted_and_does_not_count_is_refused_and_can_be_retried(
    billing: Billing, db: Database, stripe: Stripe
) -> None:
    await metered(billing, db)
    await use(db, "acme", yesterday(), 5)
    await billing.stripe.sync()
    (identifier,) = stripe.metered
    stripe.events["evt_65"] = {"data": {"reason": {"error_count": 2, "error_types": [
        {"code": "archived_meter", "error_count": 2, "sample_errors": [
            {"error_message": "The meter is archived.", "request": {"identifier": identifier}}]},
    ]}}}  # fmt: skip
    async with db.transaction() as conn:
        for event_id in ("evt_65", "evt_gone"):
            await webhooks.insert_event(
                conn, event_id=event_id, event_type="t", object_id=None, at=LATER
            )
            await webhooks.set_outcome(conn, event_id, "waiting", None)
    # Stripe does not answer, and is asked again.
    stripe.faults = ["500"]
    await billing.stripe.sync()
    assert await billing.stripe.rows(state="failed") == []
    await billing.stripe.sync()
    (row,) = await billing.stripe.rows(state="failed")
    assert row.last_error == (
        "Stripe accepted it and did not count it: archived_meter (The meter is archived)."
    )
    assert await rows(db, "SELECT DISTINCT outcome FROM billing_stripe_events") == [("applied",)]
    stripe.metered.clear()
    stripe.refused.add(identifier)
    await billing.stripe.retry()
    await sync_all(billing, db)
    assert values(stripe) == [5]
    assert identifier not in stripe.metered


async def test_duplicate_identifier_counts_as_delivered(
    billing: Billing, db: Database, stripe: Stripe
) -> None:
    await metered(billing, db)
    await use(db, "acme", yesterday(), 5)
    stripe.faults = ["", "made-500-kept"]
    assert (await billing.stripe.sync()).retried == 1
    await sync_all(billing, db)
    assert values(stripe) == [5]
    (row,) = [r for r in await billing.stripe.rows() if r.kind == "meter_event"]
    assert (row.state, row.generation) == ("sent", 1)


async def test_meter_event_that_may_have_counted_a_day_ago_is_left_to_a_person(
    billing: Billing, db: Database, stripe: Stripe
) -> None:
    await metered(billing, db)
    await use(db, "acme", yesterday(), 5)
    stripe.faults = ["", "refuse"]
    await billing.stripe.sync()
    await rows(
        db,
        "UPDATE billing_stripe_outbox SET next_at = now(), "
        "first_attempt_at = now() - interval '2 days' WHERE kind = 'meter_event'",
    )
    assert (await billing.stripe.sync()).failed == 1
    assert values(stripe) == []
    await billing.stripe.retry()
    await sync_all(billing, db)
    assert values(stripe) == [5]


@profile(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=15,
)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 3), st.integers(1, 50),
            st.lists(st.sampled_from(("", "429", "500", "500-kept", "made-500-kept", "cut")),
                     max_size=5),
        ),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_sum_at_the_meters_is_the_sum_accepted(
    cluster: Cluster, template: str, tmp_path: Path, steps: list[tuple[int, int, list[str]]]
) -> None:
    async def live(dsn: str, stripe: Stripe) -> None:
        chosen = load_settings({}, data_dir=tmp_path / "data")
        async with await Database.open(dsn, chosen, min_size=1) as db:
            billing = at_stripe(db, chosen, stripe)
            await metered(billing, db)
            for days, calls, faults in steps:
                await use(db, "acme", yesterday(days), calls)
                stripe.faults = list(faults)
                await billing.stripe.sync()
                await rows(db, "UPDATE billing_stripe_outbox SET next_at = now()")
            stripe.faults = []
            await sync_all(billing, db)
            assert sum(values(stripe)) == sum(calls for _, calls, _ in steps)

    with cluster.database(template) as dsn, fake_stripe() as stripe:
        asyncio.run(live(dsn, stripe))
