"""Which role is which, whose rows a tenant sees, and which columns are encrypted."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from aegis.db.schema.types import TIMESTAMPTZ, metadata, timestamp_now

__all__ = ["encrypted_columns", "security_roles", "security_tenants"]

security_roles = Table(
    "security_roles",
    metadata,
    Column("role_name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    timestamp_now("noted_at", nullable=False),
    CheckConstraint(
        "kind IN ('owner', 'app', 'readonly', 'monitor', 'backup', 'tenant')",
        name="ck_security_roles_kind",
    ),
)

security_tenants = Table(
    "security_tenants",
    metadata,
    Column("role_name", Text, primary_key=True),
    Column("namespace", Text),
    Column("customer_id", Text),
    timestamp_now("created_at", nullable=False),
    CheckConstraint(
        "namespace IS NOT NULL OR customer_id IS NOT NULL", name="ck_security_tenants_whose"
    ),
)

encrypted_columns = Table(
    "encrypted_columns",
    metadata,
    Column("table_name", Text, nullable=False),
    Column("column_name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("older_keys", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    timestamp_now("began_at", nullable=False),
    timestamp_now("changed_at", nullable=False),
    Column("verified_at", TIMESTAMPTZ),
    Column("clear_values", BigInteger),
    Column("damaged_values", BigInteger),
    PrimaryKeyConstraint("table_name", "column_name", name="encrypted_columns_pkey"),
    CheckConstraint(
        "state IN ('encrypting', 'encrypted', 'decrypting')", name="ck_encrypted_columns_state"
    ),
    CheckConstraint(
        "(verified_at IS NULL) = (clear_values IS NULL) "
        "AND (verified_at IS NULL) = (damaged_values IS NULL)",
        name="ck_encrypted_columns_verified",
    ),
)
