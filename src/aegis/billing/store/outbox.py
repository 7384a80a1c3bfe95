"""SQL of the outbox: what Stripe has to be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aegis.billing.models import OutboxRow
from aegis.billing.stripe.calls import Place
from aegis.db import execute, fetch_all, fetch_one, fetch_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aegis.db import Connection

__all__ = [
    "Counts",
    "claim",
    "count_rows",
    "get_place",
    "list_rows",
    "record_failure",
    "record_sent",
    "refuse_event",
    "retry_failed",
    "waiting",
]

_COLUMNS: Final = """
    o.id, o.kind, o.customer_id, o.invoice_id, o.subject, o.payload, o.idempotency_key,
    o.generation, o.state, o.attempts, o.next_at, o.first_attempt_at, o.last_error, o.stripe_id,
    o.created_at, o.sent_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows by state."""

    pending: int
    sent: int
    failed: int


async def claim(
    conn: Connection, *, limit: int, lease_s: int, oldest: datetime | None = None
) -> list[OutboxRow]:
    """Return rows to be sent now, leased; none before what it needs was sent.

    A meter event from before `oldest`, which Stripe would refuse, gets that time, unless its call
    was made: then it has to stay as it is.
    """
    return await fetch_all(
        conn,
        OutboxRow,
        """
        WITH due AS (
            SELECT o.id
            FROM billing_stripe_outbox o
            WHERE o.state = 'pending'
              AND o.next_at <= clock_timestamp()
              AND NOT EXISTS (
                  SELECT FROM billing_stripe_outbox b
                  WHERE b.customer_id = o.customer_id
                    AND b.id < o.id
                    AND b.state <> 'sent'
                    AND (b.kind = 'customer' OR b.invoice_id = o.invoice_id)
              )
            ORDER BY o.id
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        )
        UPDATE billing_stripe_outbox AS o
        SET attempts = o.attempts + 1,
            payload = CASE
                WHEN o.kind = 'meter_event'
                    AND o.first_attempt_at IS NULL
                    AND (o.payload ->> 'timestamp')::bigint < %(oldest)s::bigint
                THEN jsonb_set(o.payload, '{timestamp}', to_jsonb(%(oldest)s::bigint))
                ELSE o.payload
            END,
            first_attempt_at = coalesce(o.first_attempt_at, clock_timestamp()),
            next_at = clock_timestamp() + make_interval(secs => %(lease)s)
        FROM due
        WHERE o.id = due.id
        RETURNING """
        + _COLUMNS,
        {
            "limit": limit,
            "lease": lease_s,
            "oldest": None if oldest is None else int(oldest.timestamp()),
        },
    )


async def get_place(conn: Connection, row: OutboxRow) -> Place:
    """Return what Stripe calls the row's customer and invoice."""
    return await fetch_one(
        conn,
        Place,
        """
        SELECT a.stripe_customer_id, i.stripe_invoice_id
        FROM billing_accounts a
        LEFT JOIN billing_invoices i ON i.id = %(invoice)s
        WHERE a.customer_id = %(customer)s
        """,
        {"invoice": row.invoice_id, "customer": row.customer_id},
        missing=f"There is no account of {row.customer_id!r}.",
    )


async def record_sent(conn: Connection, row: OutboxRow, stripe_id: str | None) -> None:
    """Note that Stripe accepted a row, and what it made; again, it changes nothing."""
    values = {"id": row.id, "stripe": stripe_id, "invoice": row.invoice_id}
    await execute(
        conn,
        """
        UPDATE billing_stripe_outbox
        SET state = 'sent',
            stripe_id = %(stripe)s,
            sent_at = coalesce(sent_at, clock_timestamp()),
            last_error = NULL
        WHERE id = %(id)s
        """,
        values,
    )
    if row.kind == "customer":
        await execute(
            conn,
            """
            UPDATE billing_accounts
            SET stripe_customer_id = %(stripe)s
            WHERE customer_id = %(customer)s
              AND stripe_customer_id IS NULL
            """,
            {"stripe": stripe_id, "customer": row.customer_id},
        )
    elif row.kind == "invoice":
        await execute(
            conn,
            """
            UPDATE billing_invoices
            SET stripe_invoice_id = %(stripe)s,
                stripe_status = coalesce(stripe_status, 'created')
            WHERE id = %(invoice)s
            """,
            values,
        )
        await execute(
            conn,
            """
            UPDATE billing_events e
            SET stripe_invoice_id = %(stripe)s
            FROM billing_invoice_lines l
            WHERE l.invoice_id = %(invoice)s
              AND e.id = l.event_id
            """,
            values,
        )
    elif row.kind == "finalize":
        await execute(
            conn,
            """
            UPDATE billing_invoices
            SET state = 'sent',
                sent_at = clock_timestamp()
            WHERE id = %(invoice)s
              AND state = 'final'
            """,
            values,
        )


