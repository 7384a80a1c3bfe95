"""Disks that fill up, and files that may not be opened: told early, refused cleanly, made good."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from aegis.config import Settings, load_settings
from aegis.db import Database, embedded, migrate
from aegis.db.postmaster import wait_until
from aegis.errors import Unavailable
from tests.cluster import embedded_folder
from tests.ops.health.looking import look
from tests.serving import CALL, environment, serving

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


@pytest.fixture
def own() -> Iterator[Settings]:
    with embedded_folder() as data_dir:
        yield load_settings({}, data_dir=data_dir, embedder="none")


@contextmanager
def disk(folder: Path, options: str) -> Generator[Path]:
    """Mount a small disk in memory."""
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"{options},mode=755", "tmpfs", folder], check=True
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path, per_cent: float) -> None:
    """Let a file take so much of the disk that it is full to `per_cent`."""
    figures = os.statvfs(folder)
    wanted = int(figures.f_blocks * figures.f_frsize * per_cent / 100)
    used = (figures.f_blocks - figures.f_bfree) * figures.f_frsize
    ballast = folder / "ballast"
    have = ballast.stat().st_size if ballast.exists() else 0
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, max(1, have + wanted - used))
        while per_cent >= 100 and file.write(bytes(4096)):
            pass


# What only root can bring about.
if os.geteuid() == 0:

    async def test_a_disk_that_fills_is_told_before_it_is_full_and_loses_nothing(
        own: Settings,
    ) -> None:
        with disk(own.data_dir, "size=400m"):
            endpoint = embedded.start(own)
            migrate.upgrade(endpoint.dsn)
            acknowledged = 0
            async with await Database.open(endpoint.dsn, own, min_size=1) as db:
                async with db.transaction() as conn:
                    await conn.execute("CREATE TABLE kept (n int PRIMARY KEY, body text)")
                    # As large as it looks.
                    await conn.execute("ALTER TABLE kept ALTER body SET STORAGE EXTERNAL")
                # The limits are the built-in ones.
                assert (await look(db, own, "disk-space")).state == "ok"
                fill(own.data_dir, 85)
                assert (await look(db, own, "disk-space")).state == "warning"
                fill(own.data_dir, 93)
                assert (await look(db, own, "disk-space")).state == "critical"
                fill(own.data_dir, 100)
                assert os.statvfs(own.data_dir).f_bavail * 4096 < 1 << 20
                with pytest.raises(Unavailable) as full:
                    while True:
                        async with db.transaction() as conn:
                            await conn.execute(
                                "INSERT INTO kept VALUES (%s, repeat(md5(%s::text), 3000))",
                                [acknowledged, acknowledged],
                            )
                        acknowledged += 1
                # Where WAL has no room either, the server itself gives up, and recovers.
                assert full.value.code in ("db_disk_full", "db_unreachable")
            (own.data_dir / "ballast").unlink()
            again = embedded.start(own)
            async with await Database.open(again.dsn, own, min_size=1) as db:
                assert (await look(db, own, "disk-space")).state == "ok"
                async with db.transaction() as conn:
                    await conn.execute("INSERT INTO kept VALUES (-1, 'it goes on')")
                    cursor = await conn.execute("SELECT count(*) FROM kept WHERE n >= 0")
                    assert await cursor.fetchone() == (acknowledged,)
                    await conn.execute("CREATE EXTENSION amcheck")
                    await conn.execute("SELECT bt_index_check('kept_pkey', true)")
                    cursor = await conn.execute("SELECT count(*) FROM verify_heapam('kept')")
                    assert await cursor.fetchone() == (0,)
            embedded.stop(own, "immediate")

    def test_a_backup_for_which_no_file_can_be_made_is_refused_and_leaves_nothing(
        tmp_path: Path, dsn: str
    ) -> None:
        with disk(tmp_path / "few", "size=200m,nr_inodes=24") as few:
            settings = {
                "database_url": dsn, "backup_dir": str(few / "backups"), "embedder": "none",
                "backup_format": "directory", "backup_jobs": "2",
            }  # fmt: skip
            done = command(tmp_path / "data", "backup", "create", **settings)
            assert done.returncode == 9, done.stderr
            assert done.stderr.startswith("aegis: ")
            assert "Traceback" not in done.stderr
            assert os.statvfs(few).f_favail > 15
            assert [p.name for p in (few / "backups").iterdir() if not p.is_file()] == []
            subprocess.run(["mount", "-o", "remount,nr_inodes=2000", few], check=True)
            done = command(tmp_path / "data", "backup", "create", **settings)
            assert done.returncode == 0, done.stderr


def command(
    data_dir: Path, *arguments: str, files: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that may have so many files open."""
    limit = [] if not files else ["prlimit", f"--nofile={files}:{files}"]
    return subprocess.run(
        [*limit, *CALL, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
        env=environment(data_dir, **settings),
    )  # fmt: skip


def test_a_backup_that_may_open_too_few_files_leaves_nothing(tmp_path: Path, dsn: str) -> None:
    settings = {"database_url": dsn, "embedder": "none", "backup_dir": str(tmp_path / "backups")}
    failed = 0
    for files in range(6, 30, 3):
        done = command(tmp_path, "backup", "create", files=str(files), **settings)
        if done.returncode == 0:
            break
        failed += 1
        assert done.stderr
        folder = tmp_path / "backups"
        if folder.exists():
            assert [p.name for p in folder.iterdir() if p.is_dir()] == []
    assert failed > 0
    done = command(tmp_path, "backup", "create", **settings)
    assert done.returncode == 0, done.stderr
    # Nothing holds the lock that those took.
    with psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
        assert row == (0,)


def _open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def test_who_serves_survives_that_no_more_files_may_be_opened(tmp_path: Path, dsn: str) -> None:
    with (
        serving(tmp_path, database_url=dsn, embedder="none") as served,
        served.http() as http,
    ):
        pid = served.process.pid
        assert http.get("/readyz").status_code == 200
        open_ones = _open_files(pid)
        subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={open_ones + 4}:"], check=True)
        host, _, port = served.url.removeprefix("http://").rpartition(":")
        crowd = [socket.create_connection((host, int(port)), 5) for _ in range(30)]
        assert wait_until(lambda: _open_files(pid) >= open_ones + 3, 20)
        for one in crowd:
            one.close()
        assert served.process.poll() is None
        subprocess.run(["prlimit", f"--pid={pid}", "--nofile=1024:"], check=True)
        with served.http() as fresh:
            assert wait_until(lambda: fresh.get("/readyz").status_code == 200, 60)
