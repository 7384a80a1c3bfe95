"""A server that is really near the end of its transaction ids, and young again once vacuumed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.db import Database, migrate
from aegis.db.account import account_for, run_as
from aegis.db.binaries import binaries_at, reachable
from tests.cluster import reachable_folder, throwaway_cluster, wheel_bin_dir
from tests.conftest import WHEELS
from tests.ops.health.looking import look, objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.config import Settings

pytestmark = pytest.mark.servers("18", "16")

#: As late as can be: the server itself would mend what is to be seen here.
_CONF = {
    "autovacuum_freeze_max_age": "2000000000",
    "autovacuum_multixact_freeze_max_age": "2000000000",
}
_XID = 2_000_000_000
#: Transactions of a file of pg_xact, groups of one of pg_multixact/offsets; bytes of either.
_XIDS, _GROUPS, _BYTES = 1 << 20, 1 << 16, 1 << 18


@pytest.fixture
def old(server: str) -> Iterator[str]:
    """A migrated database on a server that has had two thousand million transactions since."""
    bin_dir = wheel_bin_dir(WHEELS[server])
    with throwaway_cluster(bin_dir, settings=_CONF) as dsn, reachable_folder() as folder:
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute("CREATE DATABASE worn TEMPLATE template0")
        url = make_conninfo(dsn, dbname="worn")
        migrate.upgrade(url)
        place = Path(str(conninfo_to_dict(dsn)["host"]))
        data, account = place / "data", account_for(place)
        programs = reachable(binaries_at(bin_dir), account, folder / "programs")

        def call(program: str, *arguments: str | Path) -> None:
            subprocess.run(
                [programs.program(program), "-D", data, *arguments],
                check=True, stdout=subprocess.DEVNULL, cwd=place, **run_as(account),
            )  # fmt: skip

        call("pg_ctl", "-w", "-m", "fast", "stop")
        call("pg_resetwal", "-x", str(_XID), "-m", f"{_XID},1")
        # What a server that came so far by itself would have: the files of the present.
        for folder_name, each in (("pg_xact", _XIDS), ("pg_multixact/offsets", _GROUPS)):
            present = data / folder_name / f"{_XID // each:04X}"
            present.write_bytes(bytes(_BYTES))
            owner = data.stat()
            shutil.chown(present, owner.st_uid, owner.st_gid)
        call("pg_ctl", "-w", "-l", place / "log", "-o", f"-k {place}", "start")
        yield url


async def test_ids_that_run_out_are_critical_until_everything_is_frozen(
    old: str, settings: Settings
) -> None:
    async with await Database.open(old, settings, min_size=1) as db:
        async with db.transaction() as conn:
            cursor = await conn.execute("SELECT pg_current_xact_id()::text::bigint")
            assert (await cursor.fetchone() or (0,))[0] >= _XID
        for check in ("xid-age", "multixact-age"):
            found = await look(db, settings, check)
            assert found.state == "critical", check
        assert (await look(db, settings, "freeze-overdue")).state == "warning"
        found = await look(db, settings, "xid-age")
        assert "database worn" in objects(found)
        assert found.value is not None
        assert 140 < found.value < 150
        # Each finding of a table says what makes it young; a database is as old as its oldest.
        async with db.connection() as conn:
            await conn.execute("VACUUM (FREEZE)")
        for check in ("xid-age", "multixact-age"):
            left = set(objects(await look(db, settings, check)))
            assert "database worn" not in left
            # Others of the server have to be vacuumed from within.
            assert "database template0" in left
            assert all(name.startswith("database ") for name in left)
        assert (await look(db, settings, "freeze-overdue")).state == "ok"
