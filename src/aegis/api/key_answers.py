"""The answers about keys, as OpenAPI describes them. A test holds them against the models."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from aegis.api.shapes import Answer
from aegis.keys.models import Code, CustomerLedgerKind, Environment, LedgerKind, TierName

__all__ = [
    "ApiKey",
    "Balance",
    "Binding",
    "Customer",
    "CustomerEntry",
    "CustomerLedgerPage",
    "CustomerPage",
    "IssuedKey",
    "KeyPage",
    "LedgerEntry",
    "LedgerPage",
    "LimitState",
    "QuotaState",
    "Tier",
    "Tiers",
    "Verification",
]


class Binding(Answer):
    """A namespace of memory that a key is bound to."""

    namespace: str
    write: bool


class ApiKey(Answer):
    """A key, without the key itself."""

    id: str
    customer_id: str
    key_prefix: str
    environment: Environment
    name: str | None
    tier: str | None
    scopes: list[str]
    rate_limit: int | None
    monthly_quota: int | None
    limits: dict[str, Any] | None
    namespaces: list[Binding] | None
    effective_rate_limit: int
    effective_monthly_quota: int | None
    enabled: bool
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime | None
    last_used_at: datetime | None
    old_key_until: datetime | None


class KeyPage(Answer):
    """A page of keys, newest first."""

    items: list[ApiKey]
    next_cursor: str | None


class IssuedKey(Answer):
    """A key at the one moment when it can be seen."""

    key: str
    record: ApiKey


class LimitState(Answer):
    """A limit after a call."""

    name: str
    limit: int
    window_s: int
    remaining: int
    reset_s: float
    retry_after_s: float | None
    exceeded: bool
    shared: bool


class QuotaState(Answer):
    """The quota of the month after a call."""

    period: date
    limit: int
    remaining: int
    overage: int
    resets_at: datetime
    reset_s: float
    exceeded: bool


class Verification(Answer):
    """What became of one call; `code` says why where it is not valid."""

    valid: bool
    code: Code
    key_id: str | None
    customer_id: str | None
    environment: Environment | None
    name: str | None
    tier: str | None
    scopes: list[str]
    expires_at: datetime | None
    limits: list[LimitState]
    quota: QuotaState | None
    customer_quota: QuotaState | None
    namespaces: list[Binding] | None
    retry_after_s: float | None
    checked: bool


class Balance(Answer):
    """The quota of a key in this month."""

    key_id: str
    period: date
    granted: int | None
    used: int
    overage: int
    remaining: int | None


class LedgerEntry(Answer):
    """One entry of the ledger."""

    id: int
    period: date
    kind: LedgerKind
    amount: int
    note: str | None
    created_at: datetime


class LedgerPage(Answer):
    """A page of a key's ledger, newest first."""

    items: list[LedgerEntry]
    next_cursor: str | None


class Customer(Answer):
    """What all keys of a customer share."""

    customer_id: str
    rate_limit: int | None
    monthly_quota: int | None
    limits: dict[str, Any] | None
    keys: int
    period: date
    granted: int | None
    used: int
    remaining: int | None
    updated_at: datetime | None


class CustomerPage(Answer):
    """A page of customers, by name."""

    items: list[Customer]
    next_cursor: str | None


class CustomerEntry(Answer):
    """One entry of a customer's ledger."""

    id: int
    period: date
    kind: CustomerLedgerKind
    amount: int
    note: str | None
    created_at: datetime


class CustomerLedgerPage(Answer):
    """A page of a customer's ledger, newest first."""

    items: list[CustomerEntry]
    next_cursor: str | None


class Tier(Answer):
    """What a tier allows and costs."""

    name: TierName
    rate_limit: int
    monthly_quota: int | None
    #: US dollars, exact: "29.00".
    price_usd: str
    overage_allowed: bool
    rollover_limit: int
    updated_at: datetime


class Tiers(Answer):
    """All tiers, the smallest first."""

    items: list[Tier]
