"""Maintenance on a real server: what it does, whom it does not block, what a crash leaves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from aegis.db import Database
from aegis.db.vector_indexes import Graph
from aegis.errors import AegisError, Conflict, NotFound
from aegis.ops.maintenance import Maintenance, doing
from aegis.ops.maintenance.planning import Rules
from aegis.ops.scheduled import run_maintenance
from tests.ops.statements import run

if TYPE_CHECKING:
    from aegis.config import Settings

pytestmark = pytest.mark.servers("18", "16")

#: Small tables need what large ones do.
RULES = Rules(least_index_bytes=0, dead_rows=10, changed_rows=10)


def maintenance(db: Database, settings: Settings) -> Maintenance:
    return Maintenance(db, settings, rules=RULES)


async def invalid(db: Database) -> list[str]:
    found = await run(
        db, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1"
    )
    return [name for (name,) in found]


async def steps_of(work: Maintenance, name: str) -> list[str]:
    return [step.task for step in await work.plan() if step.name == name]


async def test_what_needs_it_is_done_written_down_and_not_done_again(
    db: Database, settings: Settings
) -> None:
    await run(
        db,
        "CREATE TABLE dying AS SELECT n FROM generate_series(1, 1000) n",
        "DELETE FROM dying WHERE n > 500",
        "CREATE TABLE twice AS SELECT 1 AS n FROM generate_series(1, 2)",
        "SELECT pg_stat_force_next_flush()",
    )
    with pytest.raises(Conflict):
        await run(db, "CREATE UNIQUE INDEX CONCURRENTLY once ON twice (n)")
    await run(db, "DELETE FROM twice", "SELECT pg_stat_force_next_flush()", "SELECT 1")
    work = maintenance(db, settings)
    assert await steps_of(work, "dying") == ["vacuum"]
    assert await steps_of(work, "once") == ["reindex"]
    told: list[Any] = []
    outcome = await work.run(outside_window=True, tell=told.append)
    assert (outcome.failed, outcome.deferred, outcome.left) == (0, 0, 0)
    assert await invalid(db) == []
    assert await steps_of(work, "dying") == await steps_of(work, "once") == []
    done = {d.object: d for d in await work.history(limit=1000)}
    assert (done["public.dying"].state, done["public.dying"].task) == ("done", "vacuum")
    assert done["public.dying"].command == 'VACUUM (ANALYZE) "public"."dying"'
    assert done["public.once"].finished_at is not None
    assert "public.dying" in {getattr(t, "object", "") for t in told}
    assert await work.history(object="public.once") == [done["public.once"]]


async def test_a_writer_goes_on_while_everything_is_maintained(
    db: Database, settings: Settings, dsn: str
) -> None:
    await run(
        db,
        "CREATE TABLE written (n int, t text)",
        "INSERT INTO written SELECT n, md5(n::text) FROM generate_series(1, 50000) n",
        "CREATE INDEX written_t ON written (t)",
        "DELETE FROM written WHERE n % 2 = 0",
        "ANALYZE",
        "SELECT pg_stat_force_next_flush()",
        "SELECT 1",
    )
    written: list[int] = []
    stop = asyncio.Event()

    async def write() -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            # Whoever has to wait for a lock of maintenance fails here.
            await conn.execute("SET lock_timeout = '1s'")
            while not stop.is_set():
                await conn.execute("INSERT INTO written VALUES (0, 'x')")
                await conn.execute("UPDATE written SET t = 'y' WHERE n = 1")
                written.append(1)

    writing = asyncio.ensure_future(write())
    work = Maintenance(db, settings, rules=replace(RULES, bloat=0.0))
    names = {step.name for step in await work.plan()}
    assert {"written", "written_t"} <= names
    outcome = await work.run(outside_window=True)
    before = len(written)
    async with asyncio.timeout(30):
        while len(written) == before:
            await asyncio.sleep(0.01)
    stop.set()
    await writing
    assert outcome.failed == 0
    states = {d.object: d.state for d in await work.history(limit=1000)}
    assert (states["public.written"], states["public.written_t"]) == ("done", "done")
    assert await invalid(db) == []
    ((count,),) = await run(db, "SELECT count(*) FROM written WHERE n = 0")
    assert count == len(written)


async def test_a_lock_holder_puts_a_step_off_and_is_left_alone(
    db: Database, settings: Settings, dsn: str
) -> None:
    await run(
        db,
        "CREATE TABLE held AS SELECT n FROM generate_series(1, 1000) n",
        "DELETE FROM held WHERE n > 500",
        "SELECT pg_stat_force_next_flush()",
        "SELECT 1",
    )
    holder = await psycopg.AsyncConnection.connect(dsn)
    await holder.execute("LOCK TABLE held IN SHARE UPDATE EXCLUSIVE MODE")
    work = maintenance(db, replace(settings, maintenance_lock_timeout_ms=50))
    outcome = await work.run(outside_window=True)
    assert outcome.deferred == 1
    (put_off,) = await work.history(object="public.held")
    assert (put_off.state, put_off.error) == ("deferred", "no lock within 50 ms")
    # It still has its lock, and can go on.
    await holder.execute("INSERT INTO held VALUES (1)")
    await holder.commit()
    await holder.close()
    assert (await work.run(outside_window=True)).deferred == 0
    assert (await work.history(object="public.held"))[0].state == "done"


async def test_one_process_at_a_time(db: Database, settings: Settings, dsn: str) -> None:
    work = maintenance(db, settings)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as other:
        await other.execute("SELECT pg_advisory_lock(hashtextextended('aegis.maintenance', 0))")
        with pytest.raises(Conflict, match="Another process") as refused:
            await work.run(outside_window=True)
        assert refused.value.code == "maintenance_running"
    # The lock goes with the session, however that ends.
    async with asyncio.timeout(30):
        while True:
            try:
                await work.run(outside_window=True)
                break
            except Conflict:
                await asyncio.sleep(0.02)
    await work.run(outside_window=True)


async def test_a_reindex_killed_in_between_leaves_nothing_that_the_next_run_does_not_mend(
    db: Database, settings: Settings, dsn: str
) -> None:
    await run(
        db,
        "CREATE TABLE cut (n int)",
        "INSERT INTO cut SELECT generate_series(1, 5000)",
        "CREATE INDEX cut_n ON cut (n)",
        "ANALYZE cut",
    )
    # A writer that has not ended yet keeps the rebuild waiting, right in its middle.
    writer = await psycopg.AsyncConnection.connect(dsn)
    await writer.execute("INSERT INTO cut VALUES (0)")
    work = Maintenance(db, settings, rules=replace(RULES, bloat=0.0))
    assert await steps_of(work, "cut_n") == ["reindex"]
    async with await Database.open(dsn, settings, min_size=1) as doomed:
        dying = asyncio.ensure_future(
            Maintenance(doomed, settings, rules=replace(RULES, bloat=0.0)).run(outside_window=True)
        )
        async with asyncio.timeout(60):
            while await invalid(db) != ["cut_n_ccnew"]:
                await asyncio.sleep(0.02)
        killed = await run(
            db,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'REINDEX INDEX CONCURRENTLY%' AND pid <> pg_backend_pid()",
        )
        assert killed == [(True,)]
        with pytest.raises(AegisError):
            await dying
    assert await invalid(db) == ["cut_n_ccnew"]
    states = [d.state for d in await work.history(object="public.cut_n")]
    assert states == ["running"]
    await writer.rollback()
    await writer.close()
    # Nobody but the next run knows that it is dead.
    outcome = await maintenance(db, settings).run(outside_window=True)
    assert outcome.interrupted == 1
    assert await invalid(db) == []
    ends = [d.state for d in await work.history(object="public.cut_n")]
    assert ends[-1] == "interrupted"
    assert "running" not in ends
    (dropped,) = await work.history(object="public.cut_n_ccnew")
    assert (dropped.task, dropped.state) == ("drop-index", "done")
    ((valid,),) = await run(
        db, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'cut_n'::regclass"
    )
    assert valid


async def test_a_window_that_closes_cancels_a_rebuild_and_sweeps_up_after_it(
    db: Database, settings: Settings, dsn: str
) -> None:
    await run(
        db,
        "CREATE TABLE late (n int)",
        "INSERT INTO late SELECT generate_series(1, 5000)",
        "CREATE INDEX late_n ON late (n)",
        "ANALYZE",
    )
    from aegis.ops.maintenance.doing import do_step
    from aegis.ops.maintenance.models import Step

    writer = await psycopg.AsyncConnection.connect(dsn)
    await writer.execute("INSERT INTO late VALUES (0)")
    step = Step(task="reindex", schema="public", name="late_n", reason="r", urgency=1, size_bytes=1)
    async with db.connection() as conn:
        state, freed = await do_step(db, conn, step, settings=settings, left_s=0.3)
        ((timeout,),) = await (await conn.execute("SHOW statement_timeout")).fetchall()
    assert (state, freed, timeout) == ("deferred", 0, "30s")
    await writer.rollback()
    await writer.close()
    # The writer kept it from being swept at once; the next run does it.
    await maintenance(db, settings).run(outside_window=True)
    assert await invalid(db) == []


async def test_a_graph_of_vectors_is_rebuilt_with_the_memory_it_needs(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "idx_episodic_embedding_minilm"
    await run(
        db,
        """
        INSERT INTO episodic_memory (timestamp, event_type, summary, embedding, embedding_model)
        SELECT now(), 'note', 'number ' || n, array_agg(random()::real - 0.5)::vector,
               'all-MiniLM-L6-v2-onnx-int8'
        FROM generate_series(1, 50) n, generate_series(1, 384)
        GROUP BY n
        """,
        "UPDATE episodic_memory SET embedding = embedding",
        "ANALYZE episodic_memory",
        f"ALTER INDEX {name} SET (m = 20)",
        "SELECT pg_stat_force_next_flush()",
        "SELECT 1",
    )
    lent: list[Graph] = []
    room = doing.room_for_build

    def noting(conn: Any, graph: Graph) -> Any:
        lent.append(graph)
        return room(conn, graph)

    monkeypatch.setattr(doing, "room_for_build", noting)
    work = maintenance(db, settings)
    assert await steps_of(work, name) == ["reindex"]
    assert (await work.run(outside_window=True)).failed == 0
    assert Graph(vectors=50, dimensions=384, m=20) in lent
    assert await steps_of(work, name) == []


async def test_nothing_is_done_outside_the_window(db: Database, settings: Settings) -> None:
    noon = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
    closed = Maintenance(db, settings, now=lambda: noon)
    with pytest.raises(Conflict) as refused:
        await closed.run()
    assert refused.value.code == "maintenance_window_closed"

    class Client:
        maintenance = closed
        health: Any = None
        stats: Any = None
        alerts: Any = None

    assert await run_maintenance(Client()) == {"skipped": "maintenance_window_closed"}
    night = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)
    assert (await Maintenance(db, settings, now=lambda: night).run()).failed == 0


async def test_a_table_is_rewritten_only_where_it_is_proven_to_be_empty(
    db: Database, settings: Settings
) -> None:
    await run(
        db,
        "CREATE TABLE airy AS SELECT n, md5(n::text) t FROM generate_series(1, 20000) n",
        "CREATE TABLE dense AS SELECT n, md5(n::text) t FROM generate_series(1, 20000) n",
        "DELETE FROM airy WHERE n % 4 > 0",
        "SELECT pg_stat_force_next_flush()",
        "VACUUM ANALYZE airy, dense",
    )
    work = Maintenance(db, replace(settings, maintenance_window="always"))
    with pytest.raises(Conflict, match="empty") as refused:
        await work.rewrite("dense")
    assert refused.value.code == "not_bloated"
    with pytest.raises(NotFound):
        await work.rewrite("nowhere")
    outcome = await work.rewrite("airy")
    assert (outcome.done, outcome.freed_bytes > 500_000) == (1, True)
    assert (await work.history(object="public.airy"))[0].task == "vacuum-full"
    assert await steps_of(work, "airy") == []


async def test_names_that_need_quotes_and_tables_that_vanish(
    db: Database, settings: Settings
) -> None:
    await run(
        db,
        'CREATE SCHEMA "we ird"',
        'CREATE TABLE "we ird"."t;drop""x" AS SELECT n FROM generate_series(1, 1000) n',
        "SELECT pg_stat_force_next_flush()",
        "SELECT 1",
    )
    work = maintenance(db, settings)
    (step,) = [s for s in await work.plan() if s.schema == "we ird"]
    from aegis.ops.maintenance.doing import do_step

    async with db.connection() as conn:
        assert await do_step(db, conn, step, settings=settings, left_s=60) == ("done", 0)
        await conn.execute('DROP SCHEMA "we ird" CASCADE')
        state, _ = await do_step(db, conn, step, settings=settings, left_s=60)
    assert state == "failed"
    assert "does not exist" in ((await work.history(limit=1))[0].error or "")


async def test_partitions_of_every_parted_table_in_one_overview(
    db: Database, settings: Settings
) -> None:
    from aegis.metrics.service import Metrics

    await Metrics(db).keep()
    found = {p.table: p for p in await maintenance(db, settings).partitions()}
    assert {"api_usage_events", "container_metrics", "container_metrics_1m"} <= set(found)
    metrics = found["container_metrics"]
    assert (metrics.ahead, metrics.default, metrics.command) == (3, True, "aegis metrics keep")
    assert metrics.newest is not None
    assert (found["api_usage_events"].ahead or 0) >= 2
