"""LISTEN on a connection of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aegis.db import Connection

__all__ = ["listen", "notifications"]


async def listen(conn: Connection, channel: str) -> None:
    """Listen on one channel and no other."""
    await conn.execute("UNLISTEN *")
    await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))


async def notifications(conn: Connection) -> AsyncGenerator[str]:
    """Yield payloads as they come."""
    try:
        async for notification in conn.notifies():
            yield notification.payload
    finally:
        if not conn.closed:
            await conn.execute("UNLISTEN *")
