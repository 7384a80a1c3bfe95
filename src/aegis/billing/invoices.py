"""Invoices: read, made final, sent, paid, taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from aegis.billing import validate
from aegis.billing.months import read_month
from aegis.billing.store import accounts
from aegis.billing.store import invoices as store
from aegis.errors import Conflict
from aegis.security.audit.recording import audited, note
from aegis.security.columns import Columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aegis.billing.models import Account, Invoice
    from aegis.config import Settings
    from aegis.db import Connection, Database
    from aegis.security.audit.actions import ActionId

__all__ = ["WAYS", "Invoices", "move"]

#: How the audit log calls what becomes of an invoice.
MOVES: Final[dict[str, ActionId]] = {
    "sent": "billing.invoice_sent",
    "paid": "billing.invoice_paid",
    "void": "billing.invoice_void",
}
#: From which states an invoice may come to another.
WAYS: Final[dict[str, tuple[str, ...]]] = {
    "sent": ("final",),
    "paid": ("final", "sent"),
    "void": ("draft", "final", "sent"),
}


class Invoices:
    """The invoices of one database."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._columns = Columns(settings)
        self._due_days = settings.invoice_due_days
        self._seller = settings.invoice_from

    async def get(self, invoice_id: int) -> Invoice:
        """Return an invoice with its lines (`NotFound`)."""
        invoice_id = validate.check_number("invoice", invoice_id)
        async with self._db.transaction() as conn:
            return await self._whole(conn, invoice_id)

    async def list(
        self,
        *,
        customer_id: str | None = None,
        month: Any = None,
        state: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> Sequence[Invoice]:
        """Return invoices without their lines, newest first (`InvalidInput`)."""
        if customer_id is not None:
            validate.check_customer(customer_id)
        if state is not None:
            validate.check_state(state)
        validate.check_page(limit, offset)
        period = None if month is None else read_month(month)
        async with self._db.transaction() as conn:
            rows = await store.list_invoices(
                conn,
                customer_id=customer_id,
                period=period,
                state=state,
                limit=limit,
                offset=offset,
            )
        return self._columns.reveal_all("billing_invoices", rows)

    async def finalize(self, invoice_id: int) -> Invoice:
        """Give a draft its number and the day it is due.

        Numbers have no gaps a year (UTC): one that is given is kept, whatever becomes of the
        invoice. An invoice of nothing is paid at once.

        Raises:
            NotFound, Conflict: there is no such invoice; it is no draft.
        """
        invoice_id = validate.check_number("invoice", invoice_id)
        async with audited(self._db) as conn:
            found = await _locked(conn, invoice_id)
            if found.state != "draft":
                raise Conflict(f"Invoice {invoice_id} is {found.state}; only a draft is finalized.")
            await self._finalize(conn, [found])
            invoice = await self._whole(conn, invoice_id)
            note(
                conn,
                "billing.invoice_finalize",
                "invoice",
                invoice_id,
                customer=invoice.customer_id,
                number=invoice.number,
                total_usd=invoice.total_usd,
            )
            return invoice

    async def finalize_month(self, month: Any) -> int:
        """Finalize every draft of a month and return how many there were; safe to repeat."""
        period = read_month(month)
        count = 0
        while True:
            async with audited(self._db) as conn:
                drafts = await store.list_invoices(
                    conn, customer_id=None, period=period, state="draft", limit=500, offset=0
                )
                if not drafts:
                    return count
                await accounts.lock_accounts(conn, [draft.customer_id for draft in drafts])
                # None that somebody else was faster with.
                done = await self._finalize(conn, drafts)
                count += done
                note(
                    conn,
                    "billing.invoice_finalize",
                    "month",
                    f"{period:%Y-%m}",
                    invoices=done,
                    first_id=min(draft.id for draft in drafts),
                    last_id=max(draft.id for draft in drafts),
                )

    async def mark_sent(self, invoice_id: int) -> Invoice:
        """Note that a final invoice was sent (`NotFound`, `Conflict`)."""
        return await self._move(invoice_id, "sent")

    async def mark_paid(self, invoice_id: int) -> Invoice:
        """Note that an invoice was paid (`NotFound`, `Conflict`)."""
        return await self._move(invoice_id, "paid")

    async def void(self, invoice_id: int) -> Invoice:
        """Take an invoice back: what it charged and credited is open again.

        The month's run, repeated, puts it on another invoice, or the next month's does. To waive
        it, give a credit.

        Raises:
            NotFound, Conflict: there is no such invoice; it is paid or void, or Stripe has it.
        """
        invoice_id = validate.check_number("invoice", invoice_id)
        async with audited(self._db) as conn:
            found = await _locked(conn, invoice_id)
            if found.stripe_invoice_id is not None:
                raise Conflict(
                    f"Invoice {invoice_id} is {found.stripe_invoice_id} at Stripe; void it there, "
                    "and it becomes void here.",
                    code="invoice_at_stripe",
                )
            if await store.is_queued(conn, invoice_id):
                raise Conflict(
                    f"Invoice {invoice_id} is being handed to Stripe; void it there as soon as "
                    "`aegis billing stripe status` shows it as sent.",
                    code="invoice_at_stripe",
                )
            await move(conn, found, "void")
            return await self._whole(conn, invoice_id)

    def html(self, invoice: Invoice) -> str:
        """Return an invoice, with its lines, as a page of HTML."""
        from aegis.billing.documents import invoice_html

        return invoice_html(invoice, seller=self._seller)

    def csv(self, invoices: Sequence[Invoice]) -> str:
        """Return the lines of invoices, which have them, as CSV."""
        from aegis.billing.documents import invoices_csv

        return invoices_csv(invoices)

    async def _finalize(self, conn: Connection, drafts: Sequence[Invoice]) -> int:
        now = datetime.now(UTC)
        found = await accounts.list_accounts(
            conn, customers=[draft.customer_id for draft in drafts], limit=None, offset=0
        )
        named = {a.customer_id: a for a in self._columns.reveal_all("billing_accounts", found)}
        sealed = await self._columns.seal(
            conn, "billing_invoices", [_names(draft, named) for draft in drafts]
        )
        return await store.finalize(
            conn,
            [
                store.NamedDraft(
                    id=draft.id,
                    customer_id=draft.customer_id,
                    name=values["customer_name"],
                    address=values["customer_address"],
                )
                for draft, values in zip(drafts, sealed, strict=True)
            ],
            due_on=(now + timedelta(days=self._due_days)).date(),
            now=now,
        )

    async def _move(self, invoice_id: int, state: str) -> Invoice:
        invoice_id = validate.check_number("invoice", invoice_id)
        async with audited(self._db) as conn:
            found = await _locked(conn, invoice_id)
            await move(conn, found, state)
            return await self._whole(conn, invoice_id)

    async def _whole(self, conn: Connection, invoice_id: int) -> Invoice:
        found = await store.get_invoice(conn, invoice_id)
        found = self._columns.reveal("billing_invoices", found)
        return replace(found, lines=await store.list_lines(conn, invoice_id))


async def move(conn: Connection, invoice: Invoice, state: str) -> None:
    """Bring a locked invoice to a state, and log it (`Conflict`: not from the one it is in)."""
    if invoice.state not in WAYS[state]:
        raise Conflict(
            f"Invoice {invoice.id} is {invoice.state}; only one that is "
            f"{' or '.join(WAYS[state])} becomes {state}."
        )
    await store.set_state(conn, invoice.id, state, now=datetime.now(UTC))
    note(
        conn,
        MOVES[state],
        "invoice",
        invoice.id,
        customer=invoice.customer_id,
        number=invoice.number,
        total_usd=invoice.total_usd,
        before=invoice.state,
    )


async def _locked(conn: Connection, invoice_id: int) -> Invoice:
    """Return an invoice, locked after its customer's account, as a run does."""
    found = await store.get_invoice(conn, invoice_id)
    await accounts.lock_accounts(conn, [found.customer_id])
    return await store.lock_invoice(conn, invoice_id)


def _names(draft: Invoice, named: Mapping[str, Account]) -> tuple[int, dict[str, str | None]]:
    """Return what is written on a draft: the account's name and address, as they are now."""
    account = named[draft.customer_id]
    return draft.id, {"customer_name": account.name, "customer_address": account.address}
