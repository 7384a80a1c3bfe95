"""Agent sessions, what happened in them, and what they cost."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
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
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from aegis.db.schema.memory import namespace
from aegis.db.schema.types import TIMESTAMPTZ, bigserial_id, metadata, timestamp_now, uuid_id

__all__ = ["claude_sessions", "model_prices", "session_events", "session_usage"]


def _count(name: str, kind: Any = Integer) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=text("0"))


def _tokens(name: str) -> Column[Any]:
    return Column(name, BigInteger, nullable=False)


def _price(name: str) -> Column[Any]:
    return Column(name, Numeric(12, 6), nullable=False)


def _session_id(table: str, **options: Any) -> Column[Any]:
    key = ForeignKey("claude_sessions.id", name=f"{table}_session_id_fkey", ondelete="CASCADE")
    return Column("session_id", UUID, key, **options)


claude_sessions = Table(
    "claude_sessions",
    metadata,
    uuid_id(),
    Column("session_id", String(100), nullable=False),
    Column("user_id", String(100)),
    Column("command", Text),
    Column("status", String(20), server_default=text("'running'::character varying")),
    timestamp_now("started_at"),
    Column("ended_at", TIMESTAMPTZ),
    Column("metadata", JSONB),
    namespace(),
    Column(
        "parent_id",
        UUID,
        ForeignKey("claude_sessions.id", name="claude_sessions_parent_id_fkey", ondelete="CASCADE"),
    ),
    Column("agent_type", Text),
    Column("source", Text),
    Column("turn", Text, nullable=False, server_default=text("'idle'::text")),
    Column("end_reason", Text),
    Column("last_event_at", TIMESTAMPTZ),
    Column("title", Text),
    Column("model", Text),
    Column("cwd", Text),
    Column("transcript_path", Text),
    _count("transcript_offset", BigInteger),
    Column("transcript_at", TIMESTAMPTZ),
    Column("transcript_due", Boolean, nullable=False, server_default=text("false")),
    _count("resumes"),
    _count("prompts"),
    _count("tool_calls"),
    _count("tool_failures"),
    _count("input_tokens", BigInteger),
    _count("output_tokens", BigInteger),
    _count("cache_write_tokens", BigInteger),
    _count("cache_read_tokens", BigInteger),
    Column("cost_usd", Numeric(16, 6)),
    _count("unpriced_messages"),
    UniqueConstraint("session_id", name="claude_sessions_session_id_key"),
    CheckConstraint(
        "turn = ANY (ARRAY['idle'::text, 'working'::text, 'failed'::text, 'interrupted'::text])",
        name="ck_claude_sessions_turn",
    ),
    CheckConstraint(
        "source = ANY (ARRAY['hook'::text, 'transcript'::text])", name="ck_claude_sessions_source"
    ),
    Index("idx_claude_sessions_started_at", "namespace", text("started_at DESC"), text("id DESC")),
    Index(
        "idx_claude_sessions_parent_id",
        "parent_id",
        postgresql_where=text("parent_id IS NOT NULL"),
    ),
    Index(
        "idx_claude_sessions_running",
        "last_event_at",
        postgresql_where=text("status::text = 'running'::text AND source IS NOT NULL"),
    ),
    Index("idx_claude_sessions_transcript_due", "id", postgresql_where=text("transcript_due")),
)

session_events = Table(
    "session_events",
    metadata,
    bigserial_id(),
    _session_id("session_events", nullable=False),
    Column("key", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("at", TIMESTAMPTZ, nullable=False),
    Column("tool", Text),
    Column("path", Text),
    Column("failed", Boolean, nullable=False, server_default=text("false")),
    Column("text", Text),
    Column("details", JSONB),
    Column("recalled", ARRAY(Integer)),
    UniqueConstraint("session_id", "key", name="uq_session_events_key"),
    Index("idx_session_events_session_id", "session_id", "id"),
    Index(
        "idx_session_events_at",
        "at",
        postgresql_using="brin",
        postgresql_with={"pages_per_range": "32"},
    ),
)

session_usage = Table(
    "session_usage",
    metadata,
    _session_id("session_usage", primary_key=True),
    Column("message_key", Text, primary_key=True),
    Column("at", TIMESTAMPTZ, nullable=False),
    Column("model", Text, nullable=False),
    _tokens("input_tokens"),
    _tokens("output_tokens"),
    _tokens("cache_write_5m_tokens"),
    _tokens("cache_write_1h_tokens"),
    _tokens("cache_read_tokens"),
    CheckConstraint(
        "input_tokens >= 0 AND output_tokens >= 0 AND cache_write_5m_tokens >= 0 "
        "AND cache_write_1h_tokens >= 0 AND cache_read_tokens >= 0",
        name="ck_session_usage_tokens",
    ),
    Index("idx_session_usage_message_key", "message_key"),
)

model_prices = Table(
    "model_prices",
    metadata,
    Column("model", Text, primary_key=True),
    Column("valid_from", TIMESTAMPTZ, primary_key=True),
    _price("input_usd"),
    _price("output_usd"),
    _price("cache_write_5m_usd"),
    _price("cache_write_1h_usd"),
    _price("cache_read_usd"),
    Column("known_on", Date),
    Column("note", Text),
    CheckConstraint(
        "input_usd >= 0 AND output_usd >= 0 AND cache_write_5m_usd >= 0 "
        "AND cache_write_1h_usd >= 0 AND cache_read_usd >= 0",
        name="ck_model_prices_usd",
    ),
)
