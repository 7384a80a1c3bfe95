"""Connections, statements, transactions, locks: each fault is really made, shown, and gone."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.ops.health.looking import look, objects

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from aegis.config import Settings
    from aegis.db import Database

pytestmark = pytest.mark.servers("18", "16")


@asynccontextmanager
async def session(dsn: str) -> AsyncGenerator[psycopg.AsyncConnection[Any]]:
    """Open a session of somebody else, which ends without a commit, and may be ended by others."""
    conn = await psycopg.AsyncConnection.connect(dsn)
    try:
        yield conn
    finally:
        await conn.close()


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something that another session does can be seen."""
    async with asyncio.timeout(30):
        while not await true():
            await asyncio.sleep(0.02)


async def state_of(dsn: str, pid: int) -> tuple[str, str]:
    async with session(dsn) as conn:
        cursor = await conn.execute(
            "SELECT coalesce(state, ''), coalesce(wait_event_type, '') FROM pg_stat_activity "
            "WHERE pid = %s",
            [pid],
        )
        row = await cursor.fetchone()
    return ("", "") if row is None else (row[0], row[1])


async def test_connections_near_the_limit_are_told_and_gone_again(
    db: Database, settings: Settings, dsn: str
) -> None:
    calm = await look(db, settings, "connections")
    assert (calm.state, "of 97" in calm.observed) == ("ok", True)
    open_ones = [await psycopg.AsyncConnection.connect(dsn) for _ in range(12)]
    try:
        busy = await look(db, settings, "connections", "connections=5/10")
        assert busy.state == "critical"
        counted = await look(db, settings, "connections-total", "connections-total=12")
        assert counted.state == "warning"
    finally:
        for conn in open_ones:
            await conn.close()

    async def gone() -> bool:
        return (await look(db, settings, "connections-total", "connections-total=12")).state == "ok"

    await until(gone)


async def test_a_session_idle_in_its_transaction_is_named_with_what_ends_it(
    db: Database, settings: Settings, dsn: str
) -> None:
    limits = "idle-in-transaction=0/600,idle-in-transaction-count=1,long-transactions=0"
    assert (await look(db, settings, "idle-in-transaction", limits)).state == "ok"
    async with session(dsn) as idle:
        await idle.execute("SELECT 1")
        found = await look(db, settings, "idle-in-transaction", limits)
        name = f"pid {idle.info.backend_pid}"
        assert (found.state, objects(found)) == ("warning", [name])
        assert found.findings[0].fix == f"SELECT pg_terminate_backend({idle.info.backend_pid});"
        assert (await look(db, settings, "idle-in-transaction-count", limits)).state == "warning"
        assert name in objects(await look(db, settings, "long-transactions", limits))
        # What it says puts it right does so.
        async with db.transaction() as conn:
            await conn.execute((found.findings[0].fix or "").encode())

        async def gone() -> bool:
            return (await look(db, settings, "idle-in-transaction", limits)).state == "ok"

        await until(gone)


async def test_a_statement_that_runs_long_is_shown_while_it_runs(
    db: Database, settings: Settings, dsn: str
) -> None:
    limits = "slow-running=0.05,long-running=0.05/500"
    async with session(dsn) as slow:
        sleeping = asyncio.ensure_future(slow.execute("SELECT pg_sleep(600) /* the slow one */"))

        async def seen() -> bool:
            return (await look(db, settings, "slow-running", limits)).state == "warning"

        await until(seen)
        found = await look(db, settings, "long-running", limits)
        assert objects(found) == [f"pid {slow.info.backend_pid}"]
        assert "the slow one" in found.observed
        # By default it is not slow yet.
        assert (await look(db, settings, "long-running")).state == "ok"
        async with db.transaction() as conn:
            fix = found.findings[0].fix
            assert fix is not None
            await conn.execute(fix.encode())
        with pytest.raises(psycopg.errors.QueryCanceled):
            await sleeping
    assert (await look(db, settings, "slow-running", limits)).state == "ok"


async def test_who_waits_for_whom_is_told_with_the_head_of_the_queue(
    db: Database, settings: Settings, dsn: str
) -> None:
    limits = "blocked=0/600"
    assert (await look(db, settings, "blocked", limits)).state == "ok"
    async with session(dsn) as holder, session(dsn) as first, session(dsn) as second:
        await holder.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
        waiting = [
            asyncio.ensure_future(c.execute("SELECT count(*) FROM api_keys"))
            for c in (first, second)
        ]
        for conn in (first, second):
            pid = conn.info.backend_pid

            async def waits(pid: int = pid) -> bool:
                return (await state_of(dsn, pid))[1] == "Lock"

            await until(waits)
        found = await look(db, settings, "blocked", limits)
        assert found.state == "warning"
        pids = {f"pid {c.info.backend_pid}" for c in (first, second)}
        assert set(objects(found)) == pids
        assert {f.fix for f in found.findings} == {
            f"SELECT pg_terminate_backend({holder.info.backend_pid});"
        }
        assert f"for pid {holder.info.backend_pid}" in found.observed
        await holder.rollback()
        await asyncio.gather(*waiting)
        assert (await look(db, settings, "blocked", limits)).state == "ok"


async def test_a_check_that_meets_a_lock_gives_up_and_the_others_go_on(
    db: Database, settings: Settings, dsn: str
) -> None:
    from dataclasses import replace

    from aegis.ops.health import Health

    impatient = replace(settings, health_timeout_ms=200)
    async with session(dsn) as holder:
        await holder.execute("LOCK TABLE maintenance_runs IN ACCESS EXCLUSIVE MODE")
        report = await Health(db, impatient).check(only=["maintenance-failures", "sequences"])
        by_id = {r.id: r for r in report.results}
        assert by_id["maintenance-failures"].state == "unknown"
        assert "locked" in by_id["maintenance-failures"].observed
        assert by_id["sequences"].state == "ok"
        assert report.state == "unknown"
    assert (await look(db, settings, "maintenance-failures")).state == "ok"
