"""Workflows and research jobs."""

from __future__ import annotations

from sqlalchemy import (
    UUID,
    Column,
    ForeignKey,
    Numeric,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from aegis.db.schema.types import TIMESTAMPTZ, metadata, timestamp_now, uuid_id

__all__ = [
    "deep_briefing_jobs",
    "workflow_executions",
    "workflows",
]

workflows = Table(
    "workflows",
    metadata,
    uuid_id(),
    Column("name", String(100), nullable=False),
    Column("graph", JSONB, nullable=False),
    Column("status", String(20), server_default=text("'active'::character varying")),
    timestamp_now("created_at"),
    timestamp_now("updated_at"),
)

workflow_executions = Table(
    "workflow_executions",
    metadata,
    uuid_id(),
    Column(
        "workflow_id",
        UUID,
        ForeignKey("workflows.id", name="workflow_executions_workflow_id_fkey"),
    ),
    Column("context", JSONB, nullable=False),
    Column("current_node", String(100)),
    Column("status", String(20), server_default=text("'running'::character varying")),
    Column("error", Text),
    timestamp_now("started_at"),
    Column("completed_at", TIMESTAMPTZ),
)

deep_briefing_jobs = Table(
    "deep_briefing_jobs",
    metadata,
    uuid_id(),
    Column("query", Text, nullable=False),
    Column("status", String(20), server_default=text("'pending'::character varying")),
    Column("result", JSONB),
    Column("provider", String(50)),
    Column("cost_usd", Numeric(10, 4)),
    timestamp_now("created_at"),
    Column("completed_at", TIMESTAMPTZ),
)
