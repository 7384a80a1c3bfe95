"""Snapshots, views and statements on a real server, with pg_stat_statements loaded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from aegis.db import Database, migrate
from aegis.errors import InvalidInput, NotFound, Unavailable
from aegis.ops.stats import Stats
from aegis.ops.stats.views import VIEWS
from tests.cluster import throwaway_cluster, wheel_bin_dir
from tests.ops.health.looking import look, objects
from tests.ops.statements import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aegis.config import Settings


@pytest.fixture(scope="module")
def watched() -> Iterator[str]:
    """A migrated database on a server that counts statements."""
    conf = {"shared_preload_libraries": "pg_stat_statements", "track_io_timing": "on"}
    with throwaway_cluster(wheel_bin_dir(), settings=conf) as dsn:
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute("CREATE DATABASE watched TEMPLATE template0")
        url = make_conninfo(dsn, dbname="watched")
        migrate.upgrade(url)
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE EXTENSION pg_stat_statements")
        yield url


@pytest.fixture
async def counted(watched: str, settings: Settings) -> AsyncIterator[Database]:
    async with await Database.open(watched, settings, min_size=1) as db:
        await run(
            db,
            "TRUNCATE health_snapshots, health_queries, health_relations, health_statements",
            "SELECT pg_stat_statements_reset()",
        )
        yield db


async def age(db: Database, hours: float) -> None:
    """Make all snapshots older."""
    await run(
        db,
        f"UPDATE health_snapshots SET taken_at = taken_at - make_interval(secs => {hours * 3600})",
    )


async def test_statements_are_counted_between_snapshots_and_over_a_reset(
    counted: Database,
) -> None:
    stats = Stats(counted)
    with pytest.raises(NotFound, match="no snapshot"):
        await stats.statements()
    await run(counted, *("SELECT count(*) FROM api_keys WHERE customer_id = 'a'" for _ in range(5)))
    await stats.snapshot()
    await age(counted, 2)
    await run(counted, *("SELECT count(*) FROM api_keys WHERE customer_id = 'b'" for _ in range(3)))

    async def calls() -> int:
        found = await stats.statements(hours=1, limit=1_000)
        return sum(s.calls for s in found if "FROM api_keys" in s.query)

    assert await calls() == 3
    await stats.snapshot()
    await run(
        counted,
        "SELECT pg_stat_statements_reset()",
        "SELECT count(*) FROM api_keys WHERE customer_id = 'c'",
    )
    assert await calls() == 4


async def test_no_value_of_a_statement_is_kept(counted: Database) -> None:
    await run(
        counted,
        "CREATE ROLE spy LOGIN PASSWORD 'hunter2'",
        "ALTER ROLE spy PASSWORD 'hunter3'",
        "DROP ROLE spy",
        "SELECT 'hunter4'",
        "SET application_name = 'hunter5'",
    )
    await Stats(counted).snapshot()
    ((count,),) = await run(counted, "SELECT count(*) FROM health_queries WHERE query ~ 'hunter'")
    ((known,),) = await run(
        counted, "SELECT count(*) FROM pg_stat_statements WHERE query ~ 'hunter[235]'"
    )
    # PostgreSQL itself kept them: what is not kept here is no accident.
    assert (count, known > 0) == (0, True)


async def test_only_what_changed_is_stored_and_old_snapshots_go(counted: Database) -> None:
    stats = Stats(counted)
    await run(counted, "SELECT count(*) FROM api_tiers")
    first = await stats.snapshot()
    assert (first.relations > 100, first.statements > 0) == (True, True)
    second = await stats.snapshot()
    # Sizes are taken every six hours; of statements only those of snapshots themselves changed.
    assert second.relations == 0
    ((times,),) = await run(
        counted,
        "SELECT count(*) FROM health_statements JOIN health_queries USING (query_id) "
        "WHERE query ~ 'FROM api_tiers'",
    )
    assert times == 1
    await age(counted, 24 * 31)
    third = await stats.snapshot()
    # The last reading of each statement is still there: what it does next is counted from it.
    assert third.relations > 100
    await run(counted, "SELECT count(*) FROM api_tiers")
    again = [s for s in await stats.statements(hours=1, limit=999) if "api_tiers" in s.query]
    assert [s.calls for s in again] == [1]
    await age(counted, 24 * 100)
    await stats.snapshot()
    ((left,),) = await run(counted, "SELECT count(*) FROM health_snapshots")
    assert left == 1


async def test_two_snapshots_at_once_are_one(counted: Database) -> None:
    stats = Stats(counted)
    ends = await asyncio.gather(*(stats.snapshot() for _ in range(4)), return_exceptions=True)
    refused = [e for e in ends if isinstance(e, BaseException)]
    assert len(refused) < 4
    assert all(getattr(e, "code", "") == "snapshot_running" for e in refused)


async def test_slow_and_slower_statements_are_findings(
    counted: Database, settings: Settings
) -> None:
    limits = "slow-statements=5@3,statement-regressions=2/500@1"
    stats = Stats(counted)
    await stats.snapshot()
    await age(counted, 48)
    for _ in range(25):
        await run(counted, "SELECT pg_sleep(0.0001) /* nap */")
    await stats.snapshot()
    await age(counted, 30)
    calm = await look(counted, settings, "statement-regressions", limits)
    assert calm.state == "ok"
    for _ in range(25):
        await run(counted, "SELECT pg_sleep(0.02) /* nap */")
    slow = await look(counted, settings, "slow-statements", limits)
    assert any("/* nap */" in f.observed for f in slow.findings)
    worse = await look(counted, settings, "statement-regressions", limits)
    assert any("/* nap */" in f.observed for f in worse.findings)
    (found,) = [r for r in await stats.regressions(hours=24) if "nap" in r.query]
    assert (found.calls, found.calls_before, found.ratio > 2) == (25, 25, True)


async def test_the_cache_is_judged_by_an_interval(counted: Database, settings: Settings) -> None:
    limits = "cache-hit=99/95@100"
    assert (await look(counted, settings, "cache-hit", limits)).state == "unknown"
    await run(
        counted,
        "DROP TABLE IF EXISTS wide",
        "CREATE TABLE wide AS SELECT n, repeat('x', 500) t FROM generate_series(1, 50000) n",
    )
    await Stats(counted).snapshot()
    await run(counted, *("SELECT count(*) FROM api_keys" for _ in range(3)))
    few = await look(counted, settings, "cache-hit", "cache-hit=99/95@1000000")
    assert (few.state, "too few" in few.observed) == ("ok", True)
    await run(
        counted,
        "CHECKPOINT",
        "CREATE EXTENSION IF NOT EXISTS pg_buffercache",
        "SELECT count(pg_buffercache_evict(bufferid)) FROM pg_buffercache "
        "WHERE relfilenode = pg_relation_filenode('wide')",
        "SET max_parallel_workers_per_gather = 0",
        "SELECT count(t) FROM wide",
        "SELECT pg_stat_force_next_flush()",
        "SELECT 1",
    )
    cold = await look(counted, settings, "cache-hit", limits)
    assert cold.state == "critical"
    assert (await look(counted, settings, "snapshot-age")).state == "ok"
    await age(counted, 5)
    assert (await look(counted, settings, "snapshot-age")).state == "warning"


async def test_indexes_that_come_from_the_disk_and_sorts_that_go_over_it(
    counted: Database, settings: Settings
) -> None:
    for check in ("index-cache-hit", "temp-files"):
        assert (await look(counted, settings, check)).state == "unknown"
    await run(
        counted,
        "DROP TABLE IF EXISTS keyed",
        "CREATE TABLE keyed AS SELECT n, md5(n::text) AS t FROM generate_series(1, 100000) n",
        "CREATE INDEX keyed_t ON keyed (t)",
        "VACUUM ANALYZE keyed",
        "CHECKPOINT",
        "CREATE EXTENSION IF NOT EXISTS pg_buffercache",
        "SELECT pg_stat_force_next_flush()",
        "SELECT 1",
    )
    await Stats(counted).snapshot()
    limits = "index-cache-hit=99/95@100,temp-files=0.001/1000"
    assert (await look(counted, settings, "temp-files", limits)).state == "ok"
    await run(
        counted,
        "SELECT count(pg_buffercache_evict(bufferid)) FROM pg_buffercache "
        "WHERE relfilenode = pg_relation_filenode('keyed_t')",
        "SET enable_seqscan = off",
        "SET max_parallel_workers_per_gather = 0",
        "SELECT count(t) FROM keyed WHERE t > ''",
        "RESET enable_seqscan",
        "SELECT pg_stat_force_next_flush()",
        "SELECT 1",
    )
    cold = await look(counted, settings, "index-cache-hit", limits)
    assert cold.state in ("warning", "critical")
    assert (await look(counted, settings, "cache-hit", "cache-hit=99/95@1000000")).state == "ok"
    await run(
        counted,
        "SET work_mem = '64kB'",
        "SET enable_indexscan = off",
        "SET enable_indexonlyscan = off",
        "SELECT count(*) FROM (SELECT t FROM keyed ORDER BY t OFFSET 0) sorted",
        "RESET ALL",
        "SELECT pg_stat_force_next_flush()",
        "SELECT 1",
    )
    spilled = await look(counted, settings, "temp-files", limits)
    assert (spilled.state, "MB" in spilled.observed) == ("warning", True)
    # What is of before the interval does not count.
    await Stats(counted).snapshot()
    await age(counted, 4)
    await Stats(counted).snapshot()
    assert (await look(counted, settings, "temp-files", limits)).state == "ok"


async def test_growth_is_forecast_and_what_grows_is_named(
    counted: Database, settings: Settings
) -> None:
    assert (await look(counted, settings, "growth")).state == "unknown"
    stats = Stats(counted)
    await run(counted, "DROP TABLE IF EXISTS growing", "CREATE TABLE growing (t text)")
    for _ in range(4):
        await run(
            counted,
            "INSERT INTO growing SELECT repeat(md5(n::text), 10) FROM generate_series(1, 9000) n",
        )
        await stats.snapshot()
        await age(counted, 24)
    grown = {g.object: g for g in await stats.growth()}
    fast = grown["public.growing"]
    assert fast.per_day_bytes > 2_000_000
    assert fast.in_30_days_bytes > fast.size_bytes + 29 * fast.per_day_bytes
    found = await look(counted, settings, "growth", health_storage_gb=0.1)
    assert (found.state, "public.growing" in found.observed) in (
        ("warning", True),
        ("critical", True),
    )
    roomy = await look(counted, settings, "growth", health_storage_gb=900.0)
    assert roomy.state == "ok"


async def test_deadlocks_are_counted(counted: Database, settings: Settings, watched: str) -> None:
    await run(
        counted, "DROP TABLE IF EXISTS knot", "CREATE TABLE knot AS SELECT 1 a UNION SELECT 2"
    )
    await Stats(counted).snapshot()
    assert (await look(counted, settings, "deadlocks")).state == "ok"
    one = await psycopg.AsyncConnection.connect(watched)
    two = await psycopg.AsyncConnection.connect(watched)
    await one.execute("SET deadlock_timeout = '50ms'; UPDATE knot SET a = a WHERE a = 1")
    await two.execute("SET deadlock_timeout = '50ms'; UPDATE knot SET a = a WHERE a = 2")
    ends = await asyncio.gather(
        one.execute("UPDATE knot SET a = a WHERE a = 2"),
        two.execute("UPDATE knot SET a = a WHERE a = 1"),
        return_exceptions=True,
    )
    assert sum(isinstance(e, psycopg.errors.DeadlockDetected) for e in ends) == 1
    await one.close()
    await two.close()
    async with asyncio.timeout(30):
        while (await look(counted, settings, "deadlocks")).state != "warning":
            await asyncio.sleep(0.05)


async def test_plans_are_made_of_own_statements_and_nothing_is_executed(
    counted: Database,
) -> None:
    await run(
        counted,
        "DROP TABLE IF EXISTS touched",
        "CREATE TABLE touched (n int)",
        "INSERT INTO touched VALUES (1)",
        "SELECT count(*) FROM api_keys WHERE customer_id = 'x'",
    )
    plans = await Stats(counted).plans(limit=1_000)
    (insert,) = [p for p in plans if p.query.startswith("INSERT INTO touched")]
    assert (insert.why_not, insert.plan[0].startswith("Insert on touched")) == (None, True)
    (read,) = [p for p in plans if "customer_id = $1" in p.query and "api_keys" in p.query]
    assert any("Scan" in line for line in read.plan)
    ((count,),) = await run(counted, "SELECT count(*) FROM touched")
    assert count == 1


async def test_a_statement_of_another_role_is_never_planned(
    counted: Database, watched: str
) -> None:
    # Planning evaluates stable functions with the rights of whoever plans.
    await run(
        counted,
        "DROP OWNED BY sly" if await run(counted, "SELECT 1 FROM pg_roles WHERE rolname = 'sly'")
        else "CREATE ROLE sly LOGIN",
        "CREATE SCHEMA IF NOT EXISTS lair AUTHORIZATION sly",
    )  # fmt: skip
    with psycopg.connect(make_conninfo(watched, user="sly"), autocommit=True) as sly:
        sly.execute("SELECT 42 AS trap")
    plans = await Stats(counted).plans(limit=1_000)
    assert not [p for p in plans if "trap" in p.query]


async def test_advice_needs_a_measured_gain(counted: Database, db: Database) -> None:
    with pytest.raises(Unavailable, match="hypopg") as refused:
        await Stats(counted).advice()
    assert refused.value.code == "hypopg_missing"
    with pytest.raises(Unavailable, match="pg_stat_statements"):
        await Stats(db).plans()


async def test_an_extension_that_is_created_but_not_loaded_is_told(
    db: Database, settings: Settings
) -> None:
    assert "not created" in (await look(db, settings, "statements-missing")).observed
    await run(db, "CREATE EXTENSION pg_stat_statements")
    found = await look(db, settings, "statements-missing")
    assert "shared_preload_libraries" in found.observed
    assert objects(found) == [""]


async def test_every_view_answers(counted: Database) -> None:
    stats = Stats(counted)
    for name in VIEWS:
        view = await stats.view(name, limit=5)
        assert view.columns
        assert len(view.rows) <= 5
    with pytest.raises(InvalidInput, match="no view"):
        await stats.view("table")


@pytest.mark.servers("18", "16")
async def test_the_statements_of_the_specification_give_the_same(db: Database) -> None:
    stats = Stats(db)
    name = (await run(db, "SELECT current_database()"))[0][0]
    for view, statement in (
        ("size", f"SELECT pg_size_pretty(pg_database_size('{name}'))"),
        ("tables", "SELECT schemaname, tablename, "
         "pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) AS size "
         "FROM pg_tables WHERE schemaname = 'public' "
         "ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC"),
        ("active", "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active'"),
    ):  # fmt: skip
        found = await stats.view(view, limit=10_000)
        assert sorted(map(str, found.rows)) == sorted(map(str, await run(db, statement)))
    (ratio,) = (await stats.view("cache")).rows
    assert ratio[0] is None or 0 <= ratio[0] <= 1
