"""Backups and drills, mirrored from the folder of backups."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from aegis.db.schema.types import TIMESTAMPTZ, metadata, timestamp_now

__all__ = ["backup_drills", "backups"]

backups = Table(
    "backups",
    metadata,
    Column("name", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("label", Text, nullable=False),
    Column("snapshot_at", TIMESTAMPTZ, nullable=False),
    Column("finished_at", TIMESTAMPTZ, nullable=False),
    Column("format", Text, nullable=False),
    Column("compression", Text, nullable=False),
    Column("encrypted", Boolean, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("table_count", Integer, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    Column("server_version", Text, nullable=False),
    Column("schema_revision", Text),
    Column("verdict", Text, nullable=False),
    Column("verified_level", Text),
    Column("verified_at", TIMESTAMPTZ),
    Column("problem", Text),
    Column("hold", Text),
    Column("local", Boolean, nullable=False),
    Column("copied_to", ARRAY(Text), nullable=False),
    timestamp_now("noted_at", nullable=False),
    Column("proven_at", TIMESTAMPTZ),
    PrimaryKeyConstraint("name", name="backups_pkey"),
    CheckConstraint("format IN ('custom', 'directory')", name="ck_backups_format"),
    CheckConstraint("verdict IN ('verified', 'failed', 'not_verified')", name="ck_backups_verdict"),
    CheckConstraint("verified_level IN ('fast', 'full')", name="ck_backups_verified_level"),
)

backup_drills = Table(
    "backup_drills",
    metadata,
    Column("started_at", TIMESTAMPTZ, nullable=False),
    Column("backup", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("rto_s", Double, nullable=False),
    Column("rpo_s", Double, nullable=False),
    Column("source", Text, nullable=False),
    Column("detail", Text, nullable=False),
    PrimaryKeyConstraint("started_at", name="backup_drills_pkey"),
    CheckConstraint(
        "verdict IN ('verified', 'failed', 'not_verified')", name="ck_backup_drills_verdict"
    ),
)
