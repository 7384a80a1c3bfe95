"""What Stripe tells us: each event once, in any order, and only from Stripe."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import stripe as package
from hypothesis import given
from hypothesis import strategies as st

from aegis.billing import Billing
from aegis.billing.stripe.events import is_newer, read_event
from aegis.billing.stripe.signature import check_signature
from aegis.errors import AegisError, ConfigError, InvalidInput, Unauthenticated
from tests.billing.conftest import LATER, subscribed, use
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

SECRET = "whsec_" + "s" * 32
NOW = 1_790_000_000.0


@pytest.fixture
def billing(db: Database, settings: Settings) -> Billing:
    return Billing(db, replace(settings, stripe_webhook_secret=SECRET))


def event(
    kind: str, number: str = "1", *, created: int = int(NOW), invoice: str = "in_1", **about: Any
) -> bytes:
    thing = {"id": invoice, "object": "invoice", "customer": "cus_1", "metadata": {}, **about}
    return json.dumps(
        {"id": f"evt_{number}", "object": "event", "type": kind, "created": created,
         "data": {"object": thing}}
    ).encode()  # fmt: skip


def signed(body: bytes, *, at: float = NOW, secret: str = SECRET) -> str:
    return package.WebhookSignature.generate_signature_header(body.decode(), secret, int(at))


async def told(billing: Billing, body: bytes) -> str:
    return await billing.stripe.receive(body, signed(body), now=NOW)


async def at_stripe(billing: Billing, db: Database) -> int:
    """Return an invoice of ours that is in_1 at Stripe."""
    await subscribed(billing, "acme")
    await use(db, "acme", "2026-10-05", 100)
    await billing.run("2026-10", now=LATER)
    await billing.invoices.finalize_month("2026-10")
    (one,) = await billing.invoices.list()
    await rows(db, "UPDATE billing_invoices SET stripe_invoice_id = 'in_1'")
    await rows(db, "UPDATE billing_accounts SET stripe_customer_id = 'cus_1'")
    return one.id


async def test_paid_at_stripe_is_paid_here_once(billing: Billing, db: Database) -> None:
    number = await at_stripe(billing, db)
    paid = event("invoice.paid")
    outcomes = await asyncio.gather(*(told(billing, paid) for _ in range(5)))
    assert sorted(outcomes) == ["applied", *["repeated"] * 4]
    found = await billing.invoices.get(number)
    assert (found.state, found.stripe_status) == ("paid", "paid")


HISTORY = (
    ("invoice.created", 100), ("invoice.finalized", 101), ("invoice.payment_failed", 105),
    ("invoice.paid", 110),
)  # fmt: skip


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
async def test_events_in_any_order_end_alike(
    billing: Billing, db: Database, order: tuple[int, ...]
) -> None:
    number = await at_stripe(billing, db)
    for place in order:
        kind, created = HISTORY[place]
        body = event(kind, str(place), created=created)
        await told(billing, body)
        assert await told(billing, body) == "repeated"
    found = await billing.invoices.get(number)
    assert (found.state, found.stripe_status) == ("paid", "paid")


@given(st.permutations(["created", "finalized", "payment_failed", "paid"]))
def test_events_of_one_second_have_an_order(order: list[str]) -> None:
    at, known = datetime.fromtimestamp(NOW, UTC), None
    for status in order:
        if is_newer(status, at, known_status=known, known_at=at if known else None):
            known = status
    assert known == "paid"
    assert not is_newer("paid", at - timedelta(1), known_status="created", known_at=at)


async def test_void_at_stripe_opens_what_was_charged(billing: Billing, db: Database) -> None:
    number = await at_stripe(billing, db)
    assert await told(billing, event("invoice.voided")) == "applied"
    assert (await billing.invoices.get(number)).state == "void"
    again = await billing.run("2026-10", now=LATER)
    assert (again.entries, again.invoices) == (0, 1)
    # A paid one is not opened again by what comes late.
    await billing.invoices.finalize_month("2026-10")
    (newest, _) = await billing.invoices.list()
    await rows(
        db, "UPDATE billing_invoices SET stripe_invoice_id = 'in_2' WHERE id = %s", newest.id
    )
    await told(billing, event("invoice.paid", "2", invoice="in_2", created=200))
    await told(billing, event("invoice.voided", "3", invoice="in_2", created=300))
    assert (await billing.invoices.get(newest.id)).state == "paid"


async def test_event_before_our_own_record_finds_the_invoice_by_our_number(
    billing: Billing, db: Database
) -> None:
    number = await at_stripe(billing, db)
    await rows(db, "UPDATE billing_invoices SET stripe_invoice_id = NULL")
    ours = {"aegis_invoice_id": str(number)}
    # Another database's number at the same account of Stripe is not ours.
    assert await told(billing, event("invoice.paid", "1", metadata=ours)) == "ignored"
    await billing.set_account("acme", stripe_mode="invoices")
    await rows(db, "UPDATE billing_accounts SET stripe_linked_at = now() - interval '1 day'")
    await billing.stripe.queue()
    foreign = event("invoice.paid", "2", metadata=ours, customer="cus_other")
    assert await told(billing, foreign) == "ignored"
    assert await told(billing, event("invoice.paid", "3", metadata=ours)) == "applied"
    assert (await billing.invoices.get(number)).stripe_invoice_id == "in_1"


async def test_what_is_not_ours_is_noted_and_ignored(billing: Billing, db: Database) -> None:
    for number, kind in enumerate(("customer.subscription.updated", "invoice.paid", "v2.new")):
        assert await told(billing, event(kind, str(number), invoice="in_x")) == "ignored"
    assert await rows(db, "SELECT count(*)::int FROM billing_stripe_events") == [(3,)]


async def test_failure_on_our_side_leaves_nothing_and_is_sent_again(
    billing: Billing, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await at_stripe(billing, db)
    await rows(
        db,
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = 'disk_full'; END $$",
    )
    await rows(
        db, "CREATE TRIGGER tr_broken BEFORE UPDATE ON billing_invoices EXECUTE FUNCTION broken()"
    )
    body = event("invoice.paid")
    with pytest.raises(AegisError) as failed:
        await told(billing, body)
    assert failed.value.code == "db_disk_full"
    await rows(db, "DROP TRIGGER tr_broken ON billing_invoices")
    assert await told(billing, body) == "applied"
    assert (await billing.invoices.get(number)).state == "paid"


BODY = event("invoice.paid")


@pytest.mark.parametrize(
    "header",
    [
        None, "", "t=1", "v1=a", "t=x,v1=a", f"t={int(NOW)},v1=", "t=1,t=2,v1=a", "=,=,", "é=ü",
        f"t={int(NOW)},v1=é", f"t={int(NOW)},v0={'0' * 64}", f"t={'9' * 400},v1=a",
        signed(BODY, secret="whsec_other"), signed(BODY + b" "),
        signed(BODY, at=NOW - 301), signed(BODY, at=NOW + 301),
        signed(BODY).replace("t=", "t=1"),
    ],
)  # fmt: skip
async def test_what_stripe_did_not_sign_now_is_refused(
    billing: Billing, db: Database, header: str | None
) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await billing.stripe.receive(BODY, header, now=NOW)
    assert refused.value.code == "signature_invalid"
    assert await rows(db, "SELECT count(*)::int FROM billing_stripe_events") == [(0,)]


def test_any_of_several_signatures_will_do() -> None:
    good = signed(BODY).partition("v1=")[2]
    for at in (NOW, NOW - 300, NOW + 300):
        check_signature(BODY, f"t={int(NOW)}, v1={'0' * 64},v1={good},v0=x", secret=SECRET, now=at)


@given(st.text(max_size=200), st.text(min_size=1, max_size=40).filter(str.strip))
def test_our_check_and_the_package_s_agree(text: str, secret: str) -> None:
    header = package.WebhookSignature.generate_signature_header(text, secret)
    check_signature(text.encode(), header, secret=secret, now=time.time())
    assert package.WebhookSignature.verify_header(text, header, secret, 300)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"id": "evt_1"}',
        b'{"id": 1, "type": "a", "created": 1}', b'{"id": "evt 1", "type": "a", "created": 1}',
        b'{"id": "evt_1", "type": "a", "created": 1e400}',
        b'{"id": "evt_1", "type": "a", "created": 99999999999999}',
        b'{"id": "evt_1", "type": "", "created": 1}',
    ],
)  # fmt: skip
def test_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_event(body)


@pytest.mark.parametrize("data", [None, [], "x", {"object": 5}, {"object": {"id": {}}}])
def test_event_about_nothing_is_about_no_invoice(data: Any) -> None:
    body = json.dumps({"id": "evt_1", "type": "invoice.paid", "created": 5, "data": data})
    assert read_event(body.encode()).status is None


async def test_without_a_secret_no_webhook_is_taken_in(db: Database, settings: Settings) -> None:
    with pytest.raises(ConfigError) as refused:
        await Billing(db, settings).stripe.receive(BODY, signed(BODY), now=NOW)
    assert refused.value.code == "stripe_not_configured"


async def test_event_of_the_second_kind_waits_until_it_is_fetched(
    billing: Billing, db: Database
) -> None:
    body = json.dumps({
        "id": "evt_test_65RCjj", "object": "v2.core.event", "livemode": False,
        "type": "v1.billing.meter.error_report_triggered", "created": "2026-09-21T17:46:22.134Z",
        "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/1"},
    }).encode()  # fmt: skip
    assert await told(billing, body) == "waiting"
    assert await told(billing, body) == "repeated"
    assert await rows(db, "SELECT object_id, outcome FROM billing_stripe_events") == [
        ("mtr_1", "waiting")
    ]


@pytest.mark.parametrize(
    "created", ["2026-09-21T17:46:22", "yesterday", "", "9" * 99, True, -1, 1.5, None, [], {}]
)
def test_event_without_a_time_is_no_event(created: Any) -> None:
    body = json.dumps({"id": "evt_1", "type": "invoice.paid", "created": created}).encode()
    with pytest.raises(InvalidInput, match="it needs id, type and created"):
        read_event(body)
