"""Billing: what was used becomes lines, lines become invoices, and invoices reach Stripe.

Owns `billing_events` and the tables `billing_…`; reads usage from `usage_daily`, overage from the
ledger of quota, and prices of tiers. Invariant: what was accepted is billed once, whatever is
repeated, killed or late; rows that carry money are only ever added.
"""

from aegis.billing.models import (
    Account,
    Entry,
    Invoice,
    InvoiceLine,
    Line,
    OutboxRow,
    Plan,
    Preview,
    RunReport,
    Subscription,
    Synced,
    Unbilled,
)
from aegis.billing.service import Billing

__all__ = [
    "Account",
    "Billing",
    "Entry",
    "Invoice",
    "InvoiceLine",
    "Line",
    "OutboxRow",
    "Plan",
    "Preview",
    "RunReport",
    "Subscription",
    "Synced",
    "Unbilled",
]
