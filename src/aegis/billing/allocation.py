"""Which entries go on an invoice: all that is owed, and of credits what it can take. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis.billing.store.invoices import NewInvoice, NewLine
from aegis.billing.terms import ZERO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from aegis.billing.store.entries import OpenEntry

__all__ = ["allocate"]


def allocate(customer_id: str, entries: Sequence[OpenEntry]) -> NewInvoice | None:
    """Return the invoice of a customer's open entries, None where nothing is owed.

    What is owed goes on it whole. Credits are taken oldest first, the last one in part; what is
    left of them stays open. So a total is never below 0.
    """
    owed = sum((e.open_usd for e in entries if e.open_usd > 0), ZERO)
    if not owed:
        return None
    left = owed
    lines: list[NewLine] = []
    for entry in (e for e in entries if e.open_usd >= 0):
        lines.append(_line(entry, entry.open_usd))
    for entry in (e for e in entries if e.open_usd < 0):
        taken = min(left, -entry.open_usd)
        if taken:
            lines.append(_line(entry, -taken))
            left -= taken
    return NewInvoice(customer_id=customer_id, total_usd=left, lines=lines)


def _line(entry: OpenEntry, amount: Decimal) -> NewLine:
    return NewLine(
        event_id=entry.id,
        kind=entry.event_type,
        description=entry.description,
        quantity=entry.quantity,
        amount_usd=amount,
    )
