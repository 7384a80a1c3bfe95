"""SQL of `billing_events`: entries are added, read, and never changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg.types.json import Jsonb

from aegis.billing.models import Entry
from aegis.db import execute, fetch_all, fetch_one, fetch_optional, fetch_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from decimal import Decimal

    from aegis.db import Connection

__all__ = [
    "Billed",
    "NewEntry",
    "OpenEntry",
    "find_by_key",
    "get_entry",
    "insert_entries",
    "list_billed",
    "list_entries",
    "list_open",
    "sum_open",
    "sum_taken_back",
]

#: What is on an invoice that stands no longer counts as open.
_OPEN: Final = """
    e.amount_usd - coalesce(
        (
            SELECT sum(l.amount_usd)
            FROM billing_invoice_lines l
            JOIN billing_invoices i ON i.id = l.invoice_id AND i.state <> 'void'
            WHERE l.event_id = e.id
        ),
        0
    )
"""
_COLUMNS: Final = (
    """
    e.id, e.customer_id, e.event_type, e.amount_usd, e.currency, e.description, e.period, e.line,
    e.quantity, CASE WHEN e.entry_key IS NULL THEN 0 ELSE """
    + _OPEN
    + """ END AS open_usd, e.metadata, e.stripe_invoice_id, e.created_at
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """An entry to add."""

    customer_id: str
    event_type: str
    amount_usd: Decimal
    description: str
    metadata: dict[str, Any]
    period: date
    line: str | None
    quantity: Decimal | None
    entry_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """What was billed of a line of a month so far."""

    customer_id: str
    period: date
    line: str
    event_type: str
    amount_usd: Decimal
    #: None where no entry of it counts anything.
    quantity: Decimal | None
    description: str
    #: Of how many entries.
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEntry:
    """An entry of which a part is on no invoice."""

    id: int
    customer_id: str
    event_type: str
    period: date | None
    description: str
    quantity: Decimal | None
    #: Below 0 for credits.
    open_usd: Decimal


async def insert_entries(conn: Connection, entries: Sequence[NewEntry]) -> int:
    """Add entries and return how many there were not yet."""
    return await execute(
        conn,
        """
        INSERT INTO billing_events (
            customer_id, event_type, amount_usd, currency, description, metadata, period, line,
            quantity, entry_key
        )
        SELECT
            n.customer_id, n.event_type, n.amount_usd, 'USD', n.description, n.metadata, n.period,
            n.line, n.quantity, n.entry_key
        FROM unnest(
            %(customers)s::text[], %(types)s::text[], %(amounts)s::numeric[],
            %(descriptions)s::text[], %(metadata)s::jsonb[], %(periods)s::date[],
            %(lines)s::text[], %(quantities)s::numeric[], %(keys)s::text[]
        ) WITH ORDINALITY AS n (
            customer_id, event_type, amount_usd, description, metadata, period, line, quantity,
            entry_key, number
        )
        ORDER BY n.number
        ON CONFLICT (customer_id, entry_key) WHERE entry_key IS NOT NULL DO NOTHING
        """,
        {
            "customers": [e.customer_id for e in entries],
            "types": [e.event_type for e in entries],
            "amounts": [e.amount_usd for e in entries],
            "descriptions": [e.description for e in entries],
            "metadata": [Jsonb(e.metadata) for e in entries],
            "periods": [e.period for e in entries],
            "lines": [e.line for e in entries],
            "quantities": [e.quantity for e in entries],
            "keys": [e.entry_key for e in entries],
        },
    )


async def list_billed(
    conn: Connection, customers: Sequence[str], periods: Sequence[date]
) -> list[Billed]:
    """Return what was billed of months of customers so far, by line."""
    return await fetch_all(
        conn,
        Billed,
        """
        SELECT
            e.customer_id,
            e.period,
            e.line,
            min(e.event_type) AS event_type,
            sum(e.amount_usd) AS amount_usd,
            sum(e.quantity) AS quantity,
            (array_agg(coalesce(e.metadata ->> 'line', e.description) ORDER BY e.id))[1]
                AS description,
            count(*)::int AS entries
        FROM billing_events e
        WHERE e.customer_id = ANY (%(customers)s)
          AND e.period = ANY (%(periods)s)
          AND e.line IS NOT NULL
        GROUP BY e.customer_id, e.period, e.line
        """,
        {"customers": [*customers], "periods": [*periods]},
    )


