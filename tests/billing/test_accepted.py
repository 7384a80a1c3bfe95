"""From the sender's batch to the invoice: what was accepted is billed, whatever goes wrong between.

Senders try again, two at once, with a bad line, or after they were cut off; events come up to 35
days late; runs of months are repeated and killed at any statement.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis.billing import Billing
from aegis.billing import run as run_module
from aegis.billing.months import before, next_month
from aegis.config import load_settings
from aegis.db import Database
from aegis.errors import InvalidInput
from aegis.usage import Usage
from aegis.usage import meter as meter_module
from tests.billing.conftest import subscribed
from tests.billing.test_books import Dying, Killed
from tests.statements import rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import Cluster

CUSTOMERS = ("a", "b")
BEGIN = datetime(2026, 8, 28, 12, tzinfo=UTC)
TERMS = {
    "minimum_usd": "1.00",
    "charges": [
        {"name": "Calls", "meter": "calls", "model": "graduated", "included": 3, "tiers": [
            {"up_to": 10, "unit_usd": "0.013"}, {"unit_usd": "0.007", "flat_usd": "0.50"}]},
        {"name": "Tokens", "meter": "tokens", "model": "package", "package_size": 100,
         "package_usd": "0.03"},
        {"name": "Cost", "meter": "cost", "model": "per_unit", "unit_usd": "1.2"},
    ],
}  # fmt: skip

SENDS = st.tuples(
    st.just("send"),
    st.sampled_from(CUSTOMERS),
    st.lists(st.integers(0, 150), min_size=1, max_size=6),
    st.integers(0, 34),
    st.sampled_from(("", "again", "at once", "a part first", "killed", "answer lost", "bad line")),
)
STEPS = st.lists(
    st.one_of(
        SENDS,
        st.tuples(st.just("days"), st.integers(1, 20)),
        st.tuples(st.just("run"), st.integers(0, 40)),
    ),
    min_size=4,
    max_size=16,
)


@dataclass
class World:
    """One database, what its senders were told is recorded, and the time."""

    usage: Usage
    billing: Billing
    db: Database
    now: datetime = BEGIN
    sent: int = 0
    #: Customer and month, to calls and tokens.
    accepted: dict[tuple[str, date], tuple[int, int]] = field(
        default_factory=dict[tuple[str, date], tuple[int, int]]
    )

    async def send(self, customer: str, tokens: Sequence[int], ago: int, fault: str) -> None:
        """Send a batch as a sender does, who goes on until it is told that it is recorded."""
        at = self.now - timedelta(days=ago)
        batch = [self._event(customer, count, at) for count in tokens]
        if fault == "killed":
            # The server died before its commit: nothing is left of it.
            with patch.object(meter_module.store, "insert_events", _killed), suppress(Killed):
                await self.usage.record(batch)
        elif fault == "answer lost":
            await self.usage.record(batch)
            self.now += timedelta(minutes=7)
        elif fault == "a part first":
            await self.usage.record(batch[: len(batch) // 2 + 1])
        elif fault == "at once":
            await asyncio.gather(*(self.usage.record(batch[::step]) for step in (1, -1)))
        elif fault == "bad line":
            # Refused whole; one that nobody sends again is nobody's.
            bad = {**self._event(customer, 1, at), "tokens_used": -1}
            with suppress(InvalidInput):
                await self.usage.record([*batch, bad])
            await self.usage.record([*batch, bad], partial=True)
        done = await self.usage.record(batch)
        assert done.recorded + done.duplicates == len(batch)
        if fault == "again":
            assert (await self.usage.record(batch)).recorded == 0
        place = (customer, at.date().replace(day=1))
        calls, before_ = self.accepted.get(place, (0, 0))
        self.accepted[place] = (calls + len(batch), before_ + sum(tokens))

    def _event(self, customer: str, tokens: int, at: datetime) -> dict[str, Any]:
        self.sent += 1
        return {
            "event_id": f"e{self.sent}", "customer_id": customer, "endpoint": "/v1/answer",
            "method": "POST", "status_code": 200, "tokens_used": tokens,
            "cost_usd": f"0.{tokens:06d}", "created_at": at.isoformat(),
        }  # fmt: skip

    async def run(self, month: date, *, dies_after: int | None = None) -> None:
        db: Any = self.db if dies_after is None else Dying(self.db, dies_after)
        with suppress(Killed):
            await run_module.run_month(db, month, now=self.now, chunk=1)


async def _killed(*_args: Any) -> Any:
    raise Killed


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=25,
)
@given(STEPS)
def test_what_senders_were_told_is_recorded_is_what_is_billed(
    cluster: Cluster, template: str, tmp_path: Path, steps: Sequence[tuple[Any, ...]]
) -> None:
    with cluster.database(template) as dsn:
        asyncio.run(_live(dsn, tmp_path, steps))


async def _live(dsn: str, folder: Path, steps: Sequence[tuple[Any, ...]]) -> None:
    chosen = replace(load_settings({}, data_dir=folder / "data"), pool_max_size=4)
    async with await Database.open(dsn, chosen, min_size=1) as db:
        world = World(Usage(db, chosen), Billing(db, chosen), db)

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return world.now.astimezone(tz)

        for customer in CUSTOMERS:
            await subscribed(world.billing, customer, TERMS, plan="mixed")
        with patch("aegis.usage.service.datetime", Clock):
            for what, *values in steps:
                if what == "send":
                    await world.send(*values)
                elif what == "days":
                    world.now += timedelta(days=values[0])
                else:
                    month = before(world.now.date(), 1)
                    await world.run(month, dies_after=values[0] or None)
            month = before(BEGIN.date(), 2)
            last = next_month(world.now.date())
            world.now += timedelta(days=100)
            while month <= last:
                await world.run(month)
                month = next_month(month)
            await _check(world)


async def _check(world: World) -> None:
    billed: dict[tuple[str, date], tuple[int, int]] = {}
    for customer, period, calls, tokens in await rows(
        world.db,
        "SELECT customer_id, period, "
        "coalesce(sum(quantity) FILTER (WHERE line LIKE '%%:Calls'), 0)::int, "
        "coalesce(sum(quantity) FILTER (WHERE line LIKE '%%:Tokens'), 0)::int "
        "FROM billing_events WHERE %s GROUP BY 1, 2",
        True,
    ):
        if calls:
            billed[customer, period] = (calls, tokens)
    assert billed == world.accepted
    # Every cent that it costs is billed, and on an invoice.
    for customer in CUSTOMERS:
        periods = await rows(
            world.db, "SELECT period FROM billing_periods WHERE customer_id = %s", customer
        )
        priced = [(await world.billing.preview(customer, p)).total_usd for (p,) in periods]
        ((total,),) = await rows(
            world.db, "SELECT sum(amount_usd) FROM billing_events WHERE customer_id = %s", customer
        )
        assert total == sum(priced)
        assert await world.billing.balance(customer) == 0
    assert (await world.usage.reconcile()).differences == []
