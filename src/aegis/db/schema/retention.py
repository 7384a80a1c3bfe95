"""How long memories live, how much they are used, and what became of those that are gone."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from aegis.db.schema.types import TIMESTAMPTZ, bigserial_id, metadata, timestamp_now

__all__ = [
    "memory_archives",
    "memory_erasures",
    "memory_holds",
    "memory_policies",
    "memory_usage",
]


def _episode(table: str) -> Column[int]:
    """Return a key that is an episode's, and goes with it."""
    return Column(
        "episode_id",
        Integer,
        ForeignKey("episodic_memory.id", name=f"{table}_episode_id_fkey", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )


memory_usage = Table(
    "memory_usage",
    metadata,
    _episode("memory_usage"),
    Column("recall_count", BigInteger, nullable=False),
    Column("last_recalled_at", TIMESTAMPTZ, nullable=False),
)

memory_holds = Table(
    "memory_holds",
    metadata,
    _episode("memory_holds"),
    Column("reason", Text, nullable=False),
    timestamp_now("held_at", nullable=False),
)

memory_policies = Table(
    "memory_policies",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("event_type", Text, primary_key=True),
    Column("importance", Text, primary_key=True),
    Column("ttl_s", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    timestamp_now("set_at", nullable=False),
    CheckConstraint(
        "importance IN ('', 'low', 'medium', 'high', 'critical')",
        name="ck_memory_policies_importance",
    ),
    CheckConstraint("ttl_s > 0", name="ck_memory_policies_ttl_s"),
    CheckConstraint("action IN ('archive', 'delete')", name="ck_memory_policies_action"),
)

memory_archives = Table(
    "memory_archives",
    metadata,
    bigserial_id(),
    Column("namespace", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("rows", BigInteger, nullable=False, server_default=text("0")),
    Column("size_bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("sha256", Text),
    Column("digest", Text),
    Column("ids", ARRAY(Integer), nullable=False, server_default=text("'{}'::integer[]")),
    Column("oldest_at", TIMESTAMPTZ),
    Column("newest_at", TIMESTAMPTZ),
    timestamp_now("started_at", nullable=False),
    Column("completed_at", TIMESTAMPTZ),
    Column("restored_at", TIMESTAMPTZ),
    CheckConstraint("kind IN ('episode', 'fact')", name="ck_memory_archives_kind"),
    CheckConstraint("reason IN ('decay', 'expired')", name="ck_memory_archives_reason"),
    CheckConstraint(
        "state IN ('writing', 'complete', 'restored')", name="ck_memory_archives_state"
    ),
    Index("idx_memory_archives_namespace", "namespace", "id"),
)

memory_erasures = Table(
    "memory_erasures",
    metadata,
    bigserial_id(),
    Column("namespace", Text),
    Column("state", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("actor", Text),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("digests", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("files", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("verification", JSONB),
    Column("signature", Text),
    timestamp_now("started_at", nullable=False),
    Column("finished_at", TIMESTAMPTZ),
    CheckConstraint("state IN ('running', 'complete')", name="ck_memory_erasures_state"),
    Index(
        "uq_memory_erasures_running",
        "subject",
        text("COALESCE(namespace, ''::text)"),
        unique=True,
        postgresql_where=text("state = 'running'::text"),
    ),
)
