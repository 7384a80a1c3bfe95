"""Jobs, schedules, workers, and the rates of providers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from aegis.db.schema.types import TIMESTAMPTZ, bigserial_id, metadata, timestamp_now

__all__ = ["jobs", "provider_rates", "schedules", "workers"]


def _number(name: str, default: str, kind: Any = Integer) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=text(default))


def _what() -> tuple[Column[Any], Column[Any]]:
    return (
        Column("function", String(200), nullable=False),
        Column("arguments", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    )


jobs = Table(
    "jobs",
    metadata,
    bigserial_id(),
    *_what(),
    Column("key", String(200)),
    Column("provider", String(100)),
    _number("priority", "4", SmallInteger),
    Column(
        "state", String(20), nullable=False, server_default=text("'waiting'::character varying")
    ),
    timestamp_now("due_at", nullable=False),
    _number("attempts", "0"),
    _number("max_attempts", "5"),
    Column("timeout_s", Integer),
    _number("token", "0", BigInteger),
    Column("lease_owner", Text),
    Column("lease_until", TIMESTAMPTZ),
    Column("unique_key", String(200)),
    Column("schedule", String(100)),
    Column("planned_at", TIMESTAMPTZ),
    timestamp_now("created_at", nullable=False),
    Column("started_at", TIMESTAMPTZ),
    Column("finished_at", TIMESTAMPTZ),
    Column("error", Text),
    Column("result", JSONB),
    CheckConstraint("priority BETWEEN 0 AND 9", name="ck_jobs_priority"),
    CheckConstraint(
        "state::text IN ('waiting', 'running', 'completed', 'failed', 'cancelled')",
        name="ck_jobs_state",
    ),
    CheckConstraint("max_attempts >= 1", name="ck_jobs_max_attempts"),
    CheckConstraint("timeout_s > 0", name="ck_jobs_timeout_s"),
    Index(
        "idx_jobs_due",
        "priority",
        "due_at",
        "id",
        postgresql_where=text("state::text = 'waiting'::text"),
    ),
    Index(
        "idx_jobs_leases",
        "lease_until",
        postgresql_where=text("state::text = 'running'::text"),
    ),
    Index(
        "uq_jobs_running_key",
        "key",
        unique=True,
        postgresql_where=text("state::text = 'running'::text AND key IS NOT NULL"),
    ),
    Index(
        "uq_jobs_unique_key",
        "unique_key",
        unique=True,
        postgresql_where=text("unique_key IS NOT NULL"),
    ),
    Index(
        "uq_jobs_planned",
        "schedule",
        "planned_at",
        unique=True,
        postgresql_where=text("schedule IS NOT NULL AND planned_at IS NOT NULL"),
    ),
    Index(
        "idx_jobs_schedule",
        "schedule",
        text("id DESC"),
        postgresql_where=text("schedule IS NOT NULL"),
    ),
    Index(
        "idx_jobs_finished",
        "finished_at",
        postgresql_where=text("finished_at IS NOT NULL"),
    ),
)

schedules = Table(
    "schedules",
    metadata,
    bigserial_id(),
    Column("name", String(100), nullable=False),
    Column("cron", String(200), nullable=False),
    Column("timezone", String(64), nullable=False, server_default=text("'UTC'::character varying")),
    *_what(),
    _number("priority", "4", SmallInteger),
    _number("max_attempts", "1"),
    Column("timeout_s", Integer),
    Column(
        "missed", String(10), nullable=False, server_default=text("'latest'::character varying")
    ),
    _number("grace_s", "60"),
    _number("jitter_s", "0"),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("next_at", TIMESTAMPTZ),
    Column("last_planned_at", TIMESTAMPTZ),
    _number("skipped", "0", BigInteger),
    Column(
        "created_by",
        String(100),
        nullable=False,
        server_default=text("'operator'::character varying"),
    ),
    timestamp_now("created_at", nullable=False),
    Column("changed_at", TIMESTAMPTZ),
    Column("removed_at", TIMESTAMPTZ),
    UniqueConstraint("name", name="uq_schedules_name"),
    CheckConstraint("priority BETWEEN 0 AND 9", name="ck_schedules_priority"),
    CheckConstraint("max_attempts >= 1", name="ck_schedules_max_attempts"),
    CheckConstraint("timeout_s > 0", name="ck_schedules_timeout_s"),
    CheckConstraint("missed::text IN ('all', 'latest', 'skip')", name="ck_schedules_missed"),
    CheckConstraint("grace_s >= 0", name="ck_schedules_grace_s"),
    CheckConstraint("jitter_s BETWEEN 0 AND 86400", name="ck_schedules_jitter_s"),
    Index(
        "idx_schedules_next_at",
        "next_at",
        postgresql_where=text("NOT paused AND removed_at IS NULL"),
    ),
)

workers = Table(
    "workers",
    metadata,
    Column("id", UUID, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("concurrency", Integer, nullable=False),
    _number("running", "0"),
    _number("done", "0", BigInteger),
    timestamp_now("started_at", nullable=False),
    timestamp_now("seen_at", nullable=False),
    Column("stopped_at", TIMESTAMPTZ),
    PrimaryKeyConstraint("id", name="workers_pkey"),
)

provider_rates = Table(
    "provider_rates",
    metadata,
    Column("provider", String(100), nullable=False),
    Column("per_minute", Double, nullable=False),
    _number("burst", "1"),
    timestamp_now("free_at", nullable=False),
    PrimaryKeyConstraint("provider", name="provider_rates_pkey"),
    CheckConstraint("per_minute > 0", name="ck_provider_rates_per_minute"),
    CheckConstraint("burst >= 1", name="ck_provider_rates_burst"),
)
