"""The bodies of requests about keys. Shapes only: what a value may be is the domain's to say."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aegis.api.schemas import OptionalTime
from aegis.api.shapes import Body
from aegis.keys.models import ENVIRONMENTS, TIERS

__all__ = [
    "BindingBody",
    "CustomerChanges",
    "ExpiryBody",
    "GrantBody",
    "IssueBody",
    "KeyChanges",
    "LimitBody",
    "RotateBody",
    "TierChanges",
    "VerifyBody",
]


class LimitBody(Body):
    """A limit that a call names."""

    name: str
    limit: int = Field(description="Units in the window.")
    window_s: int = Field(description="Seconds.")
    cost: int | None = Field(None, description="Units of this call; its cost if left out.")
    shared: bool = Field(False, description="Of all keys of the customer together.")


class VerifyBody(Body):
    """A call with a key, to be decided about."""

    key: str = Field(description="The key as the caller sent it.")
    scope: str | None = Field(None, description="What the call needs, such as reports:read.")
    cost: int = Field(1, description="What it takes of the rate limit and the quota.")
    limits: list[LimitBody] = Field(default=[], description="Further limits: all or nothing.")


class BindingBody(Body):
    """A namespace of memory that a key is bound to."""

    namespace: str
    write: bool = Field(True, description="Whether the key may change what is there.")


class IssueBody(Body):
    """A key to issue."""

    customer_id: str
    name: str | None = None
    environment: str = Field("live", json_schema_extra={"enum": list(ENVIRONMENTS)})
    tier: str = Field("free", json_schema_extra={"enum": list(TIERS)})
    scopes: list[str] = []  # noqa: RUF012 (pydantic copies it)
    rate_limit: int | None = Field(None, description="Calls a minute; the tier's if left out.")
    monthly_quota: int | None = Field(None, description="Calls a month; the tier's if left out.")
    limits: dict[str, Any] | None = None
    namespaces: list[BindingBody] | None = Field(
        None, description="Bound to these, the default one first; to none if left out."
    )
    expires_at: OptionalTime = None

    def given(self) -> dict[str, Any]:
        """Return the fields that the caller named."""
        return _with_namespaces(super().given())


class KeyChanges(Body):
    """Fields of a key to change; null gives a limit back to the tier."""

    name: str | None = None
    tier: str = Field("free", json_schema_extra={"enum": list(TIERS)})
    scopes: list[str] = []  # noqa: RUF012 (pydantic copies it)
    rate_limit: int | None = None
    monthly_quota: int | None = None
    limits: dict[str, Any] | None = None
    namespaces: list[BindingBody] | None = Field(
        None, description="All of them, the default one first; null lets the key into any."
    )

    def given(self) -> dict[str, Any]:
        """Return the fields that the caller named."""
        return _with_namespaces(super().given())


class CustomerChanges(Body):
    """Limits that all keys of a customer share, to change; null takes one away."""

    rate_limit: int | None = Field(None, description="Calls a minute.")
    monthly_quota: int | None = Field(None, description="Calls a month; never exceeded.")
    limits: dict[str, Any] | None = None


class ExpiryBody(Body):
    """When a key ends; null for never."""

    expires_at: OptionalTime


class RotateBody(Body):
    """How long the old key works beside the new one."""

    grace_s: int = 86_400


class GrantBody(Body):
    """A top-up of this month's quota."""

    amount: int
    note: str | None = None


class TierChanges(Body):
    """Fields of a tier to change; a monthly_quota of null is any number of calls."""

    rate_limit: int = 60
    monthly_quota: int | None = None
    price_usd: str = "0"
    overage_allowed: bool = False
    rollover_limit: int = 0


def _with_namespaces(given: dict[str, Any]) -> dict[str, Any]:
    if given.get("namespaces") is not None:
        given["namespaces"] = [
            {"namespace": one.namespace, "write": one.write} for one in given["namespaces"]
        ]
    return given
