"""Telling Stripe, through its own package, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from aegis.billing import Billing
from aegis.billing.store import outbox, webhooks
from aegis.billing.stripe.calls import pause_s
from aegis.config import load_settings
from aegis.db import Database
from aegis.errors import ConfigError, Conflict
from tests.billing.conftest import LATER, rows, subscribed, use
from tests.billing.fake_stripe import fake_stripe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aegis.config import Settings
    from tests.billing.fake_stripe import Stripe
    from tests.conftest import Cluster

FAULTS = ("refuse", "429", "500", "500-kept", "made-500-kept", "cut", "hang")


@pytest.fixture
def stripe() -> Iterator[Stripe]:
    with fake_stripe() as server:
        yield server


@pytest.fixture
def billing(db: Database, settings: Settings, stripe: Stripe) -> Billing:
    return at_stripe(db, settings, stripe)


def at_stripe(db: Database, settings: Settings, stripe: Stripe, **more: Any) -> Billing:
    chosen = replace(
        settings, stripe_api_key="sk_test_right", stripe_api_base=stripe.url,
        stripe_meters="calls=api_calls,tokens=api_tokens", **more,
    )  # fmt: skip
    made = Billing(db, chosen)
    made.stripe.timeout_s = 1.0
    return made


async def invoiced(billing: Billing, db: Database, *, calls: int = 1234) -> int:
    """Make one final invoice of acme, whom Stripe bills, and return its number of row."""
    await subscribed(
        billing, "acme", {"flat_usd": "29.00", "charges": [
            {"name": "Calls", "meter": "calls", "unit_usd": "0.01"}]},
    )  # fmt: skip
    await billing.set_account(
        "acme", name="Ac'me \\ <Ltd>", email="pay@acme.test", stripe_mode="invoices"
    )
    await use(db, "acme", "2026-10-05", calls)
    await billing.credit("acme", "5.00", reason="Outage", key="k")
    await billing.run("2026-10", now=LATER)
    await billing.invoices.finalize_month("2026-10")
    (one,) = await billing.invoices.list()
    return one.id


async def sync_all(billing: Billing, db: Database, rounds: int = 30) -> None:
    """Sync until nothing waits; pauses are cut short."""
    for _ in range(rounds):
        done = await billing.stripe.sync()
        if not done.waiting:
            return
        await rows(db, "UPDATE billing_stripe_outbox SET next_at = now() WHERE state = 'pending'")
    raise AssertionError(await billing.stripe.rows(state="pending"))


def check_invoice(stripe: Stripe) -> None:
    """Hold that Stripe has one customer and one final invoice, with each line once."""
    (customer,) = stripe.of("customer")
    assert customer["name"] == "Ac'me \\ <Ltd>"
    (invoice,) = stripe.of("invoice")
    assert (invoice["status"], invoice["customer"]) == ("open", customer["id"])
    assert invoice["pending_invoice_items_behavior"] == "exclude"
    items = stripe.of("invoiceitem")
    assert sorted(int(i["amount"]) for i in items) == [-500, 1234, 2900]
    assert {i["invoice"] for i in items} == {invoice["id"]}


async def test_final_invoice_is_handed_over_once(
    billing: Billing, db: Database, stripe: Stripe
) -> None:
    number = await invoiced(billing, db)
    first = await billing.stripe.sync()
    assert (first.queued, first.sent, first.waiting) == (6, 6, 0)
    check_invoice(stripe)
    calls = len(stripe.calls)
    again = await billing.stripe.sync()
    assert (again.queued, again.sent, len(stripe.calls)) == (0, 0, calls)
    found = await billing.invoices.get(number)
    assert (found.state, found.stripe_invoice_id) == ("sent", stripe.of("invoice")[0]["id"])
    assert await rows(db, "SELECT DISTINCT stripe_invoice_id FROM billing_events") == [
        (found.stripe_invoice_id,)
    ]
    # Every call had a key of its own that was stored before.
    keys = [key for _, _, key in stripe.calls]
    assert len(set(keys)) == 6 and None not in keys
    with pytest.raises(Conflict) as held:
        await billing.invoices.void(number)
    assert held.value.code == "invoice_at_stripe"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", [0, 1, 3, 5])
async def test_whatever_fails_the_invoice_arrives_once(
    billing: Billing, db: Database, stripe: Stripe, fault: str, call: int
) -> None:
    await invoiced(billing, db)
    stripe.faults = [""] * call + [fault]
    first = await billing.stripe.sync()
    assert (first.sent, first.retried, first.failed) == (call, 1, 0)
    (waiting,) = [r for r in await billing.stripe.rows() if r.attempts and r.state == "pending"]
    assert waiting.last_error and waiting.next_at > datetime.now(UTC)
    await sync_all(billing, db)
    check_invoice(stripe)


async def test_crash_between_call_and_record_is_harmless(
    billing: Billing, db: Database, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    await invoiced(billing, db)
    real = outbox.record_sent

    async def dying(*args: Any) -> None:
        raise RuntimeError("killed before it was recorded")

    for _ in range(6):
        monkeypatch.setattr(outbox, "record_sent", dying)
        with pytest.raises(RuntimeError):
            await billing.stripe.sync()
        # Another process may not take it over while the lease lasts.
        monkeypatch.setattr(outbox, "record_sent", real)
        assert (await billing.stripe.sync()).sent == 0
        await rows(db, "UPDATE billing_stripe_outbox SET next_at = now() WHERE state = 'pending'")
        async with db.transaction() as conn:
            (row,) = await outbox.claim(conn, limit=1, lease_s=60)
        calls = await billing.stripe._open()
        async with db.transaction() as conn:
            place = await outbox.get_place(conn, row)
        made = await asyncio.to_thread(calls.make, row, place, now=datetime.now(UTC))
        async with db.transaction() as conn:
            await outbox.record_sent(conn, row, made.stripe_id)
    check_invoice(stripe)


async def test_after_a_day_what_was_made_is_found_instead_of_made_again(
    billing: Billing, db: Database, stripe: Stripe
) -> None:
    await invoiced(billing, db)
    await billing.stripe.sync()
    # As if every answer had been lost, a day ago; Stripe has forgotten the keys.
    stripe.answered.clear()
    await rows(
        db,
        "UPDATE billing_stripe_outbox SET state = 'pending', next_at = now(), "
        "first_attempt_at = now() - interval '2 days'",
    )
    await sync_all(billing, db)
    check_invoice(stripe)


async def test_refusal_stops_what_depends_on_it_until_it_is_retried(
    billing: Billing, db: Database, stripe: Stripe
) -> None:
    await invoiced(billing, db)
    await billing.set_account("acme", email=None)
    done = await billing.stripe.sync()
    assert (done.sent, done.failed, done.waiting) == (1, 1, 4)
    (refused,) = await billing.stripe.rows(state="failed")
    assert (refused.kind, refused.last_error) == ("invoice", "Missing email of the customer.")
    assert (await billing.stripe.sync()).sent == 0
    stripe.of("customer")[0]["email"] = "pay@acme.test"
    assert await billing.stripe.retry(refused.id) == 1
    await sync_all(billing, db)
    check_invoice(stripe)


async def test_wrong_key_ends_the_round_and_loses_nothing(
    db: Database, settings: Settings, stripe: Stripe, billing: Billing
) -> None:
    await invoiced(billing, db)
    wrong = Billing(
        db, replace(settings, stripe_api_key="sk_test_wrong", stripe_api_base=stripe.url)
    )
    with pytest.raises(ConfigError) as refused:
        await wrong.stripe.sync()
    assert refused.value.code == "stripe_key_refused"
    assert "sk_test_wrong" not in refused.value.message
    await sync_all(billing, db)
    check_invoice(stripe)


async def test_stripe_that_is_not_there_is_asked_again_later(
    db: Database, settings: Settings, stripe: Stripe, billing: Billing
) -> None:
    await invoiced(billing, db)
    gone = Billing(
        db,
        replace(settings, stripe_api_key="sk_test_right", stripe_api_base="http://127.0.0.1:9"),
    )
    done = await gone.stripe.sync()
    assert (done.sent, done.retried, done.waiting) == (0, 1, 6)
    await rows(db, "UPDATE billing_stripe_outbox SET next_at = now()")
    await sync_all(billing, db)
    check_invoice(stripe)


async def test_round_ends_where_stripe_cannot_be_reached(
    db: Database, settings: Settings, stripe: Stripe, billing: Billing
) -> None:
    for number in range(20):
        await billing.set_account(f"c{number:02}", stripe_mode="invoices", email="a@b.test")
    gone = Billing(
        db,
        replace(settings, stripe_api_key="sk_test_right", stripe_api_base="http://127.0.0.1:9"),
    )
    done = await gone.stripe.sync()
    # One handful was tried, and the others were not.
    assert (done.queued, done.retried, done.waiting) == (20, 8, 20)
    assert done.unreachable
    # A customer whom Stripe refuses, or too many at once, does not end it.
    stripe.faults = ["429"] * 8
    done = await billing.stripe.sync()
    assert (done.retried, done.sent, done.unreachable) == (8, 4, None)


async def test_answer_that_never_ends_is_given_up(
    db: Database, stripe: Stripe, billing: Billing
) -> None:
    await invoiced(billing, db)
    billing.stripe.timeout_s = 0.3
    stripe.faults = ["drip"]
    done = await billing.stripe.sync()
    assert (done.sent, done.retried) == (0, 1)
    assert done.unreachable == "Stripe did not answer within 0.9 seconds."
    await sync_all(billing, db)
    check_invoice(stripe)


async def test_syncs_at_once_make_each_call_once(
    billing: Billing, db: Database, stripe: Stripe, settings: Settings
) -> None:
    await invoiced(billing, db)
    await asyncio.gather(*(at_stripe(db, settings, stripe).stripe.sync() for _ in range(4)))
    await sync_all(billing, db)
    check_invoice(stripe)
    assert len(stripe.calls) == 6


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


def test_pauses_grow_to_an_hour() -> None:
    assert [pause_s(n) for n in (1, 2, 5, 11, 12, 500)] == [2, 4, 32, 2048, 3600, 3600]
