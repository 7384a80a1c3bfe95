"""The audit log: its rows, its head, its seals, and when it was verified."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from aegis.db.schema.types import TIMESTAMPTZ, metadata

__all__ = ["audit_head", "audit_log", "audit_seals", "audit_verifications"]


def _whole(*names: str) -> list[Column[Any]]:
    return [Column(name, BigInteger, nullable=False, autoincrement=False) for name in names]


def _times(*names: str) -> list[Column[Any]]:
    return [Column(name, TIMESTAMPTZ, nullable=False) for name in names]


def _bytes(*names: str) -> list[Column[Any]]:
    return [Column(name, LargeBinary, nullable=False) for name in names]


audit_head = Table(
    "audit_head",
    metadata,
    Column("only_row", Boolean, nullable=False, server_default=text("true")),
    Column("log_id", UUID, nullable=False, server_default=text("gen_random_uuid()")),
    Column("seq", BigInteger, nullable=False, server_default=text("0")),
    Column(
        "hash",
        LargeBinary,
        nullable=False,
        server_default=text("decode(repeat('00'::text, 32), 'hex'::text)"),
    ),
    PrimaryKeyConstraint("only_row", name="audit_head_pkey"),
    CheckConstraint("only_row", name="ck_audit_head_only_row"),
    CheckConstraint("octet_length(hash) = 32", name="ck_audit_head_hash"),
)

audit_log = Table(
    "audit_log",
    metadata,
    *_whole("seq"),
    *_times("recorded_at"),
    Column("action", Text, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("actor_id", Text),
    Column("face", Text, nullable=False),
    Column("request_id", Text),
    Column("object_kind", Text, nullable=False),
    Column("object_id", Text),
    Column("details", JSONB, nullable=False),
    *_bytes("previous_hash", "hash"),
    Column("secret_id", Text, nullable=False),
    *_bytes("signature"),
    PrimaryKeyConstraint("seq", name="audit_log_pkey"),
    CheckConstraint("seq > 0", name="ck_audit_log_seq"),
    CheckConstraint(
        "actor_kind IN ('operator', 'key', 'cli', 'mcp', 'worker', 'service', 'library')",
        name="ck_audit_log_actor_kind",
    ),
    CheckConstraint(
        "face IN ('cli', 'http', 'mcp', 'worker', 'library')", name="ck_audit_log_face"
    ),
    CheckConstraint(
        "octet_length(previous_hash) = 32 AND octet_length(hash) = 32"
        " AND octet_length(signature) = 32",
        name="ck_audit_log_hash",
    ),
    Index("idx_audit_log_recorded_at", "recorded_at"),
    Index("idx_audit_log_action", "action", "seq"),
    Index("idx_audit_log_object", "object_kind", "object_id", "seq"),
)

audit_seals = Table(
    "audit_seals",
    metadata,
    *_whole("through_seq", "from_seq"),
    *_bytes("hash"),
    *_whole("row_count"),
    *_times("first_recorded_at", "last_recorded_at", "sealed_at"),
    Column("secret_id", Text, nullable=False),
    *_bytes("signature"),
    PrimaryKeyConstraint("through_seq", name="audit_seals_pkey"),
    CheckConstraint("from_seq > 0 AND through_seq >= from_seq", name="ck_audit_seals_seq"),
    CheckConstraint(
        "octet_length(hash) = 32 AND octet_length(signature) = 32", name="ck_audit_seals_hash"
    ),
)

audit_verifications = Table(
    "audit_verifications",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("verified_at", TIMESTAMPTZ, nullable=False, server_default=text("clock_timestamp()")),
    Column("complete", Boolean, nullable=False),
    *_whole("from_seq", "through_seq", "row_count", "problem_count", "warning_count"),
    Column("first_finding", Text),
    Column("elapsed_ms", Double, nullable=False),
    PrimaryKeyConstraint("id", name="audit_verifications_pkey"),
)
