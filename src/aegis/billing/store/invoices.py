"""SQL of invoices, their lines and their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aegis.billing.models import Invoice, InvoiceLine
from aegis.db import execute, fetch_all, fetch_one, fetch_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from decimal import Decimal

    from aegis.db import Connection

__all__ = [
    "NamedDraft",
    "NewInvoice",
    "NewLine",
    "finalize",
    "get_invoice",
    "insert_invoices",
    "is_queued",
    "list_invoices",
    "list_lines",
    "lock_invoice",
    "set_state",
    "without_invoice",
]

_COLUMNS: Final = """
    i.id, i.customer_id, i.period, i.number, i.state, i.currency, i.total_usd, i.customer_name,
    i.customer_address, i.due_on, i.created_at, i.finalized_at, i.sent_at, i.paid_at, i.voided_at,
    i.stripe_invoice_id, i.stripe_status
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLine:
    """A line to write."""

    event_id: int
    kind: str
    description: str
    quantity: Decimal | None
    amount_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInvoice:
    """An invoice to write, a draft."""

    customer_id: str
    total_usd: Decimal
    lines: Sequence[NewLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDraft:
    """A draft with the name and address to write on it, as they are to be stored."""

    id: int
    customer_id: str
    name: str | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    id: int
    customer_id: str


async def without_invoice(conn: Connection, customers: Sequence[str], period: date) -> list[str]:
    """Return those of the customers who have no invoice of a month that stands."""
    found = await fetch_all(
        conn,
        _Made,
        """
        SELECT 0 AS id, c.customer_id
        FROM unnest(%(customers)s::text[]) AS c (customer_id)
        WHERE NOT EXISTS (
            SELECT FROM billing_invoices i
            WHERE i.customer_id = c.customer_id
              AND i.period = %(period)s
              AND i.state <> 'void'
        )
        """,
        {"customers": [*customers], "period": period},
    )
    return [row.customer_id for row in found]


async def insert_invoices(
    conn: Connection, invoices: Sequence[NewInvoice], *, period: date
) -> dict[str, int]:
    """Write drafts with their lines and return their numbers of rows by customer."""
    made = await fetch_all(
        conn,
        _Made,
        """
        INSERT INTO billing_invoices (customer_id, period, total_usd)
        SELECT n.customer_id, %(period)s, n.total_usd
        FROM unnest(%(customers)s::text[], %(totals)s::numeric[])
            WITH ORDINALITY AS n (customer_id, total_usd, number)
        ORDER BY n.number
        RETURNING id, customer_id
        """,
        {
            "period": period,
            "customers": [i.customer_id for i in invoices],
            "totals": [i.total_usd for i in invoices],
        },
    )
    ids = {row.customer_id: row.id for row in made}
    rows = [
        (ids[invoice.customer_id], position, line)
        for invoice in invoices
        for position, line in enumerate(invoice.lines, 1)
    ]
    await execute(
        conn,
        """
        INSERT INTO billing_invoice_lines (
            invoice_id, position, event_id, kind, description, quantity, amount_usd
        )
        SELECT n.*
        FROM unnest(
            %(invoices)s::bigint[], %(positions)s::int[], %(events)s::bigint[], %(kinds)s::text[],
            %(descriptions)s::text[], %(quantities)s::numeric[], %(amounts)s::numeric[]
        ) AS n
        """,
        {
            "invoices": [invoice_id for invoice_id, _, _ in rows],
            "positions": [position for _, position, _ in rows],
            "events": [line.event_id for _, _, line in rows],
            "kinds": [line.kind for _, _, line in rows],
            "descriptions": [line.description for _, _, line in rows],
            "quantities": [line.quantity for _, _, line in rows],
            "amounts": [line.amount_usd for _, _, line in rows],
        },
    )
    return ids


async def get_invoice(conn: Connection, invoice_id: int) -> Invoice:
    """Return an invoice without its lines (`NotFound`)."""
    return await fetch_one(
        conn,
        Invoice,
        "SELECT " + _COLUMNS + " FROM billing_invoices i WHERE i.id = %(id)s",
        {"id": invoice_id},
        missing=f"There is no invoice {invoice_id}; `aegis billing invoices` shows those there "
        "are.",
    )


async def lock_invoice(conn: Connection, invoice_id: int) -> Invoice:
    """Return an invoice, locked until the transaction ends (`NotFound`)."""
    await execute(
        conn,
        "SELECT FROM billing_invoices i WHERE i.id = %(id)s FOR NO KEY UPDATE",
        {"id": invoice_id},
    )
    return await get_invoice(conn, invoice_id)


async def list_invoices(
    conn: Connection,
    *,
    customer_id: str | None,
    period: date | None,
    state: str | None,
    limit: int,
    offset: int,
) -> list[Invoice]:
    """Return a page of invoices without their lines, newest first."""
    return await fetch_all(
        conn,
        Invoice,
        "SELECT "
        + _COLUMNS
        + """
        FROM billing_invoices i
        WHERE (%(customer)s::text IS NULL OR i.customer_id = %(customer)s)
          AND (%(period)s::date IS NULL OR i.period = %(period)s)
          AND (%(state)s::text IS NULL OR i.state = %(state)s)
        ORDER BY i.period DESC, i.id DESC
        LIMIT %(limit)s OFFSET %(offset)s
        """,
        {
            "customer": customer_id,
            "period": period,
            "state": state,
            "limit": limit,
            "offset": offset,
        },
    )


async def list_lines(conn: Connection, invoice_id: int) -> list[InvoiceLine]:
    """Return the lines of an invoice in order."""
    return await fetch_all(
        conn,
        InvoiceLine,
        """
        SELECT l.position, l.event_id, l.kind, l.description, l.quantity, l.amount_usd
        FROM billing_invoice_lines l
        WHERE l.invoice_id = %(id)s
        ORDER BY l.position
        """,
        {"id": invoice_id},
    )


async def finalize(
    conn: Connection,
    drafts: Sequence[NamedDraft],
    *,
    due_on: date,
    now: datetime,
) -> int:
    """Give drafts of customers whose accounts are locked their numbers; return how many were some.

    Numbers are of the year of `now`, and given back if the transaction does not commit. An invoice
    of nothing is paid at once.
    """
    return await execute(
        conn,
        """
        WITH drafts AS MATERIALIZED (
            SELECT i.id, i.customer_id, n.name, n.address
            FROM unnest(
                %(ids)s::bigint[], %(customers)s::text[], %(names)s::text[], %(addresses)s::text[]
            ) AS n (id, customer_id, name, address)
            JOIN billing_invoices i ON i.id = n.id AND i.customer_id = n.customer_id
            WHERE i.state = 'draft'
            ORDER BY i.id
            FOR NO KEY UPDATE OF i
        ),
        -- The counter is locked last: it is what everybody waits for.
        counter AS (
            INSERT INTO billing_invoice_numbers AS n (year, last)
            SELECT %(year)s, count(*)
            FROM drafts
            HAVING count(*) > 0
            ON CONFLICT (year) DO UPDATE SET last = n.last + excluded.last
            RETURNING last
        ),
        numbered AS (
            SELECT
                d.id,
                c.last - count(*) OVER () + row_number() OVER (ORDER BY d.customer_id, d.id)
                    AS number,
                d.name,
                d.address
            FROM drafts d
            CROSS JOIN counter c
        )
        UPDATE billing_invoices AS i
        SET state = CASE WHEN i.total_usd = 0 THEN 'paid' ELSE 'final' END,
            number = %(year)s || '-' || lpad(n.number::text, 6, '0'),
            due_on = %(due_on)s,
            customer_name = n.name,
            customer_address = n.address,
            finalized_at = %(now)s,
            paid_at = CASE WHEN i.total_usd = 0 THEN %(now)s END
        FROM numbered n
        WHERE i.id = n.id
        """,
        {
            "ids": [draft.id for draft in drafts],
            "customers": [draft.customer_id for draft in drafts],
            "names": [draft.name for draft in drafts],
            "addresses": [draft.address for draft in drafts],
            "year": now.year,
            "due_on": due_on,
            "now": now,
        },
    )


async def set_state(conn: Connection, invoice_id: int, state: str, *, now: datetime) -> Invoice:
    """Set the state of a locked invoice, and when it came to it."""
    return await fetch_one(
        conn,
        Invoice,
        """
        UPDATE billing_invoices AS i
        SET state = %(state)s,
            sent_at = CASE WHEN %(state)s = 'sent' THEN %(now)s ELSE i.sent_at END,
            paid_at = CASE WHEN %(state)s = 'paid' THEN %(now)s ELSE i.paid_at END,
            voided_at = CASE WHEN %(state)s = 'void' THEN %(now)s ELSE i.voided_at END
        WHERE i.id = %(id)s
        RETURNING """
        + _COLUMNS,
        {"id": invoice_id, "state": state, "now": now},
        missing=f"There is no invoice {invoice_id}.",
    )


async def is_queued(conn: Connection, invoice_id: int) -> bool:
    """Tell whether Stripe is to be told of an invoice, or was."""
    return await fetch_value(
        conn,
        "SELECT EXISTS (SELECT FROM billing_stripe_outbox o WHERE o.subject = %(subject)s)",
        {"subject": f"invoice:{invoice_id}"},
    )
