"""Snapshots of counters, and what maintenance did."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from aegis.db.schema.types import TIMESTAMPTZ, metadata, timestamp_now

__all__ = [
    "health_queries",
    "health_relations",
    "health_snapshots",
    "health_statements",
    "maintenance_runs",
]


def _id() -> Column[Any]:
    return Column("id", BigInteger, Identity(always=True), nullable=False)


def _counters(*names: str) -> list[Column[Any]]:
    return [Column(name, BigInteger, nullable=False) for name in names]


health_snapshots = Table(
    "health_snapshots",
    metadata,
    _id(),
    timestamp_now("taken_at", nullable=False),
    Column("server_started_at", TIMESTAMPTZ, nullable=False),
    Column("stats_reset_at", TIMESTAMPTZ),
    Column("statements_reset_at", TIMESTAMPTZ),
    Column("database_bytes", BigInteger, nullable=False),
    Column("connections", Integer, nullable=False),
    *_counters("heap_hit", "heap_read", "index_hit", "index_read"),
    *_counters("commits", "rollbacks", "deadlocks", "temp_bytes", "checksum_failures"),
    Column("with_relations", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("id", name="health_snapshots_pkey"),
    Index("idx_health_snapshots_taken_at", "taken_at"),
)

health_relations = Table(
    "health_relations",
    metadata,
    Column("snapshot_id", BigInteger, nullable=False),
    Column("schema_name", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("live_rows", BigInteger),
    Column("dead_rows", BigInteger),
    Column("scans", BigInteger),
    PrimaryKeyConstraint("schema_name", "name", "snapshot_id", name="health_relations_pkey"),
    ForeignKeyConstraint(
        ["snapshot_id"],
        ["health_snapshots.id"],
        name="health_relations_snapshot_id_fkey",
        ondelete="CASCADE",
    ),
    CheckConstraint("kind IN ('table', 'index')", name="ck_health_relations_kind"),
    Index("idx_health_relations_snapshot_id", "snapshot_id"),
)

health_queries = Table(
    "health_queries",
    metadata,
    Column("query_id", BigInteger, nullable=False, autoincrement=False),
    Column("query", Text, nullable=False),
    timestamp_now("first_seen_at", nullable=False),
    PrimaryKeyConstraint("query_id", name="health_queries_pkey"),
)

health_statements = Table(
    "health_statements",
    metadata,
    Column("snapshot_id", BigInteger, nullable=False),
    Column("query_id", BigInteger, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("total_ms", Double, nullable=False),
    *_counters("rows", "blocks_hit", "blocks_read"),
    PrimaryKeyConstraint("query_id", "snapshot_id", name="health_statements_pkey"),
    ForeignKeyConstraint(
        ["snapshot_id"],
        ["health_snapshots.id"],
        name="health_statements_snapshot_id_fkey",
        ondelete="CASCADE",
    ),
    ForeignKeyConstraint(
        ["query_id"],
        ["health_queries.query_id"],
        name="health_statements_query_id_fkey",
        ondelete="CASCADE",
    ),
    Index("idx_health_statements_snapshot_id", "snapshot_id"),
)

maintenance_runs = Table(
    "maintenance_runs",
    metadata,
    _id(),
    Column("task", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'running'")),
    Column("started_at", TIMESTAMPTZ, nullable=False, server_default=text("clock_timestamp()")),
    Column("finished_at", TIMESTAMPTZ),
    Column("before_bytes", BigInteger),
    Column("after_bytes", BigInteger),
    Column("changed_rows", BigInteger),
    Column("error", Text),
    PrimaryKeyConstraint("id", name="maintenance_runs_pkey"),
    CheckConstraint(
        "task IN ('drop-index', 'reindex', 'vacuum', 'freeze', 'analyze', 'vacuum-full')",
        name="ck_maintenance_runs_task",
    ),
    CheckConstraint(
        "state IN ('running', 'done', 'failed', 'deferred', 'interrupted')",
        name="ck_maintenance_runs_state",
    ),
    Index("idx_maintenance_runs_object", "object", "task", text("started_at DESC")),
    Index("idx_maintenance_runs_started_at", "started_at"),
)
