"""Index advice by the real hypopg."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from aegis.db import Database, fetch_value
from aegis.ops.stats import Stats

if TYPE_CHECKING:
    from aegis.config import Settings


async def test_an_index_that_does_not_exist_is_measured(prod: str, settings: Settings) -> None:
    with psycopg.connect(prod, autocommit=True) as conn:
        conn.execute("CREATE TABLE orders (id bigint PRIMARY KEY, customer int)")
        conn.execute("INSERT INTO orders SELECT n, n % 2000 FROM generate_series(1, 50000) AS n")
        conn.execute("ANALYZE orders")
        conn.execute("SELECT pg_stat_statements_reset()")
    async with await Database.open(prod, settings, min_size=1) as db:
        async with db.connection() as conn:
            await conn.execute("SELECT count(*) FROM orders WHERE customer = 7")
            await conn.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 11")
        (found,) = await Stats(db).advice()
        assert found.index == 'CREATE INDEX CONCURRENTLY ON "public"."orders" ("customer");'
        assert found.gain > 0.9
        assert found.size_bytes >= 8192
        async with db.connection() as conn:
            # Nothing was made, and no session that the pool hands on has it.
            left = "SELECT count(*) FROM pg_indexes WHERE tablename = 'orders'"
            assert await fetch_value(conn, left) == 1
            assert await fetch_value(conn, "SELECT count(*) FROM hypopg_list_indexes") == 0