async def list_open(conn: Connection, customers: Sequence[str], month: date) -> list[OpenEntry]:
    """Return entries of which a part is on no invoice, oldest first; of `month`, zeros too."""
    return await fetch_all(
        conn,
        OpenEntry,
        """
        WITH taken AS (
            SELECT l.event_id, sum(l.amount_usd) AS amount_usd
            FROM billing_invoices i
            JOIN billing_invoice_lines l ON l.invoice_id = i.id
            WHERE i.customer_id = ANY (%(customers)s)
              AND i.state <> 'void'
            GROUP BY l.event_id
        )
        SELECT
            e.id,
            e.customer_id,
            e.event_type,
            e.period,
            coalesce(e.description, e.event_type) AS description,
            e.quantity,
            e.amount_usd - coalesce(t.amount_usd, 0) AS open_usd
        FROM billing_events e
        LEFT JOIN taken t ON t.event_id = e.id
        WHERE e.customer_id = ANY (%(customers)s)
          AND e.entry_key IS NOT NULL
          AND (
              e.amount_usd <> coalesce(t.amount_usd, 0)
              OR (e.amount_usd = 0 AND t.event_id IS NULL AND e.period = %(month)s)
          )
        ORDER BY e.customer_id, e.id
        """,
        {"customers": [*customers], "month": month},
    )


async def sum_open(conn: Connection, customer_id: str) -> Decimal:
    """Return what is on no invoice yet of a customer; below 0 for a credit that is left."""
    return await fetch_value(
        conn,
        "SELECT coalesce(sum("
        + _OPEN
        + """
        ), 0)
        FROM billing_events e
        WHERE e.customer_id = %(customer)s
          AND e.entry_key IS NOT NULL
        """,
        {"customer": customer_id},
    )


async def get_entry(conn: Connection, entry_id: int) -> Entry:
    """Return an entry (`NotFound`)."""
    return await fetch_one(
        conn,
        Entry,
        "SELECT " + _COLUMNS + " FROM billing_events e WHERE e.id = %(id)s",
        {"id": entry_id},
        missing=f"There is no entry {entry_id}; `aegis billing entries` shows those there are.",
    )


async def find_by_key(conn: Connection, customer_id: str, entry_key: str) -> Entry | None:
    """Return the entry of a customer with this key, or None."""
    return await fetch_optional(
        conn,
        Entry,
        "SELECT "
        + _COLUMNS
        + """
        FROM billing_events e
        WHERE e.customer_id = %(customer)s
          AND e.entry_key = %(key)s
        """,
        {"customer": customer_id, "key": entry_key},
    )


async def sum_taken_back(conn: Connection, customer_id: str, entry_id: int) -> Decimal:
    """Return how much of a credit was taken back."""
    return await fetch_value(
        conn,
        """
        SELECT coalesce(sum(e.amount_usd), 0)
        FROM billing_events e
        WHERE e.customer_id = %(customer)s
          AND e.event_type = 'credit'
          AND e.metadata -> 'takes_back' = to_jsonb(%(id)s::bigint)
        """,
        {"customer": customer_id, "id": entry_id},
    )


async def list_entries(
    conn: Connection,
    *,
    customer_id: str | None,
    event_type: str | None,
    period: date | None,
    limit: int,
    offset: int,
) -> list[Entry]:
    """Return a page of entries, newest first."""
    return await fetch_all(
        conn,
        Entry,
        "SELECT "
        + _COLUMNS
        + """
        FROM billing_events e
        WHERE (%(customer)s::text IS NULL OR e.customer_id = %(customer)s)
          AND (%(type)s::text IS NULL OR e.event_type = %(type)s)
          AND (%(period)s::date IS NULL OR e.period = %(period)s)
        ORDER BY e.id DESC
        LIMIT %(limit)s OFFSET %(offset)s
        """,
        {
            "customer": customer_id,
            "type": event_type,
            "period": period,
            "limit": limit,
            "offset": offset,
        },
    )
