"""SQL of what was metered: the daily roll-up, the ledger of quota, and whose keys there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.db import fetch_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from decimal import Decimal

    from aegis.db import Connection

__all__ = [
    "Overage",
    "TierOfCustomer",
    "UsedOf",
    "list_customers",
    "list_overage",
    "list_tiers_of",
    "list_used",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedOf:
    """What was used of one endpoint in a stretch of days."""

    #: Place of the stretch in what was asked for.
    stretch: int
    endpoint: str
    calls: int
    tokens: int
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Overage:
    """What a customer's keys were accepted above their quota in a month."""

    customer_id: str
    period: date
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TierOfCustomer:
    """The highest tier among the keys that a customer had in a month."""

    customer_id: str
    period: date
    tier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Customer:
    customer_id: str


async def list_customers(
    conn: Connection, *, begin: date, end: date, customers: Sequence[str] | None
) -> list[str]:
    """Return who may have to pay for a month, by name: who has a plan, a key, or used something.

    And who owes what is on no invoice yet. Usage counts from `begin` on: it may have come late.
    `customers` narrows it to these.
    """
    found = await fetch_all(
        conn,
        _Customer,
        """
        WITH candidates AS (
            SELECT s.customer_id
            FROM billing_subscriptions s
            WHERE s.starts_on < %(end)s
              AND (s.ends_on IS NULL OR s.ends_on > %(begin)s)
            UNION
            SELECT u.customer_id
            FROM usage_daily u
            WHERE u.day >= %(begin)s
              AND u.day < %(end)s
            UNION
            SELECT k.customer_id
            FROM api_keys k
            WHERE (k.created_at IS NULL OR k.created_at < %(end)s::timestamp AT TIME ZONE 'UTC')
              AND (k.revoked_at IS NULL OR k.revoked_at >= %(begin)s::timestamp AT TIME ZONE 'UTC')
            UNION
            -- Of somebody who is gone: a credit that was taken back, an invoice that became void.
            SELECT e.customer_id
            FROM billing_events e
            WHERE e.entry_key IS NOT NULL
              AND e.amount_usd > 0
              AND NOT EXISTS (
                  SELECT FROM billing_invoice_lines l
                  JOIN billing_invoices i ON i.id = l.invoice_id
                  WHERE l.event_id = e.id
                    AND i.state <> 'void'
              )
        )
        SELECT c.customer_id
        FROM candidates c
        WHERE (%(customers)s::text[] IS NULL OR c.customer_id = ANY (%(customers)s))
        ORDER BY c.customer_id
        """,
        {
            "begin": begin,
            "end": end,
            "customers": None if customers is None else [*customers],
        },
    )
    return [row.customer_id for row in found]


async def list_used(
    conn: Connection,
    *,
    customers: Sequence[str],
    begins: Sequence[date],
    ends: Sequence[date],
) -> list[UsedOf]:
    """Return what was used in stretches of days, each of one customer, by endpoint."""
    return await fetch_all(
        conn,
        UsedOf,
        """
        WITH stretches AS (
            SELECT s.customer_id, s.begins_on, s.ends_on, s.number::int - 1 AS stretch
            FROM unnest(%(customers)s::text[], %(begins)s::date[], %(ends)s::date[])
                WITH ORDINALITY AS s (customer_id, begins_on, ends_on, number)
        )
        SELECT
            s.stretch,
            u.endpoint,
            sum(u.calls)::bigint AS calls,
            sum(u.tokens)::bigint AS tokens,
            sum(u.cost_usd) AS cost
        FROM stretches s
        JOIN usage_daily u
            ON u.customer_id = s.customer_id
            AND u.day >= s.begins_on
            AND u.day < s.ends_on
        GROUP BY s.stretch, u.endpoint
        ORDER BY s.stretch, u.endpoint
        """,
        {"customers": [*customers], "begins": [*begins], "ends": [*ends]},
    )


async def list_overage(
    conn: Connection, customers: Sequence[str], periods: Sequence[date]
) -> list[Overage]:
    """Return what the keys of customers were accepted above their quota, by month."""
    return await fetch_all(
        conn,
        Overage,
        """
        SELECT k.customer_id, l.period, sum(l.amount)::bigint AS units
        FROM api_keys k
        JOIN api_quota_ledger l ON l.api_key_id = k.id
        WHERE k.customer_id = ANY (%(customers)s)
          AND l.period = ANY (%(periods)s)
          AND l.kind = 'overage'
        GROUP BY k.customer_id, l.period
        """,
        {"customers": [*customers], "periods": [*periods]},
    )


async def list_tiers_of(
    conn: Connection, customers: Sequence[str], periods: Sequence[date]
) -> list[TierOfCustomer]:
    """Return the highest tier among the keys that each customer had in each month."""
    return await fetch_all(
        conn,
        TierOfCustomer,
        """
        SELECT DISTINCT ON (k.customer_id, p.period)
            k.customer_id,
            p.period,
            t.name AS tier
        FROM api_keys k
        JOIN unnest(%(periods)s::date[]) AS p (period)
            ON (
                k.created_at IS NULL
                OR k.created_at < (p.period + interval '1 month') AT TIME ZONE 'UTC'
            )
            AND (
                k.revoked_at IS NULL
                OR k.revoked_at >= p.period::timestamp AT TIME ZONE 'UTC'
            )
            -- One that could not be used in that month costs nothing in it.
            AND (
                k.expires_at IS NULL
                OR k.expires_at >= p.period::timestamp AT TIME ZONE 'UTC'
            )
            AND (
                k.enabled IS TRUE
                OR k.last_used_at >= p.period::timestamp AT TIME ZONE 'UTC'
            )
        JOIN api_tiers t
            ON t.name = CASE
                WHEN k.tier IN ('free', 'developer', 'pro', 'enterprise') THEN k.tier
                ELSE 'free'
            END
        WHERE k.customer_id = ANY (%(customers)s)
        ORDER BY
            k.customer_id,
            p.period,
            array_position(ARRAY['free', 'developer', 'pro', 'enterprise'], t.name::text) DESC
        """,
        {"customers": [*customers], "periods": [*periods]},
    )
