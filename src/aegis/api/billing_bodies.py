"""The bodies of requests about billing. Shapes only: what a value may be is the domain's to say."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

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


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    def given(self) -> dict[str, Any]:
        """Return the fields that the caller named."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class PlanBody(_Body):
    """A version of a plan."""

    name: str
    terms: dict[str, Any] = Field(description="flat_usd, minimum_usd, charges; amounts as text.")
    valid_from: str | None = Field(None, description="First day; today if left out.")


class SubscriptionBody(_Body):
    """A customer to put on a plan."""

    customer_id: str
    plan: str
    starts_on: str | None = Field(None, description="First day; today if left out.")
    ends_on: str | None = Field(None, description="First day without it.")
    proration: str = Field("daily", json_schema_extra={"enum": list(PRORATIONS)})


class EndBody(_Body):
    """When a subscription ends."""

    ends_on: str | None = Field(None, description="First day without it; today if left out.")


class AccountChanges(_Body):
    """Fields of a customer to set."""

    name: str | None = None
    email: str | None = None
    address: str | None = None
    stripe_mode: str = Field("none", json_schema_extra={"enum": list(STRIPE_MODES)})
    stripe_customer_id: str | None = None


class AccountSearch(_Body):
    """What customers are found by."""

    email: str
    limit: int = 50
    cursor: str | None = None


class RunBody(_Body):
    """A month to bill."""

    month: str = Field(description="Such as 2026-10.")
    dry_run: bool = Field(False, description="Only count.")
    finalize: bool = Field(False, description="Give the month's drafts their numbers, too.")


class CreditBody(_Body):
    """A credit; the same key gives it once."""

    customer_id: str
    amount_usd: str = Field(description='Such as "5.00".')
    reason: str
    key: str | None = None


class TakeBackBody(_Body):
    """A credit to take back; without an amount, all that is left of it."""

    amount_usd: str | None = None
    reason: str
    key: str | None = None
