"""Container metrics by day, their roll-ups, and how far these have come."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from aegis.db.schema.types import TIMESTAMPTZ, metadata, timestamp_now

__all__ = [
    "container_metrics",
    "container_metrics_1h",
    "container_metrics_1m",
    "container_metrics_5m",
    "container_metrics_15m",
    "container_starts",
    "metric_collectors",
    "metric_late_hours",
    "metric_rollups",
]

container_metrics = Table(
    "container_metrics",
    metadata,
    # A partitioned table has no key without its partition column, and that may be NULL.
    Column(
        "id",
        BigInteger,
        nullable=False,
        server_default=text("nextval('container_metrics_id_seq'::regclass)"),
    ),
    Column("container_name", String(100), nullable=False),
    Column("cpu_percent", Double),
    Column("mem_usage_mb", Double),
    Column("mem_percent", Double),
    Column("net_io_mb", Double),
    Column("block_io_mb", Double),
    timestamp_now("timestamp"),
    Column("disk_percent", Double),
    Index("uq_container_metrics_id", "id", "timestamp", unique=True),
    Index("idx_container_metrics_name_timestamp", "container_name", text("timestamp DESC")),
    Index(
        "idx_container_metrics_timestamp",
        "timestamp",
        postgresql_using="brin",
        postgresql_with={"pages_per_range": "16"},
    ),
    postgresql_partition_by="RANGE (timestamp)",
)


def _rollup(name: str, *more: Any, **options: Any) -> Table:
    return Table(
        name,
        metadata,
        Column("container_name", String(100), nullable=False),
        Column("bucket", TIMESTAMPTZ, nullable=False),
        Column("samples", Integer, nullable=False),
        Column("cpu_percent_avg", Double),
        Column("cpu_percent_max", Double),
        Column("mem_usage_mb_avg", Double),
        Column("mem_usage_mb_max", Double),
        Column("mem_percent_avg", Double),
        Column("mem_percent_max", Double),
        Column("net_io_mb", Double),
        Column("block_io_mb", Double),
        Column("disk_percent_avg", Double),
        Column("disk_percent_max", Double),
        *more,
        **options,
    )


container_metrics_1m = _rollup(
    "container_metrics_1m",
    Index("uq_container_metrics_1m_bucket", "container_name", "bucket", unique=True),
    postgresql_partition_by="RANGE (bucket)",
)
container_metrics_5m = _rollup(
    "container_metrics_5m",
    PrimaryKeyConstraint("container_name", "bucket", name="container_metrics_5m_pkey"),
    Index("idx_container_metrics_5m_bucket", "bucket"),
)
container_metrics_15m = _rollup(
    "container_metrics_15m",
    PrimaryKeyConstraint("container_name", "bucket", name="container_metrics_15m_pkey"),
    Index("idx_container_metrics_15m_bucket", "bucket"),
)
container_metrics_1h = _rollup(
    "container_metrics_1h",
    PrimaryKeyConstraint("container_name", "bucket", name="container_metrics_1h_pkey"),
    Index("idx_container_metrics_1h_bucket", "bucket"),
)

container_starts = Table(
    "container_starts",
    metadata,
    Column("container_name", String(100), nullable=False),
    Column("started_at", TIMESTAMPTZ, nullable=False),
    Column("starts", Integer, nullable=False, server_default=text("1")),
    timestamp_now("noted_at", nullable=False),
    PrimaryKeyConstraint("container_name", "started_at", name="container_starts_pkey"),
    CheckConstraint("starts >= 1", name="ck_container_starts_starts"),
    Index("idx_container_starts_started_at", "started_at"),
)

metric_collectors = Table(
    "metric_collectors",
    metadata,
    Column("host", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("lease_until", TIMESTAMPTZ, nullable=False),
    PrimaryKeyConstraint("host", name="metric_collectors_pkey"),
)

metric_rollups = Table(
    "metric_rollups",
    metadata,
    Column("id", Integer, nullable=False, server_default=text("1"), autoincrement=False),
    Column("done_until", TIMESTAMPTZ),
    PrimaryKeyConstraint("id", name="metric_rollups_pkey"),
    CheckConstraint("id = 1", name="ck_metric_rollups_one"),
)

metric_late_hours = Table(
    "metric_late_hours",
    metadata,
    Column("hour", TIMESTAMPTZ, nullable=False),
    timestamp_now("noted_at", nullable=False),
    PrimaryKeyConstraint("hour", name="metric_late_hours_pkey"),
)
