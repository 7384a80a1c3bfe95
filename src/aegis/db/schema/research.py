"""Research: jobs, what they cost and cite, prices, budgets."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CHAR,
    UUID,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Identity,
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
from sqlalchemy.dialects.postgresql import JSONB

from aegis.db.schema.types import TIMESTAMPTZ, Vector, metadata, timestamp_now, uuid_id

__all__ = [
    "deep_briefing_jobs",
    "research_budgets",
    "research_calls",
    "research_citations",
    "research_months",
    "research_prices",
    "research_sources",
]


def _usd(name: str, *, zero: bool = False, nullable: bool = True) -> Column[Any]:
    default = text("0") if zero else None
    return Column(name, Numeric(18, 10), nullable=nullable and not zero, server_default=default)


def _count(name: str, type_: Any = Integer) -> Column[Any]:
    return Column(name, type_, nullable=False, server_default=text("0"))


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
    Column(
        "namespace",
        String(200),
        nullable=False,
        server_default=text("'default'::character varying"),
    ),
    Column("model", String(200)),
    Column("query_key", CHAR(64)),
    Column("query_embedding", Vector()),
    Column("embedding_model", String(100)),
    Column("options", JSONB),
    Column("idempotency_key", String(200)),
    Column("remember", Boolean, nullable=False, server_default=text("false")),
    Column("episode_id", BigInteger),
    _count("priority"),
    Column("queued_at", TIMESTAMPTZ),
    Column("started_at", TIMESTAMPTZ),
    Column("deadline_at", TIMESTAMPTZ),
    Column("next_poll_at", TIMESTAMPTZ),
    Column("cancel_requested_at", TIMESTAMPTZ),
    Column("lease_owner", String(200)),
    Column("lease_until", TIMESTAMPTZ),
    _count("token", BigInteger),
    Column("remote_id", String(500)),
    Column("sent_at", TIMESTAMPTZ),
    Column("checkpoint", JSONB),
    _count("attempts"),
    _count("polls"),
    Column("error", Text),
    Column("error_code", String(100)),
    _usd("budget_usd"),
    Column("budget_month", Date),
    _usd("reserved_usd", zero=True),
    _usd("exact_cost_usd"),
    Column("cost_detail", JSONB),
    CheckConstraint(
        "reserved_usd >= 0 AND (budget_usd IS NULL OR budget_usd >= 0) "
        "AND (exact_cost_usd IS NULL OR exact_cost_usd >= 0)",
        name="ck_deep_briefing_jobs_money",
    ),
    Index(
        "uq_deep_briefing_jobs_idempotency",
        "namespace",
        "idempotency_key",
        unique=True,
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
    Index(
        "idx_deep_briefing_jobs_due",
        text("priority DESC"),
        "next_poll_at",
        postgresql_where=text("next_poll_at IS NOT NULL"),
    ),
    Index("idx_deep_briefing_jobs_recent", "namespace", text("created_at DESC"), "id"),
)


def _job(table: str) -> Column[Any]:
    return Column(
        "job_id",
        UUID,
        ForeignKey("deep_briefing_jobs.id", name=f"{table}_job_id_fkey", ondelete="CASCADE"),
        nullable=False,
    )


research_calls = Table(
    "research_calls",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    _job("research_calls"),
    Column("call_key", String(500), nullable=False),
    timestamp_now("at", nullable=False),
    Column("provider", String(50), nullable=False),
    Column("model", String(200)),
    Column("usage", JSONB, nullable=False),
    _usd("cost_usd"),
    Column("cost_source", String(20), nullable=False),
    Column("cost_detail", JSONB),
    PrimaryKeyConstraint("id", name="research_calls_pkey"),
    UniqueConstraint("job_id", "call_key", name="uq_research_calls_call_key"),
    CheckConstraint(
        "cost_source::text = ANY (ARRAY['provider'::text, 'prices'::text, 'free'::text, "
        "'unknown'::text])",
        name="ck_research_calls_cost_source",
    ),
    CheckConstraint("cost_usd IS NULL OR cost_usd >= 0", name="ck_research_calls_cost"),
)

research_sources = Table(
    "research_sources",
    metadata,
    _job("research_sources"),
    Column("position", Integer, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("url", Text),
    Column("episode_id", BigInteger),
    Column("title", Text),
    Column("snippet", Text),
    Column("published", Text),
    PrimaryKeyConstraint("job_id", "position", name="research_sources_pkey"),
    CheckConstraint(
        "kind::text = ANY (ARRAY['web'::text, 'memory'::text])", name="ck_research_sources_kind"
    ),
)

research_citations = Table(
    "research_citations",
    metadata,
    _job("research_citations"),
    Column("position", Integer, nullable=False),
    Column("source_position", Integer),
    Column("url", Text),
    Column("episode_id", BigInteger),
    Column("title", Text),
    Column("cited_text", Text),
    Column("start_char", Integer),
    Column("end_char", Integer),
    Column("verified", Boolean, nullable=False),
    PrimaryKeyConstraint("job_id", "position", name="research_citations_pkey"),
    CheckConstraint(
        "start_char IS NULL OR (start_char >= 0 AND end_char >= start_char)",
        name="ck_research_citations_span",
    ),
)

research_prices = Table(
    "research_prices",
    metadata,
    Column("provider", String(50), nullable=False),
    Column("model", String(200), nullable=False),
    Column("meter", String(30), nullable=False),
    Column("valid_from", Date, nullable=False),
    _usd("usd", nullable=False),
    Column("per", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("source_date", Date, nullable=False),
    timestamp_now("created_at", nullable=False),
    PrimaryKeyConstraint("provider", "model", "meter", "valid_from", name="research_prices_pkey"),
    CheckConstraint(
        "meter::text = ANY (ARRAY['input_tokens'::text, 'cached_input_tokens'::text, "
        "'cache_write_5m_tokens'::text, 'cache_write_1h_tokens'::text, 'output_tokens'::text, "
        "'reasoning_tokens'::text, 'citation_tokens'::text, 'searches'::text, 'requests'::text])",
        name="ck_research_prices_meter",
    ),
    CheckConstraint("usd >= 0 AND per > 0", name="ck_research_prices_usd"),
)

research_budgets = Table(
    "research_budgets",
    metadata,
    Column("namespace", String(200), nullable=False),
    _usd("month_usd", nullable=False),
    timestamp_now("updated_at", nullable=False),
    PrimaryKeyConstraint("namespace", name="research_budgets_pkey"),
    CheckConstraint("month_usd >= 0", name="ck_research_budgets_usd"),
)

research_months = Table(
    "research_months",
    metadata,
    Column("namespace", String(200), nullable=False),
    Column("month", Date, nullable=False),
    _usd("spent_usd", zero=True),
    _usd("reserved_usd", zero=True),
    PrimaryKeyConstraint("namespace", "month", name="research_months_pkey"),
    CheckConstraint("spent_usd >= 0 AND reserved_usd >= 0", name="ck_research_months_usd"),
    CheckConstraint(
        "month = date_trunc('month', month::timestamp)::date",
        name="ck_research_months_first",
    ),
)
