"""SQL of events that Stripe sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all, fetch_optional

if TYPE_CHECKING:
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "Known",
    "Waiting",
    "find_invoice",
    "insert_event",
    "list_waiting",
    "set_outcome",
    "set_status",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of an invoice that Stripe speaks of."""

    id: int
    customer_id: str
    stripe_status: str | None
    stripe_event_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An event whose content has to be fetched."""

    event_id: str


async def list_waiting(conn: Connection, *, limit: int) -> list[Waiting]:
    """Return events whose content has to be fetched, oldest first."""
    return await fetch_all(
        conn,
        Waiting,
        """
        SELECT e.event_id
        FROM billing_stripe_events e
        WHERE e.outcome = 'waiting'
        ORDER BY e.received_at, e.event_id
        LIMIT %(limit)s
        """,
        {"limit": limit},
    )


async def insert_event(
    conn: Connection, *, event_id: str, event_type: str, object_id: str | None, at: datetime
) -> bool:
    """Note an event and return True, or return False where it came before."""
    return bool(
        await execute(
            conn,
            """
            INSERT INTO billing_stripe_events (
                event_id, event_type, object_id, happened_at, outcome
            )
            VALUES (%(id)s, %(type)s, %(object)s, %(at)s, 'ignored')
            ON CONFLICT DO NOTHING
            """,
            {"id": event_id, "type": event_type, "object": object_id, "at": at},
        )
    )


async def set_outcome(
    conn: Connection, event_id: str, outcome: str, invoice_id: int | None
) -> None:
    """Note what became of an event."""
    await execute(
        conn,
        """
        UPDATE billing_stripe_events
        SET outcome = %(outcome)s,
            invoice_id = %(invoice)s
        WHERE event_id = %(id)s
        """,
        {"id": event_id, "outcome": outcome, "invoice": invoice_id},
    )


async def find_invoice(
    conn: Connection, *, stripe_invoice_id: str, ours: int | None, stripe_customer: str | None
) -> Known | None:
    """Return our invoice that Stripe speaks of, or None.

    Its id at Stripe says which. Where a call was made and its answer is not stored yet, our number
    in its metadata does, if the customer is the one whom we told Stripe of.
    """
    return await fetch_optional(
        conn,
        Known,
        """
        SELECT i.id, i.customer_id, i.stripe_status, i.stripe_event_at
        FROM billing_invoices i
        JOIN billing_accounts a ON a.customer_id = i.customer_id
        WHERE i.stripe_invoice_id = %(stripe)s
           OR (
               i.id = %(ours)s
               AND i.stripe_invoice_id IS NULL
               AND a.stripe_customer_id = %(customer)s
               AND EXISTS (SELECT FROM billing_stripe_outbox o WHERE o.subject = 'invoice:' || i.id)
           )
        ORDER BY i.stripe_invoice_id IS NULL
        LIMIT 1
        """,
        {"stripe": stripe_invoice_id, "ours": ours, "customer": stripe_customer},
    )


async def set_status(
    conn: Connection, invoice_id: int, *, stripe_invoice_id: str, status: str, at: datetime
) -> None:
    """Note what Stripe said last of a locked invoice."""
    await execute(
        conn,
        """
        UPDATE billing_invoices
        SET stripe_invoice_id = coalesce(stripe_invoice_id, %(stripe)s),
            stripe_status = %(status)s,
            stripe_event_at = %(at)s
        WHERE id = %(id)s
        """,
        {"id": invoice_id, "stripe": stripe_invoice_id, "status": status, "at": at},
    )
