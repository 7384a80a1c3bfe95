"""Tables change beneath connections that have prepared their statements."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from aegis.client import Aegis
from aegis.db import Database, fetch_value
from aegis.errors import Unavailable
from tests.db.rows import execute

if TYPE_CHECKING:
    from aegis.config import Settings

pytestmark = pytest.mark.servers("18", "16")

#: As a revision or an owner may: a column more, one that is wider, one in another place.
CHANGES = (
    "ALTER TABLE episodic_memory ADD COLUMN weather text DEFAULT 'fine'",
    "ALTER TABLE api_keys ADD COLUMN weather text",
    "ALTER TABLE jobs ADD COLUMN weather text",
)


async def test_prepared_statements_outlive_an_upgrade_beneath_them(
    dsn: str, settings: Settings
) -> None:
    # One connection, so that it is the one that has planned.
    single = replace(settings, pool_min_size=1, pool_max_size=1)
    async with await Database.open(dsn, single) as db:
        client = Aegis(db, None, settings)

        async def work() -> None:
            for _ in range(8):
                made = await client.memory.record("note", "the hull is red")
                assert (await client.memory.get(made.id)).summary == "the hull is red"
                await client.jobs.list()

        await work()
        async with db.connection() as conn:
            cursor = await conn.execute("SELECT count(*) FROM pg_prepared_statements")
            row = await cursor.fetchone()
            # That is what makes it a fault: the server holds plans of the old tables.
            assert row is not None
            assert row[0] > 0
        execute(dsn, *CHANGES)
        await work()


async def test_a_statement_whose_type_changed_fails_once_and_is_planned_anew(
    dsn: str, settings: Settings
) -> None:
    """Whoever tries again succeeds, on whichever connection of the pool."""
    execute(dsn, "CREATE TABLE typed AS SELECT 7 AS n")
    single = replace(settings, pool_min_size=1, pool_max_size=1)
    async with await Database.open(dsn, single) as db:

        async def ask() -> object:
            async with db.transaction() as conn:
                return await fetch_value(conn, "SELECT n FROM typed")

        for _ in range(8):
            assert await ask() == 7
        execute(dsn, "ALTER TABLE typed ALTER COLUMN n TYPE text")
        with pytest.raises(Unavailable) as changed:
            await ask()
        assert changed.value.code == "db_plan_changed"
        for _ in range(8):
            assert await ask() == "7"
