"""SQL of verification: one statement, whatever the number of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aegis.db import Connection

__all__ = ["verify_keys"]


async def verify_keys(
    conn: Connection, requests: str, *, lazily: bool = False
) -> list[tuple[int, str]]:
    """Return the number of each group of calls in `requests`, and what became of it; both JSON.

    `lazily` lets a transaction of nothing else commit without waiting for the disk, unless quota
    was used.
    """
    cursor = await conn.execute(
        "SELECT number, answer FROM aegis_verify_keys(%(requests)s::jsonb, %(lazily)s)",
        {"requests": requests, "lazily": lazily},
        prepare=True,
    )
    return await cursor.fetchall()
