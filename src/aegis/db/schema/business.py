"""Keys, usage and charges of customers."""

from __future__ import annotations

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
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from aegis.db.schema.types import TIMESTAMPTZ, bigserial_id, metadata, timestamp_now, uuid_id

__all__ = ["api_keys", "api_usage_events", "billing_events"]

api_keys = Table(
    "api_keys",
    metadata,
    uuid_id(),
    Column("customer_id", String(100), nullable=False),
    Column("key_hash", Text, nullable=False),
    Column("key_prefix", String(20), nullable=False),
    Column("name", String(200)),
    Column("tier", String(50), server_default=text("'free'::character varying")),
    Column("rate_limit", Integer, server_default=text("60")),
    Column("monthly_quota", Integer, server_default=text("1000")),
    Column("enabled", Boolean, server_default=text("true")),
    Column("expires_at", TIMESTAMPTZ),
    timestamp_now("created_at"),
    Column("last_used_at", TIMESTAMPTZ),
    Column("scopes", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("limits", JSONB),
    Column("revoked_at", TIMESTAMPTZ),
    Column("namespaces", JSONB),
    CheckConstraint(
        "jsonb_typeof(namespaces) = 'array' AND namespaces <> '[]'", name="ck_api_keys_namespaces"
    ),
    UniqueConstraint("key_hash", name="api_keys_key_hash_key"),
    Index("idx_api_keys_customer_id", "customer_id"),
    Index("idx_api_keys_enabled", "enabled"),
    Index(
        "idx_api_keys_old_form",
        "id",
        postgresql_where=text("key_hash !~~ 'hmac-sha256:%'::text"),
    ),
)

api_usage_events = Table(
    "api_usage_events",
    metadata,
    Column(
        "id",
        BigInteger,
        nullable=False,
        server_default=text("nextval('api_usage_events_id_seq'::regclass)"),
    ),
    Column("api_key_id", UUID, ForeignKey("api_keys.id", name="api_usage_events_api_key_id_fkey")),
    Column("customer_id", String(100), nullable=False),
    Column("endpoint", String(200), nullable=False),
    Column("method", String(10), nullable=False),
    Column("status_code", Integer, nullable=False),
    Column("response_time_ms", Integer),
    Column("tokens_used", Integer, server_default=text("0")),
    Column("cost_usd", Numeric(10, 6), server_default=text("0")),
    timestamp_now("created_at", nullable=False),
    Column("event_id", String(200)),
    timestamp_now("recorded_at"),
    Column("source", String(50)),
    Index("uq_api_usage_events_id", "id", "created_at", unique=True),
    Index("idx_api_usage_events_api_key_id", "api_key_id"),
    Index("idx_api_usage_events_customer_id", "customer_id"),
    Index("idx_api_usage_events_created_at", text("created_at DESC")),
    postgresql_partition_by="RANGE (created_at)",
)

billing_events = Table(
    "billing_events",
    metadata,
    bigserial_id(),
    Column("customer_id", String(100), nullable=False),
    Column("event_type", String(50), nullable=False),
    Column("amount_usd", Numeric(10, 2), nullable=False),
    Column("currency", String(3), server_default=text("'USD'::character varying")),
    Column("description", Text),
    Column("metadata", JSONB),
    Column("stripe_invoice_id", String(100)),
    timestamp_now("created_at"),
    Column("period", Date),
    Column("line", Text),
    Column("quantity", Numeric(30, 6)),
    Column("entry_key", Text),
    Index(
        "uq_billing_events_entry_key",
        "customer_id",
        "entry_key",
        unique=True,
        postgresql_where=text("entry_key IS NOT NULL"),
    ),
    Index("idx_billing_events_customer", "customer_id", "period"),
)
