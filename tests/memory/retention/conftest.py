"""What tests of forgetting share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.statements import rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aegis.db import Database


async def age(db: Database, ids: Sequence[int], days: int) -> None:
    """Let episodes be as old as that."""
    await rows(
        db,
        "UPDATE episodic_memory SET timestamp = timestamp - make_interval(days => %s), "
        "created_at = created_at - make_interval(days => %s) WHERE id = ANY(%s)",
        days,
        days,
        list(ids),
    )


async def everything(db: Database, table: str) -> list[Any]:
    """Return each row of a table as text, by its key."""
    return await rows(db, f"SELECT t::text FROM {table} t ORDER BY 1")
