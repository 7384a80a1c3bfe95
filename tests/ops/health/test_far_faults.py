"""Faults between client and server, of its settings, and of maintenance."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.db import Database
from aegis.errors import Conflict
from aegis.ops.health.checks.configuration import judge_memory
from aegis.ops.maintenance import Maintenance
from aegis.ops.maintenance.planning import Rules
from tests.cluster import throwaway_cluster, wheel_bin_dir
from tests.ops.health.looking import look, objects
from tests.ops.statements import run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from aegis.config import Settings

pytestmark = pytest.mark.servers("18", "16")

_GB = 1 << 30


@asynccontextmanager
async def far_away(dsn: str, delay_s: float) -> AsyncGenerator[str]:
    """Yield an address from which the server at `dsn`, on a socket, is a slow network away."""
    parts = conninfo_to_dict(dsn)
    socket = Path(str(parts["host"])) / f".s.PGSQL.{parts.get('port', 5432)}"
    tasks: set[asyncio.Task[None]] = set()

    async def pump(
        source: asyncio.StreamReader, target: asyncio.StreamWriter, wait_s: float
    ) -> None:
        try:
            while chunk := await source.read(65_536):
                # This is the fault, and no waiting for anything.
                await asyncio.sleep(wait_s)
                target.write(chunk)
                await target.drain()
        except ConnectionError:
            pass
        finally:
            target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near, out = await asyncio.open_unix_connection(str(socket))
        for one in (pump(reader, out, delay_s), pump(near, writer, 0.0)):
            tasks.add(asyncio.create_task(one))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield make_conninfo(
            dsn, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable"
        )
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_server_that_answers_slowly(db: Database, dsn: str, settings: Settings) -> None:
    near = await look(db, settings, "latency", "latency=60/60000")
    async with far_away(dsn, 0.09) as url:
        patient = replace(settings, health_timeout_ms=20_000)
        async with await Database.open(url, patient, min_size=1) as far:
            found = await look(far, patient, "latency", "latency=60/60000")
            assert found.state == "warning"
            assert found.value is not None
            assert found.value >= 90
            assert (await look(far, patient, "latency", "latency=10/60")).state == "critical"
    assert near.value is not None
    assert near.value < found.value


async def test_clients_that_come_in_clear_from_elsewhere(settings: Settings) -> None:
    # Real clients over TCP, in clear. Nothing of a test leaves this machine: where they are from
    # is written over in a view that stands before PostgreSQL's own.
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    conf = {"listen_addresses": "127.0.0.1", "port": str(port)}
    with throwaway_cluster(wheel_bin_dir(), settings=conf) as local:
        dsn = make_conninfo(local, port=port)
        clear = make_conninfo(dsn, host="127.0.0.1", sslmode="disable")
        async with (
            await Database.open(dsn, settings, min_size=1) as db,
            await psycopg.AsyncConnection.connect(clear) as client,
        ):
            pid = client.info.backend_pid
            # From this machine it is nobody's business.
            assert (await look(db, settings, "unencrypted-clients")).state == "ok"
            rows = await run(
                db,
                f"SELECT s.ssl, a.client_addr::text FROM pg_stat_ssl s "
                f"JOIN pg_stat_activity a USING (pid) WHERE pid = {pid}",
            )
            assert rows == [(False, "127.0.0.1/32")]
            columns = [
                name
                for (name,) in await run(
                    db,
                    "SELECT attname FROM pg_attribute WHERE attnum > 0 "
                    "AND attrelid = 'pg_stat_activity'::regclass ORDER BY attnum",
                )
            ]
            listed = ", ".join(
                "CASE WHEN client_addr IS NOT NULL THEN '192.0.2.9'::inet END AS client_addr"
                if name == "client_addr"
                else name
                for name in columns
            )
            await run(
                db,
                "CREATE SCHEMA elsewhere",
                f"CREATE VIEW elsewhere.pg_stat_activity AS "
                f"SELECT {listed} FROM pg_catalog.pg_stat_activity",
                "ALTER DATABASE postgres SET search_path = elsewhere, pg_catalog, public",
            )
            async with await Database.open(dsn, settings, min_size=1) as moved:
                found = await look(moved, settings, "unencrypted-clients")
            assert (found.state, objects(found)) == ("warning", ["aegis@192.0.2.9"])


async def test_memory_settings_that_do_not_fit_the_machine(
    db: Database, dsn: str, settings: Settings
) -> None:
    name = conninfo_to_dict(dsn)["dbname"]
    await run(
        db,
        f"ALTER DATABASE \"{name}\" SET work_mem = '1TB'",
        f"ALTER DATABASE \"{name}\" SET effective_cache_size = '8MB'",
        f"ALTER DATABASE \"{name}\" SET maintenance_work_mem = '1TB'",
    )
    async with await Database.open(dsn, settings, min_size=1) as fresh:
        found = await look(fresh, settings, "memory-settings")
    assert found.state == "warning"
    assert {"work_mem", "effective_cache_size", "maintenance_work_mem"} <= set(objects(found))
    for finding in found.findings:
        # What it advises is what PostgreSQL takes; for a session here, the server is others', too.
        if finding.object != "shared_buffers":
            await run(db, (finding.fix or "").replace("ALTER SYSTEM SET", "SET"), "RESET ALL")
    await run(db, f'ALTER DATABASE "{name}" RESET ALL')
    async with await Database.open(dsn, settings, min_size=1) as fresh:
        left = await look(fresh, settings, "memory-settings")
    assert not {"work_mem", "effective_cache_size", "maintenance_work_mem"} & set(objects(left))


def test_shared_buffers_are_judged_by_the_memory_there_is() -> None:
    fit = {"work": 4 << 20, "cache": 8 * _GB, "maintenance": 64 << 20, "connections": 100}

    def state(shared: int) -> list[str | None]:
        return [s.state for s in judge_memory(16 * _GB, shared=shared, **fit)]

    assert state(4 * _GB) == []
    assert state(128 << 20) == []
    assert state(32 << 20) == ["warning"]
    (large,) = judge_memory(16 * _GB, shared=10 * _GB, **{**fit, "cache": 12 * _GB})
    assert (large.state, large.fix) == ("warning", "ALTER SYSTEM SET shared_buffers = '4096MB';")
    (whole,) = judge_memory(16 * _GB, shared=15 * _GB, **{**fit, "cache": 16 * _GB})
    assert (whole.object, whole.state) == ("shared_buffers", "critical")


@pytest.fixture
async def idle(db: Database) -> AsyncIterator[Database]:
    """A database whose counters are a week older than they are."""
    name = (await run(db, "SELECT current_database()"))[0][0]
    await run(
        db,
        "CREATE SCHEMA earlier",
        "CREATE VIEW earlier.pg_stat_database AS SELECT datname, "
        "coalesce(stats_reset, pg_postmaster_start_time()) - interval '8 days' AS stats_reset "
        "FROM pg_catalog.pg_stat_database",
        f'ALTER DATABASE "{name}" SET search_path = earlier, pg_catalog, public',
    )
    yield db


async def test_an_index_that_nobody_read_for_a_week_is_to_be_dropped(
    idle: Database, dsn: str, settings: Settings
) -> None:
    await run(
        idle,
        "CREATE TABLE public.big AS SELECT n FROM generate_series(1, 100000) n",
        "CREATE INDEX big_n ON public.big (n)",
        "CREATE UNIQUE INDEX big_once ON public.big (n)",
        "ANALYZE public.big",
    )
    limits = "unused-indexes=@1"
    async with await Database.open(dsn, settings, min_size=1) as aged:
        found = await look(aged, settings, "unused-indexes", limits)
        # What keeps rows apart works without being read.
        assert (found.state, objects(found)) == ("warning", ["big_n"])
        assert "no scan in 8 days" in found.observed
        fix = found.findings[0].fix
        assert fix == "DROP INDEX CONCURRENTLY big_n;"
        await run(aged, fix)
        assert (await look(aged, settings, "unused-indexes", limits)).state == "ok"


async def test_maintenance_that_is_not_done_and_maintenance_that_fails(
    db: Database, settings: Settings
) -> None:
    assert (await look(db, settings, "maintenance-age")).state == "ok"
    await run(db, "CREATE TABLE twice AS SELECT 1 AS n FROM generate_series(1, 2)")
    with pytest.raises(Conflict):
        await run(db, "CREATE UNIQUE INDEX CONCURRENTLY once ON twice (n)")
    work = Maintenance(
        db, settings, rules=Rules(least_index_bytes=0, dead_rows=10, changed_rows=10)
    )
    # It cannot be rebuilt while two rows are alike.
    assert (await work.run(outside_window=True)).failed == 1
    found = await look(db, settings, "maintenance-failures")
    assert (found.state, objects(found)) == ("warning", ["reindex public.once"])
    assert "duplicate" in found.observed
    await run(db, "DELETE FROM twice")
    assert (await work.run(outside_window=True)).failed == 0
    assert (await look(db, settings, "maintenance-failures")).state == "ok"
    await run(
        db,
        "UPDATE maintenance_runs SET started_at = started_at - interval '20 days', "
        "finished_at = finished_at - interval '20 days'",
    )
    late = await look(db, settings, "maintenance-age")
    assert (late.state, late.observed) == ("warning", "20.0 d ago")
    await run(db, "CREATE TABLE fresh AS SELECT generate_series(1, 1000) n", "DELETE FROM fresh",
              "SELECT pg_stat_force_next_flush()", "SELECT 1")  # fmt: skip
    assert (await work.run(outside_window=True)).done >= 1
    assert (await look(db, settings, "maintenance-age")).state == "ok"
