"""Index advice, by the plans that a real server makes.

No build of hypopg for these servers can be installed here. Functions of its names stand for it,
which make a real index and drop it again: what is asked of hypopg, and what is made of the plans
with and without the index, is all real. That hypopg's own indexes exist for the planner alone is
not shown by this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from aegis.db import Database, fetch_value, migrate
from aegis.ops.stats import Stats
from tests.cluster import throwaway_cluster, wheel_bin_dir

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aegis.config import Settings

_STAND_IN = """
CREATE SCHEMA "hypo things";

CREATE FUNCTION "hypo things".hypopg_create_index(statement text)
RETURNS TABLE (indexrelid oid, indexname text)
LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE replace(statement, 'CREATE INDEX ON', 'CREATE INDEX hypothetical ON');
    RETURN QUERY SELECT 'hypothetical'::regclass::oid, 'hypothetical';
END
$$;

CREATE FUNCTION "hypo things".hypopg_relation_size(index oid) RETURNS bigint
LANGUAGE sql
RETURN pg_relation_size(index);

CREATE FUNCTION "hypo things".hypopg_drop_index(index oid) RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE format('DROP INDEX %s', index::regclass);
    RETURN true;
END
$$;

CREATE FUNCTION "hypo things".hypopg_reset() RETURNS void
LANGUAGE sql
BEGIN ATOMIC
    SELECT;
END;

SET allow_system_table_mods = on;

INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
SELECT 90001, 'hypopg', 10, oid, false, '1.4'
FROM pg_namespace
WHERE nspname = 'hypo things';

CREATE TABLE orders (
    id bigint PRIMARY KEY,
    customer int,
    "when = x" timestamptz,
    state text,
    papers json
);

INSERT INTO orders
SELECT n, n % 2000, '2026-01-01'::timestamptz + n * interval '1 min', 'done', '{}'
FROM generate_series(1, 20000) AS n;

ANALYZE orders;
"""


@pytest.fixture(scope="module")
def advised() -> Iterator[str]:
    """A migrated database whose server counts statements and has what stands for hypopg."""
    conf = {"shared_preload_libraries": "pg_stat_statements"}
    with throwaway_cluster(wheel_bin_dir(), settings=conf) as dsn:
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute("CREATE DATABASE advised TEMPLATE template0")
        url = make_conninfo(dsn, dbname="advised")
        migrate.upgrade(url)
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE EXTENSION pg_stat_statements")
            conn.execute(_STAND_IN)
        yield url


@pytest.fixture
async def counted(advised: str, settings: Settings) -> AsyncIterator[Database]:
    async with await Database.open(advised, settings, min_size=1) as db:
        async with db.connection() as conn:
            await conn.execute("SELECT pg_stat_statements_reset()")
        yield db


async def ask(db: Database, *statements: str) -> None:
    async with db.connection() as conn:
        for statement in statements:
            await conn.execute(statement.encode())


async def test_an_index_is_advised_by_what_the_planner_gains(counted: Database) -> None:
    await ask(counted, "SELECT count(*) FROM orders WHERE customer = 7")
    (found,) = await Stats(counted).advice()
    assert found.index == 'CREATE INDEX CONCURRENTLY ON "public"."orders" ("customer");'
    assert found.gain > 0.9
    assert found.cost_after < found.cost_before
    assert found.size_bytes >= 8192
    assert "customer = $1" in found.query
    # Nothing is left, and the advice can be followed as it stands.
    await ask(counted, found.index.rstrip(";"), "ANALYZE orders")
    assert not await Stats(counted).advice()
    await ask(counted, "DROP INDEX orders_customer_idx")


async def test_an_index_that_gains_little_is_not_advised(counted: Database) -> None:
    await ask(counted, "SELECT count(papers) FROM orders WHERE state = 'done'")
    assert not await Stats(counted).advice()


async def test_no_index_is_advised_for_a_catalog_or_a_few_rows(counted: Database) -> None:
    await ask(
        counted,
        "CREATE TABLE few AS SELECT n, repeat('x', 4000) FROM generate_series(1, 900) AS n",
        "ANALYZE few",
        "SELECT count(*) FROM few WHERE n = 7",
        "SELECT count(*) FROM pg_class WHERE relnamespace = 11",
        "SELECT count(*) FROM information_schema.sql_features WHERE feature_name = 'x'",
    )
    assert not await Stats(counted).advice(least_gain=0.01)
    await ask(counted, "DROP TABLE few")


async def test_equality_comes_before_order_and_names_are_quoted(counted: Database) -> None:
    await ask(
        counted,
        """
        SELECT id FROM orders
        WHERE "when = x" > '2026-01-02' AND "when = x" < '2026-01-02 01:00' AND customer < 5
        """,
        'SELECT id FROM orders WHERE customer < 3 AND "when = x" = now()',
    )
    advised = {one.index for one in await Stats(counted).advice(least_gain=0.5)}
    assert 'CREATE INDEX CONCURRENTLY ON "public"."orders" ("when = x");' in advised
    assert all('("customer", "when = x")' not in index for index in advised)


async def test_what_a_btree_cannot_hold_or_explain_cannot_plan_is_passed_over(
    counted: Database,
) -> None:
    await ask(
        counted,
        "SELECT id FROM orders WHERE papers IS NULL",
        "SELECT id FROM orders WHERE papers->>'a' = ';'",
        "SET work_mem = '8MB'",
        "SELECT count(*) FROM orders WHERE customer = 7",
    )
    assert [one.index for one in await Stats(counted).advice()] == [
        'CREATE INDEX CONCURRENTLY ON "public"."orders" ("customer");'
    ]
    async with counted.connection() as conn:
        assert await fetch_value(conn, "SELECT to_regclass('hypothetical')") is None