async def record_failure(
    conn: Connection, row: OutboxRow, *, state: str, error: str, pause_s: float, spent: bool
) -> None:
    """Note what went wrong; nothing where another process has taken the row over since."""
    await execute(
        conn,
        """
        UPDATE billing_stripe_outbox
        SET state = %(state)s,
            last_error = %(error)s,
            next_at = clock_timestamp() + make_interval(secs => %(pause)s),
            generation = generation + %(spent)s::int
        WHERE id = %(id)s
          AND attempts = %(attempts)s
          AND state = 'pending'
        """,
        {
            "id": row.id,
            "attempts": row.attempts,
            "state": state,
            "error": error,
            "pause": pause_s,
            "spent": spent,
        },
    )


async def refuse_event(conn: Connection, identifier: str, *, error: str) -> int:
    """Let a meter event that was sent be refused after all, and return whether there was one.

    Retried, it is another event for Stripe, which has the first one and does not count it.
    """
    return await execute(
        conn,
        """
        UPDATE billing_stripe_outbox
        SET state = 'failed',
            last_error = %(error)s,
            payload = jsonb_set(
                payload, '{identifier}', to_jsonb('aegis-' || gen_random_uuid()::text)
            ),
            generation = generation + 1,
            stripe_id = NULL,
            sent_at = NULL
        WHERE kind = 'meter_event'
          AND state = 'sent'
          AND (
              payload ->> 'identifier' = %(identifier)s
              OR idempotency_key || '-' || generation = %(identifier)s
          )
        """,
        {"identifier": identifier, "error": error},
    )


async def retry_failed(conn: Connection, row_id: int | None) -> int:
    """Let rows that were refused be tried again, one or all, with keys of their own."""
    return await execute(
        conn,
        """
        UPDATE billing_stripe_outbox
        SET state = 'pending',
            next_at = clock_timestamp(),
            first_attempt_at = CASE WHEN kind = 'meter_event' THEN NULL ELSE first_attempt_at END
        WHERE state = 'failed'
          AND (%(id)s::bigint IS NULL OR id = %(id)s)
        """,
        {"id": row_id},
    )


async def list_rows(
    conn: Connection, *, states: Sequence[str], limit: int, offset: int
) -> list[OutboxRow]:
    """Return a page of rows in one of the states, newest first."""
    return await fetch_all(
        conn,
        OutboxRow,
        "SELECT "
        + _COLUMNS
        + """
        FROM billing_stripe_outbox o
        WHERE o.state = ANY (%(states)s)
        ORDER BY o.id DESC
        LIMIT %(limit)s OFFSET %(offset)s
        """,
        {"states": [*states], "limit": limit, "offset": offset},
    )


async def count_rows(conn: Connection) -> Counts:
    """Return how many rows there are in each state."""
    return await fetch_one(
        conn,
        Counts,
        """
        SELECT
            count(*) FILTER (WHERE state = 'pending')::int AS pending,
            count(*) FILTER (WHERE state = 'sent')::int AS sent,
            count(*) FILTER (WHERE state = 'failed')::int AS failed
        FROM billing_stripe_outbox
        """,
        missing="The outbox cannot be counted.",
    )


async def waiting(conn: Connection) -> int:
    """Return how many rows are still to be sent."""
    return await fetch_value(
        conn, "SELECT count(*)::int FROM billing_stripe_outbox WHERE state = 'pending'"
    )
