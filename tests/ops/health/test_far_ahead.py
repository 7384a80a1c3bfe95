"""What takes years or terabytes to come about, brought about by the server's own tools."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo

from aegis.db import Database, migrate
from aegis.ops.maintenance import Maintenance
from tests.cluster import Handle, handled_cluster, reachable_folder, wheel_bin_dir
from tests.ops.health.looking import look, objects

if TYPE_CHECKING:
    from aegis.config import Settings

_GB = 1 << 30
_SEGMENT = 16 << 20
#: Transactions that one file of their states holds.
_FILE = 1 << 20


def made(handle: Handle) -> str:
    """Return the address of a migrated database on a server."""
    with psycopg.connect(handle.dsn, autocommit=True) as admin:
        admin.execute("CREATE DATABASE far TEMPLATE template0")
    url = make_conninfo(handle.dsn, dbname="far")
    migrate.upgrade(url)
    return url


async def run(url: str, *statements: str) -> list[Any]:
    rows: list[Any] = []
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        for statement in statements:
            cursor = await conn.execute(statement.encode())
            if cursor.description is not None:
                rows = await cursor.fetchall()
    return rows


def to_lsn(handle: Handle, at: int) -> None:
    """Let the server go on from another place of its log."""
    handle.stop()
    segment = at // _SEGMENT
    handle.call("pg_resetwal", "-l", f"00000001{segment // 256:08X}{segment % 256:08X}")
    handle.start()


async def test_a_slot_that_keeps_gigabytes_is_told_at_its_built_in_limits(
    settings: Settings,
) -> None:
    with handled_cluster(wheel_bin_dir(), settings={"wal_level": "replica"}) as handle:
        url = made(handle)
        await run(url, "SELECT pg_create_physical_replication_slot('stuck', true)")
        seen: list[tuple[str, str]] = []
        for size in (0, 2, 6, 22):
            if size:
                to_lsn(handle, size * _GB)
            async with await Database.open(url, settings, min_size=1) as db:
                kept = await look(db, settings, "slot-wal")
                inactive = await look(db, settings, "slots-inactive")
                seen.append((kept.state, inactive.state))
                if size:
                    # The fault is there: so much is kept for it.
                    assert objects(kept) == ["stuck"]
                    assert kept.value is not None
                    assert size - 1 < kept.value < size + 1
        assert seen == [
            ("ok", "warning"), ("warning", "warning"), ("warning", "critical"),
            ("critical", "critical"),
        ]  # fmt: skip
        async with await Database.open(url, settings, min_size=1) as db:
            await run(url, inactive.findings[0].fix or "")
            for check in ("slot-wal", "slots-inactive"):
                assert (await look(db, settings, check)).state == "ok"


def burn(handle: Handle, option: str, folder: str, number: int, files_of: int) -> None:
    """Let the server go on from another transaction, or group of row locks."""
    handle.stop()
    handle.call("pg_resetwal", option, str(number) if option == "-x" else f"{number},1")
    file = handle.data / folder / f"{number // files_of:04X}"
    file.write_bytes(bytes(256 * 1024))
    shutil.copymode(handle.data / "PG_VERSION", file)
    owner = (handle.data / "PG_VERSION").stat()
    shutil.chown(file, owner.st_uid, owner.st_gid)
    handle.start()


async def test_transactions_that_run_out_are_told_in_time_and_freezing_gives_them_back(
    settings: Settings,
) -> None:
    conf = {"autovacuum_freeze_max_age": "2000000000"}
    with handled_cluster(wheel_bin_dir(), settings=conf) as handle:
        url = made(handle)
        await run(url, "CREATE TABLE old AS SELECT generate_series(1, 100) AS n")
        for files, state in ((900, "warning"), (1_620, "critical")):
            burn(handle, "-x", "pg_xact", files * _FILE, _FILE)
            async with await Database.open(url, settings, min_size=1) as db:
                found = await look(db, settings, "xid-age")
                assert (found.state, "database" in found.observed) == (state, True)
                assert found.value is not None
                assert abs(found.value - (2_147.5 - files * _FILE / 1e6)) < 10
        async with await Database.open(url, settings, min_size=1) as db:
            # What is ours is frozen by maintenance, catalogs by a VACUUM of each database.
            work = Maintenance(db, settings)
            assert {s.task for s in await work.plan() if s.name == "old"} == {"freeze"}
            assert (await work.run(outside_window=True)).failed == 0
            ((age,),) = await run(url, "SELECT age(relfrozenxid) FROM pg_class WHERE relname='old'")
            assert age < 1_000_000
            await run(
                handle.dsn, "ALTER DATABASE template0 ALLOW_CONNECTIONS true",
            )  # fmt: skip
            for name in ("template0", "template1", "postgres", "far"):
                await run(make_conninfo(handle.dsn, dbname=name), "VACUUM (FREEZE)")
            assert (await look(db, settings, "xid-age")).state == "ok"
        ((count,),) = await run(url, "SELECT count(*) FROM old")
        assert count == 100


async def test_an_archive_that_is_full_is_told_and_nothing_of_the_log_is_dropped(
    settings: Settings,
) -> None:
    with reachable_folder() as place:
        archive = place / "archive"
        archive.mkdir(mode=0o777)
        archive.chmod(0o777)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", archive], check=True
        )
        try:
            await _fill_archive(settings, archive)
        finally:
            subprocess.run(["umount", "-l", archive], check=True)


async def _fill_archive(settings: Settings, archive: Any) -> None:
    conf = {
        "archive_mode": "on",
        "archive_command": f"cp %p {archive}/%f.part && mv {archive}/%f.part {archive}/%f",
        "min_wal_size": "2MB",
    }
    with handled_cluster(wheel_bin_dir(), settings=conf, made_with=("--wal-segsize=1",)) as handle:
        url = made(handle)
        async with await Database.open(url, settings, min_size=1) as db:

            async def reach(check: str, state: str) -> None:
                async with asyncio.timeout(120):
                    while (await look(db, settings, check)).state != state:
                        await asyncio.sleep(0.05)

            switch = ("SELECT pg_switch_wal() FROM pg_logical_emit_message(false, 'a', 'b')",)
            await run(url, *switch * 3)
            await reach("archiving", "critical")
            assert "No space" in (handle.place / "log").read_text()
            await run(url, *switch * 100)
            # The limits are the built-in ones: a hundred segments, five hundred.
            await reach("archive-backlog", "warning")
            await run(url, *switch * 420)
            await reach("archive-backlog", "critical")
            await run(url, "CHECKPOINT")
            waiting = list((handle.data / "pg_wal").glob("archive_status/*.ready"))
            assert len(waiting) >= 500
            for ready in waiting:
                assert (handle.data / "pg_wal" / ready.stem).exists(), ready
            subprocess.run(["mount", "-o", "remount,size=2g", archive], check=True)
            await run(url, *switch)
            await reach("archive-backlog", "ok")
            await reach("archiving", "warning")
            async with asyncio.timeout(120):
                while list((handle.data / "pg_wal").glob("archive_status/*.ready")):
                    await asyncio.sleep(0.05)
            names = sorted(p.name for p in archive.iterdir() if len(p.name) == 24)
        numbers = [int(name[8:16], 16) * 4096 + int(name[16:], 16) for name in names]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert len(numbers) > 520
        assert {p.stat().st_size for p in archive.iterdir() if len(p.name) == 24} == {1 << 20}
