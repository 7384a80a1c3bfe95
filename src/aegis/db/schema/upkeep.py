"""What consolidation proposes and the audit puts aside."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from aegis.db.schema.types import TIMESTAMPTZ, bigserial_id, metadata, timestamp_now

__all__ = ["memory_consolidation", "memory_proposals", "memory_quarantine"]

memory_proposals = Table(
    "memory_proposals",
    metadata,
    bigserial_id(),
    Column("namespace", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("concept", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("sources", ARRAY(Integer), nullable=False),
    Column("seen", Integer, nullable=False),
    Column("first_at", TIMESTAMPTZ, nullable=False),
    Column("last_at", TIMESTAMPTZ, nullable=False),
    Column("score", Double, nullable=False),
    Column("method", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'proposed'::text")),
    Column("fact_id", Integer),
    Column("steps", ARRAY(BigInteger), nullable=False, server_default=text("'{}'::bigint[]")),
    timestamp_now("created_at", nullable=False),
    Column("decided_at", TIMESTAMPTZ),
    Column("decided_by", Text),
    CheckConstraint(
        "kind IN ('fact', 'preference', 'pattern', 'remedy')", name="ck_memory_proposals_kind"
    ),
    CheckConstraint("method IN ('extractive', 'model')", name="ck_memory_proposals_method"),
    CheckConstraint(
        "state IN ('proposed', 'accepted', 'rejected', 'undone')", name="ck_memory_proposals_state"
    ),
    CheckConstraint("score >= 0 AND score <= 1", name="ck_memory_proposals_score"),
    Index("uq_memory_proposals_digest", "namespace", "kind", "digest", unique=True),
    Index("idx_memory_proposals_state", "namespace", "state", "id"),
    Index("idx_memory_proposals_sources", "sources", postgresql_using="gin"),
)

memory_consolidation = Table(
    "memory_consolidation",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("done_to", Integer, nullable=False),
    Column("finished_at", TIMESTAMPTZ),
)

memory_quarantine = Table(
    "memory_quarantine",
    metadata,
    bigserial_id(),
    Column("namespace", Text, nullable=False),
    Column("source_table", Text, nullable=False),
    Column("source_row_id", Integer, nullable=False),
    Column("action", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("content", JSONB, nullable=False),
    Column("links", JSONB),
    timestamp_now("created_at", nullable=False),
    CheckConstraint(
        "source_table IN ('decision_outcomes', 'episodic_memory', 'semantic_memory')",
        name="ck_memory_quarantine_source_table",
    ),
    CheckConstraint("action IN ('deleted', 'changed')", name="ck_memory_quarantine_action"),
    Index("idx_memory_quarantine_namespace", "namespace", "id"),
    Index("idx_memory_quarantine_row", "source_table", "source_row_id"),
)
