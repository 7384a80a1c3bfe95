"""One cluster on disk: where its parts lie, what the last start wrote down, folders and files."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.db.account import can_enter, open_way
from aegis.db.failure import disk_full, disk_is_full
from aegis.errors import ConfigError, OpsError

if TYPE_CHECKING:
    from aegis.db.account import Account

__all__ = [
    "DATABASE",
    "ELSEWHERE",
    "PROGRAMS",
    "USER",
    "Cluster",
    "Record",
    "find_cluster",
    "make_folders",
    "not_writable",
    "own_folder",
    "server_environment",
    "socket_folder",
    "write_file",
]

USER = "aegis"
DATABASE = "aegis"
#: Where root's clusters lie whose data folder is closed to the server's account.
ELSEWHERE = Path("/var/lib/aegis")
#: Copies of the server's programs for the same reason. A plain path: initdb passes it to a shell.
PROGRAMS = ELSEWHERE / "programs"

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


def find_cluster(data_dir: Path) -> Cluster:
    """Return the places of the cluster of `data_dir`, wherever it lies (see `make_folders`)."""
    home = data_dir.absolute() / "postgres"
    return Cluster(home=home.resolve() if home.is_symlink() else home)


def make_folders(data_dir: Path, account: Account | None) -> Cluster:
    """Make the folders around a cluster, which the server may enter, and return its places.

    Where a folder above `data_dir` keeps the server's account out, such as root's home, the
    cluster lies in a folder of its own below `ELSEWHERE`, and `data_dir/postgres` is a link to it:
    what is private stays so.

    Raises:
        ConfigError: the data folder cannot be written, or the server's account cannot get there.
    """
    data_dir = data_dir.absolute()
    home = data_dir / "postgres"
    try:
        fresh = not data_dir.exists()
        data_dir.mkdir(parents=True, exist_ok=True)
        if fresh:
            data_dir.chmod(0o700)
        if not os.path.lexists(home):
            _make_home(data_dir, home, account)
        elif not home.is_symlink():
            open_way(data_dir, account)
        cluster = find_cluster(data_dir)
        open_way(cluster.home, account)
        own_folder(cluster.log_dir, account)
        probe = cluster.home / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise not_writable(data_dir, error) from error
    return cluster


def _make_home(data_dir: Path, home: Path, account: Account | None) -> None:
    try:
        open_way(data_dir, account)
    except ConfigError:
        if account is None or not can_enter(ELSEWHERE.parent, account):
            raise
        ELSEWHERE.mkdir(mode=0o755, exist_ok=True)
        open_way(ELSEWHERE, account)
        # A name that was never used: a data folder that was deleted must not come back to life.
        place = Path(tempfile.mkdtemp(prefix="cluster-", dir=ELSEWHERE))
        place.chmod(0o755)
        _give_to_owner_of(data_dir, place)
        try:
            home.symlink_to(place)
        except FileExistsError:
            place.rmdir()  # Another process has just done the same.
        return
    home.mkdir(mode=0o755, exist_ok=True)
    _give_to_owner_of(data_dir, home)


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


def _give_to_owner_of(folder: Path, path: Path) -> None:
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _is_private(folder: Path, account: Account | None) -> bool:
    uid = os.geteuid() if account is None else account.uid
    try:
        found = folder.lstat()
    except OSError:
        return False
    return folder.is_dir() and found.st_uid == uid and found.st_mode & 0o7777 == 0o700
