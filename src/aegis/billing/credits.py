"""Credits: rows with a reason, and rows that take them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.billing import validate
from aegis.billing.store import accounts
from aegis.billing.store import entries as store
from aegis.errors import Conflict
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

    from aegis.billing.models import Entry
    from aegis.db import Connection, Database

__all__ = ["Credits"]


class Credits:
    """The credits of one database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def give(
        self, customer_id: str, amount_usd: Any, *, reason: str, key: str, today: date
    ) -> Entry:
        """Credit a customer; the next invoices take it, as far as they go.

        `key` makes it one: the same key gives the same credit once, however often it is tried.

        Raises:
            InvalidInput: a value cannot be accepted.
            Conflict: the key was used for another amount.
        """
        validate.check_customer(customer_id)
        amount = validate.credit_amount(amount_usd)
        validate.check_text("reason", reason, most=500)
        validate.check_text("key", key, most=200)
        async with audited(self._db) as conn:
            await accounts.lock_accounts(conn, [customer_id])
            return await _add(
                conn, customer_id, -amount, reason=reason, key=f"credit/{key}", day=today
            )

    async def take_back(
        self,
        entry_id: int,
        amount_usd: Any = None,
        *,
        reason: str,
        key: str | None = None,
        today: date,
    ) -> Entry:
        """Take a credit back, all that is left of it or a part: a row that charges it again.

        Raises:
            InvalidInput: a value cannot be accepted.
            NotFound: there is no such entry.
            Conflict: it is no credit, or less is left of it.
        """
        entry_id = validate.check_number("entry", entry_id)
        validate.check_text("reason", reason, most=500)
        if key is not None:
            validate.check_text("key", key, most=200)
        async with audited(self._db) as conn:
            found = await store.get_entry(conn, entry_id)
            if found.event_type != "credit" or found.amount_usd >= 0:
                raise Conflict(f"Entry {entry_id} is no credit; there is nothing to take back.")
            await accounts.lock_accounts(conn, [found.customer_id])
            taken = await store.sum_taken_back(conn, found.customer_id, entry_id)
            whole = f"take-back/{key or entry_id}"
            left = -found.amount_usd - taken
            amount = left if amount_usd is None else validate.credit_amount(amount_usd)
            known = await store.find_by_key(conn, found.customer_id, whole)
            if known is not None:
                return _same(known, amount if amount_usd is not None else known.amount_usd)
            if amount > left or not left:
                raise Conflict(
                    f"Of credit {entry_id} {left:.2f} USD are left; {amount:.2f} cannot be taken "
                    "back.",
                    code="credit_used_up",
                )
            return await _add(
                conn,
                found.customer_id,
                amount,
                reason=reason,
                key=whole,
                day=today,
                takes_back=entry_id,
            )


async def _add(
    conn: Connection,
    customer_id: str,
    amount: Decimal,
    *,
    reason: str,
    key: str,
    day: date,
    takes_back: int | None = None,
) -> Entry:
    entry = store.NewEntry(
        customer_id=customer_id,
        event_type="credit",
        amount_usd=amount,
        description=reason,
        metadata={} if takes_back is None else {"takes_back": takes_back},
        period=day.replace(day=1),
        line=None,
        quantity=None,
        entry_key=key,
    )
    fresh = await store.insert_entries(conn, [entry])
    found = await store.find_by_key(conn, customer_id, key)
    assert found is not None
    same = _same(found, amount)
    if fresh:
        note(
            conn,
            "billing.credit" if takes_back is None else "billing.take_back",
            "entry",
            found.id,
            customer=customer_id,
            amount_usd=abs(amount),
            takes_back=takes_back,
        )
    return same


def _same(found: Entry, amount: Decimal) -> Entry:
    if found.amount_usd != amount:
        raise Conflict(
            f"Entry {found.id} has this key and {abs(found.amount_usd):.2f} USD; use another key.",
            code="key_used",
        )
    return found
