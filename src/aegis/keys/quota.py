"""The ledger of quota: what a key's month has, topping it up, and what a new quota means for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.errors import Conflict, InvalidInput
from aegis.keys import validate
from aegis.keys.store import quota as store
from aegis.security.audit.recording import audited
from aegis.security.audit.recording import note as audit_note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.db import Connection, Database
    from aegis.keys.models import Balance, LedgerEntry
    from aegis.keys.store.quota import OpenMonth

__all__ = ["Quota", "adjustment", "settle"]


class Quota:
    """The monthly quota of keys; `changed` is called when a refusal may no longer hold."""

    def __init__(self, db: Database, *, changed: Callable[[], object]) -> None:
        self._db = db
        self._changed = changed

    async def balance(self, key_id: str) -> Balance:
        """Return this month's quota of a key as its next call finds it (`NotFound`)."""
        key_id = validate.check_id(key_id)
        async with self._db.transaction() as conn:
            return await store.get_balance(conn, key_id)

    async def ledger(
        self, key_id: str, *, limit: int = 50, offset: int = 0
    ) -> Sequence[LedgerEntry]:
        """Return entries of a key's ledger, newest first (`NotFound`)."""
        key_id = validate.check_id(key_id)
        validate.check_page(limit, offset)
        async with self._db.transaction() as conn:
            await store.get_balance(conn, key_id)
            return await store.list_entries(conn, key_id, limit=limit, offset=offset)

    async def grant(self, key_id: str, amount: int, *, note: str | None = None) -> Balance:
        """Top this month's quota of a key up.

        Raises:
            InvalidInput: `amount` is no whole number above 0.
            NotFound: there is no such key.
            Conflict: it has no quota that could be topped up.
        """
        key_id = validate.check_id(key_id)
        validate.check_topup(amount)
        if note is not None:
            validate.check_text("note", note, most=500)
        async with audited(self._db) as conn:
            await store.lock_meter(conn, key_id)
            month = await store.open_month(conn, key_id, begin=True)
            if month.quota is None:
                raise Conflict(
                    f"Key {key_id} has no monthly quota: there is nothing to top up.",
                    code="key_without_quota",
                )
            await store.top_up(conn, key_id, amount=amount, note=note)
            balance = await store.get_balance(conn, key_id)
            audit_note(conn, "keys.grant", "key", key_id, amount=amount)
        self._changed()
        return balance


async def settle(conn: Connection, key_id: str) -> None:
    """Make the open month of a key, whose meter is locked, fit its quota as it is now.

    Raises:
        InvalidInput: more than that was used already.
    """
    change = adjustment(await store.open_month(conn, key_id, begin=False))
    if change is not None:
        await store.adjust_quota(conn, key_id, amount=change[0], note=change[1])


def adjustment(month: OpenMonth) -> tuple[int, str] | None:
    """Return the amount that makes an open month fit its quota as it is now, and a note on it.

    None means that it fits.

    Raises:
        InvalidInput: more than that was used already.
    """
    if not month.is_current or month.quota is None or month.quota == month.base:
        # What was not begun begins with the new quota.
        return None
    change = month.quota - month.base
    short = month.used - month.overage - (month.granted + change)
    if short > 0:
        raise InvalidInput(
            f"monthly_quota is {month.quota:,}, but this month used {month.used:,} already; use "
            f"{month.quota + short:,} or more, or change it next month.",
            code="quota_below_used",
        )
    return change, f"quota {month.base} became {month.quota}"
