"""A statement of a test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aegis.db import Database


async def rows(db: Database, statement: str, *params: Any) -> list[Any]:
    """Run a statement, committed, and return its rows, which may be without columns."""
    async with db.transaction() as conn:
        cursor = await conn.execute(statement.encode(), params or None)
        return await cursor.fetchall() if cursor.description is not None else []
