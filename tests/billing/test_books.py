"""Whatever is repeated, cut off or late: what was accepted is what was billed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis.billing import Billing
from aegis.billing import run as run_module
from aegis.billing.months import next_month
from aegis.config import load_settings
from aegis.db import Database
from tests.billing.conftest import LATER, subscribed, use
from tests.statements import rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import Cluster

CUSTOMERS = ("a", "b", "c")
FIRST = date(2026, 8, 1)
LAST = date(2026, 11, 1)
GRADUATED = {
    "flat_usd": "3.00",
    "charges": [
        {"name": "Calls", "meter": "calls", "model": "graduated", "included": 5, "tiers": [
            {"up_to": 50, "unit_usd": "0.013"}, {"unit_usd": "0.007", "flat_usd": "1.00"}]},
    ],
}  # fmt: skip

#: A step: usage of a month so many before the one that goes on now; the month's run, whole, cut
#: off after so many statements, or two at once; an invoice made final or void; the next month.
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("use"), st.sampled_from(CUSTOMERS), st.integers(0, 1), st.integers(1, 90)
        ),
        st.tuples(st.just("run")),
        st.tuples(st.just("cut"), st.integers(1, 14)),
        st.tuples(st.just("twice")),
        st.tuples(st.just("void"), st.sampled_from(CUSTOMERS)),
        st.tuples(st.just("next")),
    ),
    min_size=3,
    max_size=16,
)


class Killed(Exception):
    """The process died here."""


class Dying:
    """A database whose process dies after so many statements."""

    def __init__(self, db: Database, after: int) -> None:
        self._db = db
        self._left = after
        self.settings = db.settings

    def transaction(self) -> Any:
        return _Cut(self._db.transaction(), self)

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Killed


class _Cut:
    def __init__(self, inner: Any, dying: Dying) -> None:
        self._inner, self._dying = inner, dying

    async def __aenter__(self) -> Any:
        conn = await self._inner.__aenter__()
        self._conn, self._execute, self._cursor = conn, conn.execute, conn.cursor

        async def execute(*args: Any, **kwargs: Any) -> Any:
            self._dying.spend()
            return await self._execute(*args, **kwargs)

        def cursor(*args: Any, **kwargs: Any) -> Any:
            self._dying.spend()
            return self._cursor(*args, **kwargs)

        conn.execute, conn.cursor = execute, cursor
        return conn

    async def __aexit__(self, *error: Any) -> Any:
        del self._conn.execute, self._conn.cursor
        return await self._inner.__aexit__(*error)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=25,
)
@given(STEPS)
def test_sum_of_accepted_events_is_the_sum_billed(
    cluster: Cluster, template: str, tmp_path: Path, steps: Sequence[tuple[Any, ...]]
) -> None:
    with cluster.database(template) as dsn:
        asyncio.run(_live(dsn, tmp_path, steps))


async def _live(dsn: str, folder: Path, steps: Sequence[tuple[Any, ...]]) -> None:
    chosen = replace(load_settings({}, data_dir=folder / "data"), pool_max_size=4)
    async with await Database.open(dsn, chosen, min_size=1) as db:
        billing = Billing(db, chosen)
        for customer in CUSTOMERS:
            await subscribed(billing, customer, GRADUATED, plan="grad")
        accepted: dict[tuple[str, date], int] = {}
        month = FIRST
        for what, *values in steps:
            if what == "use":
                customer, ago, calls = values
                used = month if ago == 0 or month == FIRST else run_module.before(month, 1)
                await use(db, customer, used.isoformat(), calls)
                accepted[customer, used] = accepted.get((customer, used), 0) + calls
            elif what == "next":
                await run_module.run_month(db, month, now=LATER, chunk=2)
                month = next_month(month) if month < date(2026, 10, 1) else month
            else:
                await _bill(billing, db, month, what, values)
        # Everything that came late has a run after it.
        while month <= LAST:
            await run_module.run_month(db, month, now=LATER, chunk=2)
            month = next_month(month)
        await _check(billing, db, accepted)


async def _bill(billing: Billing, db: Database, month: date, what: str, values: list[Any]) -> None:
    if what == "run":
        await run_module.run_month(db, month, now=LATER, chunk=2)
    elif what == "cut":
        dying: Any = Dying(db, values[0])
        try:
            await run_module.run_month(dying, month, now=LATER, chunk=2)
        except Killed:
            return
    elif what == "twice":
        await asyncio.gather(*(run_module.run_month(db, month, now=LATER, chunk=n) for n in (1, 2)))
    else:
        for invoice in await billing.invoices.list(customer_id=values[0]):
            if invoice.state == "draft":
                await billing.invoices.finalize(invoice.id)
            elif invoice.state == "final":
                await billing.invoices.void(invoice.id)
                break


async def _check(billing: Billing, db: Database, accepted: dict[tuple[str, date], int]) -> None:
    billed = await rows(
        db,
        "SELECT customer_id, period, sum(quantity)::int FROM billing_events "
        "WHERE quantity IS NOT NULL GROUP BY 1, 2 HAVING sum(quantity) <> 0",
    )
    assert {(c, p): q for c, p, q in billed} == accepted
    for customer in CUSTOMERS:
        # Money is what the price of all of it is, and all of it is on an invoice that stands.
        priced, month = Decimal(0), FIRST
        for _ in range(4):
            priced += (await billing.preview(customer, month)).total_usd
            month = next_month(month)
        (total,) = (await rows(
            db, "SELECT sum(amount_usd) FROM billing_events WHERE customer_id = %s", customer
        ))[0]  # fmt: skip
        (invoiced,) = (await rows(
            db,
            "SELECT sum(total_usd) FROM billing_invoices WHERE customer_id = %s "
            "AND state <> 'void'",
            customer,
        ))[0]  # fmt: skip
        assert total == priced == invoiced
        assert await billing.balance(customer) == 0
    numbers = await rows(
        db, "SELECT number FROM billing_invoices WHERE number IS NOT NULL ORDER BY number"
    )
    assert [int(n[-6:]) for (n,) in numbers] == list(range(1, len(numbers) + 1))
