"""What happened, what is known, what was decided."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, ENUM, JSONB, TSVECTOR

from aegis.db.schema.types import (
    TIMESTAMPTZ,
    Vector,
    bigserial_id,
    metadata,
    serial_id,
    timestamp_now,
)

__all__ = [
    "decision_episodes",
    "decision_outcomes",
    "episodic_memory",
    "fact_history",
    "fact_sources",
    "memory_namespaces",
    "memory_terms",
    "semantic_memory",
]

# SQLAlchemy's own annotations leave the type of its values open.
memory_importance: Any = ENUM("low", "medium", "high", "critical", name="memory_importance")

#: How `search` is computed, as revision 0004 says it.
SEARCH = (
    r"array_to_tsvector(ARRAY[E'\x01' || namespace]) || to_tsvector('english', "
    "left(summary || ' ' || coalesce(decision, ''), 100000))"
)

#: What `idx_semantic_words` is on (revision 0033), as PostgreSQL says it.
FACT_WORDS = (
    "(array_to_tsvector(ARRAY['\x01'::text || namespace]) || to_tsvector('english'::regconfig, "
    "\"left\"((concept::text || ' '::text) || content, 100000)))"
)

#: Steps that may have changed a fact's words, and the words that it had before (revision 0038).
REWORDED = "action = ANY (ARRAY['updated'::text, 'restored'::text, 'deleted'::text])"
STEP_WORDS = (
    "(array_to_tsvector(ARRAY['\x01'::text || namespace]) || to_tsvector('english'::regconfig, "
    "\"left\"(((before ->> 'concept'::text) || ' '::text) || (before ->> 'content'::text), "
    "100000)))"
)


def namespace() -> Column[Any]:
    """Return the column that says whose memory a row is."""
    return Column("namespace", Text, nullable=False, server_default=text("'default'::text"))


def source_index(name: str) -> Index:
    """Return the index that makes an import idempotent."""
    return Index(
        name,
        "namespace",
        "source_id",
        unique=True,
        postgresql_where=text("source_id IS NOT NULL"),
    )


def unembedded_index(name: str) -> Index:
    """Return the index of the rows that still need a vector."""
    return Index(name, "id", postgresql_where=text("embedding IS NULL"))


def expiry_index(name: str) -> Index:
    """Return the index of the rows that expire, for the sweep and for recall."""
    return Index(name, "namespace", "expires_at", postgresql_where=text("expires_at IS NOT NULL"))


def vector_indexes(name: str) -> tuple[Index, ...]:
    """Return one HNSW index for rows without a named model, and one for each built-in model."""
    return (
        Index(
            name,
            text("(embedding::vector(1536)) vector_cosine_ops"),
            postgresql_using="hnsw",
            postgresql_where=text("vector_dims(embedding) = 1536"),
        ),
        Index(
            f"{name}_minilm",
            text("(embedding::halfvec(384)) halfvec_cosine_ops"),
            postgresql_using="hnsw",
            postgresql_where=text("embedding_model = 'all-MiniLM-L6-v2-onnx-int8'"),
            info={"needs_halfvec": True},
        ),
    )


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
    Column("embedding", Vector()),
    Column("tags", ARRAY(Text)),
    Column("related_memories", ARRAY(Integer)),
    timestamp_now("created_at"),
    Column("decision", Text),
    Column("metadata", JSONB),
    Column("graphiti_synced_at", TIMESTAMPTZ),
    namespace(),
    Column("session_id", Text),
    Column("source_id", Text),
    Column("embedding_model", Text),
    timestamp_now("updated_at"),
    Column("search", TSVECTOR, Computed(SEARCH, persisted=True)),
    Column("expires_at", TIMESTAMPTZ),
    *vector_indexes("idx_episodic_embedding"),
    Index("idx_episodic_namespace_timestamp", "namespace", text("timestamp DESC"), text("id DESC")),
    Index("idx_episodic_namespace_session", "namespace", "session_id", "timestamp", "id"),
    Index("idx_episodic_namespace_id", "namespace", "id"),
    source_index("uq_episodic_source_id"),
    unembedded_index("idx_episodic_unembedded"),
    expiry_index("idx_episodic_expires_at"),
    Index(
        "idx_episodic_echoes",
        "namespace",
        postgresql_where=text("metadata ? 'echo_of'"),
    ),
    Index(
        "idx_episodic_search",
        "search",
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": "64"},
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
    Column("embedding", Vector()),
    timestamp_now("created_at"),
    timestamp_now("updated_at"),
    namespace(),
    Column("source_id", Text),
    Column("embedding_model", Text),
    Column("valid_from", TIMESTAMPTZ),
    Column("valid_to", TIMESTAMPTZ),
    Column("superseded_by", Integer),
    Column("expires_at", TIMESTAMPTZ),
    expiry_index("idx_semantic_expires_at"),
    CheckConstraint(
        "isfinite(valid_from) AND isfinite(valid_to) AND valid_from <= valid_to",
        name="ck_semantic_memory_validity",
    ),
    Index(
        "idx_semantic_concept_key",
        "namespace",
        text(r"lower(regexp_replace(btrim(concept::text), '\s+'::text, ' '::text, 'g'::text))"),
    ),
    *vector_indexes("idx_semantic_embedding"),
    Index(
        "idx_semantic_words",
        text(FACT_WORDS),
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": "256"},
    ),
    Index("idx_semantic_namespace_concept", "namespace", "concept"),
    source_index("uq_semantic_source_id"),
    unembedded_index("idx_semantic_unembedded"),
    Index("idx_semantic_concept", "concept"),
    Index("idx_semantic_category", "category"),
    Index("idx_semantic_updated_at", text("updated_at DESC")),
    Index(
        "idx_semantic_recorded",
        "namespace",
        text("COALESCE(created_at, updated_at, to_timestamp(0::double precision))"),
    ),
    Index(
        "idx_semantic_updated",
        "namespace",
        text("updated_at DESC NULLS LAST"),
        text("id DESC"),
    ),
)

fact_history = Table(
    "fact_history",
    metadata,
    bigserial_id(),
    Column("fact_id", Integer, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("before", JSONB),
    Column("at", TIMESTAMPTZ, nullable=False, server_default=text("clock_timestamp()")),
    Column("actor", Text),
    Column("undoes", BigInteger, ForeignKey("fact_history.id", name="fact_history_undoes_fkey")),
    CheckConstraint(
        "action IN ('created', 'merged', 'superseded', 'updated', 'restored', 'deleted')",
        name="ck_fact_history_action",
    ),
    Index("idx_fact_history_fact", "fact_id", "id"),
    Index(
        "idx_fact_history_steps",
        "namespace",
        "at",
        postgresql_include=["id", "fact_id", "action"],
    ),
    Index(
        "idx_fact_history_concept",
        "namespace",
        text("(before ->> 'concept'::text)"),
        postgresql_where=text(REWORDED),
    ),
    Index(
        "idx_fact_history_words",
        text(STEP_WORDS),
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": "256"},
        postgresql_where=text(REWORDED),
    ),
    Index("uq_fact_history_undoes", "undoes", unique=True),
)

fact_sources = Table(
    "fact_sources",
    metadata,
    bigserial_id(),
    Column(
        "fact_id",
        Integer,
        ForeignKey("semantic_memory.id", name="fact_sources_fact_id_fkey", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("namespace", Text, nullable=False),
    Column("source", Text),
    Column("source_id", Text),
    Column("content", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("recorded_at", TIMESTAMPTZ, nullable=False),
    Column("step", BigInteger, nullable=False),
    Index("idx_fact_sources_fact", "fact_id", "id"),
    Index(
        "idx_fact_sources_source_id",
        "namespace",
        "source_id",
        postgresql_where=text("source_id IS NOT NULL"),
    ),
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
    namespace(),
    Column("confidence", Double),
    Column("review_at", TIMESTAMPTZ),
    CheckConstraint("confidence >= 0 AND confidence <= 1", name="ck_decision_outcomes_confidence"),
    CheckConstraint(
        "outcome_status::text IN ('pending', 'success', 'partial', 'failure')",
        name="ck_decision_outcomes_outcome_status",
    ),
    CheckConstraint(
        "user_feedback::text IN ('positive', 'negative', 'neutral')",
        name="ck_decision_outcomes_user_feedback",
    ),
    Index("idx_decision_outcomes_namespace_created_at", "namespace", text("created_at DESC")),
    Index("idx_decision_outcomes_decision_id", "decision_id"),
    Index(
        "idx_decision_outcomes_due",
        "namespace",
        text("COALESCE(review_at, created_at, to_timestamp(0::double precision))"),
        "id",
        postgresql_where=text("outcome_status IS NULL OR outcome_status::text = 'pending'::text"),
    ),
)

decision_episodes = Table(
    "decision_episodes",
    metadata,
    Column(
        "decision_id",
        Integer,
        ForeignKey(
            "decision_outcomes.id",
            name="decision_episodes_decision_id_fkey",
            ondelete="CASCADE",
        ),
        primary_key=True,
        autoincrement=False,
    ),
    Column(
        "episode_id",
        Integer,
        ForeignKey(
            "episodic_memory.id", name="decision_episodes_episode_id_fkey", ondelete="CASCADE"
        ),
        primary_key=True,
        autoincrement=False,
    ),
    Column("role", Text, nullable=False),
    CheckConstraint(
        "role IN ('trigger', 'support', 'against', 'context')",
        name="ck_decision_episodes_role",
    ),
    Index("idx_decision_episodes_episode_id", "episode_id", "decision_id"),
)

memory_namespaces = Table(
    "memory_namespaces",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("episodes", BigInteger, nullable=False),
    Column("mean_terms", REAL, nullable=False),
    timestamp_now("refreshed_at", nullable=False),
)

memory_terms = Table(
    "memory_terms",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("term", Text, primary_key=True),
    Column("share", REAL, nullable=False),
)
