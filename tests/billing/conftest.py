"""Billing on a database of the test's own, and usage as metering leaves it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest

from aegis.billing import Billing
from tests.billing.fake_stripe import fake_stripe
from tests.statements import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings
    from aegis.db import Database
    from tests.billing.fake_stripe import Stripe

#: Long after the months of these tests.
LATER: Final = datetime(2026, 12, 15, 12, tzinfo=UTC)

#: A cent for each call.
PER_CALL: Final = {
    "charges": [{"name": "Calls", "meter": "calls", "model": "per_unit", "unit_usd": "0.01"}]
}


@pytest.fixture
def billing(db: Database, settings: Settings) -> Billing:
    return Billing(db, settings)


@pytest.fixture
def stripe() -> Iterator[Stripe]:
    with fake_stripe() as server:
        yield server


async def use(
    db: Database,
    customer: str,
    day: str,
    calls: int,
    *,
    endpoint: str = "/v1/answer",
    tokens: int = 0,
    cost: str = "0",
) -> None:
    """Let a customer have used something on a day, on top of what they did before."""
    await rows(
        db,
        """
        INSERT INTO usage_daily AS u (day, customer_id, endpoint, method, calls, tokens, cost_usd)
        VALUES (%s, %s, %s, 'GET', %s, %s, %s)
        ON CONFLICT ON CONSTRAINT uq_usage_daily DO UPDATE
        SET calls = u.calls + excluded.calls,
            tokens = u.tokens + excluded.tokens,
            cost_usd = u.cost_usd + excluded.cost_usd
        """,
        date.fromisoformat(day),
        customer,
        endpoint,
        calls,
        tokens,
        Decimal(cost),
    )


async def subscribed(
    billing: Billing, customer: str, terms: Any = PER_CALL, *, plan: str = "basic", **more: Any
) -> None:
    """Put a customer on a plan of these terms since the beginning of 2026."""
    if not [p for p in await billing.plans() if p.name == plan]:
        await billing.add_plan(plan, terms, valid_from="2026-01-01")
    arguments: dict[str, Any] = {"starts_on": "2026-01-01", **more}
    await billing.subscribe(customer, plan, **arguments)
