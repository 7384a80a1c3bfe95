"""The crash matrix: `kill -9` at random points of create, push, verify, restore, upgrade.

Every run starts a real command on a real database, kills it (its main process, one of its
programs, or all of them) somewhere between its beginning and its end, and then asks: is every
backup that is listed whole, here and at the destination; is every row of the database still there;
does the same command succeed the next time; and does it leave nothing of the dead one behind?
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.db import migrate
from aegis.db.admin import admin_connection
from aegis.errors import OpsError
from aegis.ops.backup.catalogue import Catalogue
from aegis.ops.backup.digest import digest_tables, list_tables
from aegis.ops.backup.reading import check_files
from benchmarks.report import progress

if TYPE_CHECKING:
    import argparse

    from aegis.ops.backup.models import TableEntry

__all__ = ["Matrix", "add_arguments", "run"]

#: What is killed, and the command line.
ACTIONS = {
    "create": ["backup", "create"],
    "push": ["backup", "push"],
    "verify": ["backup", "verify", "--full"],
    "restore": ["backup", "restore", "latest", "--in-place", "--yes"],
    "upgrade": ["db", "upgrade"],
}
#: The revision from which upgrades begin.
BEFORE = "0014"
#: Tables that change with the work itself.
_LIVELY = (
    "backups", "backup_drills", "alembic_version",
    # What is done to the database is noted there.
    "audit_log", "audit_head", "audit_verifications",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return how many runs were killed, and how many of the promises were broken."""
    from benchmarks.database import server
    from tests.cluster import reachable_folder
    from tests.db.rows import MODERN_ROWS, execute

    with server() as dsn, reachable_folder() as folder:
        execute(dsn, "CREATE DATABASE crashes")
        own = make_conninfo(dsn, dbname="crashes")
        migrate.upgrade(own)
        execute(own, MODERN_ROWS)
        matrix = Matrix(dsn=own, folder=folder, rng=random.Random(args.seed))
        for number in progress(range(args.runs), "Killing"):
            matrix.one(list(ACTIONS)[number % len(ACTIONS)])
    for text in matrix.broken:
        print(text, file=sys.stderr)
    return {
        "runs": args.runs,
        "killed": sum(matrix.killed.values()),
        **{f"killed.{name}": count for name, count in matrix.killed.items()},
        "broken": len(matrix.broken),
    }


