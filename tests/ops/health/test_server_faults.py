"""Faults of a whole server, made on a throw-away one: its files, its WAL, its settings."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.config import load_settings
from aegis.db import Database, migrate
from tests.cluster import throwaway_cluster, wheel_bin_dir
from tests.conftest import WHEELS
from tests.ops.health.looking import look, objects
from tests.ops.statements import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aegis.config import Settings

pytestmark = pytest.mark.servers("18", "16")

_CONF = {
    "archive_mode": "on",
    "archive_command": "true",
    "wal_level": "logical",
    "max_prepared_transactions": "5",
    "autovacuum": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
}


@pytest.fixture(scope="module")
def own(server: str) -> Iterator[str]:
    """A migrated database on a server of this module's own."""
    with throwaway_cluster(wheel_bin_dir(WHEELS[server]), settings=_CONF) as dsn:
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute("CREATE DATABASE sick TEMPLATE template0")
        url = make_conninfo(dsn, dbname="sick")
        migrate.upgrade(url)
        yield url


@pytest.fixture
async def sick(own: str, settings: Settings) -> AsyncIterator[Database]:
    async with await Database.open(own, settings, min_size=1) as db:
        yield db


def data_of(dsn: str) -> Path:
    return Path(str(conninfo_to_dict(dsn)["host"])) / "data"


async def reach(db: Database, settings: Settings, check: str, state: str) -> Any:
    """Wait until a check comes to a state: the server does its part in the background."""
    async with asyncio.timeout(60):
        while True:
            found = await look(db, settings, check)
            if found.state == state:
                return found
            await asyncio.sleep(0.05)


async def test_an_archive_command_that_fails(sick: Database, settings: Settings) -> None:
    switch = "SELECT pg_switch_wal() FROM pg_logical_emit_message(false, 'a', 'b')"
    await run(sick, "SELECT pg_stat_reset_shared('archiver')", switch)
    await reach(sick, settings, "archiving", "ok")
    await run(sick, "ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()")
    await run(sick, switch)
    found = await reach(sick, settings, "archiving", "critical")
    assert "failed" in found.observed
    backlog = await look(sick, settings, "archive-backlog", "archive-backlog=1/100")
    assert backlog.state == "warning"
    # It works again: the failure is told for a day, and the backlog goes.
    await run(sick, "ALTER SYSTEM RESET archive_command", "SELECT pg_reload_conf()", switch)
    found = await reach(sick, settings, "archiving", "warning")
    assert "works again" in found.observed

    async with asyncio.timeout(60):
        limits = "archive-backlog=1/100"
        while (await look(sick, settings, "archive-backlog", limits)).state != "ok":
            await asyncio.sleep(0.05)


async def test_a_slot_that_nobody_reads(sick: Database, settings: Settings) -> None:
    assert (await look(sick, settings, "slots-inactive")).state == "ok"
    await run(sick, "SELECT pg_create_physical_replication_slot('forgotten', true)")
    found = await look(sick, settings, "slots-inactive")
    assert (found.state, objects(found)) == ("warning", ["forgotten"])
    assert (await look(sick, settings, "slot-limit")).state == "warning"
    await run(sick, "SELECT pg_logical_emit_message(false, 'a', repeat('x', 1000000))")
    held = await look(sick, settings, "slot-wal", "slot-wal=0.0001/100")
    assert objects(held) == ["forgotten"]
    await run(sick, found.findings[0].fix or "")
    for check in ("slots-inactive", "slot-limit"):
        assert (await look(sick, settings, check)).state == "ok"


async def test_a_prepared_transaction_that_nobody_ends(sick: Database, settings: Settings) -> None:
    limits = "prepared-transactions=0/1000"
    assert (await look(sick, settings, "prepared-transactions", limits)).state == "ok"
    await run(sick, "BEGIN", "CREATE TABLE half ()", "PREPARE TRANSACTION 'o''clock'")
    found = await look(sick, settings, "prepared-transactions", limits)
    assert (found.state, objects(found)) == ("warning", ["o'clock"])
    await run(sick, found.findings[0].fix or "")
    assert (await look(sick, settings, "prepared-transactions", limits)).state == "ok"


async def test_lines_of_pg_hba(sick: Database, own: str, settings: Settings) -> None:
    path = data_of(own) / "pg_hba.conf"
    before = path.read_text()
    try:
        path.write_text(
            "local all aegis trust\n"
            "host all all 10.0.0.0/8 trust\n"
            "host all all 127.0.0.1/32 trust\n"
            "host all all 192.168.0.0/16 md5\n"
            "host all all 10.1.0.0/16 password\n"
        )
        trust = await look(sick, settings, "hba-trust")
        states = {f.observed: f.state for f in trust.findings}
        assert [s for o, s in states.items() if "10.0.0.0" in o] == ["critical"]
        assert sorted(states.values()) == ["critical", "warning", "warning"]
        weak = await look(sick, settings, "hba-weak")
        assert sorted(f.state for f in weak.findings) == ["critical", "warning"]
        path.write_text("local all aegis trust\nhost all all nonsense\n")
        assert (await look(sick, settings, "hba-errors")).state == "critical"
        path.write_text("local all aegis peer\nhost all all 127.0.0.1/32 scram-sha-256\n")
        for check in ("hba-trust", "hba-weak", "hba-errors"):
            assert (await look(sick, settings, check)).state == "ok"
    finally:
        path.write_text(before)


