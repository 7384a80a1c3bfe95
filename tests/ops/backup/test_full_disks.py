"""A disk that fills while a backup is restored: nothing is left, and it is said what was needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from aegis.client import ask_aegis
from aegis.config import load_settings
from aegis.db import migrate
from aegis.errors import OpsError
from aegis.ops.backup import proving
from aegis.ops.backup.service import Backups
from aegis.ops.restore import planning
from aegis.ops.restore.models import Wanted
from tests.cluster import reachable_folder, throwaway_cluster, wheel_bin_dir
from tests.disks import small_disk

if TYPE_CHECKING:
    from pathlib import Path

NEEDED = r"needs about (\d+) MiB"


def _nothing(size: int) -> int:
    """Foresee nothing: others fill the disk meanwhile."""
    return 0


# Mounting takes root.
if os.geteuid() == 0:

    @pytest.mark.timeout(600)
    async def test_a_restore_says_what_it_needed_and_leaves_nothing(
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with (
            reachable_folder() as folder,
            small_disk(folder / "disk", 280) as disk,
            # A server that has no room for its log would stop.
            throwaway_cluster(wheel_bin_dir(), place=disk, log_place=folder / "log") as dsn,
        ):
            backups = await _furnished(dsn, folder)
            entry = await backups.create()
            assert entry.manifest is not None
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(shutil.disk_usage(disk).free - (60 << 20)))
            plan = await backups.plan_restore(entry.name, Wanted(into="y"))
            assert re.search(NEEDED, plan.problems[0])
            monkeypatch.setattr(planning, "needed", _nothing)
            with pytest.raises(OpsError, match="No space left") as full:
                await backups.restore(entry.name, Wanted(into="y"))
            assert full.value.code == "restore_interrupted"
            needed = re.search(NEEDED, full.value.message)
            assert needed is not None
            assert int(needed.group(1)) == int(entry.manifest.database_bytes * 1.3) >> 20
            assert "\n" not in full.value.message
            with psycopg.connect(dsn) as conn:
                names = {n for (n,) in conn.execute("SELECT datname::text FROM pg_database")}
            assert names == {"postgres", "template0", "template1", "x"}
            # There is no word on the backup in it.
            assert (await backups.get(entry.name)).verdict == "verified"
            ballast.unlink()
            assert (await backups.restore(entry.name, Wanted(into="y"))).verdict == "verified"

    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("foreseen", [True, False])
    async def test_a_verification_says_what_it_needed_and_removes_its_server(
        monkeypatch: pytest.MonkeyPatch, foreseen: bool
    ) -> None:
        with (
            reachable_folder() as folder,
            throwaway_cluster(wheel_bin_dir()) as dsn,
            small_disk(folder / "small", 150) as disk,
        ):
            backups = await _furnished(dsn, folder)
            entry = await backups.create()
            if not foreseen:
                monkeypatch.setattr(proving, "needed", _nothing)
            own = Backups(replace(backups.settings, data_dir=disk), smoke=ask_aegis)
            looked = await own.verify(entry.name, full=True)
            assert looked.state.full is not None
            assert looked.state.full.verdict == "not_verified"
            problem = looked.state.full.problem or ""
            assert re.search(NEEDED, problem), problem
            assert ("No space left" in problem) is not foreseen
            assert list((disk / "sandboxes").iterdir()) == []
            assert not _servers_below(disk)
            done = await backups.verify(entry.name, full=True)
            assert done.verdict == "verified"


async def _furnished(dsn: str, folder: Path) -> Backups:
    """Return the backups of a database of some 90 MB."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE DATABASE x")
    url = make_conninfo(dsn, dbname="x")
    migrate.upgrade(url)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(
            """
            CREATE TABLE big AS
            SELECT i, repeat(md5(i::text), 40) AS t
            FROM generate_series(1, 60000) AS i
            """
        )
    settings = load_settings(
        {}, data_dir=folder / "data", backup_dir=folder / "backups", database_url=url,
        embedder="none",
    )  # fmt: skip
    return Backups(settings, smoke=ask_aegis)


def _servers_below(folder: Path) -> list[str]:
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if str(folder) in line]
