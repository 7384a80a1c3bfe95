"""The month-end run: safe to repeat, and to kill at any line.

A chunk of customers is one transaction: their months are priced, what is new becomes entries of
`billing_events`, and what is owed becomes a draft of an invoice. A row of `billing_periods` says
that a customer's month is done, so a repeated run goes on where the last one ended. Only one
transaction of any run is under way at a time.

An entry is the difference between what a month costs and what was billed of it. For the month of
the run that is all of it; for the months before, whose run came to its end, it is what came late.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aegis.billing.allocation import allocate
from aegis.billing.models import RunReport, Unbilled
from aegis.billing.months import LATE_MONTHS, before, next_month
from aegis.billing.pricing import price_months, read_plans
from aegis.billing.store import accounts, entries, invoices, runs, usage
from aegis.billing.terms import ZERO
from aegis.errors import Conflict
from aegis.security.audit.recording import audited, note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date, datetime

    from aegis.billing.pricing import Plans, Rated
    from aegis.billing.store.entries import Billed, NewEntry
    from aegis.db import Connection, Database

__all__ = ["CHUNK", "run_month"]

#: Customers of one transaction.
CHUNK = 200


@dataclass(slots=True)
class _Sums:
    """What a run has done so far."""

    customers: int = 0
    entries: int = 0
    amount: Decimal = ZERO
    adjustments: int = 0
    invoices: int = 0
    invoiced: Decimal = ZERO
    unbilled: list[Unbilled] = field(default_factory=list[Unbilled])


async def run_month(
    db: Database,
    month: date,
    *,
    now: datetime,
    dry_run: bool = False,
    customers: Sequence[str] | None = None,
    chunk: int = CHUNK,
    on_progress: Callable[[int, int], object] | None = None,
) -> RunReport:
    """Bill a month that is over; `customers` narrows it, and then it does not count as run.

    Raises:
        Conflict: the month is not over.
    """
    if now.date() < next_month(month):
        raise Conflict(
            f"{month:%Y-%m} is not over; run it from {next_month(month)} on (UTC), or look at "
            "`aegis billing preview`.",
            code="month_not_over",
        )
    begin = before(month, LATE_MONTHS)
    async with audited(db) as conn:
        plans = await read_plans(conn)
        finished = await runs.list_finished(conn, begin=begin, end=month)
        looked_at = sorted({*finished, *await runs.list_begun(conn, begin=begin, end=month)})
        found = await usage.list_customers(
            conn,
            begin=looked_at[0] if looked_at else month,
            end=next_month(month),
            customers=customers,
        )
        if not dry_run and customers is None:
            await runs.begin_run(conn, month)
            note(conn, "billing.run_begin", "month", f"{month:%Y-%m}")
    sums = _Sums()
    for start in range(0, len(found), chunk):
        part = found[start : start + chunk]
        async with audited(db) as conn:
            before_ = (sums.entries, sums.invoices)
            work = _Chunk(conn, plans, month, looked_at, finished, sums)
            await work.look(part) if dry_run else await work.bill(part)
            if customers is not None and not dry_run and (sums.entries, sums.invoices) != before_:
                # Of a part of the customers, which has no end of its own.
                told = _told(sums)
                note(conn, "billing.run", "month", f"{month:%Y-%m}", chosen=len(part), **told)
        if on_progress is not None:
            on_progress(min(start + chunk, len(found)), len(found))
    if not dry_run and customers is None:
        async with audited(db) as conn:
            await runs.finish_run(conn, month)
            note(conn, "billing.run", "month", f"{month:%Y-%m}", **_told(sums))
    return RunReport(
        period=month,
        dry_run=dry_run,
        customers=sums.customers,
        entries=sums.entries,
        amount_usd=sums.amount,
        adjustments=sums.adjustments,
        invoices=sums.invoices,
        invoiced_usd=sums.invoiced,
        unbilled=sums.unbilled,
    )


def _told(sums: _Sums) -> dict[str, Any]:
    return {
        "customers": sums.customers,
        "entries": sums.entries,
        "amount_usd": sums.amount,
        "invoices": sums.invoices,
        "invoiced_usd": sums.invoiced,
    }


class _Chunk:
    """Customers of one transaction."""

    def __init__(
        self,
        conn: Connection,
        plans: Plans,
        month: date,
        looked_at: Sequence[date],
        finished: Sequence[date],
        sums: _Sums,
    ) -> None:
        self._conn = conn
        self._plans = plans
        self._month = month
        self._months = [*looked_at, month]
        self._finished = {*finished, month}
        self._sums = sums

    async def look(self, customers: Sequence[str]) -> None:
        """Count what billing these customers would do."""
        new = await self._price(customers)
        await self._drafts(customers, new)

    async def bill(self, customers: Sequence[str]) -> None:
        """Bill these customers, of whom some may have been billed before."""
        await runs.one_run_at_a_time(self._conn)
        await accounts.lock_accounts(self._conn, customers)
        new = await self._price(customers, keep=True)
        if new:
            await entries.insert_entries(self._conn, new)
        await self._invoice(customers)

    async def _price(self, customers: Sequence[str], *, keep: bool = False) -> list[NewEntry]:
        done = {
            row.customer_id for row in await runs.list_priced(self._conn, customers, [self._month])
        }
        fresh = [c for c in customers if c not in done]
        if not fresh:
            return []
        rated = await price_months(self._conn, self._plans, fresh, self._months)
        billed = _by_place(await entries.list_billed(self._conn, fresh, self._months))
        new: list[NewEntry] = []
        priced: list[Rated] = []
        for one in rated:
            if not one.known and one.period not in self._finished:
                # Its own month's run was cut off, or for others alone: that is to be repeated.
                continue
            if one.reason is not None:
                self._sums.unbilled.append(
                    Unbilled(customer_id=one.customer_id, period=one.period, reason=one.reason)
                )
            if one.priced:
                # A month before without a plan stays open for one that is begun late.
                if one.segments or one.period == self._month:
                    priced.append(one)
                new += _differences(one, billed.get((one.customer_id, one.period), {}), self._month)
        if keep and priced:
            rows = [
                runs.Priced(customer_id=p.customer_id, period=p.period, segments=p.segments)
                for p in priced
                if not p.known
            ]
            await runs.insert_priced(self._conn, rows, run_period=self._month)
        self._sums.customers += sum(1 for p in priced if p.period == self._month)
        self._sums.entries += len(new)
        self._sums.amount += sum((e.amount_usd for e in new), ZERO)
        self._sums.adjustments += sum(1 for e in new if e.period < self._month)
        return new

    async def _invoice(self, customers: Sequence[str]) -> None:
        drafts = await self._drafts(customers, ())
        if drafts:
            await invoices.insert_invoices(self._conn, drafts, period=self._month)

    async def _drafts(
        self, customers: Sequence[str], unwritten: Sequence[NewEntry]
    ) -> list[invoices.NewInvoice]:
        """Return what these customers owe, `unwritten` entries included, and count it."""
        waiting = await invoices.without_invoice(self._conn, customers, self._month)
        opened: dict[str, list[entries.OpenEntry]] = defaultdict(list)
        for entry in await entries.list_open(self._conn, waiting, self._month):
            opened[entry.customer_id].append(entry)
        for entry in unwritten:
            opened[entry.customer_id].append(_as_open(entry))
        made = [allocate(customer, opened[customer]) for customer in waiting]
        drafts = [invoice for invoice in made if invoice is not None]
        self._sums.invoices += len(drafts)
        self._sums.invoiced += sum((d.total_usd for d in drafts), ZERO)
        return drafts


def _by_place(rows: Sequence[Billed]) -> dict[tuple[str, date], dict[str, Billed]]:
    found: dict[tuple[str, date], dict[str, Billed]] = defaultdict(dict)
    for row in rows:
        found[row.customer_id, row.period][row.line] = row
    return found


def _differences(rated: Rated, billed: dict[str, Billed], run: date) -> list[NewEntry]:
    """Return the entries that bring what was billed of a month to what it costs."""
    late = "" if rated.period == run else f"{rated.period:%Y-%m}, added later: "
    found: list[NewEntry] = []
    wanted = {line.key: line for line in rated.lines}
    for key in [*wanted, *(k for k in billed if k not in wanted)]:
        line, before_ = wanted.get(key), billed.get(key)
        amount = (line.amount_usd if line else ZERO) - (before_.amount_usd if before_ else ZERO)
        quantity = _quantity(line.quantity if line else None, before_.quantity if before_ else None)
        if not amount and not quantity:
            continue
        text = line.description if line else (before_.description if before_ else "")
        found.append(
            entries.NewEntry(
                customer_id=rated.customer_id,
                event_type=line.kind if line else (before_.event_type if before_ else "api_usage"),
                amount_usd=amount,
                description=late + text,
                metadata={"line": text, "run": f"{run:%Y-%m}"},
                period=rated.period,
                line=key,
                quantity=quantity,
                # The nth entry of the line: nobody can add the same one twice.
                entry_key=f"{rated.period:%Y-%m}/{key}/{before_.entries if before_ else 0}",
            )
        )
    return found


def _as_open(entry: NewEntry) -> entries.OpenEntry:
    return entries.OpenEntry(
        id=0,
        customer_id=entry.customer_id,
        event_type=entry.event_type,
        period=entry.period,
        description=entry.description,
        quantity=entry.quantity,
        open_usd=entry.amount_usd,
    )


def _quantity(now: Decimal | None, before_: Decimal | None) -> Decimal | None:
    if now is None and before_ is None:
        return None
    return (now or ZERO) - (before_ or ZERO)
