"""What keys may do and have done: tiers, meters, the ledger of quota."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    UUID,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from aegis.db.schema.types import TIMESTAMPTZ, bigserial_id, metadata, timestamp_now

__all__ = [
    "api_customer_ledger",
    "api_customer_limits",
    "api_customers",
    "api_key_limits",
    "api_key_meters",
    "api_key_old_hashes",
    "api_key_secrets",
    "api_quota_ledger",
    "api_tiers",
]


def _key(table: str, *, cascade: bool = True) -> Column[Any]:
    return Column(
        "api_key_id",
        UUID,
        ForeignKey(
            "api_keys.id",
            name=f"{table}_api_key_id_fkey",
            ondelete="CASCADE" if cascade else None,
        ),
        nullable=False,
    )


def _count(name: str) -> Column[Any]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


api_tiers = Table(
    "api_tiers",
    metadata,
    Column("name", String(50), nullable=False),
    Column("rate_limit", Integer, nullable=False),
    Column("monthly_quota", Integer),
    Column("price_usd", Numeric(10, 2), nullable=False),
    Column("overage_allowed", Boolean, nullable=False, server_default=text("false")),
    Column("rollover_limit", Integer, nullable=False, server_default=text("0")),
    timestamp_now("updated_at", nullable=False),
    PrimaryKeyConstraint("name", name="api_tiers_pkey"),
    # The cast keeps a dump's spelling of it the same.
    CheckConstraint(
        "name::text IN ('free', 'developer', 'pro', 'enterprise')", name="ck_api_tiers_name"
    ),
    CheckConstraint(
        "rate_limit > 0 AND monthly_quota >= 0 AND price_usd >= 0 AND rollover_limit >= 0",
        name="ck_api_tiers_amounts",
    ),
)

api_key_meters = Table(
    "api_key_meters",
    metadata,
    _key("api_key_meters"),
    _count("rate_at"),
    _count("rate_backlog"),
    Column("period", Date),
    _count("granted"),
    _count("used"),
    _count("overage"),
    PrimaryKeyConstraint("api_key_id", name="api_key_meters_pkey"),
    CheckConstraint("used <= granted + overage", name="ck_api_key_meters_balance"),
)

api_key_limits = Table(
    "api_key_limits",
    metadata,
    _key("api_key_limits"),
    Column("name", Text, nullable=False),
    Column("counted_at", BigInteger, nullable=False),
    Column("backlog", BigInteger, nullable=False),
    Column("window_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("api_key_id", "name", name="api_key_limits_pkey"),
)

api_key_old_hashes = Table(
    "api_key_old_hashes",
    metadata,
    Column("key_hash", Text, nullable=False),
    _key("api_key_old_hashes"),
    Column("valid_until", TIMESTAMPTZ, nullable=False),
    PrimaryKeyConstraint("key_hash", name="api_key_old_hashes_pkey"),
    Index("idx_api_key_old_hashes_api_key_id", "api_key_id"),
)

api_key_secrets = Table(
    "api_key_secrets",
    metadata,
    Column("id", Text, nullable=False),
    timestamp_now("created_at", nullable=False),
    PrimaryKeyConstraint("id", name="api_key_secrets_pkey"),
)

api_quota_ledger = Table(
    "api_quota_ledger",
    metadata,
    bigserial_id(),
    _key("api_quota_ledger", cascade=False),
    Column("period", Date, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("note", Text),
    timestamp_now("created_at", nullable=False),
    CheckConstraint(
        "kind IN ('grant', 'rollover', 'topup', 'adjust', 'overage', 'usage', 'reset')",
        name="ck_api_quota_ledger_kind",
    ),
    CheckConstraint(
        "CASE WHEN kind = 'adjust' THEN TRUE WHEN kind IN ('usage', 'reset') THEN amount <= 0 "
        "ELSE amount >= 0 END",
        name="ck_api_quota_ledger_amount",
    ),
    Index("idx_api_quota_ledger_key", "api_key_id", "period", "id"),
    Index(
        "uq_api_quota_ledger_once",
        "api_key_id",
        "period",
        "kind",
        unique=True,
        postgresql_where=text("kind IN ('grant', 'rollover', 'overage', 'usage', 'reset')"),
    ),
)

api_customers = Table(
    "api_customers",
    metadata,
    Column("customer_id", String(100), nullable=False),
    Column("rate_limit", Integer),
    Column("monthly_quota", Integer),
    Column("limits", JSONB),
    _count("rate_at"),
    _count("rate_backlog"),
    Column("period", Date),
    _count("granted"),
    _count("used"),
    timestamp_now("updated_at", nullable=False),
    PrimaryKeyConstraint("customer_id", name="api_customers_pkey"),
    CheckConstraint("rate_limit > 0 AND monthly_quota >= 0", name="ck_api_customers_amounts"),
    CheckConstraint("used <= granted", name="ck_api_customers_balance"),
)


def _customer(table: str, *, cascade: bool = True) -> Column[Any]:
    return Column(
        "customer_id",
        String(100),
        ForeignKey(
            "api_customers.customer_id",
            name=f"{table}_customer_id_fkey",
            ondelete="CASCADE" if cascade else None,
        ),
        nullable=False,
    )


api_customer_limits = Table(
    "api_customer_limits",
    metadata,
    _customer("api_customer_limits"),
    Column("name", Text, nullable=False),
    Column("counted_at", BigInteger, nullable=False),
    Column("backlog", BigInteger, nullable=False),
    Column("window_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("customer_id", "name", name="api_customer_limits_pkey"),
)

api_customer_ledger = Table(
    "api_customer_ledger",
    metadata,
    bigserial_id(),
    _customer("api_customer_ledger", cascade=False),
    Column("period", Date, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("note", Text),
    timestamp_now("created_at", nullable=False),
    CheckConstraint(
        "kind IN ('grant', 'topup', 'adjust', 'usage', 'reset')", name="ck_api_customer_ledger_kind"
    ),
    CheckConstraint(
        "CASE WHEN kind = 'adjust' THEN TRUE WHEN kind IN ('usage', 'reset') THEN amount <= 0 "
        "ELSE amount >= 0 END",
        name="ck_api_customer_ledger_amount",
    ),
    Index("idx_api_customer_ledger", "customer_id", "period", "id"),
    Index(
        "uq_api_customer_ledger_once",
        "customer_id",
        "period",
        "kind",
        unique=True,
        postgresql_where=text("kind IN ('grant', 'usage', 'reset')"),
    ),
)
