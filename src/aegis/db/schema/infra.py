"""What is unusual about containers."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, String, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from aegis.db.schema.types import TIMESTAMPTZ, bigserial_id, metadata, timestamp_now

__all__ = ["infra_anomaly_alerts"]

infra_anomaly_alerts = Table(
    "infra_anomaly_alerts",
    metadata,
    bigserial_id(),
    Column("host", String(200)),
    Column("container_name", String(100)),
    Column("metric", String(100), nullable=False),
    Column("kind", String(50), nullable=False),
    Column(
        "severity",
        String(20),
        nullable=False,
        server_default=text("'warning'::character varying"),
    ),
    Column("status", String(20), nullable=False, server_default=text("'open'::character varying")),
    Column("observed", Double),
    Column("expected", Double),
    Column("expected_low", Double),
    Column("expected_high", Double),
    Column("score", Double),
    Column("explanation", Text, nullable=False),
    Column("evidence", JSONB),
    Column("started_at", TIMESTAMPTZ, nullable=False),
    Column("ended_at", TIMESTAMPTZ),
    Column("acknowledged_at", TIMESTAMPTZ),
    timestamp_now("created_at", nullable=False),
    timestamp_now("updated_at", nullable=False),
    Column("incident", String(300)),
    Column("marked_false_at", TIMESTAMPTZ),
    Column("first_id", BigInteger),
    Index("uq_infra_anomaly_alerts_incident", "incident", unique=True),
    Index(
        "idx_infra_anomaly_alerts_false",
        "container_name",
        "metric",
        "marked_false_at",
        postgresql_where=text("marked_false_at IS NOT NULL"),
    ),
    Index("idx_infra_anomaly_alerts_started_at", text("started_at DESC")),
    Index("idx_infra_anomaly_alerts_status", "status", "container_name", "metric"),
)
