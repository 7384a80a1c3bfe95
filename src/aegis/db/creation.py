"""Making a cluster, whole or not at all. Callers hold the cluster lock.

It is made in a folder beside its place (initdb, database, configuration, everything synced) and
then renamed. What a killed attempt leaves is removed by the next one.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.db.account import run_as
from aegis.db.cluster import (
    DATABASE,
    USER,
    not_writable,
    own_folder,
    server_environment,
    write_file,
)
from aegis.db.cluster_config import INCLUDES
from aegis.db.failure import last_error, start_failure
from aegis.db.postmaster import end_orphans, wait_until
from aegis.errors import OpsError

if TYPE_CHECKING:
    from collections.abc import Generator

    from aegis.db.account import Account
    from aegis.db.binaries import Binaries
    from aegis.db.cluster import Cluster

__all__ = ["create", "remove_leftovers", "set_password"]


def create(cluster: Cluster, binaries: Binaries, account: Account | None) -> None:
    """Make the cluster: checksums, UTF-8, a random password, the database, our configuration.

    Raises:
        OpsError: initdb fails, the disk is full, or something else lies in the cluster's place.
    """
    data = cluster.data(binaries.major)
    if data.is_dir() and any(data.iterdir()):
        raise OpsError(
            f"{data} is not empty but holds no PostgreSQL cluster (no PG_VERSION). "
            "Move it away, or restore it from a backup.",
            code="data_dir_damaged",
        )
    with _staging(cluster, account) as staging:
        made = staging / "data"
        password = secrets.token_hex(24)
        _initdb(binaries, made, password, account)
        with (made / "postgresql.conf").open("a") as conf:
            conf.write(INCLUDES)
        sql = f"CREATE DATABASE {DATABASE}"
        _run_single(binaries, made, "postgres", sql, account, durable=False)
        _write_passfile(cluster, password)
        # Everything above wrote without waiting for the disk; this waits once, for all of it.
        # One call for the whole file system, where there is one, instead of a thousand.
        whole = ["--sync-method=syncfs"] if sys.platform == "linux" and binaries.major >= 17 else []
        _run([binaries.program("initdb"), "-D", made, "--sync-only", *whole], made, account)
        made.rename(data)
        _sync(cluster.home)


def set_password(cluster: Cluster, binaries: Binaries, account: Account | None) -> None:
    """Give the superuser a new password; for a cluster whose password file is lost.

    The server must not run.
    """
    password = secrets.token_hex(24)
    sql = f"ALTER ROLE {USER} PASSWORD '{password}'"
    _run_single(binaries, cluster.data(binaries.major), "postgres", sql, account)
    _write_passfile(cluster, password)


def _run_single(
    binaries: Binaries,
    data: Path,
    database: str,
    sql: str,
    account: Account | None,
    *,
    durable: bool = True,
) -> None:
    """Run one statement without a server, in PostgreSQL's single-user mode.

    Raises:
        OpsError: it failed.
    """
    command: list[str | Path] = [
        binaries.program("postgres"), "--single", "-j", "-D", data,
        "-c", "logging_collector=off", "-c", "log_destination=stderr",
        "-c", "log_statement=none", "-c", "log_min_error_statement=panic",
        "-c", "shared_preload_libraries=", "-c", "exit_on_error=on",
        "-c", f"fsync={'on' if durable else 'off'}", database,
    ]  # fmt: skip
    _run(command, data, account, stdin=sql + ";\n\n")


def remove_leftovers(cluster: Cluster) -> None:
    """Remove what a killed `create` left behind, its processes first."""

    def gone() -> bool:
        for left in cluster.home.glob(".new-*"):
            end_orphans(left / "data", all_of_them=True)
            shutil.rmtree(left, ignore_errors=True)
        return not list(cluster.home.glob(".new-*"))

    # A process that was just being born may write once more.
    wait_until(gone, 5.0)


@contextmanager
def _staging(cluster: Cluster, account: Account | None) -> Generator[Path]:
    staging = Path(tempfile.mkdtemp(prefix=".new-", dir=cluster.home))
    try:
        own_folder(staging, account)
        yield staging
    except OSError as error:
        raise not_writable(cluster.home.parent, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _initdb(binaries: Binaries, made: Path, password: str, account: Account | None) -> None:
    own_folder(made, account)
    pwfile = made.parent / "password"
    write_file(pwfile, password + "\n")
    locale = (
        ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if binaries.major >= 17 else []
    )
    command: list[str | Path] = [
        binaries.program("initdb"), "-D", made, "-U", USER, "-E", "UTF8", "--locale=C", *locale,
        "--data-checksums", "--auth=scram-sha-256", f"--pwfile={pwfile}", "--no-instructions",
        "--no-sync",
    ]  # fmt: skip
    _run(command, made, account)


def _run(
    command: list[str | Path], data: Path, account: Account | None, stdin: str | None = None
) -> None:
    done = subprocess.run(
        command,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        cwd=data,
        env=server_environment(),
        start_new_session=True,
        umask=0o077,
        **run_as(account),
    )
    if done.returncode != 0 or (stdin is not None and last_error(done.stdout) is not None):
        # A staging folder is not what people know the cluster by.
        known = data.parent.parent if data.parent.name.startswith(".new-") else data
        raise start_failure(done.stdout, known)


def _write_passfile(cluster: Cluster, password: str) -> None:
    write_file(cluster.passfile, f"*:*:*:{USER}:{password}\n")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
