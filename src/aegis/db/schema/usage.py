"""What is kept about usage beside its events: sums, senders' ids, exported months."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    UUID,
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from aegis.db.schema.types import TIMESTAMPTZ, metadata, timestamp_now

__all__ = ["usage_archives", "usage_daily", "usage_event_ids", "usage_hourly"]


def _sums(name: str, time: str, type_: Any) -> list[Any]:
    return [
        Column(time, type_, nullable=False),
        Column("customer_id", String(100), nullable=False),
        Column("api_key_id", UUID),
        Column("endpoint", String(200), nullable=False),
        Column("method", String(10), nullable=False),
        Column("calls", BigInteger, nullable=False, server_default=text("0")),
        Column("errors", BigInteger, nullable=False, server_default=text("0")),
        Column("tokens", BigInteger, nullable=False, server_default=text("0")),
        Column("cost_usd", Numeric(20, 6), nullable=False, server_default=text("0")),
        Column("response_ms_sum", BigInteger, nullable=False, server_default=text("0")),
        Column(
            "response_histogram",
            ARRAY(Integer),
            nullable=False,
            server_default=text("'{}'::integer[]"),
        ),
        UniqueConstraint(
            "customer_id",
            time,
            "api_key_id",
            "endpoint",
            "method",
            name=f"uq_{name}",
            postgresql_nulls_not_distinct=True,
        ),
        Index(f"idx_{name}_{time}", time),
    ]


usage_hourly = Table("usage_hourly", metadata, *_sums("usage_hourly", "hour", TIMESTAMPTZ))

usage_daily = Table("usage_daily", metadata, *_sums("usage_daily", "day", Date))

usage_event_ids = Table(
    "usage_event_ids",
    metadata,
    Column("customer_id", String(100), nullable=False),
    Column("event_id", String(200), nullable=False),
    Column("created_at", TIMESTAMPTZ, nullable=False),
    timestamp_now("recorded_at", nullable=False),
    PrimaryKeyConstraint("customer_id", "event_id", name="usage_event_ids_pkey"),
    Index("idx_usage_event_ids_recorded_at", "recorded_at", postgresql_using="brin"),
)

usage_archives = Table(
    "usage_archives",
    metadata,
    Column("month", Date, nullable=False),
    Column("state", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("digest", Text, nullable=False),
    timestamp_now("exported_at", nullable=False),
    Column("dropped_at", TIMESTAMPTZ),
    PrimaryKeyConstraint("month", "path", name="usage_archives_pkey"),
    CheckConstraint(
        "state = ANY (ARRAY['exported'::text, 'dropped'::text])", name="ck_usage_archives_state"
    ),
    CheckConstraint(
        "(state = 'dropped'::text) = (dropped_at IS NOT NULL)", name="ck_usage_archives_dropped"
    ),
)
