"""SQL of the outbox: what Stripe has to be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aegis.billing.models import OutboxRow
from aegis.billing.stripe.calls import Place
from aegis.db import execute, fetch_all, fetch_one, fetch_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from aegis.db import Connection

__all__ = [
    "Counts",
    "claim",
    "count_rows",
    "get_place",
    "list_rows",
    "queue_customers",
    "queue_invoices",
    "queue_meters",
    "record_failure",
    "record_sent",
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


async def queue_customers(conn: Connection) -> int:
    """Add customers that are billed through Stripe and are not known there."""
    return await execute(
        conn,
        """
        INSERT INTO billing_stripe_outbox (kind, customer_id, subject, payload, idempotency_key)
        SELECT
            'customer',
            a.customer_id,
            'customer:' || a.customer_id,
            jsonb_strip_nulls(jsonb_build_object(
                'name', coalesce(a.name, a.customer_id),
                'email', a.email,
                'metadata', jsonb_build_object('aegis_customer_id', a.customer_id)
            )),
            'aegis-' || gen_random_uuid()
        FROM billing_accounts a
        WHERE a.stripe_mode <> 'none'
          AND a.stripe_customer_id IS NULL
        ORDER BY a.customer_id
        ON CONFLICT (subject) DO NOTHING
        """,
    )


async def queue_invoices(conn: Connection) -> int:
    """Add final invoices of customers whom Stripe bills by our invoices: head, lines, end."""
    return await execute(
        conn,
        """
        -- Locked, so that nobody makes one void meanwhile.
        WITH wanted AS MATERIALIZED (
            SELECT i.id, i.customer_id, i.number, i.period, i.due_on, i.finalized_at
            FROM billing_invoices i
            JOIN billing_accounts a ON a.customer_id = i.customer_id
            WHERE i.state = 'final'
              AND i.total_usd > 0
              AND i.stripe_invoice_id IS NULL
              AND a.stripe_mode = 'invoices'
              AND i.finalized_at >= a.stripe_linked_at
              AND NOT EXISTS (
                  SELECT FROM billing_stripe_outbox o
                  WHERE o.customer_id = i.customer_id
                    AND o.invoice_id = i.id
              )
            ORDER BY i.id
            FOR NO KEY UPDATE OF i
        ),
        steps AS (
            SELECT
                w.id,
                w.customer_id,
                0 AS step,
                'invoice' AS kind,
                'invoice:' || w.id AS subject,
                jsonb_build_object(
                    'collection_method', 'send_invoice',
                    'days_until_due', greatest(w.due_on - (w.finalized_at AT TIME ZONE 'UTC')::date, 0),
                    'auto_advance', FALSE,
                    'currency', 'usd',
                    'pending_invoice_items_behavior', 'exclude',
                    'description', 'Invoice ' || w.number || ', ' || to_char(w.period, 'YYYY-MM'),
                    'metadata', jsonb_build_object(
                        'aegis_invoice_id', w.id::text, 'aegis_invoice_number', w.number
                    )
                ) AS payload
            FROM wanted w
            UNION ALL
            SELECT
                w.id,
                w.customer_id,
                l.position,
                'invoice_item',
                'invoice_item:' || w.id || ':' || l.position,
                jsonb_build_object(
                    'amount', (l.amount_usd * 100)::bigint,
                    'currency', 'usd',
                    'description', left(
                        l.description || coalesce(' × ' || trim_scale(l.quantity), ''), 500
                    ),
                    'metadata', jsonb_build_object('aegis_line', w.id || ':' || l.position)
                )
            FROM wanted w
            JOIN billing_invoice_lines l ON l.invoice_id = w.id
            WHERE l.amount_usd <> 0
            UNION ALL
            SELECT w.id, w.customer_id, 2147483647, 'finalize', 'finalize:' || w.id,
                   jsonb_build_object('auto_advance', TRUE)
            FROM wanted w
        )
        INSERT INTO billing_stripe_outbox (
            kind, customer_id, invoice_id, subject, payload, idempotency_key
        )
        SELECT s.kind, s.customer_id, s.id, s.subject, s.payload, 'aegis-' || gen_random_uuid()
        FROM steps s
        ORDER BY s.id, s.step
        ON CONFLICT (subject) DO NOTHING
        """,
    )


async def queue_meters(
    conn: Connection, meters: Mapping[str, str], *, begin: date, end: date
) -> int:
    """Add what was used on days that are over and is not with Stripe's meters yet.

    A row is the difference to what was added before for the same day, so nothing counts twice.
    """
    return await execute(
        conn,
        """
        WITH meters AS (
            SELECT m.meter, m.event_name
            FROM unnest(%(meters)s::text[], %(names)s::text[]) AS m (meter, event_name)
        ),
        used AS (
            SELECT
                u.customer_id,
                u.day,
                m.meter,
                m.event_name,
                sum(CASE m.meter WHEN 'calls' THEN u.calls ELSE u.tokens END) AS quantity
            FROM billing_accounts a
            JOIN usage_daily u
                ON u.customer_id = a.customer_id
                AND u.day >= greatest(
                    %(begin)s::date, (a.stripe_linked_at AT TIME ZONE 'UTC')::date
                )
                AND u.day < %(end)s
            CROSS JOIN meters m
            WHERE a.stripe_mode = 'meters'
            GROUP BY u.customer_id, u.day, m.meter, m.event_name
        ),
        missing AS (
            SELECT u.*, u.quantity - coalesce(s.quantity, 0) AS more, coalesce(s.times, 0) AS times
            FROM used u
            LEFT JOIN LATERAL (
                SELECT sum(o.quantity) AS quantity, count(*) AS times
                FROM billing_stripe_outbox o
                WHERE o.customer_id = u.customer_id
                  AND o.day = u.day
                  AND o.meter = u.meter
            ) s ON TRUE
            WHERE u.quantity > coalesce(s.quantity, 0)
        ),
        keyed AS (
            SELECT m.*, 'aegis-' || gen_random_uuid() AS key
            FROM missing m
        )
        INSERT INTO billing_stripe_outbox (
            kind, customer_id, subject, payload, meter, day, quantity, idempotency_key
        )
        SELECT
            'meter_event',
            k.customer_id,
            'meter:' || k.customer_id || ':' || k.meter || ':' || k.day || ':' || k.times,
            jsonb_build_object(
                'event_name', k.event_name,
                'payload', jsonb_build_object('value', k.more::bigint::text),
                'identifier', k.key,
                'timestamp',
                extract(epoch FROM k.day::timestamp AT TIME ZONE 'UTC' + interval '12 hours')::bigint
            ),
            k.meter,
            k.day,
            k.more,
            k.key
        FROM keyed k
        ORDER BY k.customer_id, k.day, k.meter
        ON CONFLICT (subject) DO NOTHING
        """,
        {"meters": [*meters], "names": [*meters.values()], "begin": begin, "end": end},
    )


async def claim(conn: Connection, *, limit: int, lease_s: int) -> list[OutboxRow]:
    """Return rows to be sent now, leased; none before what it needs was sent."""
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
            first_attempt_at = coalesce(o.first_attempt_at, clock_timestamp()),
            next_at = clock_timestamp() + make_interval(secs => %(lease)s)
        FROM due
        WHERE o.id = due.id
        RETURNING """
        + _COLUMNS,
        {"limit": limit, "lease": lease_s},
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
