"""Telling Stripe, through its own package, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aegis.billing import Billing
from aegis.billing.store import outbox
from aegis.billing.stripe.calls import pause_s
from aegis.db import Database
from aegis.errors import ConfigError, Conflict
from tests.billing.at_stripe import at_stripe, sync_all
from tests.billing.conftest import LATER, subscribed, use
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.config import Settings
    from tests.billing.fake_stripe import Stripe

FAULTS = ("refuse", "429", "500", "500-kept", "made-500-kept", "cut", "hang")


@pytest.fixture
def billing(db: Database, settings: Settings, stripe: Stripe) -> Billing:
    return at_stripe(db, settings, stripe)


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


def test_pauses_grow_to_an_hour() -> None:
    assert [pause_s(n) for n in (1, 2, 5, 11, 12, 500)] == [2, 4, 32, 2048, 3600, 3600]
