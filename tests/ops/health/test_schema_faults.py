"""Indexes, constraints, rows and rights: each fault is really made, shown, and gone again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.errors import Conflict
from aegis.metrics.service import Metrics
from aegis.ops.health import Health
from tests.ops.health.looking import look, objects
from tests.ops.statements import run

if TYPE_CHECKING:
    from aegis.config import Settings
    from aegis.db import Database
    from aegis.ops.health import Result

pytestmark = pytest.mark.servers("18", "16")


async def cured(db: Database, settings: Settings, found: Result, **more: Any) -> bool:
    """Do what the findings say, and return whether the check is content then."""
    for finding in found.findings:
        assert finding.fix is not None, finding
        await run(db, finding.fix)
    return (await look(db, settings, found.id, **more)).state == "ok"


async def test_an_index_whose_build_failed_is_invalid_until_it_is_rebuilt(
    db: Database, settings: Settings
) -> None:
    await run(db, "CREATE TABLE doubled (n int)", "INSERT INTO doubled VALUES (1), (1)")
    assert (await look(db, settings, "invalid-indexes")).state == "ok"
    with pytest.raises(Conflict, match="duplicated"):
        await run(db, "CREATE UNIQUE INDEX CONCURRENTLY one_each ON doubled (n)")
    found = await look(db, settings, "invalid-indexes")
    assert (found.state, objects(found)) == ("warning", ["one_each"])
    assert found.findings[0].fix == "REINDEX INDEX CONCURRENTLY one_each;"
    await run(db, "DELETE FROM doubled", found.findings[0].fix)
    assert (await look(db, settings, "invalid-indexes")).state == "ok"


async def test_what_a_failed_reindex_left_is_to_be_dropped_and_a_build_in_progress_is_no_fault(
    db: Database, settings: Settings, dsn: str
) -> None:
    await run(db, "CREATE TABLE busy (n int)", "CREATE INDEX busy_n ON busy (n)")
    holder = await psycopg.AsyncConnection.connect(dsn)
    await holder.execute("INSERT INTO busy VALUES (1)")
    builder = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    building = asyncio.ensure_future(builder.execute("REINDEX INDEX CONCURRENTLY busy_n"))

    async def invalid() -> int:
        async with db.transaction() as conn:
            cursor = await conn.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
            row = await cursor.fetchone()
        return 0 if row is None else int(row[0])

    async with asyncio.timeout(30):
        while not await invalid():
            await asyncio.sleep(0.02)
    # It waits for the writer: there is an invalid index, and that is as it should be.
    assert (await look(db, settings, "invalid-indexes")).state == "ok"
    await run(db, f"SELECT pg_terminate_backend({builder.info.backend_pid})")
    with pytest.raises(psycopg.OperationalError):
        await building
    await holder.rollback()
    await holder.close()
    found = await look(db, settings, "invalid-indexes")
    assert objects(found) == ["busy_n_ccnew"]
    assert found.findings[0].fix == "DROP INDEX CONCURRENTLY busy_n_ccnew;"
    assert await cured(db, settings, found)


async def test_a_partitioned_index_that_lacks_a_partition_is_not_to_be_rebuilt(
    db: Database, settings: Settings
) -> None:
    await run(
        db,
        "CREATE TABLE parted (n int) PARTITION BY RANGE (n)",
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (9)",
        "CREATE INDEX parted_n ON ONLY parted (n)",
    )
    found = await look(db, settings, "invalid-indexes")
    assert (objects(found), found.findings[0].fix) == (["parted_n"], None)
    await run(
        db,
        "CREATE INDEX parted_1_n ON parted_1 (n)",
        "ALTER INDEX parted_n ATTACH PARTITION parted_1_n",
    )
    assert (await look(db, settings, "invalid-indexes")).state == "ok"


async def test_duplicates_are_told_and_what_only_looks_like_one_is_not(
    db: Database, settings: Settings
) -> None:
    await run(
        db,
        "CREATE TABLE d (a int, b int, c text, PRIMARY KEY (a, b))",
        "CREATE INDEX d_b ON d (b)",
        "CREATE INDEX d_c_partial ON d (b) WHERE b > 3",
        "CREATE INDEX d_c ON d (c)",
        "CREATE INDEX d_c_pattern ON d (c text_pattern_ops)",
        "CREATE INDEX d_lower ON d (lower(c))",
        "CREATE INDEX d_b_desc ON d (b DESC)",
        "CREATE INDEX d_b_hash ON d USING hash (b)",
        "CREATE UNIQUE INDEX d_ba ON d (b, a)",
    )
    # The primary key covers nothing here but its own beginning, and d_b is covered by d_ba.
    assert objects(await look(db, settings, "duplicate-indexes")) == ["d_b"]
    await run(
        db,
        "DROP INDEX d_b",
        "CREATE INDEX d_a ON d (a)",
        "CREATE INDEX d_lower_2 ON d (lower(c))",
    )
    found = await look(db, settings, "duplicate-indexes")
    assert objects(found) == ["d_a", "d_lower_2"]
    assert await cured(db, settings, found)


async def test_a_foreign_key_without_an_index_and_one_never_validated(
    db: Database, settings: Settings
) -> None:
    await run(
        db,
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "INSERT INTO parent VALUES (1)",
        "CREATE TABLE child AS SELECT n, 1 AS parent_id FROM generate_series(1, 200) n",
        "ALTER TABLE child ADD CONSTRAINT child_parent FOREIGN KEY (parent_id) "
        "REFERENCES parent (id) NOT VALID",
        "ANALYZE child",
    )
    limit = "unindexed-foreign-keys=@100"
    assert (await look(db, settings, "unindexed-foreign-keys")).state == "ok"
    found = await look(db, settings, "unindexed-foreign-keys", limit)
    assert objects(found) == ["child.child_parent"]
    assert await cured(db, settings, found, thresholds=limit)
    loose = await look(db, settings, "invalid-constraints")
    assert objects(loose) == ["child.child_parent"]
    assert await cured(db, settings, loose)


async def test_triggers_that_are_off(db: Database, settings: Settings) -> None:
    await run(db, "ALTER TABLE container_metrics DISABLE TRIGGER aegis_note_late_metrics")
    found = await look(db, settings, "disabled-triggers")
    assert "container_metrics.aegis_note_late_metrics" in objects(found)
    assert await cured(db, settings, found)


async def test_unused_indexes_wait_for_counters_of_a_week(db: Database, settings: Settings) -> None:
    await run(
        db,
        "CREATE TABLE big AS SELECT n FROM generate_series(1, 100000) n",
        "CREATE INDEX big_n ON big (n)",
        "ANALYZE big",
        "SELECT pg_stat_force_next_flush()",
    )
    found = await look(db, settings, "unused-indexes", "unused-indexes=@1")
    # A server that was started a moment ago cannot know.
    assert (found.state, "days old" in found.observed) == ("unknown", True)
    assert (await look(db, settings, "unused-indexes")).state == "ok"


async def test_tables_that_are_read_whole(db: Database, settings: Settings) -> None:
    await run(
        db,
        "CREATE TABLE whole AS SELECT n FROM generate_series(1, 20000) n",
        "SET max_parallel_workers_per_gather = 0",
        *("SELECT count(*) FROM whole WHERE n = 1" for _ in range(60)),
        "SELECT pg_stat_force_next_flush()",
        "SELECT 1",
    )
    found = await look(db, settings, "missing-indexes")
    assert objects(found) == ["whole"]
    await run(db, "DROP TABLE whole")
    assert (await look(db, settings, "missing-indexes")).state == "ok"


async def test_sequences_near_the_end_of_their_column(db: Database, settings: Settings) -> None:
    await run(
        db,
        "CREATE TABLE counted (id serial, wide bigserial, small smallserial)",
        "SELECT setval('counted_id_seq', 1700000000)",
        "SELECT setval('counted_wide_seq', 1700000000)",
        "SELECT setval('counted_small_seq', 32000)",
        # A sequence may be wider than its column: the column is what ends.
        "ALTER SEQUENCE counted_id_seq AS bigint",
    )
    found = await look(db, settings, "sequences")
    assert (found.state, objects(found)) == ("critical", ["counted_small_seq", "counted_id_seq"])
    assert "counted.id" in found.findings[1].observed
    await run(db, "ALTER TABLE counted ALTER id TYPE bigint, ALTER small TYPE bigint",
              "ALTER SEQUENCE counted_small_seq AS bigint")  # fmt: skip
    assert (await look(db, settings, "sequences")).state == "ok"


async def test_missing_partitions_and_rows_in_the_default_one(
    db: Database, settings: Settings
) -> None:
    await Metrics(db).keep()
    assert (await look(db, settings, "partitions-ahead")).state == "ok"
    assert (await look(db, settings, "default-partitions")).state == "ok"
    today = datetime.now(UTC).date()
    await run(
        db,
        f"DROP TABLE container_metrics_p{today + timedelta(days=1):%Y%m%d}",
        "INSERT INTO container_metrics (container_name, timestamp) VALUES ('x', NULL)",
        "CREATE TABLE logged (at timestamptz) PARTITION BY RANGE (at)",
        f"CREATE TABLE logged_1 PARTITION OF logged FOR VALUES FROM ('{today}') TO "
        f"('{today + timedelta(days=1)}')",
    )
    found = await look(db, settings, "partitions-ahead")
    # A hole right after today counts, however many partitions follow it; without a default
    # partition the next row is refused.
    states = {f.object: f.state for f in found.findings}
    assert states == {"logged": "critical", "container_metrics": "warning"}
    assert objects(await look(db, settings, "default-partitions")) == [
        "public.container_metrics_default"
    ]
    await run(db, "DROP TABLE logged", "DELETE FROM container_metrics WHERE timestamp IS NULL")
    await Metrics(db).keep()
    assert (await look(db, settings, "partitions-ahead")).state == "ok"
    assert (await look(db, settings, "default-partitions")).state == "ok"


async def test_dead_rows_and_stale_statistics_are_told_until_vacuum(
    db: Database, settings: Settings
) -> None:
    await run(
        db,
        "CREATE TABLE dying (n int, v vector(3))",
        "INSERT INTO dying SELECT n, '[1,2,3]' FROM generate_series(1, 20000) n",
        "CREATE INDEX ON dying USING hnsw (v vector_l2_ops)",
        "DELETE FROM dying WHERE n % 2 = 0",
        "SELECT pg_stat_force_next_flush()",
        "SELECT 1",
    )
    dead = await look(db, settings, "dead-rows")
    assert (dead.state, objects(dead)) == ("critical", ["dying"])
    assert objects(await look(db, settings, "hnsw-dead-rows")) == ["dying"]
    stale = await look(db, settings, "stale-statistics")
    assert "never analyzed" in stale.observed
    assert await cured(db, settings, dead)
    assert (await look(db, settings, "hnsw-dead-rows")).state == "ok"
    assert (await look(db, settings, "stale-statistics")).state == "ok"


async def test_ages_are_told_and_freezing_makes_them_young(
    db: Database, settings: Settings
) -> None:
    await run(
        db,
        "CREATE TABLE aged (n int) WITH (autovacuum_freeze_max_age = 100000)",
        *("INSERT INTO aged VALUES (1)" for _ in range(150)),
    )
    limit = "freeze-overdue=0.1/1000"
    found = await look(db, settings, "freeze-overdue", limit)
    assert "aged" in objects(found)
    mine = next(f for f in found.findings if f.object == "aged")
    await run(db, "CHECKPOINT", mine.fix or "")
    assert "aged" not in objects(await look(db, settings, "freeze-overdue", limit))
    # Two thousand million are left, less a few: the limits are what is changed here.
    assert (await look(db, settings, "xid-age")).state == "ok"
    assert (await look(db, settings, "xid-age", "xid-age=3000/0")).state == "warning"
    assert (await look(db, settings, "multixact-age", "multixact-age=3000")).state == "warning"


async def test_an_old_snapshot_holds_the_horizon(
    db: Database, settings: Settings, dsn: str
) -> None:
    holder = await psycopg.AsyncConnection.connect(dsn)
    await holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    await holder.execute("SELECT count(*) FROM api_keys")
    await run(db, *("CREATE TABLE burnt (); DROP TABLE burnt" for _ in range(20)))
    name = f"pid {holder.info.backend_pid}"
    assert name in objects(await look(db, settings, "xmin-horizon", "xmin-horizon=10"))
    await holder.close()
    async with asyncio.timeout(30):
        while name in objects(await look(db, settings, "xmin-horizon", "xmin-horizon=10")):
            await asyncio.sleep(0.02)


async def test_bloat_is_estimated_and_gone_after_a_rebuild(
    db: Database, settings: Settings
) -> None:
    await run(
        db,
        "CREATE TABLE bloated AS SELECT n, md5(n::text) AS t FROM generate_series(1, 400000) n",
        "CREATE INDEX bloated_t ON bloated (t)",
        "DELETE FROM bloated WHERE n % 10 > 0",
        "VACUUM ANALYZE bloated",
    )
    limits = "index-bloat=5,table-bloat=70@5"
    found = await look(db, settings, "index-bloat", limits)
    assert objects(found) == ["bloated_t"]
    assert await cured(db, settings, found, thresholds=limits)
    table = await look(db, settings, "table-bloat", limits)
    assert objects(table) == ["bloated"]
    await run(db, "VACUUM (FULL, ANALYZE) bloated")
    assert (await look(db, settings, "table-bloat", limits)).state == "ok"


async def test_autovacuum_that_is_off_for_a_table(db: Database, settings: Settings) -> None:
    await run(db, "CREATE TABLE alone () WITH (autovacuum_enabled = false)")
    found = await look(db, settings, "autovacuum-off")
    mine = next(f for f in found.findings if f.object == "alone")
    await run(db, mine.fix or "")
    assert "alone" not in objects(await look(db, settings, "autovacuum-off"))


async def test_rights_of_everybody_and_functions_with_their_owners(
    db: Database, settings: Settings
) -> None:
    ids = ("public-schema", "public-grants", "definer-functions")
    for check in ids:
        assert (await look(db, settings, check)).state == "ok"
    await run(
        db,
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "GRANT SELECT, INSERT ON api_keys TO PUBLIC",
        "CREATE FUNCTION mighty() RETURNS int SECURITY DEFINER LANGUAGE sql AS 'SELECT 1'",
    )
    for check in ids:
        found = await look(db, settings, check)
        assert found.state == "warning"
        assert await cured(db, settings, found), check


async def test_columns_that_look_like_secrets(db: Database, settings: Settings) -> None:
    assert (await look(db, settings, "secret-columns")).state == "ok"
    await run(
        db,
        "CREATE TABLE people (name text, password text, api_token varchar(9), iban text, "
        "input_tokens int, password_hash text, pin int, token_count int, shopping text)",
    )
    found = await look(db, settings, "secret-columns")
    assert objects(found) == ["people.api_token", "people.iban", "people.password"]
    mute = ",".join(f.key for f in found.findings)
    quiet = await Health(db, replace(settings, health_mute=mute)).check(only=["secret-columns"])
    assert (quiet.state, quiet.results[0].muted) == ("ok", 3)
