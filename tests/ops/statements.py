"""Statements of a test, one after another, as an operator would type them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aegis.db import Database


async def run(db: Database, *statements: str) -> list[Any]:
    """Run them outside of any transaction, and return the rows of the last that has some."""
    rows: list[Any] = []
    async with db.connection() as conn:
        for statement in statements:
            cursor = await conn.execute(statement.encode())
            if cursor.description is not None:
                rows = await cursor.fetchall()
    return rows
