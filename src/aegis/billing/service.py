"""Billing, for its operator: `client.billing`."""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from aegis.billing import validate
from aegis.billing.credits import Credits
from aegis.billing.invoices import Invoices
from aegis.billing.models import Preview
from aegis.billing.months import next_month, read_month
from aegis.billing.pricing import derived_plans, name_of, price_months, read_plans
from aegis.billing.run import run_month
from aegis.billing.store import accounts, entries, metered, runs
from aegis.billing.store import plans as plan_store
from aegis.billing.stripe.service import Stripe
from aegis.billing.terms import ZERO, read_terms, written
from aegis.errors import Conflict, InvalidInput, NotFound
from aegis.security.audit.recording import audited, note
from aegis.security.columns import Columns
from aegis.security.columns.catalogue import find_column

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from aegis.billing.models import Account, Entry, Plan, Proration, RunReport, Subscription
    from aegis.billing.store.runs import Run
    from aegis.config import Settings
    from aegis.db import Database

__all__ = ["Billing"]


class Billing:
    """The billing of one database. `invoices` are its invoices, `stripe` the way to Stripe."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._credits = Credits(db)
        self._columns = Columns(settings)
        self.invoices = Invoices(db, settings)
        self.stripe = Stripe(db, settings)

    async def plans(self, name: str | None = None) -> Sequence[Plan]:
        """Return all versions of plans, newest first, then what tiers of keys cost (version 0)."""
        if name is not None:
            validate.check_plan_name(name)
        async with self._db.transaction() as conn:
            stored = await plan_store.list_plans(conn, name=name)
            derived = await derived_plans(conn)
        return [*stored, *(plan for plan in derived if name in (None, plan.name))]

    async def add_plan(self, name: str, terms: Any, *, valid_from: Any = None) -> Plan:
        """Add a version of a plan; months that begin from `valid_from` on have it.

        Raises:
            InvalidInput: the terms, or another value, cannot be accepted.
            Conflict: a version begins on that day already.
        """
        validate.check_plan_name(name)
        day = _today() if valid_from is None else validate.check_day("valid_from", valid_from)
        checked = written(read_terms(terms))
        async with audited(self._db) as conn:
            plan = await plan_store.insert_plan(conn, name=name, valid_from=day, terms=checked)
            note(conn, "billing.plan_add", "plan", name, version=plan.version, valid_from=day)
            return plan

    async def subscribe(
        self,
        customer_id: str,
        plan: str,
        *,
        starts_on: Any = None,
        ends_on: Any = None,
        proration: Proration = "daily",
    ) -> Subscription:
        """Put a customer on a plan, or a tier's price, from a day on.

        A plan that goes on ends on the day before, if it began earlier and has no end.

        Raises:
            InvalidInput, NotFound: a value cannot be accepted; there is no such plan.
            Conflict: the days are taken, or belong to a month that was billed.
        """
        validate.check_customer(customer_id)
        validate.check_plan_name(plan)
        validate.check_proration(proration)
        begin = _today() if starts_on is None else validate.check_day("starts_on", starts_on)
        end = None if ends_on is None else validate.check_day("ends_on", ends_on)
        if end is not None and end <= begin:
            raise InvalidInput(f"ends_on is {end}, not after {begin}; it is the first day without.")
        async with audited(self._db) as conn:
            await accounts.lock_accounts(conn, [customer_id])
            if (await read_plans(conn)).find(plan, begin) is None:
                raise NotFound(
                    f"There is no plan {plan!r} that is valid on {begin}; `aegis billing plans "
                    "list` shows those there are."
                )
            await self._require_open(conn, customer_id, begin)
            for one in await accounts.list_subscriptions(
                conn, customers=[customer_id], limit=None, offset=0
            ):
                if one.ends_on is None and one.starts_on < begin:
                    await accounts.end_subscription(conn, one.id, begin)
            taken = await accounts.find_overlap(conn, customer_id, starts_on=begin, ends_on=end)
            if taken is not None:
                raise Conflict(
                    f"Subscription {taken} of {customer_id} has some of these days; end it first.",
                    code="subscription_overlaps",
                )
            made = await accounts.insert_subscription(
                conn,
                customer_id=customer_id,
                plan=plan,
                starts_on=begin,
                ends_on=end,
                proration=proration,
            )
            note(
                conn,
                "billing.subscribe",
                "subscription",
                made.id,
                customer=customer_id,
                plan=plan,
                starts_on=begin,
                ends_on=end,
            )
            return made

    async def end_subscription(self, subscription_id: int, ends_on: Any = None) -> Subscription:
        """Set the first day without a subscription, today otherwise.

        Raises:
            InvalidInput, NotFound: the day is not after its first; there is no such one.
            Conflict: the day belongs to a month that was billed, or the days behind are taken.
        """
        subscription_id = validate.check_number("subscription", subscription_id)
        end = _today() if ends_on is None else validate.check_day("ends_on", ends_on)
        async with audited(self._db) as conn:
            found = await accounts.get_subscription(conn, subscription_id)
            await accounts.lock_accounts(conn, [found.customer_id])
            found = await accounts.get_subscription(conn, subscription_id)
            if end <= found.starts_on:
                raise InvalidInput(
                    f"ends_on is {end}, but subscription {subscription_id} begins on "
                    f"{found.starts_on}; use a later day."
                )
            await self._require_open(conn, found.customer_id, min(end, found.ends_on or end))
            if found.ends_on is not None and end > found.ends_on:
                taken = await accounts.find_overlap(
                    conn, found.customer_id, starts_on=found.ends_on, ends_on=end
                )
                if taken is not None:
                    raise Conflict(
                        f"Subscription {taken} has some of these days.",
                        code="subscription_overlaps",
                    )
            ended = await accounts.end_subscription(conn, subscription_id, end)
            note(
                conn,
                "billing.subscription_end",
                "subscription",
                subscription_id,
                customer=found.customer_id,
                before=found.ends_on,
                ends_on=end,
            )
            return ended

    async def subscriptions(
        self, customer_id: str | None = None, *, limit: int = 50, offset: int = 0
    ) -> Sequence[Subscription]:
        """Return subscriptions by customer and day (`InvalidInput`)."""
        if customer_id is not None:
            validate.check_customer(customer_id)
        validate.check_page(limit, offset)
        async with self._db.transaction() as conn:
            return await accounts.list_subscriptions(
                conn,
                customers=None if customer_id is None else [customer_id],
                limit=limit,
                offset=offset,
            )

    async def account(self, customer_id: str) -> Account:
        """Return a customer as invoices name them (`NotFound`)."""
        validate.check_customer(customer_id)
        async with self._db.transaction() as conn:
            found = await accounts.get_account(conn, customer_id)
        return self._columns.reveal("billing_accounts", found)

    async def accounts(
        self, *, email: str | None = None, limit: int = 50, offset: int = 0
    ) -> Sequence[Account]:
        """Return customers, or those with an e-mail address, by customer.

        Addresses are the same but for blanks at their ends, the case of ASCII letters, and how
        Unicode composes them; an encrypted address is found by its keyed hash.

        Raises:
            InvalidInput: a value cannot be accepted.
            ConfigError, OpsError: an encrypted value cannot be read.
        """
        if email is not None:
            validate.check_text("email", email, most=254)
        validate.check_page(limit, offset)
        async with self._db.transaction() as conn:
            if email is None:
                rows = await accounts.list_accounts(conn, limit=limit, offset=offset)
            else:
                entry = find_column("billing_accounts.email")
                clear, hashes = await self._columns.search(conn, entry, email)
                rows = await accounts.find_by_email(
                    conn, clear=clear, hashes=hashes, limit=limit, offset=offset
                )
        return self._columns.reveal_all("billing_accounts", rows)

    async def set_account(self, customer_id: str, /, **changes: Any) -> Account:
        """Set `name`, `email`, `address`, `stripe_mode` or `stripe_customer_id` of a customer.

        With the mode `meters` Stripe prices this day (UTC) and those that follow, until another
        mode is set; runs of months leave these days alone.

        Raises:
            InvalidInput: a value cannot be accepted.
            Conflict: another customer has the id at Stripe.
        """
        validate.check_customer(customer_id)
        checked = validate.account_changes(changes)
        async with audited(self._db) as conn:
            await accounts.lock_accounts(conn, [customer_id])
            if "stripe_mode" in checked:
                is_metered = checked["stripe_mode"] == "meters"
                change = metered.begin_span if is_metered else metered.end_span
                await change(conn, customer_id, _today())
            (values,) = await self._columns.seal(conn, "billing_accounts", [(customer_id, checked)])
            account = await accounts.update_account(conn, customer_id, values)
            # Names and addresses of people: which fields, and no more.
            note(conn, "billing.account_set", "customer", customer_id, fields=sorted(checked))
        return self._columns.reveal("billing_accounts", account)

    async def preview(self, customer_id: str, month: Any = None) -> Preview:
        """Return what a month, this one otherwise, costs a customer as things stand.

        Raises:
            InvalidInput: a value cannot be accepted.
            NotFound: the customer has no plan that could be priced.
        """
        validate.check_customer(customer_id)
        period = read_month(_today() if month is None else month)
        async with self._db.transaction() as conn:
            plans = await read_plans(conn)
            (rated,) = await price_months(conn, plans, [customer_id], [period])
            billed = await entries.list_billed(conn, [customer_id], [period])
        if not rated.segments or (not rated.priced and rated.reason):
            nobody = "there is no plan, nor a key with a tier"
            why = rated.reason or ("Stripe's meters price it" if rated.metered else nobody)
            raise NotFound(f"{period:%Y-%m} of {customer_id!r} has no price: {why}.")
        return Preview(
            customer_id=customer_id,
            period=period,
            plans=[name_of(part) for part in rated.segments],
            lines=rated.lines,
            total_usd=sum((line.amount_usd for line in rated.lines), ZERO),
            billed_usd=sum((row.amount_usd for row in billed), ZERO),
        )

    async def run(
        self,
        month: Any,
        *,
        dry_run: bool = False,
        customers: Sequence[str] | None = None,
        now: datetime | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> RunReport:
        """Bill a month that is over. Safe to repeat, and to kill: it goes on where it ended.

        Entries are added, and a draft of an invoice for each customer who owes something. What came
        late for the three months before becomes entries of its own. `dry_run` only counts.

        Raises:
            InvalidInput, Conflict: the month cannot be read; it is not over.
        """
        period = read_month(month)
        for customer in customers or ():
            validate.check_customer(customer)
        return await run_month(
            self._db,
            period,
            now=now or datetime.now(UTC),
            dry_run=dry_run,
            customers=customers,
            on_progress=on_progress,
        )

    async def runs(self, *, limit: int = 24) -> Sequence[Run]:
        """Return the runs, newest month first; one without an end was cut off: repeat it."""
        validate.check_page(limit, 0)
        async with self._db.transaction() as conn:
            return await runs.list_runs(conn, limit=limit)

    async def credit(
        self, customer_id: str, amount_usd: Any, *, reason: str, key: str | None = None
    ) -> Entry:
        """Credit a customer; the next invoices take it. The same `key` credits once.

        Raises:
            InvalidInput, Conflict: a value cannot be accepted; the key has another amount.
        """
        key = key or secrets.token_hex(12)
        return await self._credits.give(
            customer_id, amount_usd, reason=reason, key=key, today=_today()
        )

    async def take_back(
        self, entry_id: int, amount_usd: Any = None, *, reason: str, key: str | None = None
    ) -> Entry:
        """Take a credit back, all that is left of it or a part; a row that charges it again.

        Without a `key` it is done once. Raises `NotFound`, `Conflict`: there is no such credit, or
        less is left of it.
        """
        return await self._credits.take_back(
            entry_id, amount_usd, reason=reason, key=key, today=_today()
        )

    async def balance(self, customer_id: str) -> Decimal:
        """Return what is on no invoice yet of a customer; below 0 for a credit that is left."""
        validate.check_customer(customer_id)
        async with self._db.transaction() as conn:
            return await entries.sum_open(conn, customer_id)

    async def entries(
        self,
        *,
        customer_id: str | None = None,
        event_type: str | None = None,
        month: Any = None,
        limit: int = 50,
        offset: int = 0,
    ) -> Sequence[Entry]:
        """Return rows of `billing_events`, newest first (`InvalidInput`)."""
        if customer_id is not None:
            validate.check_customer(customer_id)
        if event_type is not None:
            validate.check_event_type(event_type)
        validate.check_page(limit, offset)
        period = None if month is None else read_month(month)
        async with self._db.transaction() as conn:
            return await entries.list_entries(
                conn,
                customer_id=customer_id,
                event_type=event_type,
                period=period,
                limit=limit,
                offset=offset,
            )

    @staticmethod
    async def _require_open(conn: Any, customer_id: str, day: date) -> None:
        """Refuse to change a plan in a month that was billed (`Conflict`)."""
        last = await accounts.last_priced(conn, customer_id)
        if last is not None and day < next_month(last):
            raise Conflict(
                f"{last:%Y-%m} of {customer_id} is billed already; use {next_month(last)} or "
                "later, and a credit for what was too much.",
                code="month_billed",
            )


def _today() -> date:
    return datetime.now(UTC).date()
