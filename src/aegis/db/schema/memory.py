"""What happened, what is known, what was decided."""

from __future__ import annotations

from sqlalchemy import Column, Double, ForeignKey, Index, Integer, String, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, ENUM, JSONB

from aegis.db.schema.types import TIMESTAMPTZ, Vector, metadata, serial_id, timestamp_now

__all__ = ["decision_outcomes", "episodic_memory", "semantic_memory"]

memory_importance = ENUM("low", "medium", "high", "critical", name="memory_importance")

episodic_memory = Table(
    "episodic_memory",
    metadata,
    serial_id(),
    timestamp_now("timestamp"),
    Column("event_type", String(100), nullable=False),
    Column("summary", Text, nullable=False),
    Column("details", JSONB),
    Column("context", JSONB),
    Column("importance", memory_importance, server_default=text("'medium'::memory_importance")),
    Column("embedding", Vector(1536)),
    Column("tags", ARRAY(Text)),
    Column("related_memories", ARRAY(Integer)),
    timestamp_now("created_at"),
    Column("decision", Text),
    Column("metadata", JSONB),
    Column("graphiti_synced_at", TIMESTAMPTZ),
    Index(
        "idx_episodic_embedding", text("embedding vector_cosine_ops"), postgresql_using="hnsw"
    ),
    Index("idx_episodic_timestamp", text("timestamp DESC")),
    Index("idx_episodic_event_type", "event_type"),
    Index("idx_episodic_importance", "importance"),
    Index("idx_episodic_tags", "tags", postgresql_using="gin"),
)

semantic_memory = Table(
    "semantic_memory",
    metadata,
    serial_id(),
    Column("concept", String(200), nullable=False),
    Column("content", Text, nullable=False),
    Column("category", String(100)),
    Column("source", String(200)),
    Column("confidence", Double, server_default=text("1.0")),
    Column("metadata", JSONB),
    Column("tags", ARRAY(Text)),
    Column("embedding", Vector(1536)),
    timestamp_now("created_at"),
    timestamp_now("updated_at"),
    Index(
        "idx_semantic_embedding", text("embedding vector_cosine_ops"), postgresql_using="hnsw"
    ),
    Index("idx_semantic_concept", "concept"),
    Index("idx_semantic_category", "category"),
    Index("idx_semantic_updated_at", text("updated_at DESC")),
)

decision_outcomes = Table(
    "decision_outcomes",
    metadata,
    serial_id(),
    Column(
        "decision_id",
        Integer,
        ForeignKey("episodic_memory.id", name="decision_outcomes_decision_id_fkey"),
    ),
    Column("task_context", Text, nullable=False),
    Column("alternatives", JSONB, nullable=False),
    Column("chosen_option", Text, nullable=False),
    Column("reasoning", Text, nullable=False),
    Column("outcome_status", String(20), server_default=text("'pending'::character varying")),
    Column("outcome_details", JSONB),
    Column("lessons_learned", Text),
    Column("user_feedback", String(20)),
    timestamp_now("created_at"),
    Column("resolved_at", TIMESTAMPTZ),
)
