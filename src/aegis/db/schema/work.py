"""Workflows: their versions, executions, steps and signals."""

from __future__ import annotations

from sqlalchemy import (
    UUID,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from aegis.db.schema.memory import namespace
from aegis.db.schema.types import (
    TIMESTAMPTZ,
    bigserial_id,
    metadata,
    timestamp_now,
    uuid_id,
)

__all__ = [
    "workflow_executions",
    "workflow_signals",
    "workflow_steps",
    "workflow_versions",
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
    Column("version", Integer),
    Index("uq_workflows_name", "name", unique=True, postgresql_where=text("version IS NOT NULL")),
)

workflow_versions = Table(
    "workflow_versions",
    metadata,
    Column(
        "workflow_id",
        UUID,
        ForeignKey("workflows.id", name="workflow_versions_workflow_id_fkey", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("graph", JSONB, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'active'::text")),
    timestamp_now("created_at", nullable=False),
    CheckConstraint("version >= 1", name="ck_workflow_versions_version"),
    CheckConstraint(
        "status = ANY (ARRAY['active'::text, 'archived'::text])",
        name="ck_workflow_versions_status",
    ),
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
    Column("version", Integer),
    namespace(),
    Column("idempotency_key", Text),
    Column("reason", Text),
    Column("output", JSONB),
    Column("priority", SmallInteger, nullable=False, server_default=text("0")),
    Column("lease_owner", Text),
    Column("lease_until", TIMESTAMPTZ),
    Column("token", BigInteger, nullable=False, server_default=text("0")),
    Column("takeovers", Integer, nullable=False, server_default=text("0")),
    Column("wake_at", TIMESTAMPTZ),
    Column("deadline_at", TIMESTAMPTZ),
    Column("parent_id", UUID),
    Column("forked_from", UUID),
    Column("steps", Integer, nullable=False, server_default=text("0")),
    Column("signals", Integer, nullable=False, server_default=text("0")),
    Column("pruned_at", TIMESTAMPTZ),
    ForeignKeyConstraint(
        ["workflow_id", "version"],
        ["workflow_versions.workflow_id", "workflow_versions.version"],
        name="workflow_executions_version_fkey",
    ),
    CheckConstraint(
        "reason = ANY (ARRAY['waiting'::text, 'paused'::text, 'parent_paused'::text, "
        "'cancelled'::text, 'deadline'::text, 'step'::text, 'ceiling'::text, 'crashed'::text])",
        name="ck_workflow_executions_reason",
    ),
    CheckConstraint(
        "priority >= '-10'::integer AND priority <= 10", name="ck_workflow_executions_priority"
    ),
    Index(
        "idx_workflow_executions_due",
        "priority",
        text("GREATEST(wake_at, lease_until)"),
        postgresql_where=text("status::text = 'running'::text AND wake_at IS NOT NULL"),
    ),
    Index(
        "uq_workflow_executions_idempotency_key",
        "workflow_id",
        "idempotency_key",
        unique=True,
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
    Index("idx_workflow_executions_started_at", text("started_at DESC"), text("id DESC")),
    Index(
        "idx_workflow_executions_namespace",
        "namespace",
        text("started_at DESC"),
        text("id DESC"),
    ),
    Index(
        "idx_workflow_executions_parent_id",
        "parent_id",
        postgresql_where=text("parent_id IS NOT NULL"),
    ),
    Index(
        "idx_workflow_executions_ended",
        "completed_at",
        postgresql_where=text("version IS NOT NULL AND pruned_at IS NULL"),
    ),
    Index(
        "idx_workflow_executions_pruned",
        "completed_at",
        postgresql_where=text("version IS NOT NULL AND pruned_at IS NOT NULL"),
    ),
)

workflow_steps = Table(
    "workflow_steps",
    metadata,
    Column(
        "execution_id",
        UUID,
        ForeignKey(
            "workflow_executions.id", name="workflow_steps_execution_id_fkey", ondelete="CASCADE"
        ),
        primary_key=True,
    ),
    Column("seq", Integer, nullable=False),
    Column("node", Text, primary_key=True),
    Column("branch", Text, primary_key=True, server_default=text("''::text")),
    Column("visit", Integer, primary_key=True, autoincrement=False, server_default=text("1")),
    Column("attempt", Integer, primary_key=True, autoincrement=False, server_default=text("1")),
    Column("status", Text, nullable=False),
    Column("input", JSONB),
    Column("output", JSONB),
    Column("error_code", Text),
    Column("error", Text),
    Column("next_node", Text),
    Column("due_at", TIMESTAMPTZ),
    Column("started_at", TIMESTAMPTZ, nullable=False),
    Column("finished_at", TIMESTAMPTZ),
    CheckConstraint(
        "status = ANY (ARRAY['completed'::text, 'failed'::text, 'retrying'::text, "
        "'waiting'::text, 'resumed'::text, 'retried'::text])",
        name="ck_workflow_steps_status",
    ),
)

workflow_signals = Table(
    "workflow_signals",
    metadata,
    bigserial_id(),
    Column(
        "execution_id",
        UUID,
        ForeignKey(
            "workflow_executions.id", name="workflow_signals_execution_id_fkey", ondelete="CASCADE"
        ),
        nullable=False,
    ),
    Column("name", Text, nullable=False),
    Column("payload", JSONB),
    Column("key", Text),
    timestamp_now("sent_at", nullable=False),
    Column("taken_by", Text),
    UniqueConstraint("execution_id", "key", name="uq_workflow_signals_key"),
)
