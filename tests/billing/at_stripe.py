"""Billing that is told to a Stripe of the test's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aegis.billing import Billing
from tests.statements import rows

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database
    from tests.billing.fake_stripe import Stripe


def at_stripe(db: Database, settings: Settings, stripe: Stripe, **more: Any) -> Billing:
    chosen = replace(
        settings, stripe_api_key="sk_test_right", stripe_api_base=stripe.url,
        stripe_meters="calls=api_calls,tokens=api_tokens", **more,
    )  # fmt: skip
    made = Billing(db, chosen)
    # Long enough for an answer on a busy machine, and soon over where none comes.
    made.stripe.timeout_s = 5.0
    return made


async def sync_all(billing: Billing, db: Database, rounds: int = 30) -> None:
    """Sync until nothing waits; pauses are cut short."""
    for _ in range(rounds):
        done = await billing.stripe.sync()
        if not done.waiting:
            return
        await rows(db, "UPDATE billing_stripe_outbox SET next_at = now() WHERE state = 'pending'")
    raise AssertionError(await billing.stripe.rows(state="pending"))
