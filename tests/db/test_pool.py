"""Which connection is lent, and that those that nobody needs are still closed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aegis.db import Database

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Connection


async def _process(conn: Connection) -> int:
    return conn.info.backend_pid


async def test_the_connection_that_came_back_last_is_lent_first(
    dsn: str, settings: Settings
) -> None:
    async with await Database.open(dsn, settings, min_size=4) as db:
        # Those that the pool opens come one by one.
        while db.figures().available < 4:
            await asyncio.sleep(0.01)
        async with db.connection() as first, db.connection() as second:
            early, late = await _process(first), await _process(second)
        # `second` was given back before `first`.
        for _ in range(5):
            async with db.connection() as conn:
                assert await _process(conn) == early
            async with db.transaction() as conn:
                assert await _process(conn) == early
        async with db.connection(), db.connection() as conn:
            assert await _process(conn) == late


async def test_connections_beyond_the_least_are_closed_when_they_lie_idle(
    dsn: str, settings: Settings
) -> None:
    short = replace(settings, pool_min_size=1, pool_max_size=4, pool_max_idle_s=0.2)
    async with await Database.open(dsn, short) as db:
        async with db.connection(), db.connection(), db.connection():
            assert db.figures().size >= 3
        async with asyncio.timeout(20):
            while db.figures().size > 1:
                async with db.connection() as conn:
                    await conn.execute("SELECT 1")
                await asyncio.sleep(0.05)


async def test_what_a_borrower_left_open_when_it_failed_is_rolled_back(
    dsn: str, settings: Settings
) -> None:
    async with await Database.open(dsn, settings, min_size=1) as db:
        with pytest.raises(ZeroDivisionError):
            async with db.connection() as conn:
                await conn.execute("CREATE TABLE left_open (id int)")
                await conn.execute("BEGIN")
                await conn.execute("INSERT INTO left_open VALUES (1)")
                raise ZeroDivisionError
        async with db.connection() as conn:
            assert conn.info.transaction_status.name == "IDLE"
            cursor = await conn.execute("SELECT count(*) FROM left_open")
            assert await cursor.fetchone() == (0,)
