"""`/v1/billing`."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import stripe as package

from aegis.api import billing_answers as answers
from aegis.api.app import create_app
from aegis.api.scopes import scope_of
from aegis.billing.months import before
from aegis.client import Aegis
from tests.api.conftest import TOKEN
from tests.billing.conftest import subscribed, use

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database

LAST = before(datetime.now(UTC).date().replace(day=1), 1)
MONTH = f"{LAST:%Y-%m}"
TERMS = {
    "flat_usd": "29.00",
    "charges": [{"name": "Calls", "meter": "calls", "unit_usd": "0.01"}],
}
SECRET = "whsec_" + "x" * 32


async def begin(http: httpx2.AsyncClient, db: Database) -> None:
    plan = {"name": "basic", "terms": TERMS, "valid_from": "2026-01-01"}
    made = await http.post("/v1/billing/plans", json=plan)
    assert made.status_code == 201, made.text
    answers.Plan.model_validate(made.json())
    body = {"customer_id": "acme", "plan": "basic", "starts_on": "2026-01-01"}
    one = await http.post("/v1/billing/subscriptions", json=body)
    assert one.status_code == 201, one.text
    answers.Subscription.model_validate(one.json())
    await use(db, "acme", LAST.isoformat(), 250)


async def test_from_a_plan_to_a_paid_invoice(http: httpx2.AsyncClient, db: Database) -> None:
    await begin(http, db)
    answers.Plans.model_validate((await http.get("/v1/billing/plans")).json())
    answers.SubscriptionPage.model_validate((await http.get("/v1/billing/subscriptions")).json())
    seen = await http.get(f"/v1/billing/preview?customer_id=acme&month={MONTH}")
    assert answers.Preview.model_validate(seen.json()).total_usd == "31.50"
    run = await http.post("/v1/billing/runs", json={"month": MONTH, "finalize": True})
    report = answers.RunReport.model_validate(run.json())
    assert (report.amount_usd, report.finalized) == ("31.50", 1)
    page = answers.InvoicePage.model_validate((await http.get("/v1/billing/invoices")).json())
    number = page.items[0].id
    found = await http.get(f"/v1/billing/invoices/{number}")
    assert len(answers.Invoice.model_validate(found.json()).lines) == 2
    shown = await http.get(f"/v1/billing/invoices/{number}/html")
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert "31.50" in shown.text
    table = await http.get(f"/v1/billing/invoices/{number}/csv")
    assert table.headers["content-disposition"].startswith("attachment")
    for step in ("sent", "paid"):
        moved = await http.post(f"/v1/billing/invoices/{number}/{step}")
        assert answers.Invoice.model_validate(moved.json()).state == step
    for step in ("void", "finalize"):
        assert (await http.post(f"/v1/billing/invoices/{number}/{step}")).status_code == 409
    entries = answers.EntryPage.model_validate((await http.get("/v1/billing/entries")).json())
    assert [e.amount_usd for e in entries.items] == ["2.50", "29.00"]


async def test_credits_accounts_and_ends(http: httpx2.AsyncClient, db: Database) -> None:
    await begin(http, db)
    body = {"customer_id": "acme", "amount_usd": "5.00", "reason": "Outage", "key": "k"}
    made = [(await http.post("/v1/billing/credits", json=body)).json() for _ in range(2)]
    assert answers.Entry.model_validate(made[0]).id == made[1]["id"]
    back = await http.post(
        f"/v1/billing/credits/{made[0]['id']}/take-back", json={"reason": "r", "amount_usd": "1.00"}
    )
    assert (back.status_code, back.json()["amount_usd"]) == (201, "1.00")
    changed = await http.patch("/v1/billing/accounts/acme", json={"name": "A", "email": None})
    answers.Account.model_validate(changed.json())
    account = answers.AccountWithBalance.model_validate(
        (await http.get("/v1/billing/accounts/acme")).json()
    )
    assert (account.account.name, account.open_usd) == ("A", "-4.00")
    (one,) = (await http.get("/v1/billing/subscriptions?customer_id=acme")).json()["items"]
    ended = await http.post(f"/v1/billing/subscriptions/{one['id']}/end", json={})
    assert ended.json()["ends_on"] == f"{datetime.now(UTC):%Y-%m-%d}"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/billing/plans", {"name": "b", "terms": {"flat_usd": 1.5}}, 422),
        ("POST", "/v1/billing/plans", {"name": "<b>", "terms": {}}, 422),
        ("POST", "/v1/billing/subscriptions", {"customer_id": "a", "plan": "none"}, 404),
        ("POST", "/v1/billing/credits", {"customer_id": "a", "amount_usd": 5, "reason": "r"}, 422),
        ("POST", "/v1/billing/runs", {"month": "2199-01"}, 409),
        ("GET", "/v1/billing/preview?customer_id=nobody", None, 404),
        ("GET", "/v1/billing/invoices/999999999999999999999", None, 404),
        ("GET", "/v1/billing/invoices?colour=red", None, 422),
        ("GET", "/v1/billing/entries?month=May", None, 422),
        ("POST", "/v1/billing/stripe/webhook", {}, 500),
    ],
)
async def test_what_makes_no_sense_is_refused(
    http: httpx2.AsyncClient, method: str, path: str, body: Any, status: int
) -> None:
    answer = await http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_stripe_needs_no_key_of_ours_but_its_signature(
    db: Database, settings: Settings
) -> None:
    client = Aegis(db, None, replace(settings, embedder="none", stripe_webhook_secret=SECRET))
    transport = httpx2.ASGITransport(app=create_app(client, token=TOKEN))
    # Spaces and order as they came: the signature is of the bytes.
    body = json.dumps(
        {"type": "invoice.paid", "id": "evt_1", "created": int(time.time()), "data": {}}, indent=3
    )
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:

        async def send(header: str) -> httpx2.Response:
            return await http.post(
                "/v1/billing/stripe/webhook", content=body.encode(),
                headers={"Stripe-Signature": header},
            )  # fmt: skip

        good = package.WebhookSignature.generate_signature_header(body, SECRET)
        first, again = await send(good), await send(good)
        assert (first.status_code, first.json()) == (200, {"outcome": "ignored"})
        assert (again.status_code, again.json()) == (200, {"outcome": "repeated"})
        wrong = await send(package.WebhookSignature.generate_signature_header(body, "whsec_x"))
        assert (wrong.status_code, wrong.json()["code"]) == (401, "signature_invalid")
        assert (await http.get("/v1/billing/invoices")).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/billing/invoices", "billing:read"),
        ("POST", "/v1/billing/runs", "operator"),
        ("POST", "/v1/billing/credits", "operator"),
        ("PATCH", "/v1/billing/accounts/acme", "operator"),
    ],
)
def test_each_route_has_its_scope(method: str, path: str, scope: str) -> None:
    assert scope_of(method, path) == scope


async def test_accepted_calls_and_reported_events_are_what_is_billed(
    http: httpx2.AsyncClient, client: Aegis
) -> None:
    await subscribed(client.billing, "metered")
    made = await http.post("/v1/keys", json={"customer_id": "metered", "scopes": ["keys:read"]})
    key = {"Authorization": f"Bearer {made.json()['key']}"}
    for _ in range(3):
        assert (await http.get("/v1/keys", headers=key)).status_code == 200
    # Refused, and so nobody's call.
    assert (await http.get("/v1/memory/episodes", headers=key)).status_code == 403
    told = {
        "event_id": "e1",
        "customer_id": "metered",
        "endpoint": "/things",
        "method": "GET",
        "status_code": 200,
    }
    for _ in range(2):
        assert (await http.post("/v1/usage/events", json=told)).status_code == 200
    preview = await client.billing.preview("metered")
    assert [(line.quantity, line.amount_usd) for line in preview.lines] == [(4, Decimal("0.04"))]
    later = datetime.now(UTC) + timedelta(days=40)
    for _ in range(2):
        await client.billing.run(f"{preview.period:%Y-%m}", now=later)
    (invoice,) = await client.billing.invoices.list(customer_id="metered")
    assert invoice.total_usd == Decimal("0.04")
