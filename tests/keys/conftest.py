"""Keys on a database of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aegis.keys import Keys

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database


@pytest.fixture
def keys(db: Database, settings: Settings) -> Keys:
    return Keys(db, settings)


async def rows(db: Database, statement: str, *params: Any) -> list[Any]:
    """Run a statement of the test's own, committed, and return its rows."""
    async with db.transaction() as conn:
        cursor = await conn.execute(statement.encode(), params or None)
        return await cursor.fetchall() if cursor.description is not None else []
