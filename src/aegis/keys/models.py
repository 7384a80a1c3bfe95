"""Keys as values. Field = column; no value here but `IssuedKey` ever holds a key itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal

__all__ = [
    "CODES",
    "CUSTOMER_LEDGER_KINDS",
    "CUSTOMER_LIMIT",
    "CUSTOMER_MONTH",
    "ENVIRONMENTS",
    "LEDGER_KINDS",
    "MONTH",
    "RATE_LIMIT",
    "TIERS",
    "ApiKey",
    "Balance",
    "Binding",
    "Code",
    "Customer",
    "CustomerEntry",
    "CustomerLedgerKind",
    "Environment",
    "IssuedKey",
    "LedgerEntry",
    "LedgerKind",
    "Limit",
    "LimitState",
    "QuotaState",
    "SecretInUse",
    "Tier",
    "TierName",
    "Verification",
]

Environment = Literal["live", "test"]
TierName = Literal["free", "developer", "pro", "enterprise"]
#: What verification says, in the order in which it asks.
Code = Literal[
    "VALID", "NOT_FOUND", "DISABLED", "EXPIRED", "FORBIDDEN", "QUOTA_EXCEEDED", "RATE_LIMITED"
]
LedgerKind = Literal["grant", "rollover", "topup", "adjust", "overage", "usage", "reset"]
CustomerLedgerKind = Literal["grant", "topup", "adjust", "usage", "reset"]

ENVIRONMENTS: Final[tuple[Environment, ...]] = ("live", "test")
TIERS: Final[tuple[TierName, ...]] = ("free", "developer", "pro", "enterprise")
CODES: Final[tuple[Code, ...]] = (
    "VALID", "NOT_FOUND", "DISABLED", "EXPIRED", "FORBIDDEN", "QUOTA_EXCEEDED", "RATE_LIMITED"
)  # fmt: skip
LEDGER_KINDS: Final[tuple[LedgerKind, ...]] = (
    "grant", "rollover", "topup", "adjust", "overage", "usage", "reset"
)  # fmt: skip
CUSTOMER_LEDGER_KINDS: Final[tuple[CustomerLedgerKind, ...]] = (
    "grant", "topup", "adjust", "usage", "reset"
)  # fmt: skip

#: Name of the limit that every key has: calls a minute.
RATE_LIMIT: Final = "requests"
#: The same of all keys of a customer together, where the customer has one.
CUSTOMER_LIMIT: Final = "customer"
#: What headers and problems call the quota of a key, and that of a customer.
MONTH: Final = "month"
CUSTOMER_MONTH: Final = "customer-month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A namespace of memory that a key is bound to."""

    namespace: str
    #: Whether the key may change what is there; otherwise it reads.
    write: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as its owner may see it."""

    id: str
    customer_id: str
    #: First characters, to recognise it by.
    key_prefix: str
    environment: Environment
    name: str | None
    #: As stored; a tier that is not known counts as `free`.
    tier: str | None
    scopes: list[str]
    #: Of its own; None for the tier's.
    rate_limit: int | None
    monthly_quota: int | None
    #: Own limits for limits that calls name: `{"tokens": {"limit": 1000, "window_s": 60}}`.
    limits: Mapping[str, Any] | None
    #: Namespaces of memory it is bound to, the default one first; None for any.
    namespaces: Sequence[Binding] | None
    #: What holds: its own, or the tier's. Calls a minute.
    effective_rate_limit: int
    #: Calls a calendar month; None for any number.
    effective_monthly_quota: int | None
    enabled: bool
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime | None
    #: Behind by up to a minute.
    last_used_at: datetime | None
    #: Until when the key as it was before the last rotation still works; None if it does not.
    old_key_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A key at the one moment when it can be seen."""

    #: The key itself. It is stored nowhere: hand it over, and forget it.
    key: str = field(repr=False)
    record: ApiKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """What a tier allows and costs."""

    name: TierName
    #: Calls a minute.
    rate_limit: int
    #: Calls a calendar month (UTC); None for any number.
    monthly_quota: int | None
    #: A month.
    price_usd: Decimal
    #: Whether calls above the quota are accepted, and counted as overage.
    overage_allowed: bool
    #: How much unused quota at most is carried into the next month.
    rollover_limit: int
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit that a call names: so many units in so many seconds."""

    name: str
    limit: int
    window_s: int
    #: Units that the call takes of it; None for the cost of the call.
    cost: int | None = None
    #: Whether all keys of the customer share it; otherwise each has its own.
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """A limit after a call, or as it stood where the call was refused."""

    name: str
    limit: int
    window_s: int
    #: Whole units that could be taken now.
    remaining: int
    #: Seconds until all of it is there again.
    reset_s: float
    #: Seconds until the refused call would be accepted; None if it was not this limit that refused
    #: it, or if it never will be.
    retry_after_s: float | None = None
    #: Whether this limit refused the call.
    exceeded: bool = False
    #: Whether all keys of the customer share it.
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaState:
    """The quota of this calendar month after a call."""

    #: First day of the month.
    period: date
    #: Granted, rolled over and topped up.
    limit: int
    remaining: int
    #: Accepted above the limit.
    overage: int
    resets_at: datetime
    #: Seconds until then.
    reset_s: float
    #: Whether it refused the call.
    exceeded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What became of one call."""

    valid: bool
    code: Code
    #: None where the key is not known.
    key_id: str | None = None
    customer_id: str | None = None
    environment: Environment | None = None
    name: str | None = None
    tier: str | None = None
    scopes: Sequence[str] = ()
    expires_at: datetime | None = None
    limits: Sequence[LimitState] = ()
    #: None for a key without a quota, and where the call was refused before it was looked at.
    quota: QuotaState | None = None
    #: The quota that all keys of the customer share; None where there is none.
    customer_quota: QuotaState | None = None
    #: Namespaces of memory that the key is bound to, the default one first; None for any.
    namespaces: Sequence[Binding] | None = None
    #: Seconds until the same call may be accepted; None if waiting does not help.
    retry_after_s: float | None = None
    #: False where the database was down and AEGIS_KEYS_WHEN_DOWN=open let the call pass.
    checked: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """The quota of a key in one month."""

    key_id: str
    period: date
    #: What the month began with and got; None for a key without a quota.
    granted: int | None
    used: int
    overage: int
    #: None for a key without a quota.
    remaining: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One entry of the ledger."""

    id: int
    period: date
    kind: LedgerKind
    amount: int
    note: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """What all keys of a customer share: their limits, and the quota of this month."""

    customer_id: str
    #: Calls a minute, of all keys together; None for any number.
    rate_limit: int | None
    #: Calls a calendar month (UTC), of all keys together; None for any number. Never exceeded.
    monthly_quota: int | None
    #: Shared limits for limits that calls name: `{"tokens": {"limit": 1000, "window_s": 60}}`.
    limits: Mapping[str, Any] | None
    keys: int
    period: date
    #: What the month began with and got; None without a quota.
    granted: int | None
    used: int
    #: None without a quota.
    remaining: int | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerEntry:
    """One entry of a customer's ledger."""

    id: int
    period: date
    kind: CustomerLedgerKind
    amount: int
    note: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretInUse:
    """A server secret that keys of this database are hashed with."""

    #: Its fingerprint; `sha256` for keys from before there was one.
    id: str
    keys: int
    #: Whether this process has it.
    known: bool
    #: Whether new keys are hashed with it.
    current: bool
