"""Traps of Debian's programs and extensions: each is shown to be one, and then not to bite."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from aegis.config import load_settings
from aegis.db import migrate
from aegis.errors import OpsError
from aegis.ops.backup.programs import find_program
from aegis.ops.backup.service import Backups
from aegis.ops.restore.models import Wanted
from tests.db.rows import MODERN_ROWS, execute, value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.debian.root import Root


@pytest.fixture
def data(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder that the programs of the root see; those are the ones in use."""
    monkeypatch.setenv("PATH", f"{root.clients()}:{os.environ['PATH']}")
    monkeypatch.setattr("tempfile.tempdir", str(root.share))
    folder = root.share / tmp_path.name
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def test_rows_that_a_preloaded_library_loses_are_missed(root: Root, data: Path) -> None:
    """AGE hooks into every TRUNCATE, and a parallel restore truncates before it copies."""
    with root.postgres(shared_preload_libraries="age") as dsn:
        execute(dsn, "CREATE DATABASE lossy TEMPLATE template0", "CREATE DATABASE raw")
        url = make_conninfo(dsn, dbname="lossy")
        migrate.upgrade(url)
        execute(url, MODERN_ROWS)
        backups = Backups(load_settings({}, data_dir=data, database_url=url, embedder="none"))
        made = await backups.create(replace(backups.wish(), format="directory", jobs=2))
        # The fault: the tables are there, and empty.
        pg_restore, _ = find_program("pg_restore", 18, compression="zstd:1")
        archive = made.path / "database"
        raw = make_conninfo(dsn, dbname="raw")
        done = subprocess.run(
            [pg_restore, "--jobs=2", f"--dbname={raw}", archive],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "ag_catalog" in done.stderr
        assert value(raw, "SELECT count(*) FROM episodic_memory") == 0
        databases = "SELECT string_agg(datname, ' ' ORDER BY 1) FROM pg_database"
        before = value(dsn, databases)
        with pytest.raises(OpsError) as lost:
            await backups.restore(made.name, Wanted(into="parallel", jobs=2))
        assert lost.value.code in ("restore_failed", "restore_differs")
        with pytest.raises(OpsError):
            await backups.restore(made.name, Wanted(in_place=True, jobs=2))
        assert value(dsn, databases) == before
        assert value(url, "SELECT count(*) FROM episodic_memory") > 0
        whole = await backups.restore(made.name, Wanted(into="one_by_one", jobs=1))
        assert whole.verdict == "verified"


@pytest.mark.parametrize("compression", ["zstd:1", "lz4:1"])
async def test_bits_that_zstd_and_lz4_do_not_miss(prod: str, data: Path, compression: str) -> None:
    with psycopg.connect(prod, autocommit=True) as conn:
        conn.execute(
            "CREATE TABLE noise AS SELECT gen_random_uuid() AS id FROM generate_series(1, 20000)"
        )
    backups = Backups(load_settings({}, data_dir=data, database_url=prod, embedder="none"))
    made = await backups.create(replace(backups.wish(), compression=compression))
    file = made.path / "database.dump"
    sound = file.read_bytes()
    pg_restore, _ = find_program("pg_restore", 18, compression=compression)
    rng = random.Random(5)
    missed = 0
    for _ in range(16):
        at = rng.randrange(len(sound) // 3, len(sound))
        file.write_bytes(
            sound[:at] + bytes([sound[at] ^ (1 << rng.randrange(8))]) + sound[at + 1 :]
        )
        done = subprocess.run(
            [pg_restore, "--file=/dev/null", file], check=False, stderr=subprocess.DEVNULL
        )
        missed += done.returncode == 0
        assert (await backups.verify(made.name)).verdict == "failed"
    # That is the trap: the program notices few of them.
    assert missed > 8
    file.write_bytes(sound)
    assert (await backups.verify(made.name)).verdict == "verified"


async def test_a_server_whose_clock_is_a_month_off_lets_no_backup_go(
    root: Root, data: Path
) -> None:
    """Before, while and after it is: what was made stays, and so does the order."""
    made: list[str] = []
    for clock in ("", "+30d", "", "-30d", ""):
        with root.postgres(clock=clock) as dsn:
            execute(dsn, "CREATE TABLE kept AS SELECT now() AS at")
            backups = Backups(
                load_settings(
                    {}, data_dir=data, database_url=dsn, embedder="none", backup_keep_at_least=1
                )
            )
            entry = await backups.create()
            made.append(entry.name)
            assert (entry.verdict, entry.manifest is not None) == ("verified", True)
            assert entry.manifest is not None
            off = (entry.manifest.snapshot_at - datetime.now(UTC)).total_seconds() / 86_400
            # The fault: that is what the server takes the time for.
            assert abs(off - float(clock.rstrip("d") or 0)) < 0.1
            assert [item for item in await backups.prune() if item.done] == []
            assert [e.name for e in await backups.list()] == made[::-1]
