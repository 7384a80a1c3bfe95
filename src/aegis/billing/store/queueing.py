"""SQL that fills the outbox: what Stripe does not know yet, each once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from aegis.db import Connection

__all__ = [
    "NewCustomer",
    "list_new_customers",
    "queue_customers",
    "queue_invoices",
    "queue_meters",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCustomer:
    """A customer whom Stripe does not know, as stored."""

    customer_id: str
    name: str | None
    email: str | None


async def list_new_customers(conn: Connection) -> list[NewCustomer]:
    """Return customers that are billed through Stripe and neither known nor queued there."""
    return await fetch_all(
        conn,
        NewCustomer,
        """
        SELECT a.customer_id, a.name, a.email
        FROM billing_accounts a
        WHERE a.stripe_customer_id IS NULL
          AND (
              a.stripe_mode <> 'none'
              -- Usage of days when it was otherwise has still to be told.
              OR EXISTS (
                  SELECT FROM billing_meter_spans s WHERE s.customer_id = a.customer_id
              )
          )
          AND NOT EXISTS (
              SELECT FROM billing_stripe_outbox o
              WHERE o.subject = 'customer:' || a.customer_id
          )
        ORDER BY a.customer_id
        """,
    )


async def queue_customers(
    conn: Connection, customers: Sequence[str], payloads: Sequence[Mapping[str, Any]]
) -> int:
    """Add customers with what Stripe is to be told of each."""
    return await execute(
        conn,
        """
        INSERT INTO billing_stripe_outbox (kind, customer_id, subject, payload, idempotency_key)
        SELECT
            'customer',
            c.customer_id,
            'customer:' || c.customer_id,
            c.payload,
            'aegis-' || gen_random_uuid()
        FROM unnest(%(customers)s::text[], %(payloads)s::jsonb[])
            WITH ORDINALITY AS c (customer_id, payload, number)
        ORDER BY c.number
        ON CONFLICT (subject) DO NOTHING
        """,
        {"customers": [*customers], "payloads": [Jsonb(payload) for payload in payloads]},
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
                  WHERE o.subject = 'invoice:' || i.id
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
                    'days_until_due', w.due_on - (w.finalized_at AT TIME ZONE 'UTC')::date,
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
    """Add what was used on days that are over, are Stripe's, and is not with its meters yet.

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
            FROM billing_meter_spans s
            JOIN usage_daily u
                ON u.customer_id = s.customer_id
                AND u.day >= greatest(%(begin)s::date, s.begins_on)
                -- Of a span without an end it is the day that is not over.
                AND u.day < least(%(end)s::date, s.ends_on)
            CROSS JOIN meters m
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
                -- Noon of the day.
                'timestamp', extract(epoch FROM k.day)::bigint + 43200
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