@dataclass(slots=True, kw_only=True)
class Matrix:
    """A database, a folder, and what became of the promises."""

    dsn: str
    folder: Path
    rng: random.Random
    #: Broken promises, one line each.
    broken: list[str] = field(default_factory=list[str])
    #: How often each action was really killed, and not over before.
    killed: dict[str, int] = field(default_factory=dict[str, int])
    #: Seconds that each action takes when nobody kills it.
    _takes: dict[str, float] = field(default_factory=dict[str, float])

    def one(self, action: str) -> None:
        """Kill one command, and look at what is left."""
        self._prepare(action)
        before = self._rows()
        if action not in self._takes:
            began = time.monotonic()
            self._succeed(action, "before any kill")
            self._takes[action] = time.monotonic() - began
            self._prepare(action)
            before = self._rows()
        process = self._start(ACTIONS[action])
        delay = self.rng.uniform(0.05, 1.0) * self._takes[action]
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            who = self._kill(process)
            self.killed[action] = self.killed.get(action, 0) + 1
        else:
            who = "nobody"
        process.wait()
        where = f"{action} after {delay:.2f} s ({who})"
        self._check_listed(where)
        if action != "upgrade" and self._rows() != before:
            self.broken.append(f"{where}: rows were lost or changed")
        self._succeed(action, where)
        self._check_clean(action, where)
        if action == "upgrade" and migrate.current(self.dsn) != migrate.status(self.dsn).revision:
            self.broken.append(f"{where}: the schema is neither here nor there")

    def _prepare(self, action: str) -> None:
        (self.folder / "elsewhere").mkdir(exist_ok=True)
        if action == "upgrade":
            migrate.downgrade(self.dsn, BEFORE)
        elif not any(e.verdict == "verified" for e in self._catalogue().entries()):
            self._succeed("create", "the first backup")
        if action == "restore":
            # What is live and what is restored are the same, so that rows can be compared.
            self._succeed("create", "a fresh backup")
        if action == "push":
            self._succeed("create", "a fresh backup")

    def _catalogue(self) -> Catalogue:
        return Catalogue(self.folder / "data" / "backups")

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "AEGIS_DATABASE_URL": self.dsn,
            "AEGIS_DATA_DIR": str(self.folder / "data"),
            "AEGIS_BACKUP_DESTINATION": f"file://{self.folder / 'elsewhere'}",
            "AEGIS_EMBEDDER": "none",
            "AEGIS_BACKUP_FORMAT": self.rng.choice(["custom", "directory"]),
        }

    def _start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "aegis.cli", *arguments],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _kill(self, process: subprocess.Popen[bytes]) -> str:
        """Kill the command's process, one of its programs, or all of them."""
        how = self.rng.choice(["itself", "a program of it", "all"])
        children = _children(process.pid)
        if how == "all":
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        elif how == "a program of it" and children:
            with suppress(ProcessLookupError):
                os.kill(self.rng.choice(children), signal.SIGKILL)
        else:
            process.kill()
        return how

    def _succeed(self, action: str, where: str) -> None:
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                [sys.executable, "-m", "aegis.cli", *ACTIONS[action]],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
            said.seek(0)
            text = said.read().decode(errors="replace")
        if done.returncode != 0:
            self.broken.append(f"{where}: the next {action} failed: {text.strip()[-400:]}")

    def _check_listed(self, where: str) -> None:
        """Every backup that is listed is whole, and so is every copy."""
        elsewhere = Catalogue(self.folder / "elsewhere")
        for catalogue in (self._catalogue(), elsewhere):
            for entry in catalogue.entries():
                if not (entry.path / "manifest.json").exists() and catalogue is elsewhere:
                    continue  # An upload that has not come to its end; nobody lists it.
                if entry.manifest is None:
                    self.broken.append(f"{where}: {entry.name} is listed and {entry.damage}")
                    continue
                try:
                    check_files(entry.path, entry.manifest)
                except OpsError as error:
                    self.broken.append(f"{where}: {entry.name} is listed and {error}")

    def _check_clean(self, action: str, where: str) -> None:
        """What the dead command left is gone once the next one is done."""
        left: list[str] = []
        if action in ("create", "upgrade"):
            left += [p.name for p in self._catalogue().folder.glob(".partial*")]
        if action == "verify":
            left += [p.name for p in (self.folder / "data" / "sandboxes").glob("sandbox-*")]
        if action == "restore":
            with psycopg.connect(make_conninfo(self.dsn, dbname="postgres")) as conn:
                rows: list[Any] = conn.execute(
                    "SELECT datname::text FROM pg_database WHERE datname LIKE 'aegis_restoring%'"
                ).fetchall()
                left += [name for (name,) in rows]
            self._drop_kept()
        if left:
            self.broken.append(f"{where}: left behind {', '.join(left)}")

    def _drop_kept(self) -> None:
        name = conninfo_to_dict(self.dsn)["dbname"]
        with psycopg.connect(make_conninfo(self.dsn, dbname="postgres"), autocommit=True) as conn:
            rows: list[Any] = conn.execute(
                "SELECT datname::text FROM pg_database WHERE starts_with(datname, %s)",
                (f"{name}_before_",),
            ).fetchall()
            for (kept,) in rows:
                conn.execute(f'DROP DATABASE "{kept}" WITH (FORCE)'.encode())

    def _rows(self) -> list[TableEntry]:
        with admin_connection(self.dsn) as conn:
            tables = [t for t in list_tables(conn) if t.name not in _LIVELY]
            found = digest_tables(conn, tables)
        return sorted(found, key=lambda t: (t.schema, t.name))


def _children(pid: int) -> list[int]:
    """Return the processes that a process and its children started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                found += [int(child), *_children(int(child))]
    return found