async def test_passwords_and_superusers(sick: Database, settings: Settings) -> None:
    assert (await look(sick, settings, "superusers")).state == "ok"
    assert (await look(sick, settings, "passwords-md5")).state == "ok"
    await run(
        sick,
        "CREATE ROLE second SUPERUSER LOGIN",
        "SET password_encryption = 'md5'",
        "CREATE ROLE old LOGIN PASSWORD 'x'",
        "RESET password_encryption",
    )
    try:
        found = await look(sick, settings, "superusers")
        assert (found.state, found.observed) == ("warning", "second")
        assert objects(await look(sick, settings, "passwords-md5")) == ["role old"]
    finally:
        await run(sick, "DROP ROLE second", "DROP ROLE old")
    assert (await look(sick, settings, "superusers")).state == "ok"
    assert (await look(sick, settings, "passwords-md5")).state == "ok"


async def test_an_extension_that_is_older_than_its_files(
    sick: Database, settings: Settings
) -> None:
    assert (await look(sick, settings, "extensions-outdated")).state == "ok"
    current = await run(sick, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    # What is installed is written into the catalog; the files stay as they are.
    await run(sick, "UPDATE pg_extension SET extversion = '0.5.1' WHERE extname = 'vector'")
    found = await look(sick, settings, "extensions-outdated")
    assert (objects(found), found.findings[0].fix) == (
        ["vector"],
        "ALTER EXTENSION vector UPDATE;",
    )
    assert found.observed == f"vector: 0.5.1, {current[0][0]} is there"
    await run(
        sick,
        f"UPDATE pg_extension SET extversion = '{current[0][0]}' WHERE extname = 'vector'",
    )
    assert (await look(sick, settings, "extensions-outdated")).state == "ok"


async def test_settings_that_lose_data_wait_for_a_restart_or_cannot_be_read(
    sick: Database, own: str, settings: Settings
) -> None:
    for check in ("durability", "pending-restart", "settings-errors"):
        assert (await look(sick, settings, check)).state == "ok"
    await run(
        sick,
        "ALTER SYSTEM SET full_page_writes = off",
        "ALTER SYSTEM SET max_connections = 77",
        "SELECT pg_reload_conf()",
    )
    lost = await reach(sick, settings, "durability", "critical")
    assert objects(lost) == ["full_page_writes"]
    waiting = await reach(sick, settings, "pending-restart", "warning")
    assert objects(waiting) == ["max_connections"]
    # As psql sends them: one after the other.
    await run(sick, *(lost.findings[0].fix or "").removesuffix(";").split("; "))
    await reach(sick, settings, "durability", "ok")
    await run(sick, "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
    await reach(sick, settings, "pending-restart", "ok")
    extra = data_of(own) / "postgresql.auto.conf"
    before = extra.read_text()
    try:
        extra.write_text(before + "work_mem = 'plenty'\n")
        wrong = await look(sick, settings, "settings-errors")
        assert (wrong.state, "work_mem" in wrong.observed) == ("warning", True)
    finally:
        extra.write_text(before)
    assert (await look(sick, settings, "settings-errors")).state == "ok"


async def test_slow_statements_are_not_logged_until_the_fix_is_done(
    sick: Database, own: str, settings: Settings
) -> None:
    found = await look(sick, settings, "slow-log")
    assert found.state == "warning"
    await run(sick, found.findings[0].fix or "")
    async with await Database.open(own, settings, min_size=1) as fresh:
        assert (await look(fresh, settings, "slow-log")).state == "ok"
    await run(sick, "ALTER DATABASE sick RESET log_min_duration_statement")


async def test_room_that_a_setting_allots(sick: Database, settings: Settings) -> None:
    # Without it, the disk counts.
    assert "the disk" in (await look(sick, settings, "database-size")).observed
    tight = replace(settings, health_storage_gb=0.001)
    found = await look(sick, tight, "database-size")
    assert (found.state, "AEGIS_HEALTH_STORAGE_GB" in found.observed) == ("critical", True)
    roomy = load_settings({}, data_dir=settings.data_dir, health_storage_gb=1_000.0)
    assert (await look(sick, roomy, "database-size")).state == "ok"
    used = (await look(sick, settings, "disk-space")).value
    assert used is not None
    full = await look(sick, settings, "disk-space", f"disk-space={used / 2:.6f}/100")
    assert full.state == "warning"


async def test_a_page_with_a_wrong_checksum(sick: Database, own: str, settings: Settings) -> None:
    ((state,),) = await run(sick, "SHOW data_checksums")
    if state == "off":
        # PostgreSQL 16 makes clusters without them, which is a finding of its own.
        assert (await look(sick, settings, "checksums-off")).state == "warning"
        assert (await look(sick, settings, "checksum-failures")).state == "unknown"
        return
    assert (await look(sick, settings, "checksums-off")).state == "ok"
    assert (await look(sick, settings, "checksum-failures")).state == "ok"
    await run(sick, "CREATE TABLE torn AS SELECT generate_series(1, 1000) n", "CHECKPOINT")
    ((place,),) = await run(sick, "SELECT pg_relation_filepath('torn')")
    path = data_of(own) / place
    raw = bytearray(path.read_bytes())
    raw[5000] ^= 0xFF
    path.write_bytes(raw)
    # The page must come from the disk again.
    await run(sick, "CREATE TEMP TABLE hidden AS SELECT 1")
    await evict(sick)
    with pytest.raises(Exception, match="invalid page"):
        await run(sick, "SELECT sum(n) FROM torn")
    found = await reach(sick, settings, "checksum-failures", "critical")
    assert "1 page(s)" in found.observed
    await run(sick, "DROP TABLE torn", "SELECT pg_stat_reset()")
    await reach(sick, settings, "checksum-failures", "ok")


async def evict(db: Database) -> None:
    await run(
        db,
        "CREATE EXTENSION IF NOT EXISTS pg_buffercache",
        "SELECT pg_buffercache_evict(bufferid) FROM pg_buffercache "
        "WHERE relfilenode = pg_relation_filenode('torn')",
    )
