"""`/v1/billing`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Request
from fastapi.responses import Response

from aegis.api import billing_answers as answers
from aegis.api.billing_bodies import (
    AccountChanges,
    AccountSearch,
    CreditBody,
    EndBody,
    PlanBody,
    RunBody,
    SubscriptionBody,
    TakeBackBody,
)
from aegis.api.route import Router
from aegis.api.state import BillingOf, KnownParameters, answer
from aegis.wire.cursor import BY_OFFSET
from aegis.wire.plain import plain

__all__ = ["router"]

router = Router(prefix="/v1/billing", tags=["billing"], dependencies=[KnownParameters])


@router.get("/plans", response_model=answers.Plans)
async def list_plans(billing: BillingOf, name: str | None = None) -> Any:
    """List the versions of plans, and what tiers of keys cost (version 0)."""
    return answer({"items": await billing.plans(name)})


@router.post("/plans", status_code=201, response_model=answers.Plan)
async def add_plan(billing: BillingOf, body: PlanBody) -> Any:
    """Add a version of a plan; it never changes."""
    return answer(await billing.add_plan(**body.given()), 201)


@router.get("/subscriptions", response_model=answers.SubscriptionPage)
async def list_subscriptions(
    billing: BillingOf, customer_id: str | None = None, limit: int = 50, cursor: str | None = None
) -> Any:
    """List which plan customers are on."""
    rows = await billing.subscriptions(customer_id, limit=limit, offset=BY_OFFSET.at(cursor))
    return answer(BY_OFFSET.page(rows, limit, cursor))


@router.post("/subscriptions", status_code=201, response_model=answers.Subscription)
async def subscribe(billing: BillingOf, body: SubscriptionBody) -> Any:
    """Put a customer on a plan; the one they are on ends the day before."""
    return answer(await billing.subscribe(**body.given()), 201)


@router.post("/subscriptions/{subscription_id}/end", response_model=answers.Subscription)
async def end_subscription(billing: BillingOf, subscription_id: int, body: EndBody) -> Any:
    """End a subscription."""
    return answer(await billing.end_subscription(subscription_id, **body.given()))


@router.get("/accounts", response_model=answers.AccountPage)
async def list_accounts(billing: BillingOf, limit: int = 50, cursor: str | None = None) -> Any:
    """List customers as invoices name them."""
    rows = await billing.accounts(limit=limit, offset=BY_OFFSET.at(cursor))
    return answer(BY_OFFSET.page(rows, limit, cursor))


@router.post("/accounts/find", response_model=answers.AccountPage)
async def find_accounts(billing: BillingOf, body: AccountSearch) -> Any:
    """Find customers by an e-mail address, which is in the body and so in no log of requests."""
    rows = await billing.accounts(
        email=body.email, limit=body.limit, offset=BY_OFFSET.at(body.cursor)
    )
    return answer(BY_OFFSET.page(rows, body.limit, body.cursor))


@router.get("/accounts/{customer_id}", response_model=answers.AccountWithBalance)
async def get_account(billing: BillingOf, customer_id: str) -> Any:
    """Return a customer as invoices name them, and what is on no invoice yet."""
    account = await billing.account(customer_id)
    return answer({"account": account, "open_usd": await billing.balance(customer_id)})


@router.patch("/accounts/{customer_id}", response_model=answers.Account)
async def set_account(billing: BillingOf, customer_id: str, body: AccountChanges) -> Any:
    """Set fields of a customer; null takes one away."""
    return answer(await billing.set_account(customer_id, **body.given()))


@router.get("/preview", response_model=answers.Preview)
async def preview(billing: BillingOf, customer_id: str, month: str | None = None) -> Any:
    """Return what a month, this one otherwise, costs a customer as things stand."""
    return answer(await billing.preview(customer_id, month))


@router.post("/runs", response_model=answers.RunReport)
async def run_month(billing: BillingOf, body: RunBody) -> Any:
    """Bill a month that is over; safe to repeat."""
    report = await billing.run(body.month, dry_run=body.dry_run)
    finalized = 0
    if body.finalize and not body.dry_run:
        finalized = await billing.invoices.finalize_month(body.month)
    return answer({**plain(report), "finalized": finalized})


@router.get("/entries", response_model=answers.EntryPage)
async def list_entries(
    billing: BillingOf,
    customer_id: str | None = None,
    event_type: str | None = None,
    month: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Any:
    """List the entries that invoices are made of, newest first."""
    rows = await billing.entries(
        customer_id=customer_id,
        event_type=event_type,
        month=month,
        limit=limit,
        offset=BY_OFFSET.at(cursor),
    )
    return answer(BY_OFFSET.page(rows, limit, cursor))


@router.post("/credits", status_code=201, response_model=answers.Entry)
async def give_credit(billing: BillingOf, body: CreditBody) -> Any:
    """Credit a customer; the next invoices take it."""
    return answer(await billing.credit(**body.given()), 201)


@router.post("/credits/{entry_id}/take-back", status_code=201, response_model=answers.Entry)
async def take_back(billing: BillingOf, entry_id: int, body: TakeBackBody) -> Any:
    """Take a credit back: an entry that charges it again."""
    return answer(await billing.take_back(entry_id, **body.given()), 201)


@router.get("/invoices", response_model=answers.InvoicePage)
async def list_invoices(
    billing: BillingOf,
    customer_id: str | None = None,
    month: str | None = None,
    state: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Any:
    """List invoices without their lines, newest first."""
    rows = await billing.invoices.list(
        customer_id=customer_id, month=month, state=state, limit=limit, offset=BY_OFFSET.at(cursor)
    )
    return answer(BY_OFFSET.page(rows, limit, cursor))


@router.get("/invoices/{invoice_id}", response_model=answers.Invoice)
async def get_invoice(billing: BillingOf, invoice_id: int) -> Any:
    """Return an invoice with its lines."""
    return answer(await billing.invoices.get(invoice_id))


@router.get("/invoices/{invoice_id}/html", response_class=Response)
async def get_invoice_html(billing: BillingOf, invoice_id: int) -> Any:
    """Return an invoice as a page to print."""
    page = billing.invoices.html(await billing.invoices.get(invoice_id))
    # The page brings its own rule; this one holds where a browser is told to frame or sniff it.
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)


@router.get("/invoices/{invoice_id}/csv", response_class=Response)
async def get_invoice_csv(billing: BillingOf, invoice_id: int) -> Any:
    """Return the lines of an invoice as CSV."""
    text = billing.invoices.csv([await billing.invoices.get(invoice_id)])
    headers = {"Content-Disposition": f'attachment; filename="invoice-{invoice_id}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/invoices/{invoice_id}/finalize", response_model=answers.Invoice)
async def finalize_invoice(billing: BillingOf, invoice_id: int) -> Any:
    """Give a draft its number."""
    return answer(await billing.invoices.finalize(invoice_id))


@router.post("/invoices/{invoice_id}/sent", response_model=answers.Invoice)
async def mark_sent(billing: BillingOf, invoice_id: int) -> Any:
    """Note that a final invoice was sent."""
    return answer(await billing.invoices.mark_sent(invoice_id))


@router.post("/invoices/{invoice_id}/paid", response_model=answers.Invoice)
async def mark_paid(billing: BillingOf, invoice_id: int) -> Any:
    """Note that an invoice was paid."""
    return answer(await billing.invoices.mark_paid(invoice_id))


@router.post("/invoices/{invoice_id}/void", response_model=answers.Invoice)
async def void_invoice(billing: BillingOf, invoice_id: int) -> Any:
    """Take an invoice back: what it charged goes on another one."""
    return answer(await billing.invoices.void(invoice_id))


@router.get("/stripe/outbox", response_model=answers.OutboxPage)
async def list_outbox(
    billing: BillingOf, state: str | None = None, limit: int = 50, cursor: str | None = None
) -> Any:
    """List what Stripe has to be told and was, newest first."""
    rows = await billing.stripe.rows(state=state, limit=limit, offset=BY_OFFSET.at(cursor))
    return answer(BY_OFFSET.page(rows, limit, cursor))


@router.post("/stripe/webhook", response_model=answers.Received)
async def receive_stripe(
    billing: BillingOf,
    request: Request,
    stripe_signature: Annotated[str | None, Header()] = None,
) -> Any:
    """Take in an event of Stripe's, by its signature; a repeated one changes nothing."""
    outcome = await billing.stripe.receive(await request.body(), stripe_signature)
    return answer({"outcome": outcome})
