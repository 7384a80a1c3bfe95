"""Plans, charges, invoices as values. Money is `Decimal`, in US dollars; never a float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal

__all__ = [
    "INVOICE_STATES",
    "LINE_KINDS",
    "METERS",
    "MODELS",
    "OUTBOX_KINDS",
    "OUTBOX_STATES",
    "PRORATIONS",
    "STRIPE_MODES",
    "Account",
    "Charge",
    "Entry",
    "Invoice",
    "InvoiceLine",
    "InvoiceState",
    "Line",
    "LineKind",
    "Meter",
    "Model",
    "OutboxKind",
    "OutboxRow",
    "OutboxState",
    "Plan",
    "Preview",
    "Proration",
    "RunReport",
    "StripeMode",
    "Subscription",
    "Synced",
    "Terms",
    "Tier",
    "Unbilled",
    "Usage",
]

#: What is counted: calls, tokens and cost of the metered usage; calls accepted above a quota.
Meter = Literal["calls", "tokens", "cost", "overage"]
Model = Literal["per_unit", "graduated", "volume", "package"]
#: What a partial month costs: by the day, all of it, or nothing.
Proration = Literal["daily", "full", "none"]
#: As `billing_events.event_type` has them.
LineKind = Literal["api_usage", "subscription", "overage", "credit"]
InvoiceState = Literal["draft", "final", "sent", "paid", "void"]
#: How a customer is billed through Stripe: not at all, by our invoices, or by Stripe's own meters.
StripeMode = Literal["none", "invoices", "meters"]
OutboxKind = Literal["customer", "invoice", "invoice_item", "finalize", "meter_event"]
OutboxState = Literal["pending", "sent", "failed"]

METERS: Final[tuple[Meter, ...]] = ("calls", "tokens", "cost", "overage")
MODELS: Final[tuple[Model, ...]] = ("per_unit", "graduated", "volume", "package")
PRORATIONS: Final[tuple[Proration, ...]] = ("daily", "full", "none")
LINE_KINDS: Final[tuple[LineKind, ...]] = ("api_usage", "subscription", "overage", "credit")
INVOICE_STATES: Final[tuple[InvoiceState, ...]] = ("draft", "final", "sent", "paid", "void")
STRIPE_MODES: Final[tuple[StripeMode, ...]] = ("none", "invoices", "meters")
OUTBOX_KINDS: Final[tuple[OutboxKind, ...]] = (
    "customer", "invoice", "invoice_item", "finalize", "meter_event"
)  # fmt: skip
OUTBOX_STATES: Final[tuple[OutboxState, ...]] = ("pending", "sent", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A step of a graduated or a volume price."""

    #: Last unit of the step; None for the last step, which has no end.
    up_to: int | None
    unit_usd: Decimal
    #: Once, as soon as the step is reached.
    flat_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a plan asks for one meter."""

    #: Unique within the plan.
    name: str
    meter: Meter
    model: Model
    #: Endpoints that count, each exact or with a `*` at its end; empty for all.
    endpoints: tuple[str, ...]
    #: Units a month that cost nothing.
    included: int
    #: Of per_unit.
    unit_usd: Decimal
    #: Of graduated and volume, in order.
    tiers: tuple[Tier, ...]
    #: Of package: units in one, and its price; a package that is begun is paid.
    package_size: int
    package_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a plan costs a month."""

    #: Subscription, whatever is used.
    flat_usd: Decimal
    #: The month costs this at least, subscription included.
    minimum_usd: Decimal
    charges: tuple[Charge, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One version of a plan. It never changes; another version begins on another day."""

    name: str
    version: int
    #: First day on which it may be begun; a month keeps the version that it began with.
    valid_from: date
    #: As `aegis billing plans add` reads them.
    terms: Mapping[str, Any]
    #: None for a plan that is derived from a tier of keys.
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A customer as an invoice names them, and their place at Stripe."""

    customer_id: str
    name: str | None
    email: str | None
    address: str | None
    stripe_mode: StripeMode
    stripe_customer_id: str | None
    #: Invoices and usage from before are not sent to Stripe.
    stripe_linked_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Which plan a customer is on, from a day to another."""

    id: int
    customer_id: str
    plan: str
    starts_on: date
    #: First day without it; None for no end.
    ends_on: date | None
    proration: Proration
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was used of one endpoint."""

    endpoint: str
    calls: int
    tokens: int
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a month's price."""

    #: Stays the same however often the month is rated: what was billed is compared by it.
    key: str
    kind: LineKind
    description: str
    #: None for a line that counts nothing.
    quantity: Decimal | None
    #: Exact to the cent.
    amount_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of `billing_events`."""

    id: int
    customer_id: str
    event_type: str
    amount_usd: Decimal
    currency: str | None
    description: str | None
    #: Month that it is for; None for what another program wrote.
    period: date | None
    line: str | None
    quantity: Decimal | None
    #: Part of the amount that is on no invoice yet.
    open_usd: Decimal
    metadata: Mapping[str, Any] | None
    stripe_invoice_id: str | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """A line of an invoice."""

    position: int
    event_id: int
    kind: LineKind
    description: str
    quantity: Decimal | None
    amount_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice; `lines` is empty in lists."""

    id: int
    customer_id: str
    #: Month whose run made it.
    period: date
    #: `2026-000017`, without gaps a year; None for a draft.
    number: str | None
    state: InvoiceState
    currency: str
    total_usd: Decimal
    #: As they were when it became final.
    customer_name: str | None
    customer_address: str | None
    due_on: date | None
    created_at: datetime
    finalized_at: datetime | None
    sent_at: datetime | None
    paid_at: datetime | None
    voided_at: datetime | None
    stripe_invoice_id: str | None
    #: What Stripe said last of it.
    stripe_status: str | None
    lines: Sequence[InvoiceLine] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbilled:
    """A customer whose month could not be priced."""

    customer_id: str
    period: date
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a month's run did; a repeated one does nothing more."""

    period: date
    dry_run: bool
    #: Customers whose month was priced by this run.
    customers: int
    #: Rows of `billing_events` that were added, and what they add up to.
    entries: int
    amount_usd: Decimal
    #: Of these, rows that correct a month before.
    adjustments: int
    invoices: int
    invoiced_usd: Decimal
    unbilled: Sequence[Unbilled]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a month would cost a customer as things stand."""

    customer_id: str
    period: date
    #: Plans that count, in the order of their days: `basic v2`, or the name of a tier.
    plans: Sequence[str]
    lines: Sequence[Line]
    total_usd: Decimal
    #: Billed of the month already.
    billed_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """Something that Stripe has to be told."""

    id: int
    kind: OutboxKind
    customer_id: str
    invoice_id: int | None
    #: What it is about: unique, so that it is told once.
    subject: str
    payload: Mapping[str, Any]
    #: Sent as `Idempotency-Key`, with the generation; stored before the first call.
    idempotency_key: str
    #: One more whenever Stripe would repeat a failure of its own for the key.
    generation: int
    state: OutboxState
    attempts: int
    next_at: datetime
    first_attempt_at: datetime | None
    last_error: str | None
    #: Id of what Stripe made.
    stripe_id: str | None
    created_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What one round of telling Stripe did."""

    #: Rows that were added to the outbox.
    queued: int
    sent: int
    #: Will be tried again.
    retried: int
    #: Refused for good; `aegis billing stripe retry` tries again.
    failed: int
    #: Rows that still wait.
    waiting: int
    #: Why the round ended early: Stripe could not be reached, or gave no answer in time.
    unreachable: str | None = None
