"""One cluster on disk: where its parts lie, and making it.

A cluster appears whole or not at all: it is made in a folder beside its place (initdb, database,
configuration, everything synced) and then renamed. What a killed attempt leaves is removed by the
next one. Callers hold the cluster lock.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.db.account import open_way, run_as
from aegis.db.cluster_config import INCLUDES
from aegis.db.failure import disk_full, disk_is_full, last_error, start_failure
from aegis.db.postmaster import end_orphans
from aegis.errors import ConfigError, OpsError

if TYPE_CHECKING:
    from collections.abc import Generator

    from aegis.db.account import Account
    from aegis.db.binaries import Binaries

__all__ = [
    "DATABASE",
    "USER",
    "Cluster",
    "Record",
    "create",
    "make_folders",
    "not_writable",
    "own_folder",
    "server_environment",
    "set_password",
    "socket_folder",
    "write_file",
]

USER = "aegis"
DATABASE = "aegis"

#: Longest path of a socket's folder: 104 bytes on macOS (108 on Linux) less `/.s.PGSQL.65535` and
#: the terminator. https://www.postgresql.org/docs/current/runtime-config-connection.html
_SOCKET_DIR_BYTES = 88


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is remembered of the last start, in `server.json`."""

    #: Major and full version of the programs.
    major: int
    version: str
    port: int
    socket_dir: str
    #: Folder of the programs that the server runs from.
    bin_dir: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The places of one cluster below `home`, the folder `postgres` of the data folder."""

    home: Path

    def data(self, major: int) -> Path:
        """Return the server's own folder (PGDATA) for a major version."""
        return self.home / str(major)

    @property
    def lock_file(self) -> Path:
        """Return the file that starts and stops lock."""
        return self.home / "lock"

    @property
    def use_file(self) -> Path:
        """Return the file that the server's processes keep locked for as long as they live."""
        return self.home / "in-use"

    @property
    def passfile(self) -> Path:
        """Return the password file, in libpq's format, readable by its owner only."""
        return self.home / "pgpass"

    @property
    def log_dir(self) -> Path:
        """Return the folder of the server's log."""
        return self.home / "log"

    @property
    def programs(self) -> Path:
        """Return the folder of copied programs."""
        return self.home / "programs"

    def majors(self) -> list[int]:
        """Return the major versions that have a complete data folder here, oldest first."""
        found = (p for p in self.home.glob("[0-9]*") if p.name.isdigit())
        return sorted(int(p.name) for p in found if (p / "PG_VERSION").is_file())

    def read_record(self) -> Record | None:
        """Return what the last start wrote down; None if nothing, or nothing readable."""
        try:
            return Record(**json.loads((self.home / "server.json").read_text()))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None

    def write_record(self, record: Record) -> None:
        """Remember what was started."""
        write_file(self.home / "server.json", json.dumps(asdict(record), indent=1) + "\n")


def make_folders(cluster: Cluster, account: Account | None) -> None:
    """Make the folders around a cluster, which the server may enter.

    Raises:
        ConfigError: the data folder cannot be written, or the server's account cannot get there.
    """
    data_dir = cluster.home.parent
    try:
        fresh = not data_dir.exists()
        data_dir.mkdir(parents=True, exist_ok=True)
        if fresh:
            data_dir.chmod(0o700)
        open_way(data_dir, account)
        if not cluster.home.exists():
            cluster.home.mkdir(mode=0o755, exist_ok=True)
            _give_to_owner_of(data_dir, cluster.home)
        open_way(cluster.home, account)
        own_folder(cluster.log_dir, account)
        probe = cluster.home / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise not_writable(data_dir, error) from error


def not_writable(data_dir: Path, error: OSError) -> ConfigError | OpsError:
    """Return the error that says why `data_dir` cannot be used."""
    if disk_is_full(data_dir, str(error)):
        return disk_full(data_dir)
    where = error.filename or data_dir
    return ConfigError(
        f"The data folder {data_dir} cannot be written ({error.strerror}: {where}). Correct its "
        "owner and mode, or set AEGIS_DATA_DIR to another folder.",
        code="data_dir_not_writable",
    )


def own_folder(folder: Path, account: Account | None) -> None:
    """Make `folder` and give it to the server's account, nobody else enters."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def socket_folder(cluster: Cluster, remembered: str | None, account: Account | None) -> Path:
    """Return the folder of the Unix socket: below `home`, or a short private one."""
    preferred = cluster.home / "run"
    # In an address a comma separates hosts, so that it cannot be part of one.
    if len(os.fsencode(preferred)) <= _SOCKET_DIR_BYTES and "," not in str(preferred):
        own_folder(preferred, account)
        return preferred
    if remembered is not None and _is_private(Path(remembered), account):
        return Path(remembered)
    # A fresh name cannot have been laid out for us by somebody else.
    short = Path(tempfile.mkdtemp(prefix="aegis-", dir="/tmp"))
    own_folder(short, account)
    return short


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
        run_single(binaries, made, "postgres", sql, account, durable=False)
        _write_passfile(cluster, password)
        # Everything above wrote without waiting for the disk; this waits once, for all of it.
        _run([binaries.program("initdb"), "-D", made, "--sync-only"], made, account)
        made.rename(data)
        _sync(cluster.home)


def set_password(cluster: Cluster, binaries: Binaries, account: Account | None) -> None:
    """Give the superuser a new password; for a cluster whose password file is lost.

    The server must not run.
    """
    password = secrets.token_hex(24)
    sql = f"ALTER ROLE {USER} PASSWORD '{password}'"
    run_single(binaries, cluster.data(binaries.major), "postgres", sql, account)
    _write_passfile(cluster, password)


def run_single(
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


def write_file(path: Path, text: str) -> None:
    """Replace `path` by `text` at once, readable by its owner only; leave it if it says that.

    A full disk therefore keeps nobody from starting the server and deleting something. Root's
    files go to the owner of their folder, who may run Aegis without root next time.
    """
    if path.is_file() and path.read_text() == text:
        return
    owner = path.parent.stat()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o600)
            if os.geteuid() == 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def server_environment() -> dict[str, str]:
    """Return the environment of server programs: none of ours, which may hold secrets."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C"}


@contextmanager
def _staging(cluster: Cluster, account: Account | None) -> Generator[Path]:
    for left in cluster.home.glob(".new-*"):
        end_orphans(left / "data", all_of_them=True)
        shutil.rmtree(left, ignore_errors=True)
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


def _give_to_owner_of(folder: Path, path: Path) -> None:
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _write_passfile(cluster: Cluster, password: str) -> None:
    write_file(cluster.passfile, f"*:*:*:{USER}:{password}\n")


def _is_private(folder: Path, account: Account | None) -> bool:
    uid = os.geteuid() if account is None else account.uid
    try:
        found = folder.lstat()
    except OSError:
        return False
    return folder.is_dir() and found.st_uid == uid and found.st_mode & 0o7777 == 0o700


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
