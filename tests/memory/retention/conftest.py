"""What tests of forgetting share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Database


async def rows_of(db: Database, statement: str, *values: Any) -> list[Any]:
    """Return the rows of a statement."""
    async with db.transaction() as conn:
        cursor = await conn.execute(statement.encode(), values or None)
        return await cursor.fetchall() if cursor.description is not None else []


async def age(db: Database, ids: Sequence[int], days: int) -> None:
    """Let episodes be as old as that."""
    await rows_of(
        db,
        "UPDATE episodic_memory SET timestamp = timestamp - make_interval(days => %s), "
        "created_at = created_at - make_interval(days => %s) WHERE id = ANY(%s)",
        days,
        days,
        list(ids),
    )


async def everything(db: Database, table: str) -> list[Any]:
    """Return each row of a table as text, by its key."""
    return await rows_of(db, f"SELECT t::text FROM {table} t ORDER BY 1")
