"""A PgBouncer that knows prepared statements and options, which that of older Debians does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest

import aegis
from aegis.config import load_settings
from aegis.db import Database
from aegis.db.opening import find_way
from tests.pooler import UNTOUCHED, left_in, pooled, warm

if TYPE_CHECKING:
    from pathlib import Path

    from tests.debian.root import Root


@pytest.mark.parametrize("options", ["", "options"])
@pytest.mark.parametrize("prepared", [0, 200])
async def test_the_daily_paths_of_a_newer_pgbouncer(
    root: Root, prod: str, tmp_path: Path, prepared: int, options: str
) -> None:
    settings = load_settings({}, data_dir=tmp_path / "data", keys_timeout_s=30.0)
    with pooled(
        prod,
        inside=root,
        server_round_robin=1,
        default_pool_size=3,
        max_prepared_statements=prepared,
        ignore_startup_parameters=options,
    ) as pooler:
        ways = replace(settings, database_url=pooler.url, direct_database_url=prod)
        assert (await find_way(pooler.url, settings)).pooling == "transaction"
        async with aegis.connect(settings=ways) as client:
            await warm(pooler)
            one = await client.memory.record("deploy", "The deployment runs on Fridays.")
            key = await client.keys.issue("c", monthly_quota=20)
            for _ in range(12):
                hits = await client.memory.recall("when does the deployment run?")
                assert [hit.episode.id for hit in hits] == [one.id]
                assert (await client.keys.verify(key.key)).valid
            async with client.db.session() as conn:
                await conn.execute("SELECT pg_advisory_lock(1)")
            (found,) = (await client.health.check(only=["pooler"])).results
            assert found.state == "ok"
        assert await left_in(pooler) == {UNTOUCHED}


async def test_sessions_of_a_newer_pgbouncer(root: Root, prod: str, tmp_path: Path) -> None:
    settings = load_settings({}, data_dir=tmp_path / "data")
    with pooled(prod, "session", inside=root, max_prepared_statements=200) as pooler:
        async with await Database.open(pooler.url, settings, min_size=1) as db:
            assert db.pooling == "session"
            for _ in range(9):
                async with db.connection() as conn:
                    cursor = await conn.execute("SELECT %(n)s::int", {"n": 1}, prepare=True)
                    assert await cursor.fetchone() == (1,)
        with psycopg.connect(pooler.url) as conn:
            row = conn.execute("SHOW statement_timeout").fetchone()
        assert row == ("0",)
