"""Workflows and the watching of competitors."""

from __future__ import annotations

from sqlalchemy import (
    UUID,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from aegis.db.schema.types import TIMESTAMPTZ, metadata, serial_id, timestamp_now, uuid_id

__all__ = [
    "competitor_changes",
    "competitor_pages",
    "competitors",
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

competitors = Table(
    "competitors",
    metadata,
    serial_id(),
    Column("name", String(200), nullable=False),
    Column("domain", String(200), nullable=False),
    Column("category", String(100)),
    Column("last_checked_at", TIMESTAMPTZ),
    Column("enabled", Boolean, server_default=text("true")),
    timestamp_now("created_at"),
)

competitor_pages = Table(
    "competitor_pages",
    metadata,
    serial_id(),
    Column(
        "competitor_id",
        Integer,
        ForeignKey("competitors.id", name="competitor_pages_competitor_id_fkey"),
    ),
    Column("url", Text, nullable=False),
    Column("page_type", String(50)),
    Column("content_hash", String(64)),
    Column("screenshot_url", Text),
    Column("last_checked_at", TIMESTAMPTZ),
    timestamp_now("created_at"),
)

competitor_changes = Table(
    "competitor_changes",
    metadata,
    serial_id(),
    Column(
        "page_id",
        Integer,
        ForeignKey("competitor_pages.id", name="competitor_changes_page_id_fkey"),
    ),
    Column("change_type", String(50)),
    Column("old_value", Text),
    Column("new_value", Text),
    Column("diff", Text),
    timestamp_now("detected_at"),
)
