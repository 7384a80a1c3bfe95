"""Which role is which, and whose rows a tenant sees."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Table, Text

from aegis.db.schema.types import metadata, timestamp_now

__all__ = ["security_roles", "security_tenants"]

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
