"""Logs with rows in them, and ways to change rows that no trigger refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aegis.security.audit.recording import audited, note
from aegis.security.audit.service import AuditLog

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


@pytest.fixture
def log(db: Database, settings: Settings) -> AuditLog:
    """The audit log of the test's database."""
    return AuditLog(db, settings)


async def fill(db: Database, count: int) -> None:
    """Write `count` rows, each in a transaction of its own."""
    for number in range(count):
        async with audited(db) as conn:
            note(conn, "keys.update", "key", f"key-{number}", number=number)


async def tamper(db: Database, *statements: str) -> None:
    """Run statements as somebody who owns the tables, past every guard."""
    guards = ("audit_log", "audit_head", "audit_seals")
    async with db.transaction() as conn:
        for table in guards:
            await conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for statement in statements:
            await conn.execute(statement.encode())
        for table in guards:
            for part in ("rows", "whole"):
                await conn.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER tr_{table}_{part}")
