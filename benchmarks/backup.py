"""Backups at size: made, restored, and whether damage is found.

A database of vectors, JSON and time series is dumped by plain pg_dump and by `aegis backup create`
in turns, with the same format, jobs and compression; restored by plain pg_restore and by
`aegis backup restore`; then a backup is damaged at random many times, and each time asked whether
it is good. The yardstick is the fastest of the plain runs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo

from aegis.db.admin import admin_connection
from aegis.ops.backup.catalogue import Catalogue
from aegis.ops.backup.creating import Wish, create
from aegis.ops.backup.crypto import KeyRing
from aegis.ops.backup.damage import damage
from aegis.ops.backup.programs import best_compression, environment, find_program
from aegis.ops.backup.reading import verify_fast
from aegis.ops.restore.models import Wanted
from aegis.ops.restore.running import open_entry, prepare
from aegis.ops.restore.running import run as restore
from benchmarks.report import progress

if TYPE_CHECKING:
    from collections.abc import Generator

    from aegis.ops.backup.models import Entry

__all__ = ["add_arguments", "run"]

KEYS = KeyRing(keys=())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--mb", type=int, default=1000, help="size of the database")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compression", default="auto")
    parser.add_argument("--damages", type=int, default=1000)
    parser.add_argument("--formats", default="custom,directory", help="those of pg_dump to measure")


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    from benchmarks.database import server
    from tests.cluster import reachable_folder

    figures: dict[str, float] = {}
    with server() as dsn, reachable_folder() as folder:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("CREATE DATABASE sized")
        own = make_conninfo(dsn, dbname="sized")
        figures["database_mb"] = _fill(own, args.mb)
        for format in args.formats.split(","):
            jobs = 2 if format == "directory" else 1
            wish = Wish(format=format, jobs=jobs, compression=args.compression)
            figures |= _backups(own, folder, wish, args.rounds)
        catalogue = Catalogue(folder / "backups")
        entry = catalogue.entries()[0]
        figures |= _restores(own, entry, args.rounds)
        figures["create_rss_mb"] = _memory(own, folder)
    figures |= _detection(args.damages)
    return figures


def _fill(dsn: str, size_mb: int) -> float:
    """Make vectors, JSON and a time series, about a third of the size each."""
    third = size_mb / 3
    with admin_connection(dsn) as conn:
        conn.autocommit = True
        conn.execute("CREATE EXTENSION vector")
        conn.execute("SET synchronous_commit = off")
        conn.execute("CREATE TABLE vectors (id bigserial PRIMARY KEY, embedding vector(1536))")
        conn.execute("CREATE TABLE documents (id bigserial PRIMARY KEY, details jsonb)")
        conn.execute("CREATE TABLE series (name text, at timestamptz, value float8)")
        statements = (
            (
                third / 8.2 * 1000,
                b"INSERT INTO vectors (embedding) "
                b"SELECT (SELECT array_agg(random()::real + (n + i) * 0)"
                b" FROM generate_series(1, 1536) AS i)::vector FROM generate_series(1, %s) AS n",
            ),
            (
                third / 0.32 * 1000,
                b"INSERT INTO documents (details) SELECT jsonb_build_object('n', n, 'text',"
                b" md5(n::text), 'tags', jsonb_build_array('a', n %% 7), 'nested',"
                b" jsonb_build_object('at', now(), 'words', repeat('word ' || n %% 100, 12)))"
                b" FROM generate_series(1, %s) AS n",
            ),
            (
                third / 0.065 * 1000,
                b"INSERT INTO series SELECT 'container-' || n %% 50, '2026-01-01'::timestamptz"
                b" + n * interval '15 s', random() * 100 FROM generate_series(1, %s) AS n",
            ),
        )
        for count, statement in progress(statements, "Filling"):
            conn.execute(statement, (int(count),))
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")
        row: Any = conn.execute("SELECT pg_database_size(current_database())").fetchone()
    return round(row[0] / 1e6, 1)


def _backups(dsn: str, folder: Path, wish: Wish, rounds: int) -> dict[str, float]:
    program, _ = find_program("pg_dump", 18)
    compression = best_compression(program, wish.compression)
    plain: list[float] = []
    ours: list[float] = []
    steps: dict[str, float] = {}
    catalogue = Catalogue(folder / "backups")
    for _ in progress(range(rounds), f"Dumping ({wish.format}, {compression})"):
        target = folder / "plain"
        began = time.perf_counter()
        with environment(dsn) as variables:
            subprocess.run(
                [program, f"--format={wish.format}", f"--jobs={wish.jobs}",
                 f"--compress={compression}", f"--file={target}"],
                env=variables, check=True,
            )  # fmt: skip
        plain.append(time.perf_counter() - began)
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        began = time.perf_counter()
        made = create(dsn, catalogue, wish, KEYS)
        ours.append(time.perf_counter() - began)
        assert made.manifest is not None
        steps = made.manifest.timings
    name = wish.format
    return {
        f"{name}.pg_dump_s": min(plain),
        f"{name}.create_s": min(ours),
        f"{name}.create_vs_pg_dump_ratio": min(ours) / min(plain),
        f"{name}.create_worst_ratio": max(ours) / min(plain),
        **{f"{name}.step.{step}_s": seconds for step, seconds in steps.items()},
    }


def _restores(dsn: str, entry: Entry, rounds: int) -> dict[str, float]:
    """Restore by pg_restore and by ours in turns; who goes first changes, as the disk remembers."""
    assert entry.manifest is not None
    program, _ = find_program("pg_restore", entry.manifest.client_major)
    archive = next(p for p in entry.path.iterdir() if p.name.startswith("database"))
    plain: list[float] = []
    ours: list[dict[str, float]] = []
    for number in progress(range(rounds), "Restoring"):
        turns = [
            lambda: plain.append(_restore_plainly(dsn, program, archive)),
            lambda: ours.append(_restore_ours(dsn, entry)),
        ]
        for turn in turns if number % 2 else reversed(turns):
            turn()
    best = min(ours, key=lambda steps: steps["without_checks"])
    return {
        "restore.pg_restore_s": min(plain),
        **{f"restore.{step}_s": seconds for step, seconds in best.items()},
        "restore.vs_pg_restore_ratio": best["without_checks"] / min(plain),
    }


@contextmanager
def _passing(dsn: str, name: str) -> Generator[psycopg.Connection]:
    """Drop a database at the end, and let what that leaves on the disk settle."""
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as conn:
        yield conn
        conn.execute(f"DROP DATABASE {name}".encode())
        conn.execute("CHECKPOINT")


def _restore_plainly(dsn: str, program: Path, archive: Path) -> float:
    with _passing(dsn, "plain") as conn:
        began = time.perf_counter()
        conn.execute("CREATE DATABASE plain TEMPLATE template0")
        with environment(dsn) as variables:
            subprocess.run(
                [program, "--dbname=plain", "--jobs=2", archive], env=variables, check=True
            )
        return time.perf_counter() - began


def _restore_ours(dsn: str, entry: Entry) -> dict[str, float]:
    """Return the seconds of each step, and of all that is not a check."""
    with _passing(dsn, "ours"):
        began = time.perf_counter()
        with open_entry(entry, KEYS) as source:
            opened = time.perf_counter() - began
            done = restore(prepare(dsn, source, Wanted(into="ours", jobs=2)))
        whole = time.perf_counter() - began
    # The whole archive is read and compared with the manifest before anything is done.
    checks = opened + done.timings["compare"] + done.timings["analyze"]
    return {
        "without_checks": whole - checks, "checks": checks, "opening": opened, **done.timings,
    }  # fmt: skip


def _memory(dsn: str, folder: Path) -> float:
    """Return the most memory that a whole `aegis backup create` has, or a program of it, in MB."""
    process = subprocess.Popen(
        [sys.executable, "-m", "aegis.cli", "backup", "create"],
        env={**os.environ, "AEGIS_DATABASE_URL": dsn, "AEGIS_DATA_DIR": str(folder / "cli")},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return round(used.ru_maxrss / 1024, 1)


def _detection(count: int) -> dict[str, float]:
    """Damage a small backup at random and count how often that is found."""
    from aegis.db import migrate
    from benchmarks.database import server
    from tests.db.rows import MODERN_ROWS, execute

    rng = random.Random(5)
    missed = 0
    with server() as dsn, tempfile.TemporaryDirectory() as place:
        migrate.upgrade(dsn)
        execute(dsn, MODERN_ROWS)
        catalogue = Catalogue(Path(place) / "good")
        keys = KeyRing(keys=(bytes(32),))
        wishes = (Wish(), Wish(format="directory", jobs=2), Wish(encrypt=True))
        made = [(create(dsn, catalogue, w, keys), create(dsn, catalogue, w, keys)) for w in wishes]
        for number in progress(range(count), "Damaging"):
            first, other = made[number % len(made)]
            bad = Catalogue(Path(place) / "bad")
            shutil.copytree(first.path, bad.folder / first.name)
            done = damage(bad.folder / first.name, other.path, rng)
            if verify_fast(bad.get(first.name), keys).verdict != "failed":
                missed += 1
                print(f"missed: {done}", file=sys.stderr)
            shutil.rmtree(bad.folder)
    return {"damages": count, "damages_found_ratio": (count - missed) / count if count else 1.0}
