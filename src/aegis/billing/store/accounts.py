"""SQL of customers and their subscriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, LiteralString

from psycopg import errors as pg
from psycopg import sql

from aegis.billing.models import Account, Subscription
from aegis.db import execute, fetch_all, fetch_one, fetch_value
from aegis.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from aegis.db import Connection

__all__ = [
    "end_subscription",
    "find_by_email",
    "find_overlap",
    "get_account",
    "get_subscription",
    "insert_subscription",
    "last_priced",
    "list_accounts",
    "list_subscriptions",
    "lock_accounts",
    "update_account",
]

_ACCOUNT: Final = """
    a.customer_id, a.name, a.email, a.address, a.stripe_mode, a.stripe_customer_id,
    a.stripe_linked_at, a.created_at
"""
_SUBSCRIPTION: Final = (
    "s.id, s.customer_id, s.plan, s.starts_on, s.ends_on, s.proration, s.created_at"
)
_SETTABLE: Final[dict[str, LiteralString]] = {
    "name": "text",
    "email": "text",
    "email_hash": "text",
    "address": "text",
    "stripe_mode": "text",
    "stripe_customer_id": "text",
}


async def lock_accounts(conn: Connection, customers: Sequence[str]) -> None:
    """Make sure the accounts exist, and lock them in one order: nobody waits in a circle."""
    await execute(
        conn,
        """
        INSERT INTO billing_accounts (customer_id)
        SELECT c.customer_id
        FROM unnest(%(customers)s::text[]) AS c (customer_id)
        ORDER BY c.customer_id
        ON CONFLICT DO NOTHING
        """,
        {"customers": [*customers]},
    )
    await execute(
        conn,
        """
        SELECT FROM billing_accounts a
        WHERE a.customer_id = ANY (%(customers)s)
        ORDER BY a.customer_id
        FOR NO KEY UPDATE
        """,
        {"customers": [*customers]},
    )


async def get_account(conn: Connection, customer_id: str) -> Account:
    """Return the account of a customer (`NotFound`)."""
    return await fetch_one(
        conn,
        Account,
        "SELECT " + _ACCOUNT + " FROM billing_accounts a WHERE a.customer_id = %(customer)s",
        {"customer": customer_id},
        missing=f"There is no account of {customer_id!r}; `aegis billing account set` makes one.",
    )


async def list_accounts(
    conn: Connection, *, customers: Sequence[str] | None = None, limit: int | None, offset: int
) -> list[Account]:
    """Return a page of accounts, of some customers or of all, by customer."""
    return await fetch_all(
        conn,
        Account,
        "SELECT "
        + _ACCOUNT
        + """
        FROM billing_accounts a
        WHERE %(customers)s::text[] IS NULL
           OR a.customer_id = ANY (%(customers)s)
        ORDER BY a.customer_id
        LIMIT %(limit)s OFFSET %(offset)s
        """,
        {
            "customers": None if customers is None else [*customers],
            "limit": limit,
            "offset": offset,
        },
    )


async def find_by_email(
    conn: Connection, *, clear: str | None, hashes: Sequence[str], limit: int, offset: int
) -> list[Account]:
    """Return a page of accounts with an e-mail address, by customer.

    `hashes` are its keyed hashes; `clear` is its normalised form where addresses may be in clear,
    which reads every account.
    """
    return await fetch_all(
        conn,
        Account,
        "WITH a AS ( SELECT "
        + _ACCOUNT
        + " FROM billing_accounts a WHERE a.email_hash = ANY (%(hashes)s) UNION SELECT "
        + _ACCOUNT
        + """
            FROM billing_accounts a
            WHERE %(clear)s::text IS NOT NULL
              AND NOT starts_with(a.email, 'aegis:v1:')
              -- As `normalised` of encrypted columns has it: ASCII letters alone become small.
              AND normalize(
                  lower(normalize(btrim(a.email, E' \\t\\r\\n'), NFC) COLLATE "C"), NFC
              ) = %(clear)s
        )
        SELECT """
        + _ACCOUNT
        + """
        FROM a
        ORDER BY a.customer_id
        LIMIT %(limit)s OFFSET %(offset)s
        """,
        {"clear": clear, "hashes": [*hashes], "limit": limit, "offset": offset},
    )


async def update_account(conn: Connection, customer_id: str, changes: Mapping[str, Any]) -> Account:
    """Set columns of a locked account and return it.

    Raises:
        Conflict: another customer has the id at Stripe.
    """
    assignments: list[sql.SQL | sql.Composed] = [
        sql.SQL("{} = {}::{}").format(
            sql.Identifier(column), sql.Placeholder(column), sql.SQL(_SETTABLE[column])
        )
        for column in changes
    ]
    if changes.get("stripe_mode", "none") != "none":
        # What was billed before belongs to the way it was billed in.
        assignments.append(
            sql.SQL(
                "stripe_linked_at = CASE WHEN a.stripe_mode = %(stripe_mode)s "
                "THEN coalesce(a.stripe_linked_at, now()) ELSE now() END"
            )
        )
    statement = sql.SQL(
        "UPDATE billing_accounts AS a SET {} WHERE a.customer_id = %(customer)s RETURNING {}"
    ).format(sql.SQL(", ").join(assignments), sql.SQL(_ACCOUNT))
    try:
        return await fetch_one(
            conn,
            Account,
            statement,
            {**changes, "customer": customer_id},
            missing=f"There is no account of {customer_id!r}.",
        )
    except pg.UniqueViolation:
        raise Conflict(
            f"stripe_customer_id is {changes['stripe_customer_id']!r}, which another customer "
            "has already.",
            code="stripe_customer_taken",
        ) from None


async def insert_subscription(
    conn: Connection,
    *,
    customer_id: str,
    plan: str,
    starts_on: date,
    ends_on: date | None,
    proration: str,
) -> Subscription:
    """Put a customer whose account is locked on a plan."""
    return await fetch_one(
        conn,
        Subscription,
        "INSERT INTO billing_subscriptions AS s (customer_id, plan, starts_on, ends_on, proration) "
        "VALUES (%(customer)s, %(plan)s, %(starts_on)s, %(ends_on)s, %(proration)s) RETURNING "
        + _SUBSCRIPTION,
        {
            "customer": customer_id,
            "plan": plan,
            "starts_on": starts_on,
            "ends_on": ends_on,
            "proration": proration,
        },
        missing="The subscription was not added.",
    )


async def find_overlap(
    conn: Connection, customer_id: str, *, starts_on: date, ends_on: date | None
) -> int | None:
    """Return the number of a subscription of a customer that shares a day, or None."""
    return await fetch_value(
        conn,
        """
        SELECT s.id
        FROM billing_subscriptions s
        WHERE s.customer_id = %(customer)s
          AND daterange(s.starts_on, s.ends_on) && daterange(%(starts_on)s, %(ends_on)s)
        ORDER BY s.starts_on
        LIMIT 1
        """,
        {"customer": customer_id, "starts_on": starts_on, "ends_on": ends_on},
    )


async def get_subscription(conn: Connection, subscription_id: int) -> Subscription:
    """Return a subscription (`NotFound`)."""
    return await fetch_one(
        conn,
        Subscription,
        "SELECT " + _SUBSCRIPTION + " FROM billing_subscriptions s WHERE s.id = %(id)s",
        {"id": subscription_id},
        missing=f"There is no subscription {subscription_id}; `aegis billing subscriptions` shows "
        "those there are.",
    )


async def end_subscription(
    conn: Connection, subscription_id: int, ends_on: date | None
) -> Subscription:
    """Set the first day without a subscription, None for no end (`NotFound`)."""
    return await fetch_one(
        conn,
        Subscription,
        "UPDATE billing_subscriptions AS s SET ends_on = %(ends_on)s WHERE s.id = %(id)s RETURNING "
        + _SUBSCRIPTION,
        {"id": subscription_id, "ends_on": ends_on},
        missing=f"There is no subscription {subscription_id}.",
    )


async def list_subscriptions(
    conn: Connection, *, customers: Sequence[str] | None, limit: int | None, offset: int
) -> list[Subscription]:
    """Return subscriptions, of some customers or of all, by customer and day."""
    return await fetch_all(
        conn,
        Subscription,
        "SELECT "
        + _SUBSCRIPTION
        + """
        FROM billing_subscriptions s
        WHERE %(customers)s::text[] IS NULL
           OR s.customer_id = ANY (%(customers)s)
        ORDER BY s.customer_id, s.starts_on
        LIMIT %(limit)s OFFSET %(offset)s
        """,
        {
            "customers": None if customers is None else [*customers],
            "limit": limit,
            "offset": offset,
        },
    )


async def last_priced(conn: Connection, customer_id: str) -> date | None:
    """Return the first day of the last month of a customer that was priced, or None."""
    return await fetch_value(
        conn,
        "SELECT max(p.period) FROM billing_periods p WHERE p.customer_id = %(customer)s",
        {"customer": customer_id},
    )
