"""The answers about billing, as OpenAPI describes them. Amounts are text: exact to the cent."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from aegis.api.shapes import Answer
from aegis.billing.models import (
    InvoiceState,
    LineKind,
    OutboxKind,
    OutboxState,
    Proration,
    StripeMode,
)

__all__ = [
    "Account",
    "AccountPage",
    "AccountWithBalance",
    "Entry",
    "EntryPage",
    "Invoice",
    "InvoicePage",
    "OutboxPage",
    "OutboxRow",
    "Plan",
    "Plans",
    "Preview",
    "Received",
    "RunReport",
    "Subscription",
    "SubscriptionPage",
]


class Plan(Answer):
    """One version of a plan; version 0 is what a tier of keys costs."""

    name: str
    version: int
    valid_from: date
    terms: dict[str, Any]
    created_at: datetime | None


class Plans(Answer):
    """All versions, newest first."""

    items: list[Plan]


class Subscription(Answer):
    """Which plan a customer is on."""

    id: int
    customer_id: str
    plan: str
    starts_on: date
    ends_on: date | None
    proration: Proration
    created_at: datetime


class SubscriptionPage(Answer):
    """A page of subscriptions."""

    items: list[Subscription]
    next_cursor: str | None


class Account(Answer):
    """A customer as invoices name them."""

    customer_id: str
    name: str | None
    email: str | None
    address: str | None
    stripe_mode: StripeMode
    stripe_customer_id: str | None
    stripe_linked_at: datetime | None
    created_at: datetime


class AccountPage(Answer):
    """A page of customers."""

    items: list[Account]
    next_cursor: str | None


class AccountWithBalance(Answer):
    """A customer, and what is on no invoice yet; below 0 for a credit that is left."""

    account: Account
    open_usd: str


class Line(Answer):
    """A line of a month's price."""

    key: str
    kind: LineKind
    description: str
    quantity: str | None
    amount_usd: str


class Preview(Answer):
    """What a month costs a customer as things stand."""

    customer_id: str
    period: date
    plans: list[str]
    lines: list[Line]
    total_usd: str
    billed_usd: str


class Unbilled(Answer):
    """A customer whose month could not be priced, or not all of it."""

    customer_id: str
    period: date
    reason: str


class RunReport(Answer):
    """What a run did."""

    period: date
    dry_run: bool
    customers: int
    entries: int
    amount_usd: str
    adjustments: int
    invoices: int
    invoiced_usd: str
    unbilled: list[Unbilled]
    finalized: int


class InvoiceLine(Answer):
    """A line of an invoice."""

    position: int
    event_id: int
    kind: LineKind
    description: str
    quantity: str | None
    amount_usd: str


class Invoice(Answer):
    """An invoice; `lines` is empty in lists."""

    id: int
    customer_id: str
    period: date
    number: str | None
    state: InvoiceState
    currency: str
    total_usd: str
    customer_name: str | None
    customer_address: str | None
    due_on: date | None
    created_at: datetime
    finalized_at: datetime | None
    sent_at: datetime | None
    paid_at: datetime | None
    voided_at: datetime | None
    stripe_invoice_id: str | None
    stripe_status: str | None
    lines: list[InvoiceLine]


class InvoicePage(Answer):
    """A page of invoices, newest first."""

    items: list[Invoice]
    next_cursor: str | None


class Entry(Answer):
    """A row of billing_events."""

    id: int
    customer_id: str
    event_type: str
    amount_usd: str
    currency: str | None
    description: str | None
    period: date | None
    line: str | None
    quantity: str | None
    open_usd: str
    metadata: Any
    stripe_invoice_id: str | None
    created_at: datetime | None


class EntryPage(Answer):
    """A page of entries, newest first."""

    items: list[Entry]
    next_cursor: str | None


class OutboxRow(Answer):
    """Something that Stripe has to be told, or was."""

    id: int
    kind: OutboxKind
    customer_id: str
    invoice_id: int | None
    subject: str
    payload: dict[str, Any]
    idempotency_key: str
    generation: int
    state: OutboxState
    attempts: int
    next_at: datetime
    first_attempt_at: datetime | None
    last_error: str | None
    stripe_id: str | None
    created_at: datetime
    sent_at: datetime | None


class OutboxPage(Answer):
    """A page of the outbox, newest first."""

    items: list[OutboxRow]
    next_cursor: str | None


class Received(Answer):
    """What became of an event: applied, stale, ignored, waiting or repeated."""

    outcome: str
