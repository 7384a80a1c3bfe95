"""Replication that is behind, seen from both ends: a real replica, and replay that was paused."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.db import Database, migrate
from aegis.db.account import account_for, run_as
from aegis.db.binaries import binaries_at, reachable
from aegis.db.cluster import own_folder
from tests.cluster import reachable_folder, throwaway_cluster, wheel_bin_dir
from tests.conftest import WHEELS
from tests.ops.health.looking import look, objects

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from aegis.config import Settings

pytestmark = pytest.mark.servers("18", "16")

_LIMITS = "replication-lag=0.2/500"


@contextmanager
def replica_of(dsn: str, bin_dir: Path, name: str) -> Generator[str]:
    """Yield the address of a replica that streams from the server at `dsn`."""
    with reachable_folder() as run:
        account = account_for(run)
        programs = reachable(binaries_at(bin_dir), account, run / "programs")
        place = run / "server"
        own_folder(place, account)
        source = make_conninfo(dsn, application_name=name)

        def call(program: str, *arguments: str | Path) -> None:
            subprocess.run(
                [programs.program(program), "-D", place / "data", *arguments],
                check=True, stdout=subprocess.DEVNULL, cwd=place, **run_as(account),
            )  # fmt: skip

        call("pg_basebackup", "-d", source, "-R", "--checkpoint=fast", "--no-sync")
        call("pg_ctl", "-w", "-l", place / "log", "-o", f"-k {place}", "start")
        try:
            yield make_conninfo(dsn, host=str(place))
        finally:
            call("pg_ctl", "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def pair(server: str) -> Iterator[tuple[str, str]]:
    """A migrated database, and the same on a replica."""
    bin_dir = wheel_bin_dir(WHEELS[server])
    with throwaway_cluster(bin_dir, settings={"wal_level": "replica"}) as dsn:
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute("CREATE DATABASE led TEMPLATE template0")
        url = make_conninfo(dsn, dbname="led")
        migrate.upgrade(url)
        with replica_of(url, bin_dir, "second") as replica:
            yield url, replica


async def reach(db: Database, settings: Settings, state: str) -> list[str]:
    """Wait until the check comes to a state, and return what it names."""
    async with asyncio.timeout(60):
        while True:
            found = await look(db, settings, "replication-lag", _LIMITS)
            if found.state == state:
                return objects(found)
            await asyncio.sleep(0.05)


async def test_a_replica_that_does_not_replay_is_told_by_itself_and_by_its_source(
    pair: tuple[str, str], settings: Settings
) -> None:
    led, replica = pair
    assert conninfo_to_dict(led)["host"] != conninfo_to_dict(replica)["host"]
    async with (
        await Database.open(led, settings, min_size=1) as source,
        await Database.open(replica, settings, min_size=1) as second,
    ):
        await reach(source, settings, "ok")
        await reach(second, settings, "ok")
        async with second.connection() as conn:
            cursor = await conn.execute("SELECT pg_is_in_recovery()")
            assert await cursor.fetchone() == (True,)
            await conn.execute("SELECT pg_wal_replay_pause()")
        async with source.connection() as conn:
            await conn.execute("CREATE TABLE missed AS SELECT 1 AS n")
        assert await reach(source, settings, "warning") == ["second"]
        await reach(second, settings, "warning")
        async with second.connection() as conn:
            cursor = await conn.execute("SELECT to_regclass('missed') IS NULL")
            assert await cursor.fetchone() == (True,)
            await conn.execute("SELECT pg_wal_replay_resume()")
        await reach(second, settings, "ok")
        # The lag of what was replayed last is shown until something newer is.
        async with source.connection() as conn:
            await conn.execute("DROP TABLE missed")
        await reach(source, settings, "ok")
        # Nothing comes any more: what is replayed is all that came, and no longer all there is.
        async with second.connection() as conn:
            cursor = await conn.execute("SHOW primary_conninfo")
            connected = (await cursor.fetchone() or ("",))[0]
            await conn.execute("ALTER SYSTEM SET primary_conninfo = ''")
            await conn.execute("SELECT pg_reload_conf()")
        await reach(second, settings, "warning")
        async with second.connection() as conn:
            await conn.execute(sql.SQL("ALTER SYSTEM SET primary_conninfo = {}").format(connected))
            await conn.execute("SELECT pg_reload_conf()")
        await reach(second, settings, "ok")
