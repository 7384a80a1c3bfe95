"""SQL of customers: limits that all their keys share, and the ledger of the shared quota."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg import sql
from psycopg.types.json import Jsonb

from aegis.db import execute, fetch_all, fetch_one, fetch_optional
from aegis.keys.models import Customer, CustomerEntry
from aegis.keys.store.quota import OpenMonth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aegis.db import Connection

__all__ = [
    "add_entry",
    "find_customer",
    "list_customers",
    "list_entries",
    "lock_customer",
    "open_month",
    "update_customer",
]

_SETTABLE: Final[dict[str, LiteralString]] = {
    "rate_limit": "integer",
    "monthly_quota": "integer",
    "limits": "jsonb",
}
_SELECT: Final[LiteralString] = """
    SELECT
        c.customer_id,
        c.rate_limit,
        c.monthly_quota,
        c.limits,
        (SELECT count(*) FROM api_keys k WHERE k.customer_id = c.customer_id) AS keys,
        greatest(c.period, n.today) AS period,
        CASE
            WHEN c.monthly_quota IS NULL THEN NULL
            WHEN c.period >= n.today THEN c.granted
            ELSE c.monthly_quota
        END AS granted,
        CASE WHEN c.period >= n.today THEN c.used ELSE 0 END AS used,
        CASE
            WHEN c.monthly_quota IS NULL THEN NULL
            WHEN c.period >= n.today THEN c.granted - c.used
            ELSE c.monthly_quota
        END AS remaining,
        c.updated_at
    FROM api_customers c
    CROSS JOIN (
        SELECT date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date AS today
    ) n
"""


async def lock_customer(conn: Connection, customer_id: str) -> None:
    """Lock a customer's row until the transaction ends; make it where there is none."""
    await execute(
        conn,
        """
        INSERT INTO api_customers (customer_id) VALUES (%(customer_id)s) ON CONFLICT DO NOTHING
        """,
        {"customer_id": customer_id},
    )
    await execute(
        conn,
        "SELECT FROM api_customers WHERE customer_id = %(customer_id)s FOR UPDATE",
        {"customer_id": customer_id},
    )


async def find_customer(conn: Connection, customer_id: str) -> Customer | None:
    """Return what a customer's keys share, if they share anything."""
    return await fetch_optional(
        conn,
        Customer,
        _SELECT + "WHERE c.customer_id = %(customer_id)s",
        {"customer_id": customer_id},
    )


async def list_customers(conn: Connection, *, limit: int, offset: int) -> list[Customer]:
    """Return a page of customers, by name."""
    return await fetch_all(
        conn,
        Customer,
        _SELECT + "ORDER BY c.customer_id LIMIT %(limit)s OFFSET %(offset)s",
        {"limit": limit, "offset": offset},
    )


async def update_customer(conn: Connection, customer_id: str, changes: Mapping[str, Any]) -> None:
    """Set limits of a locked customer."""
    assignments = [
        sql.SQL("{} = {}::{}").format(
            sql.Identifier(name), sql.Placeholder(name), sql.SQL(_SETTABLE[name])
        )
        for name in changes
    ]
    statement = sql.SQL(
        "UPDATE api_customers SET {}, updated_at = clock_timestamp() WHERE customer_id = {}"
    ).format(sql.SQL(", ").join(assignments), sql.Placeholder("customer_id"))
    values = {n: Jsonb(v) if isinstance(v, dict) else v for n, v in changes.items()}
    await execute(conn, statement, {**values, "customer_id": customer_id})


async def open_month(conn: Connection, customer_id: str, *, begin: bool) -> OpenMonth:
    """Return the month of a customer whose row is locked; `begin` opens this one."""
    if begin:
        await conn.execute(
            """
            SELECT aegis_open_customer_period(
                %(customer_id)s, date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date
            )
            """,
            {"customer_id": customer_id},
        )
    return await fetch_one(
        conn,
        OpenMonth,
        """
        SELECT
            c.period,
            coalesce(
                c.period >= date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date, FALSE
            ) AS is_current,
            c.granted,
            c.used,
            (
                SELECT coalesce(sum(l.amount), 0)::bigint
                FROM api_customer_ledger l
                WHERE l.customer_id = c.customer_id
                  AND l.period = c.period
                  AND l.kind IN ('grant', 'adjust')
            ) AS base,
            c.monthly_quota AS quota
        FROM api_customers c
        WHERE c.customer_id = %(customer_id)s
        """,
        {"customer_id": customer_id},
        missing=f"The keys of {customer_id!r} share no limits.",
    )


async def add_entry(
    conn: Connection, customer_id: str, *, kind: str, amount: int, note: str | None
) -> None:
    """Change what the open month of a locked customer has by `amount`."""
    await execute(
        conn,
        """
        WITH changed AS (
            UPDATE api_customers
            SET granted = granted + %(amount)s
            WHERE customer_id = %(customer_id)s
            RETURNING customer_id, period
        )
        INSERT INTO api_customer_ledger (customer_id, period, kind, amount, note)
        SELECT customer_id, period, %(kind)s, %(amount)s, %(note)s FROM changed
        """,
        {"customer_id": customer_id, "kind": kind, "amount": amount, "note": note},
    )


async def list_entries(
    conn: Connection, customer_id: str, *, limit: int, offset: int
) -> list[CustomerEntry]:
    """Return a page of a customer's ledger, newest first."""
    return await fetch_all(
        conn,
        CustomerEntry,
        """
        SELECT l.id, l.period, l.kind, l.amount, l.note, l.created_at
        FROM api_customer_ledger l
        WHERE l.customer_id = %(customer_id)s
        ORDER BY l.period DESC, l.id DESC
        LIMIT %(limit)s OFFSET %(offset)s
        """,
        {"customer_id": customer_id, "limit": limit, "offset": offset},
    )
