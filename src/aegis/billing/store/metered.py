"""SQL of the days that Stripe prices by its meters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from aegis.db import Connection

__all__ = ["Span", "begin_span", "end_span", "list_spans"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Days of a customer that Stripe prices; those of a customer never overlap."""

    customer_id: str
    begins_on: date
    #: First day that is no longer of it; None for no end.
    ends_on: date | None


async def list_spans(conn: Connection, customers: Sequence[str]) -> list[Span]:
    """Return the spans of customers, by customer and day."""
    return await fetch_all(
        conn,
        Span,
        """
        SELECT s.customer_id, s.begins_on, s.ends_on
        FROM billing_meter_spans s
        WHERE s.customer_id = ANY (%(customers)s)
        ORDER BY s.customer_id, s.begins_on
        """,
        {"customers": [*customers]},
    )


async def begin_span(conn: Connection, customer_id: str, day: date) -> None:
    """Let Stripe price a customer, whose account is locked, from a day on."""
    values = {"customer": customer_id, "day": day}
    gone_on = await execute(
        conn,
        """
        -- One that ended today, or later by a clock that was set back, goes on.
        UPDATE billing_meter_spans
        SET ends_on = NULL
        WHERE customer_id = %(customer)s
          AND begins_on = (
              SELECT max(s.begins_on)
              FROM billing_meter_spans s
              WHERE s.customer_id = %(customer)s
                AND (s.ends_on IS NULL OR s.ends_on >= %(day)s)
          )
        """,
        values,
    )
    if not gone_on:
        await execute(
            conn,
            """
            INSERT INTO billing_meter_spans (customer_id, begins_on)
            VALUES (%(customer)s, %(day)s)
            """,
            values,
        )


async def end_span(conn: Connection, customer_id: str, day: date) -> None:
    """Let `day` be the first that Stripe does not price; usage of a day is sent once it is over."""
    await execute(
        conn,
        """
        WITH ending AS (
            SELECT
                s.begins_on,
                -- What was sent stays Stripe's, also where the clock was set back since.
                greatest(
                    %(day)s::date,
                    (
                        SELECT max(o.day) + 1
                        FROM billing_stripe_outbox o
                        WHERE o.customer_id = s.customer_id
                          AND o.meter IS NOT NULL
                    )
                ) AS ends_on
            FROM billing_meter_spans s
            WHERE s.customer_id = %(customer)s
              AND s.ends_on IS NULL
        ),
        begun_today AS (
            DELETE FROM billing_meter_spans s
            USING ending e
            WHERE s.customer_id = %(customer)s
              AND s.begins_on = e.begins_on
              AND e.ends_on <= e.begins_on
        )
        UPDATE billing_meter_spans s
        SET ends_on = e.ends_on
        FROM ending e
        WHERE s.customer_id = %(customer)s
          AND s.begins_on = e.begins_on
          AND e.ends_on > e.begins_on
        """,
        {"customer": customer_id, "day": day},
    )
