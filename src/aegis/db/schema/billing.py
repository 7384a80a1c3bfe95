"""Plans, subscriptions, invoices, and what Stripe is told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from aegis.db.schema.types import TIMESTAMPTZ, bigserial_id, metadata, timestamp_now

__all__ = [
    "billing_accounts",
    "billing_invoice_lines",
    "billing_invoice_numbers",
    "billing_invoices",
    "billing_meter_spans",
    "billing_periods",
    "billing_plans",
    "billing_runs",
    "billing_stripe_events",
    "billing_stripe_outbox",
    "billing_subscriptions",
]


def _account(table: str) -> Column[Any]:
    return Column(
        "customer_id",
        String(100),
        ForeignKey("billing_accounts.customer_id", name=f"{table}_customer_id_fkey"),
        nullable=False,
    )


def _invoice(table: str, *, nullable: bool = True) -> Column[Any]:
    return Column(
        "invoice_id",
        BigInteger,
        ForeignKey("billing_invoices.id", name=f"{table}_invoice_id_fkey"),
        nullable=nullable,
    )


def _units() -> Column[Any]:
    return Column("quantity", Numeric(30, 6))


billing_plans = Table(
    "billing_plans",
    metadata,
    bigserial_id(),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("valid_from", Date, nullable=False),
    Column("terms", JSONB, nullable=False),
    timestamp_now("created_at", nullable=False),
    UniqueConstraint("name", "version", name="uq_billing_plans_version"),
    UniqueConstraint("name", "valid_from", name="uq_billing_plans_valid_from"),
)

billing_accounts = Table(
    "billing_accounts",
    metadata,
    Column("customer_id", String(100), nullable=False),
    Column("name", Text),
    Column("email", Text),
    Column("address", Text),
    Column("stripe_mode", Text, nullable=False, server_default=text("'none'::text")),
    Column("stripe_customer_id", Text),
    Column("stripe_linked_at", TIMESTAMPTZ),
    timestamp_now("created_at", nullable=False),
    Column("email_hash", Text),
    PrimaryKeyConstraint("customer_id", name="billing_accounts_pkey"),
    UniqueConstraint("stripe_customer_id", name="uq_billing_accounts_stripe_customer_id"),
    CheckConstraint(
        "stripe_mode IN ('none', 'invoices', 'meters')", name="ck_billing_accounts_stripe_mode"
    ),
    Index("idx_billing_accounts_email_hash", "email_hash"),
)

billing_subscriptions = Table(
    "billing_subscriptions",
    metadata,
    bigserial_id(),
    _account("billing_subscriptions"),
    Column("plan", Text, nullable=False),
    Column("starts_on", Date, nullable=False),
    Column("ends_on", Date),
    Column("proration", Text, nullable=False),
    timestamp_now("created_at", nullable=False),
    CheckConstraint("ends_on > starts_on", name="ck_billing_subscriptions_days"),
    CheckConstraint(
        "proration IN ('daily', 'full', 'none')", name="ck_billing_subscriptions_proration"
    ),
    Index("idx_billing_subscriptions_customer", "customer_id", "starts_on"),
)

billing_meter_spans = Table(
    "billing_meter_spans",
    metadata,
    _account("billing_meter_spans"),
    Column("begins_on", Date, nullable=False),
    Column("ends_on", Date),
    timestamp_now("created_at", nullable=False),
    PrimaryKeyConstraint("customer_id", "begins_on", name="billing_meter_spans_pkey"),
    CheckConstraint("ends_on > begins_on", name="ck_billing_meter_spans_days"),
)

billing_runs = Table(
    "billing_runs",
    metadata,
    Column("period", Date, nullable=False),
    timestamp_now("started_at", nullable=False),
    Column("finished_at", TIMESTAMPTZ),
    PrimaryKeyConstraint("period", name="billing_runs_pkey"),
)

billing_periods = Table(
    "billing_periods",
    metadata,
    Column("customer_id", String(100), nullable=False),
    Column("period", Date, nullable=False),
    Column("run_period", Date, nullable=False),
    Column("segments", JSONB, nullable=False),
    timestamp_now("created_at", nullable=False),
    PrimaryKeyConstraint("customer_id", "period", name="billing_periods_pkey"),
    Index("idx_billing_periods_period", "period"),
)

billing_invoices = Table(
    "billing_invoices",
    metadata,
    bigserial_id(),
    _account("billing_invoices"),
    Column("period", Date, nullable=False),
    Column("number", Text),
    Column("state", Text, nullable=False, server_default=text("'draft'::text")),
    Column("currency", String(3), nullable=False, server_default=text("'USD'::character varying")),
    Column("total_usd", Numeric(16, 2), nullable=False),
    Column("customer_name", Text),
    Column("customer_address", Text),
    Column("due_on", Date),
    timestamp_now("created_at", nullable=False),
    Column("finalized_at", TIMESTAMPTZ),
    Column("sent_at", TIMESTAMPTZ),
    Column("paid_at", TIMESTAMPTZ),
    Column("voided_at", TIMESTAMPTZ),
    Column("stripe_invoice_id", Text),
    Column("stripe_status", Text),
    Column("stripe_event_at", TIMESTAMPTZ),
    UniqueConstraint("number", name="uq_billing_invoices_number"),
    UniqueConstraint("stripe_invoice_id", name="uq_billing_invoices_stripe_invoice_id"),
    CheckConstraint(
        "state IN ('draft', 'final', 'sent', 'paid', 'void')", name="ck_billing_invoices_state"
    ),
    CheckConstraint(
        "CASE state WHEN 'draft' THEN number IS NULL WHEN 'void' THEN TRUE "
        "ELSE number IS NOT NULL END",
        name="ck_billing_invoices_numbered",
    ),
    CheckConstraint("total_usd >= 0", name="ck_billing_invoices_total"),
    Index(
        "uq_billing_invoices_period",
        "customer_id",
        "period",
        unique=True,
        postgresql_where=text("state <> 'void'"),
    ),
    Index("idx_billing_invoices_period", "period", "id"),
)

billing_invoice_lines = Table(
    "billing_invoice_lines",
    metadata,
    _invoice("billing_invoice_lines", nullable=False),
    Column("position", Integer, nullable=False),
    Column(
        "event_id",
        BigInteger,
        ForeignKey("billing_events.id", name="billing_invoice_lines_event_id_fkey"),
        nullable=False,
    ),
    Column("kind", Text, nullable=False),
    Column("description", Text, nullable=False),
    _units(),
    Column("amount_usd", Numeric(10, 2), nullable=False),
    PrimaryKeyConstraint("invoice_id", "position", name="billing_invoice_lines_pkey"),
    CheckConstraint(
        "kind IN ('api_usage', 'subscription', 'overage', 'credit')",
        name="ck_billing_invoice_lines_kind",
    ),
    Index("idx_billing_invoice_lines_event", "event_id"),
)

billing_invoice_numbers = Table(
    "billing_invoice_numbers",
    metadata,
    Column("year", Integer, nullable=False, autoincrement=False),
    Column("last", Integer, nullable=False),
    PrimaryKeyConstraint("year", name="billing_invoice_numbers_pkey"),
)

billing_stripe_outbox = Table(
    "billing_stripe_outbox",
    metadata,
    bigserial_id(),
    Column("kind", Text, nullable=False),
    _account("billing_stripe_outbox"),
    _invoice("billing_stripe_outbox"),
    Column("subject", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("meter", Text),
    Column("day", Date),
    _units(),
    Column("idempotency_key", Text, nullable=False),
    Column("generation", Integer, nullable=False, server_default=text("0")),
    Column("state", Text, nullable=False, server_default=text("'pending'::text")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    timestamp_now("next_at", nullable=False),
    Column("first_attempt_at", TIMESTAMPTZ),
    Column("last_error", Text),
    Column("stripe_id", Text),
    timestamp_now("created_at", nullable=False),
    Column("sent_at", TIMESTAMPTZ),
    UniqueConstraint("subject", name="uq_billing_stripe_outbox_subject"),
    UniqueConstraint("idempotency_key", name="uq_billing_stripe_outbox_idempotency_key"),
    CheckConstraint(
        "kind IN ('customer', 'invoice', 'invoice_item', 'finalize', 'meter_event')",
        name="ck_billing_stripe_outbox_kind",
    ),
    CheckConstraint(
        "state IN ('pending', 'sent', 'failed')", name="ck_billing_stripe_outbox_state"
    ),
    Index(
        "idx_billing_stripe_outbox_pending",
        "id",
        postgresql_where=text("state = 'pending'"),
    ),
    Index(
        "idx_billing_stripe_outbox_unsent",
        "customer_id",
        "id",
        postgresql_where=text("state <> 'sent'"),
    ),
    Index(
        "idx_billing_stripe_outbox_meter",
        "customer_id",
        "day",
        postgresql_where=text("meter IS NOT NULL"),
    ),
)

billing_stripe_events = Table(
    "billing_stripe_events",
    metadata,
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("object_id", Text),
    _invoice("billing_stripe_events"),
    Column("happened_at", TIMESTAMPTZ, nullable=False),
    Column("outcome", Text, nullable=False),
    timestamp_now("received_at", nullable=False),
    PrimaryKeyConstraint("event_id", name="billing_stripe_events_pkey"),
    CheckConstraint(
        "outcome IN ('applied', 'stale', 'ignored', 'waiting')",
        name="ck_billing_stripe_events_outcome",
    ),
    Index(
        "idx_billing_stripe_events_waiting",
        "received_at",
        postgresql_where=text("outcome = 'waiting'"),
    ),
)
