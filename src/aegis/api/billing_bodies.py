"""The bodies of requests about billing. Shapes only: what a value may be is the domain's to say."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aegis.api.shapes import Body
from aegis.billing.models import PRORATIONS, STRIPE_MODES

__all__ = [
    "AccountChanges",
    "AccountSearch",
    "CreditBody",
    "EndBody",
    "PlanBody",
    "RunBody",
    "SubscriptionBody",
    "TakeBackBody",
]


class PlanBody(Body):
    """A version of a plan."""

    name: str
    terms: dict[str, Any] = Field(description="flat_usd, minimum_usd, charges; amounts as text.")
    valid_from: str | None = Field(None, description="First day; today if left out.")


class SubscriptionBody(Body):
    """A customer to put on a plan."""

    customer_id: str
    plan: str
    starts_on: str | None = Field(None, description="First day; today if left out.")
    ends_on: str | None = Field(None, description="First day without it.")
    proration: str = Field("daily", json_schema_extra={"enum": list(PRORATIONS)})


class EndBody(Body):
    """When a subscription ends."""

    ends_on: str | None = Field(None, description="First day without it; today if left out.")


class AccountChanges(Body):
    """Fields of a customer to set."""

    name: str | None = None
    email: str | None = None
    address: str | None = None
    stripe_mode: str = Field("none", json_schema_extra={"enum": list(STRIPE_MODES)})
    stripe_customer_id: str | None = None


class AccountSearch(Body):
    """What customers are found by."""

    email: str
    limit: int = 50
    cursor: str | None = None


class RunBody(Body):
    """A month to bill."""

    month: str = Field(description="Such as 2026-10.")
    dry_run: bool = Field(False, description="Only count.")
    finalize: bool = Field(False, description="Give the month's drafts their numbers, too.")


class CreditBody(Body):
    """A credit; the same key gives it once."""

    customer_id: str
    amount_usd: str = Field(description='Such as "5.00".')
    reason: str
    key: str | None = None


class TakeBackBody(Body):
    """A credit to take back; without an amount, all that is left of it."""

    amount_usd: str | None = None
    reason: str
    key: str | None = None
