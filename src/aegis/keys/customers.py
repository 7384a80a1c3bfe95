"""What all keys of a customer share: limits, and a quota that is never exceeded.

Counted beside each key's own, all or nothing. The shared quota is a ceiling: it has no overage,
so what is billed stays what each key's own quota says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.keys import validate
from aegis.keys.quota import adjustment
from aegis.keys.store import customers as store
from aegis.security.audit.recording import audited
from aegis.security.audit.recording import note as log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Connection, Database
    from aegis.keys.models import Customer, CustomerEntry

__all__ = ["Customers"]

_FIELDS = ("rate_limit", "monthly_quota", "limits")


class Customers:
    """The customers of one database; `changed` is called when a refusal may no longer hold."""

    def __init__(self, db: Database, *, changed: Callable[[], object]) -> None:
        self._db = db
        self._changed = changed

    async def list(self, *, limit: int = 50, offset: int = 0) -> Sequence[Customer]:
        """Return customers whose keys share limits, by name (`InvalidInput`)."""
        validate.check_page(limit, offset)
        async with self._db.transaction() as conn:
            return await store.list_customers(conn, limit=limit, offset=offset)

    async def get(self, customer_id: str) -> Customer:
        """Return what a customer's keys share (`NotFound`: nothing)."""
        validate.check_text("customer_id", customer_id, most=100)
        async with self._db.transaction() as conn:
            return await _get(conn, customer_id)

    async def set(self, customer_id: str, /, **changes: Any) -> Customer:
        """Set `rate_limit`, `monthly_quota` or `limits` that all keys of a customer share.

        None takes a limit away. A new quota holds for this month too, as an adjustment in the
        ledger; where there was none, this month is counted from now on.

        Raises:
            InvalidInput: a value cannot be accepted; a quota below what this month used already
                is `quota_below_used`.
        """
        validate.check_text("customer_id", customer_id, most=100)
        unknown = sorted(set(changes) - set(_FIELDS))
        if unknown or not changes:
            what = repr(unknown[0]) if unknown else "nothing"
            raise InvalidInput(f"The change names {what}; use {', '.join(_FIELDS)}.")
        if changes.get("rate_limit") is not None:
            validate.check_rate(changes["rate_limit"])
        if changes.get("monthly_quota") is not None:
            validate.check_quota(changes["monthly_quota"])
        if changes.get("limits") is not None:
            validate.check_own_limits(changes["limits"])
        async with audited(self._db) as conn:
            await store.lock_customer(conn, customer_id)
            await store.update_customer(conn, customer_id, changes)
            if "monthly_quota" in changes:
                await _settle(conn, customer_id)
            customer = await _get(conn, customer_id)
            log(
                conn,
                "keys.customer_set",
                "customer",
                customer_id,
                fields=sorted(changes),
                rate_limit=customer.rate_limit,
                monthly_quota=customer.monthly_quota,
            )
        self._changed()
        return customer

    async def grant(self, customer_id: str, amount: int, *, note: str | None = None) -> Customer:
        """Top this month's shared quota up.

        Raises:
            InvalidInput: `amount` is no whole number above 0.
            NotFound, Conflict: the customer's keys share nothing; they share no quota.
        """
        validate.check_text("customer_id", customer_id, most=100)
        validate.check_topup(amount)
        if note is not None:
            validate.check_text("note", note, most=500)
        async with audited(self._db) as conn:
            await _get(conn, customer_id)
            await store.lock_customer(conn, customer_id)
            month = await store.open_month(conn, customer_id, begin=True)
            if month.quota is None:
                raise Conflict(
                    f"The keys of {customer_id!r} share no monthly quota: there is nothing to top "
                    "up.",
                    code="customer_without_quota",
                )
            await store.add_entry(conn, customer_id, kind="topup", amount=amount, note=note)
            log(conn, "keys.customer_grant", "customer", customer_id, amount=amount)
            customer = await _get(conn, customer_id)
        self._changed()
        return customer

    async def ledger(
        self, customer_id: str, *, limit: int = 50, offset: int = 0
    ) -> Sequence[CustomerEntry]:
        """Return entries of a customer's ledger, newest first (`NotFound`)."""
        validate.check_text("customer_id", customer_id, most=100)
        validate.check_page(limit, offset)
        async with self._db.transaction() as conn:
            await _get(conn, customer_id)
            return await store.list_entries(conn, customer_id, limit=limit, offset=offset)


async def _get(conn: Connection, customer_id: str) -> Customer:
    found = await store.find_customer(conn, customer_id)
    if found is None:
        raise NotFound(
            f"The keys of {customer_id!r} share no limits; `aegis keys customers set` gives them "
            "some."
        )
    return found


async def _settle(conn: Connection, customer_id: str) -> None:
    """Make the open month of a locked customer fit the quota as it is now."""
    change = adjustment(await store.open_month(conn, customer_id, begin=False))
    if change is not None:
        await store.add_entry(conn, customer_id, kind="adjust", amount=change[0], note=change[1])
