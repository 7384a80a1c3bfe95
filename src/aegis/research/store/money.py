"""SQL of prices and budgets. Months are locked in one order: all namespaces together first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.db import execute, fetch_all, fetch_one
from aegis.research.models import EVERYBODY, Month, Price

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

    from aegis.db import Connection

__all__ = [
    "delete_budget",
    "get_month",
    "list_prices",
    "reserve",
    "set_budget",
    "set_price",
    "settle",
]


async def list_prices(conn: Connection, *, provider: str | None = None) -> list[Price]:
    """Return prices by provider, model, meter and day."""
    return await fetch_all(
        conn,
        Price,
        """
        SELECT p.provider, p.model, p.meter, p.valid_from, trim_scale(p.usd) AS usd, p.per,
               p.source, p.source_date
        FROM research_prices p
        WHERE %(provider)s::text IS NULL OR p.provider = %(provider)s
        ORDER BY p.provider, p.model, p.meter, p.valid_from
        """,
        {"provider": provider},
    )


async def set_price(conn: Connection, price: Price) -> None:
    """Store a price; one of the same day is replaced."""
    await conn.execute(
        """
        INSERT INTO research_prices (
            provider, model, meter, valid_from, usd, per, source, source_date
        )
        VALUES (
            %(provider)s, %(model)s, %(meter)s, %(valid_from)s, %(usd)s, %(per)s, %(source)s,
            %(source_date)s
        )
        ON CONFLICT (provider, model, meter, valid_from) DO UPDATE
        SET usd = excluded.usd,
            per = excluded.per,
            source = excluded.source,
            source_date = excluded.source_date
        """,
        {
            "provider": price.provider,
            "model": price.model,
            "meter": price.meter,
            "valid_from": price.valid_from,
            "usd": price.usd,
            "per": price.per,
            "source": price.source,
            "source_date": price.source_date,
        },
    )


async def get_month(conn: Connection, namespace: str, month: date) -> Month:
    """Return a month's budget and what was used of it."""
    return await fetch_one(
        conn,
        Month,
        """
        SELECT
            n.namespace,
            %(month)s::date AS month,
            trim_scale(b.month_usd) AS limit_usd,
            trim_scale(coalesce(m.spent_usd, 0)) AS spent_usd,
            trim_scale(coalesce(m.reserved_usd, 0)) AS reserved_usd
        FROM (SELECT %(namespace)s::text AS namespace) n
        LEFT JOIN research_budgets b ON b.namespace = n.namespace
        LEFT JOIN research_months m ON m.namespace = n.namespace AND m.month = %(month)s
        """,
        {"namespace": namespace, "month": month},
        missing="There is no month.",
    )


async def reserve(
    conn: Connection, namespace: str, month: date, usd: Decimal, *, usual: Decimal | None
) -> bool:
    """Keep money free in a month, if its budget has it; `usual` is the limit where none is set.

    The row is locked until the transaction ends, so that two starts see one another.
    """
    await conn.execute(
        """
        INSERT INTO research_months (namespace, month)
        VALUES (%(namespace)s, %(month)s)
        ON CONFLICT (namespace, month) DO NOTHING
        """,
        {"namespace": namespace, "month": month},
    )
    touched = await execute(
        conn,
        """
        WITH budget AS (
            SELECT coalesce(
                (SELECT b.month_usd FROM research_budgets b WHERE b.namespace = %(namespace)s),
                %(usual)s::numeric
            ) AS usd
        )
        UPDATE research_months m
        SET reserved_usd = m.reserved_usd + %(usd)s
        FROM budget
        WHERE m.namespace = %(namespace)s
          AND m.month = %(month)s
          AND (budget.usd IS NULL OR m.spent_usd + m.reserved_usd + %(usd)s <= budget.usd)
        """,
        {"namespace": namespace, "month": month, "usd": usd, "usual": usual},
    )
    return touched == 1


async def settle(
    conn: Connection, namespace: str, month: date, *, reserved: Decimal, spent: Decimal
) -> None:
    """Give back what was kept free and count what was spent, for the namespace and for all."""
    for place in (EVERYBODY, namespace):
        await conn.execute(
            """
            UPDATE research_months
            SET reserved_usd = greatest(reserved_usd - %(reserved)s, 0),
                spent_usd = spent_usd + %(spent)s
            WHERE namespace = %(namespace)s
              AND month = %(month)s
            """,
            {"namespace": place, "month": month, "reserved": reserved, "spent": spent},
        )


async def set_budget(conn: Connection, namespace: str, month_usd: Decimal) -> None:
    """Set what a namespace, or all together, may spend in a month."""
    await conn.execute(
        """
        INSERT INTO research_budgets (namespace, month_usd)
        VALUES (%(namespace)s, %(usd)s)
        ON CONFLICT (namespace) DO UPDATE
        SET month_usd = excluded.month_usd,
            updated_at = now()
        """,
        {"namespace": namespace, "usd": month_usd},
    )


async def delete_budget(conn: Connection, namespace: str) -> int:
    """Take a limit away and return whether there was one."""
    return await execute(
        conn,
        "DELETE FROM research_budgets WHERE namespace = %(namespace)s",
        {"namespace": namespace},
    )
